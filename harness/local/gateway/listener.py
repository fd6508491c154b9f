"""HTTP on a loopback port, with bounds on what one caller can hold on to.

A connection is closed when no request of a recognised caller has come on it for 10 s: one that says
nothing, one in the middle of a header, one with half a body. Once its caller was recognised it may
rest for a minute between requests. Of more connections than a port may have, those are closed that
have waited longest, unrecognised ones first.

Bodies are read as they were sent. Nothing is decompressed: signatures are of the bytes sent, and a
small body cannot become a large one.
"""

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import web

from mwaa_headroom.harness.local.loopback import is_foreign

logger = logging.getLogger(__name__)
# The library's own log has a traceback for whatever nonsense callers send.
_silent = logging.getLogger(f"{__name__}.aiohttp")
_silent.disabled = True

RECOGNISED_WITHIN_S = 10.0
BODY_WITHIN_S = 8.0  # below it, so that whoever is too slow is told
REST_S = 60.0  # as an Application Load Balancer's default
LINGER_S = 2.0  # for callers who send all of a refused body before they read the answer
CLOSING_PERIOD_S = 1.0
BACKLOG = 1024  # an open workload may connect in bursts
ACCEPTED_AT_ONCE = 16  # before any of them is told to us, and can be closed
SHUTDOWN_GRACE_S = 2.0
MOST_CONNECTIONS = 5000
FILES_PER_CONNECTION = 8  # there are several ports, and a call has a connection to a webserver too

Recognised = Callable[[], object]
Handler = Callable[[web.BaseRequest, Recognised], Awaitable[web.StreamResponse]]


class BodyError(Exception):
    """The body of a request cannot be had; `status` is HTTP's for the reason."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


async def read_body(request: web.BaseRequest, max_bytes: int) -> bytes:
    """The body, as it was sent.

    Raises:
        BodyError: It is larger than `max_bytes` (413), took more than 8 s (408), or is not framed
            as HTTP has it (400).
    """
    if (request.content_length or 0) > max_bytes:
        raise BodyError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = bytearray()
    try:
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # of the answer itself
        async with asyncio.timeout(BODY_WITHIN_S):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > max_bytes:
                    raise BodyError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    except TimeoutError:
        raise BodyError(HTTPStatus.REQUEST_TIMEOUT) from None
    except (web.RequestPayloadError, ConnectionError) as exc:
        raise BodyError(HTTPStatus.BAD_REQUEST) from exc
    return bytes(body)


class Listener(web.Server):
    """Serves `handler` on one port.

    The handler calls its second argument as soon as it knows that the caller may call; from then on
    the request takes what it takes.
    """

    def __init__(
        self,
        handler: Handler,
        refuse: Callable[[], web.Response],
        *,
        most_connections: int | None = None,
    ) -> None:
        """Must be made on the running event loop.

        Args:
            handler: Answers a request.
            refuse: Answers a request that is not meant for this machine.
            most_connections: 5000 by default, or fewer if few files may be open.
        """
        super().__init__(
            self._serve,
            access_log=None,
            logger=_silent,
            lingering_time=LINGER_S,
            auto_decompress=False,
        )
        self._handler = handler
        self._refuse = refuse
        self._port = 0
        self._most = most_connections or _most_connections()
        self._transports: dict[Any, asyncio.Transport] = {}
        # Since when they wait, longest first; a connection in neither is being served.
        self._unrecognised: dict[Any, float] = {}
        self._resting: dict[Any, float] = {}
        self._runner = web.ServerRunner(self, shutdown_timeout=SHUTDOWN_GRACE_S)
        self._closing: asyncio.Task[None] | None = None

    async def start(self, listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Listen on a bound socket, for https if there is a context."""
        self._port = listening.getsockname()[1]
        await self._runner.setup()
        await web.SockSite(
            self._runner, listening, backlog=ACCEPTED_AT_ONCE, ssl_context=tls
        ).start()
        listening.listen(BACKLOG)  # asyncio takes one number for both
        self._closing = asyncio.create_task(self._keep_closing())

    async def stop(self) -> None:
        """Stop listening, and let calls in flight end for two seconds."""
        if self._closing is not None:
            self._closing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._closing
        await self._runner.cleanup()

    def connection_made(self, handler: Any, transport: asyncio.Transport) -> None:
        """As the base class has it; makes room if there are too many."""
        super().connection_made(handler, transport)
        while len(self._transports) >= self._most and (self._unrecognised or self._resting):
            self._close(next(iter(self._unrecognised or self._resting)))
        if len(self._transports) >= self._most:  # and all of them are being served
            transport.abort()
            return
        self._transports[handler] = transport
        self._unrecognised[handler] = self._loop.time()

    def connection_lost(self, handler: Any, exc: BaseException | None = None) -> None:
        """As the base class has it."""
        super().connection_lost(handler, exc)
        self._forget(handler)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        self._resting.pop(connection, None)
        self._waits(self._unrecognised, connection)
        try:
            if is_foreign(request.headers, self._port):
                return self._refuse()
            recognised = partial(self._unrecognised.pop, connection, None)
            return await self._handler(request, recognised)
        except BodyError as error:
            return web.Response(status=error.status, text=str(error))
        except Exception:
            logger.exception("%s %s failed", request.method, request.raw_path)
            return web.Response(status=500, text="Internal Server Error")
        finally:
            is_known = connection not in self._unrecognised
            self._waits(self._resting if is_known else self._unrecognised, connection)

    def _waits(self, waiting: dict[Any, float], connection: Any) -> None:
        waiting.pop(connection, None)
        if connection in self._transports:
            waiting[connection] = self._loop.time()

    async def _keep_closing(self) -> None:
        while True:
            await asyncio.sleep(CLOSING_PERIOD_S)
            now_s = self._loop.time()
            for waiting, limit_s in (
                (self._unrecognised, RECOGNISED_WITHIN_S),
                (self._resting, REST_S),
            ):
                while waiting and now_s - next(iter(waiting.values())) > limit_s:
                    self._close(next(iter(waiting)))

    def _close(self, connection: Any) -> None:
        # `close` would wait for a caller who does not read an answer.
        self._transports[connection].abort()
        self._forget(connection)

    def _forget(self, connection: Any) -> None:
        for connections in (self._transports, self._unrecognised, self._resting):
            connections.pop(connection, None)


def _most_connections() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, files // FILES_PER_CONNECTION)
