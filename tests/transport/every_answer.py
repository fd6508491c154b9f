"""Every answer that the InvokeRestApi endpoint can give, and what the call has ended as.

Facts: botocore's service model of `mwaa` (2020-07-01): RestApiClientException and
RestApiServerException are both HTTP 400 and carry Airflow's status. Throttles have no exception of
this service's model. The code and text of the 10 s limit and of the 6 MB limit are not documented.
"""

import json
from dataclasses import dataclass
from typing import Any

from raw_server import http

from mwaa_headroom.harness.transport.outcome import CallResult, Outcome

AT_ONCE_S = 0.1
AT_THE_LIMIT_S = 10.0


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        words: what it is.
        raw: all bytes that the server sends.
        result: what every transport must make of it.
        took_s: how long the call seems to have taken.
        closes: the server then closes the connection.
        boto3_result: what boto3 makes of it, where that cannot be the same; the words say why.
    """

    words: str
    raw: bytes
    result: CallResult
    took_s: float = AT_ONCE_S
    closes: bool = False
    boto3_result: CallResult | None = None


def _success(words: str, document: Any, outcome: Outcome, **fields: Any) -> Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    result = CallResult(outcome, http_status=200, response_bytes=len(body), **fields)
    return Answer(words, http(200, body), result)


def _error(
    words: str,
    status: int,
    code: str | None,
    document: dict[str, Any] | bytes,
    outcome: Outcome,
    *,
    took_s: float = AT_ONCE_S,
    airflow_status: int | None = None,
    error_code: str | None = None,
) -> Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    lines = ("Content-Type: application/json", f"x-amzn-ErrorType: {code}") if code else ()
    result = CallResult(
        outcome,
        http_status=status,
        airflow_status=airflow_status,
        error_code=error_code or code or str(status),
        response_bytes=len(body),
    )
    return Answer(words, http(status, body, *lines), result, took_s)


def _airflow(
    exception: str, status: int, outcome: Outcome, took_s: float = AT_ONCE_S, when: str = ""
) -> Answer:
    return _error(
        f"Airflow said {status}{when}",
        400,
        exception,
        {"RestApiStatusCode": status, "RestApiResponse": {"detail": "why"}},
        outcome,
        took_s=took_s,
        airflow_status=status,
    )


_OK = {"RestApiStatusCode": 200, "RestApiResponse": {"dags": []}}
_OK_BODY = json.dumps(_OK).encode()
_FEIGNED = '"}, "RestApiStatusCode": 200}'

SUCCESSES = [
    _success("a success", _OK, "ok", airflow_status=200),
    _success("created", {"RestApiStatusCode": 201}, "ok", airflow_status=201),
    _success(
        "a success with the status last",
        {"RestApiResponse": {"dags": [{"x": "y" * 500}]}, "RestApiStatusCode": 204},
        "ok",
        airflow_status=204,
    ),
    _success(
        "a success with the status in the middle",
        {"RestApiResponse": {}, "RestApiStatusCode": 204, "More": "x" * 500},
        "ok",
        airflow_status=204,
    ),
    _success(
        "a text that looks like the end of a success",
        {"RestApiStatusCode": 500, "RestApiResponse": {"x": _FEIGNED}},
        "airflow_server_error",
        airflow_status=500,
    ),
    _success(
        "a status within Airflow's answer is not the service's",
        {"RestApiResponse": {"x": 1, "RestApiStatusCode": 200}},
        "service_error",
    ),
    _success(
        "the same, and it comes last but for braces",
        {"RestApiResponse": {"RestApiStatusCode": 200}, "RestApiStatusCode": None},
        "service_error",
    ),
    _success("a status as text", {"RestApiStatusCode": "200"}, "ok", airflow_status=200),
    _success(
        "a success of HTTP that is Airflow's refusal",
        {"RestApiStatusCode": 404, "RestApiResponse": {}},
        "airflow_client_error",
        airflow_status=404,
    ),
    _success(
        "a success of HTTP that is Airflow's failure",
        {"RestApiStatusCode": 503, "RestApiResponse": {}},
        "airflow_server_error",
        airflow_status=503,
    ),
    _success("a success without Airflow's status", {"RestApiResponse": {}}, "service_error"),
    _success("a success that is a page of somebody else", b"<html>hi</html>", "service_error"),
    _success("an empty success", b"", "service_error"),
    _success("an empty object", {}, "service_error"),
    _success("half a document", b'{"RestApiResponse": {"x', "service_error"),
]

AIRFLOW = [
    *(
        _airflow("RestApiClientException", status, "airflow_client_error")
        for status in (400, 401, 403, 404, 409, 422, 429)
    ),
    *(
        _airflow("RestApiServerException", status, "airflow_server_error")
        for status in (500, 502, 503, 504)
    ),
    _airflow("RestApiServerException", 500, "airflow_server_error", 9.9, ", slowly"),
    _airflow("RestApiServerException", 503, "airflow_server_error", 9.9, ", slowly"),
    _airflow("RestApiServerException", 504, "service_timeout", 9.9, " at the service's limit"),
    _error("Airflow refused, no status", 400, "RestApiClientException", {}, "airflow_client_error"),
    _error("Airflow failed, no status", 400, "RestApiServerException", {}, "airflow_server_error"),
    _error(
        "Airflow failed at the limit, no status",
        400,
        "RestApiServerException",
        {},
        "service_timeout",
        took_s=AT_THE_LIMIT_S,
    ),
]

SERVICE = [
    _error("it failed inside", 500, "InternalServerException", {"message": "no"}, "service_error"),
    _error(
        "it failed inside, at its time limit",
        500,
        "InternalServerException",
        {"message": "no"},
        "service_timeout",
        took_s=AT_THE_LIMIT_S,
    ),
    _error("not available", 503, "ServiceUnavailableException", {"message": "no"}, "service_error"),
    *(_error(f"a bare {status}", status, None, b"", "service_error") for status in (500, 502, 503)),
    _error("a bare 504", 504, None, b"", "service_error"),
    _error("a bare 504 at the limit", 504, None, b"", "service_timeout", took_s=AT_THE_LIMIT_S),
    _error("an unknown status", 509, None, b"", "service_error"),
    _error("a load balancer's page", 503, None, b"<html><b>503</b></html>", "service_error"),
    _error(
        "a refusal in plain words",
        400,
        "ValidationException",
        b"Update your environment to use InvokeRestApi",
        "invalid",
    ),
    _error("a failure in plain words", 502, None, b"Bad Gateway", "service_error"),
    *(
        _error(
            f"a throttle as {code} {status}",
            status,
            code,
            {"message": "Rate exceeded"},
            "throttled",
        )
        for status, code in (
            (400, "ThrottlingException"),
            (429, "ThrottlingException"),
            (400, "TooManyRequestsException"),
            (429, "TooManyRequestsException"),
            (400, "LimitExceededException"),
            (400, "Throttling"),
            (503, "SlowDown"),
            (429, "SomethingNew"),
        )
    ),
    _error("a bare 429", 429, None, b"", "throttled"),
    _error(
        "too large, as a refusal",
        400,
        "ValidationException",
        {"message": "The response is larger than 6291456 bytes"},
        "response_too_large",
    ),
    _error(
        "too large, as a failure",
        500,
        "InternalServerException",
        {"message": "Response payload size exceeded maximum allowed size"},
        "response_too_large",
    ),
]

CALLER = [
    _error("access denied", 403, "AccessDeniedException", {"Message": "Airflow role"}, "denied"),
    _error(
        "access denied, in words like those of a large answer",
        403,
        "AccessDeniedException",
        {"Message": "limit the response"},
        "denied",
    ),
    *(
        _error(f"{code} {status}", status, code, {"message": "old"}, "denied")
        for status, code in (
            (400, "ExpiredToken"),
            (400, "ExpiredTokenException"),
            (403, "ExpiredTokenException"),
            (403, "InvalidSignatureException"),
            (403, "UnrecognizedClientException"),
        )
    ),
    _error("a bare 401", 401, None, b"", "denied"),
    _error("a bare 403", 403, None, b"", "denied"),
    _error("no such environment", 404, "ResourceNotFoundException", {"message": "no"}, "not_found"),
    _error("a bare 404", 404, None, b"", "not_found"),
    _error("refused", 400, "ValidationException", {"message": "Path is wrong"}, "invalid"),
    _error(
        "the environment is too old",
        400,
        "ValidationException",
        {"message": "Update your environment to use InvokeRestApi"},
        "invalid",
    ),
    _error("a bare 400", 400, None, b"", "invalid"),
    _error("a request too large", 413, "RequestEntityTooLargeException", {}, "invalid"),
    _error("a bare 413", 413, None, b"", "invalid"),
    _error("the request came too slowly", 408, None, b"", "connection_error"),
    _error("a redirect", 301, None, b"", "invalid"),
]

WAYS_TO_NAME_AN_ERROR = [
    _error(
        "a code with an address behind it",
        404,
        "ResourceNotFoundException:http://internal.amazon.com/coral/com.amazon.mwaa/",
        {},
        "not_found",
        error_code="ResourceNotFoundException",
    ),
    _error(
        "a code with a name space before it",
        403,
        "com.amazon.mwaa#AccessDeniedException",
        {},
        "denied",
        error_code="AccessDeniedException",
    ),
    _error(
        "a code in the body only",
        400,
        None,
        {"__type": "com.amazon.mwaa#ThrottlingException", "message": "slow"},
        "throttled",
        error_code="ThrottlingException",
    ),
    _error(
        "another code in the body only",
        400,
        None,
        {"code": "ThrottlingException"},
        "throttled",
        error_code="ThrottlingException",
    ),
    _error(
        "a code in header and body: the header's",
        400,
        "ValidationException",
        {"__type": "ThrottlingException"},
        "invalid",
    ),
    _error(
        "an unknown code does not make Airflow's status one",
        400,
        "SomethingNew",
        {"RestApiStatusCode": 404},
        "invalid",
    ),
]

NOT_MWAAS = [
    Answer(
        "a success that is a list",
        http(200, b"[1]"),
        CallResult("service_error", error_code="AttributeError"),
    ),
    Answer(
        "a success that is no text",
        http(200, b'{"x": "\xff"}'),
        CallResult("service_error", error_code="UnicodeDecodeError"),
    ),
    Answer(
        "a status that is no number",
        http(200, b'{"RestApiStatusCode": "many"}'),
        CallResult("service_error", error_code="ValueError"),
    ),
    Answer(
        "an error that is a list",
        http(400, b"[1]"),
        CallResult("service_error", error_code="AttributeError"),
    ),
]

_OK_RESULT = CallResult("ok", http_status=200, airflow_status=200, response_bytes=len(_OK_BODY))
_OK_OF_UNKNOWN_LENGTH = CallResult("ok", http_status=200, airflow_status=200)
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_CLOSED = CallResult("connection_error", error_code="ConnectionClosedError")

FRAMINGS = [
    Answer(
        "in chunks",
        _CHUNKED
        + b"5\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (_OK_BODY[:5], len(_OK_BODY) - 5, _OK_BODY[5:]),
        _OK_OF_UNKNOWN_LENGTH,
    ),
    Answer(
        "without a length, until the connection is closed",
        b"HTTP/1.1 200 OK\r\n\r\n" + _OK_BODY,
        _OK_OF_UNKNOWN_LENGTH,
        closes=True,
    ),
    Answer(
        "with HTTP/1.0", http(200, _OK_BODY).replace(b"1.1", b"1.0", 1), _OK_RESULT, closes=True
    ),
    Answer(
        "with Connection: close", http(200, _OK_BODY, "Connection: close"), _OK_RESULT, closes=True
    ),
    Answer(
        "after an interim answer",
        b"HTTP/1.1 100 Continue\r\n\r\n" + http(200, _OK_BODY),
        _OK_RESULT,
    ),
]

BROKEN = [
    Answer("closed without a word", b"", _CLOSED, closes=True),
    Answer("not HTTP", b"220 mail.example.org ESMTP\r\n", _CLOSED, closes=True),
    Answer("cut in a chunk", _CHUNKED + b"50\r\n{", _CLOSED, closes=True),
    Answer("cut between chunks", _CHUNKED + b"1\r\n{\r\n", _CLOSED, closes=True),
    Answer(
        "cut in the body, which boto3 does not compare with the length",
        http(200, _OK_BODY)[:-5],
        _CLOSED,
        closes=True,
        boto3_result=CallResult("service_error", http_status=200, response_bytes=len(_OK_BODY)),
    ),
    Answer(
        "cut in the head, which ends one for boto3",
        b"HTTP/1.1 200 OK\r\nContent-Type: app",
        _CLOSED,
        closes=True,
        boto3_result=CallResult("service_error", http_status=200),
    ),
]

EVERY_ANSWER = [
    *SUCCESSES,
    *AIRFLOW,
    *SERVICE,
    *CALLER,
    *WAYS_TO_NAME_AN_ERROR,
    *NOT_MWAAS,
    *FRAMINGS,
    *BROKEN,
]
