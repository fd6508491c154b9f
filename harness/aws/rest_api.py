"""Airflow's REST API through InvokeRestApi, for preparing and tidying up: slow and careful.

The calls under load do not come this way (see `harness.transport`).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from botocore.exceptions import ClientError

from harness.aws.clients import AwsClients
from harness.aws.translate import aws_call, member

Method = Literal["GET", "PUT", "POST", "PATCH", "DELETE"]

_AIRFLOW_ERRORS = ("RestApiClientException", "RestApiServerException")


@dataclass(frozen=True, slots=True)
class Answer:
    """What Airflow answered, be it good or bad."""

    status: int
    body: Any  # decoded JSON; None: there was none

    @property
    def ok(self) -> bool:
        """Whether Airflow did what was asked."""
        return 200 <= self.status < 300

    def get(self, key: str) -> Any:
        """A member of the body; None if it is not there (the service is said to drop nulls)."""
        return self.body.get(key) if isinstance(self.body, dict) else None


class RestApi:
    """Calls one environment, never faster than a given rate."""

    def __init__(
        self,
        clients: AwsClients,
        environment: str,
        *,
        rate_per_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clients = clients
        self._environment = environment
        self._interval_s = 1 / rate_per_s
        self._clock = clock
        self._sleep = sleep
        self._next_s = clock()

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Answer:
        """Read; sent again up to twice if the service fails."""
        return self._call("GET", path, query=query)

    def send(self, method: Method, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Change something; sent once only."""
        return self._call(method, path, body=body)

    def _call(
        self,
        method: Method,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Call and return Airflow's answer.

        Raises:
            EnvironmentAccessError: Airflow was not reached.
        """
        self._wait_for_turn()
        client = self._clients.mwaa if method == "GET" else self._clients.mwaa_once
        optional: dict[str, Any] = {}
        if query is not None:
            optional["QueryParameters"] = query
        if body is not None:
            optional["Body"] = body
        with aws_call("airflow:InvokeRestApi", environment=self._environment):
            try:
                answer: Mapping[str, Any] = client.invoke_rest_api(
                    Name=self._environment, Path=path, Method=method, **optional
                )
            except ClientError as exc:
                # Outside it is always HTTP 400; what Airflow said is in the members.
                if exc.response["Error"].get("Code") not in _AIRFLOW_ERRORS:
                    raise
                answer = {**exc.response}
            return Answer(member(answer, "RestApiStatusCode"), answer.get("RestApiResponse"))

    def _wait_for_turn(self) -> None:
        wait_s = self._next_s - self._clock()
        if wait_s > 0:
            self._sleep(wait_s)
        self._next_s = max(self._next_s, self._clock()) + self._interval_s
