"""The dispatcher: every arrival is handed over when it is due, whatever the answers do.

It never waits for a sender. An arrival that finds all senders busy is told to be unsent at once:
what the generator could not send must show in the record, not in a silently lower rate.
"""

import time
from collections.abc import Callable
from typing import Protocol

import gevent

from harness.traffic.schedule import Share, StageSchedule
from locustfiles.pool import Job, SenderPool
from locustfiles.timer import Timer

# Behind schedule nothing is waited for, but answers that have come must still free their senders.
LET_OTHERS_RUN_EVERY = 16


class Observer(Protocol):
    """Is told of every arrival, and carries out what is sent."""

    def arrived(self, job: Job, *, taken: bool) -> None:
        """An arrival was due; `taken` is False if it stays unsent."""

    def carry_out(self, job: Job) -> None:
        """As a sender: make the call and keep account of it."""


class OpenLoop:
    """Sends shares of schedules, one after the other.

    Args:
        pool: takes the jobs.
        observer: is told of arrivals.
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
        self._timer = Timer()
        self._cut_short = False
        self._without_pause = 0

    def send(self, schedule: StageSchedule, share: Share, start_s: float) -> bool:
        """Hand over the arrivals of `share`; offsets count from `start_s` on the clock.

        Returns:
            At the schedule's end: True; at once after `cut_short`: False.
        """
        self._cut_short = False
        pool, observer, stage = self._pool, self._observer, schedule.stage
        for block in schedule.blocks(share):
            for arrival, offset_s, label in zip(
                block.arrival.tolist(), block.offset_s.tolist(), block.label.tolist(), strict=True
            ):
                job = Job(arrival, stage, schedule.labels[label], start_s + offset_s)
                if not self._wait_until(job.intended_s):
                    return False
                observer.arrived(job, taken=pool.offer(job, observer.carry_out))
        return self._wait_until(start_s + schedule.duration_s)

    def cut_short(self) -> None:
        """Hand over nothing more of what is being sent."""
        self._cut_short = True
        self._timer.wake()

    def close(self) -> None:
        """Nothing will be sent any more."""
        self._timer.close()

    def _wait_until(self, due_s: float) -> bool:
        self._without_pause += 1
        while not self._cut_short and (left_s := due_s - self._clock()) > 0:
            self._timer.sleep(left_s)
            self._without_pause = 0
        if self._without_pause >= LET_OTHERS_RUN_EVERY:
            gevent.sleep(0)
            self._without_pause = 0
        return not self._cut_short
