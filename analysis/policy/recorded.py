"""What a run recorded of scaling: its metric periods as the rule saw them, and what was decided.

Times are seconds from the run's first metric period, so that periods end at whole multiples of
their length; `started_s` is the run's start on that clock, from which people are told times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.mwaa import CONNECTIONS_ABOVE, CPU_ABOVE_PERCENT
from mwaa_headroom.analysis.results import PeriodPoint, RunAnalysis, ScalingEvent
from mwaa_headroom.analysis.statistics import Floats


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the count, at a moment (`from_s` == `to_s`) or somewhere after `from_s`."""

    from_s: float
    to_s: float
    from_count: int
    to_count: int
    reason: Finding | None = field(default=None, compare=False)

    @property
    def added(self) -> int:
        """Webservers more; negative: fewer."""
        return self.to_count - self.from_count

    def later(self, by_s: float) -> "Change":
        """The same, `by_s` later."""
        return Change(
            self.from_s + by_s, self.to_s + by_s, self.from_count, self.to_count, self.reason
        )


@dataclass(frozen=True, slots=True)
class SeenPeriod:
    """What a rule can have seen of one metric period; empty where nothing was reported."""

    end_s: float
    cpu_percent: tuple[float, ...]  # one per webserver
    connections: tuple[float, ...]
    webservers: int  # of the last period that tells


@dataclass(frozen=True, slots=True)
class RecordedScaling:
    """What of a run concerns the rule."""

    run_id: str
    began_s: float  # epoch
    started_s: float  # of the run, after `began_s`
    period_s: float
    periods: tuple[SeenPeriod, ...]  # without gaps
    changes: tuple[Change, ...]  # decisions where they are known, else changes of the count
    decisions_known: bool
    start_times_s: tuple[float, ...]  # decision -> in service, where both are known
    waited_s: tuple[float, ...]  # decision -> end of the record, where nothing came of it
    min_webservers: int
    max_webservers: int
    cpu_above_percent: float
    connections_above: float
    on_aws: bool = False

    @property
    def is_pinned(self) -> bool:
        """Whether the count could not change."""
        return self.min_webservers == self.max_webservers


def recorded_scaling(run: RunAnalysis) -> RecordedScaling | Finding:
    """Prepare a run, or say why it tells nothing about the rule."""
    known = [point for point in run.periods if point.webservers]
    if not known:
        return refusal("policy.no_metrics", run_id=run.run_id)
    began_s, period_s = known[0].start_s, known[0].period_s
    counts = [point.webservers or 0 for point in known]
    facts = run.environment.get("facts")
    facts = facts if isinstance(facts, dict) else {}
    # A decision that a webserver's death undid shows no `ready_s`, but is a decision all the same.
    decisions_known = any(event.decision_s is not None for event in run.scaling)
    return RecordedScaling(
        run_id=run.run_id,
        began_s=began_s,
        started_s=run.started_at_s - began_s,
        period_s=period_s,
        periods=_without_gaps(known, began_s, period_s),
        changes=tuple(_changes(run.scaling, began_s, period_s, decisions_known=decisions_known)),
        decisions_known=decisions_known,
        start_times_s=tuple(
            event.ready_s - event.decision_s
            for event in run.scaling
            if event.to_count > event.from_count
            and event.ready_s is not None
            and event.decision_s is not None
        ),
        waited_s=tuple(_waits(run.scaling, known[-1].start_s + period_s)),
        min_webservers=_limit(run.environment.get("min_webservers"), min(counts)),
        max_webservers=_limit(run.environment.get("max_webservers"), max(counts)),
        cpu_above_percent=float(facts.get("scale_out_cpu_percent", CPU_ABOVE_PERCENT)),
        connections_above=float(facts.get("scale_out_connections", CONNECTIONS_ABOVE)),
        on_aws=run.environment.get("kind") == "aws",
    )


def recorded_rates(run: RecordedScaling, analysis: RunAnalysis, from_s: float = 0.0) -> Floats:
    """Offered calls per second of each second, up to the end of the run's last metric period.

    Args:
        run: as the rule saw it.
        analysis: of the same run.
        from_s: where the first second begins, counted from the first metric period.
    """
    rates = np.zeros(round(len(run.periods) * run.period_s - from_s))
    began_s = run.began_s + from_s
    start = round(run.started_s - from_s)
    for point in analysis.periods:
        first = round(point.start_s - began_s)
        last = first + round(point.period_s)
        # Nothing was sent before the run's start, so the calls of its period came after it.
        sent_from = start if first < start < last else first
        per_s = point.offered_per_s * point.period_s / (last - sent_from)
        rates[max(sent_from, 0) : max(last, 0)] = per_s
    return rates


def _waits(events: Sequence[ScalingEvent], ended_s: float) -> Iterator[float]:
    """How long decisions waited for webservers that the record never shows."""
    for position, event in enumerate(events):
        added = event.to_count - event.from_count
        was_undone = any(later.to_count < later.from_count for later in events[position + 1 :])
        never_came = event.ready_s is None and event.count_changed_s is None
        if added > 0 and event.decision_s is not None and never_came and not was_undone:
            yield max(0.0, ended_s - event.decision_s)


def _limit(told: object, seen: int) -> int:
    return told if isinstance(told, int) else seen


def _without_gaps(
    known: Sequence[PeriodPoint], began_s: float, period_s: float
) -> tuple[SeenPeriod, ...]:
    by_place = {round((point.start_s - began_s) / period_s): point for point in known}
    seen, webservers = [], known[0].webservers or 0
    for place in range(max(by_place) + 1):
        point = by_place.get(place)
        end_s = (place + 1) * period_s
        if point is None:
            seen.append(SeenPeriod(end_s, (), (), webservers))
            continue
        webservers = point.webservers or webservers
        per_webserver = (
            ((point.connections / webservers,) * webservers)
            if point.connections is not None
            else ()
        )
        seen.append(SeenPeriod(end_s, _cpu(point, webservers), per_webserver, webservers))
    return tuple(seen)


def _cpu(point: PeriodPoint, webservers: int) -> tuple[float, ...]:
    """One value per webserver with the recorded mean and maximum."""
    mean, most = point.cpu_percent, point.cpu_max_percent
    if mean is None:
        return ()
    if most is None or webservers == 1:
        return (mean,) * webservers
    return (most,) + ((mean * webservers - most) / (webservers - 1),) * (webservers - 1)


def _changes(
    events: Sequence[ScalingEvent], began_s: float, period_s: float, *, decisions_known: bool
) -> list[Change]:
    changes = []
    for event in events:
        if decisions_known and event.decision_s is not None:
            from_s = to_s = event.decision_s - began_s
        elif not decisions_known and event.count_changed_s is not None:
            to_s = event.count_changed_s - began_s
            after_s = event.count_changed_after_s
            from_s = to_s - period_s if after_s is None else after_s - began_s
        else:
            continue  # a count that nobody decided: a webserver that died or came back
        changes.append(Change(from_s, to_s, event.from_count, event.to_count))
    return changes
