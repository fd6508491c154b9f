"""Folders that are built once, kept in the user's cache, and never taken for finished when not."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from harness.errors import EnvironmentStartError
from harness.local.processes import Children

COMPLETE = ".complete"
_POLL_S = 0.5
_LOCK_TIMEOUT_S = 20 * 60.0


def cache_home() -> Path:
    """Where this project caches: $XDG_CACHE_HOME/headroom or ~/.cache/headroom."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "headroom"


def build_once(
    folder: Path,
    build: Callable[[Path], None],
    *,
    children: Children,
    waiting: Callable[[], None],
) -> None:
    """Have `build` fill `folder`, unless somebody already did.

    Built in place, because a virtual environment cannot be moved; what a killed build has left
    is cleared by the next one.

    Args:
        folder: the result; its name must change whenever the result would.
        build: fills the empty folder.
        children: once they are stopped, waiting ends too.
        waiting: called once if another process is building the same folder.

    Raises:
        EnvironmentStartError: the folder cannot be made, or the other process takes for ever.
    """
    if (folder / COMPLETE).exists():
        return
    with _writing_to(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f"{folder.name}.lock").open("w")
    with lock:
        _acquire(lock, children, waiting)
        if (folder / COMPLETE).exists():
            return
        with _writing_to(folder):
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir()
        build(folder)
        with _writing_to(folder):
            (folder / COMPLETE).touch()


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise EnvironmentStartError(
            f"Cannot write to the cache folder '{folder}' ({exc.strerror}): make room there or set"
            " XDG_CACHE_HOME to a folder you can write to."
        ) from exc


def _acquire(lock: TextIO, children: Children, waiting: Callable[[], None]) -> None:
    """Lock the file; closing it, or dying, unlocks it."""
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    announced = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() > deadline:
                raise EnvironmentStartError(
                    f"Another process has held '{lock.name}' for {_LOCK_TIMEOUT_S / 60:.0f}"
                    " minutes: end it and try again."
                ) from exc
        else:
            return
        if not announced:
            waiting()
            announced = True
        children.ensure_not_stopped()
        time.sleep(_POLL_S)
