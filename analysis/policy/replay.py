"""A recorded run played again, by the rule alone or from its load.

Replay of the rule: every recorded metric period is shown to it, with the count that was recorded.
Webservers it asked for count as starting until the record shows them, so that one wrong decision
does not make all later ones wrong. Connections are known only as a total: each webserver is taken
to have the mean, whatever the statistic.

Replay of the load: the simulator gets each period's offered rate, and makes CPU, connections,
decisions and webservers itself. What differs then is the rule or the model of the webservers.

What is handed out counts its seconds from the run's start, as the run's own report does.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from analysis.policy.matching import Change, compared
from analysis.policy.parameters import PolicyParameters
from analysis.policy.recorded import RecordedScaling
from analysis.policy.results import ComparedEvent, FittedRule, LostCalls, Replay, ReplayPoint
from analysis.policy.rule import Observation, ScalingRule
from analysis.policy.simulate import Simulated, simulate
from analysis.policy.workload import Workload
from analysis.results import RunAnalysis

Floats = NDArray[np.float64]


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
        changes=_compared(run, decided),
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
        changes=_compared(run, [_as_recorded(each, run, rule) for each in decided]),
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


def _compared(run: RecordedScaling, decided: list[Change]) -> tuple[ComparedEvent, ...]:
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
