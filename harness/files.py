"""Reading and writing files, with every `OSError` told as one sentence that says what to do."""

import codecs
import errno
import os
import stat
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
    errno.EISDIR: "it is a directory; give a file",
    errno.ENOENT: "its folder is not there, nor can it be made; choose another directory",
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


_READING_ADVICE: Final = {
    errno.EISDIR: "it is a directory; give a file",
    errno.ENOTDIR: "a part of that path is a file",
    errno.EACCES: "permission is denied; give a file that you may read",
    errno.ELOOP: "its links lead in a circle",
    errno.ENAMETOOLONG: "its name is too long",
}


def reading_advice(error: OSError) -> str:
    """Why something cannot be read, and what to do."""
    return _READING_ADVICE.get(error.errno or 0) or f"{error.strerror or error}; give another file"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path`, made durable and renamed in the end: `path` is never half written."""
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        try:
            yield part
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


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
        content = _content(path)
    except FileNotFoundError as exc:
        raise error(f"There is no {what} '{path}'.") from exc
    except OSError as exc:
        raise error(f"Cannot read '{path}': {reading_advice(exc)}.") from exc
    except ValueError as exc:  # a NUL in its name, or no file
        raise error(f"Cannot read '{path}': {exc}.") from exc
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


def _content(path: Path) -> bytes:
    """Of a file, or of a pipe such as a shell's `<(...)`; one without a writer is not waited for.

    Raises:
        ValueError: it is a device, or nobody writes into the pipe.
    """
    mode = path.stat().st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return path.read_bytes()
    if not stat.S_ISFIFO(mode):
        raise ValueError("it is a device; give a file")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as pipe:
        try:
            first = os.read(pipe.fileno(), 1)
        except BlockingIOError:  # its writer is at work
            first = None
        if first == b"":
            raise ValueError("it is a pipe into which nobody writes; give a file")
        os.set_blocking(pipe.fileno(), True)
        return (first or b"") + pipe.read()


def read_toml(path: Path, what: str, error: type[UsageError]) -> dict[str, Any]:
    """The content of a TOML file; see `read_text`."""
    try:
        return tomllib.loads(read_text(path, what, error))
    except ValueError as exc:  # numbers of thousands of digits too
        raise error(f"{path} is not valid TOML: {exc}.") from exc
    except RecursionError as exc:
        raise error(f"{path} is not valid TOML: it is nested too deeply.") from exc
