"""The default transport: signed calls over kept-alive connections, each sent once."""

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies, percent_encode

from harness.errors import EnvironmentAccessError
from harness.traffic.operations import RestCall
from harness.transport.answers import SERVICE_TIMEOUT_S, outcome_of_answer
from harness.transport.http import HttpAnswer, HttpEndpoint, NoAnswerError
from harness.transport.lean.answer import meaning_of
from harness.transport.lean.credentials import CurrentKeys, NoKeysError
from harness.transport.lean.signer import Signer
from harness.transport.outcome import CallResult, Transport

_OPERATION = "InvokeRestApi"
_USER_AGENT = b"user-agent: headroom lean\r\n"
_REFUSED = CallResult("invalid", error_code="ParamValidationError")


def lean_transport(
    client: Any,
    environment_name: str,
    *,
    call_timeout_s: float,
    max_in_flight: int,
    service_timeout_s: float = SERVICE_TIMEOUT_S,
    clock: Callable[[], float] = time.perf_counter,
) -> Transport:
    """Calls of one environment as `client` is configured, but not through it.

    For the greenlets of one thread.

    Args:
        client: as `invoke_client` makes it; whatever is configured is taken from it.
        environment_name: the environment to call.
        call_timeout_s: from connecting, where necessary, to the last byte of the answer.
        max_in_flight: as many connections may be open.
        service_timeout_s: after how long the service itself gives up.
        clock: seconds from any fixed point, to tell the service's timeout from its other errors.

    Raises:
        EnvironmentAccessError: the client's configuration asks for what this transport refuses: a
            proxy, or TLS that is not verified.
    """
    url = invoke_url(client, environment_name)
    endpoint = HttpEndpoint(
        url,
        connections=max_in_flight,
        timeout_s=call_timeout_s,
        ca_bundle=checked_ca_bundle(client, url),
    )
    target = urlsplit(url).path
    signer = Signer(
        host=endpoint.host_header,
        path=target,
        region=client.meta.region_name,
        service=client.meta.service_model.signing_name,
    )
    keys = CurrentKeys(client._get_credentials())

    def send(call: RestCall) -> CallResult:
        try:
            body = request_body(call)
        except (TypeError, ValueError):
            return _REFUSED
        try:
            headers = signer.headers(body, keys.get(), time.time()) + _USER_AGENT
        except NoKeysError as exc:
            return CallResult("denied", error_code=exc.code)
        started = clock()
        try:
            answer = endpoint.send("POST", target, headers, body)
        except NoAnswerError as exc:
            return CallResult(exc.outcome, error_code=exc.code)
        return _result_of(answer, clock() - started, service_timeout_s)

    return send


def request_body(call: RestCall) -> bytes:
    """The body of InvokeRestApi for a call, as botocore writes it.

    Raises:
        ValueError: the path is empty, which botocore refuses to send.
        TypeError: a parameter is not JSON.
    """
    if not call.path:
        raise ValueError("the path is empty")
    members: dict[str, Any] = {"Method": call.method, "Path": call.path}
    if call.query is not None:
        members["QueryParameters"] = call.query
    if call.body is not None:
        members["Body"] = call.body
    return json.dumps(members).encode()


def invoke_url(client: Any, environment_name: str) -> str:
    """Where a boto3 `mwaa` client sends InvokeRestApi for an environment."""
    operation = client.meta.service_model.operation_model(_OPERATION)
    prefix = operation.endpoint["hostPrefix"] if client.meta.config.inject_host_prefix else ""
    base = urlsplit(client.meta.endpoint_url)
    path = operation.http["requestUri"].format(Name=percent_encode(environment_name))
    url: str = urlunsplit((base.scheme, prefix + base.netloc, base.path.rstrip("/") + path, "", ""))
    return url


def checked_ca_bundle(client: Any, url: str) -> str | None:
    """The certificates that `client` trusts; None: `url` is not https.

    Raises:
        EnvironmentAccessError: the client would go through a proxy, or would not verify.
    """
    scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
    proxies = client.meta.config.proxies
    if proxies is None:
        proxies = get_environ_proxies(client.meta.endpoint_url)
    if proxies.get(scheme):
        raise EnvironmentAccessError(
            f"Calls of {host} would go through a proxy, which the lean transport does not do: set "
            f'traffic.transport = "boto3", or name the host in NO_PROXY.'
        )
    if scheme != "https":
        return None
    verify = client._endpoint.http_session._verify  # botocore has no public way to ask
    if not verify:
        raise EnvironmentAccessError(
            f"TLS certificates of {host} would not be verified, which the lean transport refuses: "
            "give the certificate's issuer as AWS_CA_BUNDLE, or as ca_bundle of the AWS profile."
        )
    return str(get_cert_path(verify))


def _result_of(answer: HttpAnswer, elapsed_s: float, service_timeout_s: float) -> CallResult:
    try:
        meaning = meaning_of(answer)
    except Exception as exc:  # something answered, but not in MWAA's words
        return CallResult("service_error", error_code=type(exc).__name__)
    length = answer.headers.get("content-length")
    return CallResult(
        outcome=outcome_of_answer(
            http_status=answer.status,
            error_code=meaning.error_code,
            message=meaning.message,
            airflow_status=meaning.airflow_status,
            elapsed_s=elapsed_s,
            service_timeout_s=service_timeout_s,
        ),
        http_status=answer.status,
        airflow_status=meaning.airflow_status,
        error_code=meaning.error_code,
        response_bytes=int(length) if length is not None else None,
    )
