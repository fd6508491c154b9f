"""The default transport: signed calls over kept-alive connections, each sent once.

What botocore would make of an answer of InvokeRestApi, without its two rounds of parsing.

The rules are those of botocore's parser for `rest-json` (botocore/parsers.py, 1.44): where the
error code comes from, what a load balancer's page means. A success can have 6 MB, of which only
`RestApiStatusCode` matters; it is read from the answer's ends where they show it, see
`_status_at_an_end`.
"""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies, percent_encode

from mwaa_headroom.analysis.mwaa import INVOKE_TIMEOUT_S
from mwaa_headroom.harness.errors import EnvironmentAccessError
from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport.http import HttpAnswer, HttpEndpoint, NoAnswerError
from mwaa_headroom.harness.transport.outcome import (
    CallResult,
    Transport,
    outcome_of_answer,
)
from mwaa_headroom.harness.transport.signer import CurrentKeys, NoKeysError, Signer

_WITH_AIRFLOW_STATUS = frozenset({"RestApiClientException", "RestApiServerException"})
_FIRST_KEY = re.compile(rb'\{\s*"RestApiStatusCode"\s*:\s*(\d{3})\s*[,}]')
_LAST_KEY = re.compile(rb'[,{]\s*"RestApiStatusCode"\s*:\s*(\d{3})\s*\}\s*\Z')
_LAST_BYTES = 64
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an answer says.

    Attributes:
        error_code: AWS's, or the status as text; None: a success.
        message: the error's text.
        airflow_status: RestApiStatusCode.
    """

    error_code: str | None = None
    message: str = ""
    airflow_status: int | None = None


def meaning_of(answer: HttpAnswer) -> Meaning:
    """Read an answer.

    Raises:
        Exception: of any kind, when the answer is JSON but not MWAA's.
    """
    if answer.status < 301:
        status = _status_at_an_end(answer.body)
        return Meaning(airflow_status=_airflow_status(answer.body) if status is None else status)
    page = answer.body.strip()
    if answer.status >= 500 and (not page or page.startswith(b"<html>")):
        return Meaning(str(answer.status), _REASONS.get(answer.status, ""))
    document = _document(answer.body)
    code = _error_code(answer, document)
    return Meaning(
        error_code=code,
        message=str(document.get("message", document.get("Message")) or ""),
        airflow_status=_airflow_status(answer.body) if code in _WITH_AIRFLOW_STATUS else None,
    )


def _error_code(answer: HttpAnswer, document: Any) -> str:
    code = answer.headers.get("x-amzn-errortype")
    if code is None:
        code = document.get("code", document.get("Code"))
    if code is None:
        code = document.get("__type", str(answer.status))
    return str(code.split(":", 1)[0].rsplit("#", 1)[-1]) or "Unknown"


def _status_at_an_end(body: bytes) -> int | None:
    """RestApiStatusCode, if it is the first or the last member of a JSON object.

    MWAA's answers repeat no key. That this one is an object's first, no text inside can feign. Nor
    that it is the last:
    the last brace closes the outermost object, and what stands before it is a number, so that the
    colon is no text; the quote before the colon ends a key, and that key begins at the nearest
    quote without a backslash, which is the one after the comma (or brace, or white space).
    """
    found = _FIRST_KEY.match(body)
    if found is None and body.startswith(b"{"):
        found = _LAST_KEY.search(body[-_LAST_BYTES:])
    return int(found[1]) if found else None


def _airflow_status(body: bytes) -> int | None:
    status = _document(body).get("RestApiStatusCode")
    return None if status is None else int(status)


def _document(body: bytes) -> Any:
    if not body:
        return {}
    text = body.decode()
    try:
        return json.loads(text)
    except ValueError:
        return {"message": text}


_OPERATION = "InvokeRestApi"
_USER_AGENT = b"user-agent: headroom lean\r\n"
_REFUSED = CallResult("invalid", error_code="ParamValidationError")


def lean_transport(
    client: Any,
    environment_name: str,
    *,
    call_timeout_s: float,
    max_in_flight: int,
    service_timeout_s: float = INVOKE_TIMEOUT_S,
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
