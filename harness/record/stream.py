"""Rows on their way to disk: appended to a list, written as Arrow IPC record batches.

The file is an ordinary Arrow IPC stream: the schema message, one record batch message per flush,
and an end mark. Every message is handed to the operating system in one piece, so that a killed
process leaves at most one torn message at the very end, which `finish_tables` leaves out.
"""

import threading
from collections.abc import MutableSequence
from pathlib import Path

import pyarrow as pa

from mwaa_headroom.harness.files import writing

ROWS_OF_A_BATCH = 1024  # a batch of a few rows takes kilobytes
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class StreamWriter:
    """Appends rows to one Arrow IPC stream.

    `append` is one list append and never touches the disk, so it belongs on the measured path.
    `flush` may run in another thread or greenlet than `append`.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._pending: list[tuple[object, ...]] = []
        self._lock = threading.Lock()
        with writing(path):
            self._file = path.open("xb", buffering=0)
        self._write(schema.serialize())

    def append(self, row: tuple[object, ...]) -> None:
        """Remember one row, its values in the schema's order."""
        self._pending.append(row)

    def flush(self) -> None:
        """Write the pending rows as one record batch and hand them to the operating system.

        Raises:
            HeadroomError: the disk is full or read-only. The stream is closed then, because nothing
                may follow a torn message; later rows are dropped.
        """
        with self._lock:
            # The list object stays the same: a concurrent append lands behind `count`.
            count = len(self._pending)
            rows = self._pending[:count]
            del self._pending[:count]
            if rows and not self._file.closed:
                self._write(record_batch(rows, self._schema).serialize())

    def write(self, batch: pa.RecordBatch) -> None:
        """Write rows that are a record batch already, behind everything flushed so far.

        Raises:
            HeadroomError: as `flush`.
        """
        with self._lock:
            if batch.num_rows and not self._file.closed:
                self._write(batch.serialize())

    def close(self) -> None:
        """Flush, write the end mark and close; closing twice is fine."""
        self.flush()
        with self._lock:
            if not self._file.closed:
                self._write(END_OF_STREAM)
                self._file.close()

    def _write(self, message: pa.Buffer | bytes) -> None:
        left = memoryview(message)
        try:
            with writing(self._path):
                while left:
                    left = left[self._file.write(left) :]
        except BaseException:
            self._file.close()
            raise


def record_batch(rows: list[tuple[object, ...]], schema: pa.Schema) -> pa.RecordBatch:
    """Rows, their values in the schema's order, as one record batch; there must be at least one."""
    columns = zip(*rows, strict=True)
    arrays = [
        pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def append_batch(batches: MutableSequence[pa.RecordBatch], batch: pa.RecordBatch) -> None:
    """Append rows to those that are kept; few become one batch with the few before them."""
    if batches and batches[-1].num_rows < ROWS_OF_A_BATCH:
        both = pa.Table.from_batches([batches.pop(), batch])
        (batch,) = both.combine_chunks().to_batches()
    batches.append(batch)
