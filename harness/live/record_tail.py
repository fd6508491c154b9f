"""The end of a record that grows: rows and events since the last look, none read twice."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa


class _Growing:
    """What is appended to a file, which may not be there yet, or no longer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._rest = b""

    def rest(self) -> bytes:
        """Everything behind what was taken."""
        with suppress(OSError), self._path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
            self._read += len(new)
            self._rest += new
        return self._rest

    def take(self, count: int) -> None:
        """So many bytes are done with."""
        self._rest = self._rest[count:]


class StreamTail:
    """The rows appended to an Arrow IPC stream (`harness.record.stream`)."""

    def __init__(self, path: Path) -> None:
        self._growing = _Growing(path)
        self._schema: pa.Schema | None = None

    def new_batches(self) -> list[pa.RecordBatch]:
        """Those that have become whole since the last time."""
        source = pa.BufferReader(self._growing.rest())
        batches, whole = [], 0
        while message := _whole_message(source):
            if self._schema is None:
                self._schema = pa.ipc.read_schema(message)
            else:
                batches.append(pa.ipc.read_record_batch(message, self._schema))
            whole = source.tell()
        self._growing.take(whole)
        return batches


class EventsTail:
    """The events appended to `events.jsonl`."""

    def __init__(self, path: Path) -> None:
        self._growing = _Growing(path)

    def new_events(self) -> list[dict[str, Any]]:
        """Those whose line has become whole since the last time."""
        text = self._growing.rest()
        whole = text.rfind(b"\n") + 1
        self._growing.take(whole)
        return [json.loads(line) for line in text[:whole].splitlines()]


def _whole_message(source: pa.BufferReader) -> pa.ipc.Message | None:
    try:
        return pa.ipc.read_message(source)
    except (EOFError, pa.ArrowException, OSError):  # the end, or not all of it is there yet
        return None
