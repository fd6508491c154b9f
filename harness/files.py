"""Reading and writing files, with every `OSError` told as one sentence that says what to do."""

import errno
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mwaa_headroom.harness.errors import UsageError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another directory",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another directory",
    errno.EROFS: "the file system is read-only; choose another directory",
    errno.EACCES: "permission is denied; choose a directory that you may write to",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn every `OSError` of the block into a `UsageError` that names `path`."""
    try:
        yield
    except OSError as exc:
        advice = _ADVICE.get(exc.errno or 0, exc.strerror or str(exc))
        raise UsageError(f"Cannot write '{path}': {advice}.") from exc


def read_text(path: Path, what: str, error: type[UsageError]) -> str:
    """The text of a file; `what` it is, such as "scenario file", goes into the `error` raised."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise error(f"There is no {what} '{path}'.") from exc
    except OSError as exc:
        raise error(f"Cannot read '{path}': {exc.strerror}.") from exc
    except UnicodeDecodeError as exc:
        raise error(f"{path} is not a text file in UTF-8.") from exc


def read_toml(path: Path, what: str, error: type[UsageError]) -> dict[str, Any]:
    """The content of a TOML file; see `read_text`."""
    try:
        return tomllib.loads(read_text(path, what, error))
    except tomllib.TOMLDecodeError as exc:
        raise error(f"{path} is not valid TOML: {exc}.") from exc
