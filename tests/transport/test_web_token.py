"""The web-token transport against the stand-in's gateway, and what webservers may answer."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest
from botocore.exceptions import ClientError
from gevent.lock import BoundedSemaphore
from hypothesis import given
from hypothesis import strategies as st
from local.gateway.gateway_stand import ENVIRONMENT, POWERLESS_KEY_ID, Reply, Stand

from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME
from mwaa_headroom.harness.errors import EnvironmentAccessError, NotAllowedError
from mwaa_headroom.harness.local.gateway.operations import read_invocation
from mwaa_headroom.harness.local.settings import GatewaySettings, StandInSettings
from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport.boto3_transport import trusted_certificates
from mwaa_headroom.harness.transport.http import HttpAnswer
from mwaa_headroom.harness.transport.outcome import CallResult
from mwaa_headroom.harness.transport.web_token import (
    PAUSE_S,
    Session,
    SharedSession,
    WebToken,
    WebTokenTransport,
    _is_moved_to,
    rest_target,
    result_of_answer,
    session_is_refused,
    web_token_transport,
    webserver_url,
)

DAGS = RestCall("GET", "/dags", query={"limit": 5})
HOUR_S = 3600.0


@pytest.fixture
def start_stand(tmp_path: Path) -> Iterator[Callable[..., Stand]]:
    # Some tests let half a day pass on the stand's clock alone, which signatures are judged by too.
    def start(*, login_redirects: bool = False, **choices: Any) -> Stand:
        gateway = GatewaySettings(max_clock_skew_s=24 * HOUR_S, login_redirects=login_redirects)
        settings = StandInSettings(gateway=gateway)
        return stack.enter_context(Stand(tmp_path / "trail.jsonl", settings=settings, **choices))

    with ExitStack() as stack:
        yield start


@pytest.fixture
def stand(start_stand: Callable[..., Stand]) -> Stand:
    return start_stand()


def transport_of(stand: Stand, client: Any = None, **choices: Any) -> WebTokenTransport:
    parts = {"airflow_version": "3.3.1", "call_timeout_s": 5.0, "max_in_flight": 100}
    return web_token_transport(client or stand.client(), ENVIRONMENT, **{**parts, **choices})


def tokens_made(stand: Stand) -> int:
    return Counter(event["eventName"] for event in stand.cloudtrail())["CreateWebLoginToken"]


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("version", "prefix"), [("2.11.2", "/api/v1"), ("3.0.6", "/api/v2"), ("3.3.1", "/api/v2")]
)
def test_a_good_call(start_stand, version, prefix):
    stand = start_stand(airflow_version=version)
    send = transport_of(stand, airflow_version=version)
    assert send.url == stand.addresses.webserver_url
    assert send(DAGS) == CallResult("ok", http_status=200, airflow_status=200, response_bytes=12)
    (seen,) = stand.webservers[0].seen
    assert (seen.method, seen.raw_path, seen.body) == ("GET", f"{prefix}/dags?limit=5", b"")
    assert seen.headers["Accept"] == "application/json"
    assert "Content-Type" not in seen.headers


def test_a_body_keeps_its_nulls(stand):
    body = {"conf": {}, "logical_date": None}
    assert transport_of(stand)(RestCall("POST", "/dags/d/dagRuns", body=body)).outcome == "ok"
    (seen,) = stand.webservers[0].seen
    assert seen.body == b'{"conf":{},"logical_date":null}'
    assert seen.headers["Content-Type"] == "application/json"


def test_connections_and_the_session_are_kept(stand):
    send = transport_of(stand)
    assert {send(DAGS).outcome for _ in range(5)} == {"ok"}
    assert tokens_made(stand) == 1


# Replies of a webserver: status, content type, body, then outcome and whether Airflow said it.
REPLIES = [
    (200, "application/json", b"{}", "ok", True),
    (201, "application/json", b"{}", "ok", True),
    (204, "", b"", "ok", True),
    # a redirect to the same path with a slash
    (307, "", b"", "ok", True),
    (400, "application/problem+json", b"{}", "airflow_client_error", True),
    (403, "application/json", b'{"detail":"Forbidden"}', "airflow_client_error", True),
    (404, "application/json", b"{}", "airflow_client_error", True),
    (409, "application/json", b"{}", "airflow_client_error", True),
    (422, "application/json", b"{}", "airflow_client_error", True),
    (429, "application/json", b"{}", "airflow_client_error", True),
    (500, "application/json", b"{}", "airflow_server_error", True),
    # an unhandled exception: Airflow 3, Airflow 2
    (500, "text/plain", b"Internal Server Error", "airflow_server_error", True),
    (500, "text/html", b"<html>Ooops!</html>", "airflow_server_error", True),
    (503, "application/json", b"{}", "airflow_server_error", True),
    (504, "application/json", b"{}", "airflow_server_error", True),
    # somebody in between
    (502, "text/html", b"<html>502 Bad Gateway</html>", "service_error", False),
    (503, "text/html", b"<html>503</html>", "service_error", False),
    (504, "text/html", b"<html>504</html>", "service_error", False),
    (200, "text/html", b"<html>welcome</html>", "service_error", False),
    (200, "", b"", "service_error", False),
    (400, "text/html", b"<html>400</html>", "invalid", False),
    (403, "text/html", b"<html>blocked</html>", "denied", False),
    (404, "text/html", b"<html>404</html>", "not_found", False),
    (408, "text/html", b"", "connection_error", False),
    (413, "text/html", b"<html>413</html>", "invalid", False),
    (429, "text/html", b"<html>slow down</html>", "throttled", False),
]


@pytest.mark.parametrize(("status", "content_type", "body", "outcome", "by_airflow"), REPLIES)
def test_what_an_answer_means(status, content_type, body, outcome, by_airflow):
    headers = {"content-type": content_type} if content_type else {}
    if status == 307:
        headers["location"] = "http://host/api/v2/dags/?limit=5"
    answer = HttpAnswer(status, headers, body)
    assert outcome in LAYER_OF_OUTCOME
    assert result_of_answer(answer, api_prefix="/api/v2", attempts=1, elapsed_s=1.0) == CallResult(
        outcome,
        http_status=status,
        airflow_status=status if by_airflow else None,
        error_code=None if outcome == "ok" else str(status),
        response_bytes=len(body),
    )


@pytest.mark.parametrize(
    ("elapsed_s", "outcome"), [(20.0, "service_error"), (60.0, "service_timeout")]
)
def test_the_balancers_504_is_a_timeout_once_its_time_is_up(elapsed_s, outcome):
    answer = HttpAnswer(504, {"content-type": "text/html"}, b"<html>504 Gateway Time-out</html>")
    result = result_of_answer(answer, api_prefix="/api/v2", attempts=1, elapsed_s=elapsed_s)
    assert (result.outcome, result.airflow_status) == (outcome, None)


def test_what_a_balancer_signs_is_not_airflows():
    headers = {"server": "awselb/2.0", "content-type": "text/html"}
    answer = HttpAnswer(500, headers, b"<html>500</html>")
    result = result_of_answer(answer, api_prefix="/api/v2", attempts=1, elapsed_s=0.1)
    assert result.outcome == "service_error"


@pytest.mark.parametrize(
    ("status", "location", "body", "refused"),
    [
        (401, None, b'{"detail":"Token Expired"}', True),
        (403, None, b'{"detail":"Invalid JWT token"}', True),
        (403, None, b'{"detail":"Forbidden"}', False),
        (302, "https://host/aws_mwaa/aws-console-sso?next=%2Fapi", b"", True),
        (302, "/login?next=/api/v2/dags", b"", True),
        (307, "/api/v2/dags/", b"", False),
        (304, None, b"", False),
        (200, None, b"{}", False),
    ],
)
def test_signs_of_a_session_that_has_ended(status, location, body, refused):
    """Airflow 3.3.1 has the two details in api_fastapi/core_api/security.py."""
    answer = HttpAnswer(status, {"location": location} if location else {}, body)
    assert session_is_refused(answer, "/api/v2") is refused
    if refused:
        result = result_of_answer(answer, api_prefix="/api/v2", attempts=2, elapsed_s=0.1)
        assert (result.outcome, result.http_status, result.attempts) == ("denied", status, 2)


def test_failing_webservers(stand):
    send = transport_of(stand)
    stand.webservers[0].replies["/api/v2/dags"] = Reply(hang_up=True)
    assert send(DAGS) == CallResult(
        "service_error", http_status=502, error_code="502", response_bytes=11
    )
    stand.balancer.remove("webserver-1")
    assert (send(DAGS).outcome, send(DAGS).http_status) == ("service_error", 503)


def test_a_caller_who_gives_up(stand):
    send = transport_of(stand, call_timeout_s=0.3)
    stand.webservers[0].replies["/api/v2/dags"] = Reply(delay_s=1.0)
    assert send(DAGS) == CallResult("client_timeout", error_code="ReadTimeoutError")


def test_an_ended_session_costs_one_more_attempt(stand):
    send = transport_of(stand)
    stand.clock_offset_s = 12.1 * HOUR_S
    assert (send(DAGS).attempts, send(DAGS).attempts) == (2, 1)
    assert send(DAGS).outcome == "ok"
    assert tokens_made(stand) == 2
    assert len(stand.webservers[0].seen) == 3  # the refused attempt did nothing


def test_a_session_is_renewed_before_it_ends(stand):
    clock = Clock()
    send = transport_of(stand, clock=clock)
    clock.now_s += 11.9 * HOUR_S
    stand.clock_offset_s = 11.9 * HOUR_S
    assert send(DAGS).attempts == 1
    assert tokens_made(stand) == 2
    stand.clock_offset_s = 12.1 * HOUR_S
    assert send(DAGS).attempts == 1


def test_a_hundred_greenlets_log_in_once(stand):
    send = transport_of(stand)
    stand.clock_offset_s = 12.1 * HOUR_S
    greenlets = [gevent.spawn(send, DAGS) for _ in range(100)]
    results = [greenlet.get(timeout=30) for greenlet in greenlets]
    assert {result.outcome for result in results} == {"ok"}
    assert tokens_made(stand) == 2


def test_who_is_refused_with_a_new_session_is_denied(stand):
    clock = Clock()
    send = transport_of(stand, clock=clock)
    refusal = Reply(401, b'{"detail":"who?"}')
    stand.webservers[0].replies["/api/v2/dags"] = refusal
    assert send(DAGS) == CallResult(
        "denied",
        http_status=401,
        airflow_status=401,
        error_code="401",
        response_bytes=len(refusal.body),
        attempts=2,
    )
    assert [send(DAGS).attempts for _ in range(5)] == [1] * 5
    assert tokens_made(stand) == 2, "logins that do not help must not become a load"
    clock.now_s += PAUSE_S
    assert send(DAGS).attempts == 2


class Revoked:
    """A client whose permission is taken away after the first token."""

    def __init__(self, client: Any) -> None:
        self.meta = client.meta
        self.asked = 0
        self.is_revoked = True
        self._client = client

    def create_web_login_token(self, **request: str) -> Any:
        self.asked += 1
        if self.asked > 1 and self.is_revoked:
            error = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}
            raise ClientError(error, "CreateWebLoginToken")
        return self._client.create_web_login_token(**request)

    def get_environment(self, **request: str) -> Any:
        return self._client.get_environment(**request)


def test_a_login_that_fails_during_the_load(stand, caplog):
    clock, client = Clock(), Revoked(stand.client())
    send = transport_of(stand, client, clock=clock)
    stand.clock_offset_s = 12.1 * HOUR_S
    results = [send(DAGS) for _ in range(5)]
    assert {(result.outcome, result.http_status) for result in results} == {("denied", 401)}
    assert client.asked == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "airflow:CreateWebLoginToken" in caplog.text
    client.is_revoked = False
    clock.now_s += PAUSE_S
    assert (send(DAGS).attempts, send(DAGS).outcome) == (2, "ok")


def test_without_permission_the_sentence_says_which(stand):
    with pytest.raises(
        EnvironmentAccessError, match=r"allow airflow:CreateWebLoginToken on .*role"
    ):
        transport_of(stand, stand.client(aws_access_key_id=POWERLESS_KEY_ID))


def test_an_airflow_that_does_not_know_the_login(stand):
    """At the login of Airflow 2, Airflow 3 shows its user interface."""
    with pytest.raises(EnvironmentAccessError, match=r"no session .*\(status 200\)"):
        transport_of(stand, airflow_version="2.11.2")


def test_a_login_that_has_moved_by_a_slash_is_followed(start_stand):
    assert transport_of(start_stand(login_redirects=True))(DAGS).outcome == "ok"


@pytest.mark.parametrize(
    ("location", "followed"),
    [
        ("/login/", True),
        ("https://here.example/login/", True),
        ("https://elsewhere.example/login/", False),
        ("/login", False),
        ("/elsewhere/", False),
        ("", False),
    ],
)
def test_a_token_goes_to_no_other_place(location, followed):
    answer = HttpAnswer(307, {"location": location}, b"")
    assert _is_moved_to(answer, "here.example", "/login/") is followed


def test_a_webserver_that_does_not_answer(stand):
    client = Revoked(stand.client())
    client.get_environment = lambda **_: {"Environment": {}}
    client.create_web_login_token = lambda **_: {
        "WebServerHostname": "127.0.0.1:1",
        "WebToken": "secret-token",
    }
    with pytest.raises(EnvironmentAccessError, match=r"does not answer at 127\.0\.0\.1:1") as error:
        transport_of(stand, client)
    assert "secret-token" not in str(error.value)


def test_no_secret_is_told(stand, caplog):
    caplog.set_level(logging.DEBUG, logger="mwaa_headroom.harness")
    send = transport_of(stand)
    stand.clock_offset_s = 12.1 * HOUR_S
    send(DAGS)
    session = send._session.current()
    secret = session.headers.decode().split()[-1]
    assert len(secret) > 30
    assert secret not in repr(session) + caplog.text
    assert "secret" not in repr(WebToken("host", "secret"))


@pytest.mark.parametrize(
    ("hostname", "service", "url"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:5000", "http://127.0.0.1:8080"),
        ("localhost:8080", "http://localhost:5000", "http://localhost:8080"),
        ("x.airflow.aws", "https://airflow.us-east-1.amazonaws.com", "https://x.airflow.aws"),
        # a tunnel to the service; and what AWS would never say
        ("x.airflow.aws", "http://127.0.0.1:5000", "https://x.airflow.aws"),
        ("127.0.0.1", "https://airflow.us-east-1.amazonaws.com", "https://127.0.0.1"),
        ("127.0.0.1@x.aws", "http://127.0.0.1:5000", "https://127.0.0.1@x.aws"),
    ],
)
def test_only_the_stand_in_goes_without_tls(hostname, service, url):
    assert webserver_url(hostname, service_url=service, this_machine_only=False) == url
    if url.startswith("https"):
        with pytest.raises(NotAllowedError, match="not on this machine"):
            webserver_url(hostname, service_url=service, this_machine_only=True)


class ElsewhereClient:
    """A client whose GetEnvironment says another webserver than its tokens are for."""

    def __init__(self, client: Any, webserver: str) -> None:
        self._client, self._webserver = client, webserver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def get_environment(self, **_: str) -> dict[str, Any]:
        return {"Environment": {"WebserverUrl": self._webserver}}


def test_a_webserver_that_is_not_the_environments_is_not_loaded(stand):
    for told in ("https://x.c1.us-east-1.airflow.amazonaws.com", "y.airflow.aws"):
        with pytest.raises(NotAllowedError, match="says that of environment"):
            transport_of(stand, ElsewhereClient(stand.client(), told))
    own = stand.addresses.webserver_url
    for told in (own, own.removeprefix("http://"), ""):
        transport_of(stand, ElsewhereClient(stand.client(), told))


def test_certificates_are_those_that_boto3_trusts(stand):
    client = stand.client()
    plain, other = (
        trusted_certificates(client, url, transport="web_token")
        for url in ("http://127.0.0.1:5000", "https://other.aws")
    )
    assert plain is None
    assert Path(other).is_file()


def test_certificates_that_nobody_checks_are_refused(stand):
    client = stand.client(verify=False)
    with pytest.raises(EnvironmentAccessError, match="AWS_CA_BUNDLE"):
        trusted_certificates(client, "https://x.airflow.aws", transport="web_token")


_WORDS = st.text(st.characters(codec="utf-8", exclude_characters="?\\"), max_size=12)
_VALUES = st.none() | st.booleans() | st.integers() | _WORDS


@given(
    path=_WORDS.filter(lambda text: text not in (".", "..")).map(lambda text: "/d" + text),
    query=st.dictionaries(_WORDS, _VALUES | st.lists(_VALUES, max_size=3), max_size=4),
)
def test_airflow_sees_the_same_call_as_through_invoke_rest_api(path, query):
    """As the stand-in hands it on."""
    if "/." in path:
        return
    document = {"Method": "GET", "Path": path, "QueryParameters": query}
    invocation = read_invocation(document, prefix="/api/v2", settings=GatewaySettings())
    assert rest_target("/api/v2", RestCall("GET", path, query=query)) == invocation.target


def test_whoever_waits_takes_the_login_that_was_made_meanwhile():
    first, made = Session(b"first", 0.0), []

    def log_in() -> Session:
        gevent.sleep(0.02)  # everybody else comes and waits
        made.append(Session(b"new", 0.0))
        return made[-1]

    shared = SharedSession(first, log_in=log_in, lock=BoundedSemaphore(1), clock=lambda: 0.0)
    callers = [gevent.spawn(shared.instead_of, first) for _ in range(100)]
    got = [caller.get(timeout=30) for caller in callers]
    assert len(made) == 1
    assert got == made * 100


def test_a_caller_who_gives_up_during_a_login_holds_nobody_up():
    first, asked = Session(b"first", 0.0), []

    def log_in() -> Session:
        asked.append(len(asked))
        if len(asked) == 1:
            gevent.sleep(60.0)
        return Session(b"new", 0.0)

    shared = SharedSession(first, log_in=log_in, lock=BoundedSemaphore(1), clock=lambda: 0.0)
    impatient = gevent.spawn(shared.instead_of, first)
    patient = gevent.spawn(shared.instead_of, first)
    gevent.sleep(0.01)
    impatient.kill()
    assert patient.get(timeout=30).headers == b"new"
    assert len(asked) == 2


def test_nobody_waits_for_an_early_renewal():
    """Who meets a login under way goes on with the session there is."""
    clock, lock, first = Clock(), BoundedSemaphore(1), Session(b"first", 0.0)
    shared = SharedSession(first, log_in=lambda: Session(b"new", clock()), lock=lock, clock=clock)
    clock.now_s = 11.9 * HOUR_S
    with lock:
        assert shared.current() is first
    assert shared.current().headers == b"new"


def test_an_early_renewal_that_fails_leaves_the_session():
    clock, first = Clock(), Session(b"first", 0.0)
    asked: list[float] = []

    def log_in() -> Session:
        asked.append(clock())
        raise KeyError("botocore met an unforeseen answer")

    shared = SharedSession(first, log_in=log_in, lock=BoundedSemaphore(1), clock=clock)
    clock.now_s = 11.9 * HOUR_S
    assert [shared.current() for _ in range(3)] == [first] * 3
    assert len(asked) == 1
