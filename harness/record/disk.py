"""Files that a full or read-only disk ends with one sentence."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HeadroomError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another directory",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another directory",
    errno.EROFS: "the file system is read-only; choose another directory",
    errno.EACCES: "permission is denied; choose a directory that you may write to",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn every `OSError` of the block into a `HeadroomError` that names `path`."""
    try:
        yield
    except OSError as exc:
        advice = _ADVICE.get(exc.errno or 0, exc.strerror or str(exc))
        raise HeadroomError(f"Cannot write '{path}': {advice}.") from exc
