"""Made-up runs for the report's tests: a queue with scaling, so that the pictures look real."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hand_built import HEALTHY, LATENCY, said

from mwaa_headroom.analysis.findings import note, refusal
from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME
from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.results import (
    CapacityResult,
    DemandResult,
    Expectation,
    Identity,
    OperationStats,
    PeriodPoint,
    RunAnalysis,
    ScalingEvent,
    SizingResult,
    SizingRow,
    SloResult,
    StageStats,
    Verdict,
)
from mwaa_headroom.analysis.schema import METRICS_SCHEMA, REQUESTS_SCHEMA
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.statistics import Estimate

Array = np.ndarray[Any, np.dtype[Any]]

START_S = 1_790_000_000.0
PERIOD_S = 5.0
SLO_LATENCY_S = 0.8
ERRORS = parse_slo("rate(errors) < 1%")


@dataclass(frozen=True)
class Plan:
    """What to make up. `webservers` is the count in each stage before scaling."""

    rates: Sequence[float] = (5, 10, 15, 20, 25)
    names: Sequence[str] = ()
    duration_s: float = 30.0
    warmup_s: float = 5.0
    webservers: int = 2
    scale_out_at_s: float | None = None
    metrics: bool = True
    all_errors: bool = False
    interrupted: bool = False
    question: str = "capacity"
    seed: int = 7


@dataclass(frozen=True)
class _Calls:
    start: Array
    stage: Array
    operation: Array
    service_time: Array
    outcome: Array


OPERATIONS = {"trigger_dag_run": (0.5, 0.11), "list_dags": (0.3, 0.055), "health": (0.2, 0.018)}


def made_up_run(plan: Plan) -> tuple[RunRecord, RunAnalysis]:
    calls = _simulate(plan)
    stages = tuple(_stage(plan, calls, i) for i in range(len(plan.rates)))
    ended_at_s = START_S + len(plan.rates) * plan.duration_s - (8.0 if plan.interrupted else 0)
    analysis = RunAnalysis(
        identity=Identity({}, {}, {}, {}),
        run_id="0007_weekday-peak",
        directory="runs/0007_weekday-peak",
        scenario_name="weekday peak",
        question=plan.question,
        status="interrupted" if plan.interrupted else "finished",
        complete=not plan.interrupted,
        started_at_s=START_S,
        ended_at_s=ended_at_s,
        environment={
            "name": "demo",
            "kind": "simulated",
            "airflow_version": "2.10.3",
            "min_webservers": 2,
            "max_webservers": 5,
            "last_updated": None,
        },
        versions={"headroom": "0.1.0", "python": "3.11.2", "boto3": "1.43.2"},
        mix={name: share for name, (share, _) in OPERATIONS.items()},
        slos=(LATENCY, ERRORS),
        slo=_slo(stages[0]),
        stages=stages,
        periods=_periods(plan, calls, ended_at_s) if plan.metrics else (),
        scaling=_scaling(plan),
        demand=_demand(plan),
        capacity=_capacity(stages),
        sizing=_sizing(plan),
        expectations=(
            Expectation("metadatabase is healthy", True, "healthy"),
            Expectation("DAG headroom_noop is there", True, "present and not paused"),
        ),
        verdict=_verdict(plan, stages),
        workload="open: Poisson arrivals",
        transport="lean",
        generator=HEALTHY,
        warnings=() if plan.metrics else (said("No webserver metrics were recorded."),),
        notes=(said("Webserver metrics have a period of 5 s."),),
    )
    return _record(plan, calls), analysis


def _simulate(plan: Plan) -> _Calls:
    random = np.random.default_rng(plan.seed)
    starts, stages = [], []
    for index, rate in enumerate(plan.rates):
        number = random.poisson(rate * plan.duration_s)
        starts.append(np.sort(random.uniform(0, plan.duration_s, number)) + index * plan.duration_s)
        stages.append(np.full(number, index))
    start, stage = np.concatenate(starts), np.concatenate(stages)
    if plan.interrupted:
        kept = start < len(plan.rates) * plan.duration_s - 8.0
        start, stage = start[kept], stage[kept]
    names = list(OPERATIONS)
    operation = random.choice(len(names), len(start), p=[share for share, _ in OPERATIONS.values()])
    demand = np.array([cost for _, cost in OPERATIONS.values()])[operation]
    work = demand * random.gamma(4.0, 0.25, len(start))
    free = [0.0] * plan.webservers
    end = np.empty(len(start))
    for i, at in enumerate(start):
        if plan.scale_out_at_s and at > plan.scale_out_at_s + 17 and len(free) == plan.webservers:
            free.append(at)
        server = int(np.argmin(free))
        free[server] = max(free[server], at) + work[i]
        end[i] = free[server] + 0.02 + random.exponential(0.01)
        if end[i] - at > 10.0:
            free[server] -= work[i] * 0.7
    service_time = np.minimum(end - start, 10.0)
    outcome = np.where(service_time >= 10.0, "service_timeout", "ok").astype(object)
    if plan.all_errors:
        outcome[:] = random.choice(["connection_error", "throttled"], len(start), p=[0.7, 0.3])
        service_time = random.exponential(0.01, len(start))
    else:
        unlucky = random.random(len(start)) < 0.004 * np.maximum(service_time, 0.2)
        outcome[unlucky] = "airflow_server_error"
    return _Calls(start, stage, np.array(names)[operation], service_time, outcome)


def _record(plan: Plan, calls: _Calls) -> RunRecord:
    number = len(calls.start)
    random = np.random.default_rng(1)
    lag = random.exponential(0.001, number)
    requests = pa.table(
        {
            "arrival": np.arange(number),
            "stage": calls.stage.astype("int32"),
            "operation": calls.operation,
            "intended_start_s": calls.start + START_S,
            "lag_s": lag,
            "service_time_s": calls.service_time,
            "outcome": calls.outcome,
            "http_status": pa.nulls(number, pa.int32()),
            "airflow_status": pa.nulls(number, pa.int32()),
            "error_code": pa.nulls(number, pa.string()),
            "response_bytes": pa.nulls(number, pa.int64()),
            "attempts": np.ones(number, "int32"),
            "worker": np.zeros(number, "int32"),
        },
        schema=REQUESTS_SCHEMA,
    )
    return RunRecord(Path(), {}, requests, METRICS_SCHEMA.empty_table(), (), True, ())


def _estimate(values: Array, q: float) -> Estimate:
    if len(values) * (1 - q) < 3:
        needed, calls = round(3 / (1 - q)), len(values)
        why = refusal("percentile.few_calls", percent=100 * q, needed=needed, calls=calls)
        return Estimate(None, n=calls, warnings=(why,))
    value = float(np.quantile(values, q))
    return Estimate(value, value * 0.94, value * 1.08, len(values))


def _stage(plan: Plan, calls: _Calls, index: int) -> StageStats:
    from_s, to_s = index * plan.duration_s, (index + 1) * plan.duration_s
    inside = (calls.start >= from_s + plan.warmup_s) & (calls.start < to_s)
    seconds = plan.duration_s - plan.warmup_s
    latency, outcome = calls.service_time[inside], calls.outcome[inside]
    names, numbers = np.unique(outcome.astype(str), return_counts=True)
    outcomes = {str(n): int(c) for n, c in zip(names, numbers, strict=True)}
    number = int(inside.sum())
    failed = number - outcomes.get("ok", 0)
    layers: dict[str, Estimate] = {}
    for name, total in outcomes.items():
        layer = LAYER_OF_OUTCOME[name]
        if layer:
            before = layers[layer].value or 0.0 if layer in layers else 0.0
            value = before + total / number
            layers[layer] = Estimate(value, value * 0.6, min(value * 1.5, 1.0), number)
    percentiles = {
        n: _estimate(latency, q) for n, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    p95 = percentiles["p95"].value
    error_rate = failed / number
    met = None if p95 is None else p95 < SLO_LATENCY_S and error_rate < 0.01
    servers = plan.webservers + bool(plan.scale_out_at_s and plan.scale_out_at_s + 17 < to_s)
    cpu = min(99.0, plan.rates[index] * 0.075 / servers * 100)
    stage = StageStats(
        index=index,
        name=plan.names[index] if plan.names else "",
        rate_per_s=plan.rates[index],
        started_at_s=START_S + from_s,
        measured_from_s=START_S + from_s + plan.warmup_s,
        ended_at_s=START_S + to_s,
        complete=not (plan.interrupted and index == len(plan.rates) - 1),
        arrivals=number,
        sent=number,
        unsent=0,
        offered_per_s=number / seconds,
        achieved_per_s=number / seconds,
        goodput_per_s=int(((latency < SLO_LATENCY_S) & (outcome == "ok")).sum()) / seconds,
        latency_s=percentiles,
        service_time_s=percentiles,
        lag_p99_s=0.004,
        error_rate=Estimate(error_rate, error_rate * 0.6, min(error_rate * 1.5, 1), number),
        error_rate_by_layer=layers,
        outcomes=outcomes,
        operations=tuple(
            OperationStats(
                name,
                int((calls.operation[inside] == name).sum()),
                int(((calls.operation[inside] == name) & (outcome == "ok")).sum()),
                _estimate(latency[calls.operation[inside] == name], 0.5),
                _estimate(latency[calls.operation[inside] == name], 0.95),
            )
            for name in OPERATIONS
        ),
        webservers_min=plan.webservers if plan.metrics else None,
        webservers_max=servers if plan.metrics else None,
        webserver_cpu_percent=cpu if plan.metrics else None,
        webserver_cpu_max_percent=min(100.0, cpu * 1.1) if plan.metrics else None,
        connections_max=4.0 if plan.metrics else None,
        slo=(),
        met_slo=met,
        generator_ok=True,
        trial={True: "pass", False: "fail", None: "undecided"}[met],
        censored=outcomes.get("service_timeout", 0),
    )
    return replace(stage, slo=_slo(stage))


def _slo(stage: StageStats) -> tuple[SloResult, ...]:
    p95, errors = stage.latency_s["p95"].value, stage.error_rate.value or 0.0
    return (
        SloResult(
            LATENCY,
            p95,
            None if p95 is None else p95 < SLO_LATENCY_S,
            said("too few calls.") if p95 is None else None,
        ),
        SloResult(ERRORS, errors, errors < 0.01),
    )


def _periods(plan: Plan, calls: _Calls, ended_at_s: float) -> tuple[PeriodPoint, ...]:
    random = np.random.default_rng(3)
    points = []
    for from_s in np.arange(0.0, ended_at_s - START_S - PERIOD_S + 0.1, PERIOD_S):
        inside = (calls.start >= from_s) & (calls.start < from_s + PERIOD_S)
        servers = plan.webservers + bool(plan.scale_out_at_s and from_s > plan.scale_out_at_s + 17)
        per_s = float(inside.sum()) / PERIOD_S
        cpu = min(99.0, per_s * 0.075 / servers * 100 + random.normal(0, 2))
        failed = float((calls.outcome[inside] != "ok").sum()) / PERIOD_S
        points.append(
            PeriodPoint(
                start_s=START_S + float(from_s),
                period_s=PERIOD_S,
                webservers=servers,
                cpu_percent=max(cpu, 1.0),
                cpu_max_percent=min(100.0, max(cpu, 1.0) + 6),
                memory_percent=60.0,
                connections=8.0,
                offered_per_s=per_s,
                achieved_per_s=per_s,
                goodput_per_s=per_s - failed,
                errors_per_s=failed,
            )
        )
    return tuple(points)


def _scaling(plan: Plan) -> tuple[ScalingEvent, ...]:
    if plan.scale_out_at_s is None:
        return ()
    at = START_S + plan.scale_out_at_s
    return (
        ScalingEvent(
            from_count=plan.webservers,
            to_count=plan.webservers + 1,
            load_step_s=at - 12,
            breach_s=at,
            decision_s=at + 5,
            count_changed_s=at + 20,
            ready_s=at + 17,
            slo_restored_s=at + 25,
            reason=note("scaling.cpu_above", threshold_percent=70.0),
        ),
    )


def _demand(plan: Plan) -> DemandResult | None:
    if not plan.metrics:
        return None
    return DemandResult(
        mix_s=Estimate(0.0752, 0.0723, 0.0781, 30),
        per_operation_s={
            name: Estimate(cost * 1.01, cost * 0.95, cost * 1.07, 30)
            for name, (_, cost) in OPERATIONS.items()
        },
        refusal=None,
        condition_number=4.2,
        background_cpu_per_webserver=Estimate(0.03, 0.02, 0.04, 30),
        rate_per_webserver_per_s=Estimate(8.9, 8.4, 9.4, 30),
        periods=30,
    )


def _capacity(stages: tuple[StageStats, ...]) -> CapacityResult:
    met = [stage for stage in stages if stage.met_slo]
    broke = [stage for stage in stages if stage.met_slo is False]
    best = max(met, key=lambda stage: stage.achieved_per_s, default=None)
    return CapacityResult(
        highest_stage=best.index if best else None,
        highest_rate_per_s=best.achieved_per_s if best else None,
        webservers=best.webservers_max if best else None,
        stopped_by_stage=broke[0].index if broke else None,
        bottleneck="webserver_cpu" if broke else "not_reached",
        explanation=said(
            "Webserver CPU was at 94 % when the SLO broke."
            if broke
            else "Every stage met the SLO, so the limit lies higher."
        ),
    )


def _sizing(plan: Plan) -> SizingResult | None:
    if not plan.metrics:
        return None
    rows = []
    for rate in (5, 10, 15, 20, 25, 30, 40, 50):
        needed, low, high = (
            int(np.ceil(rate * demand / 0.7)) for demand in (0.0752, 0.0655, 0.0872)
        )
        rows.append(SizingRow(float(rate), needed, low, high, needed <= 5))
    return SizingResult(
        target_rate_per_s=25.0,
        target=rows[4],
        rows=tuple(rows),
        utilisation_target=0.7,
        webserver_cpu=1.0,
        explanation=said(
            "25 calls/s x 75.2 ms of CPU per call, at most 70 % of 1 CPU per webserver."
        ),
        rate_of_one_per_s=Estimate(0.7 / 0.0752, 0.7 / 0.0872, 0.7 / 0.0655),
    )


def _verdict(plan: Plan, stages: tuple[StageStats, ...]) -> Verdict:
    if plan.interrupted:
        why = refusal("verdict.not_to_its_end")
        return Verdict(plan.question, False, None, 130, (why,))
    if plan.question == "check":
        passed = all(stage.met_slo for stage in stages)
        return Verdict("check", True, passed, 0 if passed else 3)
    if not any(stage.met_slo for stage in stages):
        return Verdict("capacity", True, None, 3, (refusal("verdict.no_stage_met"),))
    return Verdict("capacity", True, None, 0)
