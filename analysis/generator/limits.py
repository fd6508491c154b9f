"""When the load generator itself may have bent what a stage shows: the limits, and why these.

    lag at p99        max(100 ms, 10 % of the tightest latency threshold): a latency that is off by
                      less decides no line one would have chosen
    unsent arrivals   0.1 %: the load was not the one that was asked for
    lost arrivals     0.1 %, unsent because their load process was lost
    lost users        none: the users of a closed workload are gone with their load process, and
                      nobody can say how often they would have called
    CPU               80 % of one core, the busiest load process's mean over the stage: latencies
                      that a generator reads near its own maximum are its own
    stalls            1 % of the stage, the worst load process's, where one of them is longer than
                      the limit of lag: a process that stands still for a share s of the time bends
                      percentiles above 1 - s, so p99 from 1 % on

A stage past a limit is neither a pass nor a fail of the environment, with two exceptions, both
fails, because what the generator did wrong could only have made the result look better or not have
made it this bad:

    - arrivals that were not sent because all senders were busy would have been load on top, so a
      line about sent calls that broke has broken;
    - a latency line that is broken even with twice the lag's p99, and twice the longest stall where
      stalls are past their limit, taken off every call (once for the lateness itself, once for the
      burst that late calls come in) is not broken by them.

Neither exception covers CPU, for what a busy process adds to a latency is not measured; nor lost
arrivals and users, for the calls that were in flight with their process are missing, the slow ones
first.

What the load processes reported of themselves, over any part of a run.

Each process reports every few seconds (`generator_load`) the share of one core it used and how long
its event loop stood still since its report before. Over [a, b), with o the part of a report's time
that lies inside and d all of it:

    CPU of a process      = sum(o cpu) / sum(o)
    stalled share of one  = sum(o/d stalled_s) / (b - a)

and of all processes the worst one counts: each has its own share of the calls, and a percentile is
bent by the worst of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.results import SloResult
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.slo_judgement import Window, judge

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


LAG_LIMIT_S = 0.1
LAG_LIMIT_OF_SLO = 0.1
UNSENT_LIMIT = 0.001
CPU_LIMIT = 0.8
STALLED_LIMIT = 0.01
STALLED_BEYOND_EXCUSE = 0.1


@dataclass(frozen=True, slots=True)
class GeneratorFigures:
    """What a stage's limits are held against."""

    arrivals: int
    unsent: int
    lost: int  # of the unsent: with their load process
    lag_p99_s: float | None
    use: GeneratorUse
    lost_with_users: tuple[int, ...] = ()  # load processes, of a closed workload


def generator_reason(
    figures: GeneratorFigures, window: Window, judged: Sequence[SloResult]
) -> Finding | None:
    """Which limit a stage is past, by its window and the lines judged over it; None: none.

    The first of several is told: a busy process stalls, and one that stalls is late.
    """
    slos = [line.slo for line in judged]
    stalled = _stalled_limits(figures.use, slos)
    certain = _lost_users(figures) or _lost(figures) or _busy(figures.use)
    if not certain and (figures.use.stalled_fraction or 0.0) >= STALLED_BEYOND_EXCUSE:
        certain = stalled
    if certain:
        return certain
    late = stalled or _late(figures.lag_p99_s, slos)
    if late and not _slow_without_us(figures, window, slos):
        return late
    # A line that unsent arrivals do not enter would be broken with them all the more.
    entered = ("unsent", "goodput")
    if any(line.met is False and line.slo.metric not in entered for line in judged):
        return None
    return _unsent(figures)


def own_trouble(use: GeneratorUse, lag_p99_s: float | None, slos: Sequence[Slo]) -> Finding | None:
    """The first limit of CPU, stalls and lag that was passed; None: none was."""
    return _busy(use) or _stalled_limits(use, slos) or _late(lag_p99_s, slos)


def _lag_limit_s(slos: Sequence[Slo]) -> float:
    tightest_s = min((slo.threshold for slo in slos if slo.metric == "latency"), default=0.0)
    return max(LAG_LIMIT_S, LAG_LIMIT_OF_SLO * tightest_s)


def _lost_users(figures: GeneratorFigures) -> Finding | None:
    gone = figures.lost_with_users
    return refusal("generator.lost_users", workers=gone) if gone else None


def _lost(figures: GeneratorFigures) -> Finding | None:
    lost, arrivals = figures.lost, figures.arrivals
    if not arrivals or lost / arrivals <= UNSENT_LIMIT:
        return None
    return refusal(
        "generator.lost_arrivals", lost=lost, arrivals=arrivals, limit_fraction=UNSENT_LIMIT
    )


def _busy(use: GeneratorUse) -> Finding | None:
    cpu = use.cpu_fraction
    if cpu is None or cpu <= CPU_LIMIT:
        return None
    return refusal("generator.busy", cpu_fraction=cpu, limit_fraction=CPU_LIMIT)


def _stalled_limits(use: GeneratorUse, slos: Sequence[Slo]) -> Finding | None:
    stalled, longest_s = use.stalled_fraction, use.longest_stall_s
    if stalled is None or stalled <= STALLED_LIMIT:
        return None
    if longest_s is not None and longest_s <= _lag_limit_s(slos):
        return None
    return refusal(
        "generator.stalled",
        stalled_fraction=stalled,
        longest_s=longest_s,
        limit_fraction=STALLED_LIMIT,
    )


def _late(lag_p99_s: float | None, slos: Sequence[Slo]) -> Finding | None:
    limit_s = _lag_limit_s(slos)
    if lag_p99_s is None or lag_p99_s <= limit_s:
        return None
    return refusal("generator.late", lag_p99_s=lag_p99_s, limit_s=limit_s)


def _unsent(figures: GeneratorFigures) -> Finding | None:
    unsent, arrivals = figures.unsent, figures.arrivals
    if not arrivals or unsent / arrivals <= UNSENT_LIMIT:
        return None
    return refusal(
        "generator.unsent", unsent=unsent, arrivals=arrivals, limit_fraction=UNSENT_LIMIT
    )


def _slow_without_us(figures: GeneratorFigures, window: Window, slos: Sequence[Slo]) -> bool:
    """Whether a latency line is broken even with all that late sending can have added taken off."""
    late_s = figures.lag_p99_s or 0.0
    if _stalled_limits(figures.use, slos):
        if figures.use.longest_stall_s is None:
            return False
        late_s = max(late_s, figures.use.longest_stall_s)
    taken_off_s = np.where(window.calls.sent, -2 * late_s, np.nan)
    without_us = replace(window, calls=replace(window.calls, lag_s=taken_off_s))
    upper_limits = (
        slo for slo in slos if slo.metric == "latency" and slo.comparison in ("<", "<=")
    )
    return any(judge(slo, without_us).met is False for slo in upper_limits)
