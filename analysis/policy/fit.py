"""The rule's unknowns from recorded runs: every value of a grid that explains them equally well.

Each rule of the grid is shown the recorded metric periods (`analysis.policy.replay`); its cost is
how far its decisions are from the recorded ones, in periods (`analysis.policy.matching`), summed
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
"""

from collections.abc import Iterable, Sequence

from analysis.estimate import Estimate
from analysis.policy.alternatives import WAY_BACK, WAY_OUT, alternatives, with_way_back
from analysis.policy.fitted import fitted_parameters
from analysis.policy.grid import Ladder, cooldown_ladder, scale_in_rules, scale_out_rules
from analysis.policy.matching import Change
from analysis.policy.parameters import PolicyParameters
from analysis.policy.recorded import RecordedScaling
from analysis.policy.results import FittedRule, PolicyFit
from analysis.policy.search import Candidate, candidates, judge, least
from analysis.policy.starting import start_time


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
    within, best_in = _way_back(used, best_out.policy, usual, ladder, saw_in=saw_in)
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
            *(start.estimate.warnings if start.estimate.value is None else ()),
        ),
    )


def _way_back(
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
