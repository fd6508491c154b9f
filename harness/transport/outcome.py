"""What a call ended as. The words are the keys of `analysis.records.schema.LAYER_OF_OUTCOME`."""

from typing import Literal, NamedTuple, Protocol

from harness.traffic.operations import RestCall

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


class Transport(Protocol):
    """Sends one call and returns how it ended; safe to use from many greenlets or threads."""

    def __call__(self, call: RestCall) -> CallResult:
        """Send `call` once."""
