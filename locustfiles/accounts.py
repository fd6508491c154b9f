"""Which arrivals of a phase have a row, so that none is missing and none is there twice."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.records.schema import REQUESTS_SCHEMA, WORKER_LOST
from harness.traffic.schedule import Share
from locustfiles.plan import Phase


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
