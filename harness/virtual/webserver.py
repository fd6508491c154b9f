"""One webserver in virtual time, its shared processor and its calls, and the rows these leave.

The rows of a phase are compact arrays, one element per arrival, and what follows from the schedule
is not kept a second time: a call takes about 20 bytes, so that a day at 50 calls/s fits into a
small machine.
"""

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mwaa_headroom.analysis.record import encoded, whole
from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA
from mwaa_headroom.harness.local.backend import Usage, Webserver
from mwaa_headroom.harness.local.settings import SimulatedSettings
from mwaa_headroom.harness.local.simulated import (
    DemandDraws,
    SharedProcessor,
    memory_fraction,
    start_delay_s,
)
from mwaa_headroom.harness.local.webservers import Member
from mwaa_headroom.harness.traffic.schedule import StageSchedule
from mwaa_headroom.harness.transport.outcome import CallResult

AT_ONCE = 65_536
NEVER_S = float("inf")
_NOT_ENDED = -1


@dataclass(frozen=True, slots=True)
class RowCodes:
    """What the numbers kept for rows stand for.

    Attributes:
        labels: of the mix, by the numbers in the schedule.
        results: how calls can end; rows name one by its place.
        started_at_s: epoch seconds at the virtual clock's zero.
    """

    labels: tuple[str, ...]
    results: tuple[CallResult, ...]
    started_at_s: float


class PhaseRows:
    """The arrivals of one phase and how each of them ended.

    Attributes:
        start_s: of the phase, on the virtual clock.
        arrived: arrivals that were due so far; later ones have no row.
    """

    def __init__(self, schedule: StageSchedule, start_s: float, codes: RowCodes) -> None:
        offsets_s, labels = [np.empty(0)], [np.empty(0, np.int16)]
        for block in schedule.blocks():
            offsets_s.append(block.offset_s)
            labels.append(block.label.astype(np.int16))
        self.start_s = start_s
        self.arrived = 0
        self._schedule = schedule
        self._codes = codes
        self._offset_s = np.concatenate(offsets_s)
        self._label = np.concatenate(labels)
        # Python writes single elements into these much faster than into NumPy's.
        self._service_s = array("d", bytes(8 * schedule.count))
        self._result = array("h", [_NOT_ENDED]) * schedule.count
        self._taken = np.zeros(schedule.count, dtype=bool)

    def arrivals(self) -> Iterator[tuple[int, float, int]]:
        """In order: index within the phase, when it is due on the virtual clock, label."""
        for begin in range(0, len(self._offset_s), AT_ONCE):
            block = slice(begin, begin + AT_ONCE)
            due_s = (self.start_s + self._offset_s[block]).tolist()
            labels = self._label[block].tolist()
            yield from zip(range(begin, begin + len(due_s)), due_s, labels, strict=True)

    def end(self, index: int, result: int, service_s: float) -> None:
        """A call has ended, as `results[result]`."""
        self._result[index] = result
        self._service_s[index] = service_s

    def fresh(self, most: int) -> pa.RecordBatch:
        """The rows that have come since the last time, of the last `most` arrivals."""
        first = max(0, self.arrived - most)
        ended = np.frombuffer(self._result, np.int16)[first : self.arrived] != _NOT_ENDED
        chosen = first + np.flatnonzero(ended & ~self._taken[first : self.arrived])
        self._taken[chosen] = True
        columns = [self.column(field.name, chosen).cast(field.type) for field in REQUESTS_SCHEMA]
        return pa.RecordBatch.from_arrays(columns, schema=REQUESTS_SCHEMA)

    def column(self, name: str, chosen: NDArray[np.int64] | slice | None = None) -> pa.Array:
        """A column of chosen rows, or of all once every call has ended; strings are encoded."""
        if chosen is None:
            chosen = slice(0, self.arrived)
        results, offset_s = np.frombuffer(self._result, np.int16)[chosen], self._offset_s[chosen]
        first, codes = self._schedule.first, self._codes
        unsent = np.array([result.outcome == "unsent" for result in codes.results])[results]
        match name:
            case "arrival":
                return pa.array(np.arange(first, first + len(self._result))[chosen])
            case "stage":
                return pa.array(np.full(len(results), self._schedule.stage, np.int32))
            case "operation":
                return _decoded(codes.labels, pa.string(), self._label[chosen])
            case "intended_start_s":
                return pa.array(codes.started_at_s + (self.start_s + offset_s))
            case "lag_s":  # nobody is ever late here
                return pa.array(np.zeros(len(results)), mask=unsent)
            case "service_time_s":
                return pa.array(np.frombuffer(self._service_s)[chosen], mask=unsent)
            case "worker":
                return pa.array(np.zeros(len(results), np.int32))
        values = [getattr(result, name) for result in codes.results]
        return _decoded(values, REQUESTS_SCHEMA.field(name).type, results)


def requests_table(phases: Sequence[PhaseRows]) -> pa.Table:
    """The rows of a whole run as the reader of records hands them out."""
    columns = []
    for field in REQUESTS_SCHEMA:
        column = pa.chunked_array([phase.column(field.name) for phase in phases])
        columns.append(encoded(column) if pa.types.is_string(field.type) else whole(column))
    return pa.Table.from_arrays(columns, names=REQUESTS_SCHEMA.names)


def _decoded(
    values: Sequence[object], kind: pa.DataType, numbers: NDArray[np.integer[Any]]
) -> pa.Array:
    meanings = pa.array(values, kind)
    if pa.types.is_string(kind):
        meanings = meanings.dictionary_encode()
    return meanings.take(pa.array(numbers))


@dataclass(slots=True)
class Call:
    """One call that was sent; times on the virtual clock."""

    rows: PhaseRows
    index: int  # within its phase
    answered_as: int  # the result, if it is answered in time
    started_s: float
    is_open: bool = True


@dataclass(slots=True)
class Tally:
    """Calls of the whole run."""

    in_flight: int = 0
    ended: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Endings:
    """How calls end, shared by all webservers.

    Attributes:
        timed_out: the result of a call that is not answered within the limit.
        failures: results that are not ok.
    """

    timed_out: int
    failures: frozenset[int]


class VirtualWebserver:
    """Takes calls, answers each `latency_s` after its CPU work, or lets it time out.

    A call that timed out is no longer in flight, but its CPU work goes on to its end, as it does in
    a webserver that nobody tells that its caller has gone.

    Attributes:
        member: the webserver as the sampler knows it.
        in_flight: calls that have neither been answered nor timed out.
        last_turn: when the balancer chose it last, counted in its choices.
        next_s: nothing happens here before; it is only then that `settle` need be called.
        idle_since_s: when the last call in flight ended.
    """

    def __init__(
        self, name: str, settings: SimulatedSettings, endings: Endings, tally: Tally, now_s: float
    ) -> None:
        self.name = name
        self.in_flight = 0
        self.last_turn = 0
        self.next_s = NEVER_S
        self.idle_since_s = now_s
        self.start_delay_s = start_delay_s(settings, name)
        # The sampler asks a webserver for nothing but its name and its usage.
        self.member = Member(cast(Webserver, self))
        self._processor = SharedProcessor(
            cores=settings.cores,
            contention=settings.contention,
            now_s=now_s,
            background=settings.background_cpu,
        )
        self._demands = DemandDraws(settings, name)
        self._latency_s = settings.latency_s
        self._timeout_s = settings.gateway.timeout_s
        self._endings = endings
        self._tally = tally
        self._in_service: dict[int, Call] = {}  # by ticket
        self._answers: deque[tuple[float, Call]] = deque()  # by when they are due
        self._deadlines: deque[Call] = deque()  # in the order in which calls began
        # Calls in flight, integrated from 0 to t: each adds t less its start, or its end less its
        # start, in whatever order that is learnt.
        self._ends_less_starts_s = 0.0
        self._call_seconds_taken = 0.0
        self._taken_at_s = now_s

    def take(self, call: Call, operation: str) -> None:
        """Begin a call; everything up to then must be settled."""
        now_s = call.started_s
        self._work(now_s)
        self._in_service[self._processor.add(self._demands.take(operation))] = call
        self._deadlines.append(call)
        self._tally.in_flight += 1
        self.in_flight += 1
        self._ends_less_starts_s -= now_s
        self._look_ahead()

    def settle(self, until_s: float) -> None:
        """Let everything happen that happens up to then."""
        if self.next_s > until_s:
            return
        self._work(until_s)
        answers, deadlines = self._answers, self._deadlines
        while answers and answers[0][0] <= until_s:
            at_s, call = answers.popleft()
            if at_s < call.started_s + self._timeout_s:
                self._end(call, at_s, call.answered_as)
        while deadlines and self._is_past(deadlines[0], until_s):
            call = deadlines.popleft()
            if call.is_open:
                self._end(call, call.started_s + self._timeout_s, self._endings.timed_out)
        self._look_ahead()

    def usage(self) -> Usage:
        """What it has used up to the last `advance`."""
        return Usage(self._processor.cpu_s, memory_fraction(self._processor.in_service))

    def advance(self, now_s: float) -> None:
        """Use CPU up to now, where everything is settled."""
        self._work(now_s)
        self._look_ahead()

    def take_mean_in_flight(self, now_s: float) -> float:
        """Calls in flight, averaged over the time since the previous take."""
        call_seconds = self.in_flight * now_s + self._ends_less_starts_s
        elapsed_s, gained_s = now_s - self._taken_at_s, call_seconds - self._call_seconds_taken
        self._taken_at_s, self._call_seconds_taken = now_s, call_seconds
        return max(0.0, gained_s / elapsed_s) if elapsed_s > 0 else float(self.in_flight)

    def _work(self, until_s: float) -> None:
        for ticket, finished_s in self._processor.advance(until_s):
            call = self._in_service.pop(ticket)
            if call.is_open:
                self._answers.append((finished_s + self._latency_s, call))

    def _is_past(self, call: Call, until_s: float) -> bool:
        return not call.is_open or call.started_s + self._timeout_s <= until_s

    def _end(self, call: Call, at_s: float, result: int) -> None:
        call.is_open = False
        call.rows.end(call.index, result, at_s - call.started_s)
        self.in_flight -= 1
        self.idle_since_s = max(self.idle_since_s, at_s)
        self._ends_less_starts_s += at_s
        tally = self._tally
        tally.in_flight -= 1
        tally.ended += 1
        if result in self._endings.failures:
            tally.failed += 1

    def _look_ahead(self) -> None:
        finish_s = self._processor.next_finish_s()
        next_s = NEVER_S if finish_s is None else finish_s
        if self._answers and self._answers[0][0] < next_s:
            next_s = self._answers[0][0]
        if self._deadlines:
            next_s = min(next_s, self._deadlines[0].started_s + self._timeout_s)
        self.next_s = next_s
