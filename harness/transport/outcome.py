"""One call and what became of it: the outcome by what the MWAA service answered.

Airflow's own status is only in `RestApiStatusCode`: the outer status is 400 for all of Airflow's
errors. Three readings are not documented by AWS and chosen here:

- a throttle has one of AWS's general throttling codes, or status 429;
- the service's time limit shows, once that time has passed, as an InternalServerException, as a
  RestApiServerException with status 504 or none, or as a bare 504;
- an answer over the size limit shows as an error whose text says so.

A success without `RestApiStatusCode` is not MWAA's (a proxy's page, say) and never counts as ok.
"""

import re
from typing import Literal, NamedTuple, Protocol

from mwaa_headroom.analysis.mwaa import INVOKE_TIMEOUT_S
from mwaa_headroom.analysis.schema import STARTED_TOO_LATE
from mwaa_headroom.harness.aws.translate import is_throttle
from mwaa_headroom.harness.traffic.operations import RestCall

NEAR_TIMEOUT = 0.95  # of the limit: timers on both sides differ a little

Outcome = Literal[
    "ok",
    "throttled",
    "denied",
    "invalid",
    "not_found",
    "service_timeout",
    "service_error",
    "response_too_large",
    "airflow_client_error",
    "airflow_server_error",
    "client_timeout",
    "connection_error",
    "unsent",
]


class CallResult(NamedTuple):
    """The end of one call; a named tuple, because one is made for every call.

    Attributes:
        outcome: who is to blame follows from it.
        http_status: of the outer answer; None: none came.
        airflow_status: RestApiStatusCode; None: Airflow did not answer.
        error_code: AWS's error code or the exception's class name; None: ok. Never a payload.
        response_bytes: length of the outer answer's body; None: unknown or none.
        attempts: how often the call was sent; 0: unsent.
    """

    outcome: Outcome
    http_status: int | None = None
    airflow_status: int | None = None
    error_code: str | None = None
    response_bytes: int | None = None
    attempts: int = 1


UNSENT = CallResult("unsent", attempts=0)
TOO_LATE = CallResult("unsent", error_code=STARTED_TOO_LATE, attempts=0)


class Transport(Protocol):
    """Sends one call and returns how it ended; safe to use from many greenlets or threads."""

    def __call__(self, call: RestCall) -> CallResult:
        """Send `call` once."""


_DENIALS = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "NotAuthorized",
        "OptInRequired",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    }
)
_WITHOUT_AIRFLOW_STATUS: dict[str | None, Outcome] = {
    "RestApiClientException": "airflow_client_error",
    "RestApiServerException": "airflow_server_error",
}
_RESPONSE_TOO_LARGE = re.compile(
    r"(response|result)\b.*\b(too large|exceed|larger than|size|limit|\d+ ?MB)"
    r"|(too large|exceed\w*|larger than|size|limit)\b.*\b(response|result)\b",
    re.IGNORECASE | re.DOTALL,
)


def outcome_of_answer(
    *,
    http_status: int,
    error_code: str | None,
    message: str,
    airflow_status: int | None,
    elapsed_s: float,
    service_timeout_s: float = INVOKE_TIMEOUT_S,
) -> Outcome:
    """The outcome of a call that the service answered.

    Args:
        http_status: of the outer answer.
        error_code: AWS's error code (a bare status has its number as code); None: a success.
        message: the error's text.
        airflow_status: RestApiStatusCode, if the answer has one.
        elapsed_s: how long the call took.
        service_timeout_s: after how long the service gives up.
    """
    near_timeout = elapsed_s >= NEAR_TIMEOUT * service_timeout_s
    if error_code is None or error_code.startswith("RestApi"):
        return _of_airflow(error_code, airflow_status, near_timeout)
    if is_throttle(error_code, http_status):
        return "throttled"
    if http_status != 403 and _RESPONSE_TOO_LARGE.search(message):
        return "response_too_large"
    if http_status >= 500:
        timed_out = http_status == 504 or error_code == "InternalServerException"
        return "service_timeout" if timed_out and near_timeout else "service_error"
    return _of_refusal(error_code, http_status)


def _of_airflow(error_code: str | None, status: int | None, near_timeout: bool) -> Outcome:
    if error_code == "RestApiServerException" and status in (None, 504) and near_timeout:
        return "service_timeout"
    if status is None:
        return _WITHOUT_AIRFLOW_STATUS.get(error_code, "service_error")
    if status < 400:
        return "ok"
    return "airflow_server_error" if status >= 500 else "airflow_client_error"


def _of_refusal(error_code: str, http_status: int) -> Outcome:
    if error_code in _DENIALS or http_status in (401, 403):
        return "denied"
    if error_code == "ResourceNotFoundException" or http_status == 404:
        return "not_found"
    if http_status == 408:  # the request did not arrive in full: nothing the caller chose
        return "connection_error"
    return "invalid"
