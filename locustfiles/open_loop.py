"""The dispatcher: every arrival is handed over when it is due, whatever the answers do.

It never waits for a sender. An arrival that finds all senders busy is reported as unsent at once:
what the generator could not send must show in the record, not in a silently lower rate.
"""

import time
from collections.abc import Callable, Iterable
from typing import Protocol

import gevent
from gevent.event import Event

from harness.traffic.schedule import StageSchedule
from locustfiles.pool import Job, SenderPool

DRAIN_POLL_S = 0.01
TIMER_GRAIN_S = 0.001  # the event loop's timers come up to a millisecond late: the rest is polled


class Observer(Protocol):
    """Is told what happens; times are on the dispatcher's clock, in seconds."""

    def stage_started(self, schedule: StageSchedule, at_s: float) -> None:
        """Offsets of the schedule count from `at_s`."""

    def arrived(self, job: Job, *, taken: bool) -> None:
        """An arrival was due; `taken` is False if it stays unsent."""

    def stage_ended(self, schedule: StageSchedule, at_s: float) -> None:
        """The schedule ran to its end; not told when it was stopped before."""

    def drained(self, schedule: StageSchedule, *, in_flight_left: int, took_s: float) -> None:
        """Calls in flight at the stage's end have ended, or the time for that is up."""


class OpenLoop:
    """Walks through the stages of a run once.

    Args:
        pool: takes the jobs.
        observer: is told about stages and arrivals.
        drain_s: how long to wait for calls in flight after each stage, at most.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        pool: SenderPool,
        observer: Observer,
        *,
        drain_s: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._pool = pool
        self._observer = observer
        self._drain_s = drain_s
        self._clock = clock
        self._stopping = Event()

    def run(self, schedules: Iterable[StageSchedule]) -> bool:
        """Run all stages and drain after each; False if `stop` cut it short."""
        for schedule in schedules:
            if self._stopping.is_set():
                return False
            completed = self._run_stage(schedule)
            self._drain(schedule)
            if not completed:
                return False
        return True

    def stop(self) -> None:
        """Hand out nothing more; `run` then drains and returns."""
        self._stopping.set()

    def _run_stage(self, schedule: StageSchedule) -> bool:
        start_s = self._clock()
        self._observer.stage_started(schedule, start_s)
        for arrival, offset_s, label in zip(
            schedule.arrival.tolist(),
            schedule.offset_s.tolist(),
            schedule.label.tolist(),
            strict=True,
        ):
            job = Job(arrival, schedule.stage, schedule.labels[label], start_s + offset_s)
            if not self._wait_until(job.intended_s):
                return False
            self._observer.arrived(job, taken=self._pool.offer(job))
        if not self._wait_until(start_s + schedule.duration_s):
            return False
        self._observer.stage_ended(schedule, start_s + schedule.duration_s)
        return True

    def _wait_until(self, due_s: float) -> bool:
        """Return when `due_s` has come, or at once and False when stopped."""
        while (left_s := due_s - self._clock()) > 0:
            if left_s > TIMER_GRAIN_S:
                self._stopping.wait(left_s - TIMER_GRAIN_S)
            else:
                gevent.sleep(0)
            if self._stopping.is_set():
                return False
        return not self._stopping.is_set()

    def _drain(self, schedule: StageSchedule) -> None:
        start_s = self._clock()
        while self._pool.in_flight and self._clock() - start_s < self._drain_s:
            gevent.sleep(DRAIN_POLL_S)
        self._observer.drained(
            schedule, in_flight_left=self._pool.in_flight, took_s=self._clock() - start_s
        )
