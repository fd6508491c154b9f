"""Every rule of a grid, and what its decisions cost beside the recorded ones; see `fit`.

Rules that decide alike are replayed once: those that see the same in every period by itself, and
those with a cooldown that no decision came within. Most values of a grid see nothing different in
the runs at hand, so that only few have to be replayed. What a rule sees the rule itself is asked,
one period at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, product
from typing import Final, Literal

from mwaa_headroom.analysis.policy.recorded import Change, RecordedScaling, SeenPeriod
from mwaa_headroom.analysis.policy.replay import align, rule_decisions, shown
from mwaa_headroom.analysis.policy.scaling_rule import Observation, PolicyParameters, ScalingRule

DATAPOINTS: Final = tuple((m, n) for n in range(1, 6) for m in range(1, n + 1))  # M of N periods
STATISTICS: Final[tuple[Literal["Average", "Maximum"], ...]] = ("Average", "Maximum")
SCOPES: Final[tuple[Literal["per_webserver", "total"], ...]] = ("per_webserver", "total")
STEPS: Final = (1, 2, 3)
QUIET_PERIODS: Final = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30)
CPU_BELOW_PERCENT: Final = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0)
CONNECTIONS_BELOW: Final = (1.0, 2.0, 5.0, 10.0, 15.0)
LONGEST_START_S: Final = 1800.0
_COOLDOWNS_IN_PERIODS: Final = range(1, 13)
_LONG_COOLDOWNS_S: Final = (90.0, 120.0, 180.0, 240.0, 300.0, 600.0, 900.0)
_SPREADS_IN_HALF_PERIODS: Final = range(1, 5)  # each costs as much as a change one period off
NEARLY: Final = 1.5
ONE_PERIOD: Final = 1.0  # as costs are counted
_PLENTY: Final = 1_000_000  # webservers

Signature = tuple[bool, ...]
_Compared = tuple[tuple[Change, ...], tuple[Change, ...], float, float]
"""Recorded and decided changes, the metric period, and when the record ended."""


@dataclass(frozen=True, slots=True)
class CooldownGrid:
    """Ascending values, each standing for all above the one before it, the last for all beyond."""

    values: tuple[float, ...]

    def holding(self, value: float) -> float:
        """The one that stands for a value."""
        return next((each for each in self.values if value <= each), self.values[-1])

    def described(self, fitting: Iterable[float]) -> tuple[str, ...]:
        """Neighbours joined: "at most 10 s", "over 5 s, up to 15 s", "over 600 s"."""
        places = sorted(self.values.index(value) for value in set(fitting))
        return tuple(self._range(first, last) for first, last in _joined(places))

    def _range(self, first: int, last: int) -> str:
        over = f"over {self.values[first - 1]:g} s" if first else ""
        up_to = f"{self.values[last]:g} s" if last < len(self.values) - 1 else ""
        if over and up_to:
            return f"{over}, up to {up_to}"
        return over or (f"at most {up_to}" if up_to else "any")


def cooldown_ladder(period_s: float) -> CooldownGrid:
    """Cooldowns that can act differently: whole periods first, then coarser."""
    short = [periods * period_s for periods in _COOLDOWNS_IN_PERIODS]
    return CooldownGrid((*short, *(long for long in _LONG_COOLDOWNS_S if long > short[-1])))


def scale_out_rules(base: PolicyParameters) -> Iterator[PolicyParameters]:
    """Every way to scale out, with the cooldown of `base`; none of them scales in."""
    for (m, n), statistic, scope, step in product(DATAPOINTS, STATISTICS, SCOPES, STEPS):
        yield replace(
            base,
            datapoints_to_alarm=m,
            evaluation_periods=n,
            statistic=statistic,
            connections_scope=scope,
            scale_out_step=step,
            scale_in_cpu_below_percent=0.0,
        )


def scale_in_rules(base: PolicyParameters) -> Iterator[PolicyParameters]:
    """Every way to scale in, with the cooldown of `base`, which says how it scales out."""
    for periods, cpu, connections, step in product(
        QUIET_PERIODS, CPU_BELOW_PERCENT, CONNECTIONS_BELOW, STEPS
    ):
        yield replace(
            base,
            scale_in_periods=periods,
            scale_in_cpu_below_percent=cpu,
            scale_in_connections_below=connections,
            scale_in_step=step,
        )


def described_points(
    tried: Sequence[float], fitting: Iterable[float], unit: str
) -> tuple[str, ...]:
    """Values that were tried themselves, neighbours joined: "20 to 40 %"."""
    places = sorted(tried.index(value) for value in set(fitting))
    return tuple(
        f"{tried[first]:g}{unit}" if first == last else f"{tried[first]:g} to {tried[last]:g}{unit}"
        for first, last in _joined(places)
    )


def _joined(places: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and place == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], place)
        else:
            runs.append((place, place))
    return runs


def sees_high(runs: Sequence[RecordedScaling], policy: PolicyParameters) -> Signature:
    """In which periods CPU, and in which connections, call for more webservers."""
    at_once = replace(policy, datapoints_to_alarm=1, evaluation_periods=1)
    return tuple(
        _decides(at_once, period.end_s, cpu, connections, sign=1)
        for run in runs
        for period in run.periods
        for cpu, connections in ((period.cpu_percent, ()), ((), period.connections))
    )


def sees_quiet(runs: Sequence[RecordedScaling], policy: PolicyParameters) -> Signature:
    """Which periods call for fewer."""
    at_once = replace(policy, scale_in_periods=1)
    return tuple(_is_quiet(at_once, period) for run in runs for period in run.periods)


def _is_quiet(policy: PolicyParameters, period: SeenPeriod) -> bool:
    return _decides(policy, period.end_s, period.cpu_percent, period.connections, sign=-1)


def _decides(
    policy: PolicyParameters,
    time_s: float,
    cpu: tuple[float, ...],
    connections: tuple[float, ...],
    *,
    sign: int,
) -> bool:
    rule = ScalingRule(policy, min_webservers=1, max_webservers=_PLENTY)
    decision = rule.observe(Observation(time_s, cpu, connections, _PLENTY // 2, 0))
    return decision is not None and (decision.to_count - decision.from_count) * sign > 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule, what it costs, and the times from decision to count that cost no more."""

    policy: PolicyParameters
    cost: float
    delay_s: tuple[float, float] | None  # None: decisions are recorded, so it is not asked
    gap_s: float  # the shortest time between a decision and the one it had to wait for
    spread_s: float = 0.0  # by which single starts are shorter and longer
    spread_cost: float = 0.0  # part of `cost`

    @property
    def middle_s(self) -> float | None:
        """The middle of these times."""
        return sum(self.delay_s) / 2 if self.delay_s else None

    @property
    def starts_s(self) -> tuple[float, float] | None:
        """The least and the longest that a single start may have taken."""
        if self.delay_s is None:
            return None
        low_s, high_s = self.delay_s
        return max(0.0, low_s - self.spread_s), high_s + self.spread_s


def best_candidates(
    runs: Sequence[RecordedScaling],
    rules: Iterable[PolicyParameters],
    ladder: CooldownGrid,
    *,
    sign: int,
) -> list[Candidate]:
    """Of all rules with all cooldowns, of scaling out (sign 1) or in (sign -1), the cheapest.

    Where none explains every change, those too that cost half as much again and one period; where
    the cheapest are `unsure`, those that cost as much more.
    """
    found: list[Candidate] = []
    least, more = float("inf"), unsure(runs) if sign > 0 else 0.0

    def most(cost: float) -> float:
        return NEARLY * cost + ONE_PERIOD if cost else more

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
            least = min(least, each.cost)
            if each.cost <= most(least):
                found.append(replace(each, policy=_with_cooldown(rule, cooldown_s, sign)))
    return [each for each in found if each.cost <= most(least)]


def cheapest(candidates: Sequence[Candidate], more: float = 0.0) -> list[Candidate]:
    """Those that cost least, and those that cost up to so much more."""
    least = min(each.cost for each in candidates)
    return [each for each in candidates if each.cost <= least + more]


def unsure(runs: Sequence[RecordedScaling]) -> float:
    """What one way to scale out may cost more than another without being told from it.

    Where only the count shows a scale-out, a webserver that took a period longer than the others
    would explain as much.
    """
    blind = [run for run in runs if not run.decisions_known]
    return ONE_PERIOD if any(each.added > 0 for run in blind for each in run.changes) else 0.0


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
    runs: Sequence[RecordedScaling], rule: PolicyParameters, ladder: CooldownGrid, sign: int
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
            blind.append((recorded, decided, run.period_s, run.periods[-1].end_s))
    if sign < 0 or not any(recorded for recorded, *_ in blind):
        return Candidate(policy, cost + _delayed_cost(blind, 0.0), None, gap_s)
    fitted = _best_delay(tuple(blind))
    return Candidate(
        policy, cost + fitted.cost, fitted.delay_s, gap_s, fitted.spread_s, fitted.spread_cost
    )


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


@dataclass(frozen=True, slots=True)
class _Delay:
    """From decision to count."""

    cost: float
    delay_s: tuple[float, float]
    spread_s: float = 0.0
    spread_cost: float = 0.0


@lru_cache(maxsize=1024)  # most rules of a grid decide alike
def _best_delay(blind: tuple[_Compared, ...]) -> _Delay:
    """The delay with the least cost, constant or with a spread."""
    best = _Delay(*_with_spread(blind, 0.0))
    for price in _SPREADS_IN_HALF_PERIODS:
        if best.cost <= price:
            break
        spread_s = price * blind[0][2] / 2
        cost, delay_s = _with_spread(blind, spread_s)
        if cost + price < best.cost:
            best = _Delay(cost + price, delay_s, spread_s, price)
    return best


def _with_spread(
    blind: tuple[_Compared, ...], spread_s: float
) -> tuple[float, tuple[float, float]]:
    borders = {0.0, LONGEST_START_S}
    for recorded, decided, _, end_s in blind:
        seen_s = {end_s, *(edge for each in recorded for edge in (each.from_s, each.to_s))}
        borders |= {
            min(max(border_s - decision.to_s + to_side_s, 0.0), LONGEST_START_S)
            for decision in decided
            for border_s in seen_s
            for to_side_s in {-spread_s, spread_s}
        }
    costs = {
        (low, high): _delayed_cost(blind, (low + high) / 2, spread_s)
        for low, high in pairwise(sorted(borders))
    }
    least = min(costs.values())
    fitting = [ends for ends, cost in costs.items() if cost == least]
    return least, (fitting[0][0], fitting[-1][1])


def _delayed_cost(blind: Iterable[_Compared], delay_s: float, spread_s: float = 0.0) -> float:
    return sum(
        align(recorded, shown(decided, delay_s, end_s), period_s, spread_s)[0]
        for recorded, decided, period_s, end_s in blind
    )
