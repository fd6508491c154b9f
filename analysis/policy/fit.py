"""The rule's unknowns from recorded runs: every value of a grid that explains them equally well.

Each rule of the grid is shown the recorded metric periods (`analysis.policy.replay`); its cost is
how far its decisions are from the recorded ones, in periods (`analysis.policy.replay`), summed
over the runs. Scaling out is fitted first, then scaling in with what scales out best. All rules
with the least cost are kept: what differs among them is "not told apart". A cooldown c acts like
any other in (k T - T, k T], T being the period, because the rule is asked once a period; the grid
has only such classes.

Where only changes of the count are recorded (AWS), the time s from a decision until the count
shows it is a further unknown, taken as constant: the s with the least cost goes with each rule. One
period more until the decision and one less to start look the same, so that M and s are told only
together, unless breaches that ended early say which M there was.

Do not believe it from few changes: a cooldown, a step or the way back shows only where a run gave
it something to decide.

How long a webserver takes from the decision to service, as far as recorded runs tell.

Seen where decisions and readiness are recorded: the median, and the range from the least to the
longest, which a webserver that was still not there at the end of its record may widen. Fitted with
each rule where only counts are recorded. Unknown where no webserver came before the record ended:
it took longer than the longest wait; the usual time is taken, or that wait if it is longer.

Of the rules that explain recorded runs as well as the one taken, those at the ends.

To scale out: those with the least and the largest of each value. The way back: for each value the
quickest and the slowest, the other values being as quick and as slow as fits too. Where no scale-in
was seen nearly all fits, and these are two: the quickest and the slowest of the whole grid.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final, Literal

from mwaa_headroom.analysis.policy import fit_search
from mwaa_headroom.analysis.policy.fit_search import (
    LONGEST_START_S,
    Candidate,
    Ladder,
    candidates,
    cooldown_ladder,
    judge,
    least,
    scale_in_rules,
    scale_out_rules,
)
from mwaa_headroom.analysis.policy.replay import Change, RecordedScaling
from mwaa_headroom.analysis.policy.results import FittedParameter, FittedRule, PolicyFit
from mwaa_headroom.analysis.policy.rule import USUAL_START_S, PolicyParameters
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.statistics import Estimate

_RANGE = "The range is all that fits the record, not a confidence interval."
_TOGETHER = (
    "Decisions are not recorded, so the time to start is known only together with the number of "
    "periods until the decision."
)
_UNKNOWN = (
    "No webserver that was asked for came into service before its record ended, so the time to "
    "start is not known; {taken_s:.4g} s is assumed, and up to {longest_s:.4g} s are tried."
)


@dataclass(frozen=True, slots=True)
class StartTime:
    """The time to start, and what of it is to be simulated."""

    estimate: Estimate  # value None: not known, `low` is a lower bound
    taken_s: float
    ends_s: tuple[float, ...]  # the least and the longest to try
    goes_with_rule: bool  # every rule has its own, because decisions are not recorded

    def of(self, rule: Candidate) -> float:
        """The start time that belongs to a rule."""
        own_s = rule.middle_s if self.goes_with_rule else None
        return self.taken_s if own_s is None else own_s


def start_time(
    runs: Sequence[RecordedScaling], out: Sequence[Candidate], best: Candidate
) -> StartTime:
    """What runs tell of it.

    Args:
        runs: with at least one scale-out.
        out: rules that explain the scale-outs equally well.
        best: the one of them that is taken.
    """
    seen_s = [start_s for run in runs for start_s in run.start_times_s]
    waited_s = [wait_s for run in runs for wait_s in run.waited_s]
    if seen_s:
        low_s, high_s = min(seen_s), max(seen_s + waited_s)
        estimate = Estimate(median(seen_s), low_s, high_s, n=len(seen_s), warnings=(_RANGE,))
        return StartTime(estimate, median(seen_s), (low_s, high_s), goes_with_rule=False)
    ranges = [each.delay_s for each in out if each.delay_s is not None]
    if ranges:
        estimate = Estimate(
            value=best.middle_s,
            low=min(low for low, _ in ranges),
            high=max(high for _, high in ranges),
            n=sum(change.added > 0 for run in runs for change in run.changes),
            warnings=(_RANGE, _TOGETHER),
        )
        return StartTime(estimate, best.middle_s or 0.0, (), goes_with_rule=True)
    bound_s = max(waited_s, default=0.0)
    taken_s, longest_s = max(bound_s, USUAL_START_S), max(bound_s, LONGEST_START_S)
    warning = _UNKNOWN.format(taken_s=taken_s, longest_s=longest_s)
    estimate = Estimate(None, low=bound_s, high=None, warnings=(warning,))
    return StartTime(estimate, taken_s, (bound_s, longest_s), goes_with_rule=False)


_NO_SCALE_IN = "no webserver was removed while it was watched"
_NO_DECISIONS = "decisions are not recorded: it goes with the number of periods until one"
_NEVER_READY = "none came into service in the {low} s until its record ended"


def fitted_parameters(
    out: Sequence[PolicyParameters],
    within: Sequence[PolicyParameters],
    rule: FittedRule,
    start: StartTime,
    ladder: Ladder,
) -> tuple[FittedParameter, ...]:
    """One entry for every unknown.

    Args:
        out: rules that explain the scale-outs equally well; not empty.
        within: those that explain the scale-ins; empty: there were none.
        rule: the one that the simulator takes.
        start: decision to in service, as far as it is known.
        ladder: of the cooldowns.
    """
    return (
        *_way_out(out, rule.policy, ladder),
        _start(rule, start),
        *_way_back(within, rule.policy, ladder),
    )


def _way_out(
    fitting: Sequence[PolicyParameters], used: PolicyParameters, ladder: Ladder
) -> tuple[FittedParameter, ...]:
    datapoints = sorted({(each.datapoints_to_alarm, each.evaluation_periods) for each in fitting})
    statistics = sorted({each.statistic for each in fitting})
    scopes = sorted({each.connections_scope for each in fitting})
    steps = sorted({each.scale_out_step for each in fitting})
    cooldowns = {each.scale_out_cooldown_s for each in fitting}
    return (
        _entry(
            "datapoints_to_alarm",
            "periods past a threshold, of the last ones, until webservers are added",
            [f"{m} of {n}" for m, n in datapoints],
            (len(datapoints), len(fit_search.DATAPOINTS)),
            f"{used.datapoints_to_alarm} of {used.evaluation_periods}",
        ),
        _entry(
            "statistic",
            "of CPU over the webservers",
            statistics,
            (len(statistics), 2),
            used.statistic,
        ),
        _entry(
            "connections_scope",
            "what the limit of connections is held against",
            [scope.replace("_", " ") for scope in scopes],
            (len(scopes), 2),
            used.connections_scope.replace("_", " "),
        ),
        _entry(
            "scale_out_step",
            "webservers added at a time",
            [str(step) for step in steps],
            (len(steps), len(fit_search.STEPS)),
            str(used.scale_out_step),
        ),
        _entry(
            "scale_out_cooldown_s",
            "from one scale-out to the next",
            ladder.described(cooldowns),
            (len(cooldowns), len(ladder.values)),
            f"{used.scale_out_cooldown_s:g} s",
        ),
    )


def _start(rule: FittedRule, start: StartTime) -> FittedParameter:
    low, high = (f"{end or 0.0:.3g}" for end in (start.estimate.low, start.estimate.high))
    verdict: Literal["determined", "not told apart", "unknown"] = "determined"
    values, why = (f"{low} s" if low == high else f"{low} to {high} s",), ""
    if start.estimate.value is None:
        verdict, values, why = "unknown", (f"over {low} s",), _NEVER_READY.format(low=low)
    elif start.goes_with_rule:
        verdict, why = "not told apart", _NO_DECISIONS
    return FittedParameter(
        name="start_s",
        meaning="from a decision until its webservers take calls",
        verdict=verdict,
        values=values,
        used=f"{rule.start_s:.3g} s",
        why=why,
    )


def _way_back(
    fitting: Sequence[PolicyParameters], used: PolicyParameters, ladder: Ladder
) -> tuple[FittedParameter, ...]:
    why = "" if fitting else _NO_SCALE_IN
    tried_periods = tuple(float(each) for each in fit_search.QUIET_PERIODS)
    periods = {float(each.scale_in_periods) for each in fitting}
    cpu = {each.scale_in_cpu_below_percent for each in fitting}
    connections = {each.scale_in_connections_below for each in fitting}
    steps = sorted({each.scale_in_step for each in fitting})
    cooldowns = {each.scale_in_cooldown_s for each in fitting}
    return (
        _entry(
            "scale_in_periods",
            "quiet periods until webservers are removed",
            fit_search.described_points(tried_periods, periods, ""),
            (len(periods), len(tried_periods)),
            str(used.scale_in_periods),
            why,
        ),
        _entry(
            "scale_in_cpu_below_percent",
            "CPU below which a period is quiet",
            fit_search.described_points(fit_search.CPU_BELOW_PERCENT, cpu, " %"),
            (len(cpu), len(fit_search.CPU_BELOW_PERCENT)),
            f"{used.scale_in_cpu_below_percent:g} %",
            why,
        ),
        _entry(
            "scale_in_connections_below",
            "connections below which a period is quiet",
            fit_search.described_points(fit_search.CONNECTIONS_BELOW, connections, ""),
            (len(connections), len(fit_search.CONNECTIONS_BELOW)),
            f"{used.scale_in_connections_below:g}",
            why,
        ),
        _entry(
            "scale_in_step",
            "webservers removed at a time",
            [str(step) for step in steps],
            (len(steps), len(fit_search.STEPS)),
            str(used.scale_in_step),
            why,
        ),
        _entry(
            "scale_in_cooldown_s",
            "from any decision to the next scale-in",
            ladder.described(cooldowns),
            (len(cooldowns), len(ladder.values)),
            f"{used.scale_in_cooldown_s:g} s",
            why,
        ),
    )


def _entry(
    name: str,
    meaning: str,
    values: Sequence[str],
    left_of_tried: tuple[int, int],
    used: str,
    why: str = "",
) -> FittedParameter:
    left, tried = left_of_tried
    verdict: Literal["determined", "not told apart", "unknown"] = "not told apart"
    if left in (0, tried):
        verdict = "unknown"
        why = why or "any value fits"
    elif left == 1:
        verdict = "determined"
    return FittedParameter(name, meaning, verdict, tuple(values), used, why)


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


def with_way_back(out: PolicyParameters, back: PolicyParameters) -> PolicyParameters:
    """One rule's way to scale out with another's way back."""
    return replace(out, **{name: getattr(back, name) for name in WAY_BACK})


def alternatives(
    rule: FittedRule,
    out: Sequence[Candidate],
    within: Sequence[PolicyParameters],
    start: StartTime,
) -> tuple[FittedRule, ...]:
    """The rules to simulate beside the one taken.

    Args:
        rule: the one taken.
        out: ways to scale out that fit equally well; not empty.
        within: ways back that fit equally well; not empty.
        start: the time to start.
    """
    found = [
        *(
            FittedRule(with_way_back(each.policy, rule.policy), start.of(each))
            for each in _ends_out(out)
        ),
        *(replace(rule, start_s=end_s) for end_s in start.ends_s),
        *(
            replace(rule, policy=with_way_back(rule.policy, back))
            for back in ends_of_way_back(within)
        ),
    ]
    return tuple(dict.fromkeys(each for each in found if each != rule))


def ends_of_way_back(within: Sequence[PolicyParameters]) -> tuple[PolicyParameters, ...]:
    """The quickest and the slowest ways back, value by value; each once."""
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

    ranked = [(quickness(each), each) for each in within]
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


def fit_policy(runs: Sequence[RecordedScaling], left_out: Sequence[str] = ()) -> PolicyFit:
    """Fit the unknown parameters.

    Args:
        runs: of one environment, or of alike ones.
        left_out: sentences about runs that could not be prepared.
    """
    left_out = [*left_out, *(_pinned(run) for run in runs if run.is_pinned)]
    used = [run for run in runs if not run.is_pinned]
    changes = [change for run in used for change in run.changes]
    if not any(change.added > 0 for change in changes):
        seen = "no run that can scale" if not used else "no run in which a webserver was added"
        return unfitted(
            f"The scaling rule cannot be fitted: there is {seen}; run a scenario whose load rises "
            "past 70 % CPU with max_webservers above min_webservers.",
            runs_used=tuple(run.run_id for run in used),
            left_out=left_out,
        )
    ladder = cooldown_ladder(min(run.period_s for run in used))
    usual = PolicyParameters(
        cpu_above_percent=used[0].cpu_above_percent, connections_above=used[0].connections_above
    )
    out = least(candidates(used, scale_out_rules(usual), ladder, sign=1))
    best_out = min(out, key=lambda each: _distance(each.policy, usual, ladder))
    saw_in = any(change.added < 0 for change in changes)
    within, best_in = _way_back_fit(used, best_out.policy, usual, ladder, saw_in=saw_in)
    start = start_time(used, out, best_out)
    cost = best_out.cost + best_in.cost
    rule = FittedRule(with_way_back(best_out.policy, best_in.policy), start.of(best_out))
    return PolicyFit(
        rule=rule,
        others=alternatives(rule, out, [each.policy for each in within], start),
        parameters=fitted_parameters(
            [each.policy for each in out],
            [each.policy for each in within] if saw_in else [],
            rule,
            start,
            ladder,
        ),
        start_s=start.estimate,
        mismatch_periods=cost,
        changes=len(changes),
        runs_used=tuple(run.run_id for run in used),
        left_out=tuple(left_out),
        warnings=(
            *_warnings(used, cost, changes),
            *(map(told, start.estimate.warnings) if start.estimate.value is None else ()),
        ),
    )


def _way_back_fit(
    runs: Sequence[RecordedScaling],
    out: PolicyParameters,
    usual: PolicyParameters,
    ladder: Ladder,
    *,
    saw_in: bool,
) -> tuple[list[Candidate], Candidate]:
    """All rules that explain the scale-ins best, and the one nearest to the usual.

    Without any scale-in the usual one does, unless it would have removed a webserver.
    """
    within = least(candidates(runs, scale_in_rules(out), ladder, sign=-1))
    as_usual = judge(runs, with_way_back(out, usual), sign=-1)
    if not saw_in and as_usual.cost == 0:
        return within, as_usual
    return within, min(within, key=lambda each: _distance(each.policy, usual, ladder))


def unfitted(
    refusal: str, *, runs_used: tuple[str, ...] = (), left_out: Sequence[str] = ()
) -> PolicyFit:
    """No rule, for one sentence of a reason."""
    return PolicyFit(
        rule=None,
        others=(),
        parameters=(),
        start_s=Estimate(None),
        mismatch_periods=None,
        changes=0,
        runs_used=runs_used,
        left_out=tuple(left_out),
        refusal=refusal,
    )


def _pinned(run: RecordedScaling) -> str:
    count = run.min_webservers
    return (
        f"{run.run_id} is pinned at {count} webserver{'' if count == 1 else 's'} and tells nothing "
        "about the rule."
    )


def _distance(
    policy: PolicyParameters, usual: PolicyParameters, ladder: Ladder
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


def _warnings(
    used: Sequence[RecordedScaling], cost: float, changes: Sequence[Change]
) -> Iterable[str]:
    if cost:
        yield (
            f"No rule that was tried explains every change: the best is off by {cost:g} "
            f"period{'' if cost == 1 else 's'} in all, so the environment scales by something else "
            "too."
        )
    if len(changes) < 3:
        yield (
            f"Only {len(changes)} change{'' if len(changes) == 1 else 's'} of the webserver count "
            "could be used; each further one tells more of the rule apart."
        )
    if len({(run.period_s, run.cpu_above_percent, run.connections_above) for run in used}) > 1:
        yield "The runs differ in their metric period or thresholds; fit them one by one."
