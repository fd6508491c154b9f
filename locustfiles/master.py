"""A load test by workers that this process directs; it alone writes the record."""

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
from mwaa_headroom.harness.traffic.schedule import Share, StageSchedule
from mwaa_headroom.locustfiles.channel import (
    ORDER,
    PING,
    PLAN,
    PONG,
    READY,
    REPORT,
    Channel,
    rows_from_message,
)
from mwaa_headroom.locustfiles.dispatcher import Drained
from mwaa_headroom.locustfiles.plan import Phase, Plan
from mwaa_headroom.locustfiles.recorder import RunRecord, Tally

LEAD_IN_S = 0.5  # orders are there, and understood, before a phase begins
READY_WITHIN_S = 60.0
FIRST_PINGS = 10
FIRST_PONG_WITHIN_S = 5.0
SILENCE_S = 5.0  # of a worker, after which it counts as lost
CLOSE_WITHIN_S = 10.0
POLL_S = 0.02
KEPT_PONGS = 30  # a clock that drifts is seen within as many seconds

logger = logging.getLogger(__name__)


class ClockOffset:
    """How far a worker's clock is ahead of the master's, from pings and their answers.

        offset = (t_worker - (t_sent + t_received) / 2),   uncertainty = (t_received - t_sent) / 2

    The answer with the shortest way there and back counts (Cristian, Distrib. Comput. 3 (1989)
    146): whatever delayed the others lengthened their way.
    """

    def __init__(self) -> None:
        self._pongs: deque[tuple[float, float]] = deque(maxlen=KEPT_PONGS)  # uncertainty, offset

    def add(self, *, sent_s: float, answered_s: float, received_s: float) -> None:
        """One ping: when it was sent and received here, and answered there; epoch seconds."""
        uncertainty_s = (received_s - sent_s) / 2
        self._pongs.append((uncertainty_s, answered_s - (sent_s + received_s) / 2))

    @property
    def count(self) -> int:
        """Answers that are there."""
        return len(self._pongs)

    @property
    def ahead_s(self) -> float:
        """The best estimate; 0 without any answer."""
        return min(self._pongs)[1] if self._pongs else 0.0

    @property
    def uncertainty_s(self) -> float:
        """At most this far from the truth."""
        return min(self._pongs)[0] if self._pongs else float("inf")


@dataclass(slots=True)
class WorkerState:
    """What is known of one worker."""

    number: int
    worker_id: str  # Locust's
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


class Workers:
    """Tells workers what to do and waits for them, never for ever.

    Args:
        channel: to the workers.
        test: number of the test, in all messages.
        record: says who was lost.

    Attributes:
        of_id: those that have the plan, by Locust's id.
    """

    def __init__(self, channel: Channel, test: int, record: RunRecord) -> None:
        self.of_id: dict[str, WorkerState] = {}
        self._channel = channel
        self._test = test
        self._record = record
        self._clock = record.epoch.clock
        self._orders = count(1)

    def all(self) -> list[WorkerState]:
        """Those that have the plan, lost ones included."""
        return list(self.of_id.values())

    def present(self) -> list[WorkerState]:
        """Those that are ready and have not been lost."""
        return [worker for worker in self.of_id.values() if worker.ready and not worker.lost]

    def send_plan(self, plan: Mapping[str, Any]) -> None:
        """Send the plan to all workers that are connected."""
        for number, worker_id in enumerate(self._channel.connected_workers()):
            worker = self.of_id[worker_id] = WorkerState(number, worker_id, self._clock())
            self._send(worker, PLAN, {"number": number, **plan})

    def order(
        self,
        what: str,
        *,
        within_s: float,
        of_each: Callable[[WorkerState], Mapping[str, Any]] = lambda _: {},
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

    def order_at_once(self, what: str) -> None:
        """An order to all that is carried out at once, whatever goes on; nobody is waited for."""
        for worker in self.present():
            self._send(worker, ORDER, {"do": what})

    def ping(self) -> None:
        """Ask all for their time of day; also a sign that the master is alive."""
        for worker in self.present():
            self._send(worker, PING, {"sent_s": self._record.epoch.now_s()})

    def wait_for(
        self,
        has_done: Callable[[WorkerState], bool],
        within_s: float,
        *,
        unless: Callable[[], bool] = lambda: False,
    ) -> None:
        """Until all workers that are not lost have done it, or time is up, or `unless`."""
        began_s = self._clock()
        while not unless() and self._clock() - began_s <= within_s:
            if all(has_done(worker) for worker in self.of_id.values() if not worker.lost):
                return
            gevent.sleep(POLL_S)
            self.notice_losses()

    def notice_losses(self) -> None:
        """Workers that are gone, or silent, are lost."""
        connected = set(self._channel.connected_workers())
        for worker in self.of_id.values():
            if worker.lost:
                continue
            if worker.worker_id not in connected:
                self.lose(worker, "it is no longer connected")
            # Until it is ready it may be busy with its plan for longer.
            elif worker.ready and self._clock() - worker.heard_s > SILENCE_S:
                self.lose(worker, f"nothing was heard of it for {SILENCE_S:g} s")

    def lose(self, worker: WorkerState, reason: str) -> None:
        """Count on a worker no longer; should it still hear of us, it sends nothing more."""
        worker.lost = reason
        self._channel.send(ORDER, {"test": self._test, "do": "stop"}, worker.worker_id)
        logger.warning("Worker %d is lost: %s.", worker.number, reason)
        self._record.event("worker_lost", worker=worker.number, reason=reason)

    def _send(self, worker: WorkerState, kind: str, message: Mapping[str, Any]) -> None:
        if not self._channel.send(kind, {"test": self._test, **message}, worker.worker_id):
            self.lose(worker, "a message could not be sent to it")


class PhaseArrivals:
    """Which arrivals of one phase have a row, so that each gets exactly one.

    Args:
        schedule: of the phase.
        start_s: its beginning, in epoch seconds.
        shares: of the workers, by number.

    Attributes:
        until_s: when it ended, in epoch seconds; None: it goes on.
    """

    def __init__(
        self, schedule: StageSchedule, start_s: float, shares: Mapping[int, Share]
    ) -> None:
        self.until_s: float | None = None
        self._schedule = schedule
        self._start_s = start_s
        self._shares = shares
        self._seen = np.zeros(schedule.count, dtype=bool)

    def new_rows(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of `batch`, all of this phase, that were not there before."""
        index = batch.column("arrival").to_numpy() - self._schedule.first
        new = ~self._seen[index]
        new[np.setdiff1d(np.arange(len(index)), np.unique(index, return_index=True)[1])] = False
        self._seen[index] = True
        return batch if new.all() else batch.filter(pa.array(new))

    def missing_rows(self, worker: int, now_s: float) -> Iterator[pa.RecordBatch]:
        """Rows, marked WORKER_LOST, for what a worker's share still owes.

        Only what was due before the phase ended, or by `now_s` (epoch) if it goes on.
        """
        if worker not in self._shares:
            return
        schedule = self._schedule
        until_s = now_s if self.until_s is None else self.until_s
        for block in schedule.blocks(self._shares[worker]):
            intended_s = self._start_s + block.offset_s
            missing = ~self._seen[block.arrival - schedule.first] & (intended_s <= until_s)
            self._seen[block.arrival[missing] - schedule.first] = True
            if missing.any():
                labels = pa.DictionaryArray.from_arrays(block.label[missing], schedule.labels)
                columns = {
                    "arrival": block.arrival[missing],
                    "operation": labels.dictionary_decode(),
                    "intended_start_s": intended_s[missing],
                }
                yield _lost_rows(columns, stage=schedule.stage, worker=worker)


def _lost_rows(columns: Mapping[str, Any], *, stage: int, worker: int) -> pa.RecordBatch:
    constants = {
        "stage": stage,
        "outcome": "unsent",
        "error_code": WORKER_LOST,
        "attempts": 0,
        "worker": worker,
    }
    arrays = [
        pa.array(columns[field.name], field.type)
        if field.name in columns
        else pa.repeat(pa.scalar(constants.get(field.name), field.type), len(columns["arrival"]))
        for field in REQUESTS_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=REQUESTS_SCHEMA)


class Master:
    """A load generator (see `locustfiles.load_test`) of all workers that are connected.

    Args:
        channel: to the workers.
        test: number of this test; no other of this Locust session has it.
        plan: what they send.
        record: their rows and events are kept there.
        statistics: whether somebody looks at Locust's own.
    """

    lead_in_s = LEAD_IN_S

    def __init__(
        self, channel: Channel, test: int, plan: Plan, record: RunRecord, *, statistics: bool
    ) -> None:
        self._workers = Workers(channel, test, record)
        self._plan = plan
        self._record = record
        self._statistics = statistics
        self._phases: dict[int, PhaseArrivals] = {}  # by stage: those not settled
        self._settled = Tally()
        self._stopping = False
        self._broken: Exception | None = None
        for kind, handle in (
            (READY, self._on_ready),
            (PONG, self._on_pong),
            (REPORT, self._on_report),
        ):
            channel.listen(kind, self._from_a_worker(handle), test=test)

    @property
    def longest_drain_s(self) -> float:
        """`drain` returns by then."""
        return SILENCE_S + max((one.longest_drain_s for one in self._workers.all()), default=0.0)

    @property
    def tally(self) -> Tally:
        """Counts so far, what lost workers owed included."""
        return sum((worker.tally for worker in self._workers.all()), self._settled)

    @property
    def in_flight(self) -> int:
        """Calls that have not ended, by the last reports."""
        return sum(worker.in_flight for worker in self._workers.present())

    @property
    def workers_lost(self) -> int:
        """Workers that had the plan and are gone."""
        return sum(bool(worker.lost) for worker in self._workers.all())

    def prepare(self) -> None:
        """Have all workers make ready, and compare clocks.

        Raises:
            UsageError: a worker cannot carry out the plan, or does not answer.
        """
        self._workers.send_plan(
            {"plan": self._plan.to_message(), "statistics": self._statistics},
        )
        self._workers.wait_for(
            lambda worker: worker.ready, READY_WITHIN_S, unless=lambda: self._stopping
        )
        if self._stopping:
            return
        for worker in self._workers.all():
            _require_ready(worker)
            self._record.event("worker_joined", worker=worker.number, cpus=worker.cpus)
        for _ in range(FIRST_PINGS):
            self._workers.ping()
            gevent.sleep(POLL_S)
        self._workers.wait_for(lambda worker: worker.offset.count > 0, FIRST_PONG_WITHIN_S)
        for worker in self._workers.present():
            if not worker.offset.count:
                raise UsageError(
                    f"The clock of worker {worker.number} could not be compared with this one: it "
                    "does not answer pings."
                )
        self._record_clock_offsets()

    def run(self, phase: Phase, start_s: float) -> bool:
        """Have each worker send its share; False if `stop` cut it short or no worker is left."""
        present = self._workers.present()
        if self._stopping or not present:
            return False
        shares = {worker.number: Share(i, len(present)) for i, worker in enumerate(present)}
        start_epoch_s = self._record.epoch.epoch_s(start_s)
        if phase.schedule is not None:
            self._phases[phase.stage] = PhaseArrivals(phase.schedule, start_epoch_s, shares)
        self._workers.order(
            "send",
            within_s=LEAD_IN_S + phase.duration_s + SILENCE_S,
            of_each=lambda worker: {
                "stage": phase.stage,
                "share": [shares[worker.number].worker, shares[worker.number].workers],
                "start_s": start_epoch_s,
                "ahead_s": worker.offset.ahead_s,
            },
        )
        if phase.stage in self._phases:
            self._phases[phase.stage].until_s = self._record.epoch.now_s()
        left = self._workers.present()
        return bool(left) and not self._stopping and all(worker.completed for worker in left)

    def end_phase(self) -> None:
        """End the phase that is going on as if it were over."""
        self._workers.order_at_once("end_phase")

    def stop(self) -> None:
        """Hand out nothing more, now and later."""
        self._stopping = True
        self._workers.order_at_once("stop")

    def drain(self) -> Drained:
        """Have workers wait for calls in flight; then every arrival so far has its row."""
        self._workers.order("drain", within_s=self.longest_drain_s)
        present = self._workers.present()
        self._settle()
        self._record_clock_offsets()
        took_s = max((worker.took_s for worker in present), default=0.0)
        return Drained(sum(worker.in_flight for worker in present), took_s)

    def tick(self) -> None:
        """Notice workers that are gone.

        Raises:
            Exception: what went wrong with a report.
        """
        if self._broken is not None:
            raise self._broken
        self._workers.notice_losses()

    def update(self) -> None:
        """Ping; rows come by themselves."""
        self._workers.ping()

    def cpu_fraction(self) -> float:
        """Of one core, of the busiest worker, by its last report."""
        return max((worker.cpu_fraction for worker in self._workers.present()), default=0.0)

    def close(self) -> None:
        """Have workers report what is left, and settle what lost ones owe."""
        self._workers.order("close", within_s=CLOSE_WITHIN_S)
        self._settle()

    def _from_a_worker(
        self, handle: Callable[[WorkerState, Mapping[str, Any]], None]
    ) -> Callable[[str, Mapping[str, Any]], None]:
        def on_message(worker_id: str, data: Mapping[str, Any]) -> None:
            worker = self._workers.of_id.get(worker_id)
            if worker is not None:
                worker.heard_s = self._record.epoch.clock()
                handle(worker, data)

        return on_message

    def _on_ready(self, worker: WorkerState, data: Mapping[str, Any]) -> None:
        worker.cpus = int(data["cpus"])
        worker.error = str(data["error"])
        worker.longest_drain_s = float(data["longest_drain_s"])
        worker.ready = True

    def _on_pong(self, worker: WorkerState, data: Mapping[str, Any]) -> None:
        worker.offset.add(
            sent_s=float(data["sent_s"]),
            answered_s=float(data["now_s"]),
            received_s=self._record.epoch.now_s(),
        )

    def _on_report(self, worker: WorkerState, data: Mapping[str, Any]) -> None:
        if worker.lost:  # its arrivals are settled
            return
        if data["sequence"] != worker.sequence + 1:
            message = f"A report of worker {worker.number} was lost on the way."
            self._record.event("note", message=message)
        worker.sequence = int(data["sequence"])
        try:
            for batch in rows_from_message(data["rows"]):
                self._add_rows(worker, batch)
        except Exception as exc:
            self._broken = exc
        worker.tally = Tally(*data["tally"])
        worker.in_flight = int(data["in_flight"])
        worker.cpu_fraction = float(data["cpu_fraction"])
        if data["load"] is not None:
            self._record.event(
                "generator_load", worker=worker.number, in_flight=worker.in_flight, **data["load"]
            )
        if data["order"] is not None:
            worker.completed = bool(data["completed"])
            worker.took_s = float(data["took_s"])
            worker.order = int(data["order"])
        if data["leaving"]:
            self._workers.lose(worker, "it was stopped")

    def _add_rows(self, worker: WorkerState, batch: pa.RecordBatch) -> None:
        stages = batch.column("stage").to_numpy()
        for stage in np.unique(stages).tolist():
            of_stage = batch.filter(pa.array(stages == stage))
            arrivals = self._phases.get(stage)
            new = of_stage if arrivals is None else arrivals.new_rows(of_stage)
            worker.rows += new.num_rows
            self._record.add(new)

    def _settle(self) -> None:
        """Write down what lost workers can no longer report; all phases so far are over then."""
        for arrivals in self._phases.values():
            for worker in self._workers.all():
                if worker.lost:
                    for batch in arrivals.missing_rows(worker.number, self._record.epoch.now_s()):
                        self._record.add(batch)
                        self._settled.arrivals += batch.num_rows
                        self._settled.unsent += batch.num_rows
                        gevent.sleep(0)  # a long phase owes much: workers must hear of us
        for worker in self._workers.all():
            if worker.lost:  # what it counted and did not report is among the missing
                worker.tally.arrivals = worker.rows
                worker.tally.sent = worker.tally.ok + worker.tally.errors
        self._phases.clear()

    def _record_clock_offsets(self) -> None:
        for worker in self._workers.present():
            if worker.offset.count:
                self._record.event(
                    "clock_offset",
                    worker=worker.number,
                    offset_s=worker.offset.ahead_s,
                    uncertainty_s=worker.offset.uncertainty_s,
                )


def _require_ready(worker: WorkerState) -> None:
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
