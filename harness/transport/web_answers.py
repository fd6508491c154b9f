"""What a webserver's answer means when nothing but a load balancer stands before it.

Airflow's own status is the answer's, so what Airflow did not say has to be told apart:

- JSON is Airflow's, whatever the status. Errors from 500 may come without: a webserver that breaks
  down answers in plain text (Airflow 3) or HTML (Airflow 2).
- 502, 503 and 504 without JSON are the load balancer's own words (layer: service), a 504 once its
  idle time is up is `service_timeout`; anything that names `awselb` as its server is its own too.
- 429 is Airflow's own error if Airflow said it, as it is through InvokeRestApi; anybody else's (a
  firewall rule's, say) is `throttled`.
- A success that is not Airflow's, a proxy's page for example, never counts as ok.
- A refused session is `denied`, whoever refused it: the caller's way in is wrong, not the call.
"""

from urllib.parse import urlsplit

from harness.transport.answers import outcome_of_answer
from harness.transport.http import HttpAnswer
from harness.transport.outcome import CallResult

BALANCER_TIMEOUT_S = 60.0  # idle timeout of an Application Load Balancer, unless configured
_BALANCER_STATUSES = (502, 503, 504)


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
    return 300 <= answer.status < 400 and not _is_within(location, api_prefix)


def _is_within(location: str, api_prefix: str) -> bool:
    return location == "" or urlsplit(location).path.startswith(f"{api_prefix}/")


def _is_airflows(answer: HttpAnswer) -> bool:
    if answer.headers.get("server", "").startswith("awselb"):
        return False
    if "json" in answer.headers.get("content-type", ""):
        return True
    if answer.status < 400:
        return not answer.body and answer.status != 200  # 204, 304, a redirect to another path
    return answer.status >= 500 and answer.status not in _BALANCER_STATUSES
