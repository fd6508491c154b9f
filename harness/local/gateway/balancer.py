"""Chooses the webserver for each call, and counts the calls in flight on each.

Everything happens on one event loop; nothing here is safe across threads.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Literal, Self


class NoWebserverError(Exception):
    """No webserver is ready to take a call."""


class Target:
    """One webserver behind the balancer; each `with` block is one call in flight on it.

    Attributes:
        name: the webserver's.
        base_url: its address, without a slash at the end.
    """

    def __init__(self, name: str, base_url: str, clock: Callable[[], float]) -> None:
        self.name = name
        self.base_url = base_url.rstrip("/")
        self.state: Literal["ready", "draining", "down"] = "ready"
        self.in_flight = 0
        self.last_turn = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._clock = clock
        self._call_seconds = 0.0  # integral of calls in flight since _taken_at_s
        self._changed_at_s = self._taken_at_s = clock()

    def __enter__(self) -> Self:
        self._count(+1)
        self.idle.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._count(-1)
        if self.in_flight == 0:
            self.idle.set()

    def take_mean_in_flight(self) -> float:
        """Calls in flight, averaged over the time since the previous take."""
        self._count(0)
        elapsed_s = self._changed_at_s - self._taken_at_s
        if elapsed_s <= 0:
            return float(self.in_flight)
        mean = self._call_seconds / elapsed_s
        self._call_seconds = 0.0
        self._taken_at_s = self._changed_at_s
        return mean

    def _count(self, change: int) -> None:
        now_s = self._clock()
        self._call_seconds += self.in_flight * (now_s - self._changed_at_s)
        self._changed_at_s = now_s
        self.in_flight += change


class Balancer:
    """Chooses the ready webserver with the fewest calls in flight; ties take turns."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._targets: dict[str, Target] = {}
        self._turn = 0

    def add(self, name: str, base_url: str) -> None:
        """Let a webserver take calls from now on. Raises ValueError if the name is in use."""
        if name in self._targets:
            raise ValueError(f"{name} is already behind the balancer")
        self._targets[name] = Target(name, base_url, self._clock)

    def names(self) -> tuple[str, ...]:
        """Every webserver added and not yet removed, draining and down ones included."""
        return tuple(self._targets)

    def ready_names(self) -> tuple[str, ...]:
        """The webservers that new calls can go to."""
        return tuple(one.name for one in self._targets.values() if one.state == "ready")

    def in_flight(self, name: str) -> int:
        """Calls that this webserver has not answered yet. Raises KeyError if unknown."""
        return self._targets[name].in_flight

    def take_mean_in_flight(self, name: str) -> float:
        """Calls in flight, averaged over the time since the previous take (or since `add`).

        0.0 if unknown: a webserver runs before it is added and after it is removed, without calls.
        """
        target = self._targets.get(name)
        return 0.0 if target is None else target.take_mean_in_flight()

    def choose(self, *, but_not: str | None = None) -> Target:
        """Where the next call goes; it counts as in flight inside `with`.

        Raises NoWebserverError if no webserver (other than `but_not`) is ready.
        """
        ready = [
            one for one in self._targets.values() if one.state == "ready" and one.name != but_not
        ]
        if not ready:
            raise NoWebserverError
        chosen = min(ready, key=lambda one: (one.in_flight, one.last_turn))
        self._turn += 1
        chosen.last_turn = self._turn
        return chosen

    def mark_down(self, name: str) -> None:
        """Send no more calls to a webserver that refused a connection.

        It stays down until it is removed: like a failed Fargate task it is replaced, not revived.
        """
        if name in self._targets:
            self._targets[name].state = "down"

    async def drain(self, name: str, timeout_s: float) -> bool:
        """Send no new calls and wait for those in flight.

        True once none is in flight, False if some still are after `timeout_s`. Raises KeyError if
        unknown.
        """
        target = self._targets[name]
        target.state = "draining"
        try:
            async with asyncio.timeout(timeout_s):
                await target.idle.wait()
        except TimeoutError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Forget a webserver; calls still in flight on it may end. Raises KeyError if unknown."""
        del self._targets[name]
