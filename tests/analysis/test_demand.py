from pathlib import Path

import numpy as np
import pytest
from calls_by_hand import calls_by_hand, periods_by_hand
from hypothesis import given
from hypothesis import strategies as st
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.demand import calls_in_periods, estimate_demand, steady_periods
from mwaa_headroom.analysis.findings import warning
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.results import DemandResult
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.statistics import Estimate

LIST_DAGS = {"list_dags": 1.0}


def holds(estimate: Estimate, truth: float) -> bool:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low <= truth <= estimate.high


def demand_of(directory: Path) -> DemandResult:
    demand = Run(read_run(directory)).analysis.demand
    assert demand is not None
    return demand


def test_known_demands_are_recovered(tmp_path: Path) -> None:
    truth = write_synthetic_run(tmp_path / "run")
    demand = demand_of(tmp_path / "run")
    assert demand.refusal is None
    assert demand.mix_s.value == pytest.approx(truth.mix_demand_s, rel=0.05)
    for name, estimate in demand.per_operation_s.items():
        assert estimate.value == pytest.approx(truth.demands_s[name], rel=0.03)


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_promise(tmp_path: Path) -> None:
    """Of 20 seeded runs 19 should cover; 15 or fewer have a chance of .003 at a true 95 %."""
    runs = 20
    covered = dict.fromkeys(("mix", "background", "trigger_dag_run", "list_dags", "health"), 0)
    for seed in range(runs):
        truth = write_synthetic_run(
            tmp_path / str(seed), seed=seed, cpu_noise_percent=1.0, with_environment_events=False
        )
        demand = demand_of(tmp_path / str(seed))
        assert demand.refusal is None
        covered["mix"] += holds(demand.mix_s, truth.mix_demand_s)
        covered["background"] += holds(demand.background_cpu_per_webserver, truth.background_cpu)
        for name, estimate in demand.per_operation_s.items():
            covered[name] += holds(estimate, truth.demands_s[name])
            assert estimate.value == pytest.approx(truth.demands_s[name], rel=0.5)
    assert min(covered.values()) >= 16, covered


def test_operations_that_vary_together_are_refused_but_the_mix_is_not(tmp_path: Path) -> None:
    truth = write_synthetic_run(tmp_path / "run", mix_in_turn=True)
    demand = demand_of(tmp_path / "run")
    assert demand.per_operation_s == {}
    assert demand.refusal is not None
    assert demand.refusal.code == "demand.operations_varied_together"
    assert demand.refusal.values["condition_number"] > demand.refusal.values["limit"]
    assert demand.mix_s.value == pytest.approx(truth.mix_demand_s, rel=0.05)


def test_the_rate_of_one_webserver_is_surer_than_demand_and_background_alone(
    tmp_path: Path,
) -> None:
    """Where the demand comes out high the background comes out low: together they vary less."""
    write_synthetic_run(tmp_path / "run", mix_in_turn=True)
    demand = demand_of(tmp_path / "run")
    one, mix, own = (
        demand.rate_per_webserver_per_s,
        demand.mix_s,
        demand.background_cpu_per_webserver,
    )
    for estimate in (one, mix, own):
        assert estimate.low is not None
        assert estimate.high is not None
    usable = (one.value or 0.0) * (mix.value or 0.0) + (own.value or 0.0)
    alone = ((usable - own.high) / mix.high, (usable - own.low) / mix.low)
    assert alone[0] < one.low < one.value < one.high < alone[1]


def test_a_single_rate_leaves_the_background_in_the_demand() -> None:
    calls = calls_by_hand(
        outcomes=["ok"] * 300, starts_s=(np.arange(300) * 0.5).tolist(), service_times_s=0.1
    )
    demand = estimate_demand(calls, periods_by_hand(webservers=[2] * 30), 0.5, 0.7, LIST_DAGS)
    assert demand is not None
    assert demand.background_cpu_per_webserver.value == 0
    # 50 % of 2 webservers with half a CPU, at 2 calls/s
    assert demand.mix_s.value == pytest.approx(0.25, rel=0.01)
    assert warning("demand.background_unknown") in demand.mix_s.warnings


def test_calls_that_never_reached_a_webserver_cost_nothing() -> None:
    ok = calls_by_hand(outcomes=["ok"] * 300, starts_s=(np.arange(300) * 0.5).tolist())
    both = calls_by_hand(
        outcomes=["ok", "throttled"] * 300, starts_s=(np.arange(600) * 0.25).tolist()
    )
    periods = periods_by_hand(webservers=[2] * 30)
    expected, seen = (estimate_demand(calls, periods, 0.5, 0.7, LIST_DAGS) for calls in (ok, both))
    assert expected is not None
    assert seen is not None
    assert seen.mix_s.value == pytest.approx(expected.mix_s.value)


@pytest.mark.parametrize(
    ("cpu_percent", "count"),
    [(50.0, 5), (99.0, 30), (2.0, 30)],
    ids=["too few periods", "saturated", "idle"],
)
def test_too_little_evidence_is_refused_with_what_is_needed(cpu_percent: float, count: int) -> None:
    calls = calls_by_hand(outcomes=["ok"] * 100)
    periods = periods_by_hand(webservers=[2] * count, cpu_percent=cpu_percent)
    demand = estimate_demand(calls, periods, 0.5, 0.7, LIST_DAGS)
    assert demand is not None
    assert demand.mix_s.value is None
    assert demand.refusal is not None
    assert demand.refusal.code == "demand.few_periods"
    assert demand.refusal.values["needed"] == 6
    assert demand.refusal.values["periods"] == (5 if count == 5 else 0)


def test_without_the_size_of_a_webserver_there_is_no_demand() -> None:
    calls = calls_by_hand(outcomes=["ok"] * 100)
    periods = periods_by_hand(webservers=[2] * 30)
    assert estimate_demand(calls, periods, None, 0.7, LIST_DAGS) is None


def test_periods_beside_a_change_of_the_count_are_left_out() -> None:
    periods = periods_by_hand(webservers=[2, 2, 2, 3, 3, 3, None, 3, 3])
    assert [period.start_s for period in steady_periods(periods)] == [0.0, 5.0, 20.0, 40.0]


def test_a_call_across_a_border_counts_in_both_periods_by_its_time_in_each() -> None:
    calls = calls_by_hand(outcomes=["ok"], starts_s=[4.0], service_times_s=4.0)
    work = calls_in_periods(calls, periods_by_hand(webservers=[1, 1]))
    assert work.tolist() == pytest.approx([0.25, 0.75])


@given(
    st.lists(
        st.tuples(st.floats(0, 40), st.floats(0, 9)),
        min_size=1,
        max_size=30,
    )
)
def test_the_work_of_all_periods_is_the_number_of_calls(calls: list[tuple[float, float]]) -> None:
    made = calls_by_hand(
        outcomes=["ok"] * len(calls),
        starts_s=[start for start, _ in calls],
        service_times_s=[took for _, took in calls],
    )
    work = calls_in_periods(made, periods_by_hand(webservers=[1] * 10))
    assert work.sum() == pytest.approx(len(calls))
    assert (work >= 0).all()
