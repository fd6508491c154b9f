"""A recorded run played again, by the rule alone or from its load, and held against the record.

Replay of the rule: every recorded metric period is shown to it, with the count that was recorded.
Webservers it asked for count as starting until the record shows them, so that one wrong decision
does not make all later ones wrong. Connections are known only as a total: each webserver is taken
to have the mean, whatever the statistic.

Replay of the load: the simulator gets each period's offered rate, and makes CPU, connections,
decisions and webservers itself. What differs then is the rule or the model of the webservers.

Which simulated change of the webserver count stands for which recorded one: both series, in the
order of time, are aligned so that the total cost is least. A pair costs how far it is apart, in
whole metric periods (a known moment is the same within half a period, a recorded interval holds
whatever lies in it), and one more when they add different numbers; a change without a partner costs
`LOST`. Changes of opposite direction are never a pair.

What is handed out counts its seconds from the run's start, as the run's own report does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.policy.recorded import Change, RecordedScaling, recorded_rates
from mwaa_headroom.analysis.policy.scaling_rule import Observation, PolicyParameters, ScalingRule
from mwaa_headroom.analysis.policy.simulate import Simulated, simulate
from mwaa_headroom.analysis.policy.workload import Workload
from mwaa_headroom.analysis.results import RunAnalysis

LOST = 3.0  # periods
LEAST_EXPLAINED = 2 / 3  # of the changes, recorded ones and those only the rule makes
_INTERVAL_SLACK = 0.05  # of a period: stamps and containers do not begin at the same moment

Verdict = Literal["matched", "off", "missed", "extra"]


@dataclass(frozen=True, slots=True)
class FittedRule:
    """One rule that explains the recorded runs, with the start time that belongs to it."""

    policy: PolicyParameters
    start_s: float
    spread_s: float = 0.0  # by which starts are shorter and longer, by counts alone


@dataclass(frozen=True, slots=True)
class ComparedEvent:
    """One change of the webserver count as it was recorded and as it was simulated.

    Times are seconds from the run's start: of decisions where the record tells them
    and of a replayed rule; else the change happened from `recorded_from_s` to `recorded_s`, and the
    start time is counted into the difference.
    """

    verdict: Verdict
    from_count: int
    to_count: int
    recorded_from_s: float | None  # None: extra; equal to `recorded_s` when the moment is known
    recorded_s: float | None
    simulated_s: float | None  # None: missed
    difference_s: float | None  # simulated minus recorded; 0 inside the recorded interval
    reason: Finding | None = None  # the simulated rule's


@dataclass(frozen=True, slots=True)
class ReplayPoint:
    """One metric period; None where it was not recorded."""

    at_s: float  # its end
    recorded_webservers: int | None
    simulated_webservers: float
    recorded_cpu_percent: float | None
    simulated_cpu_percent: float


@dataclass(frozen=True, slots=True)
class LostCalls:
    """How many calls of a run were lost, and how many the simulator says."""

    recorded: float
    simulated: float


@dataclass(frozen=True, slots=True)
class Replay:
    """A recorded run played again.

    `rule`: the rule was shown the recorded metrics. `load`: the simulator was given only the
    recorded load, and made the metrics itself.
    """

    kind: Literal["rule", "load"]
    run_id: str
    period_s: float
    changes: tuple[ComparedEvent, ...]
    points: tuple[ReplayPoint, ...] = ()
    cpu_off_percent: float | None = None  # mean distance of the simulated CPU, in % of the CPUs
    failed: LostCalls | None = None  # of a load
    slow: LostCalls | None = None  # of a load, if the SLO has a latency limit
    refusal: Finding | None = None

    @property
    def agrees(self) -> bool:
        """Whether every recorded event was simulated at its time, and no other."""
        return not self.refusal and all(event.verdict == "matched" for event in self.changes)


@dataclass(frozen=True, slots=True)
class Explained:
    """How many changes a rule makes at their time, and how many that were not recorded."""

    matched: int
    recorded: int
    extra: int

    @classmethod
    def by(cls, replays: Sequence[Replay]) -> "Explained":
        """Of all replays of a rule."""
        verdicts = [
            event.verdict for replay in replays if replay.kind == "rule" for event in replay.changes
        ]
        extra = verdicts.count("extra")
        return cls(verdicts.count("matched"), len(verdicts) - extra, extra)

    @property
    def too_few(self) -> bool:
        """Whether the rule is not what scales, so that it tells nothing of another load."""
        return self.matched < LEAST_EXPLAINED * (self.recorded + self.extra)


def align(
    recorded: Sequence[Change],
    simulated: Sequence[Change],
    period_s: float,
    spread_s: float = 0.0,
) -> tuple[float, list[tuple[Change | None, Change | None]]]:
    """The least cost, in periods, and the pairs behind it in the order of time.

    Args:
        recorded: in the order of time.
        simulated: likewise.
        period_s: of the metrics.
        spread_s: by which a webserver that was added may have come sooner or later.
    """
    costs = [[LOST * (i + j) for j in range(len(simulated) + 1)] for i in range(len(recorded) + 1)]
    for i, was in enumerate(recorded, start=1):
        for j, would_be in enumerate(simulated, start=1):
            costs[i][j] = min(
                costs[i - 1][j] + LOST,
                costs[i][j - 1] + LOST,
                costs[i - 1][j - 1] + _cost(was, would_be, period_s, spread_s),
            )
    pairs: list[tuple[Change | None, Change | None]] = []
    i, j = len(recorded), len(simulated)
    while i or j:
        here = costs[i][j]
        if (
            i
            and j
            and here
            == costs[i - 1][j - 1] + _cost(recorded[i - 1], simulated[j - 1], period_s, spread_s)
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
    recorded: Sequence[Change],
    simulated: Sequence[Change],
    period_s: float,
    from_s: float = 0.0,
    spread_s: float = 0.0,
) -> tuple[ComparedEvent, ...]:
    """The pairs of `align`, their times counted from `from_s`."""
    _, pairs = align(recorded, simulated, period_s, spread_s)
    return tuple(_compared(was, would_be, period_s, from_s, spread_s) for was, would_be in pairs)


def shown(decided: Sequence[Change], delay_s: float, end_s: float) -> list[Change]:
    """What a record of the count alone shows of decisions: nothing that comes after its end."""
    return [each.later(delay_s) for each in decided if each.to_s + delay_s < end_s]


def difference_s(recorded: Change, simulated: Change) -> float:
    """How much later the simulated change is; 0 inside the recorded interval."""
    at_s = simulated.to_s
    return at_s - min(max(at_s, recorded.from_s), recorded.to_s)


def _cost(recorded: Change, simulated: Change, period_s: float, spread_s: float) -> float:
    if recorded.added * simulated.added <= 0:
        return float("inf")
    may_be_off_s = spread_s if recorded.added > 0 else 0.0
    periods = _periods_apart(recorded, simulated, period_s, may_be_off_s)
    return periods + (recorded.added != simulated.added)


def _periods_apart(recorded: Change, simulated: Change, period_s: float, spread_s: float) -> float:
    is_moment = recorded.from_s == recorded.to_s
    slack = 0.5 if is_moment else _INTERVAL_SLACK
    apart = (abs(difference_s(recorded, simulated)) - spread_s) / period_s
    return float(max(0, ceil(apart - slack)))


def _compared(
    recorded: Change | None,
    simulated: Change | None,
    period_s: float,
    from_s: float,
    spread_s: float,
) -> ComparedEvent:
    if recorded is None:
        verdict: Verdict = "extra"
    elif simulated is None:
        verdict = "missed"
    else:
        verdict = "off" if _cost(recorded, simulated, period_s, spread_s) else "matched"
    known = recorded or simulated or Change(0.0, 0.0, 0, 0)
    return ComparedEvent(
        verdict=verdict,
        from_count=known.from_count,
        to_count=known.to_count,
        recorded_from_s=recorded.from_s - from_s if recorded else None,
        recorded_s=recorded.to_s - from_s if recorded else None,
        simulated_s=simulated.to_s - from_s if simulated else None,
        difference_s=difference_s(recorded, simulated) if recorded and simulated else None,
        reason=simulated.reason if simulated else None,
    )


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
            at = (period.end_s, period.end_s)
            decided.append(Change(*at, decision.from_count, decision.to_count, decision.reason))
    return tuple(decided)


def replay_rule(run: RecordedScaling, rule: FittedRule) -> Replay:
    """Hold the rule's decisions against the recorded ones."""
    changes = _compared_replay(run, rule_decisions(run, rule.policy), rule)
    return Replay("rule", run.run_id, run.period_s, changes)


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
        changes=_compared_replay(run, decided, rule),
        points=points,
        cpu_off_percent=float(np.mean(off)) if off else None,
        failed=LostCalls(_recorded_failed(analysis), simulated.failed_calls),
        slow=LostCalls(_recorded_slow(analysis), simulated.slow_calls)
        if workload.slow_after_s is not None
        else None,
    )


def _compared_replay(
    run: RecordedScaling, decided: Sequence[Change], rule: FittedRule
) -> tuple[ComparedEvent, ...]:
    """Where only changes of the count were recorded, a scale-out shows when its webserver came."""
    if run.decisions_known:
        return compared(run.changes, decided, run.period_s, run.started_s)
    end_s = run.periods[-1].end_s
    out = shown([each for each in decided if each.added > 0], rule.start_s, end_s)
    back = shown([each for each in decided if each.added < 0], 0.0, end_s)
    changes = sorted((*out, *back), key=lambda each: each.to_s)
    return compared(run.changes, changes, run.period_s, run.started_s, rule.spread_s)


def _recorded_failed(analysis: RunAnalysis) -> float:
    return sum(point.errors_per_s * point.period_s for point in analysis.periods)


def _recorded_slow(analysis: RunAnalysis) -> float:
    """Calls that ended well, but too late to be good."""
    return sum(
        max(0.0, point.achieved_per_s - point.errors_per_s - point.goodput_per_s) * point.period_s
        for point in analysis.periods
    )


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
