"""Rates that no number of webservers reaches, by what a run showed.

the throttle     above the upper end of what it admits
another cause    from the rate on at which the throttle, the metadata database or connections
                 stopped the run: more webservers are not known to move those
the service      more webservers than it allows
"""

from dataclasses import dataclass
from typing import Final

from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.results import StageStats
from mwaa_headroom.analysis.statistics import Estimate

NOT_MOVED: Final = ("throttle", "database", "connections")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What limits the rate whatever the number of webservers is."""

    admitted_per_s: Estimate | None  # by the throttle
    cause: str = ""  # of NOT_MOVED; "": none was seen
    stopped_per_s: float = 0.0  # the rate it stopped

    def forbids(self, rate_per_s: float) -> Finding | None:
        """Why a rate is out of reach; None: it is not known to be."""
        admitted = self.admitted_per_s
        if admitted and admitted.high is not None and rate_per_s > admitted.high:
            return refusal("sizing.throttled", rate_per_s=rate_per_s, admitted_per_s=admitted)
        if self.cause and rate_per_s >= self.stopped_per_s:
            return refusal(
                "sizing.stopped_elsewhere",
                rate_per_s=rate_per_s,
                bottleneck=self.cause,
                stopped_per_s=self.stopped_per_s,
            )
        return None


def limit_of_rate(
    admitted_per_s: Estimate | None, bottleneck: str, stopped: StageStats | None
) -> RateLimit:
    """What a run showed.

    Args:
        admitted_per_s: by the throttle; None: it was not seen at work.
        bottleneck: as in `CapacityResult`.
        stopped: the stage that it stopped.
    """
    if stopped is None or bottleneck not in NOT_MOVED:
        return RateLimit(admitted_per_s)
    return RateLimit(admitted_per_s, bottleneck, stopped.rate_per_s)
