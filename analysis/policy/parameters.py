"""The scaling policy in numbers: what AWS documents, and names for what it does not."""

from dataclasses import dataclass
from typing import Literal

CPU_ABOVE_PERCENT = 70.0  # documented by AWS, as the next one
CONNECTIONS_ABOVE = 15.0
USUAL_START_S = 120.0  # AWS says "a few minutes" of a change of configuration, nothing of scaling
MOST_SIMULATED = 500  # webservers


@dataclass(frozen=True, slots=True)
class PolicyParameters:
    """The documented rule; everything but the two thresholds is unverified.

    The same names and defaults as the stand-in's settings (`harness.local.settings`).
    """

    enabled: bool = True
    cpu_above_percent: float = CPU_ABOVE_PERCENT
    connections_above: float = CONNECTIONS_ABOVE
    connections_scope: Literal["per_webserver", "total"] = "per_webserver"
    statistic: Literal["Average", "Maximum"] = "Average"  # over the webservers
    datapoints_to_alarm: int = 2  # M ...
    evaluation_periods: int = 2  # ... of N
    scale_out_step: int = 1
    scale_in_step: int = 1
    scale_out_cooldown_s: float = 10.0
    scale_in_cooldown_s: float = 60.0
    scale_in_cpu_below_percent: float = 30.0
    scale_in_connections_below: float = 5.0
    scale_in_periods: int = 6
