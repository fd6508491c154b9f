"""The documented way past InvokeRestApi's throttle: a web login token, then the webserver itself.

Source: MWAA User Guide, "Create a web server session token and call the Apache Airflow REST API". A
web login token serves once within 60 s; the session it is exchanged for lives 12 h. Both are
secrets: neither is ever in a message, a repr or a log.

The session is shared by all calls and renewed in time. When it has ended, the next call is refused
before Airflow does anything, so it is sent again after a new login, and counts as two attempts.

Nothing but a load balancer stands before the webserver, so Airflow's own status is the answer's,
and what Airflow did not say has to be told apart:

- JSON is Airflow's, whatever the status. Errors from 500 may come without: a webserver that breaks
  down answers in plain text (Airflow 3) or HTML (Airflow 2).
- 502, 503 and 504 without JSON are the load balancer's own words (layer: service), a 504 once its
  idle time is up is `service_timeout`; anything that names `awselb` as its server is its own too.
- 429 is Airflow's own error if Airflow said it, as it is through InvokeRestApi; anybody else's (a
  firewall rule's, say) is `throttled`.
- A success that is not Airflow's, a proxy's page for example, never counts as ok.
- A refused session is `denied`, whoever refused it: the caller's way in is wrong, not the call.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from gevent.lock import BoundedSemaphore

from mwaa_headroom.analysis.mwaa import WEB_SESSION_LIFE_S
from mwaa_headroom.harness.aws.clients import is_loopback
from mwaa_headroom.harness.aws.translate import aws_call, member
from mwaa_headroom.harness.errors import EnvironmentAccessError, NotAllowedError
from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport.boto3_transport import trusted_certificates
from mwaa_headroom.harness.transport.http import HttpAnswer, HttpEndpoint, NoAnswerError
from mwaa_headroom.harness.transport.outcome import CallResult, outcome_of_answer
from mwaa_headroom.harness.transport.proxy import proxy_for

RENEW_BEFORE_S = 900.0
PAUSE_S = 10.0  # between logins that did not help: they must not become a load of their own
BALANCER_TIMEOUT_S = 60.0  # idle timeout of an Application Load Balancer, unless configured
_BALANCER_STATUSES = (502, 503, 504)
_LOGIN_HEADERS = b"Content-Type: application/x-www-form-urlencoded\r\nUser-Agent: headroom\r\n"
_CALL_HEADERS = b"Accept: application/json\r\nUser-Agent: headroom\r\n"
_JSON = b"Content-Type: application/json\r\n"

logger = logging.getLogger(__name__)


def web_token_transport(
    client: Any,
    environment_name: str,
    airflow_version: str,
    *,
    call_timeout_s: float,
    max_in_flight: int,
    this_machine_only: bool = False,
    clock: Callable[[], float] = time.monotonic,
    may_try_again: Callable[[], bool] = lambda: True,
) -> "WebTokenTransport":
    """Log in, and send calls of one environment to its webserver address.

    Args:
        client: a boto3 `mwaa` client, for the tokens.
        environment_name: the environment to call.
        airflow_version: such as "3.3.1"; decides paths and how the session is shown.
        call_timeout_s: of each attempt, from its start to the last byte of the answer.
        max_in_flight: as many connections may be open.
        this_machine_only: refuse a webserver address that is not on this machine.
        clock: seconds from any fixed point.
        may_try_again: asked before a call is sent a second time; it may wait.

    Raises:
        EnvironmentAccessError: no token, no answer, no session for it, or a configuration that
            this transport refuses: a proxy that is not asked by CONNECT, or TLS that is not
            verified.
        NotAllowedError: the webserver address is elsewhere and must not be.
    """
    dialect = _dialect_of(airflow_version)
    token = _new_token(client, environment_name)
    if not this_machine_only:
        _require_same_host(client, environment_name, token.hostname)
    url = webserver_url(
        token.hostname,
        service_url=client.meta.endpoint_url,
        this_machine_only=this_machine_only,
    )
    is_plain = urlsplit(url).scheme == "http"
    endpoint = HttpEndpoint(
        url,
        connections=max_in_flight,
        timeout_s=call_timeout_s,
        ca_bundle=None if is_plain else trusted_certificates(client, url, transport="web_token"),
        proxy=None if is_plain else proxy_for(url, None, transport="web_token"),
    )

    def session_for(token: WebToken) -> Session:
        began_s = clock()
        return Session(_session_headers(endpoint, dialect, token, environment_name), began_s)

    session = SharedSession(
        session_for(token),
        log_in=lambda: session_for(_new_token(client, environment_name)),
        lock=BoundedSemaphore(1),
        clock=clock,
    )
    return WebTokenTransport(url, endpoint, session, dialect.api_prefix, clock, may_try_again)


class WebTokenTransport:
    """Sends calls to a webserver address; for the greenlets of one thread."""

    def __init__(
        self,
        url: str,
        endpoint: HttpEndpoint,
        session: "SharedSession",
        api_prefix: str,
        clock: Callable[[], float],
        may_try_again: Callable[[], bool],
    ) -> None:
        """Nothing is sent before the first call."""
        self.url = url
        self._endpoint = endpoint
        self._session = session
        self._api_prefix = api_prefix
        self._clock = clock
        self._may_try_again = may_try_again

    def __call__(self, call: RestCall) -> CallResult:
        """Send `call`, and once more if the session has ended meanwhile."""
        session = self._session.current()
        attempts, began_s = 1, self._clock()
        try:
            answer = self._send(call, session)
            other = self._session.instead_of(session) if self._is_refused(answer) else None
            if other is not None and self._may_try_again():
                attempts, began_s = 2, self._clock()
                answer = self._send(call, other)
                if self._is_refused(answer):
                    self._session.did_not_help(other)
        except NoAnswerError as exc:
            return CallResult(exc.outcome, error_code=exc.code, attempts=attempts)
        return result_of_answer(
            answer,
            api_prefix=self._api_prefix,
            attempts=attempts,
            elapsed_s=self._clock() - began_s,
        )

    def _send(self, call: RestCall, session: "Session") -> HttpAnswer:
        headers, body = _CALL_HEADERS + session.headers, b""
        if call.body is not None:
            headers += _JSON
            body = json.dumps(call.body, separators=(",", ":")).encode()
        return self._endpoint.send(call.method, rest_target(self._api_prefix, call), headers, body)

    def _is_refused(self, answer: HttpAnswer) -> bool:
        return session_is_refused(answer, self._api_prefix)


def rest_target(api_prefix: str, call: RestCall) -> str:
    """Path and query of a call as Airflow expects them.

    "%" in a path is left alone: callers may give a run id with or without percent-encoding. In the
    query a list repeats its key, a null is left out, other values are written as in JSON.
    """
    path = quote(call.path, safe="/%:@!$&'()*+,;=~", errors="replace")
    query = urlencode(list(_query_pairs(call.query or {})), errors="replace")
    return f"{api_prefix}{path}{'?' if query else ''}{query}"


def _query_pairs(query: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in query.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield key, one if isinstance(one, str) else json.dumps(one)


def result_of_answer(
    answer: HttpAnswer, *, api_prefix: str, attempts: int, elapsed_s: float
) -> CallResult:
    """How a call ended.

    Args:
        answer: to the last attempt.
        api_prefix: where the REST API is, such as "/api/v2".
        attempts: how often the call was sent.
        elapsed_s: how long the last attempt took.
    """
    status = answer.status
    by_airflow = _is_airflows(answer)
    outcome = outcome_of_answer(
        http_status=status,
        error_code=None if by_airflow else str(status),
        message="",
        airflow_status=status if by_airflow else None,
        elapsed_s=elapsed_s,
        service_timeout_s=BALANCER_TIMEOUT_S,
    )
    if not by_airflow and status < 400:
        outcome = "service_error"
    if session_is_refused(answer, api_prefix):
        outcome = "denied"
    return CallResult(
        outcome,
        http_status=status,
        airflow_status=status if by_airflow else None,
        error_code=None if outcome == "ok" else str(status),
        response_bytes=len(answer.body),
        attempts=attempts,
    )


def session_is_refused(answer: HttpAnswer, api_prefix: str) -> bool:
    """Whether the session is not, or no longer, good: nothing was done then.

    Airflow 2 answers 401; Airflow 3 answers 401 to an expired token and 403 "Invalid JWT token" to
    one it cannot read (its other 403 is about permissions); MWAA redirects to its login page.
    """
    if answer.status == 401:
        return True
    if answer.status == 403:
        return b"Invalid JWT token" in answer.body
    location = answer.headers.get("location", "")
    is_within = location == "" or urlsplit(location).path.startswith(f"{api_prefix}/")
    return 300 <= answer.status < 400 and not is_within


def _is_airflows(answer: HttpAnswer) -> bool:
    if answer.headers.get("server", "").startswith("awselb"):
        return False
    if "json" in answer.headers.get("content-type", ""):
        return True
    if answer.status < 400:
        return not answer.body and answer.status != 200  # 204, 304, a redirect to another path
    return answer.status >= 500 and answer.status not in _BALANCER_STATUSES


@dataclass(frozen=True, slots=True)
class _Dialect:
    """Where an Airflow version's login and API are, and how a session is shown to it."""

    login_path: str
    cookie: str
    shown_as: str  # a header line
    api_prefix: str


def _dialect_of(airflow_version: str) -> _Dialect:
    if airflow_version.startswith("2."):
        return _Dialect("/aws_mwaa/login", "session", "Cookie: session={}\r\n", "/api/v1")
    bearer = "Authorization: Bearer {}\r\n"
    return _Dialect("/pluginsv2/aws_mwaa/login", "_token", bearer, "/api/v2")


@dataclass(frozen=True, slots=True)
class WebToken:
    """A web login token: it lives for 60 s and serves once."""

    hostname: str
    token: str = field(repr=False)


def _new_token(client: Any, environment_name: str) -> WebToken:
    with aws_call("airflow:CreateWebLoginToken", environment=environment_name, client=client):
        answer = client.create_web_login_token(Name=environment_name)
        return WebToken(member(answer, "WebServerHostname"), member(answer, "WebToken"))


def _require_same_host(client: Any, environment_name: str, hostname: str) -> None:
    """Refuse to load a webserver that is not the one of the environment that is allowed."""
    with aws_call("airflow:GetEnvironment", environment=environment_name, client=client):
        answer = member(client.get_environment(Name=environment_name), "Environment")
    told = str(answer.get("WebserverUrl", ""))
    own = urlsplit(told if "//" in told else f"//{told}").netloc
    if own.lower() not in ("", hostname.lower()):
        raise NotAllowedError(
            f"The login token is for the webserver '{hostname}', but GetEnvironment says that of "
            f"environment '{environment_name}' is '{own}': check the endpoint URL and proxies."
        )


def webserver_url(hostname: str, *, service_url: str, this_machine_only: bool) -> str:
    """Where the webserver is: https, but for the stand-in as the service is reached.

    Args:
        hostname: as it came with a token; the stand-in's has a port.
        service_url: of the MWAA service that it came from.
        this_machine_only: whether a webserver elsewhere is refused.

    Raises:
        NotAllowedError: the webserver is elsewhere.
    """
    plain = f"http://{hostname}"
    if is_loopback(plain) and is_loopback(service_url):
        return f"{urlsplit(service_url).scheme}://{hostname}"
    if this_machine_only:
        raise NotAllowedError(
            f"The webserver address '{hostname}' is not on this machine, which is all that a local "
            'scenario may load; use kind = "aws" for that environment.'
        )
    return f"https://{hostname}"


def _session_headers(
    endpoint: HttpEndpoint, dialect: _Dialect, token: WebToken, environment_name: str
) -> bytes:
    """Log in: the header lines that prove it."""
    body = urlencode({"token": token.token}).encode()
    path = dialect.login_path
    try:
        answer = endpoint.send("POST", path, _LOGIN_HEADERS, body)
        if answer.status in (307, 308) and _is_moved_to(answer, token.hostname, f"{path}/"):
            answer = endpoint.send("POST", f"{path}/", _LOGIN_HEADERS, body)
    except NoAnswerError as exc:
        raise EnvironmentAccessError(
            f"The webserver of environment '{environment_name}' does not answer at "
            f"{token.hostname} ({exc.code}); check the network, and run headroom from inside the "
            "environment's VPC if the webserver is private."
        ) from exc
    cookies = answer.headers.get("set-cookie", "")
    session = re.search(rf'(?:^|, *){dialect.cookie}="?([^";,\s]+)', cookies)
    if answer.status >= 400 or session is None:
        raise EnvironmentAccessError(
            f"The webserver of environment '{environment_name}' gave no session for a web login "
            f"token (status {answer.status}); check that these credentials can open the Airflow UI."
        )
    return dialect.shown_as.format(session[1]).encode()


def _is_moved_to(answer: HttpAnswer, hostname: str, path: str) -> bool:
    """Whether a redirect leads to that path of the same webserver: no token goes anywhere else."""
    location = urlsplit(answer.headers.get("location", ""))
    return location.netloc in ("", hostname) and location.path == path


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """One login."""

    headers: bytes = field(repr=False)  # lines of a request that prove it
    began_s: float


class SharedSession:
    """Everybody's session. However many calls find it ended, one of them logs in again."""

    def __init__(
        self,
        first: Session,
        *,
        log_in: Callable[[], Session],
        lock: BoundedSemaphore,
        clock: Callable[[], float],
    ) -> None:
        """Nothing is done before the first question.

        Args:
            first: a login that has just been made.
            log_in: makes another one, or raises what kept it from that.
            lock: one for all that share the session.
            clock: the one that sessions are dated by, in seconds.
        """
        self._session = first
        self._log_in = log_in
        self._lock = lock
        self._clock = clock
        self._not_before_s = float("-inf")

    def current(self) -> Session:
        """The session to use. If its end is near, one caller renews it while others go on."""
        session = self._session
        is_old = self._clock() - session.began_s > WEB_SESSION_LIFE_S - RENEW_BEFORE_S
        if is_old and self._lock.acquire(blocking=False):
            try:
                if self._session is session:
                    self._replace()
            finally:
                self._lock.release()
        return self._session

    def instead_of(self, refused: Session) -> Session | None:
        """Another session than one that the webserver refused; None: there is none to be had."""
        with self._lock:
            if self._session is refused:
                self._replace()
            return None if self._session is refused else self._session

    def did_not_help(self, session: Session) -> None:
        """A call was refused with a new session too: another login would not change that now."""
        if self._session is session:
            self._not_before_s = self._clock() + PAUSE_S

    def _replace(self) -> None:
        if self._clock() < self._not_before_s:
            return
        try:
            self._session = self._log_in()
        except Exception as exc:  # botocore's parser lets anything out on an unforeseen answer
            reason = exc if isinstance(exc, EnvironmentAccessError) else type(exc).__name__
            logger.warning("The web session could not be renewed: %s", reason)
            self._not_before_s = self._clock() + PAUSE_S
