"""Every metric of many runs as one table, for programs that look for changes by themselves.

Rows are the runs a history would take, in the order of time; the metrics are those of `run_metrics`
that every one of them has: a gap would be taken for a value by most programs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from mwaa_headroom.analysis.comparison.history import HELD_SHARE, measurements
from mwaa_headroom.analysis.comparison.metrics import gate_stages, run_metrics
from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.results import RunAnalysis


@dataclass(frozen=True, slots=True)
class MetricTable:
    """Runs, and the values of each metric in their order, by its name."""

    runs: tuple[RunAnalysis, ...]
    values: dict[str, tuple[float, ...]]
    left_out: tuple[Finding, ...]  # runs that are no measurement
    incomplete: tuple[str, ...]  # metrics that some run has not


def metric_table(runs: Sequence[RunAnalysis]) -> MetricTable:
    """Of at least one run, in any order."""
    valid, left_out = measurements(runs)
    gated = gate_stages(valid, share=HELD_SHARE)
    found: dict[str, list[float | None]] = {}
    for run in valid:
        metrics = run_metrics(run, gated)
        for metric, estimate in (metrics.gate | metrics.informational).items():
            found.setdefault(metric.name, []).append(estimate.value)
    values = {
        name: tuple(each for each in of_runs if each is not None and isfinite(each))
        for name, of_runs in found.items()
    }
    whole = {name: known for name, known in values.items() if len(known) == len(valid)}
    return MetricTable(
        runs=tuple(valid),
        values=whole,
        left_out=left_out,
        incomplete=tuple(name for name in values if name not in whole),
    )
