"""Users with think time: each waits, calls, and waits again only when it has its answer.

Such a workload slows down with the environment, so it hides waiting that open callers would feel.
"""

import time
from collections.abc import Callable, Iterator

import gevent
from gevent.event import Event

from harness.traffic.closed import Cycle
from locustfiles.open_loop import Observer
from locustfiles.pool import Job, SenderPool


class ClosedLoop:
    """Lets users work, one stage after the other.

    Args:
        pool: counts their calls in flight.
        observer: is told of each call.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        pool: SenderPool,
        observer: Observer,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._pool = pool
        self._observer = observer
        self._clock = clock
        self._over = Event()

    def work(
        self,
        stage: int,
        users: list[Iterator[Cycle]],
        labels: tuple[str, ...],
        *,
        start_s: float,
        duration_s: float,
    ) -> bool:
        """Let `users` begin at `start_s` and begin no call after `duration_s`.

        Calls in flight at the end go on. Returns False if `cut_short` ended it.
        """
        self._over.clear()
        end_s = start_s + duration_s
        for cycles in users:
            gevent.spawn(self._live, stage, cycles, labels, start_s, end_s)
        return not self._over.wait(max(end_s - self._clock(), 0.0))

    def cut_short(self) -> None:
        """Begin no more calls."""
        self._over.set()

    def _live(
        self,
        stage: int,
        cycles: Iterator[Cycle],
        labels: tuple[str, ...],
        start_s: float,
        end_s: float,
    ) -> None:
        ready_s = start_s
        for cycle in cycles:
            due_s = ready_s + cycle.think_s
            if due_s >= end_s or self._over.wait(max(due_s - self._clock(), 0.0)):
                return
            job = Job(cycle.arrival, stage, labels[cycle.label], due_s)
            self._observer.arrived(job, taken=True)
            self._pool.carry(job, self._observer.carry_out)
            ready_s = self._clock()
