"""The rate cap while the load goes on: how many attempts may begin in any one second.

`limits.max_rate_per_s` holds whatever has happened before: a load process that stood still must not
make up for it. The arrivals are planned so that they keep to it by themselves (`CappedArrivals`).
Two allowances, each over every second, are shared among the load processes:

- Calls, at their first attempt: the cap and one more, because none is sent at exactly its time.
- Further attempts (of retries, and after a new login): what the stage's rate leaves of the cap. One
  that finds no room for `PATIENCE_S` is not made.

With n load processes each has its n-th part, that of calls rounded up.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator

from mwaa_headroom.analysis.findings import Finding, note
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.schedule import WHOLE, Share

LATEST_START_S = 1.0  # an arrival that could not be sent by then stays unsent
PATIENCE_S = 1.0
_SECOND_S = 1.0


class AnySecond:
    """At most so many beginnings in any second, the last one of the phase before included."""

    def __init__(self, most: int = 0) -> None:
        self._began_s: deque[float] = deque(maxlen=most)

    def allow(self, most: int) -> None:
        """From now on so many."""
        self._began_s = deque(self._began_s, maxlen=most)

    def begin(self, now_s: float) -> float:
        """Seconds until there is room; 0.0: there is, and it is taken."""
        began_s = self._began_s
        if len(began_s) == began_s.maxlen:
            wait_s = began_s[0] + _SECOND_S - now_s if began_s else math.inf
            if wait_s > 0.0:
                return wait_s
        began_s.append(now_s)
        return 0.0


class RateCap:
    """The allowances of one load process. Nothing may begin before `allow` says how much.

    Args:
        clock: monotonic seconds.
        sleep: lets others run meanwhile.

    Attributes:
        calls: what first attempts may take.
        further: what further ones may take.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.calls = AnySecond()
        self.further = AnySecond()
        self._clock = clock
        self._sleep = sleep

    def allow(self, scenario: Scenario, stage: int, share: Share = WHOLE) -> None:
        """From now on what a share of a stage (below 0: of the recovery after -1 - `stage`) has."""
        calls, further = allowances(scenario, stage)
        self.calls.allow(-(-calls // share.workers))
        self.further.allow((further + share.workers - 1 - share.worker) // share.workers)

    def may_try_again(self) -> bool:
        """Wait until another attempt has room and take it; False if there is none in time."""
        give_up_at_s = self._clock() + PATIENCE_S
        while True:
            now_s = self._clock()
            wait_s = self.further.begin(now_s)
            if wait_s == 0.0:
                return True
            if now_s + wait_s > give_up_at_s:
                return False
            self._sleep(wait_s)


def spaced_stages(scenario: Scenario) -> Iterator[Finding]:
    """Stages with random arrivals so near to the cap that chance alone would take them over it.

    In a second of random arrivals at a rate r there are more than r + 4 sqrt(r) less often than
    once in a thousand.
    """
    if scenario.traffic.arrivals != "poisson":
        return
    cap_per_s = scenario.limits.max_rate_per_s
    needed_per_s = {
        stage.name: math.ceil(rate_per_s + 4 * math.sqrt(rate_per_s))
        for stage in scenario.stages
        if (rate_per_s := scenario.highest_rate_per_s(stage))
    }
    if spaced := tuple(name for name, needed in needed_per_s.items() if needed > cap_per_s):
        most_per_s = max(needed_per_s.values())
        yield note(
            "preflight.spaced_by_cap", stages=spaced, cap_per_s=cap_per_s, needed_per_s=most_per_s
        )


def allowances(scenario: Scenario, stage: int) -> tuple[int, int]:
    """Calls and further attempts in any second of a stage, or of a recovery, by all processes."""
    cap_per_s = scenario.limits.max_rate_per_s
    if stage < 0:
        rate_per_s = scenario.recovery_rate_per_s or 0.0
    else:
        rate_per_s = scenario.highest_rate_per_s(scenario.stages[stage])
    calls = math.ceil(cap_per_s) + 1
    return calls, max(math.floor(cap_per_s - rate_per_s), 0)
