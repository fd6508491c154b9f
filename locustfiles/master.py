"""A load test by workers that this process directs; it alone writes the record."""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import gevent
import numpy as np
import pyarrow as pa

from harness.errors import UsageError
from harness.traffic.schedule import Share
from locustfiles.accounts import PhaseAccount
from locustfiles.books import Books
from locustfiles.channel import PONG, READY, REPORT, Channel, rows_from_wire
from locustfiles.crew import Drained
from locustfiles.epoch import EpochClock
from locustfiles.journal import Tally
from locustfiles.plan import Blueprint, Phase
from locustfiles.workforce import POLL_S, SILENCE_S, Worker, Workforce

LEAD_IN_S = 0.5  # orders are there, and understood, before a phase begins
READY_WITHIN_S = 60.0
CLOSE_WITHIN_S = 10.0
FIRST_PINGS = 10


class Desk:
    """Receives messages for whichever test goes on: Locust keeps listeners for ever.

    Args:
        channel: to the workers.
        statistics: whether somebody looks at Locust's own.
    """

    def __init__(self, channel: Channel, *, statistics: bool) -> None:
        self.channel = channel
        self.statistics = statistics
        self.test: MasterCarrier | None = None
        self.tests = count(1)
        for kind, handle in (
            (READY, lambda test, worker, data: test.on_ready(worker, data)),
            (PONG, lambda test, worker, data: test.on_pong(worker, data)),
            (REPORT, lambda test, worker, data: test.on_report(worker, data)),
        ):
            channel.listen(kind, self._for_the_test(handle))

    def _for_the_test(
        self, handle: "Callable[[MasterCarrier, Worker, Mapping[str, Any]], None]"
    ) -> Callable[[str, Mapping[str, Any]], None]:
        def on_message(peer: str, data: Mapping[str, Any]) -> None:
            test = self.test
            worker = None if test is None else test.workers.get(peer)
            if test is not None and worker is not None and data["test"] == test.number:
                handle(test, worker, data)

        return on_message


class MasterCarrier:
    """See `locustfiles.direction.Carrier`."""

    lead_in_s = LEAD_IN_S

    def __init__(
        self,
        desk: Desk,
        blueprint: Blueprint,
        books: Books,
        event: Callable[..., None],
        epoch: EpochClock,
    ) -> None:
        self.number = next(desk.tests)
        self._force = Workforce(desk.channel, self.number, event, epoch)
        self._blueprint = blueprint
        self._statistics = desk.statistics
        self._books = books
        self._event = event
        self._epoch = epoch
        self._accounts: dict[int, PhaseAccount] = {}
        self._shares: dict[int, dict[int, Share]] = {}  # by stage, by worker
        self._until_s: dict[int, float] = {}  # by stage, when it ended, in epoch seconds
        self._settled = Tally()
        self._stopping = False
        self._broken: Exception | None = None
        desk.test = self

    @property
    def workers(self) -> Mapping[str, Worker]:
        """All that took part, by their ids."""
        return self._force.workers

    @property
    def longest_drain_s(self) -> float:
        """See `Carrier`."""
        longest_s = max((worker.longest_drain_s for worker in self.workers.values()), default=0.0)
        return longest_s + SILENCE_S

    @property
    def tally(self) -> Tally:
        """See `Carrier`."""
        return sum((worker.tally for worker in self.workers.values()), self._settled)

    @property
    def in_flight(self) -> int:
        """See `Carrier`."""
        return sum(worker.in_flight for worker in self._force.present())

    @property
    def workers_lost(self) -> int:
        """See `Carrier`."""
        return sum(bool(worker.lost) for worker in self.workers.values())

    def prepare(self) -> None:
        """See `Carrier`.

        Raises:
            UsageError: a worker cannot carry out the plan, or does not answer.
        """
        self._force.hire({"blueprint": self._blueprint.to_wire(), "statistics": self._statistics})
        self._force.wait_for(
            lambda worker: worker.ready, READY_WITHIN_S, unless=lambda: self._stopping
        )
        if self._stopping:
            return
        for worker in self.workers.values():
            _require_ready(worker)
            self._tell("worker_joined", worker=worker.number, cpus=worker.cpus)
        for _ in range(FIRST_PINGS):
            self._force.ping()
            gevent.sleep(POLL_S)
        self._force.wait_for(lambda worker: worker.offset.count > 0, SILENCE_S)
        for worker in self._force.present():
            if not worker.offset.count:
                raise UsageError(
                    f"The clock of worker {worker.number} could not be compared with this one: it "
                    "does not answer pings."
                )
        self._tell_clocks()

    def run(self, phase: Phase, start_s: float) -> bool:
        """See `Carrier`."""
        present = self._force.present()
        if self._stopping or not present:
            return False
        shares = {w.number: Share(i, len(present)) for i, w in enumerate(present)}
        start_epoch_s = self._epoch.epoch_s(start_s)
        self._shares[phase.stage] = shares
        if phase.schedule is not None:
            self._accounts[phase.stage] = PhaseAccount(phase, start_epoch_s)
        self._force.order(
            "send",
            within_s=LEAD_IN_S + phase.duration_s + SILENCE_S,
            of_each=lambda worker: {
                "stage": phase.stage,
                "share": [shares[worker.number].worker, shares[worker.number].workers],
                "start_s": start_epoch_s,
                "ahead_s": worker.offset.ahead_s,
            },
        )
        self._until_s[phase.stage] = self._epoch.now_s()
        left = self._force.present()
        return bool(left) and not self._stopping and all(worker.completed for worker in left)

    def end_phase(self) -> None:
        """See `Carrier`."""
        self._force.tell("end_phase")

    def stop(self) -> None:
        """See `Carrier`."""
        self._stopping = True
        self._force.tell("stop")

    def drain(self) -> Drained:
        """See `Carrier`."""
        self._force.order("drain", within_s=self.longest_drain_s)
        present = self._force.present()
        self._settle()
        self._tell_clocks()
        took_s = max((worker.took_s for worker in present), default=0.0)
        return Drained(sum(worker.in_flight for worker in present), took_s)

    def tick(self) -> None:
        """See `Carrier`.

        Raises:
            Exception: what went wrong with a report.
        """
        if self._broken is not None:
            raise self._broken
        self._force.notice_losses()

    def beat(self) -> float:
        """See `Carrier`."""
        self._force.ping()
        return max((worker.cpu_fraction for worker in self._force.present()), default=0.0)

    def close(self) -> None:
        """See `Carrier`."""
        self._force.order("close", within_s=CLOSE_WITHIN_S)
        self._settle()

    def on_ready(self, worker: Worker, data: Mapping[str, Any]) -> None:
        """A worker has its plan, or says why it cannot carry it out."""
        worker.heard_s = self._epoch.clock()
        worker.cpus = int(data["cpus"])
        worker.error = str(data["error"])
        worker.longest_drain_s = float(data["longest_drain_s"])
        worker.ready = True

    def on_pong(self, worker: Worker, data: Mapping[str, Any]) -> None:
        """A worker has answered a ping."""
        worker.heard_s = self._epoch.clock()
        worker.offset.add(
            sent_s=float(data["sent_s"]),
            answered_s=float(data["now_s"]),
            received_s=self._epoch.now_s(),
        )

    def on_report(self, worker: Worker, data: Mapping[str, Any]) -> None:
        """A worker tells what it has done since its last report."""
        if worker.lost:  # its arrivals are settled
            return
        worker.heard_s = self._epoch.clock()
        if data["sequence"] != worker.sequence + 1:
            self._tell("note", message=f"A report of worker {worker.number} was lost on the way.")
        worker.sequence = int(data["sequence"])
        try:
            for batch in rows_from_wire(data["rows"]):
                self._take_in(worker, batch)
        except Exception as exc:
            self._broken = exc
        worker.tally = Tally(*data["tally"])
        worker.in_flight = int(data["in_flight"])
        worker.cpu_fraction = float(data["cpu_fraction"])
        if data["load"] is not None:
            self._tell(
                "generator_load", worker=worker.number, in_flight=worker.in_flight, **data["load"]
            )
        if data["order"] is not None:
            worker.completed = bool(data["completed"])
            worker.took_s = float(data["took_s"])
            worker.order = int(data["order"])
        if data["leaving"]:
            self._force.lose(worker, "it was stopped")

    def _take_in(self, worker: Worker, batch: pa.RecordBatch) -> None:
        stages = batch.column("stage").to_numpy()
        for stage in np.unique(stages).tolist():
            own = batch.filter(pa.array(stages == stage))
            account = self._accounts.get(stage)
            fresh = own if account is None else account.take(own)
            worker.rows += fresh.num_rows
            self._books.take_in(fresh)

    def _settle(self) -> None:
        """Write down what lost workers can no longer report; all phases so far are over then."""
        for stage, account in self._accounts.items():
            for worker in self.workers.values():
                share = self._shares[stage].get(worker.number)
                if worker.lost and share is not None:
                    until_s = self._until_s.get(stage, self._epoch.now_s())
                    for batch in account.missing(worker.number, share, until_s):
                        self._books.take_in(batch)
                        self._settled.arrivals += batch.num_rows
                        self._settled.unsent += batch.num_rows
                        gevent.sleep(0)  # a long phase owes much: workers must hear of us
        for worker in self.workers.values():
            if worker.lost:  # what it counted and did not report is among the missing
                worker.tally.arrivals = worker.rows
                worker.tally.sent = worker.tally.ok + worker.tally.errors
        self._accounts.clear()
        self._shares.clear()

    def _tell_clocks(self) -> None:
        for worker in self._force.present():
            if worker.offset.count:
                self._tell(
                    "clock_offset",
                    worker=worker.number,
                    offset_s=worker.offset.ahead_s,
                    uncertainty_s=worker.offset.uncertainty_s,
                )

    def _tell(self, kind: str, **fields: object) -> None:
        self._event(kind, time_s=self._epoch.now_s(), **fields)


def _require_ready(worker: Worker) -> None:
    if worker.error:
        raise UsageError(worker.error)
    if worker.lost:
        raise UsageError(
            f"Worker {worker.number} was lost before the load began: {worker.lost}; its log says "
            "why."
        )
    if not worker.ready:
        raise UsageError(
            f"Worker {worker.number} did not get ready within {READY_WITHIN_S:g} s; its log says "
            "why."
        )
