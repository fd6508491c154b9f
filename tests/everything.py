"""All that `make test` checks, side by side where it does not disturb each other.

What a command prints is shown in one piece when it has ended. What measures comes last and alone.
Ctrl-C and SIGTERM end everything.
"""

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
QUICKSTART = (
    "tests/run/test_airflow_run.py::test_the_quickstart_answers_with_a_scale_out_on_the_way"
)

KNOWN_TRUTH = "tests/run/test_known_truth.py"
TWO_SENDERS = "tests/run/test_distributed_run.py::test_two_processes_share_one_schedule"
APART = (f"--ignore={KNOWN_TRUTH}", f"--deselect={TWO_SENDERS}")
AIRFLOW = "airflow and not versions"
BY_FILE = ("-n", "4", "--dist", "loadfile", "--no-loadscope-reorder")

Command = tuple[str, ...]
Lane = Sequence[Command]  # one after another, until one fails


def files_with(mark: str) -> tuple[str, ...]:
    """The test files in which this mark occurs: collecting all others takes longer than they do."""
    return tuple(
        path.relative_to(ROOT).as_posix()
        for path in sorted(ROOT.glob("tests/**/test_*.py"))
        if f"mark.{mark}" in path.read_text(encoding="utf-8")
    )


LANES: tuple[Lane, ...] = (
    (
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        # One queue of files: whichever process is free takes the next one.
        ("pytest", "-m", "not airflow", *APART, *BY_FILE),
    ),
    (
        ("mypy",),
        # Installs Airflow first.
        ("pytest", *files_with("airflow"), "-m", AIRFLOW, "--deselect", QUICKSTART),
    ),
)
LAST: Lane = (("pytest", KNOWN_TRUTH, TWO_SENDERS, QUICKSTART),)
ENDING_S = 30.0  # interrupted tests end what they have started


class Commands:
    """Runs commands from several threads, and ends them all at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ending = False
        self.missing: list[str] = []  # what was not tested for want of something on this machine

    def run(self, lane: Lane) -> bool:
        """Whether all commands of the lane succeeded."""
        return all(self._run(command) for command in lane)

    def end(self) -> None:
        """End what runs, as Ctrl-C would, and start nothing more."""
        with self._lock:
            self._ending = True
            running = tuple(self._running)
        for process in running:
            _send(process, signal.SIGINT)
        deadline_s = time.monotonic() + ENDING_S
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline_s - time.monotonic(), 0))
            _send(process, signal.SIGKILL)

    def _run(self, command: Command) -> bool:
        title = shlex.join(command)
        began_s = time.monotonic()
        with tempfile.TemporaryFile() as output:
            with self._lock:
                if self._ending:
                    return False
                _say(f"... {title}")
                process = subprocess.Popen(
                    [BIN / command[0], *command[1:]],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a group of its own, to be ended as one
                )
                self._running.add(process)
            exit_code = process.wait()
            output.seek(0)
            text = output.read().decode(errors="replace").rstrip()
        with self._lock:
            self._running.remove(process)
            _say(f"\n$ {title}  # exit code {exit_code}, {time.monotonic() - began_s:.0f} s")
            _say(text)
            self.missing += [line for line in text.splitlines() if "tests were not run" in line]
        return exit_code == 0


def _send(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - for whoever called `make test`


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """The exit code: 0 only if every command succeeded."""
    # Set, because a shell that runs us in the background has Ctrl-C ignored and hands that down.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    commands = Commands()
    with ThreadPoolExecutor(len(LANES)) as threads:
        try:
            passed = all(list(threads.map(commands.run, LANES)))
            passed = passed and threads.submit(commands.run, LAST).result()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            commands.end()
            return 130
    for line in commands.missing:
        _say(f"MISSING: {line}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
