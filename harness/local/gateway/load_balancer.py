"""One call to a webserver through the balancer, as a load balancer would make it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import aiohttp
from yarl import URL

State = Literal["ready", "draining", "down"]


class NoWebserverError(Exception):
    """No webserver is ready to take a call."""


class _Webserver:
    """One webserver's place behind the balancer."""

    __slots__ = ("base_url", "call_seconds", "changed_at_s", "idle", "in_flight", "last_turn",
                 "name", "state", "taken_at_s")  # fmt: skip

    def __init__(self, name: str, base_url: str, now_s: float) -> None:
        self.name = name
        self.base_url = base_url
        self.state: State = "ready"
        self.in_flight = 0
        self.last_turn = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.call_seconds = 0.0  # integral of calls in flight since taken_at_s
        self.changed_at_s = now_s
        self.taken_at_s = now_s

    def count(self, change: int, now_s: float) -> None:
        """Account for the time so far, then change the number of calls in flight."""
        self.call_seconds += self.in_flight * (now_s - self.changed_at_s)
        self.changed_at_s = now_s
        self.in_flight += change


class Lease:
    """One call's place on one webserver, given back on leaving the `with` block."""

    __slots__ = ("_clock", "_webserver")

    def __init__(self, webserver: _Webserver, clock: Callable[[], float]) -> None:
        self._webserver = webserver
        self._clock = clock

    @property
    def name(self) -> str:
        """The webserver's name."""
        return self._webserver.name

    @property
    def base_url(self) -> str:
        """The webserver's address, without a slash at the end."""
        return self._webserver.base_url

    def __enter__(self) -> "Lease":
        self._webserver.count(+1, self._clock())
        self._webserver.idle.clear()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._webserver.count(-1, self._clock())
        if self._webserver.in_flight == 0:
            self._webserver.idle.set()


class Balancer:
    """Leases the ready webserver with the fewest calls in flight; ties take turns.

    Everything happens on one event loop; nothing here is safe across threads.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._webservers: dict[str, _Webserver] = {}
        self._turn = 0

    def add(self, name: str, base_url: str) -> None:
        """Let a webserver take calls from now on. Raises ValueError if the name is in use."""
        if name in self._webservers:
            raise ValueError(f"{name} is already behind the balancer")
        self._webservers[name] = _Webserver(name, base_url.rstrip("/"), self._clock())

    def names(self) -> tuple[str, ...]:
        """Every webserver added and not yet removed, draining and down ones included."""
        return tuple(self._webservers)

    def ready_names(self) -> tuple[str, ...]:
        """The webservers that new calls can go to."""
        return tuple(one.name for one in self._webservers.values() if one.state == "ready")

    def in_flight(self, name: str) -> int:
        """Calls that this webserver has not answered yet. Raises KeyError if unknown."""
        return self._webservers[name].in_flight

    def take_mean_in_flight(self, name: str) -> float:
        """Calls in flight, averaged over the time since the previous take (or since `add`).

        0.0 if unknown: a webserver runs before it is added and after it is removed, without calls.
        """
        webserver = self._webservers.get(name)
        if webserver is None:
            return 0.0
        now_s = self._clock()
        webserver.count(0, now_s)
        elapsed_s = now_s - webserver.taken_at_s
        if elapsed_s <= 0:
            return float(webserver.in_flight)
        mean = webserver.call_seconds / elapsed_s
        webserver.call_seconds = 0.0
        webserver.taken_at_s = now_s
        return mean

    def lease(self, *, but_not: str | None = None) -> Lease:
        """A place for one call; counts as in flight inside `with`.

        Raises NoWebserverError if no webserver (other than `but_not`) is ready.
        """
        ready = [
            one for one in self._webservers.values() if one.state == "ready" and one.name != but_not
        ]
        if not ready:
            raise NoWebserverError
        chosen = min(ready, key=lambda one: (one.in_flight, one.last_turn))
        self._turn += 1
        chosen.last_turn = self._turn
        return Lease(chosen, self._clock)

    def mark_down(self, name: str) -> None:
        """Send no more calls to a webserver that refused a connection.

        It stays down until it is removed: like a failed Fargate task it is replaced, not revived.
        """
        webserver = self._webservers.get(name)
        if webserver is not None:
            webserver.state = "down"

    async def drain(self, name: str, timeout_s: float) -> bool:
        """Send no new calls and wait for those in flight.

        True once none is in flight, False if some still are after `timeout_s`. Raises KeyError if
        unknown.
        """
        webserver = self._webservers[name]
        webserver.state = "draining"
        try:
            async with asyncio.timeout(timeout_s):
                await webserver.idle.wait()
        except TimeoutError:
            return False
        return True

    def remove(self, name: str) -> None:
        """Forget a webserver; calls still in flight on it may end. Raises KeyError if unknown."""
        del self._webservers[name]


KEEP_ALIVE_S = 4.0
# Below uvicorn's 5 s: the webserver must never be the one to close an idle connection, because a
# POST that meets the closing one is lost, and it must not be sent again.


class UpstreamError(Exception):
    """The webserver did not give a whole answer."""


class NoAnswerError(UpstreamError):
    """The connection was closed before any answer."""


class RefusedError(NoAnswerError):
    """The connection was refused: nobody listens there any more."""


class TooLargeError(UpstreamError):
    """The answer is larger than allowed."""


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """What a webserver answered."""

    status: int
    content_type: str
    body: bytes


class Upstream:
    """Keeps connections to the webservers open and sends calls to the least busy one."""

    def __init__(self, balancer: Balancer) -> None:
        """Must be made on the running event loop."""
        self._balancer = balancer
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            middlewares=(_once,),
        )

    async def call(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        max_bytes: int | None,
    ) -> UpstreamAnswer:
        """Send one call, and hand back the answer whatever its status.

        A GET that got no answer is sent once more, to another webserver; nothing else ever is.
        Cancelling closes the connection.

        Args:
            method: HTTP method.
            target: Path and query, percent-encoded.
            headers: Sent as they are.
            body: None sends no body.
            max_bytes: The largest body to take; None is no limit.

        Raises:
            NoWebserverError: No webserver is ready.
            NoAnswerError: Refused, or closed before any answer.
            TooLargeError: The body is larger than `max_bytes`.
            UpstreamError: The answer broke off.
        """
        first = self._balancer.lease()
        try:
            return await self._send(first, method, target, headers, body, max_bytes)
        except NoAnswerError:
            if method != "GET" or not set(self._balancer.ready_names()) - {first.name}:
                raise
        second = self._balancer.lease(but_not=first.name)
        return await self._send(second, method, target, headers, body, max_bytes)

    async def _send(
        self,
        lease: Lease,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        max_bytes: int | None,
    ) -> UpstreamAnswer:
        with lease:
            url = URL(lease.base_url + target, encoded=True)
            try:
                response = await self._session.request(
                    method, url, headers=headers, data=body, allow_redirects=False
                )
            except RefusedError:
                self._balancer.mark_down(lease.name)
                raise
            except aiohttp.ClientError as exc:
                raise UpstreamError(f"{lease.name} did not answer in HTTP") from exc
            try:
                answer = await _read(response, max_bytes)
            except aiohttp.ClientError as exc:
                raise UpstreamError(f"{lease.name} broke off its answer") from exc
            finally:
                # A connection whose answer was read to the end is back in the pool by now, any
                # other one is closed here.
                response.close()
            return answer

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


async def _once(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Turn errors into ours, which also keeps aiohttp from sending GET, PUT, DELETE again."""
    try:
        return await send(request)
    except aiohttp.ClientConnectionError as exc:
        # Other failures to connect, such as too many open files here, are not the webserver's.
        if isinstance(exc, aiohttp.ClientConnectorError) and isinstance(
            exc.os_error, ConnectionRefusedError
        ):
            raise RefusedError("the connection was refused") from exc
        raise NoAnswerError("the connection was closed") from exc


async def _read(response: aiohttp.ClientResponse, max_bytes: int | None) -> UpstreamAnswer:
    announced = response.content_length
    if max_bytes is None or (announced is not None and announced <= max_bytes):
        body = await response.read()
    elif announced is not None:
        raise TooLargeError
    else:
        body = await _read_at_most(response, max_bytes)
    return UpstreamAnswer(response.status, response.headers.get("Content-Type", ""), body)


async def _read_at_most(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise TooLargeError
    return bytes(body)
