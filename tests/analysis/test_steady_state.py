"""Whether a stage settled, on made-up and queued latencies."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from calls_by_hand import calls_by_hand
from hypothesis import given
from hypothesis import strategies as st
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.results import SteadyState
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.setting import StagePlan
from mwaa_headroom.analysis.stages import StageTimes
from mwaa_headroom.analysis.statistics import Floats
from mwaa_headroom.analysis.steady_state import mser_cut, steady_state
from mwaa_headroom.harness.local.simulated import SharedProcessor

TIME_LIMIT_S = 10.0


def noise(count: int) -> Floats:
    return 10 + np.random.RandomState(12345).random_sample(count) - 0.5


@pytest.mark.parametrize("start", [np.arange(10.0), np.arange(20.0, 10.0, -1.0)])
def test_cuts_a_short_ramp_off(start: Floats) -> None:
    """openkim/kim-convergence, test_ucl_mser_m.py: 10 values up or down to 1000 noisy ones."""
    cut = mser_cut(np.concatenate([start, noise(1000)]))

    assert cut is not None
    assert 10 <= cut <= 505


def test_sees_no_steady_state_in_a_ramp() -> None:
    """openkim/kim-convergence, test_ucl_mser_m.py."""
    assert mser_cut(np.arange(100.0)) is None


def test_sees_no_steady_state_behind_a_ramp_of_the_same_length() -> None:
    """openkim/kim-convergence, test_ucl_mser_m.py: 1000 values up, 1000 noisy ones."""
    random = np.random.RandomState(12345)
    ramp = np.arange(1000) / 1000 * 10 + random.random_sample(1000) - 0.5
    flat = 10 + random.random_sample(1000) - 0.5

    assert mser_cut(np.concatenate([ramp, flat])) is None


def test_cuts_four_high_values() -> None:
    """100, 50, 20, 12 and then 16 values near 10, single values as batches: d* = 4."""
    values = [100, 50, 20, 12, *np.random.default_rng(0).normal(10, 0.5, 16)]

    assert mser_cut(values, batch=1) == 4


def test_constant_values_need_no_cut() -> None:
    """openkim/kim-convergence, test_ucl_mser_m.py."""
    assert mser_cut(np.ones(100)) == 0
    assert mser_cut(np.ones(4)) is None  # less than a batch


@given(
    st.lists(st.floats(-100, 100), min_size=8, max_size=60),
    st.floats(0.1, 1000),
    st.floats(-1e4, 1e4),
)
def test_cut_is_within_the_first_half_whatever_the_values(
    values: list[float], scale: float, offset: float
) -> None:
    cut = mser_cut(scale * np.array(values) + offset, batch=1)

    assert cut is None or 0 <= cut <= len(values) // 2


def times_of(length_s: float, warmup_s: float = 0.0, *, varies: bool = False) -> StageTimes:
    plan = StagePlan(0, "stage 1", 20.0, length_s, warmup_s, varies=varies)
    return StageTimes(plan, 0.0, warmup_s, length_s, complete=True)


def calls_at(starts_s: Floats, latency_s: Floats) -> Calls:
    cut = latency_s > TIME_LIMIT_S
    calls: Calls = calls_by_hand(
        outcomes=["service_timeout" if was else "ok" for was in cut.tolist()],
        starts_s=starts_s.tolist(),
        service_times_s=np.minimum(latency_s, TIME_LIMIT_S).tolist(),
    )
    return calls


def judged(latency_at: Floats, *, length_s: float = 100.0, warmup_s: float = 0.0) -> SteadyState:
    """A stage of 20 calls/s whose latency follows the given values in equal parts."""
    random = np.random.default_rng(1)
    starts_s = np.arange(0.025, length_s, 0.05)
    part = (starts_s / length_s * len(latency_at)).astype(int)
    latency_s = latency_at[part] * random.uniform(0.8, 1.2, len(starts_s))
    return steady_state(times_of(length_s, warmup_s), calls_at(starts_s, latency_s))


@pytest.mark.parametrize(
    ("outcome", "verdict", "reason"),
    [
        ("client_timeout", "unsteady", warning("steady.mostly_cut", cut_fraction=1.0)),
        ("ok", "not_checked", refusal("steady.none_ended")),
    ],
)
def test_calls_that_all_end_after_the_stage(outcome: str, verdict: str, reason: Finding) -> None:
    starts_s = np.arange(0.0, 70.0, 0.1)
    calls = calls_by_hand(
        outcomes=[outcome] * 700, starts_s=starts_s.tolist(), service_times_s=100.0
    )
    found = steady_state(times_of(70.0), calls)

    assert found.verdict == verdict
    assert found.reason == reason
    assert found.settled_after_s is None


def test_a_whole_run_of_calls_cut_after_their_stage_is_analysed(tmp_path: Path) -> None:
    write_synthetic_run(tmp_path / "run", rates_per_s=(4.0,), stage_s=70.0)
    record = read_run(tmp_path / "run")
    requests = record.requests
    for name, value in (("service_time_s", 100.0), ("outcome", "client_timeout")):
        place = requests.schema.get_field_index(name)
        kind = requests.schema.field(place)
        column = pa.array([value] * len(requests)).cast(kind.type)
        requests = requests.set_column(place, kind, column)
    (stage,) = Run(replace(record, requests=requests)).analysis.stages

    assert stage.steady is not None
    assert stage.steady.verdict == "unsteady"


def test_cut_calls_count_although_they_end_after_the_stage() -> None:
    """One fast answer, then none: what little ended in the stage was even."""
    calls = calls_by_hand(
        outcomes=["ok"] * 60 + ["client_timeout"] * 640,
        starts_s=np.arange(0.0, 70.0, 0.1).tolist(),
        service_times_s=[0.1] * 60 + [100.0] * 640,
    )

    assert steady_state(times_of(70.0, 5.0), calls).verdict == "unsteady"


def test_even_latency_is_steady() -> None:
    found = judged(np.array([0.1]))

    assert found.verdict == "steady"
    assert found.reason is None
    assert found.settled_after_s is not None
    assert found.settled_after_s <= 50
    assert found.trend_per_min.low is not None
    assert found.trend_per_min.high is not None
    assert found.trend_per_min.low <= 0 <= found.trend_per_min.high
    assert found.trend_per_min.confidence == 0.99


def test_steady_rise_is_told_with_its_speed() -> None:
    """From 0.1 to 0.3 s in 100 s: by 0.12 s a minute, of a mean of 0.2 s."""
    found = judged(np.linspace(0.1, 0.3, 100))

    assert found.verdict == "rising"
    assert found.settled_after_s is None
    assert found.trend_per_min.value == pytest.approx(0.6, rel=0.05)
    assert found.reason == warning("steady.rising", fraction_per_min=found.trend_per_min.value)


def test_small_rise_is_steady_however_sure_it_is() -> None:
    """10 % over the stage is not what makes a longer one fail."""
    found = judged(np.linspace(0.1, 0.11, 100))

    assert found.trend_per_min.low is not None
    assert found.trend_per_min.low > 0
    assert found.verdict == "steady"


def test_slow_start_is_cut_off() -> None:
    found = judged(np.array([0.9, 0.5, 0.2] + [0.1] * 17))

    assert found.verdict == "steady"
    assert found.settled_after_s == pytest.approx(15.0, abs=5.0)


def test_slow_start_does_not_hide_a_rise() -> None:
    found = judged(np.concatenate([[3.0, 1.0], np.linspace(0.1, 0.4, 38)]), length_s=200)

    assert found.verdict == "rising"


def test_scale_out_in_the_second_half_is_unsteady() -> None:
    found = judged(np.array([0.8, 0.8, 0.8, 0.1, 0.1]))

    assert found.verdict == "unsteady"
    assert found.settled_after_s is None
    assert found.reason is not None
    assert found.reason.code == "steady.changed"
    assert found.reason.values["after_s"] == pytest.approx(60.0, abs=5.0)
    assert (found.reason.values["what"], found.reason.values["rose"]) == ("latency", False)


def test_hump_is_unsteady() -> None:
    found = judged(np.array([0.1, 0.4, 0.7, 0.7, 0.4, 0.1, 0.1, 0.1]), length_s=80)

    assert found.verdict == "unsteady"


def test_calls_cut_at_the_time_limit_hide_what_latency_did() -> None:
    """All latency there is to see is the limit itself, which does not rise."""
    found = judged(np.array([0.2] + [20.0] * 40), length_s=205)

    assert found.verdict == "unsteady"
    assert found.reason is not None
    assert found.reason.code == "steady.mostly_cut"


def test_warmup_is_no_part_of_the_trend() -> None:
    """The latency rises only while it warms up."""
    rise = np.concatenate([np.linspace(0.02, 0.2, 8), np.full(32, 0.2)])

    assert judged(rise, length_s=200, warmup_s=40).verdict == "steady"


@pytest.mark.parametrize(
    ("length_s", "warmup_s", "gap_s", "needed_s", "measured_s"),
    [
        (40.0, 0.0, 0.05, 50.0, 40.0),
        (60.0, 20.0, 0.05, 50.0, 40.0),
        (60.0, 0.0, 5.0, 250.0, 60.0),
    ],
    ids=["short", "long warm-up", "few calls"],
)
def test_says_how_long_would_do(
    length_s: float, warmup_s: float, gap_s: float, needed_s: float, measured_s: float
) -> None:
    starts_s = np.arange(gap_s / 2, length_s, gap_s)
    found = steady_state(
        times_of(length_s, warmup_s), calls_at(starts_s, np.full_like(starts_s, 0.1))
    )

    assert found.verdict == "not_checked"
    assert found.reason == refusal(
        "steady.too_short", needed_s=pytest.approx(needed_s), measured_s=measured_s
    )
    assert found.trend_per_min.value is None


def test_few_calls_make_for_longer_batches() -> None:
    """0.2 calls/s over 10 minutes: 24 batches of 25 s."""
    starts_s = np.arange(2.5, 600, 5.0)
    found = steady_state(times_of(600.0), calls_at(starts_s, np.full_like(starts_s, 0.1)))

    assert found.verdict == "steady"
    assert found.trend_per_min.n == 24


def test_stage_without_calls_is_not_checked() -> None:
    assert steady_state(times_of(100.0), calls_by_hand(outcomes=[])).verdict == "not_checked"


def test_seconds_in_which_nothing_ends_are_bridged() -> None:
    starts_s = np.concatenate([np.arange(0.0, 40, 0.05), np.arange(55, 200, 0.05)])
    latency_s = np.full_like(starts_s, 0.1)

    assert steady_state(times_of(200.0), calls_at(starts_s, latency_s)).verdict == "steady"


def test_load_that_changes_has_nothing_to_settle() -> None:
    starts_s = np.arange(0.0, 100, 0.05)
    found = steady_state(
        times_of(100.0, varies=True), calls_at(starts_s, np.full_like(starts_s, 0.1))
    )

    assert found.verdict == "not_checked"
    assert found.reason == refusal("steady.load_varies")


def shared_processor_stage(utilisation: float, length_s: float, seed: int) -> SteadyState:
    """Poisson arrivals at one processor that calls of 20 ms on average share."""
    random = np.random.default_rng(seed)
    count = random.poisson(utilisation / 0.02 * length_s)
    starts_s = np.sort(random.uniform(0, length_s, count))
    processor = SharedProcessor(cores=1.0, contention=0.0, now_s=0.0)
    ends_s = np.zeros(count)
    started = zip(starts_s.tolist(), random.exponential(0.02, count).tolist(), strict=True)
    for start_s, demand_s in started:
        for finished in processor.advance(start_s):
            ends_s[finished.ticket] = finished.time_s
        processor.add(demand_s)
    for finished in processor.advance(length_s + 1000.0):
        ends_s[finished.ticket] = finished.time_s
    return steady_state(times_of(length_s), calls_at(starts_s, ends_s - starts_s))


@pytest.mark.parametrize("utilisation", [0.5, 0.8])
def test_busy_stages_are_not_called_rising(utilisation: float) -> None:
    """12 stages of a minute: 2 of them would be a wonder at less than 2 %."""
    verdicts = Counter(
        shared_processor_stage(utilisation, 60.0, seed).verdict for seed in range(12)
    )

    assert verdicts["rising"] <= 1


def test_overloads_are_called_rising() -> None:
    verdicts = [shared_processor_stage(1.2, 60.0, seed).verdict for seed in range(8)]

    assert verdicts == ["rising"] * 8
