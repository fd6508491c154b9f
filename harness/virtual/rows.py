"""The rows of one phase while its calls end: compact arrays, one element per arrival.

What follows from the schedule is not kept a second time. A call takes about 20 bytes here, so that
a day at 50 calls/s fits into a small machine.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.records.columns import encoded, whole
from analysis.records.schema import REQUESTS_SCHEMA
from harness.traffic.schedule import StageSchedule
from harness.transport.outcome import CallResult

AT_ONCE = 65_536
_NOT_ENDED = -1


@dataclass(frozen=True, slots=True)
class Words:
    """What rows are told in.

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

    def __init__(self, schedule: StageSchedule, start_s: float, words: Words) -> None:
        offsets_s, labels = [np.empty(0)], [np.empty(0, np.int16)]
        for block in schedule.blocks():
            offsets_s.append(block.offset_s)
            labels.append(block.label.astype(np.int16))
        self.start_s = start_s
        self.arrived = 0
        self._schedule = schedule
        self._words = words
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
        columns = [self._column(field.name, chosen).cast(field.type) for field in REQUESTS_SCHEMA]
        return pa.RecordBatch.from_arrays(columns, schema=REQUESTS_SCHEMA)

    def column(self, name: str) -> pa.Array:
        """One column of all rows, once every call has ended; strings are dictionary-encoded."""
        return self._column(name, slice(0, self.arrived))

    def _column(self, name: str, chosen: NDArray[np.int64] | slice) -> pa.Array:
        results, offset_s = np.frombuffer(self._result, np.int16)[chosen], self._offset_s[chosen]
        first, words = self._schedule.first, self._words
        match name:
            case "arrival":
                return pa.array(np.arange(first, first + len(self._result))[chosen])
            case "stage":
                return pa.array(np.full(len(results), self._schedule.stage, np.int32))
            case "operation":
                return _told(words.labels, pa.string(), self._label[chosen])
            case "intended_start_s":
                return pa.array(words.started_at_s + (self.start_s + offset_s))
            case "lag_s":  # nobody is ever late here
                return pa.array(np.zeros(len(results)), mask=self._unsent(results))
            case "service_time_s":
                service_s = np.frombuffer(self._service_s)[chosen]
                return pa.array(service_s, mask=self._unsent(results))
            case "worker":
                return pa.array(np.zeros(len(results), np.int32))
        values = [getattr(result, name) for result in words.results]
        return _told(values, REQUESTS_SCHEMA.field(name).type, results)

    def _unsent(self, results: NDArray[np.int16]) -> NDArray[np.bool_]:
        unsent = np.array([result.outcome == "unsent" for result in self._words.results])
        return unsent[results]


def requests_table(phases: Sequence[PhaseRows]) -> pa.Table:
    """The rows of a whole run as the reader of records hands them out."""
    columns = []
    for field in REQUESTS_SCHEMA:
        column = pa.chunked_array([phase.column(field.name) for phase in phases])
        columns.append(encoded(column) if pa.types.is_string(field.type) else whole(column))
    return pa.Table.from_arrays(columns, names=REQUESTS_SCHEMA.names)


def _told(
    values: Sequence[object], kind: pa.DataType, numbers: NDArray[np.integer[Any]]
) -> pa.Array:
    told = pa.array(values, kind)
    told = told.dictionary_encode() if pa.types.is_string(kind) else told
    return told.take(pa.array(numbers))
