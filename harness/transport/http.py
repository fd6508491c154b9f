"""Keep-alive HTTP/1.1 for load: cheap enough that the generator does not bend what it measures.

On gevent's sockets and geventhttpclient's parser (llhttp), without its response class, which costs
two thirds more, and its client class, which costs twice as much a call. Its pool asks `select`
whether a connection is still open, which fails above 1023 open files; bounds neither resolving nor
a TLS handshake by the call's deadline; and keeps idle connections for ever, which MWAA's
autoscaling counts as load.

A call is sent once. A connection that the server has closed meanwhile is found out before anything
is written to it; from the first byte on, whatever happens is how the call ended.
"""

import ssl
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from select import POLLIN
from time import monotonic
from typing import Any, Literal
from urllib.parse import urlsplit

import gevent
import gevent.socket
import gevent.ssl
from gevent import Timeout, getcurrent, monkey
from gevent.lock import BoundedSemaphore
from geventhttpclient._parser import HTTPParseError, HTTPResponseParser

from mwaa_headroom.harness.errors import EnvironmentAccessError
from mwaa_headroom.harness.transport.proxy import Proxy

PERIOD_S = 0.05
_RECEIVE_BYTES = 65536
# Below the time after which servers and load balancers close an idle connection (mostly 20 s or
# more), so that they rarely close one that is being written to.
IDLE_LIMIT_S = 15.0

_DEFAULT_PORTS = {"http": 80, "https": 443}
_poll = monkey.get_original("select", "poll")  # asks without giving way to other greenlets

NoAnswerCode = Literal[
    "ConnectTimeoutError",
    "ConnectionClosedError",
    "EndpointConnectionError",
    "ProxyConnectionError",
    "ReadTimeoutError",
    "SSLError",
]


class Deadlines:
    """Of the greenlets of one thread, each of which has one deadline at a time.

    gevent's own Timeout sets a timer for each call, a quarter of what a lean call costs. Calls are
    limited to seconds, so it is exact enough to look for late ones twenty times a second.
    """

    def __init__(self) -> None:
        self._ends: dict[Any, tuple[float, Exception]] = {}
        self._is_looking = False

    def begin(self, end_s: float, error: Exception) -> None:
        """Have `error` raised in this greenlet where it waits, if `end` is not called by `end_s`.

        Args:
            end_s: on the monotonic clock.
            error: what is raised.
        """
        if not self._is_looking:
            self._is_looking = True
            # Not counted as work: it must not keep an event loop going that has nothing else to do.
            timer = gevent.get_hub().loop.timer(PERIOD_S, PERIOD_S, ref=False)
            timer.start(_end_late_ones, self._ends)
            weakref.finalize(self, timer.close)
        self._ends[getcurrent()] = (end_s, error)

    def end(self) -> None:
        """This greenlet has done what it had to do in time."""
        self._ends.pop(getcurrent(), None)


def _end_late_ones(ends: dict[Any, tuple[float, Exception]]) -> None:
    """In the hub, so that every greenlet in `ends` is waiting right now."""
    now_s = monotonic()
    late = [(greenlet, error) for greenlet, (end_s, error) in ends.items() if end_s <= now_s]
    for greenlet, error in late:
        if ends.pop(greenlet, None) is not None:
            greenlet.throw(error)


class AnswerParser(HTTPResponseParser):
    """Collects one answer; interim ones (1xx) are passed over.

    Attributes:
        headers: by lower-case name; values of a repeated header are joined by ", ".
        body: in the parts it came in.
        keeps_alive: whether the connection can carry another call.
        is_complete: whether all of the answer is there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.headers: dict[str, str] = {}
        self.body: list[bytearray] = []
        self.keeps_alive = False
        self.is_complete = False
        self._name = ""
        self._value: str | None = None
        self._in_head = True

    def _on_message_begin(self) -> None:
        if self.is_complete:
            self.keeps_alive = False
            raise HTTPParseError("more than one answer")
        self.headers.clear()
        self._in_head = True

    def _on_status(self, reason: str) -> None:
        """Says nothing that the status does not."""

    def _on_header_field(self, part: str) -> None:
        if self._value is not None:
            self._keep_header()
        self._name += part

    def _on_header_value(self, part: str) -> None:
        self._value = part if self._value is None else self._value + part

    def _on_headers_complete(self) -> bool:
        if self._value is not None:
            self._keep_header()
        self._in_head = False
        return False  # an answer's body is not skipped

    def _on_body(self, part: bytearray) -> None:
        self.body.append(part)

    def _on_message_complete(self) -> None:
        if self.get_code() >= 200 or self.get_code() == 101:
            self.keeps_alive = self.should_keep_alive()
            self.is_complete = True

    def _keep_header(self) -> None:
        name, value = self._name.lower(), self._value or ""
        self._name, self._value = "", None
        if not self._in_head:
            return  # a trailer, after the body: it must not replace a header
        self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value


def receive_answer(sock: Any) -> AnswerParser:
    """Receive one whole answer.

    Args:
        sock: of gevent, or anything else with `recv`.

    Raises:
        HTTPParseError: it is not HTTP, or the connection was closed before its end.
        OSError: the connection broke.
    """
    parser = AnswerParser()
    while not parser.is_complete:
        data = sock.recv(_RECEIVE_BYTES)
        try:
            parser.feed(data)  # no data: the end of an answer without a length
        except HTTPParseError:
            if not parser.is_complete:
                raise
            parser.keeps_alive = False  # what follows the answer is not HTTP
        if not data and not parser.is_complete:
            raise HTTPParseError("closed without an answer")
    return parser


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer that came in full.

    Attributes:
        headers: by lower-case name; values of a repeated header are joined by ", ".
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoAnswerError(Exception):
    """No answer came, or not all of it.

    Attributes:
        code: the name of botocore's exception for the same end.
        outcome: what the call ended as.
    """

    def __init__(self, code: NoAnswerCode) -> None:
        super().__init__(code)
        self.code = code
        self.outcome: Literal["client_timeout", "connection_error"] = (
            "client_timeout" if code == "ReadTimeoutError" else "connection_error"
        )


class HttpEndpoint:
    """One server, and the connections to it that are open.

    For the greenlets of one thread. At most `connections` calls are under way at a time, each on a
    connection of its own; others wait. TLS is always verified, host name included.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        timeout_s: float,
        ca_bundle: str | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """Nothing is sent before the first call.

        Args:
            url: scheme, host and port are used.
            connections: as many may be open.
            timeout_s: from the start of a call to the last byte of its answer.
            ca_bundle: a file of trusted certificates; None: the system's.
            proxy: that leads connections on; None: they are made to the server itself.

        Raises:
            EnvironmentAccessError: the URL or the CA bundle cannot be used.
        """
        self.host_header = host_header(url)
        scheme, self._host, self._port = _address_of(url)
        self._tls = _tls_context(ca_bundle) if scheme == "https" else None
        self._proxy = proxy
        self._timeout_s = timeout_s
        self._slots = BoundedSemaphore(connections)
        self._idle: deque[_Connection] = deque()
        self._deadlines = Deadlines()
        self._closed = False
        weakref.finalize(self, _close_all, self._idle)

    def send(self, method: str, target: str, headers: bytes, body: bytes = b"") -> HttpAnswer:
        r"""Send one request, once, and wait for its answer.

        Args:
            method: such as "POST".
            target: path and query, percent-encoded.
            headers: lines that end in "\r\n", without Host and Content-Length.
            body: empty: none.

        Raises:
            NoAnswerError: nothing came, or not all of it, or not in time.
        """
        message = b"%b %b HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (
            method.encode(),
            target.encode(),
            self.host_header.encode(),
            len(body),
            headers,
            body,
        )
        end_s = monotonic() + self._timeout_s
        if not self._slots.acquire(timeout=self._timeout_s):
            raise NoAnswerError("ConnectTimeoutError")
        try:
            idle = self._take_idle()
            if idle is not None:
                with suppress(_NothingSentError):
                    return self._exchange(idle, message, end_s)
            return self._exchange(self._connect(end_s), message, end_s)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close the connections, those in use as soon as their answers are there."""
        self._closed = True
        _close_all(self._idle)

    def _exchange(self, connection: "_Connection", message: bytes, end_s: float) -> HttpAnswer:
        self._deadlines.begin(end_s, NoAnswerError("ReadTimeoutError"))
        try:
            _transmit(connection.socket, message)
            answer = receive_answer(connection.socket)
        except BaseException as exc:
            connection.socket.close()
            if isinstance(exc, OSError | HTTPParseError):
                raise NoAnswerError(_code_of(exc)) from exc
            raise
        finally:
            self._deadlines.end()
        if answer.keeps_alive and not self._closed:
            self._put_idle(connection)
        else:
            connection.socket.close()
        return HttpAnswer(answer.get_code(), answer.headers, b"".join(answer.body))

    def _take_idle(self) -> "_Connection | None":
        """The connection used last, if any is open and silent."""
        oldest_s = monotonic() - IDLE_LIMIT_S
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since_s > oldest_s and connection.is_silent():
                return connection
            connection.socket.close()
        return None

    def _put_idle(self, connection: "_Connection") -> None:
        connection.idle_since_s = monotonic()
        self._idle.append(connection)
        while self._idle[0].idle_since_s < connection.idle_since_s - IDLE_LIMIT_S:
            self._idle.popleft().socket.close()

    def _connect(self, end_s: float) -> "_Connection":
        try:
            with _until(end_s, "ConnectTimeoutError"):
                sock = self._reached()
        except TimeoutError as exc:
            raise NoAnswerError("ConnectTimeoutError") from exc
        except (OSError, UnicodeError) as exc:
            if self._proxy is not None:
                raise NoAnswerError("ProxyConnectionError") from exc
            raise NoAnswerError("EndpointConnectionError") from exc
        if self._tls is not None:
            sock = _secured(sock, self._tls, self._host, end_s)
        return _Connection(sock)

    def _reached(self) -> Any:
        """A connection that leads to the host."""
        if self._proxy is None:
            return _first_that_takes_one(self._host, self._port)
        sock = _first_that_takes_one(self._proxy.host, self._proxy.port)
        try:
            host = f"[{self._host}]" if ":" in self._host else self._host
            self._proxy.lead_on(sock, f"{host}:{self._port}")
        except BaseException:
            sock.close()
            raise
        return sock


def _first_that_takes_one(host: str, port: int) -> Any:
    """A TCP connection to the first of the host's addresses that takes one."""
    problem: OSError | None = None
    kind = gevent.socket.SOCK_STREAM
    for family, _, _, _, address in gevent.socket.getaddrinfo(host, port, type=kind):
        sock = gevent.socket.socket(family, kind)
        try:
            sock.setsockopt(gevent.socket.IPPROTO_TCP, gevent.socket.TCP_NODELAY, 1)
            sock.setsockopt(gevent.socket.SOL_SOCKET, gevent.socket.SO_KEEPALIVE, 1)
            sock.connect(address)
        except BaseException as exc:
            sock.close()
            if not isinstance(exc, OSError):
                raise
            problem = problem or exc
        else:
            return sock
    raise problem or OSError("the host has no address")


def host_header(url: str) -> str:
    """The Host header for a URL, as it is signed: lower case, without the scheme's default port.

    Raises:
        EnvironmentAccessError: the URL has no host, or another scheme than http and https.
    """
    scheme, host, port = _address_of(url)
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port == _DEFAULT_PORTS[scheme] else f"{bracketed}:{port}"


def _address_of(url: str) -> tuple[str, str, int]:
    """Scheme, host in lower case, and port."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in _DEFAULT_PORTS and parts.hostname:
            return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]
    raise EnvironmentAccessError("The endpoint URL is wrong: write it as http(s)://host[:port].")


class _NothingSentError(NoAnswerError):
    """The connection was closed before it took the first byte: the call was not sent."""


class _Connection:
    """An open connection."""

    __slots__ = ("_poller", "idle_since_s", "socket")

    def __init__(self, sock: Any) -> None:
        self.socket = sock
        self.idle_since_s = 0.0
        self._poller = _poll()
        self._poller.register(sock.fileno(), POLLIN)

    def is_silent(self) -> bool:
        """Whether the server has neither closed it nor said anything unasked."""
        return not self._poller.poll(0)


def _until(end_s: float, code: NoAnswerCode) -> Timeout:
    """Ends what the block does at `end_s`, with a NoAnswerError."""
    return Timeout(max(end_s - monotonic(), 0.0), NoAnswerError(code))


def _close_all(connections: deque[_Connection]) -> None:
    while connections:
        connections.pop().socket.close()


def _secured(sock: Any, context: Any, host: str, end_s: float) -> Any:
    try:
        with _until(end_s, "ReadTimeoutError"):  # botocore's word for it
            sock = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
            sock.do_handshake()
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError):
            raise NoAnswerError(_code_of(exc)) from exc
        raise
    return sock


def _transmit(sock: Any, message: bytes) -> None:
    try:
        sent = sock.send(message)
    except ConnectionError as exc:
        raise _NothingSentError("ConnectionClosedError") from exc
    if sent < len(message):
        # A server may refuse a large request before it has read it all: its answer is waiting.
        with suppress(ConnectionError):
            sock.sendall(memoryview(message)[sent:])


def _code_of(error: Exception) -> NoAnswerCode:
    if isinstance(error, ssl.SSLError):
        return "SSLError"
    return "ReadTimeoutError" if isinstance(error, TimeoutError) else "ConnectionClosedError"


def _tls_context(ca_bundle: str | None) -> Any:
    # Not create_default_context: unless everything is patched, its sockets block all greenlets.
    context = gevent.ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca_bundle is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(cafile=ca_bundle)
    except OSError as exc:  # ssl.SSLError too
        raise EnvironmentAccessError(
            f"The CA bundle '{ca_bundle}' cannot be used ({exc.strerror or exc}): correct "
            "AWS_CA_BUNDLE, or ca_bundle of the AWS profile."
        ) from exc
    return context
