"""Every rule of a grid, and what its decisions cost beside the recorded ones.

See `analysis.policy.fit`. Rules that decide alike are replayed once: those that see the same in
every period, and those with a cooldown that no decision came within.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from analysis.policy.grid import STEPS, Ladder
from analysis.policy.matching import LOST, Change, align
from analysis.policy.parameters import PolicyParameters
from analysis.policy.recorded import RecordedScaling
from analysis.policy.replay import rule_decisions
from analysis.policy.signatures import Signature, sees_high, sees_quiet

LONGEST_START_S = 1800.0
_Compared = tuple[tuple[Change, ...], tuple[Change, ...], float]  # recorded, decided, period_s


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule, what it costs, and the times from decision to count that cost no more."""

    policy: PolicyParameters
    cost: float
    delay_s: tuple[float, float] | None  # None: decisions are recorded, so it is not asked
    gap_s: float  # the shortest time between a decision and the one it had to wait for

    @property
    def middle_s(self) -> float | None:
        """The middle of these times."""
        return sum(self.delay_s) / 2 if self.delay_s else None


def candidates(
    runs: Sequence[RecordedScaling],
    rules: Iterable[PolicyParameters],
    ladder: Ladder,
    *,
    sign: int,
) -> Iterator[Candidate]:
    """Every rule with every cooldown, of scaling out (sign 1) or in (sign -1)."""
    steps = _steps_shown(runs, sign)
    seen: dict[tuple[object, ...], Signature] = {}
    judged: dict[tuple[object, ...], list[Candidate]] = {}
    for rule in rules:
        step = rule.scale_out_step if sign > 0 else rule.scale_in_step
        if steps and step not in steps:
            continue
        looks_at = _looks_at(rule, sign)
        if looks_at not in seen:
            seen[looks_at] = (sees_high if sign > 0 else sees_quiet)(runs, rule)
        alike = (seen[looks_at], _how_long(rule, sign), step)
        if alike not in judged:
            judged[alike] = list(_with_cooldowns(runs, rule, ladder, sign))
        for each, cooldown_s in zip(judged[alike], ladder.values, strict=True):
            yield replace(each, policy=_with_cooldown(rule, cooldown_s, sign))


def _steps_shown(runs: Sequence[RecordedScaling], sign: int) -> set[int]:
    """Steps that explain the size of every recorded decision; empty: they do not tell.

    A count that changed by two may have been two decisions, so only decisions tell.
    """
    fitting = set(STEPS)
    for run in runs:
        limit = run.max_webservers if sign > 0 else run.min_webservers
        for change in run.changes:
            if run.decisions_known and change.added * sign > 0:
                size = abs(change.added)
                fitting &= {
                    step
                    for step in STEPS
                    if step == size or (change.to_count == limit and step > size)
                }
    return fitting


def _looks_at(rule: PolicyParameters, sign: int) -> tuple[object, ...]:
    if sign > 0:
        return rule.statistic, rule.connections_scope
    return rule.scale_in_cpu_below_percent, rule.scale_in_connections_below


def _how_long(rule: PolicyParameters, sign: int) -> tuple[int, ...]:
    if sign > 0:
        return rule.datapoints_to_alarm, rule.evaluation_periods
    return (rule.scale_in_periods,)


def _with_cooldowns(
    runs: Sequence[RecordedScaling], rule: PolicyParameters, ladder: Ladder, sign: int
) -> Iterator[Candidate]:
    judged: Candidate | None = None
    for cooldown_s in ladder.values:
        # A cooldown that no decision came within decides as a shorter one did.
        if judged is None or cooldown_s > judged.gap_s:
            judged = judge(runs, _with_cooldown(rule, cooldown_s, sign), sign=sign)
        yield judged


def _with_cooldown(rule: PolicyParameters, cooldown_s: float, sign: int) -> PolicyParameters:
    if sign > 0:
        return replace(rule, scale_out_cooldown_s=cooldown_s)
    return replace(rule, scale_in_cooldown_s=cooldown_s)


def judge(runs: Sequence[RecordedScaling], policy: PolicyParameters, *, sign: int) -> Candidate:
    """The cost of the decisions to scale out (sign 1) or in (sign -1)."""
    cost, gap_s = 0.0, float("inf")
    blind: list[_Compared] = []
    for run in runs:
        decisions = rule_decisions(run, policy)
        gap_s = min(gap_s, _shortest_gap_s(decisions, sign))
        recorded = tuple(change for change in run.changes if change.added * sign > 0)
        decided = tuple(change for change in decisions if change.added * sign > 0)
        if run.decisions_known:
            cost += align(recorded, decided, run.period_s)[0]
        else:
            blind.append((recorded, decided, run.period_s))
    if not any(recorded for recorded, _, _ in blind):
        lost = sum(LOST * len(decided) for _, decided, _ in blind)
        return Candidate(policy, cost + lost, None, gap_s)
    blind_cost, delay_s = _best_delay(tuple(blind))
    return Candidate(policy, cost + blind_cost, delay_s, gap_s)


def _shortest_gap_s(decisions: Sequence[Change], sign: int) -> float:
    """Scaling out waits for the last scaling out, scaling in for whatever came last."""
    gap_s, before_s = float("inf"), float("-inf")
    for decision in decisions:
        is_asked = decision.added * sign > 0
        if is_asked:
            gap_s = min(gap_s, decision.to_s - before_s)
        if is_asked or sign < 0:
            before_s = decision.to_s
    return gap_s


@lru_cache(maxsize=1024)  # most rules of a grid decide alike
def _best_delay(blind: tuple[_Compared, ...]) -> tuple[float, tuple[float, float]]:
    """The constant delay from decision to count with the least cost, as a range."""
    borders = {0.0, LONGEST_START_S}
    for recorded, decided, _ in blind:
        borders |= {
            min(max(border_s - decision.to_s, 0.0), LONGEST_START_S)
            for change in recorded
            for decision in decided
            for border_s in (change.from_s, change.to_s)
        }
    costs = {
        (low, high): sum(
            align(recorded, [each.later((low + high) / 2) for each in decided], period_s)[0]
            for recorded, decided, period_s in blind
        )
        for low, high in pairwise(sorted(borders))
    }
    least = min(costs.values())
    fitting = [ends for ends, cost in costs.items() if cost == least]
    return least, (fitting[0][0], fitting[-1][1])


def least(found: Iterable[Candidate]) -> list[Candidate]:
    """Those with the least cost."""
    best: list[Candidate] = []
    for candidate in found:
        if not best or candidate.cost < best[0].cost:
            best = [candidate]
        elif candidate.cost == best[0].cost:
            best.append(candidate)
    return best
