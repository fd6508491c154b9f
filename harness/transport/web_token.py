"""The documented way past InvokeRestApi's throttle: a web login token, then the webserver itself.

The session is shared. When it has ended, the next call is refused before Airflow does anything, so
it is sent again after a new login, and counts as two attempts.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from gevent.lock import BoundedSemaphore

from harness.traffic.operations import RestCall
from harness.transport.http import HttpAnswer, HttpEndpoint, NoAnswerError
from harness.transport.outcome import CallResult
from harness.transport.web_answers import result_of_answer, session_is_refused
from harness.transport.web_login import (
    WebToken,
    dialect_of,
    new_token,
    session_headers,
    trusted_certificates,
    webserver_url,
)
from harness.transport.web_session import Session, SharedSession

_ALWAYS_SENT = b"Accept: application/json\r\nUser-Agent: headroom\r\n"
_JSON = b"Content-Type: application/json\r\n"


def web_token_transport(
    client: Any,
    environment_name: str,
    airflow_version: str,
    *,
    call_timeout_s: float,
    max_in_flight: int,
    this_machine_only: bool = False,
    clock: Callable[[], float] = time.monotonic,
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

    Raises:
        EnvironmentAccessError: no token, no answer, no session for it, or a configuration that
            this transport refuses: a proxy, or TLS that is not verified.
        NotAllowedError: the webserver address is elsewhere and must not be.
    """
    dialect = dialect_of(airflow_version)
    token = new_token(client, environment_name)
    url = webserver_url(
        token.hostname,
        service_url=client.meta.endpoint_url,
        this_machine_only=this_machine_only,
    )
    endpoint = HttpEndpoint(
        url,
        connections=max_in_flight,
        timeout_s=call_timeout_s,
        ca_bundle=trusted_certificates(client, url),
    )

    def session_for(token: WebToken) -> Session:
        began_s = clock()
        return Session(session_headers(endpoint, dialect, token, environment_name), began_s)

    session = SharedSession(
        session_for(token),
        log_in=lambda: session_for(new_token(client, environment_name)),
        lock=BoundedSemaphore(1),
        clock=clock,
    )
    return WebTokenTransport(url, endpoint, session, dialect.api_prefix, clock)


class WebTokenTransport:
    """Sends calls to a webserver address; for the greenlets of one thread."""

    def __init__(
        self,
        url: str,
        endpoint: HttpEndpoint,
        session: SharedSession,
        api_prefix: str,
        clock: Callable[[], float],
    ) -> None:
        """Nothing is sent before the first call."""
        self.url = url
        self._endpoint = endpoint
        self._session = session
        self._api_prefix = api_prefix
        self._clock = clock

    def __call__(self, call: RestCall) -> CallResult:
        """Send `call`, and once more if the session has ended meanwhile."""
        session = self._session.current()
        attempts, began_s = 1, self._clock()
        try:
            answer = self._send(call, session)
            other = self._session.instead_of(session) if self._is_refused(answer) else None
            if other is not None:
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

    def _send(self, call: RestCall, session: Session) -> HttpAnswer:
        headers, body = _ALWAYS_SENT + session.headers, b""
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
