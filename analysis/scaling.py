"""Changes of the webserver count, and how long each step of a scale-out took.

    load step -> threshold passed -> decision -> webserver ready -> SLO restored

`load_step_s`     start of the last stage before the threshold was passed
`breach_s`        end of the first of the consecutive periods past a scale-out threshold that lead
                  up to the change (CPU or connections, as the environment states its rule)
`decision_s`, `ready_s`  from the environment's own events; on AWS nobody tells
`count_changed_s` end of the first period whose SampleCount shows the new count
`slo_restored_s`  end of the first of two good windows of 5 s in a row after the change; None when
                  the SLO was not broken before it, or never held again

A change seen only in SampleCount counts when the next period confirms it: a late sample of one
cluster looks like a lost webserver.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from analysis.calls import Calls
from analysis.judge import Window, judge, judge_times
from analysis.results import ScalingEvent
from analysis.setting import Setting
from analysis.slo import Slo
from analysis.stages import StageTimes
from analysis.windows import WebserverPeriod

WINDOW_S = 5.0
GOOD_WINDOWS_IN_A_ROW = 2
_WINDOWS_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class _CountChange:
    """A change of SampleCount, seen at the end of the first period that shows it."""

    from_count: int
    to_count: int
    seen_s: float


def scaling_events(
    setting: Setting,
    stages: Sequence[StageTimes],
    events: Sequence[dict[str, Any]],
    periods: Sequence[WebserverPeriod],
    calls: Calls,
) -> tuple[ScalingEvent, ...]:
    """Every change of the webserver count between the first and the last metric period."""
    decisions = [event for event in events if event["kind"] == "scaling_decision"]
    changes = _count_changes(periods)
    found = _decided(decisions, events, changes)
    explained = {event.count_changed_s for event in found}
    found += [_observed(change) for change in changes if change.seen_s not in explained]
    found.sort(key=_moment)
    return tuple(_with_causes(event, setting, stages, periods, calls) for event in found)


def _count_changes(periods: Sequence[WebserverPeriod]) -> list[_CountChange]:
    counted = [(p.webservers, p.end_s) for p in periods if p.webservers is not None]
    changes: list[_CountChange] = []
    current = counted[0][0] if counted else 0
    for (count, end_s), (next_count, _) in pairwise(counted):
        if count != current and next_count == count:
            changes.append(_CountChange(current, count, end_s))
            current = count
    return changes


def _decided(
    decisions: Sequence[dict[str, Any]],
    events: Sequence[dict[str, Any]],
    changes: Sequence[_CountChange],
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
        found.append(
            ScalingEvent(
                from_count=from_count,
                to_count=to_count,
                load_step_s=None,
                breach_s=None,
                decision_s=decided_s,
                count_changed_s=_seen(changes, decided_s, until_s, to_count, added),
                ready_s=used[-1] if added > 0 and len(used) == added else None,
                slo_restored_s=None,
                reason=str(decision.get("reason", "")),
            )
        )
    return found


def _next_opposite(later: Sequence[dict[str, Any]], added: int) -> float:
    """When a decision the other way ends the wait for this one to show."""
    for decision in later:
        if (int(decision["to_count"]) - int(decision["from_count"])) * added < 0:
            return float(decision["time_s"])
    return float("inf")


def _seen(
    changes: Sequence[_CountChange], from_s: float, until_s: float, count: int, added: int
) -> float | None:
    for change in changes:
        reached = change.to_count >= count if added > 0 else change.to_count <= count
        same_way = (change.to_count - change.from_count) * added > 0
        if from_s < change.seen_s <= until_s and same_way and reached:
            return change.seen_s
    return None


def _observed(change: _CountChange) -> ScalingEvent:
    return ScalingEvent(
        from_count=change.from_count,
        to_count=change.to_count,
        load_step_s=None,
        breach_s=None,
        decision_s=None,
        count_changed_s=change.seen_s,
        ready_s=None,
        slo_restored_s=None,
    )


def _moment(event: ScalingEvent) -> float:
    """The earliest time known of a change."""
    return event.decision_s or event.count_changed_s or 0.0


def _with_causes(
    event: ScalingEvent,
    setting: Setting,
    stages: Sequence[StageTimes],
    periods: Sequence[WebserverPeriod],
    calls: Calls,
) -> ScalingEvent:
    if event.to_count < event.from_count:
        return event
    breach_s, cause = _breach(event, setting, periods)
    before_s = breach_s or _moment(event)
    load_step_s = max(
        (stage.started_at_s for stage in stages if stage.started_at_s < before_s), default=None
    )
    return replace(
        event,
        breach_s=breach_s,
        load_step_s=load_step_s,
        slo_restored_s=_restored_s(event, load_step_s or before_s, setting.slos, calls),
        reason=event.reason or cause,
    )


def _breach(
    event: ScalingEvent, setting: Setting, periods: Sequence[WebserverPeriod]
) -> tuple[float | None, str]:
    # A decision may come while the period that led to it is still being published.
    leading = [period for period in periods if period.start_s < _moment(event)]
    breach: WebserverPeriod | None = None
    for period in reversed(leading):
        if _past_threshold(period, setting):
            breach = period
        elif breach is not None:
            break
    if breach is None:
        return None, ""
    return breach.end_s, _past_threshold(breach, setting)


def _past_threshold(period: WebserverPeriod, setting: Setting) -> str:
    """Which threshold a period is past, in words; "" for none."""
    if period.cpu_percent is not None and period.cpu_percent > setting.cpu_above_percent:
        return f"CPU above {setting.cpu_above_percent:g} %"
    per_webserver = setting.connections_are_per_webserver
    connections = period.connections_per_webserver if per_webserver else period.connections
    if connections is not None and connections > setting.connections_above:
        of = "per webserver " if per_webserver else ""
        return f"connections {of}above {setting.connections_above:g}"
    return ""


def _restored_s(
    event: ScalingEvent, from_s: float, slos: Sequence[Slo], calls: Calls
) -> float | None:
    after_s = event.ready_s or event.count_changed_s or event.decision_s
    judged = [slo for slo in slos if slo.percentile is not None or slo.metric == "errors"]
    if after_s is None or not judged or not len(calls):
        return None
    was_broken = False
    in_a_row: list[float] = []
    for end_s, good in _good_windows(from_s, judged, calls):
        was_broken |= end_s <= after_s and not good
        if end_s - WINDOW_S < after_s:
            continue
        if not was_broken:
            return None
        in_a_row = [*in_a_row, end_s] if good else []
        if len(in_a_row) == GOOD_WINDOWS_IN_A_ROW:
            return in_a_row[0]
    return None


def _good_windows(from_s: float, slos: Sequence[Slo], calls: Calls) -> Iterator[tuple[float, bool]]:
    """End and goodness of each window with calls, from a time on."""
    number = ((calls.intended_start_s - from_s) // WINDOW_S).astype(np.int32)
    # A light load after an overload is no proof that more webservers restored the SLO.
    number[calls.stage < 0] = -1
    # Few windows are ever asked for, so calls are put in order for some of them at a time.
    for first in range(0, int(number.max(initial=-1)) + 1, _WINDOWS_TOGETHER):
        together = np.flatnonzero((number >= first) & (number < first + _WINDOWS_TOGETHER))
        order = together[np.argsort(number[together], kind="stable")]
        for chosen in np.split(order, np.flatnonzero(np.diff(number[order])) + 1):
            if len(chosen):
                window = calls.where(chosen)
                end_s = from_s + (int(number[chosen[0]]) + 1) * WINDOW_S
                yield end_s, all(_holds(slo, window) for slo in slos)


def _holds(slo: Slo, calls: Calls) -> bool:
    """Whether a line holds in a window too short for a percentile one could quote."""
    if slo.percentile is None:
        return judge(slo, Window(calls, good=calls.ok, periods=())).met is not False
    concerned = calls.of_operation(slo.selector_value)
    timed = concerned.timed
    if not timed.any():
        return not concerned.sent.any()
    times_s = concerned.times_s(slo.metric, timed)
    _, _, met = judge_times(slo, times_s, concerned.censored[timed])
    return met is True
