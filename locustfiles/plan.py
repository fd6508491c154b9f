"""The test plan: what a load test sends; from a run directory, a scenario file or a master."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from botocore.credentials import Credentials

from mwaa_headroom.harness.aws.cleanup import Created, Undoing, cleaning_api, finder, undo
from mwaa_headroom.harness.aws.clients import AwsClients, is_loopback, make_clients
from mwaa_headroom.harness.aws.environment import (
    describe_environment,
    require_allowed,
    require_confirmed,
)
from mwaa_headroom.harness.aws.preflight import preflight
from mwaa_headroom.harness.errors import NotAllowedError, RecordError, UsageError
from mwaa_headroom.harness.run.load_processes import SCENARIO_FILE
from mwaa_headroom.harness.scenario.load import check_scenario, load_scenario
from mwaa_headroom.harness.scenario.model import AwsSettings, Scenario
from mwaa_headroom.harness.traffic.operations import (
    Targets,
    build_call,
    load_targets,
    targets_from_tree,
)
from mwaa_headroom.harness.traffic.schedule import StageSchedule, recovery_schedule, schedule_of
from mwaa_headroom.harness.traffic.stage_traces import load_traces, traces_beside
from mwaa_headroom.harness.traffic.traces import Trace
from mwaa_headroom.harness.transport.opening import OpenTransport, open_transport


@dataclass(frozen=True, slots=True)
class Phase:
    """One stage, or the recovery after one.

    Attributes:
        stage: index in the scenario; -1 - k: the recovery after stage k.
        schedule: when calls are due; None: a closed workload.
        users: of a closed workload, else 0.
    """

    stage: int
    name: str
    duration_s: float
    labels: tuple[str, ...]
    schedule: StageSchedule | None
    users: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be sent, without the means to send it: this travels to workers.

    Raises:
        HeadroomError: an entry of the mix cannot be called with these targets.
    """

    scenario: Scenario
    environment_name: str
    targets: Targets
    traces: Mapping[int, Trace]

    def __post_init__(self) -> None:
        """Every entry of the mix must be able to build its call before the first one is due."""
        for choice in self.scenario.traffic.mix.values():
            build_call(choice.operation, choice.parameters, arrival=0, targets=self.targets)

    def phases(self) -> tuple[Phase, ...]:
        """The stages, in order."""
        if self.scenario.traffic.arrivals != "closed":
            return tuple(_open_phase(one) for one in schedule_of(self.scenario, self.traces))
        labels = tuple(self.scenario.traffic.mix)
        return tuple(
            Phase(index, stage.name, stage.duration_s, labels, None, stage.users or 0)
            for index, stage in enumerate(self.scenario.stages)
        )

    def recovery_after(self, stage: int) -> Phase:
        """The light load after a stage that broke the SLO."""
        return _open_phase(recovery_schedule(self.scenario, stage))

    def with_new_run_id(self) -> "Plan":
        """The same for another test: Airflow takes the id of a DAG run only once."""
        return replace(self, targets=replace(self.targets, run_id=_new_run_id()))

    def to_message(self) -> dict[str, Any]:
        """Plain values for Locust's channel; no credentials are among them."""
        return {
            "scenario": self.scenario.model_dump(mode="json"),
            "environment_name": self.environment_name,
            "targets": asdict(self.targets),
            "traces": {
                str(stage): {
                    "kind": trace.kind,
                    "time_s": trace.time_s.tobytes(),
                    "rate_per_s": _bytes(trace.rate_per_s),
                    "operations": trace.operations,
                    "called": _bytes(trace.called),
                    "shares_per_s": _bytes(trace.shares_per_s),
                }
                for stage, trace in self.traces.items()
            },
        }


def plan_of_run(run_dir: Path) -> Plan:
    """What `headroom run` has prepared.

    Raises:
        HeadroomError: a file in the run directory is missing or wrong.
    """
    path = run_dir / SCENARIO_FILE
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise RecordError(f"'{path}' is missing or damaged; prepare the run again.") from exc
    scenario = check_scenario(tree, origin=str(path))
    traces = load_traces(scenario, run_dir)
    return Plan(scenario, scenario.environment.name, load_targets(run_dir), traces)


def plan_of_scenario(scenario_file: Path, environment_name: str | None) -> Plan:
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
    require_confirmed(scenario, facts)
    run_id, created = _new_run_id(), Created()
    try:
        targets = preflight(clients, scenario, facts, run_id, created).targets
    except BaseException:  # Ctrl-C too: nobody else will
        api = cleaning_api(clients, scenario)
        undo(api, created, Undoing(), lambda _: None, finder(api, run_id))
        raise
    return Plan(scenario, name, targets, traces_beside(scenario, scenario_file))


def plan_of_message(tree: Mapping[str, Any], *, allowed_arn: str) -> Plan:
    """What a master sent.

    Args:
        tree: as `Plan.to_message` made it.
        allowed_arn: what the user of this worker allows to be loaded; "": nothing on AWS.

    Raises:
        HeadroomError: the message is not understood, or load is not allowed.
    """
    try:
        plan = Plan(
            check_scenario(tree["scenario"], origin="the master's scenario"),
            str(tree["environment_name"]),
            targets_from_tree(tree["targets"]),
            {int(stage): _trace_of_message(trace) for stage, trace in tree["traces"].items()},
        )
        plan.phases()  # every trace that is needed is there
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise UsageError(
            "The master's plan is not understood; run the same version of headroom on both sides."
        ) from exc
    named = plan.scenario.limits.allow_environment
    if plan.scenario.environment.kind == "aws" and named != allowed_arn:
        raise NotAllowedError(
            f"The master wants to load {named}: if this worker may do so, start it with "
            f"--allow-environment {named}."
        )
    return plan


def transport_of(plan: Plan, keys: Credentials | None = None) -> OpenTransport:
    """A transport that follows this process's own AWS configuration.

    Args:
        plan: what will be sent.
        keys: that were handed to this process; None: it finds its own.

    Raises:
        HeadroomError: the environment that endpoint and credentials lead to is not the one the
            scenario allows, or the configuration is incomplete.
    """
    scenario, name = plan.scenario, plan.environment_name
    # Checked by whoever prepared the run, but load goes where this process's own settings lead.
    if isinstance(scenario.environment, AwsSettings):
        arn = describe_environment(_clients(scenario, name, keys), name).arn
        require_allowed(scenario, arn, endpoint_is_loopback=False)
    return open_transport(scenario, name, plan.targets.airflow_version, keys=keys)


def _open_phase(schedule: StageSchedule) -> Phase:
    return Phase(
        schedule.stage, schedule.name, schedule.duration_s, schedule.labels, schedule=schedule
    )


def _trace_of_message(tree: Mapping[str, Any]) -> Trace:
    rates, called, shares = tree["rate_per_s"], tree["called"], tree["shares_per_s"]
    operations = tuple(tree["operations"])
    return Trace(
        kind=tree["kind"],
        time_s=np.frombuffer(tree["time_s"]),
        rate_per_s=None if rates is None else np.frombuffer(rates),
        operations=operations,
        called=None if called is None else np.frombuffer(called, dtype=np.int64),
        shares_per_s=None
        if shares is None
        else np.frombuffer(shares).reshape(-1, max(len(operations), 1)),
    )


def _bytes(array: npt.NDArray[Any] | None) -> bytes | None:
    return None if array is None else array.tobytes()


def _clients(
    scenario: Scenario, environment_name: str, keys: Credentials | None = None
) -> AwsClients:
    environment = scenario.environment
    return make_clients(
        environment=environment_name,
        region=environment.region,
        profile=environment.profile if isinstance(environment, AwsSettings) else None,
        keys=keys,
    )


def _new_run_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S-locust-%f}"
