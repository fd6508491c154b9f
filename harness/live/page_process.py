"""The process that serves the page of a run (`page`), as the run sees it."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from mwaa_headroom.harness.errors import HeadroomError

_LONGEST_END_S = 10.0
LONGEST_STAY_S = 3600.0
STOP = "stop"


class LivePage:
    """A page that is served. It going away, however it does, changes nothing in the run."""

    def __init__(self, process: subprocess.Popen[str], orders: IO[str], address: str) -> None:
        self.address = address
        self._process = process
        self._orders = orders
        self._is_over = threading.Event()

    def recording(self, directory: Path) -> None:
        """Show the run with this record."""
        self._order(f"directory {directory.resolve()}")

    def report(self, page: Path) -> None:
        """The run is over: show its report, and stop nothing any more."""
        self._is_over.set()
        self._order(f"report {page.resolve()}")

    def listen(self, lines: IO[str]) -> None:
        """In a thread of its own: end the run in order when the page asks for it."""
        with lines:
            for line in lines:
                if line.strip() == STOP and not self._is_over.is_set():
                    # As Ctrl-C, but also where that is ignored, in the background of a shell. To
                    # the main thread, whose waits it interrupts.
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)

    @property
    def is_served(self) -> bool:
        """False once its process is gone."""
        return self._process.poll() is None

    def stay(self) -> None:
        """Wait for Ctrl-C, at most an hour and while it is served."""
        with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
            self._process.wait(LONGEST_STAY_S)

    def _order(self, text: str) -> None:
        with suppress(OSError):
            self._orders.write(text + "\n")
            self._orders.flush()


@contextmanager
def live_page() -> Iterator[LivePage]:
    """Serve a page until the end of the block.

    Raises:
        HeadroomError: it could not be started.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "mwaa_headroom.harness.live.page"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C is the run's
    )
    orders, lines = process.stdin, process.stdout
    if orders is None or lines is None:
        raise HeadroomError("The live page has no pipes.")
    try:
        address = lines.readline().strip()
        if not address:
            raise HeadroomError("The live page could not be started; run without --ui.")
        page = LivePage(process, orders, address)
        threading.Thread(target=page.listen, args=(lines,), daemon=True).start()
        yield page
    finally:
        with suppress(OSError):
            orders.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LONGEST_END_S)
        process.kill()
        process.wait()
