"""What simulated webservers do with calls: a shared CPU, and demands drawn from a seed.

Both kinds of simulated webservers use it, those that answer real HTTP and those in virtual time, so
that one seed means the same in both.

A virtual CPU is shared equally by all calls in service, without burning real CPU: processor
sharing rather than first come, first served, because that is what a Python webserver does. Its
calls run interleaved on an event loop and threads that switch every few milliseconds, so a short
call overtakes a long one. It also has the known truth tests need: with Poisson arrivals, contention
0 and one core the mean time in service is D / (1 - X * D), whatever the distribution of the demands
(M/G/1-PS, Kleinrock 1976, Queueing Systems II, section 4.4).

With n calls in service each gets min(1, cores / n) of a core and moves on at that share divided by
1 + contention * (n - 1); together they use min(n, cores) CPUs. `background` CPUs are used at all
times, by no call: calls have that much less of the cores. Every change is computed for the instant
it happens, however late it is asked about, so the CPU-seconds are exact.
"""

import heapq
import random
from collections.abc import Callable
from functools import partial
from math import log, sqrt
from typing import Final, NamedTuple

from mwaa_headroom.harness.local.settings import SimulatedSettings

# Operations a scenario cannot load, which preflight and cleaning up still use.
OTHER_DEMANDS_S: Final = {
    "version": 0.002,
    "get_dag": 0.013,
    "get_task_instance": 0.013,
    "delete_dag_run": 0.030,
    "get_variable": 0.010,
    "create_variable": 0.020,
    "delete_variable": 0.015,
}
UNKNOWN_DEMAND_S: Final = 0.002  # a 404 of the router
IDLE_MEMORY_FRACTION: Final = 0.20
MEMORY_FRACTION_PER_CALL: Final = 0.002


class Finished(NamedTuple):
    """One call that got all of its demand; a named tuple, because one is made for every call."""

    ticket: int
    time_s: float  # when it finished, not when somebody asked


class SharedProcessor:
    """Calls by ticket; all times on one clock that never goes back."""

    def __init__(
        self, *, cores: float, contention: float, now_s: float, background: float = 0.0
    ) -> None:
        self._cores_for_calls = cores - background
        self._contention = contention
        self._background = background
        self._now_s = now_s
        self._cpu_s = 0.0
        self._work_s = 0.0  # how far every call in service would be, had it been there always
        self._calls: list[tuple[float, int]] = []  # heap of (work at which it ends, ticket)
        self._next_ticket = 0

    @property
    def cpu_s(self) -> float:
        """CPU-seconds used up to the last `advance`."""
        return self._cpu_s

    @property
    def in_service(self) -> int:
        """Calls in service after the last `advance`."""
        return len(self._calls)

    def add(self, demand_s: float) -> int:
        """Put a call into service at the time of the last `advance`; its ticket."""
        ticket = self._next_ticket
        self._next_ticket += 1
        heapq.heappush(self._calls, (self._work_s + demand_s, ticket))
        return ticket

    def next_finish_s(self) -> float | None:
        """When the next call ends if none comes before; None: nothing is in service."""
        if not self._calls:
            return None
        work_left_s = max(0.0, self._calls[0][0] - self._work_s)
        return self._now_s + work_left_s / self._speed()

    def advance(self, now_s: float) -> list[Finished]:
        """Let time pass up to `now_s`; the calls that ended meanwhile, in order."""
        finished: list[Finished] = []
        while (finish_s := self.next_finish_s()) is not None and finish_s <= now_s:
            self._use_cpu(finish_s - self._now_s)
            self._now_s = finish_s
            self._work_s, ticket = heapq.heappop(self._calls)
            finished.append(Finished(ticket, finish_s))
        elapsed_s = now_s - self._now_s
        if elapsed_s > 0.0:
            self._use_cpu(elapsed_s)
            if self._calls:
                self._work_s += elapsed_s * self._speed()
            self._now_s = now_s
        return finished

    def _use_cpu(self, elapsed_s: float) -> None:
        count, cores = len(self._calls), self._cores_for_calls
        self._cpu_s += elapsed_s * ((count if count < cores else cores) + self._background)

    def _speed(self) -> float:
        """Seconds of demand each call in service gets per second."""
        count, cores = len(self._calls), self._cores_for_calls
        share = 1.0 if count <= cores else cores / count
        return share / (1.0 + self._contention * (count - 1))


class DemandDraws:
    """What each call of one webserver costs; `take` gives CPU-seconds, call after call."""

    def __init__(self, settings: SimulatedSettings, webserver: str) -> None:
        self._mean_s = {**OTHER_DEMANDS_S, **settings.demand_s}
        self._factor = _lognormal(f"{settings.seed}:{webserver}", settings.demand_cv)

    def take(self, operation: str) -> float:
        """Of the next call, which is of this operation."""
        return self._mean_s.get(operation, UNKNOWN_DEMAND_S) * self._factor()


def start_delay_s(settings: SimulatedSettings, webserver: str) -> float:
    """How long this webserver takes from the decision until it is ready."""
    # A stream of its own: delays must not change which demands are drawn.
    return settings.start_s * _lognormal(f"{settings.seed}:{webserver}:start", settings.start_cv)()


def memory_fraction(in_service: int) -> float:
    """Memory of a webserver, which grows a little with the calls in service."""
    return min(1.0, IDLE_MEMORY_FRACTION + MEMORY_FRACTION_PER_CALL * in_service)


def simulated_facts(settings: SimulatedSettings) -> dict[str, object]:
    """The truth, for whoever wants to compare an estimate with it."""
    return {
        "airflow_version": settings.airflow_version,
        "webserver_cpu": settings.cores,
        "cpu_limited": True,
        "cpu_limit_reason": "the processor is simulated",
        "database": "none (simulated)",
        "demand_s": dict(settings.demand_s),
        "demand_cv": settings.demand_cv,
        "contention": settings.contention,
        "background_cpu": settings.background_cpu,
        "start_s": settings.start_s,
        "start_cv": settings.start_cv,
    }


def _lognormal(seed: str, cv: float) -> Callable[[], float]:
    """Draws from the lognormal distribution of mean 1 with this coefficient of variation."""
    if cv == 0:
        return lambda: 1.0
    stream = random.Random(seed)  # noqa: S311 - not for secrets
    variance = log(1 + cv**2)
    return partial(stream.lognormvariate, -variance / 2, sqrt(variance))
