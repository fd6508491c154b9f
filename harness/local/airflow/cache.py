"""Folders that are built once, kept in the user's cache, and never taken for finished when not."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import EnvironmentStartError

COMPLETE = ".complete"
_POLL_S = 0.5
_LOCK_TIMEOUT_S = 20 * 60.0


def cache_home() -> Path:
    """Where this project caches: $XDG_CACHE_HOME/headroom or ~/.cache/headroom."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "headroom"


def build_once(folder: Path, build: Callable[[Path], None], *, waiting: Callable[[], None]) -> None:
    """Have `build` fill `folder`, unless somebody already did.

    Built in place, because a virtual environment cannot be moved; what a killed build has left
    is cleared by the next one.

    Args:
        folder: the result; its name must change whenever the result would.
        build: fills the empty folder.
        waiting: called once if another process is building the same folder.

    Raises:
        EnvironmentStartError: the folder cannot be made, or the other process takes for ever.
    """
    if (folder / COMPLETE).exists():
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.lock"), waiting):
            if (folder / COMPLETE).exists():
                return
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir()
            build(folder)
            (folder / COMPLETE).touch()
    except OSError as exc:
        raise EnvironmentStartError(
            f"Cannot write to the cache folder '{folder}' ({exc.strerror or exc}): make room there"
            " or set XDG_CACHE_HOME to a folder you can write to."
        ) from exc


@contextmanager
def _locked(file: Path, waiting: Callable[[], None]) -> Iterator[None]:
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    announced = False
    with file.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > deadline:
                    raise EnvironmentStartError(
                        f"Another process has held '{file}' for {_LOCK_TIMEOUT_S / 60:.0f} minutes:"
                        " end it and try again."
                    ) from exc
            if not announced:
                waiting()
                announced = True
            time.sleep(_POLL_S)
        yield
