"""What the load processes reported of themselves, over any part of a run.

Each process reports every few seconds (`generator_load`) the share of one core it used and how long
its event loop stood still since its report before. Over [a, b), with o the part of a report's time
that lies inside and d all of it:

    CPU of a process      = sum(o cpu) / sum(o)
    stalled share of one  = sum(o/d stalled_s) / (b - a)

and of all processes the worst one counts: each has its own share of the calls, and a percentile is
bent by the worst of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

USUAL_SPACING_S = 5.0  # of reports, where there is only one
_SHORTEST_S = 1e-3


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One report of one load process; None: not in it (records of version 1)."""

    worker: int
    from_s: float
    to_s: float
    cpu_fraction: float | None
    stalled_s: float | None
    longest_stall_s: float | None

    @property
    def length_s(self) -> float:
        """The time it reports about."""
        return max(self.to_s - self.from_s, _SHORTEST_S)

    def inside_s(self, from_s: float, to_s: float) -> float:
        """How much of that time lies between two others."""
        return max(min(self.to_s, to_s) - max(self.from_s, from_s), 0.0)


@dataclass(frozen=True, slots=True)
class GeneratorUse:
    """The worst load process over some time; None: not reported."""

    cpu_fraction: float | None = None  # of one core, mean
    stalled_fraction: float | None = None
    longest_stall_s: float | None = None


def load_reports(events: Iterable[dict[str, Any]]) -> tuple[LoadReport, ...]:
    """All reports, each from the one before of the same process."""
    by_worker: dict[int, list[dict[str, Any]]] = {}
    for event in events:
        if event["kind"] == "generator_load":
            by_worker.setdefault(worker_of(event), []).append(event)
    return tuple(report for worker, own in by_worker.items() for report in _reports_of(worker, own))


def use_within(reports: Sequence[LoadReport], from_s: float, to_s: float) -> GeneratorUse:
    """The worst process between two times."""
    by_worker: dict[int, list[LoadReport]] = {}
    for report in reports:
        if report.inside_s(from_s, to_s) > 0:
            by_worker.setdefault(report.worker, []).append(report)
    every = by_worker.values()
    return GeneratorUse(
        cpu_fraction=largest(_mean_cpu(own, from_s, to_s) for own in every),
        stalled_fraction=largest(_stalled(own, from_s, to_s) for own in every),
        longest_stall_s=largest(report.longest_stall_s for own in every for report in own),
    )


def worker_of(event: dict[str, Any]) -> int:
    """The load process an event is about; the only one in records of version 1 is 0."""
    worker = event.get("worker")
    return worker if isinstance(worker, int) else 0


def number_in(event: dict[str, Any], key: str) -> float | None:
    """A number of an event, None if it has none by that name."""
    value = event.get(key)
    return float(value) if isinstance(value, int | float) else None


def largest(values: Iterable[float | None]) -> float | None:
    """The largest of those that are known, None if none is."""
    return max((value for value in values if value is not None), default=None)


def _reports_of(worker: int, events: Sequence[dict[str, Any]]) -> list[LoadReport]:
    ends_s = [float(event["time_s"]) for event in events]
    spacing_s = median([b - a for a, b in pairwise(ends_s)] or [USUAL_SPACING_S])
    starts_s = [ends_s[0] - spacing_s, *ends_s[:-1]]
    return [
        LoadReport(
            worker=worker,
            from_s=start_s,
            to_s=end_s,
            cpu_fraction=number_in(event, "cpu_fraction"),
            stalled_s=number_in(event, "stalled_s"),
            longest_stall_s=number_in(event, "longest_stall_s"),
        )
        for event, start_s, end_s in zip(events, starts_s, ends_s, strict=True)
    ]


def _mean_cpu(reports: Sequence[LoadReport], from_s: float, to_s: float) -> float | None:
    parts = [
        (report.inside_s(from_s, to_s), report.cpu_fraction)
        for report in reports
        if report.cpu_fraction is not None
    ]
    weight_s = sum(inside_s for inside_s, _ in parts)
    return sum(inside_s * cpu for inside_s, cpu in parts) / weight_s if weight_s else None


def _stalled(reports: Sequence[LoadReport], from_s: float, to_s: float) -> float | None:
    parts_s = [
        report.stalled_s * report.inside_s(from_s, to_s) / report.length_s
        for report in reports
        if report.stalled_s is not None
    ]
    return sum(parts_s) / max(to_s - from_s, _SHORTEST_S) if parts_s else None
