"""The capacity over webserver counts: what is pooled, what is refused, and what to try next."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trials_by_hand import changing, trials

from mwaa_headroom.analysis.findings import note, refusal
from mwaa_headroom.analysis.planning.capacity_curve import (
    CapacityCurve,
    CountCapacity,
    NextTrial,
    TrialRun,
    amdahl_capacity,
    capacity_curve,
    fit_amdahl,
    gain,
)
from mwaa_headroom.analysis.statistics import Estimate

ONE = trials("one", 1, {10.0: 0.01, 12.0: 0.03, 14.0: 0.09})
TWO = trials("two", 2, {20.0: 0.01, 24.0: 0.03, 28.0: 0.09})
THREE = trials("three", 3, {30.0: 0.01, 36.0: 0.03, 42.0: 0.09})


def only(curve: CapacityCurve) -> CountCapacity:
    (count,) = curve.counts
    return count


def test_every_count_has_its_own_capacity() -> None:
    curve = capacity_curve([TWO, ONE, THREE])

    assert [each.webservers for each in curve.counts] == [1, 2, 3]
    values = [each.capacity_per_s.value for each in curve.counts]
    assert values == pytest.approx([12.9, 25.8, 38.7], rel=0.01)
    assert (curve.exit_code, curve.refusals) == (0, ())
    assert [each.bottleneck for each in curve.counts] == ["webserver_cpu"] * 3


def test_what_each_webserver_adds() -> None:
    first, second, third = capacity_curve([ONE, TWO, THREE]).counts

    assert third.gain_per_webserver_per_s is None
    for each in (first, second):
        assert each.gain_per_webserver_per_s is not None
        assert each.gain_per_webserver_per_s.value == pytest.approx(12.9, rel=0.01)


def test_runs_with_the_same_count_are_pooled() -> None:
    parts = [trials("low", 2, {20.0: 0.01, 24.0: 0.03}), trials("high", 2, {28.0: 0.09})]

    assert only(capacity_curve(parts)).capacity_per_s == only(capacity_curve([TWO])).capacity_per_s


@pytest.mark.parametrize(
    "changes",
    [
        {"scenario__traffic__seed": 99},
        {"scenario__question__ask": "check"},
        {"generator": {"workers": 4}},
        {"scenario__recovery": {"hold_s": 33.0}},
    ],
)
def test_what_does_not_change_a_capacity_may_differ(changes: dict[str, Any]) -> None:
    other = trials("other", 2, {26.0: 0.05}, **changes)

    assert capacity_curve([TWO, other]).exit_code == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"scenario__slo": ["p95(latency) < 2s"]}, "SLO"),
        ({"scenario__traffic__transport": "boto3"}, "transport"),
        ({"airflow": "2.10.5"}, "Airflow"),
        ({"environment__facts__webserver_cpu": 2.0}, "CPUs per webserver"),
        ({"scenario__traffic__mix": {"health": {"weight": 1}}}, "mix: "),
    ],
)
def test_what_changes_a_capacity_forbids_pooling(changes: dict[str, Any], named: str) -> None:
    curve = capacity_curve([TWO, trials("other", 1, {10.0: 0.01}, **changes)])

    assert curve.exit_code == 5
    assert curve.refusals[0].code == "identity.unlike"
    assert curve.refusals[0].values["what"].startswith(named)


def test_runs_that_cannot_be_used_are_left_out_by_name() -> None:
    failed = trials("broken", 2, {20.0: 0.5}, status="failed")

    curve = capacity_curve([TWO, failed])

    assert only(curve) == only(capacity_curve([TWO]))
    why = refusal("identity.not_finished", run_id="broken", status="failed")
    assert curve.notes[0] == note("capacity_curve.left_out", reason=why)
    assert capacity_curve([failed]).refusals == (why,)


def test_a_closed_workload_has_no_capacity() -> None:
    closed = trials("closed", 2, {20.0: 0.5}, scenario__traffic__arrivals="closed")

    (why,) = capacity_curve([closed]).refusals
    assert (why.code, why.values["run_id"]) == ("capacity_curve.unusable_run", "closed")
    assert why.values["reason"].code == "capacity.closed"


def test_stages_in_which_the_count_changed_are_no_trials() -> None:
    curve = capacity_curve([changing(TWO, [2])])

    assert [trial.rate_per_s for trial in only(curve).trials] == [20.0, 24.0]
    assert note("capacity_curve.count_changed", stages=(((2, "stage 3"), "two"),)) in curve.notes
    nothing = capacity_curve([changing(TWO, [0, 1, 2])])
    assert nothing.refusals == (refusal("capacity_curve.no_constant_count"),)


def test_without_any_run_there_is_nothing() -> None:
    assert capacity_curve([]).refusals == (refusal("planning.no_run"),)


@pytest.mark.parametrize(
    ("shares", "rate_per_s", "repeats"),
    [
        pytest.param({10.0: 0.01}, 15.0, False, id="nothing broke"),
        pytest.param({10.0: 0.5}, 6.7, False, id="nothing held"),
        pytest.param({10.0: 0.001, 40.0: 0.9}, 20.0, False, id="halve"),
        pytest.param({10.0: 0.001, 17.0: None, 40.0: 0.9}, 17.0, True, id="undecided: again"),
        pytest.param(
            {10.0: 0.001, 20.0: 0.9, 30.0: 0.001, 40.0: 0.9},
            14.1,
            False,
            id="a pass above a fail was luck",
        ),
    ],
)
def test_the_next_trial_is_the_search_decision(
    shares: dict[float, float | None], rate_per_s: float, repeats: bool
) -> None:
    found = only(capacity_curve([trials("two", 2, shares)]))

    assert found.next_trial == NextTrial(2, rate_per_s, 300.0, repeats)


def test_a_short_trial_does_not_show_that_a_rate_lasts() -> None:
    short = trials("short", 2, {24.0: 0.01}, duration_s=60.0)
    long = trials("long", 2, {20.0: 0.001, 40.0: 0.9})

    found = only(capacity_curve([short, long]))

    assert found.highest_pass_per_s == 20.0
    assert found.next_trial == NextTrial(2, 24.0, 300.0, repeats=True)


def test_nothing_is_asked_for_once_the_capacity_is_known() -> None:
    found = only(capacity_curve([trials("fine", 2, {20.0: 0.03, 20.8: 0.08})]))

    assert found.next_trial is None
    assert found.throughput_per_s == pytest.approx(20.0 * 0.97)


def test_a_count_without_a_bracket_is_told_but_refused() -> None:
    curve = capacity_curve([ONE, trials("held", 2, {20.0: 0.01})])

    assert curve.exit_code == 0
    assert curve.counts[1].capacity_per_s.value is None
    assert curve.counts[0].gain_per_webserver_per_s is None
    held = refusal("capacity.still_held", highest_per_s=20.0, next_per_s=30.0)
    assert note("capacity_curve.of_count", webservers=2, reason=held) in curve.notes
    assert capacity_curve([trials("held", 2, {20.0: 0.01})]).exit_code == 5


def not_as_planned(run: TrialRun, rate_per_s: float) -> TrialRun:
    """The same run, the stages of one rate cut short or limited by the load generator."""
    return replace(
        run,
        trials=tuple(
            replace(trial, evidence=replace(trial.evidence, as_planned=False))
            if trial.evidence.rate_per_s == rate_per_s
            else trial
            for trial in run.trials
        ),
    )


def test_trials_that_did_not_run_as_planned_are_no_repeats() -> None:
    sure = trials("sure", 2, {10.0: 0.001, 40.0: 0.9})
    doubts = [trials(name, 2, {12.0: None}) for name in ("a", "b", "c")]

    tried = only(capacity_curve([sure, *doubts]))
    hindered = only(capacity_curve([sure, *(not_as_planned(run, 12.0) for run in doubts)]))

    assert tried.given_up_per_s == 12.0
    assert tried.next_trial is not None
    assert tried.next_trial.rate_per_s == pytest.approx(11.0)
    assert hindered.given_up_per_s is None
    assert hindered.next_trial is not None
    assert hindered.next_trial.rate_per_s == pytest.approx(20.0)


def test_a_fail_counts_even_when_its_stage_was_cut_short() -> None:
    run = not_as_planned(trials("two", 2, {10.0: 0.001, 40.0: 0.9}), 40.0)

    assert only(capacity_curve([run])).lowest_fail_per_s == 40.0


def test_a_rate_that_was_given_up_did_not_fail() -> None:
    sure = trials("sure", 2, {10.0: 0.001, 40.0: 0.9})
    doubts = [trials(name, 2, {12.0: None}) for name in ("a", "b", "c")]

    curve = capacity_curve([sure, *doubts])

    assert only(curve).lowest_fail_per_s == 40.0
    assert curve.notes[-1] == note(
        "capacity_curve.given_up", webservers=2, rate_per_s=12.0, trials=3
    )


def test_only_stages_that_say_nothing_still_lead_to_a_next_one() -> None:
    found = only(capacity_curve([not_as_planned(trials("two", 2, {12.0: None}), 12.0)]))

    assert found.next_trial is not None
    assert found.next_trial.rate_per_s == pytest.approx(8.0)


def test_below_a_lucky_pass_and_an_unlucky_fail_there_is_more_to_try() -> None:
    """The pass at 17 calls/s lies above the fail, so it is no rate to go on from."""
    found = only(capacity_curve([trials("luck", 2, {16.6: 0.08, 17.0: 0.04})]))

    assert (found.highest_pass_per_s, found.lowest_fail_per_s) == (None, 16.6)
    assert found.next_trial is not None
    assert found.next_trial.rate_per_s == pytest.approx(11.0)


@settings(max_examples=30)
@given(
    tried=st.lists(
        st.tuples(st.integers(5, 60), st.sampled_from([0.001, 0.04, 0.06, 0.5, None])),
        min_size=1,
        max_size=8,
    )
)
def test_the_search_goes_on_until_both_bounds_are_known(
    tried: list[tuple[int, float | None]],
) -> None:
    """Whatever held, broke or stayed undecided, in whatever order of the rates."""
    runs = [
        trials(f"run {place}", 2, {float(rate): share}) for place, (rate, share) in enumerate(tried)
    ]

    found = only(capacity_curve(runs))

    bounds = (found.highest_pass_per_s, found.lowest_fail_per_s or found.given_up_per_s)
    estimate = found.capacity_per_s
    if None in bounds and estimate.value is None:
        assert found.next_trial is not None
    if found.lowest_fail_per_s is not None:
        assert any(t.verdict == "fail" for t in found.trials if t.rate_per_s == bounds[1])
    if found.next_trial is not None and bounds[1] is None:
        assert found.next_trial.rate_per_s > (bounds[0] or 0.0)
    if found.next_trial is not None and bounds[1] is not None:
        below = min(bounds[1], found.given_up_per_s or bounds[1])
        assert found.next_trial.rate_per_s < below


def about(value: float, half_width: float) -> Estimate:
    return Estimate(value, value - half_width, value + half_width, 100)


def test_the_gain_is_less_sure_than_either_capacity() -> None:
    """By hand: (30 - 20) / 1, +- sqrt(3^2 + 4^2) = 5."""
    found = gain(2, about(20, 3), 3, about(30, 4))

    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((10.0, 5.0, 15.0))


def test_the_gain_over_several_webservers_is_that_of_one() -> None:
    found = gain(1, about(10, 1), 4, Estimate(40.0, 38.0, None, 100))

    assert found is not None
    assert found.value == pytest.approx(10.0)
    assert found.low == pytest.approx((30 - 5**0.5) / 3)
    assert found.high is None
    assert gain(1, about(10, 1), 2, Estimate(None)) is None


@settings(max_examples=20)
@given(contention=st.floats(-0.1, 0.6), scale=st.floats(0.5, 500.0))
def test_amdahl_finds_the_contention_of_an_exact_curve(contention: float, scale: float) -> None:
    exact = {n: scale * n / (1 + contention * (n - 1)) for n in (2, 3, 4, 5)}

    fit = fit_amdahl({n: about(value, 0.02 * value) for n, value in exact.items()})

    assert fit is not None
    assert fit.contention.value == pytest.approx(contention, abs=2e-3)
    assert fit.contention.low is not None
    assert fit.contention.high is not None
    assert fit.contention.low < contention < fit.contention.high
    drawn = amdahl_capacity(fit, np.array([2.0, 5.0]))
    assert drawn == pytest.approx([exact[2], exact[5]], rel=0.01)


def test_amdahl_goes_through_all_counts_and_not_through_the_first_alone() -> None:
    """The count with the widest interval is off by a third: the others decide."""
    fit = fit_amdahl({1: about(7, 4), 2: about(20, 0.5), 3: about(30, 0.5), 4: about(40, 0.5)})
    assert fit is not None
    assert amdahl_capacity(fit, np.array([4.0]))[0] == pytest.approx(40, rel=0.03)


def test_amdahl_needs_three_counts_with_two_ends() -> None:
    sure = {2: about(20, 1), 3: about(29, 1)}

    assert fit_amdahl(sure) is None
    assert fit_amdahl(sure | {4: Estimate(40.0, 38.0, None, 100)}) is None
    assert fit_amdahl(sure | {4: about(38, 1)}) is not None


@pytest.mark.parametrize(
    ("capacities", "sign"),
    [
        pytest.param((10.0, 20.0, 30.0), 0, id="each adds as much as the first"),
        pytest.param((10.0, 16.0, 19.0), 1, id="work that more webservers do not make faster"),
        pytest.param((10.0, 24.0, 40.0), -1, id="an idle one is found more often"),
    ],
)
def test_contention_tells_how_capacity_grows(capacities: tuple[float, ...], sign: int) -> None:
    fit = fit_amdahl({n: about(value, 0.3) for n, value in enumerate(capacities, start=1)})

    assert fit is not None
    low, high = fit.contention.low or 0.0, fit.contention.high or 0.0
    assert (low > 0) - (high < 0) == sign
