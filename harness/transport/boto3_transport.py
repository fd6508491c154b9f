"""The transport everybody's own program uses: boto3's `invoke_rest_api`, without its retries.

One client, one attempt per call: boto3's default would send a call up to five times, POSTs too, and
hide that in one latency. A read timeout above the service's own 10 s tells the two apart.
"""

import time
from collections.abc import Callable
from typing import Any

import boto3
import botocore.exceptions as aws_errors
from botocore.config import Config

from harness.aws.clients import client_of
from harness.aws.translate import aws_call
from harness.traffic.operations import RestCall
from harness.transport.answers import SERVICE_TIMEOUT_S, outcome_of_answer
from harness.transport.outcome import CallResult, Outcome, Transport

_NO_CREDENTIALS = (
    aws_errors.NoCredentialsError,
    aws_errors.PartialCredentialsError,
    aws_errors.CredentialRetrievalError,
    aws_errors.TokenRetrievalError,
    aws_errors.SSOError,
)


def invoke_client(
    *,
    environment: str,
    region: str | None,
    profile: str | None,
    call_timeout_s: float,
    max_in_flight: int,
) -> Any:
    """A boto3 `mwaa` client for load: one attempt, a connection per call in flight.

    Endpoint and credentials come from botocore's standard configuration.

    Raises:
        EnvironmentAccessError: the configuration is incomplete.
    """
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=max_in_flight,
        connect_timeout=call_timeout_s,
        read_timeout=call_timeout_s,
        tcp_keepalive=True,
        user_agent_extra="headroom",
    )
    with aws_call("creating AWS clients", environment=environment):
        session = boto3.Session(profile_name=profile, region_name=region)
        return client_of(session, "mwaa", config)


def boto3_transport(
    client: Any,
    environment_name: str,
    *,
    service_timeout_s: float = SERVICE_TIMEOUT_S,
    clock: Callable[[], float] = time.perf_counter,
) -> Transport:
    """Calls of one environment through `client`.

    Args:
        client: as `invoke_client` makes it.
        environment_name: the environment to call.
        service_timeout_s: after how long the service itself gives up.
        clock: seconds from any fixed point, to tell the service's timeout from its other errors.
    """

    def send(call: RestCall) -> CallResult:
        request: dict[str, Any] = {
            "Name": environment_name,
            "Method": call.method,
            "Path": call.path,
        }
        if call.query is not None:
            request["QueryParameters"] = call.query
        if call.body is not None:
            request["Body"] = call.body
        started = clock()
        try:
            answer = client.invoke_rest_api(**request)
        except aws_errors.ClientError as exc:
            answer = exc.response
        except Exception as exc:  # botocore's parser lets anything out on an unforeseen answer
            return _without_answer(exc)
        return _with_answer(answer, clock() - started, service_timeout_s)

    return send


def _with_answer(answer: Any, elapsed_s: float, service_timeout_s: float) -> CallResult:
    meta = answer.get("ResponseMetadata", {})
    error = answer.get("Error")
    code = (error.get("Code") or "Unknown") if error else None
    status = meta["HTTPStatusCode"]
    airflow_status = answer.get("RestApiStatusCode")
    outcome = outcome_of_answer(
        http_status=status,
        error_code=code,
        message=(error.get("Message") or "") if error else "",
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
        attempts=meta.get("RetryAttempts", 0) + 1,
    )


def _without_answer(error: Exception) -> CallResult:
    return CallResult(_outcome_without_answer(error), error_code=type(error).__name__)


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
