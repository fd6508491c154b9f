"""Reading and writing files, with every `OSError` told as one sentence that says what to do."""

import codecs
import errno
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mwaa_headroom.harness.errors import UsageError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another directory",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another directory",
    errno.EROFS: "the file system is read-only; choose another directory",
    errno.EEXIST: "it is a file; choose a directory",
    errno.ENOTDIR: "a part of that path is a file; choose another directory",
    errno.ENOENT: "its folder is not there; choose another directory",
    errno.ELOOP: "it is a link to elsewhere; remove that first",
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


# How files begin that are mistaken for text.
_NO_TEXT: Final = {
    codecs.BOM_UTF16_LE: "in UTF-16: save it as UTF-8",
    codecs.BOM_UTF16_BE: "in UTF-16: save it as UTF-8",
    b"\x1f\x8b": "compressed: unpack it first",
    b"PK\x03\x04": "a ZIP file or spreadsheet: unpack it, or export it as text",
}


def read_text(path: Path, what: str, error: type[UsageError]) -> str:
    """The text of a file in UTF-8, with or without a byte order mark, its lines ending in LF.

    Args:
        path: of the file.
        what: it is, such as "scenario file".
        error: what to raise, as one sentence, if it cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as exc:
        raise error(f"There is no {what} '{path}'.") from exc
    except (OSError, ValueError) as exc:  # ValueError: a NUL in its name
        raise error(f"Cannot read '{path}': {getattr(exc, 'strerror', exc)}.") from exc
    for beginning, what_it_is in _NO_TEXT.items():
        if content.startswith(beginning):
            raise error(f"{path} is {what_it_is}.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise error(f"{path} line {line} is not text in UTF-8; save it as UTF-8.") from exc
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise error(f"{path} line {line} has a NUL character, so it is not text in UTF-8.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_toml(path: Path, what: str, error: type[UsageError]) -> dict[str, Any]:
    """The content of a TOML file; see `read_text`."""
    try:
        return tomllib.loads(read_text(path, what, error))
    except ValueError as exc:  # numbers of thousands of digits too
        raise error(f"{path} is not valid TOML: {exc}.") from exc
    except RecursionError as exc:
        raise error(f"{path} is not valid TOML: it is nested too deeply.") from exc
