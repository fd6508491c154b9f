"""Both ways to call InvokeRestApi make the same of every answer: one real server, real clients."""

import socket
import ssl
from itertools import chain, repeat

import pytest
import trustme
from canned_service import point_aws_at
from every_answer import AT_ONCE_S, EVERY_ANSWER, Answer
from raw_server import http, raw_server, reset, say

from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME
from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport.boto3_transport import boto3_transport, invoke_client
from mwaa_headroom.harness.transport.lean import lean_transport
from mwaa_headroom.harness.transport.outcome import CallResult, Transport

CALL = RestCall("GET", "/dags", query={"limit": 5})
TRANSPORTS = ["lean", "boto3"]


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch):
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def server():
    with raw_server() as server:
        yield server


@pytest.fixture(scope="module")
def shared_client(server):
    """Making a client takes longer than most of these tests."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        point_aws_at(monkeypatch, server.url)
        return make_client()


def make_client(call_timeout_s: float = 5.0):
    return invoke_client(
        environment="env",
        region="us-east-1",
        profile=None,
        call_timeout_s=call_timeout_s,
        max_in_flight=4,
        retries="off",
    )


def open_one(
    name: str, client, *, took_s: float = AT_ONCE_S, call_timeout_s: float = 5.0
) -> Transport:
    """A transport whose calls seem to take `took_s`."""
    moments = chain([100.0], repeat(100.0 + took_s))
    clock = moments.__next__
    if name == "boto3":
        return boto3_transport(client, "env", clock=clock)
    return lean_transport(
        client, "env", call_timeout_s=call_timeout_s, max_in_flight=4, clock=clock
    )


def send(name: str, monkeypatch, url: str, *, call_timeout_s: float = 5.0) -> CallResult:
    """Send one call through a new client for `url`."""
    point_aws_at(monkeypatch, url)
    client = make_client(call_timeout_s)
    return open_one(name, client, call_timeout_s=call_timeout_s)(CALL)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("answer", EVERY_ANSWER, ids=lambda answer: answer.words)
def test_every_answer(server, shared_client, transport: str, answer: Answer):
    server.asked.clear()
    server.script = say(answer.raw, then_close=answer.closes)
    result = open_one(transport, shared_client, took_s=answer.took_s)(CALL)
    expected = answer.result
    if transport == "boto3" and answer.boto3_result is not None:
        expected = answer.boto3_result
    assert result == expected
    assert len(server.asked) == 1, "a call is never sent twice"
    assert "why" not in repr(result)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", http(200, b"{}" * 9)[:-3]])
def test_an_answer_that_does_not_come_in_time(server, monkeypatch, transport, said):
    server.asked.clear()
    server.script = say(said)
    result = send(transport, monkeypatch, server.url, call_timeout_s=0.2)
    assert result == CallResult("client_timeout", error_code="ReadTimeoutError")
    assert len(server.asked) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_reset(server, monkeypatch, transport):
    server.asked.clear()
    server.script = reset
    result = send(transport, monkeypatch, server.url)
    assert result == CallResult("connection_error", error_code="ConnectionClosedError")
    assert len(server.asked) == 1


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nobody_listens(monkeypatch, transport):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refused
        result = send(transport, monkeypatch, f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert result == CallResult("connection_error", error_code="EndpointConnectionError")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_name_that_does_not_resolve(monkeypatch, transport):
    result = send(transport, monkeypatch, "http://no-such-host.invalid")
    assert result == CallResult("connection_error", error_code="EndpointConnectionError")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_nobody_accepts_in_time(monkeypatch, transport):
    """Linux drops what goes to a listener whose queue is full: the connection is never there."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(address)
        result = send(transport, monkeypatch, f"http://127.0.0.1:{address[1]}", call_timeout_s=0.2)
        for sock in waiting:
            sock.close()
    assert result == CallResult("connection_error", error_code="ConnectTimeoutError")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_tls_on_the_other_side(listening, monkeypatch, transport):
    result = send(transport, monkeypatch, listening.url.replace("http:", "https:"))
    assert result == CallResult("connection_error", error_code="SSLError")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_tls_handshake_that_does_not_end(monkeypatch, transport):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        result = send(transport, monkeypatch, url, call_timeout_s=0.2)
    assert result == CallResult("client_timeout", error_code="ReadTimeoutError")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A certificate authority, and the file that trusts it."""
    authority = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return authority, str(file)


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


GOOD = http(200, b'{"RestApiStatusCode": 200}')


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_tls_by_a_trusted_authority(monkeypatch, transport, variable, authority):
    issuer, file = authority
    monkeypatch.setenv(variable, file)
    with raw_server(say(GOOD), certified(issuer, "127.0.0.1")) as server:
        assert send(transport, monkeypatch, server.url).outcome == "ok"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_tls_by_somebody_else(monkeypatch, transport, authority):
    monkeypatch.setenv("AWS_CA_BUNDLE", authority[1])
    with raw_server(say(GOOD), certified(trustme.CA(), "127.0.0.1")) as server:
        result = send(transport, monkeypatch, server.url)
        assert server.asked == []
    assert result == CallResult("connection_error", error_code="SSLError")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_tls_for_another_host(monkeypatch, transport, authority):
    issuer, file = authority
    monkeypatch.setenv("AWS_CA_BUNDLE", file)
    with raw_server(say(GOOD), certified(issuer, "example.org")) as server:
        result = send(transport, monkeypatch, server.url)
        assert server.asked == []
    assert result == CallResult("connection_error", error_code="SSLError")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_tls_by_an_authority_that_the_bundle_of_the_world_does_not_have(
    monkeypatch, transport, authority
):
    with raw_server(say(GOOD), certified(authority[0], "127.0.0.1")) as server:
        result = send(transport, monkeypatch, server.url)
        assert server.asked == []
    assert result == CallResult("connection_error", error_code="SSLError")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_call_that_is_not_one(server, shared_client, transport):
    server.asked.clear()
    send_it = open_one(transport, shared_client)
    refused = CallResult("invalid", error_code="ParamValidationError")
    assert send_it(RestCall("GET", "")) == refused
    assert send_it(RestCall("POST", "/x", body={"x": b"bytes"})) == refused
    assert server.asked == []


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_credentials(server, monkeypatch, transport):
    server.asked.clear()
    point_aws_at(monkeypatch, server.url)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    result = open_one(transport, make_client())(CALL)
    assert result == CallResult("denied", error_code="NoCredentialsError")
    assert server.asked == []


def test_the_same_bytes_are_sent(server, shared_client):
    server.asked.clear()
    server.script = say(GOOD)
    call = RestCall(
        "POST", "/dags/d/dagRuns", query={"q": "ü"}, body={"conf": {"x": None}, "y": [1.5, "☃"]}
    )
    for transport in TRANSPORTS:
        assert open_one(transport, shared_client)(call).outcome == "ok"
    assert server.bodies[0] == server.bodies[1]
    lines = [request.split(b"\r\n", 1)[0] for request in server.asked]
    assert lines == [b"POST /restapi/env HTTP/1.1"] * 2


def test_outcomes_are_words_of_the_schema():
    assert {answer.result.outcome for answer in EVERY_ANSWER} <= set(LAYER_OF_OUTCOME)
