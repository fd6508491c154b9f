"""The documented scaling rule as a pure decision: one observation per period in, a decision out.

Documented by AWS: CPUUtilization > 70 or ActiveConnectionCount > 15 adds webservers up to the
maximum; less traffic removes them down to the minimum. The rest follows how CloudWatch alarms with
step scaling behave elsewhere, every number of it being a named parameter (`PolicyParameters`):

- scale out: either metric is above its threshold in at least M of the last N periods;
- scale in: both metrics are low in every one of the last `scale_in_periods` periods and nothing is
  starting;
- a cooldown counts from the decision; scaling out waits only for the previous scaling out, scaling
  in for whatever happened last, because being too small hurts more than being too large;
- a period without data is neither high nor low.
"""

from collections import deque
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from mwaa_headroom.analysis.findings import Finding, note
from mwaa_headroom.analysis.mwaa import CONNECTIONS_ABOVE, CPU_ABOVE_PERCENT

USUAL_START_S = 120.0  # AWS says "a few minutes" of a change of configuration, nothing of scaling
MOST_SIMULATED = 500  # webservers

_AT_LEAST = {
    **dict.fromkeys(("datapoints_to_alarm", "evaluation_periods", "scale_in_periods"), 1),
    **dict.fromkeys(("scale_out_step", "scale_in_step"), 1),
    **dict.fromkeys(("scale_out_cooldown_s", "scale_in_cooldown_s"), 0),
    **dict.fromkeys(("scale_in_cpu_below_percent", "scale_in_connections_below"), 0),
}


@dataclass(frozen=True, slots=True)
class PolicyParameters:
    """The documented rule; everything but the two thresholds is not documented.

    Also the keys of `autoscaler` in a scenario (`harness.local.settings`).

    Raises:
        ValueError: a number is out of range; names it.
    """

    enabled: bool = True
    """Whether webservers are added and removed at all. Documented."""
    cpu_above_percent: float = CPU_ABOVE_PERCENT
    """CPUUtilization above which webservers are added. Documented."""
    connections_above: float = CONNECTIONS_ABOVE
    """ActiveConnectionCount above which webservers are added. Documented."""
    connections_scope: Literal["per_webserver", "total"] = "total"
    """Whether connections count per webserver or all together. Assumed: their metric is that of the
    whole environment, as a third party saw."""
    statistic: Literal["Average", "Maximum"] = "Average"
    """Of the webservers' CPU: their mean, or the busiest one. Assumed."""
    datapoints_to_alarm: int = 2
    """M: so many periods with a metric above its threshold add webservers. Assumed."""
    evaluation_periods: int = 2
    """N: among how many of the last periods M are counted. Assumed."""
    scale_out_step: int = 1
    """Webservers added at once. Assumed."""
    scale_in_step: int = 1
    """Webservers removed at once. Assumed."""
    scale_out_cooldown_s: float = 10.0
    """Least time between two decisions to scale out. Assumed."""
    scale_in_cooldown_s: float = 60.0
    """Least time from any decision to one to scale in. Assumed."""
    scale_in_cpu_below_percent: float = 30.0
    """CPUUtilization below which a period is quiet. Assumed."""
    scale_in_connections_below: float = 5.0
    """ActiveConnectionCount below which a period is quiet. Assumed."""
    scale_in_periods: int = 6
    """Quiet periods in a row, by both metrics, before webservers are removed. Assumed."""

    def __post_init__(self) -> None:
        for name in ("cpu_above_percent", "connections_above"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}")
        if self.datapoints_to_alarm > self.evaluation_periods:
            raise ValueError("datapoints_to_alarm must not exceed evaluation_periods")


@dataclass(frozen=True, slots=True)
class Observation:
    """One period of all webservers that ran in it."""

    time_s: float  # end of the period
    cpu_percent: tuple[float, ...]  # one per webserver, of its CPUs
    connections: tuple[float, ...]  # one per webserver, mean over the period
    ready_count: int
    starting_count: int


@dataclass(frozen=True, slots=True)
class Decision:
    """How many webservers there shall be, and why."""

    from_count: int
    to_count: int
    reason: Finding  # local environments write its code and values into the record


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the rule sees of one period."""

    cpu_percent: float | None
    connections: float | None


class ScalingRule:
    """Feed it every period in order; it remembers only what the rule needs."""

    def __init__(
        self, policy: PolicyParameters, *, min_webservers: int, max_webservers: int
    ) -> None:
        self._policy = policy
        self._min = min_webservers
        self._max = max_webservers
        self._readings: deque[_Reading] = deque(
            maxlen=max(policy.evaluation_periods, policy.scale_in_periods)
        )
        self._last_out_s = float("-inf")
        self._last_decision_s = float("-inf")

    def observe(self, observation: Observation) -> Decision | None:
        """Take one period into account; a decision if the rule asks for one now."""
        self._readings.append(self._read(observation))
        if not self._policy.enabled:
            return None
        return self._scale_out(observation) or self._scale_in(observation)

    def _read(self, observation: Observation) -> _Reading:
        cpu, connections = observation.cpu_percent, observation.connections
        over_webservers = fmean if self._policy.statistic == "Average" else max
        per_webserver = self._policy.connections_scope == "per_webserver"
        over_connections = over_webservers if per_webserver else sum
        return _Reading(
            cpu_percent=over_webservers(cpu) if cpu else None,
            connections=over_connections(connections) if connections else None,
        )

    def _scale_out(self, observation: Observation) -> Decision | None:
        count = observation.ready_count + observation.starting_count
        target = min(self._max, max(self._min, count + self._policy.scale_out_step))
        cooling = observation.time_s - self._last_out_s < self._policy.scale_out_cooldown_s
        if cooling or target <= count:
            return None
        reason = self._reason_to_scale_out()
        if reason is None:
            return None
        self._last_out_s = self._last_decision_s = observation.time_s
        return Decision(count, target, reason)

    def _scale_in(self, observation: Observation) -> Decision | None:
        count = observation.ready_count
        target = max(self._min, min(self._max, count - self._policy.scale_in_step))
        since_s = observation.time_s - self._last_decision_s
        cooling = since_s < self._policy.scale_in_cooldown_s
        if observation.starting_count or cooling or target >= count or not self._is_quiet():
            return None
        self._last_decision_s = observation.time_s
        quiet = note(
            "scaling.quiet",
            cpu_below_percent=self._policy.scale_in_cpu_below_percent,
            connections_below=self._policy.scale_in_connections_below,
            periods=self._policy.scale_in_periods,
        )
        return Decision(count, target, quiet)

    def _reason_to_scale_out(self) -> Finding | None:
        policy = self._policy
        window = list(self._readings)[-policy.evaluation_periods :]
        cpu = [r.cpu_percent for r in window if r.cpu_percent is not None]
        high_cpu = [value for value in cpu if value > policy.cpu_above_percent]
        if len(high_cpu) >= policy.datapoints_to_alarm:
            return note(
                "scaling.cpu_above",
                threshold_percent=policy.cpu_above_percent,
                observed_percent=high_cpu[-1],
            )
        connections = [r.connections for r in window if r.connections is not None]
        high_connections = [value for value in connections if value > policy.connections_above]
        if len(high_connections) >= policy.datapoints_to_alarm:
            return note(
                "scaling.connections_above",
                threshold=policy.connections_above,
                observed=high_connections[-1],
            )
        return None

    def _is_quiet(self) -> bool:
        policy = self._policy
        window = list(self._readings)[-policy.scale_in_periods :]
        return len(window) == policy.scale_in_periods and all(
            r.cpu_percent is not None
            and r.connections is not None
            and r.cpu_percent < policy.scale_in_cpu_below_percent
            and r.connections < policy.scale_in_connections_below
            for r in window
        )
