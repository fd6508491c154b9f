"""What a load test is to do: read from a run directory, or put together from a scenario file."""

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from harness.aws.access import require_allowed
from harness.aws.clients import is_loopback, make_clients
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
        HeadroomError: a file in the run directory is missing or wrong.
    """
    path = run_dir / SCENARIO_FILE
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise RecordError(f"'{path}' is missing or damaged; prepare the run again.") from exc
    scenario = check_scenario(tree, origin=str(path))
    return Plan(scenario, load_targets(run_dir), _transport(scenario, scenario.environment.name))


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
    clients = make_clients(
        environment=name, region=scenario.environment.region, profile=_profile(scenario)
    )
    facts = describe_environment(clients, name)
    on_this_machine = is_loopback(clients.mwaa.meta.endpoint_url)
    require_allowed(scenario, facts.arn, endpoint_is_loopback=on_this_machine)
    targets = preflight(clients, scenario, facts, _new_run_id()).targets
    return Plan(scenario, targets, _transport(scenario, name))


def _transport(scenario: Scenario, environment_name: str) -> Transport:
    environment = scenario.environment
    client = invoke_client(
        environment=environment_name,
        region=environment.region,
        profile=_profile(scenario),
        call_timeout_s=scenario.limits.call_timeout_s,
        max_in_flight=scenario.limits.max_in_flight,
    )
    if isinstance(environment, AwsSettings):
        return boto3_transport(client, environment_name)
    return boto3_transport(
        client, environment_name, service_timeout_s=environment.gateway.timeout_s
    )


def _profile(scenario: Scenario) -> str | None:
    environment = scenario.environment
    return environment.profile if isinstance(environment, AwsSettings) else None


def _new_run_id() -> str:
    return f"locust-{time.time_ns() // 1_000_000}"
