"""One Airflow webserver as a child process, limited to its CPUs once it is ready."""

import asyncio
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.airflow.cpu_limit import CpuLimiter
from mwaa_headroom.harness.local.airflow.install import hint
from mwaa_headroom.harness.local.backend import Usage
from mwaa_headroom.harness.local.processes import Child, Children, remove_cgroup

_START_TIMEOUT_S = 240.0  # a loaded machine may have to start five at once
_STOP_TIMEOUT_S = 3.0  # a drained webserver has no calls to lose, and it takes none with it
_POLL_S = 0.1
_PROBE_TIMEOUT = aiohttp.ClientTimeout(total=10)
_MIB = 1024 * 1024
# Below the range from which Linux takes the near end of outgoing connections (32768 and up): under
# load one of those could take the port in the seconds before the server listens.
_PORTS = range(20_000, 32_000)
_ATTEMPTS = 200


@dataclass(frozen=True, slots=True)
class CpuLimit:
    """How to hold a webserver to its CPUs."""

    limiter: CpuLimiter
    group: Path
    cpus: float


@dataclass(kw_only=True, eq=False)
class AirflowWebserver:
    """A started webserver."""

    name: str  # unique within the environment
    base_url: str  # where it will listen
    health: str  # path of its health
    child: Child
    children: Children  # ends it
    limit: CpuLimit | None  # applied once it is ready, since starting takes ten CPU-seconds
    memory_mib: int  # what its memory is a fraction of
    ready: bool = False

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.child.pid

    def is_alive(self) -> bool:
        """False once the process has ended."""
        return self.child.is_alive()

    async def wait_until_ready(self) -> None:
        """Return once it answers and reaches the database; limit its CPU from then on.

        Raises:
            EnvironmentStartError: it ends or does not answer in time; names its log.
        """
        await wait_for(self._answers, self.child, what=self.name, timeout_s=_START_TIMEOUT_S)
        if self.limit:
            await asyncio.to_thread(self._apply, self.limit)
        self.ready = True

    def usage(self) -> Usage:
        """CPU-seconds and memory so far; the last known values once it has ended."""
        used = self.child.used()
        return Usage(used.cpu_s, used.memory_bytes / (self.memory_mib * _MIB))

    async def stop(self) -> None:
        """Stop it and wait until it is gone."""
        self.ready = False
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        if self.limit:
            self.limit.limiter.lift(self.limit.group)  # or ending takes it several seconds
        self.children.stop(self.child, _STOP_TIMEOUT_S)
        if self.limit:
            remove_cgroup(self.limit.group)

    def _apply(self, limit: CpuLimit) -> None:
        self.children.own_cgroup(limit.group)
        try:
            limit.limiter.limit(limit.group, self.child.tree, cpus=limit.cpus)
        except OSError as exc:
            raise EnvironmentStartError(
                f"{self.name} could not be limited to {limit.cpus} CPUs ({exc.strerror}:"
                f" {exc.filename}): check who else changes control groups on this machine."
            ) from exc

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        async with session.get(self.base_url + self.health) as answer:
            if answer.status != 200:
                return False
            return bool((await answer.json())["metadatabase"]["status"] == "healthy")


async def wait_for(
    condition: Callable[[aiohttp.ClientSession], Awaitable[bool]],
    child: Child,
    *,
    what: str,
    timeout_s: float,
) -> None:
    """Poll until `condition` holds; a refused or broken connection means not yet.

    Raises:
        EnvironmentStartError: the child has ended, or time is up; names the log.
    """
    deadline = time.monotonic() + timeout_s
    async with aiohttp.ClientSession(timeout=_PROBE_TIMEOUT) as session:
        while True:
            try:
                if await condition(session):
                    return
            except (aiohttp.ClientError, TimeoutError, KeyError):
                pass
            if not child.is_alive():
                reason = hint(child.log_path)
                raise EnvironmentStartError(f"{what} ended while it was starting{reason}.")
            if time.monotonic() > deadline:
                raise EnvironmentStartError(
                    f"{what} was not ready after {timeout_s:.0f} s{hint(child.log_path)}."
                )
            await asyncio.sleep(_POLL_S)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses, chosen at random."""
    for _ in range(_ATTEMPTS):
        port = secrets.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {_PORTS.start} and {_PORTS.stop}")
