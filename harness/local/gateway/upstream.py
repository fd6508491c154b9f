"""Sends calls to webserver processes as a load balancer would, over connections it keeps open."""

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from mwaa_headroom.harness.local.gateway.balancer import Balancer, Target
from mwaa_headroom.harness.local.gateway.operations import Invocation

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
            middlewares=(_send_once,),
        )

    async def call(
        self, invocation: Invocation, *, headers: Mapping[str, str], max_bytes: int | None
    ) -> UpstreamAnswer:
        """Send one call, and hand back the answer whatever its status.

        A GET that got no answer is sent once more, to another webserver; nothing else ever is.
        Cancelling closes the connection.

        Args:
            invocation: What to send.
            headers: Sent as they are.
            max_bytes: The largest body to take; None is no limit.

        Raises:
            NoWebserverError: No webserver is ready.
            NoAnswerError: Refused, or closed before any answer.
            TooLargeError: The body is larger than `max_bytes`.
            UpstreamError: The answer broke off.
        """
        first = self._balancer.choose()
        try:
            return await self._send(first, invocation, headers, max_bytes)
        except NoAnswerError:
            if invocation.method != "GET" or not set(self._balancer.ready_names()) - {first.name}:
                raise
        second = self._balancer.choose(but_not=first.name)
        return await self._send(second, invocation, headers, max_bytes)

    async def _send(
        self,
        target: Target,
        invocation: Invocation,
        headers: Mapping[str, str],
        max_bytes: int | None,
    ) -> UpstreamAnswer:
        with target:
            try:
                response = await self._session.request(
                    invocation.method,
                    URL(target.base_url + invocation.target, encoded=True),
                    headers=headers,
                    data=invocation.body,
                    allow_redirects=False,
                )
            except RefusedError:
                self._balancer.mark_down(target.name)
                raise
            except aiohttp.ClientError as exc:
                raise UpstreamError(f"{target.name} did not answer in HTTP") from exc
            try:
                content = await _read(response, max_bytes)
            except aiohttp.ClientError as exc:
                raise UpstreamError(f"{target.name} broke off its answer") from exc
            finally:
                # A connection whose answer was read to the end is back in the pool by now, any
                # other one is closed here.
                response.close()
            content_type = response.headers.get("Content-Type", "")
            return UpstreamAnswer(response.status, content_type, content)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


async def _send_once(
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


async def _read(response: aiohttp.ClientResponse, max_bytes: int | None) -> bytes:
    announced = response.content_length
    if max_bytes is None or (announced is not None and announced <= max_bytes):
        return await response.read()
    if announced is not None:
        raise TooLargeError
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise TooLargeError
    return bytes(body)
