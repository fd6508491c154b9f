"""The processes that send the load: how many, where they meet, how they start, what they tell.

They are Locust's. Locust patches the standard library for gevent when it is imported, so it must
never share a process with the rest of the harness. One process sends by itself. Several are a
master and workers: the master tells what to do, keeps the record and sends nothing itself. They
meet on a TCP port of Locust's that is neither authenticated nor encrypted: loopback, or a private
network.

The one process, or the master, writes the record into the run directory; over its standard output
comes one status line a second, and its log goes to `generator.log`, that of the workers on this
machine to `generator-worker-<i>.log`.
"""

import ipaddress
import json
import math
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from mwaa_headroom.harness.errors import EnvironmentAccessError, UsageError
from mwaa_headroom.harness.files import writing

if TYPE_CHECKING:  # slow to import, and commands need the names below for their help
    from mwaa_headroom.harness.aws.credentials import KeySource
    from mwaa_headroom.harness.scenario.model import Scenario

RUN_DIR_VARIABLE = "HEADROOM_RUN_DIR"
PARENT_VARIABLE = "HEADROOM_PARENT"  # the process that a load process must not outlive
HANDED_KEYS_VARIABLE = "HEADROOM_KEYS_ON_STDIN"  # set: a load process gets its AWS keys there
ALLOW_VARIABLE = "HEADROOM_ALLOW_ENVIRONMENT"  # the one ARN that a worker may load

LOCUSTFILE = Path(__file__).resolve().parents[2] / "locustfiles" / "invoke_rest_api.py"
GENERATOR_LOG = "generator.log"
SCENARIO_FILE = "scenario.json"

EXIT_FINISHED = 0  # the schedule ran to its end
EXIT_FAILED = 1  # the generator itself broke; its log says why
EXIT_UNUSABLE = 2  # the run directory, or the scenario in it, cannot be used
EXIT_ABORTED = 5  # an abort rule of the scenario's limits fired
EXIT_INTERRUPTED = 130  # SIGTERM, SIGINT, or the parent process is gone

DEFAULT_MASTER_PORT = 5557  # Locust's
MOST_PROCESSES = 64
WAIT_FOR_WORKERS_S = 120.0
START_S = 60.0  # until a generator has imported everything and is sending
MASTER_WAITS_LONGER_S = 30.0  # than we do, so that it is we who say what was waited for
WORKERS_LEAVE_S = 5.0  # after the master has told them to, or is gone
LOOK_FOR_KEYS_EVERY_S = 1.0
TERMINATED_WITHIN_S = 5.0  # of being asked to end; then a process is killed


@dataclass(frozen=True, slots=True)
class GeneratorStatus:
    """One status line. Counts are of the whole run so far, over all processes that send."""

    time_s: float  # epoch
    stage: int | None  # index; below 0: the recovery after stage -1 - `stage`; None: none yet
    stage_name: str
    elapsed_s: float  # since the stage started
    arrivals: int  # due so far, unsent ones included
    sent: int
    unsent: int
    ok: int
    errors: int  # sent calls that ended otherwise
    in_flight: int
    rate_per_s: float  # calls sent per second since the line before
    cpu_fraction: float  # of one core, since the line before; of the busiest process that sends
    workers_lost: int = 0


@dataclass(frozen=True, slots=True)
class LoadProcesses:
    """How many processes send, and where they meet.

    Attributes:
        processes: on this machine, started by the run.
        remote_workers: above 0: so many `headroom worker` are started by somebody else instead.
        bind_host: IPv4 address at which remote workers find the master.
        port: for remote workers; None: Locust's own.
        wait_s: how long the master waits until all workers are ready.
    """

    processes: int = 1
    remote_workers: int = 0
    bind_host: str = "127.0.0.1"
    port: int | None = None
    wait_s: float = WAIT_FOR_WORKERS_S

    @property
    def is_remote(self) -> bool:
        """Whether the workers are started by somebody else."""
        return self.remote_workers > 0

    @property
    def workers(self) -> int:
        """How many processes send."""
        return self.remote_workers or self.processes

    @property
    def has_master(self) -> bool:
        """Whether a process of its own directs those that send."""
        return self.is_remote or self.processes > 1

    @property
    def remote_port(self) -> int:
        """At which remote workers find the master."""
        return self.port or DEFAULT_MASTER_PORT

    @property
    def master_address(self) -> str:
        """Where remote workers find the master, in words for people."""
        is_anywhere = ipaddress.ip_address(self.bind_host).is_unspecified
        host = "ADDRESS-OF-THIS-MACHINE" if is_anywhere else self.bind_host
        return f"{host}:{self.remote_port}"

    @property
    def is_on_loopback(self) -> bool:
        """Whether only this machine can reach the master."""
        return ipaddress.ip_address(self.bind_host).is_loopback

    def require_fitting(self, scenario: "Scenario") -> None:
        """Refuse, before anything else is started, what could not carry out the scenario.

        Raises:
            UsageError: one sentence that says what to change.
        """
        most = scenario.limits.max_in_flight
        if self.workers > most:
            raise UsageError(
                f"{self.workers} processes cannot share limits.max_in_flight = {most}: raise it, "
                "or use fewer."
            )
        if not self.is_remote:
            return
        kind = scenario.environment.kind
        if kind != "aws" and not self.is_on_loopback:
            raise UsageError(
                f"An environment of kind '{kind}' can be reached only from this machine, and so "
                "must its workers: leave --bind out, or use --processes."
            )
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((self.bind_host, self.remote_port))
            except OSError as exc:
                raise UsageError(
                    f"Cannot wait for workers at {self.bind_host}:{self.remote_port} "
                    f"({exc.strerror}): give an address of this machine with --bind and a free "
                    "port with --port."
                ) from exc


class Generator:
    """The load processes of one run, from their start to their end.

    Args:
        run_dir: holds `scenario.json` and `targets.json`; the record is written there.
        variables: the environment of the processes (endpoints, credentials, ...).
        processes: how many there are, and where.
        keys: handed to those that send, now and whenever there are new ones; None: their variables
            say it all.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        run_dir: Path,
        variables: Mapping[str, str],
        processes: LoadProcesses = LoadProcesses(),
        *,
        keys: "KeySource | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run_dir = run_dir.absolute()
        self._variables = variables
        self._processes = processes
        self._keys = keys
        self._first_keys = b""
        self._ended = threading.Event()
        self.keys_problem = ""
        self._clock = clock
        self._started_s = 0.0
        self._main: subprocess.Popen[str] | None = None  # the master, or the only one
        self._workers: list[subprocess.Popen[str]] = []
        self._reader: threading.Thread | None = None
        self._latest: GeneratorStatus | None = None

    @property
    def longest_start_s(self) -> float:
        """After that it sends, or `problem_at_start` has said why it does not."""
        return 2 * START_S + self._processes.wait_s if self._processes.has_master else START_S

    def start(self) -> None:
        """Start the processes and return at once.

        Raises:
            HeadroomError: a log cannot be opened.
        """
        self._started_s = self._clock()
        try:
            self._start_all()
        except BaseException:  # load must not go on when nobody watches it
            self.kill()
            raise

    def latest(self) -> GeneratorStatus | None:
        """The newest status line; None before the first."""
        return self._latest

    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._main is not None and self._main.poll() is None

    def problem_at_start(self) -> str:
        """One sentence when the load will not begin because workers are missing; "": all is well.

        What happens to workers once the load has begun is the master's business.
        """
        processes, status = self._processes, self._latest
        if not processes.has_master or (status is not None and status.stage is not None):
            return ""
        for number, worker in enumerate(self._workers):
            if worker.poll():
                return (
                    f"Nothing was sent, because worker {number} of the load generator ended "
                    f"before the load began; {_worker_log(number)} says why."
                )
        # The first status line comes when the master has all its workers.
        if status is not None or self._clock() < self._started_s + processes.wait_s:
            return ""
        missing = f"fewer than {processes.workers} workers came within {processes.wait_s:g} s"
        if not processes.is_remote:
            return f"Nothing was sent, because {missing}; {GENERATOR_LOG} says more."
        return (
            f"Nothing was sent, because {missing}: start `headroom worker --master "
            f"{processes.master_address}` on each machine, and let it reach that address."
        )

    def logged_reason(self) -> str:
        """What the master, or the only process, logged as the reason of its end; "": nothing."""
        log = (self._run_dir / GENERATOR_LOG).read_text(encoding="utf-8", errors="replace")
        critical = re.findall(r"^\[.*?\] \S+/CRITICAL/\S+: (.*)$", log, flags=re.MULTILINE)
        return str(critical[-1]) if critical else ""

    def request_stop(self) -> None:
        """Ask it to send nothing more, drain, write everything and exit."""
        if self._main is not None:
            self._main.terminate()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for its end and return one of the EXIT codes; no local worker is left then.

        Raises:
            TimeoutError: it still runs after `timeout_s`.
            RuntimeError: it was never started.
        """
        if self._main is None or self._reader is None:
            raise RuntimeError("the generator was not started")
        try:
            code = self._main.wait(timeout_s)
        except subprocess.TimeoutExpired as exc:
            raise TimeoutError(f"the generator still runs after {timeout_s:g} s") from exc
        # One that was killed has told its workers nothing.
        end_all(self._workers, patience_s=WORKERS_LEAVE_S if code >= 0 else 0.0)
        self._reader.join()
        self._ended.set()
        for process in (self._main, *self._workers):
            if process.stdin is not None:
                process.stdin.close()
        return code

    def kill(self) -> None:
        """End it at once; at most the last second or two of its record is lost."""
        _kill_all([one for one in (self._main, *self._workers) if one is not None])

    def _start_all(self) -> None:
        processes, keys = self._processes, self._keys
        if keys is not None:
            self._first_keys = keys.line()
            threading.Thread(target=self._hand_over, args=(keys,), daemon=True).start()
        port = processes.remote_port if processes.is_remote else reserve_port()
        self._main = self._start_one(
            locust_command("--headless", "--only-summary", *self._master_options(port)),
            locust_variables(self._variables, self._run_dir),
            GENERATOR_LOG,
            stdout=subprocess.PIPE,
            sends=not processes.has_master,
        )
        self._reader = threading.Thread(
            target=self._read, args=(self._main.stdout,), name="generator-status", daemon=True
        )
        self._reader.start()
        if not processes.has_master or processes.is_remote:
            return
        for number in range(processes.processes):
            worker = self._start_one(
                worker_command("127.0.0.1", port),
                locust_variables(self._variables),
                _worker_log(number),
                stdout=subprocess.DEVNULL,
                sends=True,
            )
            self._workers.append(worker)

    def _hand_over(self, keys: "KeySource") -> None:
        """In a thread: fetching new keys may take long. Those that failed are tried for again."""
        while not self._ended.wait(LOOK_FOR_KEYS_EVERY_S):
            try:
                line = keys.new_line()
            except EnvironmentAccessError as exc:
                self.keys_problem = str(exc)
                continue
            if line is not None:
                for process in (self._main, *self._workers):
                    _hand(process, line)

    def _master_options(self, port: int) -> list[str]:
        processes = self._processes
        if not processes.has_master:
            return []
        longest_wait_s = math.ceil(processes.wait_s + MASTER_WAITS_LONGER_S)
        return [
            *("--master", "--master-bind-host", processes.bind_host),
            *("--master-bind-port", str(port)),
            *("--expect-workers", str(processes.workers)),
            *("--expect-workers-max-wait", str(longest_wait_s)),
        ]

    def _start_one(
        self,
        command: list[str],
        variables: Mapping[str, str],
        log_name: str,
        *,
        stdout: int,
        sends: bool,
    ) -> subprocess.Popen[str]:
        is_handed_keys = sends and self._keys is not None
        log_file = self._run_dir / log_name
        with writing(log_file):
            opened = log_file.open("ab")
        with opened as log:
            process = subprocess.Popen(
                command,
                env={**variables, HANDED_KEYS_VARIABLE: "1"} if is_handed_keys else variables,
                # Locust reads its settings from there, and not from wherever the user is.
                cwd=self._run_dir,
                stdin=subprocess.PIPE if is_handed_keys else subprocess.DEVNULL,
                stdout=stdout,
                stderr=log,
                text=True,
                # Ctrl-C in the terminal must reach the run first, which then stops us in order.
                start_new_session=True,
            )
        _hand(process, self._first_keys)
        return process

    def _read(self, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                # Locust or a library may print something of its own; that is no status.
                with suppress(ValueError, TypeError):
                    self._latest = GeneratorStatus(**json.loads(line))


def locust_command(*options: str) -> list[str]:
    """The command of a load process; -P: Python must not import from wherever the user is."""
    return [sys.executable, "-P", "-m", "locust", *options, "-f", str(LOCUSTFILE)]


def worker_command(host: str, port: int, *options: str) -> list[str]:
    """The command of a load process that a master directs."""
    return locust_command("--worker", "--master-host", host, "--master-port", str(port), *options)


def locust_variables(variables: Mapping[str, str], run_dir: Path | None = None) -> dict[str, str]:
    """The environment of a load process: the given one without settings of the user's for Locust.

    Args:
        variables: endpoints, credentials, ...; LOCUST_... is left out: the scenario says it all.
        run_dir: only for the process that keeps the record.
    """
    kept = {
        name: value
        for name, value in variables.items()
        if not name.startswith("LOCUST_") and name != RUN_DIR_VARIABLE
    }
    kept[PARENT_VARIABLE] = str(os.getpid())
    kept["PYTHONIOENCODING"] = "utf-8"  # its log is read as that, whatever the terminal speaks
    return kept if run_dir is None else {**kept, RUN_DIR_VARIABLE: str(run_dir)}


def reserve_port() -> int:
    """A loopback port that the kernel gives to nobody for a minute, but to who asks for it.

    The side that closes a connection first keeps its port in TIME_WAIT. Only sockets that allow
    the reuse of addresses, as ZeroMQ's listeners do, can then bind it.
    """
    with socket.socket() as listener, socket.socket() as caller:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        caller.connect(listener.getsockname())
        accepted, _ = listener.accept()
        accepted.close()
        return int(listener.getsockname()[1])


def end_all(processes: "Sequence[subprocess.Popen[Any]]", *, patience_s: float) -> None:
    """Return when none of them is left: after `patience_s` they are asked to end, then killed."""
    left = _left_after(processes, patience_s)
    for process in left:
        process.terminate()
    _kill_all(_left_after(left, TERMINATED_WITHIN_S))


def _left_after(
    processes: "Sequence[subprocess.Popen[Any]]", timeout_s: float
) -> "list[subprocess.Popen[Any]]":
    deadline_s = time.monotonic() + timeout_s
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline_s - time.monotonic()))
    return [process for process in processes if process.poll() is None]


def _kill_all(processes: "Sequence[subprocess.Popen[Any]]") -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


def _hand(process: "subprocess.Popen[str] | None", line: bytes) -> None:
    if process is not None and process.stdin is not None:
        with suppress(OSError, ValueError):  # it has just ended
            os.write(process.stdin.fileno(), line)


def _worker_log(number: int) -> str:
    return f"generator-worker-{number}.log"
