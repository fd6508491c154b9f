"""The rule's unknowns from recorded runs: every value of a grid that explains them equally well.

Each rule of the grid is shown the recorded metric periods; its cost is how far its decisions are
from the recorded ones, in periods (`replay`), summed over the runs. Scaling out is fitted first,
then scaling in with what scales out best. All rules with the least cost are kept: what differs
among them is "not told apart". A cooldown c acts like any other in (k T - T, k T], T being the
period, because the rule is asked once a period; the grid has only such classes.

Where only changes of the count are recorded (AWS), the time s from a decision until the count
shows it is a further unknown: the s with the least cost goes with each rule. One period more until
the decision and one less to start look the same, so that M and s are told only together, unless
breaches that ended early say which M there was. Starts may differ by up to 2 periods either way,
each half period for the price of a change that is a period off; then it is warned of. A rule that
costs one period more than the best is not told from it: one slow start would explain as much.

Where no rule explains every change, none of the grid may be the real one. Then those that cost up
to half as much again and one period are at the ends of what is simulated, too, with every step, and
the ends of the ways out and back are combined.

Do not believe it from few changes: a cooldown, a step or the way back shows only where a run gave
it something to decide.

The time to start, from the decision to service, is seen where decisions and readiness are recorded:
the median, and the range from the least to the longest, which a webserver that was still not there
at the end of its record may widen. The next may lie beyond them: simulated are the ends of
Student's prediction interval, mean +- t s sqrt(1 + 1/n), if they are further out. It is fitted with
each rule where only counts are recorded, and both ends of what fits are simulated with each. It
is unknown where no webserver came before the record ended: it took longer than the longest wait;
the usual time is taken, or that wait if it is longer.

Of the rules that explain recorded runs as well as the one taken, those at the ends are simulated
beside it. To scale out: those with the least and the largest of each value. The way back: for each
value the quickest and the slowest, the other values being as quick and as slow as fits too. Where
no scale-in was seen nearly all fits, and these are two: the quickest and the slowest of the grid.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from operator import attrgetter, itemgetter
from statistics import fmean, median, stdev
from typing import Any, Final, Literal

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.policy.fit_search import (
    CONNECTIONS_BELOW,
    CPU_BELOW_PERCENT,
    DATAPOINTS,
    LONGEST_START_S,
    QUIET_PERIODS,
    SCOPES,
    STATISTICS,
    STEPS,
    Candidate,
    CooldownGrid,
    best_candidates,
    cheapest,
    cooldown_ladder,
    described_points,
    judge,
    scale_in_rules,
    scale_out_rules,
    unsure,
)
from mwaa_headroom.analysis.policy.recorded import Change, RecordedScaling
from mwaa_headroom.analysis.policy.replay import Explained, FittedRule, replay_rule
from mwaa_headroom.analysis.policy.scaling_rule import USUAL_START_S, PolicyParameters
from mwaa_headroom.analysis.statistics import Estimate, t_quantile

WAY_OUT: Final = (
    "datapoints_to_alarm",
    "evaluation_periods",
    "statistic",
    "connections_scope",
    "scale_out_step",
    "scale_out_cooldown_s",
)
_QUICKER: Final = {  # 1: a larger value removes webservers sooner, -1: a smaller one does
    "scale_in_periods": -1,
    "scale_in_cpu_below_percent": 1,
    "scale_in_connections_below": 1,
    "scale_in_step": 1,
    "scale_in_cooldown_s": -1,
}
WAY_BACK: Final = tuple(_QUICKER)
_FEW_CHANGES = 3

Told = Literal["determined", "not told apart", "unknown"]


@dataclass(frozen=True, slots=True)
class FittedParameter:
    """One unknown of the rule, and the values that explain the recorded runs equally well."""

    name: str  # the field of `PolicyParameters`, or "start_s"
    verdict: Told
    values: tuple[str, ...]  # of those tried, with their units; ranges where values have order
    used: str  # what the simulator takes
    why: Finding | None = None


@dataclass(frozen=True, slots=True)
class PolicyFit:
    """The rule's unknowns, as far as recorded runs tell them."""

    rule: FittedRule | None  # of all that fit equally well, the one nearest to the usual values
    others: tuple[FittedRule, ...]  # that fit as well, with an end of what is left of a parameter
    parameters: tuple[FittedParameter, ...]
    start_s: Estimate  # decision -> in service; value None: not known, low is a lower bound
    mismatch_periods: float | None  # periods the decisions are off in all; a lost one counts as 3
    changes: int  # scale-outs and scale-ins that were recorded
    runs_used: tuple[str, ...]
    left_out: tuple[Finding, ...]
    refusal: Finding | None = None
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class StartTime:
    """The time to start, and what of it is to be simulated."""

    estimate: Estimate  # value None: not known, `low` is a lower bound
    taken_s: float
    ends_s: tuple[float, ...]  # the least and the longest to try
    goes_with_rule: bool = False  # every rule has its own, because decisions are not recorded
    unknown: Finding | None = None

    def of(self, rule: Candidate) -> float:
        """The start time that belongs to a rule."""
        own_s = rule.middle_s if self.goes_with_rule else None
        return self.taken_s if own_s is None else own_s

    def ends_of(self, rule: Candidate) -> tuple[float, ...]:
        """The least and the longest that belong to a rule."""
        own_s = rule.starts_s if self.goes_with_rule else None
        return (self.taken_s,) if own_s is None else own_s


def fit_policy(runs: Sequence[RecordedScaling], left_out: Sequence[Finding] = ()) -> PolicyFit:
    """Fit the unknown parameters.

    Args:
        runs: of one environment, or of alike ones.
        left_out: why other runs could not be prepared.
    """
    pinned = (
        note("policy.pinned", run_id=run.run_id, webservers=run.min_webservers)
        for run in runs
        if run.is_pinned
    )
    left_out = (*left_out, *pinned)
    used = [run for run in runs if not run.is_pinned]
    runs_used = tuple(run.run_id for run in used)
    changes = [change for run in used for change in run.changes]
    if not used:
        return unfitted(refusal("policy.no_run_scales"), left_out=left_out)
    if not any(change.added > 0 for change in changes):
        nothing = refusal("policy.no_scale_out")
        return unfitted(nothing, runs_used=runs_used, left_out=left_out)
    ladder = cooldown_ladder(min(run.period_s for run in used))
    usual = PolicyParameters(
        cpu_above_percent=used[0].cpu_above_percent,
        connections_above=used[0].connections_above,
        connections_scope="total" if used[0].on_aws else "per_webserver",
    )
    near_out = best_candidates(used, scale_out_rules(usual), ladder, sign=1)
    out = cheapest(near_out, unsure(used))
    best_out = min(cheapest(out), key=lambda each: _distance(each.policy, usual, ladder))
    saw_in = any(change.added < 0 for change in changes)
    near_in, best_in = _fitted_way_back(used, best_out.policy, usual, ladder, saw_in=saw_in)
    within = cheapest(near_in)
    start = _start_time(used, out, best_out)
    off = best_out.cost - best_out.spread_cost + best_in.cost
    rule = FittedRule(
        with_way_back(best_out.policy, best_in.policy), start.of(best_out), best_out.spread_s
    )
    return PolicyFit(
        rule=rule,
        others=_alternatives(
            rule, near_out, [each.policy for each in near_in], start, wide=off > 0
        ),
        parameters=(
            *_way_out(ladder, [each.policy for each in out], rule.policy),
            _start(rule, start),
            *_way_back(ladder, [each.policy for each in within] if saw_in else [], rule.policy),
        ),
        start_s=start.estimate,
        mismatch_periods=off,
        changes=len(changes),
        runs_used=runs_used,
        left_out=left_out,
        warnings=(
            *_warnings(used, rule, off, changes),
            *([start.unknown] if start.unknown else []),
            *([_start_varies(best_out)] if best_out.spread_s else []),
        ),
    )


def unfitted(
    why: Finding, *, runs_used: tuple[str, ...] = (), left_out: Sequence[Finding] = ()
) -> PolicyFit:
    """No rule, and why."""
    return PolicyFit(
        rule=None,
        others=(),
        parameters=(),
        start_s=Estimate(None),
        mismatch_periods=None,
        changes=0,
        runs_used=runs_used,
        left_out=tuple(left_out),
        refusal=why,
    )


def with_way_back(out: PolicyParameters, back: PolicyParameters) -> PolicyParameters:
    """One rule's way to scale out with another's way back."""
    return replace(out, **{name: getattr(back, name) for name in WAY_BACK})


def _fitted_way_back(
    runs: Sequence[RecordedScaling],
    out: PolicyParameters,
    usual: PolicyParameters,
    ladder: CooldownGrid,
    *,
    saw_in: bool,
) -> tuple[list[Candidate], Candidate]:
    """All rules that explain the scale-ins best, and the one nearest to the usual.

    Without any scale-in the usual one does, unless it would have removed a webserver.
    """
    within = best_candidates(runs, scale_in_rules(out), ladder, sign=-1)
    as_usual = judge(runs, with_way_back(out, usual), sign=-1)
    if not saw_in and as_usual.cost == 0:
        return within, as_usual
    return within, min(cheapest(within), key=lambda each: _distance(each.policy, usual, ladder))


def _distance(
    policy: PolicyParameters, usual: PolicyParameters, ladder: CooldownGrid
) -> tuple[float, ...]:
    """How far a rule is from the usual one: how many values differ, then their sizes."""
    differing = sum(
        getattr(policy, name) != getattr(usual, name)
        for name in (*WAY_OUT, *WAY_BACK)
        if not name.endswith("cooldown_s")
    )
    for name in ("scale_out_cooldown_s", "scale_in_cooldown_s"):
        differing += getattr(policy, name) != ladder.holding(getattr(usual, name))
    return (
        differing,
        abs(policy.datapoints_to_alarm - usual.datapoints_to_alarm),
        abs(policy.evaluation_periods - usual.evaluation_periods),
        abs(policy.scale_in_periods - usual.scale_in_periods),
        policy.scale_out_step,
        policy.scale_out_cooldown_s,
        policy.scale_in_step,
        policy.scale_in_cooldown_s,
        policy.scale_in_cpu_below_percent,
        policy.scale_in_connections_below,
    )


def _start_time(
    runs: Sequence[RecordedScaling], out: Sequence[Candidate], best: Candidate
) -> StartTime:
    """What runs with a scale-out tell of it; `best` is the one of `out` that is taken."""
    is_range = note("policy.range_not_interval")
    seen_s = [start_s for run in runs for start_s in run.start_times_s]
    waited_s = [wait_s for run in runs for wait_s in run.waited_s]
    if seen_s:
        low_s, high_s = min(seen_s), max(seen_s + waited_s)
        estimate = Estimate(median(seen_s), low_s, high_s, n=len(seen_s), warnings=(is_range,))
        return StartTime(estimate, median(seen_s), _ends_of_next(seen_s, low_s, high_s))
    ranges = [each.starts_s for each in out if each.starts_s is not None]
    if ranges:
        estimate = Estimate(
            value=best.middle_s,
            low=min(low for low, _ in ranges),
            high=max(high for _, high in ranges),
            n=sum(change.added > 0 for run in runs for change in run.changes),
            warnings=(is_range, warning("policy.start_with_datapoints")),
        )
        ends_s = best.starts_s or ()
        return StartTime(estimate, best.middle_s or 0.0, ends_s, goes_with_rule=True)
    bound_s = max(waited_s, default=0.0)
    taken_s, longest_s = max(bound_s, USUAL_START_S), max(bound_s, LONGEST_START_S)
    unknown = warning("policy.start_unknown", taken_s=taken_s, longest_s=longest_s)
    estimate = Estimate(None, low=bound_s, high=None, warnings=(unknown,))
    return StartTime(estimate, taken_s, (bound_s, longest_s), unknown=unknown)


def _ends_of_next(seen_s: Sequence[float], low_s: float, high_s: float) -> tuple[float, float]:
    """Where one more start lies with those seen: at least their range, and Student's interval."""
    if len(seen_s) < 2:
        return low_s, high_s
    reach_s = t_quantile(len(seen_s) - 1) * stdev(seen_s) * sqrt(1.0 + 1.0 / len(seen_s))
    middle_s = fmean(seen_s)
    longest_s = min(middle_s + reach_s, LONGEST_START_S)
    return max(0.0, min(low_s, middle_s - reach_s)), max(high_s, longest_s)


def _alternatives(
    rule: FittedRule,
    out: Sequence[Candidate],
    within: Sequence[PolicyParameters],
    start: StartTime,
    *,
    wide: bool,
) -> tuple[FittedRule, ...]:
    """The rules to simulate beside the one taken, among those that fit as well.

    Where the changes do not follow the rule (`wide`), any step may come next, and both ways are
    combined.
    """
    ways_out, ways_back = [*_ends_out(out)], [rule.policy]
    if wide:
        best = min(out, key=attrgetter("cost"))
        ways_out += [
            replace(best, policy=replace(best.policy, scale_out_step=step)) for step in STEPS
        ]
        ways_back += _quickest_and_slowest(within)
    found = [
        *(
            FittedRule(with_way_back(each.policy, back), start_s)
            for each in ways_out
            for start_s in start.ends_of(each)
            for back in ways_back
        ),
        *(replace(rule, start_s=end_s) for end_s in start.ends_s),
        *(
            replace(rule, policy=with_way_back(rule.policy, back))
            for back in ends_of_way_back(within)
        ),
    ]
    return tuple(dict.fromkeys(each for each in found if each != rule))


def _quickest_and_slowest(within: Sequence[PolicyParameters]) -> tuple[PolicyParameters, ...]:
    """Of the ways back, by all values together, with the largest and the smallest step."""
    ranked = sorted(_ranked(within), key=itemgetter(0))
    return (
        replace(ranked[0][1], scale_in_step=min(STEPS)),
        replace(ranked[-1][1], scale_in_step=max(STEPS)),
    )


def _ranked(within: Sequence[PolicyParameters]) -> list[tuple[float, PolicyParameters]]:
    """Ways back with how quick they are."""
    places = {
        name: {value: place for place, value in enumerate(sorted(values))}
        for name in WAY_BACK
        for values in ({getattr(each, name) for each in within},)
    }

    def quickness(policy: PolicyParameters) -> float:
        return sum(
            sign * places[name][getattr(policy, name)] / len(places[name])
            for name, sign in _QUICKER.items()
        )

    return [(quickness(each), each) for each in within]


def ends_of_way_back(within: Sequence[PolicyParameters]) -> tuple[PolicyParameters, ...]:
    """The quickest and the slowest ways back, value by value; each once."""
    ranked = _ranked(within)
    ends = []
    for name, sign in _QUICKER.items():
        for pick in (max, min):
            _, end = pick(ranked, key=lambda each: (sign * getattr(each[1], name), each[0]))
            ends.append(end)
    return tuple(dict.fromkeys(ends))


def _ends_out(out: Sequence[Candidate]) -> Iterator[Candidate]:
    for name in WAY_OUT:
        for pick in (min, max):
            yield pick(out, key=lambda each: getattr(each.policy, name))


@dataclass(frozen=True, slots=True)
class _Unknown:
    """One parameter: its value in a rule, the values tried, and how they are written."""

    name: str
    value: Callable[[PolicyParameters], Any]
    tried: Sequence[Any]
    written: Callable[[Any], str] = str
    ranges: Callable[[set[Any]], tuple[str, ...]] | None = None  # None: values one by one

    def fitted(
        self, fitting: Sequence[PolicyParameters], used: PolicyParameters, why: Finding | None
    ) -> FittedParameter:
        """What is left of it; with `why` there is nothing that could tell."""
        left = {self.value(each) for each in fitting}
        verdict: Told = "determined" if len(left) == 1 else "not told apart"
        if len(left) in (0, len(self.tried)):
            verdict, why = "unknown", why or note("policy.any_value")
        values = self.ranges(left) if self.ranges else tuple(map(self.written, sorted(left)))
        return FittedParameter(self.name, verdict, values, self.written(self.value(used)), why)


def _way_out(
    ladder: CooldownGrid, fitting: Sequence[PolicyParameters], used: PolicyParameters
) -> tuple[FittedParameter, ...]:
    datapoints = attrgetter("datapoints_to_alarm", "evaluation_periods")
    unknowns = (
        _Unknown("datapoints_to_alarm", datapoints, DATAPOINTS, lambda mn: f"{mn[0]} of {mn[1]}"),
        _Unknown("statistic", attrgetter("statistic"), STATISTICS),
        _Unknown(
            "connections_scope",
            attrgetter("connections_scope"),
            SCOPES,
            lambda scope: scope.replace("_", " "),
        ),
        _Unknown("scale_out_step", attrgetter("scale_out_step"), STEPS),
        _cooldown("scale_out_cooldown_s", ladder),
    )
    return tuple(each.fitted(fitting, used, None) for each in unknowns)


def _way_back(
    ladder: CooldownGrid, fitting: Sequence[PolicyParameters], used: PolicyParameters
) -> tuple[FittedParameter, ...]:
    unknowns = (
        _points("scale_in_periods", QUIET_PERIODS),
        _points("scale_in_cpu_below_percent", CPU_BELOW_PERCENT, " %"),
        _points("scale_in_connections_below", CONNECTIONS_BELOW),
        _Unknown("scale_in_step", attrgetter("scale_in_step"), STEPS),
        _cooldown("scale_in_cooldown_s", ladder),
    )
    why = None if fitting else note("policy.no_scale_in")
    return tuple(each.fitted(fitting, used, why) for each in unknowns)


def _points(name: str, tried: Sequence[float], unit: str = "") -> _Unknown:
    return _Unknown(
        name,
        attrgetter(name),
        tried,
        lambda value: f"{value:g}{unit}",
        lambda left: described_points(tried, left, unit),
    )


def _cooldown(name: str, ladder: CooldownGrid) -> _Unknown:
    return _Unknown(
        name, attrgetter(name), ladder.values, lambda value: f"{value:g} s", ladder.described
    )


def _start(rule: FittedRule, start: StartTime) -> FittedParameter:
    low_s, high_s = start.estimate.low or 0.0, start.estimate.high or 0.0
    low, high = f"{low_s:.3g}", f"{high_s:.3g}"
    verdict: Told = "determined"
    values, why = (f"{low} s" if low == high else f"{low} to {high} s",), None
    if start.estimate.value is None:
        verdict, values = "unknown", (f"over {low} s",)
        why = note("policy.never_ready", low_s=low_s)
    elif start.goes_with_rule:
        verdict, why = "not told apart", note("policy.no_decisions")
    return FittedParameter("start_s", verdict, values, f"{rule.start_s:.3g} s", why)


def _start_varies(rule: Candidate) -> Finding:
    low_s, high_s = rule.starts_s or (0.0, 0.0)
    return warning("policy.start_varies", low_s=low_s, high_s=high_s)


def _warnings(
    used: Sequence[RecordedScaling], rule: FittedRule, cost: float, changes: Sequence[Change]
) -> Iterator[Finding]:
    if cost:
        explained = Explained.by([replay_rule(run, rule) for run in used])
        yield warning(
            "policy.mismatch",
            explained=explained.matched,
            changes=explained.recorded,
            extra=explained.extra,
            off_periods=cost,
        )
    if len(changes) < _FEW_CHANGES:
        yield warning("policy.few_changes", changes=len(changes))
    if len({(run.period_s, run.cpu_above_percent, run.connections_above) for run in used}) > 1:
        yield warning("policy.thresholds_differ")
