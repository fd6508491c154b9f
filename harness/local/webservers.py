"""The webservers of one environment: starts them, scales, and replaces those that die."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.backend import Backend, Usage, Webserver
from mwaa_headroom.harness.local.gateway.balancer import Balancer

WATCH_INTERVAL_S: Final = 0.5
DRAIN_TIMEOUT_S: Final = 15.0  # longer than the gateway lets any call take
RESTARTS_PER_MINUTE: Final = 5
RETRY_S: Final = 5.0  # until another try, where the machine has no more files or processes to give

State = Literal["starting", "ready", "draining"]
Event = dict[str, object]
Emit = Callable[..., None]  # takes an event's kind, then its further keys by name


class EventLog:
    """Appends events to a file that starts empty; each is written before `emit` returns."""

    def __init__(
        self,
        path: Path,
        unwritten: Callable[[Event], None],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Make the file; `unwritten` is given the events that do not get there."""
        self._file = path.open("wb", buffering=0)
        self._bytes = 0
        self._unwritten = unwritten
        self._wall_clock = wall_clock

    def emit(self, kind: str, **keys: object) -> None:
        """Write {"time_s", "kind", "source": "environment", ...} as one line."""
        event = {"time_s": self._wall_clock(), "kind": kind, "source": "environment", **keys}
        line = json.dumps(event).encode() + b"\n"
        try:
            is_whole = self._file.write(line) == len(line)
        except OSError:
            is_whole = False
        if is_whole:
            self._bytes += len(line)
        else:
            self._file.truncate(self._bytes)
            self._file.seek(self._bytes)
            self._unwritten(event)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(slots=True, eq=False)
class Member:
    """One webserver and its state."""

    webserver: Webserver
    state: State = "starting"
    usage_when_ready: Usage = Usage(cpu_s=0.0, memory_fraction=0.0)  # noqa: RUF009 - frozen
    starting: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The webserver's name."""
        return self.webserver.name


@dataclass
class WebserverPool:
    """Keeps as many webservers as asked for; everything happens on one event loop."""

    backend: Backend
    balancer: Balancer
    emit: Emit
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._members: list[Member] = []  # oldest first
        self._wanted = 0
        self._created = 0
        self._restarts_s: deque[float] = deque(maxlen=RESTARTS_PER_MINUTE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    def members(self) -> tuple[Member, ...]:
        """All webservers that exist, oldest first, draining ones included."""
        return tuple(self._members)

    def count(self, state: State) -> int:
        """How many webservers are in this state."""
        return sum(member.state == state for member in self._members)

    async def start(self, count: int) -> None:
        """Bring up the first webservers together.

        Raises:
            EnvironmentStartError: one of them did not come up.
        """
        self._wanted = count
        await asyncio.gather(*(self._add_when_ready(self._new_member()) for _ in range(count)))

    def scale_to(self, count: int) -> None:
        """Begin to have this many: new ones start, the youngest drain and stop."""
        self._wanted = count
        active = [member for member in self._members if member.state != "draining"]
        for _ in range(count - len(active)):
            self._start_another()
        for member in active[count:]:
            self._scale_in(member)

    async def watch(self) -> None:
        """Look for dead webservers until cancelled."""
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            self.replace_dead()

    def replace_dead(self) -> None:
        """Replace every webserver that ended or refuses connections."""
        taking_calls = self.balancer.ready_names()
        for member in self.members():
            if member.state != "ready":
                continue
            if not member.webserver.is_alive():
                self._remove_dead(member, "its process ended")
            elif member.name not in taking_calls:
                self._remove_dead(member, "it refused a connection")

    async def stop(self) -> None:
        """Stop all webservers at once, without draining."""
        self._is_stopping = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        members, self._members = self._members, []
        await asyncio.gather(*(member.webserver.stop() for member in members))

    def _new_member(self) -> Member:
        self._created += 1
        member = Member(self.backend.new_webserver(f"webserver-{self._created}"))
        self._members.append(member)
        self.emit("webserver_starting", webserver=member.name)
        return member

    async def _add_when_ready(self, member: Member) -> None:
        await member.webserver.wait_until_ready()
        member.usage_when_ready = member.webserver.usage()
        member.state = "ready"
        self.balancer.add(member.name, member.webserver.base_url)
        self.emit("webserver_ready", webserver=member.name)

    def _start_another(self, *, replaces: str | None = None) -> None:
        try:
            member = self._new_member()
        except (OSError, EnvironmentStartError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            message = f"A webserver could not be started; it is tried again: {reason}"
            self.emit("note", message=message)
            self._in_background(self._start_another_later(replaces))
            return
        member.starting = self._in_background(self._add_or_give_up(member, replaces))

    async def _start_another_later(self, replaces: str | None) -> None:
        await asyncio.sleep(RETRY_S)
        if len(self._members) - self.count("draining") < self._wanted:
            self._start_another(replaces=replaces)

    async def _add_or_give_up(self, member: Member, replaces: str | None) -> None:
        try:
            await self._add_when_ready(member)
        except EnvironmentStartError as exc:
            self._remove_dead(member, str(exc))
            return
        if replaces is not None:
            self.emit("webserver_restarted", webserver=member.name, replaces=replaces)

    def _remove_dead(self, member: Member, detail: str) -> None:
        if member.name in self.balancer.names():
            self.balancer.remove(member.name)
        self._members.remove(member)
        self.emit("webserver_died", webserver=member.name, detail=detail)
        self._in_background(member.webserver.stop())  # clears away what a dead process leaves
        if not self._is_stopping and len(self._members) - self.count("draining") < self._wanted:
            self._replace(member.name)

    def _replace(self, name: str) -> None:
        now_s = self.clock()
        recent = [at_s for at_s in self._restarts_s if now_s - at_s < 60.0]
        if len(recent) >= RESTARTS_PER_MINUTE:
            self.emit(
                "note",
                message=f"{name} is not replaced: {len(recent)} webservers were within a minute",
            )
            return
        self._restarts_s.append(now_s)
        self._start_another(replaces=name)

    def _scale_in(self, member: Member) -> None:
        if member.starting is not None:
            member.starting.cancel()
        takes_calls = member.state == "ready"
        member.state = "draining"
        self.emit("webserver_draining", webserver=member.name)
        self._in_background(self._drain_and_stop(member, takes_calls=takes_calls))

    async def _drain_and_stop(self, member: Member, *, takes_calls: bool) -> None:
        if takes_calls:
            await self.balancer.drain(member.name, DRAIN_TIMEOUT_S)
            self.balancer.remove(member.name)
        await member.webserver.stop()
        self._members.remove(member)
        self.emit("webserver_stopped", webserver=member.name)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
