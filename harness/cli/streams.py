"""Standard output and standard error as they are: in any encoding, closed, full, or read by `head`.

What the encoding has no character for is written as a plain one that means the same, or else as its
escape. A reader that has gone has read what it wanted: the command goes on and ends with its own
exit code. Nothing that happens to standard error ends a command.
"""

import codecs
import io
import os
import select
import sys
from contextlib import suppress
from typing import Any, Final, TextIO

from mwaa_headroom.analysis.report.controls import escape_controls
from mwaa_headroom.harness.errors import UsageError

_OUTPUT, _ERRORS = 1, 2  # file descriptors
_FALLBACK: Final = "headroom.fallback"
_PLAIN: Final = {"✓": "v", "✗": "x", "±": "+-", "…": "..."}
_NEEDED: Final = "".join(map(chr, range(32, 127))) + "✓\n"


def prepare_streams() -> None:
    """Replace both streams of this process, before anything is written to them."""
    for descriptor in (0, _OUTPUT, _ERRORS):
        try:
            os.fstat(descriptor)
        except OSError:  # else a file we open would get this number, and our messages with it
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = text_stream(_encoding(sys.stdout), _OUTPUT)
    sys.stderr = text_stream(_encoding(sys.stderr), _ERRORS)


def text_stream(encoding: str, descriptor: int) -> io.TextIOWrapper:
    """A stream to an open file that takes any text; one whose codec cannot is written in ASCII."""
    return io.TextIOWrapper(
        io.BufferedWriter(_Sink(descriptor)),
        encoding=encoding if _carries_text(encoding) else "ascii",
        errors=_FALLBACK,
        line_buffering=descriptor == _ERRORS or os.isatty(descriptor),
    )


def say(text: str) -> None:
    """Print a line on standard output; a terminal shows what it would else obey."""
    print(escape_controls(text))


def say_aside(text: str) -> None:
    """The same on standard error."""
    print(escape_controls(text), file=sys.stderr, flush=True)


def is_read() -> bool:
    """False once the reader of standard output is known to be gone."""
    below = getattr(sys.stdout.buffer, "raw", None)
    return not (isinstance(below, _Sink) and below.is_lost)


class _Sink(io.FileIO):
    """The file below a standard stream; once something could not be written, nothing is."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.is_lost = False

    def write(self, data: Any) -> int:
        """Write what can be.

        Raises:
            UsageError: the first time that standard output cannot be written, on a full disk say.
        """
        try:
            while not self.is_lost:
                written = super().write(data)
                if written is not None:
                    return written
                select.select([], [self], [])  # somebody made it non-blocking
        except OSError as exc:
            self.is_lost = True
            if self.fileno() == _OUTPUT and not isinstance(exc, BrokenPipeError):
                raise UsageError(
                    f"Cannot write to standard output: {exc.strerror}; send it elsewhere."
                ) from exc
        return len(data)


def _encoding(stream: TextIO | None) -> str:
    return "utf-8" if stream is None else stream.encoding


def _carries_text(encoding: str) -> bool:
    """Some codecs know too few characters, or take no error handler."""
    with suppress(UnicodeError):
        _NEEDED.encode(encoding, _FALLBACK)
        return True
    return False


def _in_plain_characters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    plain = (_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lost)
    return "".join(plain), error.end


codecs.register_error(_FALLBACK, _in_plain_characters)
