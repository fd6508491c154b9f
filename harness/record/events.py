"""The events of a run: one JSON object a line, appended by several processes at once."""

import json
import os
from pathlib import Path

from analysis.records.schema import EVENT_KINDS, EVENT_SOURCES
from harness.record.disk import writing
from harness.record.secrets import refuse_secrets


class EventLog:
    """Appends events to one file.

    Every line is one write to a file opened with O_APPEND, so lines of several processes and
    threads never mix, and a line that was written survives a kill of its process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(path):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, kind: str, *, source: str, time_s: float, **fields: object) -> None:
        """Append one event.

        Args:
            kind: a key of `EVENT_KINDS`; its further keys must all be among `fields`.
            source: one of `EVENT_SOURCES`.
            time_s: when it happened, seconds since the epoch.
            fields: JSON values.

        Raises:
            ValueError: an unknown kind or source, or a missing key.
            UsageError: a key looks like a secret.
            HeadroomError: the disk is full or read-only.
        """
        if kind not in EVENT_KINDS:
            raise ValueError(f"unknown event kind '{kind}'")
        if source not in EVENT_SOURCES:
            raise ValueError(f"unknown event source '{source}'")
        missing = [key for key in EVENT_KINDS[kind] if key not in fields]
        if missing:
            raise ValueError(f"event '{kind}' needs {', '.join(missing)}")
        refuse_secrets(fields, where="the events")
        event = {"time_s": time_s, "kind": kind, "source": source, **fields}
        line = json.dumps(event, allow_nan=False) + "\n"
        with writing(self._path):
            os.write(self._descriptor, line.encode())

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
