"""Changes of the webserver count, and how long each step of them took.

    load step -> threshold passed -> decision -> count changes -> takes traffic -> SLO restored

`load_step_s`     the last rise of the load before the threshold was passed
`breach_s`        end of the first of the consecutive periods past a scale-out threshold that lead
                  up to the change (CPU or connections, as the environment states its rule)
`decision_s`, `ready_s`  from the environment's own events; on AWS nobody tells
`count_changed_s` end of the first period whose SampleCount shows the new count; the change came
                  after `count_changed_after_s`
`takes_traffic_s` readiness where the environment tells, else the latest that metrics allow
`slo_restored_s`  end of the first of two good windows of 5 s in a row after the change; None when
                  the SLO was not broken before it, or did not hold again while it was watched, that
                  is until the load fell

Scaling in has a decision and a change of the count; `slo_broke` tells whether two windows of 5 s in
a row broke the SLO after it, before the next change or rise of the load.

A change seen only in SampleCount counts when the next period confirms it, with as many webservers
or more after a rise, as many or fewer after a fall: a late sample of one cluster looks like a lost
webserver, and 2, 3, 4, 5 are three changes. It happened after the end of the last period with the
old count and not after the end of the first period with the new one.

Where the environment does not tell of readiness, `scaling.arrival` says when traffic was taken.

A stage that holds one load steps to it at its start, known exactly. A ramp or a trace has no such
step: there the load step is the start of the first of the metric periods on end, up to the one that
breached, whose offered rate was at least that of the breaching period, less one standard deviation
of a Poisson count (sqrt(rate T) / T); it is known to one period T.

Windows of 5 s on end are judged by latency, service time, errors and goodput; lines about
webservers and the database are left out, and so is unsent, for which the generator is to blame.
Such a window is too short for a percentile one could quote; it is judged by however many calls it
has, because what is asked is when, not how much. Two windows of one kind in a row count as a fact.

The steps of one scale-out, t0 to t5:

    t0 load step   t1 first period past a threshold ends   t2 decision
    t3 webserver count rises   t4 new webserver takes traffic   t5 SLO restored

A step that the record does not show is left out, and the gap is to the step before that is known.
Steps are in the order of their times, which may differ from that above: a count is seen to rise
only at the end of a metric period, in whose middle the webserver may already have taken traffic.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from mwaa_headroom.analysis.calls import Calls, good_calls
from mwaa_headroom.analysis.findings import Finding, note
from mwaa_headroom.analysis.metric_periods import WebserverPeriod, offered_per_s
from mwaa_headroom.analysis.mwaa import CONNECTIONS, CPU
from mwaa_headroom.analysis.results import ScalingEvent
from mwaa_headroom.analysis.scaling.arrival import (
    STARTING_PERIODS,
    CountChange,
    CpuOfCalls,
    arrival,
    cpu_of_calls,
)
from mwaa_headroom.analysis.setting import Setting
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.slo_judgement import Window, judge, judge_times
from mwaa_headroom.analysis.stages import StageTimes
from mwaa_headroom.analysis.statistics import Floats

# What `policy.rule` decides by, as local environments write it into their events.
_REASONS = ("scaling.cpu_above", "scaling.connections_above", "scaling.quiet")
# What they wrote before that had values.
_OLD_PAST_THRESHOLD = re.compile(
    rf"({CPU}|{CONNECTIONS}) ([\d.]+) > ([\d.]+) in \d+ of \d+ periods"
)
_OLD_QUIET = re.compile(rf"{CPU} < ([\d.]+) and {CONNECTIONS} < ([\d.]+) for (\d+) periods")


def count_changes(periods: Sequence[WebserverPeriod]) -> tuple[CountChange, ...]:
    """Every confirmed change, in the order of time."""
    counted = [period for period in periods if period.webservers is not None]
    changes: list[CountChange] = []
    current = counted[0].webservers or 0 if counted else 0
    last_of_current_s = counted[0].end_s if counted else 0.0
    for period, following in pairwise(counted):
        count = period.webservers or 0
        further = (following.webservers or 0) - count
        if count != current and further * (count - current) >= 0:
            changes.append(CountChange(current, count, last_of_current_s, period.end_s))
            current = count
        if count == current:
            last_of_current_s = period.end_s
    return tuple(changes)


# Answers are awaited between stages, for at most the time limit of a call.
_LONGEST_PAUSE_S = 20.0


@dataclass(frozen=True, slots=True)
class LoadStep:
    """When the load rose; `within_s` is how well that is known, 0 at the start of a stage."""

    at_s: float
    within_s: float = 0.0


def load_step(
    before_s: float,
    stages: Sequence[StageTimes],
    periods: Sequence[WebserverPeriod],
    offered_per_s: Floats,
) -> LoadStep | None:
    """The last rise of the load before a time; None: no stage had begun.

    Args:
        before_s: the end of the first period past a threshold, or else the scale-out itself.
        stages: in the order of time.
        periods: in the order of time.
        offered_per_s: of each period; looked at in ramps and traces only.
    """
    begun = [stage for stage in stages if stage.started_at_s < before_s]
    if not begun:
        return None
    if begun[-1].plan.varies:
        return _rise_within(begun[-1], before_s, periods, offered_per_s)
    rises = [
        begun[0],
        *(after for before, after in pairwise(begun) if load_of(after) > load_of(before)),
    ]
    return LoadStep(rises[-1].started_at_s)


def load_of(stage: StageTimes) -> float:
    """Calls per second; of a closed workload, users."""
    return float(stage.plan.rate_per_s or stage.plan.users or 0.0)


def watched_until_s(stages: Sequence[StageTimes], calls: Calls, from_s: float) -> float:
    """The next fall of the load after a time: a lighter stage, a pause, a recovery phase, the end.

    A service that does well under less load proves nothing of its webservers.
    """
    recovered = {-1 - int(stage) for stage in np.unique(calls.stage[calls.stage < 0])}
    later = [stage for stage in stages if stage.ended_at_s > from_s]
    for stage, after in pairwise(later):
        goes_on = after.started_at_s - stage.ended_at_s <= _LONGEST_PAUSE_S
        is_lighter = load_of(after) < load_of(stage)
        if stage.plan.index in recovered or is_lighter or not goes_on:
            return stage.ended_at_s
    return later[-1].ended_at_s if later else from_s


def _rise_within(
    stage: StageTimes,
    before_s: float,
    periods: Sequence[WebserverPeriod],
    offered_per_s: Floats,
) -> LoadStep:
    leading = [
        (period, float(rate))
        for period, rate in zip(periods, offered_per_s, strict=True)
        if stage.started_at_s < period.end_s <= before_s
    ]
    if not leading:
        return LoadStep(stage.started_at_s)
    period, rate = leading[-1]
    enough_per_s = rate - math.sqrt(rate / period.period_s)
    for earlier, its_rate in reversed(leading[:-1]):
        if its_rate < enough_per_s:
            break
        period = earlier
    if period.start_s <= stage.started_at_s:
        return LoadStep(stage.started_at_s)
    return LoadStep(period.start_s, within_s=period.period_s)


WINDOW_S = 5.0
IN_A_ROW = 2
_TIMES = ("latency", "service_time")
_SHARES = ("errors", "goodput")
_WINDOWS_TOGETHER = 64


def restoration(
    slos: Sequence[Slo], calls: Calls, *, from_s: float, after_s: float, until_s: float
) -> tuple[bool | None, float | None]:
    """Whether the SLO was broken before a scale-out, and when it held again.

    Args:
        slos: all lines; those not about calls are left out.
        calls: of the whole run.
        from_s: the load step.
        after_s: when the new webserver came.
        until_s: when watching ended.

    Returns:
        Whether a window before `after_s` was bad (None: not judged), and the end of the first of
        two good windows in a row after it (None: never broken, or not while it was watched).
    """
    was_broken: bool | None = None
    in_a_row: list[float] = []
    for end_s, good in _windows(slos, calls, from_s, until_s):
        if end_s <= after_s:
            was_broken = bool(was_broken) or not good
        if end_s - WINDOW_S < after_s:
            continue
        if not was_broken:
            break
        in_a_row = [*in_a_row, end_s] if good else []
        if len(in_a_row) == IN_A_ROW:
            return was_broken, in_a_row[0]
    return was_broken, None


def broke(slos: Sequence[Slo], calls: Calls, *, from_s: float, until_s: float) -> bool | None:
    """Whether two windows in a row were bad between two times; None: there are fewer."""
    in_a_row, seen = 0, 0
    for _, good in _windows(slos, calls, from_s, until_s):
        seen += 1
        in_a_row = 0 if good else in_a_row + 1
        if in_a_row == IN_A_ROW:
            return True
    return False if seen >= IN_A_ROW else None


def _windows(
    slos: Sequence[Slo], calls: Calls, from_s: float, until_s: float
) -> Iterator[tuple[float, bool]]:
    """End and goodness of each whole window with calls between two times."""
    judged = [slo for slo in slos if slo.metric in _TIMES + _SHARES]
    whole = int((until_s - from_s) // WINDOW_S)
    if not judged or whole <= 0 or not len(calls):
        return
    number = ((calls.intended_start_s - from_s) // WINDOW_S).astype(np.int32)
    # A light load after an overload is no proof that more webservers restored the SLO.
    number[calls.stage < 0] = -1
    # Few windows are ever asked for, so calls are put in order for some of them at a time.
    for first in range(0, min(whole, int(number.max()) + 1), _WINDOWS_TOGETHER):
        beyond = min(first + _WINDOWS_TOGETHER, whole)
        together = np.flatnonzero((number >= first) & (number < beyond))
        order = together[np.argsort(number[together], kind="stable")]
        for chosen in np.split(order, np.flatnonzero(np.diff(number[order])) + 1):
            if len(chosen):
                window = calls.where(chosen)
                end_s = from_s + (int(number[chosen[0]]) + 1) * WINDOW_S
                yield end_s, _hold(judged, window)


def _hold(slos: Sequence[Slo], calls: Calls) -> bool:
    window = Window(calls, good=good_calls(calls, slos), periods=())
    return all(_holds(slo, window) for slo in slos)


def _holds(slo: Slo, window: Window) -> bool:
    if slo.metric in _SHARES:
        return judge(slo, window).met is not False
    calls = window.calls
    concerned = calls.of_operation(slo.selector_value)
    timed = concerned.timed
    if not timed.any():
        return not concerned.sent.any()
    times_s = concerned.times_s(slo.metric, timed)
    _, _, met = judge_times(slo, times_s, concerned.censored[timed])
    return met is True


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a scale-out.

    `at_s` is in epoch seconds. What is read from metrics or windows lies in
    (at_s - resolution_s, at_s]; 0: exact, None: not known. Of a load step within a ramp or a trace
    the resolution is to both sides.
    """

    name: str
    at_s: float
    gap_s: float | None  # since the step before; None: this is the first
    resolution_s: float | None


def steps_of(event: ScalingEvent) -> tuple[Step, ...]:
    """The known steps of a scale-out, or the decision and the fall of the count of a scale-in."""
    steps: list[Step] = []
    for name, at_s, resolution_s in sorted(_known(event), key=lambda known: known[1]):
        gap_s = at_s - steps[-1].at_s if steps else None
        steps.append(Step(name, at_s, gap_s, resolution_s))
    return tuple(steps)


def _known(event: ScalingEvent) -> Iterator[tuple[str, float, float | None]]:
    counted_within_s = event.period_s
    if event.count_changed_s is not None and event.count_changed_after_s is not None:
        counted_within_s = event.count_changed_s - event.count_changed_after_s
    traffic_s, traffic_within_s = event.takes_traffic_s, event.period_s
    if event.ready_s is not None:
        traffic_within_s = 0.0
    elif traffic_s is not None and event.takes_traffic_after_s is not None:
        traffic_within_s = traffic_s - event.takes_traffic_after_s
    rises = event.to_count > event.from_count
    for name, at_s, resolution_s in (
        ("load step", event.load_step_s, event.load_step_within_s),
        ("threshold passed", event.breach_s, event.period_s),
        ("decision", event.decision_s, 0.0),
        ("count rises" if rises else "count falls", event.count_changed_s, counted_within_s),
        ("takes traffic", traffic_s, traffic_within_s),
        ("SLO restored", event.slo_restored_s, _restored_within_s(event)),
    ):
        if at_s is not None:
            yield name, at_s, resolution_s


def _restored_within_s(event: ScalingEvent) -> float:
    """A window, or more where windows may have been good before the first that was looked at."""
    came_s, not_before_s = event.takes_traffic_s, event.takes_traffic_after_s
    if came_s is None:
        came_s, not_before_s = event.count_changed_s, event.count_changed_after_s
    restored_s = event.slo_restored_s
    if restored_s is None or came_s is None or not_before_s is None:
        return WINDOW_S
    return restored_s - not_before_s if restored_s < came_s + 2 * WINDOW_S else WINDOW_S


@dataclass(frozen=True, eq=False)
class _Recorded:
    """What the causes and effects of a change are looked for in."""

    setting: Setting
    stages: Sequence[StageTimes]
    periods: Sequence[WebserverPeriod]
    offered_per_s: Floats
    calls: Calls
    changes: Sequence[CountChange]

    @cached_property
    def cpu(self) -> CpuOfCalls | None:
        return cpu_of_calls(self.periods, self.calls, self.changes)


def scaling_events(
    setting: Setting,
    stages: Sequence[StageTimes],
    events: Sequence[dict[str, Any]],
    seen: Window,
) -> tuple[ScalingEvent, ...]:
    """Every change of the webserver count between the first and the last metric period.

    What the transients cost is added by `analysis.scaling.cost.with_costs`.
    """
    periods, calls = seen.periods, seen.calls
    decisions = [event for event in events if event["kind"] == "scaling_decision"]
    changes = count_changes(periods)
    found = _decided(decisions, events, changes)
    found += [_observed(change) for change in changes if not _is_explained(change, found)]
    found.sort(key=moment)
    varies = any(stage.plan.varies for stage in stages)
    offered = offered_per_s(periods, calls) if varies else np.zeros(len(periods))
    run = _Recorded(setting, stages, periods, offered, calls, changes)
    completed = []
    for position, event in enumerate(found):
        next_s = moment(found[position + 1]) if position + 1 < len(found) else float("inf")
        completed.append(_completed(event, next_s, run))
    return tuple(completed)


def moment(event: ScalingEvent) -> float:
    """The earliest time known of a change itself."""
    return event.decision_s or event.count_changed_s or 0.0


def _decided(
    decisions: Sequence[dict[str, Any]],
    events: Sequence[dict[str, Any]],
    changes: Sequence[CountChange],
) -> list[ScalingEvent]:
    ready_s = [float(event["time_s"]) for event in events if event["kind"] == "webserver_ready"]
    found = []
    for position, decision in enumerate(decisions):
        decided_s = float(decision["time_s"])
        from_count, to_count = int(decision["from_count"]), int(decision["to_count"])
        added = to_count - from_count
        # Webservers come up in the order in which they were asked for.
        still_free = [time_s for time_s in ready_s if time_s >= decided_s]
        used = still_free[:added] if added > 0 else []
        ready_s = [time_s for time_s in ready_s if time_s not in used]
        until_s = _next_opposite(decisions[position + 1 :], added)
        change = _seen(changes, decided_s, until_s, to_count, added)
        found.append(
            ScalingEvent(
                from_count=from_count,
                to_count=to_count,
                decision_s=decided_s,
                count_changed_s=change.seen_s if change else None,
                ready_s=used[-1] if added > 0 and len(used) == added else None,
                reason=_decided_by(decision),
                count_changed_after_s=change.after_s if change else None,
            )
        )
    return found


def _decided_by(decision: dict[str, Any]) -> Finding | None:
    """Why the environment decided, as it wrote it: a finding, or a text of its own."""
    reason = decision.get("reason")
    if isinstance(reason, Mapping) and reason.get("code") in _REASONS:
        return Finding(reason["code"], "note", dict(reason.get("values") or {}))
    if past := _OLD_PAST_THRESHOLD.fullmatch(str(reason)):
        observed, threshold = float(past[2]), float(past[3])
        if past[1] == CPU:
            return note("scaling.cpu_above", threshold_percent=threshold, observed_percent=observed)
        return note("scaling.connections_above", threshold=threshold, observed=observed)
    if quiet := _OLD_QUIET.fullmatch(str(reason)):
        return note(
            "scaling.quiet",
            cpu_below_percent=float(quiet[1]),
            connections_below=float(quiet[2]),
            periods=int(quiet[3]),
        )
    return note("scaling.recorded", reason=str(reason)) if reason else None


def _is_explained(change: CountChange, decided: Sequence[ScalingEvent]) -> bool:
    """Whether a decision led to it; webservers of one decision may be counted one by one."""
    return any(
        (event.decision_s or 0.0) < change.seen_s <= event.count_changed_s
        and (event.to_count - event.from_count) * (change.to_count - change.from_count) > 0
        for event in decided
        if event.count_changed_s is not None
    )


def _next_opposite(later: Sequence[dict[str, Any]], added: int) -> float:
    """When a decision the other way ends the wait for this one to show."""
    for decision in later:
        if (int(decision["to_count"]) - int(decision["from_count"])) * added < 0:
            return float(decision["time_s"])
    return float("inf")


def _seen(
    changes: Sequence[CountChange], from_s: float, until_s: float, count: int, added: int
) -> CountChange | None:
    for change in changes:
        reached = change.to_count >= count if added > 0 else change.to_count <= count
        same_way = (change.to_count - change.from_count) * added > 0
        if from_s < change.seen_s <= until_s and same_way and reached:
            return change
    return None


def _observed(change: CountChange) -> ScalingEvent:
    return ScalingEvent(
        change.from_count,
        change.to_count,
        count_changed_s=change.seen_s,
        count_changed_after_s=change.after_s,
    )


def _completed(event: ScalingEvent, next_s: float, run: _Recorded) -> ScalingEvent:
    event = replace(event, period_s=run.periods[0].period_s if run.periods else None)
    if event.to_count > event.from_count:
        return _with_effect(_with_cause(event, run), run)
    fell_s = event.decision_s or event.count_changed_after_s or moment(event)
    until_s = min(next_s, _next_rise_s(run.stages, fell_s))
    slos, calls = run.setting.slos, run.calls
    return replace(event, slo_broke=broke(slos, calls, from_s=fell_s, until_s=until_s))


def _with_cause(event: ScalingEvent, run: _Recorded) -> ScalingEvent:
    breach_s, cause = _breach(event, run.setting, run.periods)
    before_s = breach_s or moment(event)
    step = load_step(before_s, run.stages, run.periods, run.offered_per_s)
    return replace(
        event,
        breach_s=breach_s,
        load_step_s=step.at_s if step else None,
        load_step_within_s=step.within_s if step else 0.0,
        reason=event.reason or cause,
    )


def _with_effect(event: ScalingEvent, run: _Recorded) -> ScalingEvent:
    event = _with_arrival(event, run)
    takes_traffic_s = event.takes_traffic_s
    from_s = event.load_step_s or event.breach_s or moment(event)
    came_s = takes_traffic_s or event.count_changed_s or moment(event)
    was_broken, restored_s = restoration(
        run.setting.slos,
        run.calls,
        from_s=from_s,
        after_s=came_s,
        until_s=watched_until_s(run.stages, run.calls, from_s),
    )
    return replace(event, slo_broke=was_broken, slo_restored_s=restored_s)


def _with_arrival(event: ScalingEvent, run: _Recorded) -> ScalingEvent:
    after_s, seen_s = event.count_changed_after_s, event.count_changed_s
    if event.ready_s is not None or after_s is None or seen_s is None:
        return replace(event, takes_traffic_s=event.ready_s)
    change = CountChange(event.from_count, event.to_count, after_s, seen_s)
    settled_s = after_s - STARTING_PERIODS * (event.period_s or 0.0)
    alone = all(not settled_s < other.seen_s <= after_s for other in run.changes)
    found = arrival(run.periods, run.cpu, change, alone=alone)
    return replace(
        event,
        takes_traffic_s=found.by_s,
        takes_traffic_after_s=found.after_s,
        start_up=found.start_up,
    )


def _next_rise_s(stages: Sequence[StageTimes], after_s: float) -> float:
    """When the load next rises above what it was, or the last stage ends."""
    in_force = max(
        (load_of(s) for s in stages if s.started_at_s <= after_s < s.ended_at_s), default=0
    )
    rises = [s.started_at_s for s in stages if s.started_at_s > after_s and load_of(s) > in_force]
    ends = [stage.ended_at_s for stage in stages]
    return min(rises, default=max(ends, default=after_s))


def _breach(
    event: ScalingEvent, setting: Setting, periods: Sequence[WebserverPeriod]
) -> tuple[float | None, Finding | None]:
    # A decision may come while the period that led to it is still being published.
    leading = [period for period in periods if period.start_s < moment(event)]
    breach: WebserverPeriod | None = None
    for period in reversed(leading):
        if _past_threshold(period, setting):
            breach = period
        elif breach is not None:
            break
    if breach is None:
        return None, None
    return breach.end_s, _past_threshold(breach, setting)


def _past_threshold(period: WebserverPeriod, setting: Setting) -> Finding | None:
    """Which threshold a period is past; None: none."""
    if period.cpu_percent is not None and period.cpu_percent > setting.cpu_above_percent:
        return note("scaling.cpu_above", threshold_percent=setting.cpu_above_percent)
    per_webserver = setting.connections_are_per_webserver
    connections = period.connections_per_webserver if per_webserver else period.connections
    if connections is not None and connections > setting.connections_above:
        return note(
            "scaling.connections_above",
            threshold=setting.connections_above,
            per_webserver=per_webserver,
        )
    return None
