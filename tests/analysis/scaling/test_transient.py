from dataclasses import replace

import numpy as np
import pytest
from calls_by_hand import began, calls_by_hand, ended, setting_of

from mwaa_headroom.analysis.calls import Calls, good_calls
from mwaa_headroom.analysis.judge import Window
from mwaa_headroom.analysis.results import ScalingEvent, TransientCost
from mwaa_headroom.analysis.scaling.cost import with_costs
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.stages import StageTimes, stage_times

LIMIT = (parse_slo("p95(latency) < 1s"),)
FROM_S, TO_S = 100.0, 150.0


SCALE_OUT = ScalingEvent(
    from_count=2,
    to_count=3,
    load_step_s=FROM_S,
    breach_s=105.0,
    decision_s=110.0,
    count_changed_s=135.0,
    ready_s=130.0,
    slo_restored_s=TO_S,
    takes_traffic_s=130.0,
    slo_broke=True,
)


def stages_of(
    *loads: float, seconds: float = 100.0, warmup_s: float = 0.0
) -> tuple[StageTimes, ...]:
    plans = [{"rate_per_s": load, "duration_s": seconds, "warmup_s": warmup_s} for load in loads]
    events = []
    for index in range(len(loads)):
        events += [began(index, index * seconds), ended(index, (index + 1) * seconds)]
    return stage_times(setting_of(*plans), events, calls_by_hand(outcomes=[]))


def calls_of_run(length_s: float, failing: dict[float, int], slow: dict[float, int]) -> Calls:
    """Ten calls per second; from a time on so many of each ten fail or are slow."""
    starts = np.arange(0, length_s, 0.1)
    outcomes, times = [], []
    for number, start in enumerate(starts):
        fails = [count for from_s, count in failing.items() if start >= from_s - 1e-6][-1:]
        lags = [count for from_s, count in slow.items() if start >= from_s - 1e-6][-1:]
        outcomes.append("throttled" if number % 10 < (fails or [0])[0] else "ok")
        times.append(2.0 if number % 10 >= 10 - (lags or [0])[0] else 0.1)
    stage = (starts // 100).astype(int).tolist()
    return calls_by_hand(
        outcomes=outcomes, starts_s=starts.tolist(), service_times_s=times, stages=stage
    )


def costs_of(
    calls: Calls, stages: tuple[StageTimes, ...], *events: ScalingEvent
) -> list[TransientCost | None]:
    found = with_costs(events or (SCALE_OUT,), stages, Window(calls, good_calls(calls, LIMIT), ()))
    return [event.cost for event in found]


def test_excess_is_what_goes_beyond_the_share_before() -> None:
    calls = calls_of_run(200.0, failing={0.0: 1, 100.0: 4, 150.0: 1}, slow={100.0: 3, 140.0: 0})
    (cost,) = costs_of(calls, stages_of(10, 20))
    assert cost is not None
    assert (cost.from_s, cost.to_s, cost.ended) == (100.0, 150.0, True)
    assert (cost.calls, cost.errors, cost.slow_calls) == (500, 200, 120)
    assert cost.excess_errors == pytest.approx(200 - 0.1 * 500)
    assert cost.excess_slow_calls == pytest.approx(120)


def test_the_warm_up_before_is_no_baseline() -> None:
    calls = calls_of_run(200.0, failing={0.0: 5, 50.0: 0, 100.0: 2}, slow={})
    (cost,) = costs_of(calls, stages_of(10, 20, warmup_s=50.0))
    assert cost is not None
    assert cost.excess_errors == pytest.approx(100)


def test_the_transients_before_are_no_baseline() -> None:
    first = SCALE_OUT
    second = replace(SCALE_OUT, load_step_s=200.0, ready_s=230.0, slo_restored_s=260.0)
    calls = calls_of_run(300.0, failing={100.0: 5, 150.0: 1, 200.0: 3, 260.0: 0}, slow={})
    _, cost = costs_of(calls, stages_of(10, 20, 30), first, second)
    assert cost is not None
    # one in ten failed from 150 to 200 and none before 100: 50 of 1500 calls
    assert cost.excess_errors == pytest.approx(180 - 600 * 50 / 1500)


def test_heavier_stages_before_are_no_baseline() -> None:
    calls = calls_of_run(300.0, failing={0.0: 9, 100.0: 0, 200.0: 2}, slow={})
    event = replace(
        SCALE_OUT, load_step_s=200.0, ready_s=230.0, takes_traffic_s=230.0, slo_restored_s=250.0
    )
    (cost,) = costs_of(calls, stages_of(30, 10, 20), event)
    assert cost is not None
    assert cost.excess_errors == pytest.approx(100)


@pytest.mark.parametrize(
    ("broke", "to_s", "is_over"),
    [
        (False, 130.0, True),  # never broken: until the webserver came
        (True, 300.0, False),  # until the load fell
        (None, 300.0, False),  # not judged
    ],
)
def test_when_a_transient_ends_that_was_not_seen_to_end(
    broke: bool | None, to_s: float, is_over: bool
) -> None:
    event = replace(SCALE_OUT, slo_restored_s=None, slo_broke=broke)
    calls = calls_of_run(400.0, failing={}, slow={})
    (cost,) = costs_of(calls, stages_of(10, 20, 20, 10), event)
    assert cost is not None
    assert (cost.to_s, cost.ended) == (to_s, is_over)


def test_scale_outs_after_one_load_step_share_one_cost() -> None:
    second = replace(SCALE_OUT, decision_s=140.0, ready_s=145.0)
    costs = costs_of(calls_of_run(200.0, {}, {}), stages_of(10, 20), SCALE_OUT, second)
    assert costs[0] is not None
    assert costs[1] is None


@pytest.mark.parametrize(
    "event", [replace(SCALE_OUT, to_count=1), replace(SCALE_OUT, load_step_s=None)]
)
def test_no_cost_of_scaling_in_or_without_a_load_step(event: ScalingEvent) -> None:
    assert costs_of(calls_of_run(200.0, {}, {}), stages_of(10, 20), event) == [None]


def test_unsent_calls_and_recovery_phases_do_not_count() -> None:
    starts = np.arange(0, 200, 0.1)
    outcomes = np.where(starts < 120, "ok", "unsent").tolist()
    stage = np.where(starts < 110, 0, -1)
    calls = calls_by_hand(outcomes=outcomes, starts_s=starts.tolist(), stages=stage.tolist())
    (cost,) = costs_of(calls, stages_of(10, 20))
    assert cost is not None
    assert (cost.calls, cost.errors) == (100, 0)
