"""A virtual CPU that is shared equally by all calls in service, without burning real CPU.

Processor sharing rather than first come, first served, because that is what a Python webserver
does: its calls run interleaved on an event loop and threads that switch every few milliseconds, so
a short call overtakes a long one. It also has the known truth tests need: with Poisson arrivals,
contention 0 and one core the mean time in service is D / (1 - X * D), whatever the distribution of
the demands (M/G/1-PS, Kleinrock 1976, Queueing Systems II, section 4.4).

With n calls in service each gets min(1, cores / n) of a core and moves on at that share divided by
1 + contention * (n - 1); together they use min(n, cores) CPUs. `background` CPUs are used at all
times, by no call: calls have that much less of the cores. Every change is computed for the instant
it happens, however late it is asked about, so the CPU-seconds are exact.
"""

import heapq
from typing import NamedTuple


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
