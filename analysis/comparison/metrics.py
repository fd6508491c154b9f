"""The numbers in which runs are compared: each run has each of them once.

The gate, which decides, is kept small, for every further metric costs certainty about the others:

    p95 latency     of every gate stage: one in which no baseline run broke the SLO
    error rate      of the gate stages together: calls that failed / calls that were sent
    service demand  of the mix: more CPU per call shows before any latency does

Past the SLO a queue decides how long calls take, so that equal runs differ wildly there. All else
informs: the other percentiles, service times, error rate and goodput of every stage, demand of
each operation, and capacity.

Metrics are compared on a scale on which a change is a shift, and larger is worse:

    ratio metrics   s ln(x),  so that a shift is a ratio; values must be above 0
    shares          s x,      so that a shift is a difference; they are often 0

s = -1 where more is better, else 1.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mwaa_headroom.analysis.comparison.rank_tests import Shift
from mwaa_headroom.analysis.results import RunAnalysis, StageStats
from mwaa_headroom.analysis.statistics import Estimate, Floats

GATE_PERCENTILE = "p95"


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that every run has once, in base units."""

    name: str  # "p95 latency, stage 2, 10/s"
    unit: Literal["s", "fraction", "1/s"]
    higher_is_better: bool = False

    @property
    def is_share(self) -> bool:
        """Whether it may be 0, so that sides are compared by difference and not by ratio."""
        return self.unit == "fraction"

    @property
    def _sign(self) -> int:
        return -1 if self.higher_is_better else 1

    def has_ratio(self, value: float) -> bool:
        """Whether a value has a place on the scale."""
        return self.is_share or value > 0

    def scaled(self, values: Floats) -> Floats:
        """Values that have a place on the scale, as they are there."""
        return self._sign * (values if self.is_share else np.log(values))

    def unscaled(self, value: float) -> float:
        """A shift on the scale as a ratio, or as the difference of a share."""
        own = self._sign * value
        return own if self.is_share else math.exp(own)

    def change(self, shift: Shift, count: int) -> Estimate:
        """A shift with its interval as a ratio or a difference, from `count` values."""
        ends = [None if end is None else self.unscaled(end) for end in (shift.low, shift.high)]
        if self.higher_is_better:
            ends.reverse()
        return Estimate(value=self.unscaled(shift.value), low=ends[0], high=ends[1], n=count)


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
    held = [{stage.index for stage in run.stages if stage.met_slo is not False} for run in runs]
    return tuple(
        index for index in indexes if sum(index in of_run for of_run in held) >= share * len(runs)
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
        gated_latency = latency(stage, GATE_PERCENTILE)
        for metric, estimate in _of_stage(stage):
            is_gate = metric == gated_latency and stage.index in gated
            (gate if is_gate else informational)[metric] = estimate
    judged = [stage for stage in run.stages if stage.index in gated]
    if judged:
        gate[ERROR_RATE] = _errors(judged)
    if run.demand:
        plain_s = run.demand.mix_of_plain_fit_s
        gate[MIX_DEMAND] = (
            run.demand.mix_s if plain_s is None else replace(run.demand.mix_s, value=plain_s)
        )
        for operation, estimate in run.demand.per_operation_s.items():
            informational[demand_of(operation)] = estimate
    if run.capacity:
        informational[CAPACITY] = Estimate(run.capacity.highest_rate_per_s, n=1)
    return RunMetrics(gate, informational)


def metrics_of(operations: Collection[str], run: RunAnalysis) -> set[Metric]:
    """The metrics of a run that calls of any of these operations enter, but for errors."""
    found = {MIX_DEMAND, CAPACITY}
    found |= set(map(demand_of, operations))
    for stage in run.stages:
        if any(each.operation in operations for each in stage.operations):
            found |= {metric for metric, _ in _of_stage(stage) if metric.unit != "fraction"}
    return found


def _of_stage(stage: StageStats) -> Iterator[tuple[Metric, Estimate]]:
    label = label_of(stage)
    for percentile, estimate in stage.latency_s.items():
        yield latency(stage, percentile), estimate
    for percentile, estimate in stage.service_time_s.items():
        yield Metric(f"{percentile} service time, {label}", "s"), estimate
    yield Metric(f"error rate, {label}", "fraction"), stage.error_rate
    goodput = Metric(f"goodput, {label}", "1/s", higher_is_better=True)
    yield goodput, Estimate(stage.goodput_per_s, n=stage.arrivals)


def demand_of(operation: str) -> Metric:
    """What one call of an operation costs."""
    return Metric(f"service demand of {operation}", "s")


def latency(stage: StageStats, percentile: str) -> Metric:
    """Of a stage."""
    return Metric(f"{percentile} latency, {label_of(stage)}", "s")


def label_of(stage: StageStats) -> str:
    """By number and load, which like runs have in common; names may differ."""
    load = f"{stage.rate_per_s:.4g}/s" if stage.users is None else f"{stage.users} users"
    return f"stage {stage.index + 1}, {load}"


def _errors(stages: Sequence[StageStats]) -> Estimate:
    sent = sum(stage.sent for stage in stages)
    failed = sent - sum(stage.outcomes.get("ok", 0) for stage in stages)
    return Estimate(failed / sent if sent else None, n=sent)
