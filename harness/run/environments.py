"""The environment of a run: started here and stopped again, or found on AWS."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwaa_headroom.harness.aws.clients import AwsClients, make_clients
from mwaa_headroom.harness.aws.credentials import KEY_VARIABLES, KeySource
from mwaa_headroom.harness.aws.environment import key_source
from mwaa_headroom.harness.local.handle import StandIn
from mwaa_headroom.harness.local.instance import instance_root
from mwaa_headroom.harness.local.settings import LocalSettings, SimulatedSettings
from mwaa_headroom.harness.run.progress import Progress
from mwaa_headroom.harness.run.recording import Phases
from mwaa_headroom.harness.scenario.model import AwsSettings, Scenario

PUBLISHING_S = 2.0  # a stand-in publishes a period's samples within this time after its end


@dataclass(frozen=True, slots=True)
class RunEnvironment:
    """An environment that answers, and how to reach it."""

    clients: AwsClients
    generator_variables: Mapping[str, str]  # the load process's whole environment
    facts: Mapping[str, object]  # what only a stand-in can tell, or the scenario says
    metric_period_s: int
    metrics_settle_s: float  # how late metrics may arrive
    new_events: Callable[[], list[dict[str, Any]]]  # the environment's own, since last asked
    is_alive: Callable[[], bool]  # a stand-in can die under us; of AWS we do not know
    logs: str  # the folder of a stand-in's logs
    is_ours: bool  # thrown away after the run: nothing needs cleaning up
    keys: KeySource | None  # what load processes are handed; a stand-in's are no secret


@contextmanager
def open_environment(
    scenario: Scenario, progress: Progress, phases: Phases
) -> Iterator[RunEnvironment]:
    """Bring up the scenario's environment, or connect to it; take down what was brought up.

    Raises:
        EnvironmentStartError: a local environment did not come up.
        EnvironmentAccessError: AWS clients cannot be made.
    """
    settings = scenario.environment
    if isinstance(settings, AwsSettings):
        yield _on_aws(scenario, settings)
        return
    directory = instance_root() / f"run-{settings.name}"
    with phases.timed("environment_up"):
        stand_in = StandIn.start(settings, directory, progress.step)
    try:
        yield _stand_in(settings, stand_in, directory)
    finally:
        progress.step("Stopping the environment")
        with phases.timed("environment_down"):
            stand_in.stop()


def _on_aws(scenario: Scenario, settings: AwsSettings) -> RunEnvironment:
    clients = make_clients(
        environment=settings.name, region=settings.region, profile=settings.profile
    )
    chosen = {
        "AWS_PROFILE": settings.profile,
        "AWS_REGION": settings.region,
        "AWS_DEFAULT_REGION": settings.region,
    }
    return RunEnvironment(
        clients=clients,
        generator_variables={
            **{name: value for name, value in os.environ.items() if name not in KEY_VARIABLES},
            **{name: value for name, value in chosen.items() if value is not None},
        },
        facts={} if settings.webserver_cpu is None else {"webserver_cpu": settings.webserver_cpu},
        metric_period_s=settings.metric_period_s,
        metrics_settle_s=settings.metrics_settle_s,
        new_events=list,
        is_alive=lambda: True,
        logs="",
        is_ours=False,
        keys=key_source(clients, scenario, settings),
    )


def _stand_in(
    settings: LocalSettings | SimulatedSettings, stand_in: StandIn, directory: Path
) -> RunEnvironment:
    variables = stand_in.endpoints.as_variables()
    no_files = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    rule = settings.autoscaler
    return RunEnvironment(
        clients=make_clients(environment=settings.name, variables=variables),
        generator_variables=stand_in.endpoints.environment_from(os.environ) | no_files,
        facts={
            **stand_in.facts,
            "scale_out_cpu_percent": rule.cpu_above_percent,
            "scale_out_connections": rule.connections_above,
        },
        metric_period_s=settings.metrics.period_s,
        metrics_settle_s=settings.metrics.period_s + PUBLISHING_S,
        new_events=stand_in.new_events,
        is_alive=stand_in.is_running,
        logs=str(directory),
        is_ours=True,
        keys=None,
    )
