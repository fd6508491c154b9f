"""What is shown while a run goes on: live lines on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.text import Text

from mwaa_headroom.analysis.report.controls import escape_controls
from mwaa_headroom.harness.run.progress import LoadStatus

PLAIN_INTERVAL_S = 10.0  # in a log file, a line every now and then is enough


class ConsoleProgress:
    """A `Progress` on a console: a line per step, each with the time since the start.

    Args:
        console: where lines go.
        quiet: show nothing but notes.
        spinner: shows the step or the load below the lines; None: no terminal, so that the load
            is a line every ten seconds.
        clock: seconds from any fixed point.
    """

    def __init__(
        self,
        console: Console,
        *,
        quiet: bool = False,
        spinner: Status | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._quiet = quiet
        self._spinner = spinner
        self._clock = clock
        self._began_s = clock()
        self._last_count_s = float("-inf")

    def step(self, text: str) -> None:
        """Print a line that stays, and spin on it."""
        if not self._quiet:
            self._print(text)
        if self._spinner is not None:
            self._spinner.update(Text(escape_controls(text)))

    def note(self, text: str) -> None:
        """Print a marked line."""
        self._print(f"note: {text}")

    def load(self, status: LoadStatus) -> None:
        """Show the load as it is now."""
        self.count(load_line(status))

    def count(self, text: str) -> None:
        """Update the bottom line, or print one when the last one is long enough ago."""
        if self._spinner is not None:
            self._spinner.update(Text(escape_controls(text)))
        elif not self._quiet and self._clock() - self._last_count_s >= PLAIN_INTERVAL_S:
            self._last_count_s = self._clock()
            self._print(text)

    def _print(self, text: str) -> None:
        elapsed_s = int(self._clock() - self._began_s)
        line = f"{elapsed_s // 60:02d}:{elapsed_s % 60:02d}  {escape_controls(text)}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=True, emoji=False)


def load_line(status: LoadStatus) -> str:
    """The load in one line, for people."""
    servers = "?" if status.webservers is None else str(status.webservers)
    cpu = "?" if status.cpu_percent is None else f"{status.cpu_percent:.0f} %"
    unsent = f", {status.unsent} unsent" if status.unsent else ""
    by_rate = f"{status.rate_per_s or 0:g} calls/s asked"
    asked = by_rate if status.users is None else f"{status.users} users"
    return (
        f"stage {status.stage + 1}/{status.stages} {status.stage_name}: "
        f"{asked}, {status.sent} sent, {status.errors} failed"
        f"{unsent}, {status.in_flight} in flight, {servers} webservers at {cpu} CPU, "
        f"{status.remaining_s:.0f} s to go"
    )


@contextmanager
def console_progress(*, quiet: bool) -> Iterator[ConsoleProgress]:
    """The progress that fits standard error: live on a terminal, plain elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal and not quiet:
        with console.status("Starting") as spinner:
            yield ConsoleProgress(console, spinner=spinner)
    else:
        yield ConsoleProgress(console, quiet=quiet)
