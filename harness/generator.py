"""Starts the load generator, Locust, as a process of its own and listens to it.

Locust patches the standard library for gevent when it is imported, so it must never share a process
with the rest of the harness. The process writes its record into the run directory by itself; over
standard output comes one status line a second, and its log goes to `generator.log`.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.record.disk import writing

RUN_DIR_VARIABLE = "HEADROOM_RUN_DIR"
GENERATOR_LOG = "generator.log"
SCENARIO_FILE = "scenario.json"
LOCUSTFILE = Path(__file__).resolve().parents[1] / "locustfiles" / "invoke_rest_api.py"

EXIT_FINISHED = 0  # the schedule ran to its end
EXIT_FAILED = 1  # the generator itself broke; its log says why
EXIT_UNUSABLE = 2  # the run directory, or the scenario in it, cannot be used
EXIT_ABORTED = 5  # an abort rule of the scenario's limits fired
EXIT_INTERRUPTED = 130  # SIGTERM, SIGINT, or the parent process is gone


@dataclass(frozen=True, slots=True)
class GeneratorStatus:
    """One status line. Counts are of the whole run so far."""

    time_s: float  # epoch
    stage: int  # index; -1: none has started
    stage_name: str
    elapsed_s: float  # since the stage started
    arrivals: int  # due so far, unsent ones included
    sent: int
    unsent: int
    ok: int
    errors: int  # sent calls that ended otherwise
    in_flight: int
    rate_per_s: float  # calls sent per second since the line before
    cpu_fraction: float  # of one core, since the line before


class Generator:
    """The load process of one run.

    Args:
        run_dir: holds `scenario.json` and `targets.json`; the record is written there.
        variables: the process's environment (endpoints, credentials, ...); settings of the user's
            own for Locust (LOCUST_...) are left out, because the scenario says it all.
    """

    def __init__(self, run_dir: Path, variables: Mapping[str, str]) -> None:
        self._run_dir = run_dir.absolute()
        inherited = {
            key: value for key, value in variables.items() if not key.startswith("LOCUST_")
        }
        self._variables = {**inherited, RUN_DIR_VARIABLE: str(self._run_dir)}
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._latest: GeneratorStatus | None = None

    def start(self) -> None:
        """Start the process and return at once.

        Raises:
            HeadroomError: its log cannot be opened.
        """
        # -P and the run directory as the working directory: Python would import, and Locust read
        # its settings, from wherever the user happens to be.
        command = [sys.executable, "-P", "-m", "locust", "--headless", "--only-summary"]
        log_file = self._run_dir / GENERATOR_LOG
        with writing(log_file):
            opened = log_file.open("ab")
        with opened as log:
            self._process = subprocess.Popen(
                [*command, "-f", str(LOCUSTFILE)],
                env=self._variables,
                cwd=self._run_dir,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Ctrl-C in the terminal must reach the run first, which then stops us in order.
                start_new_session=True,
            )
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name="generator-status", daemon=True
        )
        self._reader.start()

    def latest(self) -> GeneratorStatus | None:
        """The newest status line; None before the first."""
        return self._latest

    def is_running(self) -> bool:
        """Whether the process has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def request_stop(self) -> None:
        """Ask it to send nothing more, drain, write everything and exit."""
        if self._process is not None:
            self._process.terminate()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for its end and return one of the EXIT codes.

        Raises:
            TimeoutError: it still runs after `timeout_s`.
            RuntimeError: it was never started.
        """
        if self._process is None or self._reader is None:
            raise RuntimeError("the generator was not started")
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as exc:
            raise TimeoutError(f"the generator still runs after {timeout_s:g} s") from exc
        self._reader.join()
        return code

    def kill(self) -> None:
        """End it at once; at most the last second or two of its record is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _read(self, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                # Locust or a library may print something of its own; that is no status.
                with suppress(ValueError, TypeError):
                    self._latest = GeneratorStatus(**json.loads(line))
