"""Changes of the webserver count, and how long each step of them took.

    load step -> threshold passed -> decision -> count changes -> takes traffic -> SLO restored

`load_step_s`     the last rise of the load before the threshold was passed (`load_steps`)
`breach_s`        end of the first of the consecutive periods past a scale-out threshold that lead
                  up to the change (CPU or connections, as the environment states its rule)
`decision_s`, `ready_s`  from the environment's own events; on AWS nobody tells
`count_changed_s` end of the first period whose SampleCount shows the new count; the change came
                  after `count_changed_after_s` (`count_changes`)
`takes_traffic_s` readiness where the environment tells, else an upper bound from the metrics
`slo_restored_s`  end of the first of two good windows of 5 s in a row after the change; None when
                  the SLO was not broken before it, or did not hold again while it was watched, that
                  is until the load fell (`slo_windows`)

Scaling in has a decision and a change of the count; `slo_broke` tells whether two windows of 5 s in
a row broke the SLO after it, before the next change or rise of the load.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.calls import Calls, Floats
from analysis.results import ScalingEvent
from analysis.scaling.count_changes import CountChange, count_changes, took_traffic_by_s
from analysis.scaling.load_steps import load_of, load_step, watched_until_s
from analysis.scaling.slo_windows import broke, restoration
from analysis.setting import Setting
from analysis.stages import StageTimes
from analysis.windows import WebserverPeriod, offered_per_s


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What the causes and effects of a change are looked for in."""

    setting: Setting
    stages: Sequence[StageTimes]
    periods: Sequence[WebserverPeriod]
    offered_per_s: Floats
    calls: Calls


def scaling_events(
    setting: Setting,
    stages: Sequence[StageTimes],
    events: Sequence[dict[str, Any]],
    periods: Sequence[WebserverPeriod],
    calls: Calls,
) -> tuple[ScalingEvent, ...]:
    """Every change of the webserver count between the first and the last metric period.

    What the transients cost is added by `analysis.scaling.transient.with_costs`.
    """
    decisions = [event for event in events if event["kind"] == "scaling_decision"]
    changes = count_changes(periods)
    found = _decided(decisions, events, changes)
    explained = {event.count_changed_s for event in found}
    found += [_observed(change) for change in changes if change.seen_s not in explained]
    found.sort(key=moment)
    varies = any(stage.plan.varies for stage in stages)
    offered = offered_per_s(periods, calls) if varies else np.zeros(len(periods))
    run = _Run(setting, stages, periods, offered, calls)
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
                load_step_s=None,
                breach_s=None,
                decision_s=decided_s,
                count_changed_s=change.seen_s if change else None,
                ready_s=used[-1] if added > 0 and len(used) == added else None,
                slo_restored_s=None,
                reason=str(decision.get("reason", "")),
                count_changed_after_s=change.after_s if change else None,
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
        from_count=change.from_count,
        to_count=change.to_count,
        load_step_s=None,
        breach_s=None,
        decision_s=None,
        count_changed_s=change.seen_s,
        ready_s=None,
        slo_restored_s=None,
        count_changed_after_s=change.after_s,
    )


def _completed(event: ScalingEvent, next_s: float, run: _Run) -> ScalingEvent:
    event = replace(event, period_s=run.periods[0].period_s if run.periods else None)
    if event.to_count > event.from_count:
        return _with_effect(_with_cause(event, run), run)
    fell_s = event.decision_s or event.count_changed_after_s or moment(event)
    until_s = min(next_s, _next_rise_s(run.stages, fell_s))
    slos, calls = run.setting.slos, run.calls
    return replace(event, slo_broke=broke(slos, calls, from_s=fell_s, until_s=until_s))


def _with_cause(event: ScalingEvent, run: _Run) -> ScalingEvent:
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


def _with_effect(event: ScalingEvent, run: _Run) -> ScalingEvent:
    takes_traffic_s = event.ready_s
    if takes_traffic_s is None and event.count_changed_s is not None:
        seen_s = event.count_changed_s
        takes_traffic_s = took_traffic_by_s(run.periods, seen_s, event.to_count)
    from_s = event.load_step_s or event.breach_s or moment(event)
    came_s = takes_traffic_s or event.count_changed_s or moment(event)
    was_broken, restored_s = restoration(
        run.setting.slos,
        run.calls,
        from_s=from_s,
        after_s=came_s,
        until_s=watched_until_s(run.stages, run.calls, from_s),
    )
    return replace(
        event,
        takes_traffic_s=takes_traffic_s,
        slo_broke=was_broken,
        slo_restored_s=restored_s,
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
) -> tuple[float | None, str]:
    # A decision may come while the period that led to it is still being published.
    leading = [period for period in periods if period.start_s < moment(event)]
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
