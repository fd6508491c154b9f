"""Bounds on what one caller can hold on to, against real sockets."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from aiohttp import web

from mwaa_headroom.harness.local.gateway import listener
from mwaa_headroom.harness.local.gateway.listener import Listener, Recognised, read_body

MOST_BODY_BYTES = 1000
LARGE_BYTES = 32 * 2**20  # more than the kernel holds for a caller
LIMITS_S = {
    "RECOGNISED_WITHIN_S": 0.3,
    "BODY_WITHIN_S": 0.2,
    "REST_S": 0.5,
    "LINGER_S": 0.1,
    "CLOSING_PERIOD_S": 0.05,
}
WAIT_S = 0.8  # longer than all of them


async def handle(request: web.BaseRequest, recognised: Recognised) -> web.StreamResponse:
    """Recognises callers who say that they are known."""
    if "Known" in request.headers:
        recognised()
    body = await read_body(request, MOST_BODY_BYTES)
    if request.raw_path == "/wait":
        await asyncio.sleep(WAIT_S)
    if request.raw_path == "/fail":
        raise RuntimeError("on purpose")
    if request.raw_path == "/large":
        return web.Response(body=bytes(LARGE_BYTES))
    return web.Response(text=f"{len(body)} bytes.")


class Port:
    """A listener of its own on a background event loop."""

    def __init__(self, most_connections: int | None) -> None:
        self._most = most_connections
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._listener = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    async def _start(self) -> Listener:
        one = Listener(handle, lambda: web.Response(status=403), most_connections=self._most)
        await one.start(self._socket)
        return one

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._listener.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Caller:
    """One connection to a port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5.0)

    def send(self, *lines: str, path: str = "/", body: str = "") -> None:
        head = (f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *lines, "", body)
        self.socket.sendall("\r\n".join(head).encode())

    def status(self) -> int:
        """Of the next answer."""
        answer = self.socket.recv(4096)
        return int(answer.split(b" ")[1])

    def call(self, *lines: str, path: str = "/", body: str = "") -> int:
        self.send(*lines, path=path, body=body)
        return self.status()

    def is_closed(self) -> bool:
        """Whether the other side closes without an answer, after at most 5 s."""
        try:
            return self.socket.recv(4096) == b""
        except ConnectionResetError:
            return True


Connect = Callable[[], Caller]


@pytest.fixture
def connect_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Connect]]:
    """Start a listener, with limits of tenths of a second; what it gives connects to it."""
    for name, limit_s in LIMITS_S.items():
        monkeypatch.setattr(listener, name, limit_s)
    with ExitStack() as stack:

        def start(most_connections: int | None = None) -> Connect:
            port = Port(most_connections)
            stack.callback(port.close)

            def connect() -> Caller:
                caller = Caller(port.number)
                stack.callback(caller.socket.close)
                return caller

            return connect

        yield start


@pytest.fixture
def connect(connect_to: Callable[..., Connect]) -> Connect:
    return connect_to()


@pytest.mark.parametrize("said", [b"", b"POST / HTT", b"POST / HTTP/1.1\r\nX: "])
def test_a_connection_without_a_whole_request_is_closed(connect: Connect, said: bytes) -> None:
    caller = connect()
    caller.socket.sendall(said)
    assert caller.is_closed()


def test_bytes_that_trickle_in_buy_no_time(connect: Connect) -> None:
    caller = connect()
    caller.socket.sendall(b"POST / HTTP/1.1\r\nX: ")
    began_s = time.monotonic()
    with suppress(ConnectionError):
        while time.monotonic() < began_s + 3.0:
            time.sleep(0.03)
            caller.socket.sendall(b"x")
    assert time.monotonic() < began_s + 2.0


def test_half_a_body_is_too_late(connect: Connect) -> None:
    caller = connect()
    assert caller.call("Content-Length: 100", body="half") == 408
    assert caller.is_closed()


@pytest.mark.parametrize("header", ["Content-Length: 1001", "Transfer-Encoding: chunked"])
def test_a_body_beyond_the_limit_is_refused(connect: Connect, header: str) -> None:
    body = "x" * 1001
    chunk = f"3e9\r\n{body}\r\n0\r\n\r\n" if "chunked" in header else body
    assert connect().call(header, body=chunk) == 413


def test_chunks_that_are_none_are_a_bad_request(connect: Connect) -> None:
    assert connect().call("Transfer-Encoding: chunked", body="3\r\nabc\r\nzz\r\n") == 400


def test_a_body_is_sent_for_when_its_caller_waits_for_that(connect: Connect) -> None:
    caller = connect()
    assert caller.call("Content-Length: 3", "Expect: 100-continue") == 100
    caller.socket.sendall(b"abc")
    assert caller.status() == 200
    too_large = connect()
    assert too_large.call("Content-Length: 1001", "Expect: 100-continue") == 413


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        ("GET / HTTP/1.1\r\nX: ", "x" * 1000),
        ("GET /", "x" * 1000),
        ("GET / HTTP/1.1\r\n", "X: y\r\n" * 100),
        ("POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n3;", "x" * 1000),
        ("POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n" * 100),
        (
            "GET / HTTP/1.1\r\nHost: HOST\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            "x" * 1000,
        ),
    ],
)
def test_what_never_ends_is_ended(connect: Connect, begin: str, more: str) -> None:
    caller = connect()
    caller.socket.sendall(begin.replace("HOST", f"127.0.0.1:{caller.port}").encode())
    began_s = time.monotonic()
    with suppress(ConnectionError):
        while time.monotonic() < began_s + 4.0:
            caller.socket.sendall(more.encode())
    assert time.monotonic() < began_s + 3.0


def test_compressed_bodies_stay_as_they_are(connect: Connect) -> None:
    caller = connect()
    caller.send("Content-Encoding: gzip", "Content-Length: 3", body="abc")
    assert caller.socket.recv(4096).endswith(b"3 bytes.")


def test_a_recognised_caller_takes_its_time_and_may_rest(connect: Connect) -> None:
    caller = connect()
    assert caller.call("Known: yes", path="/wait") == 200
    time.sleep(LIMITS_S["RECOGNISED_WITHIN_S"] + 0.1)
    assert caller.call("Known: yes") == 200
    assert caller.is_closed()  # in the end


def test_an_unrecognised_caller_does_not(connect: Connect) -> None:
    caller = connect()
    caller.send(path="/wait")
    assert caller.is_closed()


def test_whoever_does_not_read_an_answer_is_closed(connect: Connect) -> None:
    caller = connect()
    caller.send("Known: yes", path="/large")
    time.sleep(LIMITS_S["REST_S"] + 0.3)
    received = 0
    with suppress(ConnectionResetError):
        while part := caller.socket.recv(2**20):
            received += len(part)
    assert received < LARGE_BYTES


def test_too_many_connections_close_the_one_that_waited_longest(
    connect_to: Callable[..., Connect],
) -> None:
    connect = connect_to(most_connections=3)
    resting, first, second = (connect() for _ in range(3))
    assert resting.call("Known: yes") == 200
    third = connect()
    assert third.call() == 200
    assert first.is_closed()
    assert second.call() == 200


def test_resting_connections_make_room_and_served_ones_do_not(
    connect_to: Callable[..., Connect],
) -> None:
    connect = connect_to(most_connections=2)
    served, resting = connect(), connect()
    assert resting.call("Known: yes") == 200
    served.send("Known: yes", path="/wait")
    time.sleep(0.1)
    another = connect()
    another.send("Known: yes", path="/wait")
    assert resting.is_closed()
    assert connect().is_closed()  # now that both are being served
    assert (served.status(), another.status()) == (200, 200)


def test_foreign_requests_are_refused_before_anything_else(connect: Connect) -> None:
    caller = connect()
    assert caller.call("Origin: http://evil.example", path="/fail") == 403
    assert caller.call("Host: evil.example", path="/fail") in (400, 403)
    assert connect().call(path="/fail") == 500
