"""The default transport: signed calls over kept-alive connections, each sent once.

An answer means what botocore would make of it, without its two rounds of parsing. The rules are
those of botocore's parser for `rest-json` (botocore/parsers.py, 1.44): where the error code comes
from, what a load balancer's page means. A success can have 6 MB, of which only `RestApiStatusCode`
matters; it is read from the answer's ends where they show it, see `_status_at_an_end`.
"""

import json
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from botocore.utils import get_environ_proxies, percent_encode

from mwaa_headroom.analysis.mwaa import INVOKE_TIMEOUT_S
from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport.boto3_transport import request_members, trusted_certificates
from mwaa_headroom.harness.transport.http import HttpAnswer, HttpEndpoint, NoAnswerError
from mwaa_headroom.harness.transport.outcome import CallResult, Transport, outcome_of_answer
from mwaa_headroom.harness.transport.proxy import proxy_for
from mwaa_headroom.harness.transport.signer import CurrentKeys, NoKeysError, Signer

_WITH_AIRFLOW_STATUS = frozenset({"RestApiClientException", "RestApiServerException"})
_FIRST_KEY = re.compile(rb'\{\s*"RestApiStatusCode"\s*:\s*(\d{3})\s*[,}]')
_LAST_KEY = re.compile(rb'[,{]\s*"RestApiStatusCode"\s*:\s*(\d{3})\s*\}\s*\Z')
_LAST_BYTES = 64
_REASONS = {status.value: status.phrase for status in HTTPStatus}
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
            proxy that is not asked by CONNECT, or TLS that is not verified.
    """
    url = invoke_url(client, environment_name)
    proxies = client.meta.config.proxies
    if proxies is None:  # botocore asks without its host prefix
        proxies = get_environ_proxies(client.meta.endpoint_url)
    endpoint = HttpEndpoint(
        url,
        connections=max_in_flight,
        timeout_s=call_timeout_s,
        ca_bundle=trusted_certificates(client, url, transport="lean"),
        proxy=proxy_for(url, proxies, transport="lean"),
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
    return json.dumps(request_members(call)).encode()


def invoke_url(client: Any, environment_name: str) -> str:
    """Where a boto3 `mwaa` client sends InvokeRestApi for an environment."""
    operation = client.meta.service_model.operation_model("InvokeRestApi")
    prefix = operation.endpoint["hostPrefix"] if client.meta.config.inject_host_prefix else ""
    base = urlsplit(client.meta.endpoint_url)
    path = operation.http["requestUri"].format(Name=percent_encode(environment_name))
    url: str = urlunsplit((base.scheme, prefix + base.netloc, base.path.rstrip("/") + path, "", ""))
    return url


def _result_of(answer: HttpAnswer, elapsed_s: float, service_timeout_s: float) -> CallResult:
    try:
        error_code, message, airflow_status = _meaning_of(answer)
    except Exception as exc:  # something answered, but not in MWAA's words
        return CallResult("service_error", error_code=type(exc).__name__)
    length = answer.headers.get("content-length")
    return CallResult(
        outcome=outcome_of_answer(
            http_status=answer.status,
            error_code=error_code,
            message=message,
            airflow_status=airflow_status,
            elapsed_s=elapsed_s,
            service_timeout_s=service_timeout_s,
        ),
        http_status=answer.status,
        airflow_status=airflow_status,
        error_code=error_code,
        response_bytes=int(length) if length is not None else None,
    )


def _meaning_of(answer: HttpAnswer) -> tuple[str | None, str, int | None]:
    """AWS's error code (None: a success), the error's text, and RestApiStatusCode.

    Raises:
        Exception: of any kind, when the answer is JSON but not MWAA's.
    """
    if answer.status < 301:
        status = _status_at_an_end(answer.body)
        return None, "", _airflow_status(_document(answer.body)) if status is None else status
    page = answer.body.strip()
    if answer.status >= 500 and (not page or page.startswith(b"<html>")):
        return str(answer.status), _REASONS.get(answer.status, ""), None
    document = _document(answer.body)
    code = _error_code(answer, document)
    message = str(document.get("message", document.get("Message")) or "")
    return code, message, _airflow_status(document) if code in _WITH_AIRFLOW_STATUS else None


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
    that it is the last: the last brace closes the outermost object, and what stands before it is a
    number, so that the colon is no text; the quote before the colon ends a key, and that key begins
    at the nearest quote without a backslash, which is the one after the comma (or brace, or white
    space).
    """
    found = _FIRST_KEY.match(body)
    if found is None and body.startswith(b"{"):
        found = _LAST_KEY.search(body[-_LAST_BYTES:])
    return int(found[1]) if found else None


def _airflow_status(document: Any) -> int | None:
    status = document.get("RestApiStatusCode")
    return None if status is None else int(status)


def _document(body: bytes) -> Any:
    if not body:
        return {}
    text = body.decode()
    try:
        return json.loads(text)
    except ValueError:
        return {"message": text}
