"""What the environment answers: GetEnvironment, preflight, and each entry of the mix once.

Airflow is the simulated one of the stand-in, asked in memory and without waiting. The load needs
only one answer for each entry of its mix: all calls of an entry end alike but for their times, and
for the length of lists that grow, which is recorded as it was in the beginning.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from harness.aws.clients import AwsClients
from harness.aws.environment import EnvironmentFacts, describe_environment
from harness.aws.preflight import PreflightResult, preflight
from harness.errors import PreflightError
from harness.local.gateway.answers import Answer, ApiError, answer_from_airflow, service_error
from harness.local.gateway.environments import describe
from harness.local.gateway.invocation import read_invocation
from harness.local.settings import SimulatedSettings
from harness.local.simulated_api import Request, SimulatedAirflow
from harness.scenario.model import Scenario
from harness.traffic.operations import build_call
from harness.transport.answers import outcome_of_answer
from harness.transport.outcome import UNSENT, CallResult
from harness.virtual.webserver import Endings


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known before the load begins.

    Attributes:
        facts: what GetEnvironment tells.
        found: by preflight.
        operations: by label, what the webservers take its calls for.
        results: of calls; first one per label, in the mix's order, as they end when all goes well.
        throttled: the result of a call that the throttle refuses.
        unsent: the result of an arrival for which no sender was free.
        endings: which results webservers need to know.
    """

    facts: EnvironmentFacts
    found: PreflightResult
    operations: tuple[str, ...]
    results: tuple[CallResult, ...]
    throttled: int
    unsent: int
    endings: Endings


def prepare(
    scenario: Scenario, settings: SimulatedSettings, *, run_id: str, started_at_s: float
) -> Prepared:
    """Everything a real run does between the environment coming up and the first call.

    Raises:
        PreflightError: the environment lacks what the scenario needs.
    """
    gateway = MemoryGateway(settings, started_at_s)
    client = cast(Any, gateway)
    clients = AwsClients(mwaa=client, mwaa_once=client, cloudwatch=client)
    facts = describe_environment(clients, settings.name, clock=lambda: started_at_s)
    found = preflight(
        clients, scenario, facts, run_id, clock=lambda: started_at_s, sleep=lambda _: None
    )
    asked = [
        build_call(choice.operation, choice.parameters, arrival=0, targets=found.targets)
        for choice in scenario.traffic.mix.values()
    ]
    answered = [gateway.answer(call.method, call.path, call.query, call.body) for call in asked]
    results = [_result_of(answer, 0.0, settings) for _, answer in answered]
    count = len(results)
    results += [_timed_out(settings), _throttled(settings), UNSENT]
    return Prepared(
        facts=replace(facts, clock_offset_s=0.0),
        found=found,
        operations=tuple(operation for operation, _ in answered),
        results=tuple(results),
        throttled=count + 1,
        unsent=count + 2,
        endings=Endings(
            timed_out=count,
            failures=frozenset(i for i, result in enumerate(results) if result.outcome != "ok"),
        ),
    )


class MemoryGateway:
    """As much of boto3's `mwaa` client as preflight uses, answered by the simulated Airflow."""

    def __init__(self, settings: SimulatedSettings, now_s: float) -> None:
        self._settings = settings
        self._now_s = now_s
        self._airflow = SimulatedAirflow(settings.airflow_version)

    def get_environment(self, *, Name: str) -> dict[str, Any]:  # noqa: N803, ARG002 - boto3's
        """GetEnvironment."""
        created = datetime.fromtimestamp(self._now_s, UTC)
        described = describe(
            self._settings,
            airflow_version=self._settings.airflow_version,
            webserver_url="",
            created_at_s=self._now_s,
        )
        times = {"CreatedAt": created, "LastUpdate": {"Status": "SUCCESS", "CreatedAt": created}}
        return {
            "Environment": {**described, **times},
            "ResponseMetadata": {"HTTPHeaders": {}},
        }

    def invoke_rest_api(
        self,
        *,
        Name: str,  # noqa: N803, ARG002 - boto3's, like the next ones
        Path: str,  # noqa: N803
        Method: str,  # noqa: N803
        QueryParameters: Mapping[str, Any] | None = None,  # noqa: N803
        Body: Mapping[str, Any] | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        """InvokeRestApi; Airflow's errors are answers too."""
        _, answer = self.answer(Method, Path, QueryParameters, Body)
        if answer.error_code is not None and not answer.error_code.startswith("RestApi"):
            raise PreflightError(
                f"{Method} {Path}: {answer.error_message}; change the scenario accordingly."
            )
        return dict(json.loads(answer.body))

    def answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
    ) -> tuple[str, Answer]:
        """The operation that a webserver takes a call for, and what the gateway answers."""
        settings, prefix = self._settings.gateway, self._airflow.prefix
        document = {"Method": method, "Path": path, "QueryParameters": query, "Body": body}
        try:
            invocation = read_invocation(document, prefix=prefix, settings=settings)
        except ApiError as error:
            return "", error.answer()
        target = urlsplit(invocation.target)
        recognised = self._airflow.recognise(
            Request(
                invocation.method,
                target.path.removeprefix(prefix),
                parse_qs(target.query, keep_blank_values=True),
                json.loads(invocation.body) if invocation.body else {},
            )
        )
        said = recognised.answer(self._now_s)
        content = b"" if said.body is None else json.dumps(said.body).encode()
        if len(content) > settings.max_response_bytes:
            message = f"The response is larger than {settings.max_response_bytes} bytes"
            return recognised.operation, service_error(
                settings.too_large_exception, message
            ).answer()
        answer = answer_from_airflow(
            said.status, "application/json", content, drop_nulls=settings.drop_nulls
        )
        return recognised.operation, answer


def _timed_out(settings: SimulatedSettings) -> CallResult:
    gateway = settings.gateway
    message = f"The Airflow REST API did not answer within {gateway.timeout_s:g} seconds"
    error = service_error(gateway.timeout_exception, message)
    return _result_of(error.answer(), gateway.timeout_s, settings)


def _throttled(settings: SimulatedSettings) -> CallResult:
    throttle = settings.gateway.throttle
    error = ApiError(throttle.error_code, throttle.http_status, "Rate exceeded")
    return _result_of(error.answer(), 0.0, settings)


def _result_of(answer: Answer, elapsed_s: float, settings: SimulatedSettings) -> CallResult:
    airflow_status = json.loads(answer.body).get("RestApiStatusCode")
    outcome = outcome_of_answer(
        http_status=answer.status,
        error_code=answer.error_code,
        message=answer.error_message or "",
        airflow_status=airflow_status,
        elapsed_s=elapsed_s,
        service_timeout_s=settings.gateway.timeout_s,
    )
    return CallResult(outcome, answer.status, airflow_status, answer.error_code, len(answer.body))
