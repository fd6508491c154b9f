"""A recorded run played again, by the rule alone or from its load.

Replay of the rule: every recorded metric period is shown to it, with the count that was recorded.
Webservers it asked for count as starting until the record shows them, so that one wrong decision
does not make all later ones wrong. Connections are known only as a total: each webserver is taken
to have the mean, whatever the statistic.

Replay of the load: the simulator gets each period's offered rate, and makes CPU, connections,
decisions and webservers itself. What differs then is the rule or the model of the webservers.

What is handed out counts its seconds from the run's start, as the run's own report does.

Which simulated change of the webserver count stands for which recorded one.

Both series are in the order of time. They are aligned so that the total cost is least: a pair
costs how far it is apart, in whole metric periods (a known moment is the same within half a
period, a recorded interval holds whatever lies in it), and one more when they add different
numbers; a change without a partner costs `LOST`. Changes of opposite direction are never a pair.

A recorded run as the scaling rule saw it, and what it decided.

Times are seconds from the run's first metric period, so that periods end at whole multiples of
their length; `started_s` is the run's start on that clock, from which people are told times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np

from mwaa_headroom.analysis.mwaa import CONNECTIONS_ABOVE, CPU_ABOVE_PERCENT
from mwaa_headroom.analysis.policy.results import (
    ComparedEvent,
    FittedRule,
    LostCalls,
    Replay,
    ReplayPoint,
    Verdict,
)
from mwaa_headroom.analysis.policy.rule import (
    Observation,
    PolicyParameters,
    ScalingRule,
)
from mwaa_headroom.analysis.policy.simulate import Simulated, Workload, simulate
from mwaa_headroom.analysis.results import PeriodPoint, RunAnalysis, ScalingEvent
from mwaa_headroom.analysis.statistics import Floats

LOST = 3.0  # periods
_INTERVAL_SLACK = 0.05  # of a period: stamps and containers do not begin at the same moment


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the count, at a moment (`from_s` == `to_s`) or somewhere after `from_s`."""

    from_s: float
    to_s: float
    from_count: int
    to_count: int
    reason: str = field(default="", compare=False)

    @property
    def added(self) -> int:
        """Webservers more; negative: fewer."""
        return self.to_count - self.from_count

    def later(self, by_s: float) -> "Change":
        """The same, `by_s` later."""
        return Change(
            self.from_s + by_s, self.to_s + by_s, self.from_count, self.to_count, self.reason
        )


def align(
    recorded: Sequence[Change], simulated: Sequence[Change], period_s: float
) -> tuple[float, list[tuple[Change | None, Change | None]]]:
    """The least cost, in periods, and the pairs behind it in the order of time."""
    costs = [[LOST * (i + j) for j in range(len(simulated) + 1)] for i in range(len(recorded) + 1)]
    for i, was in enumerate(recorded, start=1):
        for j, would_be in enumerate(simulated, start=1):
            costs[i][j] = min(
                costs[i - 1][j] + LOST,
                costs[i][j - 1] + LOST,
                costs[i - 1][j - 1] + _cost(was, would_be, period_s),
            )
    pairs: list[tuple[Change | None, Change | None]] = []
    i, j = len(recorded), len(simulated)
    while i or j:
        here = costs[i][j]
        if (
            i
            and j
            and here == costs[i - 1][j - 1] + _cost(recorded[i - 1], simulated[j - 1], period_s)
        ):
            i, j = i - 1, j - 1
            pairs.append((recorded[i], simulated[j]))
        elif i and here == costs[i - 1][j] + LOST:
            i -= 1
            pairs.append((recorded[i], None))
        else:
            j -= 1
            pairs.append((None, simulated[j]))
    return costs[-1][-1], pairs[::-1]


def compared(
    recorded: Sequence[Change], simulated: Sequence[Change], period_s: float
) -> tuple[ComparedEvent, ...]:
    """The pairs of `align`, told for a reader."""
    _, pairs = align(recorded, simulated, period_s)
    return tuple(_compared(was, would_be, period_s) for was, would_be in pairs)


def difference_s(recorded: Change, simulated: Change) -> float:
    """How much later the simulated change is; 0 inside the recorded interval."""
    at_s = simulated.to_s
    return at_s - min(max(at_s, recorded.from_s), recorded.to_s)


def _cost(recorded: Change, simulated: Change, period_s: float) -> float:
    if recorded.added * simulated.added <= 0:
        return float("inf")
    return _periods_apart(recorded, simulated, period_s) + (recorded.added != simulated.added)


def _periods_apart(recorded: Change, simulated: Change, period_s: float) -> float:
    is_moment = recorded.from_s == recorded.to_s
    slack = 0.5 if is_moment else _INTERVAL_SLACK
    apart = abs(difference_s(recorded, simulated)) / period_s
    return float(max(0, ceil(apart - slack)))


def _compared(recorded: Change | None, simulated: Change | None, period_s: float) -> ComparedEvent:
    if recorded is None:
        verdict: Verdict = "extra"
    elif simulated is None:
        verdict = "missed"
    else:
        verdict = "off" if _cost(recorded, simulated, period_s) else "matched"
    known = recorded or simulated or Change(0.0, 0.0, 0, 0)
    return ComparedEvent(
        verdict=verdict,
        from_count=known.from_count,
        to_count=known.to_count,
        recorded_from_s=recorded.from_s if recorded else None,
        recorded_s=recorded.to_s if recorded else None,
        simulated_s=simulated.to_s if simulated else None,
        difference_s=difference_s(recorded, simulated) if recorded and simulated else None,
        reason=simulated.reason if simulated else "",
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

    @property
    def is_pinned(self) -> bool:
        """Whether the count could not change."""
        return self.min_webservers == self.max_webservers


def recorded_scaling(run: RunAnalysis) -> RecordedScaling | str:
    """Prepare a run, or one sentence that says why it tells nothing about the rule."""
    known = [point for point in run.periods if point.webservers]
    if not known:
        return f"{run.run_id} has no webserver metrics."
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
    )


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


def rule_decisions(run: RecordedScaling, policy: PolicyParameters) -> tuple[Change, ...]:
    """What the rule would have decided, shown the recorded metric periods."""
    rule = ScalingRule(policy, min_webservers=run.min_webservers, max_webservers=run.max_webservers)
    decided = []
    wanted = before = run.periods[0].webservers
    for period in run.periods:
        has = period.webservers
        if has > before:
            wanted = max(wanted, has)
        elif has < before:
            wanted = min(wanted, has)
        before = has
        decision = rule.observe(
            Observation(
                time_s=period.end_s,
                cpu_percent=period.cpu_percent,
                connections=period.connections,
                ready_count=min(has, wanted),
                starting_count=max(0, wanted - has),
            )
        )
        if decision is not None:
            wanted = decision.to_count
            decided.append(
                Change(
                    period.end_s,
                    period.end_s,
                    decision.from_count,
                    decision.to_count,
                    decision.reason,
                )
            )
    return tuple(decided)


def replay_rule(run: RecordedScaling, rule: FittedRule) -> Replay:
    """Hold the rule's decisions against the recorded ones.

    Where only changes of the count were recorded, a scale-out is compared `start_s` after its
    decision.
    """
    decided = [_as_recorded(change, run, rule) for change in rule_decisions(run, rule.policy)]
    return Replay(
        kind="rule",
        run_id=run.run_id,
        period_s=run.period_s,
        changes=_compared_replay(run, decided),
    )


def replay_load(
    run: RecordedScaling, analysis: RunAnalysis, workload: Workload, rule: FittedRule
) -> Replay:
    """Simulate the recorded load and hold what comes of it against the record."""
    rates = recorded_rates(run, analysis)
    simulated = simulate(
        rates,
        workload,
        rule.policy,
        period_s=run.period_s,
        start_s=rule.start_s,
        min_webservers=run.min_webservers,
        max_webservers=run.max_webservers,
        first_webservers=run.periods[0].webservers,
    )
    decided = [
        Change(event.decided_s, event.decided_s, event.from_count, event.to_count, event.reason)
        for event in simulated.events
    ]
    points = _points(run, simulated)
    off = [
        abs(point.recorded_cpu_percent - point.simulated_cpu_percent)
        for point in points
        if point.recorded_cpu_percent is not None
    ]
    return Replay(
        kind="load",
        run_id=run.run_id,
        period_s=run.period_s,
        changes=_compared_replay(run, [_as_recorded(each, run, rule) for each in decided]),
        points=points,
        cpu_off_percent=float(np.mean(off)) if off else None,
        failed=LostCalls(_recorded_failed(analysis), simulated.failed_calls),
        slow=LostCalls(_recorded_slow(analysis), simulated.slow_calls)
        if workload.slow_after_s is not None
        else None,
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


def _compared_replay(run: RecordedScaling, decided: list[Change]) -> tuple[ComparedEvent, ...]:
    return tuple(
        replace(
            event,
            recorded_from_s=_since(run, event.recorded_from_s),
            recorded_s=_since(run, event.recorded_s),
            simulated_s=_since(run, event.simulated_s),
        )
        for event in compared(run.changes, decided, run.period_s)
    )


def _since(run: RecordedScaling, time_s: float | None) -> float | None:
    return None if time_s is None else time_s - run.started_s


def _recorded_failed(analysis: RunAnalysis) -> float:
    return sum(point.errors_per_s * point.period_s for point in analysis.periods)


def _recorded_slow(analysis: RunAnalysis) -> float:
    """Calls that ended well, but too late to be good."""
    return sum(
        max(0.0, point.achieved_per_s - point.errors_per_s - point.goodput_per_s) * point.period_s
        for point in analysis.periods
    )


def _as_recorded(change: Change, run: RecordedScaling, rule: FittedRule) -> Change:
    """A decision as the record would show it."""
    shows_later = not run.decisions_known and change.added > 0
    return change.later(rule.start_s) if shows_later else change


def _points(run: RecordedScaling, simulated: Simulated) -> tuple[ReplayPoint, ...]:
    length = round(run.period_s)
    return tuple(
        ReplayPoint(
            at_s=period.end_s - run.started_s,
            recorded_webservers=period.webservers if period.cpu_percent else None,
            simulated_webservers=float(simulated.webservers[second - 1]),
            recorded_cpu_percent=float(np.mean(period.cpu_percent)) if period.cpu_percent else None,
            simulated_cpu_percent=float(simulated.cpu_percent[second - length : second].mean()),
        )
        for period in run.periods
        for second in (round(period.end_s),)
    )
