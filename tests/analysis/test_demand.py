"""Service demands from known truths, and what too little evidence says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from calls_by_hand import calls_by_hand, periods_by_hand
from hypothesis import given
from hypothesis import strategies as st
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.demand import (
    calls_in_periods,
    estimate_demand,
    steady_periods,
)
from mwaa_headroom.analysis.findings import refusal, warning
from mwaa_headroom.analysis.metric_periods import WebserverPeriod
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
    """Of 12 seeded runs 11 should cover; 8 or fewer have a chance of .002 at a true 95 %."""
    runs = 12
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
    assert min(covered.values()) >= 9, covered


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


DEMANDS_S = {"health": 0.01, "list_dags": 0.03, "trigger": 0.05}
MIX = {"health": 0.5, "list_dags": 0.3, "trigger": 0.2}
MIX_S = 0.024
BACKGROUND, WEBSERVER_CPU, PERIOD_S = 0.02, 0.5, 5.0
TARGET = 0.7
RATE_OF_ONE_PER_S = (TARGET * WEBSERVER_CPU - BACKGROUND) / MIX_S


@dataclass(frozen=True)
class Stage:
    """A rate of calls for some periods; None: of the whole mix."""

    operation: str | None
    rate_per_s: float
    periods: int = 6


def run_of(
    stages: Sequence[Stage], *, seed: int = 1, cv: float = 0.5, noise_percent: float = 0.0
) -> tuple[Calls, tuple[WebserverPeriod, ...]]:
    """One webserver; no call lasts beyond its period."""
    random = np.random.default_rng(seed)
    starts_s: list[float] = []
    operations: list[str] = []
    cpu_percent: list[float] = []
    for stage in stages:
        for _ in range(stage.periods):
            begin_s = len(cpu_percent) * PERIOD_S
            count = int(random.poisson(stage.rate_per_s * PERIOD_S))
            mine = [stage.operation] * count
            if stage.operation is None:
                mine = random.choice(list(MIX), count, p=list(MIX.values())).tolist()
            means_s = np.array([DEMANDS_S[str(one)] for one in mine])
            used_s = random.gamma(1 / cv**2, means_s * cv**2).sum() + BACKGROUND * PERIOD_S
            percent = 100 * used_s / PERIOD_S / WEBSERVER_CPU + random.normal(0, noise_percent)
            starts_s += random.uniform(begin_s, begin_s + PERIOD_S - 0.1, count).tolist()
            operations += [str(one) for one in mine]
            cpu_percent.append(float(percent))
    calls = calls_by_hand(outcomes=["ok"] * len(starts_s), operations=operations, starts_s=starts_s)
    return calls, periods_by_hand(webservers=[1] * len(cpu_percent), cpu_percent=cpu_percent)


def demand_of_design(stages: Sequence[Stage], **how: float) -> DemandResult:
    calls, periods = run_of(stages, **how)  # type: ignore[arg-type]
    found = estimate_demand(calls, periods, WEBSERVER_CPU, TARGET, MIX)
    assert found is not None
    return found


NO_TRIGGER = refusal("demand.operations_missing", operations=("trigger",), usual_percent=70.0)


def code_of(found: DemandResult) -> str:
    """Why the operations could not be told apart."""
    assert found.refusal is not None
    return found.refusal.code


QUIET = Stage("health", 1)
CALIBRATION = (QUIET, Stage("health", 20), Stage("list_dags", 7), Stage("trigger", 4))
MIX_STAGES = tuple(Stage(None, rate) for rate in (2, 5, 8, 11))


def truths_of(found: DemandResult) -> dict[str, tuple[float, float, float]]:
    """Low end, high end and truth of everything that was estimated."""
    estimates = {
        "mix": (found.mix_s, MIX_S),
        "background": (found.background_cpu_per_webserver, BACKGROUND),
        "rate": (found.rate_per_webserver_per_s, RATE_OF_ONE_PER_S),
        **{name: (one, DEMANDS_S[name]) for name, one in found.per_operation_s.items()},
    }
    return {
        name: (one.low or 0.0, np.inf if one.high is None else one.high, truth)
        for name, (one, truth) in estimates.items()
    }


def test_one_operation_at_a_time_tells_the_demand_of_a_mix_that_was_never_sent() -> None:
    found = demand_of_design(CALIBRATION)
    assert found.refusal is None
    assert found.mix_s.value == pytest.approx(MIX_S, rel=0.1)
    assert found.rate_per_webserver_per_s.value == pytest.approx(RATE_OF_ONE_PER_S, rel=0.1)
    for name, estimate in found.per_operation_s.items():
        assert estimate.value == pytest.approx(DEMANDS_S[name], rel=0.15)
    assert found.condition_number is not None
    assert found.condition_number < 6


@pytest.mark.parametrize("stages", [CALIBRATION, MIX_STAGES], ids=["calibration", "mix"])
@pytest.mark.slow
def test_intervals_cover_the_truth_of_every_design(stages: Sequence[Stage]) -> None:
    """Of 150 seeded runs 90 to 99 %; outside is a chance of .01 at a true 95 %.

    The background's may cover more often, for below 0 there is nothing to miss, and so may those of
    single operations: few periods tell most of one, so that the degrees of freedom are few, and are
    rather estimated too few (97.3 % of 600 runs for `trigger` in the mix; 97.2 % with errors taken
    for independent).
    """
    covered: dict[str, list[bool]] = {}
    for seed in range(150):
        found = demand_of_design(stages, seed=seed, cv=0.7, noise_percent=1.0)
        for name, (low, high, truth) in truths_of(found).items():
            covered.setdefault(name, []).append(low <= truth <= high)
    shares = {name: sum(hits) / len(hits) for name, hits in covered.items()}
    assert {"mix", "background", "rate", *DEMANDS_S} == set(shares)
    assert min(shares.values()) >= 0.90, shares
    assert max(shares["mix"], shares["rate"]) <= 0.99, shares


def test_an_operation_without_calls_leaves_the_mix_unknown() -> None:
    found = demand_of_design(CALIBRATION[:3])
    assert set(found.per_operation_s) == {"health", "list_dags"}
    assert found.mix_s.value is None
    assert found.rate_per_webserver_per_s.value is None
    assert found.mix_s.warnings == (NO_TRIGGER,)


def test_calibration_needs_a_stage_with_hardly_any_calls() -> None:
    """At one rate each, the background could as well be a part of every demand."""
    calls, periods = run_of([Stage(one.operation, 40 * one.rate_per_s) for one in CALIBRATION[1:]])
    found = estimate_demand(
        calls,
        [replace(p, cpu_percent=(p.cpu_percent or 0.0) / 40) for p in periods],
        40 * WEBSERVER_CPU,
        TARGET,
        MIX,
    )
    assert found is not None
    assert found.per_operation_s == {}
    assert found.mix_s.value is None
    assert code_of(found) == "demand.rates_varied_little"


def test_a_mix_of_a_single_operation_has_its_demand_and_no_refusal() -> None:
    for stages in (CALIBRATION[:2], (Stage("health", 20, periods=12),)):
        calls, periods = run_of(stages)
        found = estimate_demand(calls, periods, WEBSERVER_CPU, TARGET, {"health": 1.0})
        assert found is not None
        assert found.refusal is None
        assert found.mix_s.value == pytest.approx(0.01, rel=0.25)
        assert found.per_operation_s["health"].value == found.mix_s.value


def test_a_mix_that_was_sent_is_known_though_its_operations_are_not() -> None:
    found = demand_of_design(tuple(Stage(None, rate, periods=1) for rate in (2, 3, 5, 6, 8, 9, 10)))
    assert found.refusal == refusal(
        "demand.few_periods_per_operation", operations=3, needed=8, periods=7
    )
    assert found.mix_s.value == pytest.approx(MIX_S, rel=0.25)


def test_other_shares_than_those_of_the_mix_are_not_taken_for_it() -> None:
    calls, periods = run_of([Stage(None, rate, periods=1) for rate in (2, 3, 5, 6, 8, 9, 10)])
    found = estimate_demand(calls, periods, WEBSERVER_CPU, TARGET, {"health": 1, "list_dags": 0})
    assert found is not None
    assert found.mix_s.value is None
    assert found.mix_s.warnings == (refusal("demand.other_shares", reason=found.refusal),)


def test_where_calls_might_cost_nothing_there_is_no_upper_limit_for_the_rate() -> None:
    random = np.random.default_rng(2)
    calls, _ = run_of([Stage(None, 9, periods=12)])
    noise = random.uniform(5, 60, 12).tolist()
    periods = periods_by_hand(webservers=[1] * 12, cpu_percent=noise)
    found = estimate_demand(calls, periods, WEBSERVER_CPU, TARGET, MIX)
    assert found is not None
    rate = found.rate_per_webserver_per_s
    assert rate.low is not None
    assert rate.high is None
    assert warning("demand.no_upper_limit") in rate.warnings


def test_an_operation_that_only_saturated_webservers_had_is_not_guessed_at() -> None:
    found = demand_of_design((*CALIBRATION[:3], Stage("trigger", 20)))
    assert set(found.per_operation_s) == {"health", "list_dags"}
    assert found.mix_s.warnings == (NO_TRIGGER,)


def codes_of(found: DemandResult) -> set[str]:
    return {each.code for each in found.mix_s.warnings}


def measured(calls: Calls, periods: Sequence[WebserverPeriod]) -> DemandResult:
    found = estimate_demand(calls, periods, WEBSERVER_CPU, TARGET, MIX)
    assert found is not None
    return found


UP_AND_DOWN = (*MIX_STAGES, *reversed(MIX_STAGES))


def test_stages_up_and_down_of_calls_that_always_cost_the_same_say_nothing() -> None:
    assert codes_of(demand_of_design(UP_AND_DOWN, cv=0.1, seed=3)) == set()


def test_a_call_that_costs_more_at_higher_load_has_the_demand_of_the_utilisation_target() -> None:
    stages = [Stage(None, rate, periods=20) for rate in (0.5, 3, 5, 7, 9, 9.5)]
    sent, periods = run_of((*stages, *reversed(stages)), cv=0.02)
    pattern = ("health", "list_dags", "health", "trigger", "health")
    pattern += ("list_dags", "health", "trigger", "health", "list_dags")
    calls = calls_by_hand(  # in shares so even that operations cannot be told apart
        outcomes=["ok"] * len(sent),
        operations=[pattern[at % len(pattern)] for at in range(len(sent))],
        starts_s=np.sort(sent.start_s).tolist(),
    )
    used = [(p.cpu_percent or 0.0) / 100 for p in periods]
    bent = [
        replace(p, cpu_percent=100 * cpu * (1 + 0.6 * cpu))
        for p, cpu in zip(periods, used, strict=True)
    ]
    found = measured(calls, bent)
    told = next(w for w in found.mix_s.warnings if w.code == "demand.depends_on_load")
    (low_cpu, low_s), (high_cpu, high_s) = told.values["at_least"], told.values["at_most"]
    assert low_cpu < 0.2 < 0.55 < high_cpu
    assert low_s < 1.2 * MIX_S < 1.25 * MIX_S < high_s
    # u (1 + 0.6 u) = 0.7
    at_target_per_s = ((2.68**0.5 - 1) / 1.2 * WEBSERVER_CPU - BACKGROUND) / MIX_S
    assert holds(found.rate_per_webserver_per_s, at_target_per_s)
    assert found.rate_per_webserver_per_s.value == pytest.approx(at_target_per_s, rel=0.04)


def drifting(stages: Sequence[Stage]) -> DemandResult:
    """The background rises by 10 points of CPU."""
    calls, periods = run_of(stages, cv=0.1, seed=3)
    rising = np.linspace(0, 10, len(periods)).tolist()
    return measured(
        calls,
        [
            replace(p, cpu_percent=(p.cpu_percent or 0.0) + more)
            for p, more in zip(periods, rising, strict=True)
        ],
    )


def test_a_background_that_drifts_is_told_from_the_load() -> None:
    found = drifting(UP_AND_DOWN)
    assert codes_of(found) == {"demand.background_drifted"}
    assert found.mix_s.warnings[0].values["cpus"] == pytest.approx(0.05, abs=0.01)
    assert holds(found.mix_s, MIX_S)
    assert found.mix_s.value == pytest.approx(MIX_S, rel=0.05)


def test_where_the_load_rose_with_time_a_drift_makes_intervals_wide() -> None:
    rising = drifting((*MIX_STAGES, *(Stage(None, one.rate_per_s + 1) for one in MIX_STAGES[2:])))
    assert "demand.load_rose_with_time" in codes_of(rising)
    assert holds(rising.mix_s, MIX_S)


def test_a_background_that_comes_and_goes_widens_the_interval() -> None:
    calls, periods = run_of(UP_AND_DOWN, cv=0.1)
    wave = (5 + 5 * np.sin(np.arange(len(periods)) / 4)).tolist()
    waved = [
        replace(p, cpu_percent=(p.cpu_percent or 0.0) + more)
        for p, more in zip(periods, wave, strict=True)
    ]
    found = measured(calls, waved)
    assert "demand.errors_last" in codes_of(found)
    assert holds(found.mix_s, MIX_S)


def failing(outcome: str, every: int) -> DemandResult:
    """Every so many calls fail, at no cost."""
    calls, periods = run_of(UP_AND_DOWN, cv=0.1)
    count = len(calls)
    outcomes = [outcome if at % every == 0 else "ok" for at in range(2 * count)]
    added = calls_by_hand(
        outcomes=[word for word in outcomes if word != "ok"],
        operations=["health"] * outcomes.count(outcome),
        starts_s=np.linspace(0, float(calls.start_s.max()), outcomes.count(outcome)).tolist(),
    )
    every_start = np.concatenate([calls.start_s, added.start_s])
    order = np.argsort(every_start)
    words = np.array(["ok"] * count + [outcome] * len(added))[order].tolist()
    labels = [calls.operation.words[code] for code in calls.operation.codes] + ["health"] * len(
        added
    )
    both = calls_by_hand(
        outcomes=words,
        operations=np.array(labels)[order].tolist(),
        starts_s=every_start[order].tolist(),
    )
    return measured(both, periods)


@pytest.mark.parametrize("outcome", ["airflow_client_error", "connection_error"])
def test_periods_with_many_calls_that_failed_after_they_may_have_cost_something_are_not_used(
    outcome: str,
) -> None:
    refused = failing(outcome, 10)
    assert refused.mix_s.value is None
    assert refused.mix_s.warnings[0].code == "demand.calls_failed"
    assert failing(outcome, 200).mix_s.value is not None


def test_calls_refused_before_a_webserver_cost_nothing() -> None:
    found = failing("throttled", 10)
    assert found.mix_s.value == demand_of_design(UP_AND_DOWN, cv=0.1).mix_s.value


def test_one_period_does_not_decide_a_demand() -> None:
    once = (*CALIBRATION[:3], Stage("trigger", 4, periods=1))
    found = demand_of_design(once)
    assert found.per_operation_s == {}
    assert code_of(found) == "demand.one_period_decides"


def test_periods_that_were_too_busy_by_their_load_are_left_out() -> None:
    found = demand_of_design((*MIX_STAGES, Stage(None, 18)))  # 90 % CPU
    assert found.periods == 24
    assert "demand.near_saturation" not in codes_of(found)
