"""The processes that send the load: how many, where they meet, and how each is started.

One process needs nobody. Several are Locust's master and workers: the master tells what to do,
keeps the record and sends nothing itself. They meet on a TCP port of Locust's that is neither
authenticated nor encrypted: loopback, or a private network.
"""

import ipaddress
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.scenario.model import Scenario

RUN_DIR_VARIABLE = "HEADROOM_RUN_DIR"
PARENT_VARIABLE = "HEADROOM_PARENT"  # the process that a load process must not outlive
ALLOW_VARIABLE = "HEADROOM_ALLOW_ENVIRONMENT"  # the one ARN that a worker may load
DEFAULT_MASTER_PORT = 5557  # Locust's
MOST_PROCESSES = 64
WAIT_FOR_WORKERS_S = 120.0
LOCUSTFILE = Path(__file__).resolve().parents[1] / "locustfiles" / "invoke_rest_api.py"

_ASK_AGAIN_S = 5.0  # a worker that was told to end has this long, then is killed


@dataclass(frozen=True, slots=True)
class Fleet:
    """The load processes of a run.

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
    def address(self) -> tuple[str, int]:
        """Where remote workers find the master."""
        return self.bind_host, self.port or DEFAULT_MASTER_PORT

    @property
    def meeting_point(self) -> str:
        """That address, in words for people."""
        host, port = self.address
        is_anywhere = ipaddress.ip_address(host).is_unspecified
        return f"{'ADDRESS-OF-THIS-MACHINE' if is_anywhere else host}:{port}"

    @property
    def is_on_loopback(self) -> bool:
        """Whether only this machine can reach the master."""
        return ipaddress.ip_address(self.bind_host).is_loopback


def require_fitting(fleet: Fleet, scenario: "Scenario") -> None:
    """Refuse, before anything else is started, a fleet that could not carry out the scenario.

    Raises:
        UsageError: one sentence that says what to change.
    """
    most = scenario.limits.max_in_flight
    if fleet.workers > most:
        raise UsageError(
            f"{fleet.workers} processes cannot share limits.max_in_flight = {most}: raise it, or "
            "use fewer."
        )
    if not fleet.is_remote:
        return
    kind = scenario.environment.kind
    if kind != "aws" and not fleet.is_on_loopback:
        raise UsageError(
            f"An environment of kind '{kind}' can be reached only from this machine, and so must "
            "its workers: leave --bind out, or use --processes."
        )
    _require_address(*fleet.address)


def _require_address(host: str, port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as exc:
            raise UsageError(
                f"Cannot wait for workers at {host}:{port} ({exc.strerror}): give an address of "
                "this machine with --bind and a free port with --port."
            ) from exc


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
    return kept if run_dir is None else {**kept, RUN_DIR_VARIABLE: str(run_dir)}


def end_all(processes: "Sequence[subprocess.Popen[Any]]", *, patience_s: float) -> None:
    """Return when none of them is left: after `patience_s` they are asked to end, then killed."""
    left = _left_after(processes, patience_s)
    for process in left:
        process.terminate()
    for process in _left_after(left, _ASK_AGAIN_S):
        process.kill()
        process.wait()


def kill_all(processes: "Sequence[subprocess.Popen[Any]]") -> None:
    """End all of them at once and wait until they are gone."""
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


def _left_after(
    processes: "Sequence[subprocess.Popen[Any]]", timeout_s: float
) -> "list[subprocess.Popen[Any]]":
    deadline_s = time.monotonic() + timeout_s
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline_s - time.monotonic()))
    return [process for process in processes if process.poll() is None]
