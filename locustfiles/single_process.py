"""A load test by one process alone: it sends everything itself and writes its own rows."""

import gevent
from gevent import Greenlet

from mwaa_headroom.harness.transport.opening import OpenTransport
from mwaa_headroom.locustfiles.dispatcher import Dispatcher
from mwaa_headroom.locustfiles.plan import Phase, Plan
from mwaa_headroom.locustfiles.recorder import (
    LOAD_EVENT_EVERY_S,
    MANY_ROWS,
    CallRecorder,
    LoadMeter,
    ReportToLocust,
    RunRecord,
    Tally,
)
from mwaa_headroom.locustfiles.senders import SenderPool


class SingleProcess:
    """A load generator (see `locustfiles.load_test`) of this process's own senders."""

    lead_in_s = 0.05  # until a phase begins: the first arrivals are drawn before they are due
    workers_lost = 0

    def __init__(
        self,
        plan: Plan,
        transport: OpenTransport,
        pool: SenderPool,
        record: RunRecord,
        report: ReportToLocust | None,
    ) -> None:
        self._record = record
        self._recorder = CallRecorder(record.epoch, report)
        self._dispatcher = Dispatcher(plan, transport, pool, self._recorder)
        self._meter = LoadMeter()
        self._watching_stalls: Greenlet = gevent.spawn(self._meter.watch_stalls)
        self._load_recorded_s = record.epoch.clock()
        self.end_phase = self._dispatcher.end_phase
        self.stop = self._dispatcher.stop
        self.drain = self._dispatcher.drain
        self.cpu_fraction = self._meter.cpu_fraction

    @property
    def longest_drain_s(self) -> float:
        """`drain` returns by then."""
        return self._dispatcher.longest_drain_s

    @property
    def tally(self) -> Tally:
        """Counts so far."""
        return self._recorder.tally

    @property
    def in_flight(self) -> int:
        """Calls that have not ended."""
        return self._dispatcher.in_flight

    def prepare(self) -> None:
        """It is ready."""

    def run(self, phase: Phase, start_s: float) -> bool:
        """Send a phase that begins at `start_s` on the clock; False if `stop` cut it short."""
        completed = self._dispatcher.run(phase, start_s)
        self._record_load()  # what belongs to this phase
        return completed

    def tick(self) -> None:
        """Write rows when there are many."""
        if self._recorder.waiting_rows() >= MANY_ROWS:
            self._write_rows()

    def update(self) -> None:
        """Write all rows, and now and then what the load costs."""
        self._write_rows()
        if self._record.epoch.clock() - self._load_recorded_s >= LOAD_EVENT_EVERY_S:
            self._record_load()

    def close(self) -> None:
        """Leave no row unwritten."""
        self._watching_stalls.kill()
        self._dispatcher.close()
        self._write_rows()

    def _write_rows(self) -> None:
        batch = self._recorder.take()
        if batch is not None:
            self._record.add(batch)

    def _record_load(self) -> None:
        self._load_recorded_s = self._record.epoch.clock()
        self._record.event(
            "generator_load", worker=0, in_flight=self.in_flight, **self._meter.report()
        )
