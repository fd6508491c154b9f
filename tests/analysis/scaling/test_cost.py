"""What scaling cost, what each webserver count did, and how well the count fit."""

from dataclasses import replace

import numpy as np
import pytest
from calls_by_hand import began, calls_by_hand, ended, periods_by_hand, setting_of
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.calls import Calls, good_calls
from mwaa_headroom.analysis.findings import note, refusal
from mwaa_headroom.analysis.results import (
    CountRow,
    DemandResult,
    PeriodPoint,
    ScalingEvent,
    TransientCost,
)
from mwaa_headroom.analysis.scaling import cost
from mwaa_headroom.analysis.scaling.cost import by_webservers, elasticity, provisioning, with_costs
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.slo_judgement import Window
from mwaa_headroom.analysis.stages import StageTimes, stage_times
from mwaa_headroom.analysis.statistics import Estimate, is_lower_bound

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


def rows_of(calls: Calls, webservers: list[int | None], warmup_s: float = 0.0) -> list[CountRow]:
    setting = setting_of({"duration_s": 100.0, "warmup_s": warmup_s})
    times = stage_times(setting, [began(0, 0.0), ended(0, 100.0)], calls)
    cpu = [40.0 + 10 * (count or 0) for count in webservers]
    periods = periods_by_hand(webservers=webservers, cpu_percent=cpu)
    return list(by_webservers(times, Window(calls, good_calls(calls, LIMIT), periods)))


def calls_at(per_s: float, **columns: object) -> Calls:
    starts = np.arange(0, 100, 1 / per_s).tolist()
    outcomes = ["ok"] * len(starts)
    return calls_by_hand(outcomes=outcomes, starts_s=starts, **columns)  # type: ignore[arg-type]


def test_each_count_has_the_calls_of_its_own_periods() -> None:
    # 20 periods of 5 s: those from 45 to 55 s are beside the change and left out
    starts = np.arange(0, 100, 0.1)
    times = np.where(starts < 50, 2.0, 0.1)  # slow with two webservers
    two, three = rows_of(calls_at(10, service_times_s=times.tolist()), [2] * 10 + [3] * 10)
    assert (two.webservers, three.webservers) == (2, 3)
    assert (two.time_s, three.time_s) == (45.0, 45.0)
    assert two.offered_per_s == pytest.approx(10.0)
    assert (two.goodput_per_s, three.goodput_per_s) == (0.0, pytest.approx(10.0))
    assert three.goodput_per_webserver_per_s == pytest.approx(10 / 3)
    assert (two.cpu_percent, three.cpu_percent) == (60.0, 70.0)
    assert (two.latency_p50_s.value, three.latency_p50_s.value) == (2.0, pytest.approx(0.1))
    assert three.latency_p95_s.n == three.calls == 450
    assert three.latency_p95_s.low is not None


def test_errors_have_their_interval_and_cut_calls_make_a_lower_bound() -> None:
    outcomes = ["service_timeout", "airflow_server_error"] + ["ok"] * 8
    calls = calls_by_hand(
        outcomes=outcomes * 20, starts_s=np.arange(0, 100, 0.5).tolist(), service_times_s=10.0
    )
    (row,) = rows_of(calls, [1] * 20)
    assert row.error_rate.value == pytest.approx(0.2)
    assert row.error_rate.low is not None
    assert row.error_rate.low < 0.2
    assert is_lower_bound(row.latency_p95_s)


def test_warm_up_unsent_calls_and_periods_without_a_count_are_left_out() -> None:
    outcomes = ["unsent", "ok"] * 50
    calls = calls_by_hand(outcomes=outcomes)
    (row,) = rows_of(calls, [1] * 12 + [None] * 8, warmup_s=20.0)
    # from 20 s on, up to the period before the one without a count, which starts at 60 s
    assert row.time_s == 35.0
    assert row.offered_per_s == pytest.approx(1.0)
    assert row.calls == 17
    assert row.error_rate.value == 0.0


def test_calls_are_counted_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_at(10)
    at_once = rows_of(calls, [2] * 10 + [3] * 10)
    monkeypatch.setattr(cost, "_BLOCK", 7)
    assert rows_of(calls, [2] * 10 + [3] * 10) == at_once


def test_no_metrics_no_rows() -> None:
    assert rows_of(calls_at(1), []) == []


counts = st.integers(1, 5)


def demand(rate_per_webserver_per_s: float | None) -> DemandResult:
    nothing = Estimate(None)
    rate = Estimate(rate_per_webserver_per_s)
    return DemandResult(nothing, {}, None, None, nothing, rate, 20)


def points(webservers: list[int | None], offered_per_s: list[float]) -> list[PeriodPoint]:
    return [
        PeriodPoint(
            start_s=1000.0 + 60 * index,
            period_s=60.0,
            webservers=count,
            cpu_percent=None,
            cpu_max_percent=None,
            memory_percent=None,
            connections=None,
            offered_per_s=offered,
            achieved_per_s=offered,
            goodput_per_s=offered,
            errors_per_s=0.0,
        )
        for index, (count, offered) in enumerate(zip(webservers, offered_per_s, strict=True))
    ]


def test_two_step_functions_by_hand() -> None:
    """Ten steps of 60 s, worked out on paper after N. Herbst et al., arXiv:1604.03470.

    Lacking: steps 3 and 4, 2 of 4 each -> 2 * 0.5 / 10. Too many: 1 of 3, 1 of 3, 2 of 2, 1 of 2
    -> 2.1667 / 10.
    """
    needed = np.array([2, 2, 4, 4, 4, 3, 3, 2, 2, 2], dtype=float)
    had = np.array([2, 2, 2, 2, 4, 4, 4, 4, 3, 2], dtype=float)
    found = provisioning(needed, had, 60.0)
    assert found.under_provisioned == pytest.approx(0.10)
    assert found.over_provisioned == pytest.approx(0.21667, abs=1e-5)
    assert found.under_time == pytest.approx(0.2)
    assert found.over_time == pytest.approx(0.4)
    assert found.duration_s == 600.0


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=60))
def test_laws_of_the_metrics(pairs: list[tuple[int, int]]) -> None:
    needed, had = np.array(pairs, dtype=float).T
    found = provisioning(needed, had, 5.0)
    swapped = provisioning(had, needed, 5.0)
    assert found.under_time is not None
    assert found.over_time is not None
    assert found.under_provisioned is not None
    assert 0 <= found.under_provisioned <= found.under_time <= 1
    assert found.under_time + found.over_time <= 1 + 1e-12
    assert found.under_time == swapped.over_time


@given(st.lists(counts, min_size=1, max_size=60))
def test_who_always_has_what_is_needed_is_perfect(wanted: list[int]) -> None:
    needed = np.array(wanted, dtype=float)
    found = provisioning(needed, needed, 5.0)
    assert found.under_provisioned == found.over_provisioned == 0
    assert found.under_time == found.over_time == 0


def test_the_need_is_the_load_over_what_one_webserver_takes() -> None:
    # 10 per webserver: needed are 2 (at least), 3 (30 exactly), 4, 6 (more than the most)
    found = elasticity(
        points([2, 2, 4, 5], [5.0, 30.0, 31.0, 60.0]),
        demand(10.0),
        min_webservers=2,
        max_webservers=5,
    )
    assert found is not None
    assert found.under_time == pytest.approx(2 / 4)
    assert found.under_provisioned == pytest.approx((1 / 3 + 1 / 6) / 4)
    assert found.over_time == 0
    assert found.refusal is None
    assert found.needed_by == note(
        "scaling.needed_by_demand",
        rate_per_webserver_per_s=10.0,
        least_webservers=2,
        most_webservers=5,
        above_most_fraction=0.25,
    )


def test_time_without_load_or_without_a_count_says_nothing() -> None:
    found = elasticity(
        points([5, 2, None, 2], [0.0, 5.0, 50.0, 5.0]),
        demand(10.0),
        min_webservers=1,
        max_webservers=5,
    )
    assert found is not None
    assert found.duration_s == 120.0
    assert found.over_time == 1.0


@pytest.mark.parametrize("known", [None, demand(None), demand(0.0)])
def test_without_a_demand_the_need_is_not_known(known: DemandResult | None) -> None:
    found = elasticity(points([2, 2], [5.0, 5.0]), known, min_webservers=1, max_webservers=5)
    assert found is not None
    assert found.under_provisioned is None
    assert found.refusal == refusal("scaling.no_demand")


def test_no_metrics_no_elasticity() -> None:
    assert elasticity([], demand(10.0), min_webservers=1, max_webservers=5) is None
    idle = points([2, None], [0.0, 5.0])
    assert elasticity(idle, demand(10.0), min_webservers=1, max_webservers=5) is None
