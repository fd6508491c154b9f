"""What a fit leaves of every unknown, told parameter by parameter."""

from collections.abc import Sequence
from typing import Literal

from analysis.policy import grid
from analysis.policy.grid import Ladder
from analysis.policy.parameters import PolicyParameters
from analysis.policy.results import FittedParameter, FittedRule
from analysis.policy.starting import StartTime

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
            (len(datapoints), len(grid.DATAPOINTS)),
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
            (len(steps), len(grid.STEPS)),
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
    tried_periods = tuple(float(each) for each in grid.QUIET_PERIODS)
    periods = {float(each.scale_in_periods) for each in fitting}
    cpu = {each.scale_in_cpu_below_percent for each in fitting}
    connections = {each.scale_in_connections_below for each in fitting}
    steps = sorted({each.scale_in_step for each in fitting})
    cooldowns = {each.scale_in_cooldown_s for each in fitting}
    return (
        _entry(
            "scale_in_periods",
            "quiet periods until webservers are removed",
            grid.described_points(tried_periods, periods, ""),
            (len(periods), len(tried_periods)),
            str(used.scale_in_periods),
            why,
        ),
        _entry(
            "scale_in_cpu_below_percent",
            "CPU below which a period is quiet",
            grid.described_points(grid.CPU_BELOW_PERCENT, cpu, " %"),
            (len(cpu), len(grid.CPU_BELOW_PERCENT)),
            f"{used.scale_in_cpu_below_percent:g} %",
            why,
        ),
        _entry(
            "scale_in_connections_below",
            "connections below which a period is quiet",
            grid.described_points(grid.CONNECTIONS_BELOW, connections, ""),
            (len(connections), len(grid.CONNECTIONS_BELOW)),
            f"{used.scale_in_connections_below:g}",
            why,
        ),
        _entry(
            "scale_in_step",
            "webservers removed at a time",
            [str(step) for step in steps],
            (len(steps), len(grid.STEPS)),
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
