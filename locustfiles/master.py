"""A load test by workers that this process directs; it alone writes the record.

How far a worker's clock is ahead of the master's, from pings and their answers.

    offset = (t_worker - (t_sent + t_received) / 2),   uncertainty = (t_received - t_sent) / 2

The answer with the shortest way there and back counts (Cristian, Distrib. Comput. 3 (1989) 146):
whatever delayed the others lengthened their way.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import gevent
import numpy as np
import pyarrow as pa

from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA, WORKER_LOST
from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.traffic.schedule import Share
from mwaa_headroom.locustfiles.channel import (
    ORDER,
    PING,
    PLAN,
    PONG,
    READY,
    REPORT,
    Channel,
    rows_from_wire,
)
from mwaa_headroom.locustfiles.dispatcher import Drained
from mwaa_headroom.locustfiles.plan import Blueprint, Phase
from mwaa_headroom.locustfiles.recorder import Books, EpochClock, Tally


class PhaseAccount:
    """The arrivals of one phase with a schedule.

    Args:
        phase: has a schedule.
        start_s: its beginning, in epoch seconds.
    """

    def __init__(self, phase: Phase, start_s: float) -> None:
        if phase.schedule is None:
            raise ValueError("a closed workload has no schedule to compare with")
        self._schedule = phase.schedule
        self._start_s = start_s
        self._seen = np.zeros(phase.schedule.count, dtype=bool)

    def take(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of `batch`, all of this phase, that were not there before."""
        index = batch.column("arrival").to_numpy() - self._schedule.first
        fresh = ~self._seen[index]
        fresh[np.setdiff1d(np.arange(len(index)), np.unique(index, return_index=True)[1])] = False
        self._seen[index] = True
        return batch if fresh.all() else batch.filter(pa.array(fresh))

    def missing(self, worker: int, share: Share, until_s: float) -> Iterator[pa.RecordBatch]:
        """Rows, marked WORKER_LOST, for arrivals of `share` due before `until_s` (epoch)."""
        schedule = self._schedule
        for block in schedule.blocks(share):
            intended_s = self._start_s + block.offset_s
            lost = ~self._seen[block.arrival - schedule.first] & (intended_s <= until_s)
            self._seen[block.arrival[lost] - schedule.first] = True
            if lost.any():
                labels = pa.DictionaryArray.from_arrays(block.label[lost], schedule.labels)
                yield _lost_rows(
                    {
                        "arrival": block.arrival[lost],
                        "operation": labels.dictionary_decode(),
                        "intended_start_s": intended_s[lost],
                    },
                    stage=schedule.stage,
                    worker=worker,
                )


def _lost_rows(columns: Mapping[str, Any], *, stage: int, worker: int) -> pa.RecordBatch:
    count = len(columns["arrival"])
    same = {
        "stage": stage,
        "outcome": "unsent",
        "error_code": WORKER_LOST,
        "attempts": 0,
        "worker": worker,
    }
    arrays = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.repeat(pa.scalar(same.get(field.name), field.type), count)
        for field in REQUESTS_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=REQUESTS_SCHEMA)


KEPT = 30  # answers; a clock that drifts is seen within as many seconds


class ClockOffset:
    """Takes in answers, one by one."""

    def __init__(self) -> None:
        self._answers: deque[tuple[float, float]] = deque(maxlen=KEPT)  # uncertainty, offset

    def add(self, *, sent_s: float, answered_s: float, received_s: float) -> None:
        """One ping: when it was sent and received here, and answered there; epoch seconds."""
        uncertainty_s = (received_s - sent_s) / 2
        self._answers.append((uncertainty_s, answered_s - (sent_s + received_s) / 2))

    @property
    def count(self) -> int:
        """Answers that are there."""
        return len(self._answers)

    @property
    def ahead_s(self) -> float:
        """The best estimate; 0 without any answer."""
        return min(self._answers)[1] if self._answers else 0.0

    @property
    def uncertainty_s(self) -> float:
        """At most this far from the truth."""
        return min(self._answers)[0] if self._answers else float("inf")


SILENCE_S = 5.0  # of a worker, after which it counts as lost
POLL_S = 0.02

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Worker:
    """What is known of one worker."""

    number: int
    peer: str
    heard_s: float  # on the clock
    ready: bool = False
    error: str = ""
    cpus: int = 0
    longest_drain_s: float = 0.0
    tally: Tally = field(default_factory=Tally)
    rows: int = 0
    in_flight: int = 0
    cpu_fraction: float = 0.0
    sequence: int = 0
    order: int = 0  # the last one it has carried out
    completed: bool = True
    took_s: float = 0.0
    lost: str = ""
    offset: ClockOffset = field(default_factory=ClockOffset)


class Workforce:
    """Tells workers what to do and waits for them.

    Args:
        channel: to the workers.
        test: number of the test, in all messages.
        event: records an event.
        epoch: the master's time of day.
    """

    def __init__(
        self, channel: Channel, test: int, event: Callable[..., None], epoch: EpochClock
    ) -> None:
        self.workers: dict[str, Worker] = {}
        self._channel = channel
        self._test = test
        self._event = event
        self._epoch = epoch
        self._orders = count(1)

    def hire(self, plan: Mapping[str, Any]) -> None:
        """Send the plan to all workers that are connected."""
        for number, peer in enumerate(self._channel.peers()):
            worker = self.workers[peer] = Worker(number, peer, self._epoch.clock())
            self._send(worker, PLAN, {"number": number, **plan})

    def present(self) -> list[Worker]:
        """Those that are ready and have not been lost."""
        return [worker for worker in self.workers.values() if worker.ready and not worker.lost]

    def order(
        self,
        what: str,
        *,
        within_s: float,
        of_each: Callable[[Worker], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        """Have an order carried out; who has not done so `within_s` is lost.

        Args:
            what: see `locustfiles.channel`.
            within_s: by when.
            of_each: what the order says to one worker.
        """
        order = next(self._orders)
        for worker in self.present():
            self._send(worker, ORDER, {"order": order, "do": what, **of_each(worker)})
        self.wait_for(lambda worker: worker.order >= order or not worker.ready, within_s)
        for worker in self.present():
            if worker.order < order:
                self.lose(worker, f"it did not carry out an order ({what}) in {within_s:.0f} s")

    def tell(self, what: str) -> None:
        """An order to all that is carried out at once, whatever goes on."""
        for worker in self.present():
            self._send(worker, ORDER, {"do": what})

    def ping(self) -> None:
        """Ask all for their time of day; also a sign that the master is alive."""
        for worker in self.present():
            self._send(worker, PING, {"sent_s": self._epoch.now_s()})

    def wait_for(
        self,
        has_done: Callable[[Worker], bool],
        within_s: float,
        *,
        unless: Callable[[], bool] = lambda: False,
    ) -> None:
        """Until all workers that are not lost have done it, or time is up, or `unless`."""
        began_s = self._epoch.clock()
        while not unless() and self._epoch.clock() - began_s <= within_s:
            if all(has_done(worker) for worker in self.workers.values() if not worker.lost):
                return
            gevent.sleep(POLL_S)
            self.notice_losses()

    def notice_losses(self) -> None:
        """Workers that are gone, or silent, are lost."""
        connected = set(self._channel.peers())
        for worker in self.workers.values():
            if worker.lost:
                continue
            if worker.peer not in connected:
                self.lose(worker, "it is no longer connected")
            # Until it is ready it may be busy with its plan for longer.
            elif worker.ready and self._epoch.clock() - worker.heard_s > SILENCE_S:
                self.lose(worker, f"nothing was heard of it for {SILENCE_S:g} s")

    def lose(self, worker: Worker, reason: str) -> None:
        """Count on a worker no longer."""
        worker.lost = reason
        logger.warning("Worker %d is lost: %s.", worker.number, reason)
        self._event("worker_lost", time_s=self._epoch.now_s(), worker=worker.number, reason=reason)

    def _send(self, worker: Worker, kind: str, message: Mapping[str, Any]) -> None:
        if not self._channel.send(kind, {"test": self._test, **message}, worker.peer):
            self.lose(worker, "a message could not be sent to it")


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
    """See `locustfiles.load_test.Carrier`."""

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
