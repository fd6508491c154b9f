"""Where a load test's rows, events and status go: into a run directory, or nowhere."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from analysis.records.schema import EVENTS_FILE, REQUESTS_SCHEMA, REQUESTS_STREAM
from harness.generator import GeneratorStatus
from harness.record.events import EventLog
from harness.record.stream import StreamWriter


class Output(Protocol):
    """Takes what a load test has to tell."""

    def rows(self, batch: pa.RecordBatch) -> None:
        """Arrivals with the columns of REQUESTS_SCHEMA; safe when this returns."""

    def event(self, kind: str, *, time_s: float, **fields: object) -> None:
        """One event of EVENT_KINDS."""

    def status(self, status: GeneratorStatus) -> None:
        """Once a second."""

    def is_wanted(self) -> bool:
        """False once nobody reads what is told."""

    def close(self) -> None:
        """Nothing more comes."""


class RunDirectoryOutput:
    """Writes the record and prints status lines for the process that started this one."""

    def __init__(self, run_dir: Path) -> None:
        self._stream = StreamWriter(run_dir / REQUESTS_STREAM, REQUESTS_SCHEMA)
        self._events = EventLog(run_dir / EVENTS_FILE)
        self._reader_is_gone = False
        self.rows = self._stream.write

    def event(self, kind: str, *, time_s: float, **fields: object) -> None:
        """See `Output`."""
        self._events.write(kind, source="generator", time_s=time_s, **fields)

    def status(self, status: GeneratorStatus) -> None:
        """See `Output`."""
        line = json.dumps(asdict(status)) + "\n"
        try:
            os.write(1, line.encode())
        except BrokenPipeError:
            self._reader_is_gone = True

    def is_wanted(self) -> bool:
        """See `Output`."""
        return not self._reader_is_gone

    def close(self) -> None:
        """See `Output`."""
        self._stream.close()
        self._events.close()


class NoOutput:
    """For `locust -f ...` by itself: Locust's own statistics are all there is."""

    def rows(self, batch: pa.RecordBatch) -> None:
        """See `Output`."""

    def event(self, kind: str, *, time_s: float, **fields: object) -> None:
        """See `Output`."""

    def status(self, status: GeneratorStatus) -> None:
        """See `Output`."""

    def is_wanted(self) -> bool:
        """See `Output`."""
        return True

    def close(self) -> None:
        """See `Output`."""
