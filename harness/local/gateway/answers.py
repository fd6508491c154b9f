"""What the gateway answers: bodies and errors in the shapes that AWS's `mwaa` model declares.

Error bodies are JSON with `message` (`Message` for AccessDeniedException), the code travels in the
header `x-amzn-errortype`. Airflow's own 4xx and 5xx both become HTTP 400, as in the service model.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

HIDDEN = "***"  # what CloudTrail shows instead of a sensitive member


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer on the wire, and what CloudTrail may show of it."""

    status: int
    body: bytes
    error_code: str | None = None
    error_message: str | None = None
    response_elements: Mapping[str, object] | None = None
    retry_after_ms: int | None = None
    content_type: str = "application/json"


class ApiError(Exception):
    """A call that ends with an AWS error."""

    def __init__(
        self,
        code: str,
        status: int,
        message: str,
        members: Mapping[str, object] | None = None,
        *,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message
        self.members = members
        self.retry_after_ms = retry_after_ms

    def answer(self) -> Answer:
        """The error as it goes over the wire."""
        message_key = "Message" if self.code == "AccessDeniedException" else "message"
        document = self.members if self.members is not None else {message_key: self.message}
        return Answer(
            status=self.status,
            body=json.dumps(document).encode(),
            error_code=self.code,
            error_message=self.message,
            retry_after_ms=self.retry_after_ms,
        )


def needs_update() -> Answer:
    """An environment of before InvokeRestApi; that the body is no JSON was seen on AWS."""
    text = "Update your environment to use InvokeRestApi"
    return Answer(400, text.encode(), "ValidationException", text, content_type="text/plain")


def json_answer(
    document: Mapping[str, object], response_elements: Mapping[str, object] | None = None
) -> Answer:
    """HTTP 200 with a JSON document."""
    return Answer(
        status=200, body=json.dumps(document).encode(), response_elements=response_elements
    )


def validation_error(message: str) -> ApiError:
    """The request does not fit the service model (HTTP 400)."""
    return ApiError("ValidationException", 400, message)


def internal_error(message: str) -> ApiError:
    """The service's own fault (HTTP 500)."""
    return ApiError("InternalServerException", 500, message)


def service_error(code: str, message: str) -> ApiError:
    """The error `code` that the settings chose where AWS's choice is unverified."""
    if code == "RestApiServerException":
        members = {"RestApiStatusCode": 504, "RestApiResponse": message}
        return ApiError(code, 400, message, members)
    return validation_error(message) if code == "ValidationException" else internal_error(message)


def answer_from_airflow(
    airflow_status: int, content_type: str, body: bytes, *, drop_nulls: bool
) -> Answer:
    """Airflow's answer as InvokeRestApi hands it on.

    JSON is embedded byte for byte: parsing and writing it again would cost more than all the rest
    of a call. Anything else, an empty answer included, becomes a JSON string.
    """
    if not body or "json" not in content_type:
        document = json.dumps(body.decode("utf-8", "replace")).encode()
    elif drop_nulls:
        document = json.dumps(_without_nulls(json.loads(body))).encode()
    else:
        document = body
    wire = b'{"RestApiStatusCode":%d,"RestApiResponse":%b}' % (airflow_status, document)
    if airflow_status >= 500:
        return Answer(400, wire, "RestApiServerException", "")
    if airflow_status >= 400:
        return Answer(400, wire, "RestApiClientException", "")
    elements = {"RestApiStatusCode": airflow_status, "RestApiResponse": HIDDEN}
    return Answer(200, wire, response_elements=elements)


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_nulls(member) for member in value]
    return value
