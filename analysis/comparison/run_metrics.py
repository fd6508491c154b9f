"""The numbers in which runs are compared: each run has each of them once.

The gate, which decides, is kept small, for every further metric costs certainty about the others:

    p95 latency     of every gate stage: one in which no baseline run broke the SLO
    error rate      of the gate stages together: calls that failed / calls that were sent
    service demand  of the mix: more CPU per call shows before any latency does

Past the SLO a queue decides how long calls take, so that equal runs differ wildly there. All else
informs: the other percentiles, service times, error rate and goodput of every stage, demand of
each operation, and capacity.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analysis.comparison.results import Metric
from analysis.results import Estimate, RunAnalysis, StageStats

GATE_PERCENTILE = "p95"
ERROR_RATE = Metric("errors where the SLO held", "fraction")
MIX_DEMAND = Metric("service demand of the mix", "s")
CAPACITY = Metric("highest rate that met the SLO", "1/s", higher_is_better=True)


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """Every metric of one run; refused ones have the value None."""

    gate: dict[Metric, Estimate]
    informational: dict[Metric, Estimate]


def gate_stages(runs: Sequence[RunAnalysis], *, share: float = 1.0) -> tuple[int, ...]:
    """The stages (their indexes) in which the SLO held.

    Args:
        runs: alike; a comparison's baseline, or a whole history.
        share: of the runs in which it must have held at least; 1: all.
    """
    indexes = sorted({stage.index for run in runs for stage in run.stages})
    return tuple(
        index for index in indexes if sum(_held(run, index) for run in runs) >= share * len(runs)
    )


def run_metrics(run: RunAnalysis, gated: Sequence[int]) -> RunMetrics:
    """The metrics of one run.

    Args:
        run: analysed.
        gated: `gate_stages` of the baseline.
    """
    gate: dict[Metric, Estimate] = {}
    informational: dict[Metric, Estimate] = {}
    for stage in run.stages:
        latency = _latency_metric(stage, GATE_PERCENTILE)
        for metric, estimate in _stage_metrics(stage):
            is_gate = metric == latency and stage.index in gated
            (gate if is_gate else informational)[metric] = estimate
    judged = [stage for stage in run.stages if stage.index in gated]
    if judged:
        gate[ERROR_RATE] = _errors(judged)
    gate |= _mix_demand(run)
    informational |= _other(run)
    return RunMetrics(gate, informational)


def _held(run: RunAnalysis, index: int) -> bool:
    found = [stage for stage in run.stages if stage.index == index]
    return bool(found) and found[0].met_slo is not False


def _stage_metrics(stage: StageStats) -> Iterator[tuple[Metric, Estimate]]:
    label = _label(stage)
    for percentile, estimate in stage.latency_s.items():
        yield _latency_metric(stage, percentile), estimate
    for percentile, estimate in stage.service_time_s.items():
        yield Metric(f"{percentile} service time, {label}", "s"), estimate
    yield Metric(f"error rate, {label}", "fraction"), stage.error_rate
    goodput = Metric(f"goodput, {label}", "1/s", higher_is_better=True)
    yield goodput, Estimate(stage.goodput_per_s, n=stage.arrivals)


def _latency_metric(stage: StageStats, percentile: str) -> Metric:
    return Metric(f"{percentile} latency, {_label(stage)}", "s")


def _label(stage: StageStats) -> str:
    """By number and load, which like runs have in common; names may differ."""
    load = f"{stage.rate_per_s:.4g}/s" if stage.users is None else f"{stage.users} users"
    return f"stage {stage.index + 1}, {load}"


def _errors(stages: Sequence[StageStats]) -> Estimate:
    sent = sum(stage.sent for stage in stages)
    failed = sent - sum(stage.outcomes.get("ok", 0) for stage in stages)
    return Estimate(failed / sent if sent else None, n=sent)


def _mix_demand(run: RunAnalysis) -> dict[Metric, Estimate]:
    return {MIX_DEMAND: run.demand.mix_s} if run.demand else {}


def _other(run: RunAnalysis) -> dict[Metric, Estimate]:
    found: dict[Metric, Estimate] = {}
    if run.demand:
        for operation, estimate in run.demand.per_operation_s.items():
            found[Metric(f"service demand of {operation}", "s")] = estimate
    if run.capacity:
        found[CAPACITY] = Estimate(run.capacity.highest_rate_per_s, n=1)
    return found
