"""Connections and answers, byte by byte, against a server that says exactly what it is told."""

import gc
import select
import socket
import ssl
import threading
import time

import gevent
import pytest
import trustme
from every_answer import FRAMINGS, SUCCESSES
from geventhttpclient.response import HTTPParseError
from hypothesis import given
from hypothesis import strategies as st
from raw_server import RawServer, Script, http, raw_server, reset, say

from mwaa_headroom.harness.errors import EnvironmentAccessError
from mwaa_headroom.harness.transport import http as http_module
from mwaa_headroom.harness.transport.http import (
    HttpAnswer,
    HttpEndpoint,
    NoAnswerError,
    host_header,
    receive_answer,
)
from mwaa_headroom.harness.transport.proxy import Proxy

GOOD = http(200, b"{}")
LINES = b"content-type: application/json\r\n"


@pytest.fixture
def server():
    with raw_server(say(GOOD)) as server:
        yield server


def endpoint_of(server: RawServer, **changes) -> HttpEndpoint:
    return HttpEndpoint(server.url, **{"connections": 4, "timeout_s": 5.0, **changes})


def post(endpoint: HttpEndpoint, body: bytes = b"{}") -> HttpAnswer:
    return endpoint.send("POST", "/restapi/env", LINES, body)


def refused(endpoint: HttpEndpoint, body: bytes = b"{}") -> str:
    with pytest.raises(NoAnswerError) as caught:
        post(endpoint, body)
    return caught.value.code


def wait_until_closed(connection: socket.socket) -> None:
    deadline = time.monotonic() + 10
    while connection.fileno() >= 0 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert connection.fileno() < 0


class Received:
    """A socket whose peer has said these parts and closed."""

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = [part for part in parts if part]

    def recv(self, _: int) -> bytes:
        return self._parts.pop(0) if self._parts else b""


def parsed(*parts: bytes) -> tuple[int, dict[str, str], bytes]:
    answer = receive_answer(Received(list(parts)))
    return answer.get_code(), answer.headers, b"".join(answer.body)


@pytest.mark.parametrize("answer", SUCCESSES[:1] + FRAMINGS, ids=lambda answer: answer.words)
def test_an_answer_split_at_any_byte(answer):
    whole = parsed(answer.raw)
    for at in range(1, len(answer.raw)):
        assert parsed(answer.raw[:at], answer.raw[at:]) == whole
    assert parsed(*(bytes([byte]) for byte in answer.raw)) == whole


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=9))
def test_any_body_in_chunks(body, sizes):
    chunks, rest = [], body
    for size in sizes:
        if rest[:size]:
            chunks.append(rest[:size])
            rest = rest[size:]
    chunks += [rest] if rest else []
    raw = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert parsed(head + raw + b"0\r\n\r\n")[2] == body


@given(st.binary(max_size=400))
def test_any_bytes_end_in_an_answer_or_in_none(said):
    try:
        answer = receive_answer(Received([said]))
    except HTTPParseError:
        return
    assert said.startswith(b"HTTP/1.")
    assert answer.is_complete


def test_headers_of_an_answer():
    raw = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nEmpty:\r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
    trailer = b"0\r\nX-A: 3\r\nEmpty: 4\r\n\r\n"
    assert parsed(raw + trailer)[1] == {"x-a": "1, 2", "empty": "", "transfer-encoding": "chunked"}


def test_a_request(server):
    endpoint = endpoint_of(server)
    assert post(endpoint, b"[1]") == HttpAnswer(200, {"content-length": "2"}, b"{}")
    endpoint.send("GET", "/health?a=b", b"")
    assert server.asked == [
        b"POST /restapi/env HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 3\r\n"
        b"content-type: application/json\r\n\r\n[1]" % server.port,
        b"GET /health?a=b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 0\r\n\r\n"
        % server.port,
    ]


def test_a_connection_is_kept(server):
    endpoint = endpoint_of(server)
    for _ in range(5):
        post(endpoint)
    assert server.accepted == 1


@pytest.mark.parametrize(
    "said",
    [
        http(200, b"{}", "Connection: close"),
        http(200, b"{}").replace(b"1.1", b"1.0", 1),
        GOOD + GOOD,
        GOOD + b"garbage",
    ],
)
def test_a_connection_is_not_kept(server, said):
    endpoint = endpoint_of(server)
    server.script = say(said)
    for _ in range(2):
        assert post(endpoint).body == b"{}"
    assert server.accepted == 2


def test_a_kept_connection_that_the_server_has_closed(server):
    """Found out before anything is sent: the call does not even notice."""
    endpoint = endpoint_of(server)
    server.script = say(GOOD, then_close=True)
    post(endpoint)
    wait_until_closed(server.connections[0])
    assert post(endpoint).status == 200
    assert len(server.asked) == 2


def test_a_kept_connection_that_the_server_has_reset(server):
    endpoint = endpoint_of(server)

    def answer_and_reset(connection: socket.socket) -> bool:
        connection.sendall(GOOD)
        time.sleep(0.05)  # a reset throws away what the client has not read yet
        return reset(connection)

    server.script = answer_and_reset
    post(endpoint)
    wait_until_closed(server.connections[0])
    assert post(endpoint).status == 200
    assert len(server.asked) == 2


def test_a_kept_connection_on_which_the_server_spoke_unasked(server):
    """Its words must not become the answer of the next call."""
    endpoint = endpoint_of(server)
    post(endpoint)
    server.connections[0].sendall(http(500))
    assert post(endpoint).status == 200
    assert server.accepted == 2


def test_a_kept_connection_that_breaks_before_the_first_byte_is_sent(server, monkeypatch):
    """The one case in which a call goes out on a second connection: nothing of it had gone out."""
    endpoint = endpoint_of(server)
    post(endpoint)
    endpoint._idle[0].socket.shutdown(socket.SHUT_WR)  # the next write fails at once
    monkeypatch.setattr(http_module._Connection, "is_silent", lambda _: True)
    assert post(endpoint).status == 200
    assert len(server.asked) == 2


@pytest.mark.parametrize("end", [reset, say(then_close=True), say(GOOD[:30], then_close=True)])
def test_a_call_whose_bytes_went_out_is_never_sent_again(server, end):
    endpoint = endpoint_of(server)
    post(endpoint)
    server.script = end
    assert refused(endpoint) == "ConnectionClosedError"
    assert len(server.asked) == 2
    assert server.accepted == 1


def test_the_time_limit_is_for_the_whole_call(server):
    """An answer that trickles in never waits long for the next byte, but for the last one."""

    def trickle(connection: socket.socket) -> bool:
        for byte in http(200, b"x" * 1000):
            connection.sendall(bytes([byte]))
            time.sleep(0.02)
        return True

    server.script = trickle
    assert refused(endpoint_of(server, timeout_s=0.3)) == "ReadTimeoutError"


def test_after_a_time_out_the_next_call_gets_its_own_answer(server):
    endpoint = endpoint_of(server, timeout_s=0.2)
    late = threading.Event()

    def answer_late(connection: socket.socket) -> bool:
        late.wait(10)
        connection.sendall(http(500))
        return True

    server.script = answer_late
    assert refused(endpoint) == "ReadTimeoutError"
    server.script = say(GOOD)
    late.set()
    assert post(endpoint).status == 200


def test_a_killed_call_leaves_no_connection_behind(server):
    endpoint = endpoint_of(server)
    server.script = say(b"")
    call = gevent.spawn(post, endpoint)
    gevent.sleep(0.1)
    call.kill()
    server.script = say(GOOD)
    assert post(endpoint).status == 200
    assert server.accepted == 2


def test_a_callers_own_time_limit_is_not_taken_for_the_endpoints(server):
    server.script = say(b"")
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
        post(endpoint_of(server))


def test_large_bodies(server):
    body = bytes(range(256)) * 24_000
    server.script = say(http(200, body))
    endpoint = endpoint_of(server)
    assert post(endpoint, body).body == body
    assert server.bodies == [body]
    assert post(endpoint).body == body
    assert server.accepted == 1


def test_a_large_request_that_is_refused_early():
    """The server answers after the head and hangs up: the answer counts, not the broken pipe."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(http(413))

        thread = threading.Thread(target=refuse)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        endpoint = HttpEndpoint(url, connections=1, timeout_s=5.0)
        assert post(endpoint, bytes(20_000_000)).status == 413
        thread.join()


def meeting(parties: int):
    """A script that answers only once so many calls are in flight."""
    barrier = threading.Barrier(parties)

    def script(connection: socket.socket) -> bool:
        barrier.wait(10)
        connection.sendall(GOOD)
        return True

    return script


def test_calls_of_several_greenlets_are_in_flight_together(server):
    server.script = meeting(4)
    endpoint = endpoint_of(server)
    calls = [gevent.spawn(post, endpoint) for _ in range(12)]
    gevent.joinall(calls, timeout=10)
    assert [call.value.status for call in calls] == [200] * 12
    assert server.accepted == 4, "as many connections as allowed, and no more"


def test_no_connection_becomes_free_in_time(server):
    server.script = say(b"")
    endpoint = endpoint_of(server, connections=1, timeout_s=0.2)
    calls = [gevent.spawn(refused, endpoint) for _ in range(2)]
    gevent.joinall(calls, timeout=10)
    assert {call.value for call in calls} <= {"ReadTimeoutError", "ConnectTimeoutError"}
    server.script = say(GOOD)
    assert post(endpoint).status == 200


def test_idle_connections_are_closed_in_time(server, monkeypatch):
    """An idle connection is load: MWAA adds webservers by the number of connections."""
    server.script = meeting(4)
    endpoint = endpoint_of(server)
    gevent.joinall([gevent.spawn(post, endpoint) for _ in range(4)], timeout=10)
    assert len(endpoint._idle) == 4
    monkeypatch.setattr(http_module, "IDLE_LIMIT_S", 0.05)
    time.sleep(0.06)
    server.script = say(GOOD)
    post(endpoint)
    assert len(endpoint._idle) == 1
    for connection in server.connections[:4]:
        wait_until_closed(connection)


@pytest.mark.parametrize("how", ["closed", "forgotten", "closed while in use"])
def test_no_connection_outlives_its_endpoint(server, how):
    endpoint = endpoint_of(server)
    if how == "closed while in use":
        server.script = meeting(2)
        calls = [gevent.spawn(post, endpoint) for _ in range(2)]
        gevent.sleep(0)
        endpoint.close()
        gevent.joinall(calls, timeout=10)
    else:
        post(endpoint)
    if how == "closed":
        endpoint.close()
    del endpoint
    gc.collect()
    for connection in server.connections:
        wait_until_closed(connection)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def test_tls_connections_are_kept_and_do_not_block(authority, tmp_path):
    """TLS 1.3 servers send tickets after the handshake, which must not look like a closed end."""
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with raw_server(meeting(3), context) as server:
        endpoint = endpoint_of(server, connections=3, ca_bundle=str(file))
        calls = [gevent.spawn(post, endpoint) for _ in range(9)]
        gevent.joinall(calls, timeout=20)
        assert [call.value.status for call in calls] == [200] * 9
        assert server.accepted == 3
        server.script = say(GOOD, then_close=True)
        for _ in range(4):
            assert post(endpoint).status == 200
            gevent.sleep(0.05)
        endpoint.close()


def proxy_server(answer: bytes, to_port: int) -> Script:
    """Leads on to a port of this machine if its answer is a success."""

    def script(connection: socket.socket) -> bool:
        connection.sendall(answer)
        if not answer.startswith(b"HTTP/1.1 2"):
            return False
        with socket.create_connection(("127.0.0.1", to_port)) as onward:
            ends = {connection: onward, onward: connection}
            while True:
                for ready in select.select([*ends], [], [], 20)[0]:
                    if not (data := ready.recv(65536)):
                        return False
                    ends[ready].sendall(data)

    return script


def test_a_proxy_leads_tls_on_and_only_the_server_reads_it(authority, tmp_path):
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with raw_server(say(GOOD), context) as server, raw_server() as between:
        between.script = proxy_server(b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n", server.port)
        proxy = Proxy("127.0.0.1", between.port, b"Proxy-Authorization: Basic eDp5\r\n")
        endpoint = endpoint_of(server, ca_bundle=str(file), proxy=proxy)
        assert [post(endpoint).status for _ in range(3)] == [200] * 3
        assert (server.accepted, between.accepted) == (1, 1)
        (asked,) = between.asked
        assert asked.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n".encode())
        assert b"Proxy-Authorization: Basic eDp5" in asked
        endpoint.close()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 No\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"x\r\n\r\n"]
)
def test_a_proxy_that_refuses_is_named_as_botocore_names_it(server, answer):
    with raw_server(say(answer, then_close=True)) as between:
        endpoint = endpoint_of(server, proxy=Proxy("127.0.0.1", between.port))
        with pytest.raises(NoAnswerError) as caught:
            post(endpoint)
    assert (caught.value.code, caught.value.outcome) == ("ProxyConnectionError", "connection_error")


def test_a_host_with_two_addresses(server, monkeypatch):
    """The first of them refuses."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", taken.getsockname()),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port)),
        ]
        monkeypatch.setattr(gevent.socket, "getaddrinfo", lambda *_, **__: addresses)
        assert post(HttpEndpoint("http://two.example", connections=1, timeout_s=5)).status == 200


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("https://env.airflow.us-east-1.amazonaws.com", "env.airflow.us-east-1.amazonaws.com"),
        ("https://Host.Example:443/path", "host.example"),
        ("https://host:80", "host:80"),
        ("http://host:80", "host"),
        ("http://127.0.0.1:5000", "127.0.0.1:5000"),
        ("http://user:secret@host", "host"),
        ("https://[::1]:8443", "[::1]:8443"),
    ],
)
def test_the_host_header(url, header):
    assert host_header(url) == header


@pytest.mark.parametrize(
    "url", ["", "host:80", "ftp://host", "http://", "host", "http://host:99999"]
)
def test_a_url_that_is_none(url):
    with pytest.raises(EnvironmentAccessError, match="endpoint URL"):
        HttpEndpoint(url, connections=1, timeout_s=1.0)


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_ca_bundle_that_cannot_be_used(tmp_path, content):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(EnvironmentAccessError, match="AWS_CA_BUNDLE"):
        HttpEndpoint("https://host", connections=1, timeout_s=1.0, ca_bundle=str(file))


def test_the_systems_certificates_are_the_default():
    assert HttpEndpoint("https://host", connections=1, timeout_s=1.0)._tls.check_hostname
