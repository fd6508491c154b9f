"""A load test by one process alone: its own crew sends, its own rows go straight into the books."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

import gevent

from mwaa_headroom.locustfiles.dispatcher import Crew, Drained
from mwaa_headroom.locustfiles.plan import Blueprint, Phase, Plan
from mwaa_headroom.locustfiles.recorder import Books, EpochClock, Journal, Report, Tally
from mwaa_headroom.locustfiles.senders import SenderPool

STALL_PERIOD_S = 0.01
SHORTEST_STALL_S = 0.05  # less is the noise of any machine


class LoadMeter:
    """Measures from one question to the next.

    Args:
        clock: monotonic seconds.
        cpu_clock: CPU seconds of this process.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._glance = self._mark = (clock(), cpu_clock())
        self._stalled_s = 0.0
        self._longest_stall_s = 0.0

    def watch_stalls(self) -> NoReturn:
        """In a greenlet of its own, until killed: ask to be woken soon, and see how late it is."""
        while True:
            before_s = self._clock()
            gevent.sleep(STALL_PERIOD_S)
            self.woken_late(self._clock() - before_s - STALL_PERIOD_S)

    def woken_late(self, late_s: float) -> None:
        """Count one wake-up; while the loop stands still nothing is sent or received."""
        if late_s >= SHORTEST_STALL_S:
            self._stalled_s += late_s
            self._longest_stall_s = max(self._longest_stall_s, late_s)

    def cpu_fraction(self) -> float:
        """Of one core, since the last time."""
        then, self._glance = self._glance, (self._clock(), self._cpu_clock())
        return _fraction(then, self._glance)

    def report(self) -> dict[str, float]:
        """The figures of a `generator_load` event since the last report."""
        then, self._mark = self._mark, (self._clock(), self._cpu_clock())
        figures = {
            "cpu_fraction": _fraction(then, self._mark),
            "stalled_s": self._stalled_s,
            "longest_stall_s": self._longest_stall_s,
        }
        self._stalled_s = self._longest_stall_s = 0.0
        return figures


def _fraction(then: tuple[float, float], now: tuple[float, float]) -> float:
    return (now[1] - then[1]) / max(now[0] - then[0], 1e-9)


LOAD_EVENT_EVERY_S = 5.0
MANY_ROWS = 256  # are written at once: turning thousands into columns would stall the event loop


class LoneCarrier:
    """See `locustfiles.load_test.Carrier`."""

    workers_lost = 0
    lead_in_s = 0.05  # the first arrivals are drawn before they are due

    def __init__(
        self,
        plan: Plan,
        pool: SenderPool,
        report: Report | None,
        blueprint: Blueprint,
        books: Books,
        event: Callable[..., None],
        epoch: EpochClock,
    ) -> None:
        self._journal = Journal(epoch, report)
        self._crew = Crew(replace(plan, blueprint=blueprint), pool, self._journal)
        self._books = books
        self._event = event
        self._epoch = epoch
        self._meter = LoadMeter()
        self._stalls = gevent.spawn(self._meter.watch_stalls)
        self._told_s = epoch.clock()

    @property
    def longest_drain_s(self) -> float:
        """See `Carrier`."""
        return self._crew.longest_drain_s

    @property
    def tally(self) -> Tally:
        """See `Carrier`."""
        return self._journal.tally

    @property
    def in_flight(self) -> int:
        """See `Carrier`."""
        return self._crew.in_flight

    def prepare(self) -> None:
        """See `Carrier`."""

    def run(self, phase: Phase, start_s: float) -> bool:
        """See `Carrier`."""
        completed = self._crew.run(phase, start_s)
        self._tell_load()  # what belongs to this phase
        return completed

    def end_phase(self) -> None:
        """See `Carrier`."""
        self._crew.end_phase()

    def stop(self) -> None:
        """See `Carrier`."""
        self._crew.stop()

    def drain(self) -> Drained:
        """See `Carrier`."""
        return self._crew.drain()

    def tick(self) -> None:
        """See `Carrier`."""
        if self._journal.waiting_rows() >= MANY_ROWS:
            self._write()

    def beat(self) -> float:
        """See `Carrier`."""
        self._write()
        if self._epoch.clock() - self._told_s >= LOAD_EVENT_EVERY_S:
            self._tell_load()
        return self._meter.cpu_fraction()

    def close(self) -> None:
        """See `Carrier`."""
        self._stalls.kill()
        self._crew.close()
        self._write()

    def _write(self) -> None:
        batch = self._journal.take()
        if batch is not None:
            self._books.take_in(batch)

    def _tell_load(self) -> None:
        self._told_s = self._epoch.clock()
        self._event(
            "generator_load",
            time_s=self._epoch.now_s(),
            worker=0,
            in_flight=self.in_flight,
            **self._meter.report(),
        )
