"""What is shown while a run goes on: live lines on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from mwaa_headroom.analysis.report.controls import escape_controls
from mwaa_headroom.harness.cli.live_view import FEWEST_COLUMNS, FEWEST_LINES, live_panel
from mwaa_headroom.harness.live.state import LiveReader
from mwaa_headroom.harness.run.progress import LoadStatus

LIVE_INTERVAL_S = 0.9  # the record grows once a second
PLAIN_INTERVAL_S = 10.0  # in a log file, a line every now and then is enough


class ConsoleProgress:
    """A `Progress` on a console: a line per step, each with the time since the start.

    Args:
        console: where lines go.
        quiet: show nothing but notes.
        live: shows the step or the load below the lines; None: no terminal, so that the load is
            a line every ten seconds.
        clock: seconds from any fixed point.
        told_of_record: called with the run directory once there is one.
    """

    def __init__(
        self,
        console: Console,
        *,
        quiet: bool = False,
        live: Live | None = None,
        clock: Callable[[], float] = time.monotonic,
        told_of_record: Callable[[Path], None] = lambda _: None,
    ) -> None:
        self._console = console
        self._quiet = quiet
        self._live = live
        self._reader: LiveReader | None = None
        self._clock = clock
        self._told_of_record = told_of_record
        self._began_s = clock()
        self._last_count_s = float("-inf")

    def step(self, text: str) -> None:
        """Print a line that stays, and spin on it."""
        if not self._quiet:
            self._print(text)
        if self._live is not None:
            self._live.update(_spinner(text))

    def note(self, text: str) -> None:
        """Print a marked line."""
        self._print(f"note: {text}")

    def load(self, status: LoadStatus) -> None:
        """Show the load as it is now."""
        if self._live is None or self._reader is None:
            self.count(load_line(status))
        elif self._clock() - self._last_count_s >= LIVE_INTERVAL_S:
            self._last_count_s = self._clock()
            self._show_record(self._live, self._reader)

    def recording(self, directory: Path) -> None:
        """Show, from now on, what is in the record."""
        self._told_of_record(directory)
        if self._live is not None:
            self._reader = LiveReader(directory)

    def _show_record(self, live: Live, reader: LiveReader) -> None:
        try:
            live.update(live_panel(reader.read(time.time()), self._console.width))
        except Exception as exc:  # a defect of what is only looked at must not end a load
            self._reader = None
            self.note(f"The live view stands still, the run goes on: {exc!r}")

    def count(self, text: str) -> None:
        """Update the bottom line, or print one when the last one is long enough ago."""
        if self._live is not None:
            self._live.update(_spinner(text))
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


def _spinner(text: str) -> Spinner:
    return Spinner("line", Text(escape_controls(text)), speed=0.3)


@contextmanager
def console_progress(
    *, quiet: bool, told_of_record: Callable[[Path], None] = lambda _: None
) -> Iterator[ConsoleProgress]:
    """The progress that fits standard error: live on a terminal with room for it, else plain."""
    console = Console(stderr=True)
    if quiet or not _can_be_live(console):
        yield ConsoleProgress(console, quiet=quiet, told_of_record=told_of_record)
        return
    with Live(
        _spinner("Starting"),
        console=console,
        refresh_per_second=2,
        transient=True,
        vertical_overflow="crop",
    ) as live:
        yield ConsoleProgress(console, live=live, told_of_record=told_of_record)


def _can_be_live(console: Console) -> bool:
    has_room = console.width >= FEWEST_COLUMNS and console.height >= FEWEST_LINES
    is_unicode = console.encoding.startswith("utf")
    return console.is_terminal and not console.is_dumb_terminal and has_room and is_unicode
