"""What a load test is to do: read from a run directory, or put together from a scenario file."""

import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.aws.access import require_allowed
from harness.aws.clients import AwsClients, is_loopback, make_clients
from harness.aws.environment import describe_environment
from harness.aws.preflight import preflight
from harness.errors import RecordError
from harness.generator import SCENARIO_FILE
from harness.scenario.load import check_scenario, load_scenario
from harness.scenario.model import AwsSettings, Scenario
from harness.traffic.operations import build_call
from harness.traffic.targets import Targets, load_targets
from harness.transport.boto3_transport import boto3_transport, invoke_client
from harness.transport.outcome import Transport


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a load test needs to know."""

    scenario: Scenario
    targets: Targets
    send: Transport

    def __post_init__(self) -> None:
        """Every entry of the mix must be able to build its call before the first one is due."""
        for choice in self.scenario.traffic.mix.values():
            build_call(choice.operation, choice.parameters, arrival=0, targets=self.targets)

    def again(self) -> "Plan":
        """The same plan under another run id: Airflow takes the id of a DAG run only once."""
        return replace(self, targets=replace(self.targets, run_id=_new_run_id()))


def plan_of_run(run_dir: Path) -> Plan:
    """The plan that `headroom run` has prepared.

    Raises:
        HeadroomError: a file in the run directory is missing or wrong, or the environment that the
            endpoint and the credentials lead to is not the one the scenario allows.
    """
    path = run_dir / SCENARIO_FILE
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise RecordError(f"'{path}' is missing or damaged; prepare the run again.") from exc
    scenario = check_scenario(tree, origin=str(path))
    targets, name = load_targets(run_dir), scenario.environment.name
    client = _invoke_client(scenario, name)
    # Checked by whoever prepared the run, but load goes where this process's own settings lead.
    of_aws = isinstance(scenario.environment, AwsSettings)
    arn = describe_environment(_clients(scenario, name), name).arn if of_aws else ""
    on_this_machine = is_loopback(client.meta.endpoint_url)
    require_allowed(scenario, arn, endpoint_is_loopback=on_this_machine)
    return Plan(scenario, targets, _transport(scenario, client, name))


def plan_by_itself(scenario_file: Path, environment_name: str | None) -> Plan:
    """A plan without a run directory: access is checked and targets are found here.

    Args:
        scenario_file: its own environment is not started: it must be up already.
        environment_name: None: the name in the scenario.

    Raises:
        HeadroomError: the scenario is wrong, the environment is not allowed or lacks something.
    """
    scenario = load_scenario(scenario_file, variables=os.environ)
    name = environment_name or scenario.environment.name
    clients = _clients(scenario, name)
    facts = describe_environment(clients, name)
    on_this_machine = is_loopback(clients.mwaa.meta.endpoint_url)
    require_allowed(scenario, facts.arn, endpoint_is_loopback=on_this_machine)
    targets = preflight(clients, scenario, facts, _new_run_id()).targets
    return Plan(scenario, targets, _transport(scenario, _invoke_client(scenario, name), name))


def _clients(scenario: Scenario, environment_name: str) -> AwsClients:
    return make_clients(
        environment=environment_name,
        region=scenario.environment.region,
        profile=_profile(scenario),
    )


def _invoke_client(scenario: Scenario, environment_name: str) -> Any:
    return invoke_client(
        environment=environment_name,
        region=scenario.environment.region,
        profile=_profile(scenario),
        call_timeout_s=scenario.limits.call_timeout_s,
        max_in_flight=scenario.limits.max_in_flight,
    )


def _transport(scenario: Scenario, client: Any, environment_name: str) -> Transport:
    environment = scenario.environment
    if isinstance(environment, AwsSettings):
        return boto3_transport(client, environment_name)
    return boto3_transport(
        client, environment_name, service_timeout_s=environment.gateway.timeout_s
    )


def _profile(scenario: Scenario) -> str | None:
    environment = scenario.environment
    return environment.profile if isinstance(environment, AwsSettings) else None


def _new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S-locust-%f}"
