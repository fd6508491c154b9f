"""How long scaling out takes on average."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from mwaa_headroom.analysis.findings import warning
from mwaa_headroom.analysis.results import ScalingEvent
from mwaa_headroom.analysis.scaling.delay import ScaleOutDelays, scale_out_delays
from mwaa_headroom.analysis.statistics import Estimate, mean_within

PERIOD_S = 60.0


def scale_out(
    number: int,
    *,
    step_s: float = 30.0,
    decided_s: float = 120.0,
    arrived_s: float = 200.0,
    as_on_aws: bool = False,
    within_s: float = 0.0,
) -> ScalingEvent:
    """One scale-out, all times since the start of the period in which the load rose."""
    base_s = 1e6 * number
    seen_s = base_s + np.ceil(arrived_s / PERIOD_S) * PERIOD_S
    arrival_s = None if as_on_aws else base_s + arrived_s
    return ScalingEvent(
        from_count=2,
        to_count=3,
        load_step_s=base_s + step_s,
        breach_s=base_s + PERIOD_S,
        decision_s=None if as_on_aws else base_s + decided_s,
        count_changed_s=seen_s,
        ready_s=arrival_s,
        slo_restored_s=None,
        count_changed_after_s=seen_s - PERIOD_S,
        takes_traffic_s=arrival_s,
        load_step_within_s=within_s,
        period_s=PERIOD_S,
    )


def ends(estimate: Estimate) -> tuple[float, float, float]:
    assert estimate.low is not None
    assert estimate.value is not None
    assert estimate.high is not None
    return estimate.low, estimate.value, estimate.high


def test_means_of_known_times_are_students() -> None:
    wholes = [150.0, 170.0, 190.0]
    found = scale_out_delays(
        [scale_out(n, arrived_s=30.0 + whole) for n, whole in enumerate(wholes)]
    )
    expected = stats.ttest_1samp(wholes, 0.0).confidence_interval(0.95)
    assert ends(found.whole) == pytest.approx((expected.low, 170.0, expected.high))
    assert ends(found.detection) == pytest.approx((90.0, 90.0, 90.0))
    assert found.provisioning.value == pytest.approx(80.0)
    assert (found.detected_by, found.events, found.whole.n) == ("decision", 3, 3)
    assert not found.whole.warnings


def test_two_scale_outs_have_an_interval_that_admits_how_little_two_are() -> None:
    low, value, high = ends(
        scale_out_delays([scale_out(0, arrived_s=180.0), scale_out(1, arrived_s=220.0)]).whole
    )
    assert value == pytest.approx(170.0)
    assert high - low == pytest.approx(2 * 12.706 * 20, rel=1e-3)  # t(0.975, 1) = 12.706


def test_one_scale_out_has_the_interval_of_its_own_resolution() -> None:
    found = scale_out_delays([scale_out(0, as_on_aws=True)])
    assert found.detected_by == "breach"
    assert ends(found.detection) == (-30.0, 30.0, 30.0)  # the period that breached began at 0
    assert ends(found.whole) == (150.0, 180.0, 210.0)  # counted from 180 to 240, step at 30
    assert found.whole.warnings == (
        warning("scaling.one_scale_out"),
        warning("scaling.traffic_by_metrics", period_s=60.0),
    )


def test_a_step_within_a_ramp_widens_the_interval_and_is_told() -> None:
    whole = scale_out_delays([scale_out(0, within_s=60.0)]).whole
    assert ends(whole) == (110.0, 170.0, 230.0)
    assert warning("scaling.vague_load_steps", scale_outs=1) in whole.warnings


def test_when_it_took_traffic_at_the_earliest_and_latest_bounds_the_delay() -> None:
    event = scale_out(0, arrived_s=200.0, as_on_aws=True)  # counted from 180 to 240, step at 30
    late = replace(event, takes_traffic_after_s=270.0, takes_traffic_s=330.0)
    assert ends(scale_out_delays([late]).whole) == (240.0, 270.0, 300.0)


def test_where_starting_up_cannot_be_told_the_delay_says_so() -> None:
    vague = replace(scale_out(0, as_on_aws=True), start_up=None)
    found = scale_out_delays([vague, scale_out(1, as_on_aws=True)])
    assert warning("scaling.start_up_unknown", scale_outs=1) in found.whole.warnings


def test_of_scale_outs_after_one_load_step_the_first_is_the_detection() -> None:
    first = scale_out(0)
    again = replace(first, decision_s=240.0, ready_s=300.0, takes_traffic_s=300.0)
    other = scale_out(1, arrived_s=220.0)
    found = scale_out_delays([first, again, other])
    assert (found.events, found.detection.n, found.whole.n) == (2, 2, 2)
    assert found.provisioning.n == 3
    assert found.provisioning.value == pytest.approx((80 + 60 + 100) / 3)


def test_scaling_in_and_none_at_all_give_no_delay() -> None:
    fall = ScalingEvent(3, 2, None, None, 5.0, 10.0, None, None)
    for events in ([], [fall]):
        found = scale_out_delays(events)
        assert found.events == 0
        for estimate in (found.detection, found.provisioning, found.whole):
            assert estimate.value is None
            assert estimate.warnings


def test_one_that_never_came_counts_in_the_detection_only() -> None:
    lost = replace(
        scale_out(2),
        ready_s=None,
        takes_traffic_s=None,
        count_changed_s=None,
        count_changed_after_s=None,
    )
    found = scale_out_delays([scale_out(0), scale_out(1, arrived_s=230.0), lost])
    assert (found.detection.n, found.whole.n) == (3, 2)


def test_periods_that_all_tell_the_same_leave_the_mean_anywhere_within() -> None:
    low, high = np.full(8, 60.0), np.full(8, 120.0)
    ends_s = mean_within(low, high).quantiles(np.array([0.025, 0.5, 0.975]))
    assert ends_s[1] == pytest.approx(90.0)
    assert 50 < ends_s[0] < 70
    assert 110 < ends_s[2] < 130


def test_narrow_bounds_give_nearly_students_interval() -> None:
    """With weight 1/sigma and exact values, the posterior of a normal mean is Student's."""
    values = np.array([101.0, 87.0, 120.0, 95.0, 110.0, 99.0])
    ends_s = mean_within(values - 0.5, values + 0.5).quantiles(np.array([0.025, 0.5, 0.975]))
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert ends_s == pytest.approx([expected.low, values.mean(), expected.high], abs=0.3)


def test_a_sum_with_exact_values_adds_their_uncertainty() -> None:
    known = mean_within(np.full(6, 60.0), np.full(6, 61.0))  # 60.5, nearly exactly
    added = np.array([10.0, 20.0, 30.0, 15.0, 25.0, 20.0])
    ends_s = known.quantiles(np.array([0.025, 0.5, 0.975]), added=added)
    expected = stats.ttest_1samp(added + 60.5, 0.0).confidence_interval(0.95)
    assert ends_s == pytest.approx([expected.low, 80.5, expected.high], abs=0.4)


def imagined(as_on_aws: bool, provisioning_s: float, repeats: int) -> Iterator[ScaleOutDelays]:
    """Sets of five to eight scale-outs: steps at any phase, decided after two whole periods."""
    random = np.random.default_rng(20)
    spread = np.sqrt(np.log(1.04))  # lognormal with a coefficient of variation of 0.2
    for _ in range(repeats):
        yield scale_out_delays(
            [
                scale_out(
                    number,
                    step_s=random.uniform(0, PERIOD_S),
                    decided_s=2 * PERIOD_S,
                    arrived_s=2 * PERIOD_S
                    + random.lognormal(np.log(provisioning_s) - spread**2 / 2, spread),
                    as_on_aws=as_on_aws,
                )
                for number in range(random.integers(5, 9))
            ]
        )


@pytest.mark.parametrize(("as_on_aws", "repeats"), [(False, 200), (True, 40)])
def test_the_interval_covers_the_true_mean(as_on_aws: bool, repeats: int) -> None:
    """The seed is fixed; a nominal 95 % may not fall to 90 % here."""
    true_s = 2 * PERIOD_S - PERIOD_S / 2 + 90.0
    hits = 0
    for delays in imagined(as_on_aws, 90.0, repeats):
        low, _, high = ends(delays.whole)
        hits += low <= true_s <= high
    assert hits / repeats >= 0.9
