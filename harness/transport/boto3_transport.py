"""The transport everybody's own program uses: boto3's `invoke_rest_api`.

Retries are off unless asked for: boto3's default sends a call up to three or five times, POSTs too,
and hides that in one latency. With retries every attempt is counted, whether or not an answer came.
A read timeout above the service's own 10 s tells the two apart.

Every retry mode but `off` keeps botocore's own defaults, so that a user sees what their clients do:
the mode's number of attempts, unless AWS_MAX_ATTEMPTS or `max_attempts` of their profile says
otherwise, exactly as for their own programs. Waits between attempts (botocore 1.44,
`retryhandler.py` and `retries/standard.py`; n counts attempts from 1, rand is uniform on 0..1):

- legacy: rand * 2^(n-1) s.
- standard and adaptive: rand * 0.05 * 2^(n-1) s, after a throttle rand * 2^(n-1) s, never more than
  20 s; the server may ask for up to 5 s more (x-amz-retry-after). Before 1.44 the longer of the two
  was for every error.
- adaptive also slows down before sending, for as long as the service throttles: that wait has no
  bound, so whoever calls must bound it.
"""

import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import botocore.exceptions as aws_errors
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.httpsession import get_cert_path

from mwaa_headroom.analysis.mwaa import INVOKE_TIMEOUT_S
from mwaa_headroom.harness.aws.clients import client_of, isolated_session, stand_in_client
from mwaa_headroom.harness.aws.credentials import session_of
from mwaa_headroom.harness.aws.translate import aws_call
from mwaa_headroom.harness.errors import EnvironmentAccessError
from mwaa_headroom.harness.scenario.model import RetryMode
from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport.outcome import (
    CallResult,
    Outcome,
    Transport,
    outcome_of_answer,
)

_DEFAULT_ATTEMPTS = {"legacy": 5, "standard": 3, "adaptive": 3}
_LONGEST_WAIT_S = 20.0  # standard and adaptive
_LONGEST_ASKED_FOR_S = 5.0
_NO_CREDENTIALS = (
    aws_errors.NoCredentialsError,
    aws_errors.PartialCredentialsError,
    aws_errors.CredentialRetrievalError,
    aws_errors.TokenRetrievalError,
    aws_errors.SSOError,
)


def most_attempts(client: Any) -> int:
    """How often a boto3 client sends one call at most."""
    retries = client.meta.config.retries
    attempts = retries.get("total_max_attempts", _DEFAULT_ATTEMPTS[retries["mode"]])
    return max(int(attempts), 1)


def longest_backoff_s(client: Any) -> float:
    """How long a boto3 client waits between the attempts of one call, in total and at most."""
    waits = range(most_attempts(client) - 1)
    if client.meta.config.retries["mode"] == "legacy":
        return float(sum(2**n for n in waits))
    return sum(min(2.0**n, _LONGEST_WAIT_S) + _LONGEST_ASKED_FOR_S for n in waits)


@dataclass(slots=True)
class _Attempts:
    """What became of the call that this thread or greenlet is making."""

    clock: Callable[[], float]
    may_try_again: Callable[[], bool]
    made: int = 0
    last_began_s: float = 0.0
    last_ended_s: float = 0.0
    last_answer: Any = None
    last_error: Exception | None = None

    @property
    def counted(self) -> int:
        """At least one: 0 means that the generator did not send, not that boto3 refused to."""
        return max(self.made, 1)


class _NoRoomError(Exception):
    """The rate cap left no room for another attempt."""


_of_this_call: ContextVar[_Attempts | None] = ContextVar("attempts", default=None)


def invoke_client(
    *,
    environment: str,
    region: str | None,
    profile: str | None,
    call_timeout_s: float,
    max_in_flight: int,
    retries: RetryMode = "off",
    variables: Mapping[str, str] | None = None,
    keys: Credentials | None = None,
) -> Any:
    """A boto3 `mwaa` client for load, with a connection per call in flight.

    Args:
        environment: its name, for error messages.
        region: None: from botocore's standard configuration.
        profile: None: from botocore's standard configuration.
        call_timeout_s: of one attempt, for connecting and for each wait for bytes.
        max_in_flight: how many calls may be in flight without a connection being thrown away.
        retries: anything but off is botocore's own mode.
        variables: of the local stand-in, as for `harness.aws.clients.make_clients`. None: endpoint
            and credentials come from botocore's standard configuration.
        keys: used instead of those that botocore's chain would find.

    Raises:
        EnvironmentAccessError: the configuration is incomplete or wrong.
    """
    mode = {"total_max_attempts": 1, "mode": "standard"} if retries == "off" else {"mode": retries}
    config = Config(
        retries=mode,  # type: ignore[arg-type]
        max_pool_connections=max_in_flight,
        connect_timeout=call_timeout_s,
        read_timeout=call_timeout_s,
        tcp_keepalive=True,
        user_agent_extra="headroom",
    )
    with aws_call("creating AWS clients", environment=environment):
        if variables is not None:
            return stand_in_client(isolated_session(), "mwaa", variables, config)
        return client_of(session_of(profile, region, keys), "mwaa", config)


def trusted_certificates(client: Any, url: str, *, transport: str) -> str | None:
    """The CA bundle that `client` trusts, for a transport of our own; None: `url` is not https.

    Args:
        client: a boto3 client.
        url: to be called past the client.
        transport: its name in a scenario, for errors.

    Raises:
        EnvironmentAccessError: the client would not verify.
    """
    scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
    if scheme != "https":
        return None
    verify = client._endpoint.http_session._verify  # botocore has no public way to ask
    if not verify:
        raise EnvironmentAccessError(
            f"TLS certificates of {host} would not be verified, which traffic.transport = "
            f'"{transport}" refuses: give their issuer as AWS_CA_BUNDLE, or as ca_bundle of the '
            "AWS profile."
        )
    return str(get_cert_path(verify))


def boto3_transport(
    client: Any,
    environment_name: str,
    *,
    service_timeout_s: float = INVOKE_TIMEOUT_S,
    clock: Callable[[], float] = time.perf_counter,
    may_try_again: Callable[[], bool] = lambda: True,
) -> Transport:
    """Calls of one environment through `client`.

    Args:
        client: as `invoke_client` makes it.
        environment_name: the environment to call.
        service_timeout_s: after how long the service itself gives up.
        clock: seconds from any fixed point, to tell the service's timeout from its other errors.
        may_try_again: asked before every attempt but the first; it may wait. If it says no, the
            call ends as its last attempt did.
    """
    # Counted here, because ResponseMetadata has attempts only if the last one was answered. Last:
    # adaptive mode waits in this event. The id: a client may serve several transports.
    events = client.meta.events
    events.register_last("before-send", _begin_attempt, unique_id="headroom-attempts")
    events.register_first("response-received", _end_attempt, unique_id="headroom-answers")

    def send(call: RestCall) -> CallResult:
        attempts = _Attempts(clock, may_try_again)
        _of_this_call.set(attempts)
        try:
            answer = client.invoke_rest_api(Name=environment_name, **request_members(call))
        except aws_errors.ClientError as exc:
            answer = exc.response
        except _NoRoomError:
            if attempts.last_error is not None:
                return _without_answer(attempts.last_error, attempts)
            answer = attempts.last_answer
        except Exception as exc:  # botocore's parser lets anything out on an unforeseen answer
            return _without_answer(exc, attempts)
        # Of the last attempt alone: the service's time limit knows nothing of earlier ones.
        elapsed_s = attempts.last_ended_s - attempts.last_began_s
        return _with_answer(answer, attempts.counted, elapsed_s, service_timeout_s)

    return send


def request_members(call: RestCall) -> dict[str, Any]:
    """A call as members of an InvokeRestApi request, all but the environment's name."""
    members: dict[str, Any] = {"Method": call.method, "Path": call.path}
    if call.query is not None:
        members["QueryParameters"] = call.query
    if call.body is not None:
        members["Body"] = call.body
    return members


def _begin_attempt(**_: Any) -> None:
    attempts = _of_this_call.get()
    if attempts is not None:
        if attempts.made and not attempts.may_try_again():
            raise _NoRoomError
        attempts.made += 1
        attempts.last_began_s = attempts.clock()


def _end_attempt(parsed_response: Any, exception: Exception | None, **_: Any) -> None:
    attempts = _of_this_call.get()
    if attempts is not None and not isinstance(exception, _NoRoomError):
        attempts.last_ended_s = attempts.clock()
        attempts.last_answer, attempts.last_error = parsed_response, exception


def _without_answer(error: Exception, attempts: _Attempts) -> CallResult:
    return CallResult(
        _outcome_without_answer(error),
        error_code=type(error).__name__,
        attempts=attempts.counted,
    )


def _with_answer(
    answer: Any, attempts: int, elapsed_s: float, service_timeout_s: float
) -> CallResult:
    meta = answer.get("ResponseMetadata", {})
    error = answer.get("Error")
    code = str(error.get("Code") or "Unknown") if error else None  # a body may hold anything
    status = meta["HTTPStatusCode"]
    airflow_status = answer.get("RestApiStatusCode")
    outcome = outcome_of_answer(
        http_status=status,
        error_code=code,
        message=str(error.get("Message") or "") if error else "",
        airflow_status=airflow_status,
        elapsed_s=elapsed_s,
        service_timeout_s=service_timeout_s,
    )
    length = meta.get("HTTPHeaders", {}).get("content-length")
    return CallResult(
        outcome=outcome,
        http_status=status,
        airflow_status=airflow_status,
        error_code=code,
        response_bytes=int(length) if length is not None else None,
        attempts=attempts,
    )


def _outcome_without_answer(error: Exception) -> Outcome:
    if isinstance(error, aws_errors.ReadTimeoutError):
        return "client_timeout"
    if isinstance(error, aws_errors.ParamValidationError):
        return "invalid"
    if isinstance(error, _NO_CREDENTIALS):
        return "denied"
    if isinstance(error, aws_errors.BotoCoreError):
        return "connection_error"
    return "service_error"  # something answered, but not in MWAA's words
