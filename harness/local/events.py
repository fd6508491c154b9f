"""What happens to the environment, as JSON lines that others can follow while it runs."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol


class Emit(Protocol):
    """Report one event; its kind decides the further keys."""

    def __call__(self, kind: str, **keys: object) -> None:
        """Report it."""


class EventLog:
    """Appends events to a file that starts empty; each is on disk before `emit` returns."""

    def __init__(self, path: Path, wall_clock: Callable[[], float] = time.time) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1)
        self._wall_clock = wall_clock

    def emit(self, kind: str, **keys: object) -> None:
        """Write {"time_s", "kind", "source": "environment", ...} as one line."""
        event = {"time_s": self._wall_clock(), "kind": kind, "source": "environment", **keys}
        self._file.write(json.dumps(event) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
