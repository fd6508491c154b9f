"""What a rule sees in each recorded period by itself: rules that see the same decide the same.

Most values of a grid see nothing different in the runs at hand, so that only few have to be
replayed. The rule itself is asked, one period at a time.
"""

from collections.abc import Sequence
from dataclasses import replace

from analysis.policy.parameters import PolicyParameters
from analysis.policy.recorded import RecordedScaling, SeenPeriod
from analysis.policy.rule import Observation, ScalingRule

Signature = tuple[bool, ...]
_PLENTY = 1_000_000


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
