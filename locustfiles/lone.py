"""A load test by one process alone: its own crew sends, its own rows go straight into the books."""

from collections.abc import Callable
from dataclasses import replace

import gevent

from locustfiles.books import Books
from locustfiles.crew import Crew, Drained
from locustfiles.epoch import EpochClock
from locustfiles.journal import Journal, Report, Tally
from locustfiles.meter import LoadMeter
from locustfiles.plan import Blueprint, Phase, Plan
from locustfiles.pool import SenderPool

LOAD_EVENT_EVERY_S = 5.0
MANY_ROWS = 256  # are written at once: turning thousands into columns would stall the event loop


class LoneCarrier:
    """See `locustfiles.direction.Carrier`."""

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
