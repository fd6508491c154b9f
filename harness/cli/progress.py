"""What is shown while a run goes on: live lines on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

from mwaa_headroom.harness.run.progress import LoadStatus, Narrator

PLAIN_INTERVAL_S = 10.0  # in a log file, a line every now and then is enough


class TimedLines:
    """Lines on the console, each with the time since the start."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._began_s = clock()

    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._began_s

    def print(self, text: str) -> None:
        """Print one line."""
        elapsed_s = int(self.elapsed_s())
        line = f"{elapsed_s // 60:02d}:{elapsed_s % 60:02d}  {text}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class QuietNarrator:
    """Says nothing but notes."""

    def __init__(self, lines: TimedLines) -> None:
        self._lines = lines

    def step(self, text: str) -> None:
        """Stay quiet."""

    def note(self, text: str) -> None:
        """Say what the user should know."""
        self._lines.print(f"note: {text}")

    def load(self, status: LoadStatus) -> None:
        """Stay quiet."""


class PlainNarrator:
    """One line a step and, under load, one every ten seconds: for logs and pipes."""

    def __init__(self, lines: TimedLines) -> None:
        self._lines = lines
        self._last_load_s = float("-inf")

    def step(self, text: str) -> None:
        """Print a line."""
        self._lines.print(text)

    def note(self, text: str) -> None:
        """Print a marked line."""
        self._lines.print(f"note: {text}")

    def load(self, status: LoadStatus) -> None:
        """Print a line when the last one is long enough ago."""
        if self._lines.elapsed_s() - self._last_load_s >= PLAIN_INTERVAL_S:
            self._last_load_s = self._lines.elapsed_s()
            self._lines.print(load_line(status))


class LiveNarrator:
    """Steps as lines that stay; a spinner with the step or the load below them."""

    def __init__(self, lines: TimedLines, spinner: Status) -> None:
        self._lines = lines
        self._spinner = spinner

    def step(self, text: str) -> None:
        """Keep the step as a line and spin on it."""
        self._lines.print(text)
        self._spinner.update(text)

    def note(self, text: str) -> None:
        """Print a marked line."""
        self._lines.print(f"note: {text}")

    def load(self, status: LoadStatus) -> None:
        """Update the bottom line."""
        self._spinner.update(load_line(status))


def load_line(status: LoadStatus) -> str:
    """The load in one line, for people."""
    servers = "?" if status.webservers is None else str(status.webservers)
    cpu = "?" if status.cpu_percent is None else f"{status.cpu_percent:.0f} %"
    trouble = f", {status.unsent} unsent" if status.unsent else ""
    by_rate = f"{status.rate_per_s or 0:g} calls/s asked"
    asked = by_rate if status.users is None else f"{status.users} users"
    return (
        f"stage {status.stage + 1}/{status.stages} {status.stage_name}: "
        f"{asked}, {status.sent} sent, {status.errors} failed"
        f"{trouble}, {status.in_flight} in flight, {servers} webservers at {cpu} CPU, "
        f"{status.remaining_s:.0f} s to go"
    )


@contextmanager
def make_narrator(*, quiet: bool) -> Iterator[Narrator]:
    """The narrator that fits standard error: live on a terminal, plain elsewhere."""
    console = Console(stderr=True)
    lines = TimedLines(console)
    if quiet:
        yield QuietNarrator(lines)
    elif console.is_terminal:
        with console.status("Starting") as spinner:
            yield LiveNarrator(lines, spinner)
    else:
        yield PlainNarrator(lines)
