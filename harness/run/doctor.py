"""`headroom doctor`: what would stop or spoil a run; nothing is started, created or changed.

What concerns AWS is in `harness.aws.doctor`; here is what concerns this machine, and what a run
would do.
"""

import math
import os
import platform
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.leftovers import DAG_RUNS
from mwaa_headroom.harness.aws.cleanup import CALLS_PER_S, undoing_s
from mwaa_headroom.harness.aws.clients import make_clients
from mwaa_headroom.harness.aws.doctor import AwsDoctor, Checked, carried_out, judged
from mwaa_headroom.harness.aws.preflight import uses
from mwaa_headroom.harness.errors import EnvironmentAccessError, EnvironmentStartError
from mwaa_headroom.harness.local.airflow.cpu_limit import CpuLimiter, Unavailable
from mwaa_headroom.harness.local.handle import require_packages
from mwaa_headroom.harness.local.instance import (
    RUN_PREFIX,
    Instance,
    cache_home,
    instance_root,
)
from mwaa_headroom.harness.local.settings import LocalSettings, SimulatedSettings
from mwaa_headroom.harness.run.environments import PUBLISHING_S
from mwaa_headroom.harness.scenario.model import AwsSettings, Scenario, Stage
from mwaa_headroom.harness.traffic.rate_cap import spaced_stages

# Half of what one load process sent on a 2026 server core (docs/validation.md).
CALLS_PER_PROCESS: Final = {"lean": 2500.0, "web_token": 2500.0, "boto3": 400.0}
OTHER_CPUS: Final = 1.0  # for load generator, scheduler and database, at least
AIRFLOW_BYTES: Final = 1_500_000_000  # installed, with a database to copy


def examine(scenario: Scenario, *, is_meant: bool = True) -> Iterator[Checked]:
    """Everything that can be found out, line by line.

    Args:
        scenario: what is going to run.
        is_meant: whether it is; else only its environment is looked at.
    """
    settings, triggers, in_bulk = scenario.environment, 0, False
    if isinstance(settings, AwsSettings):
        run_s = _load_s(scenario) + _waits_s(scenario, _triggers(scenario)) if is_meant else None
        try:
            clients = make_clients(
                environment=settings.name, region=settings.region, profile=settings.profile
            )
        except EnvironmentAccessError as exc:
            yield Checked("configuration", refusal("doctor.problem", reason=str(exc)))
        else:
            aws = AwsDoctor(scenario, settings, clients, run_s=run_s)
            yield from aws.checks()
            triggers, in_bulk = aws.triggers, aws.deletes_in_bulk
    else:
        yield from _machine(settings)
    if is_meant:
        yield from carried_out("generator", lambda: _generator(scenario))
        yield from carried_out("plan", lambda: _plan(scenario, triggers, in_bulk))


def _machine(settings: LocalSettings | SimulatedSettings) -> Iterator[Checked]:
    yield Checked(
        "machine",
        note("doctor.host", platform=platform.platform(), python=platform.python_version()),
    )
    yield from carried_out("packages", _packages)
    yield from carried_out("environment", lambda: _not_running(settings.name))
    if settings.gateway_port:
        yield from carried_out("port", lambda: _port(settings.gateway_port))
    if isinstance(settings, LocalSettings):
        yield from carried_out("CPUs", lambda: _webserver_cpus(settings))
        yield from carried_out("Airflow", lambda: _airflow(settings))


def _packages() -> Iterator[Finding]:
    require_packages()
    yield note("doctor.packages")


def _not_running(name: str) -> Iterator[Finding]:
    instance = Instance(instance_root() / f"{RUN_PREFIX}{name}")
    if instance.is_running():
        raise instance.already_running()
    yield note("doctor.not_running", name=name)


def _webserver_cpus(settings: LocalSettings) -> Iterator[Finding]:
    cpus, needed = _cpus(), settings.webserver_cpu * settings.max_webservers
    yield judged(note("doctor.cpus", cpus=cpus, needed=needed), warns=needed + OTHER_CPUS > cpus)
    limiter = CpuLimiter.detect()
    reason = limiter.reason if isinstance(limiter, Unavailable) else None
    yield judged(note("doctor.cpu_limits", reason=reason), warns=reason is not None)


def _port(port: int) -> Iterator[Finding]:
    with closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as exc:
            raise EnvironmentStartError(
                f"Port {port} cannot be used ({exc.strerror}): set environment.gateway_port to "
                "another one, or to 0."
            ) from exc
    yield note("doctor.port_free", port=port)


def _airflow(settings: LocalSettings) -> Iterator[Finding]:
    require_packages()  # of which the module below needs some
    from mwaa_headroom.harness.local.airflow.install import installation_of

    installation = installation_of(settings.airflow_version)
    if installation.is_complete:
        folder = str(installation.folder)
        yield note("doctor.airflow_cached", version=installation.version, folder=folder)
    else:
        home = cache_home()
        there = next(place for place in (home, *home.parents) if place.exists())
        found = warning(
            "doctor.airflow_to_install",
            version=installation.version,
            free_bytes=shutil.disk_usage(there).free,
            needed_bytes=AIRFLOW_BYTES,
        )
        yield judged(found, stops=found.values["free_bytes"] < AIRFLOW_BYTES)


def _generator(scenario: Scenario) -> Iterator[Finding]:
    rate_per_s = max(map(scenario.highest_rate_per_s, scenario.stages))
    processes = math.ceil(rate_per_s / CALLS_PER_PROCESS[scenario.traffic.transport])
    found = note("doctor.generator", rate_per_s=rate_per_s, processes=processes, cpus=_cpus())
    yield judged(found, warns=processes > 1)
    yield from spaced_stages(scenario)


def _cpus() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _plan(scenario: Scenario, triggers: int, in_bulk: bool) -> Iterator[Finding]:
    is_aws, load_s = isinstance(scenario.environment, AwsSettings), _load_s(scenario)
    recoveries = len(scenario.stages) if scenario.recovery_rate_per_s is not None else 0
    dag_runs = _triggers(scenario) + triggers if is_aws else 0.0
    yield note(
        "doctor.duration",
        load_s=load_s,
        longest_s=load_s + recoveries * scenario.recovery.longest_s,
        waits_s=_waits_s(scenario, dag_runs, in_bulk=in_bulk),
    )
    if is_aws:
        mix = scenario.traffic.mix.values()
        paused = [c for c in mix if c.operation in ("pause_dag", "unpause_dag")]
        yield note(
            "doctor.creates",
            dag_runs=dag_runs,
            variables=len({use.value for use in uses(scenario, "variable", "key")}),
            dags=len({choice.parameters.get("dag_id") for choice in paused}),
            clean_up=scenario.limits.clean_up,
        )


def _load_s(scenario: Scenario) -> float:
    return sum(stage.duration_s for stage in scenario.stages)


def _waits_s(scenario: Scenario, dag_runs: float, *, in_bulk: bool = False) -> float:
    """For late metrics, and on AWS for cleaning up."""
    settings = scenario.environment
    if isinstance(settings, AwsSettings):
        left = Counter({DAG_RUNS: round(dag_runs)} if scenario.limits.clean_up else {})
        return settings.metrics_settle_s + undoing_s(left, CALLS_PER_S, in_bulk=in_bulk)
    return settings.metrics.period_s + PUBLISHING_S


def _triggers(scenario: Scenario) -> float:
    """DAG runs that the stages trigger, on average."""
    operations = [choice.operation for choice in scenario.traffic.mix.values()]
    total = 0.0
    for stage in scenario.stages:
        weights = scenario.weights_of(stage)
        ours = sum(w for w, o in zip(weights, operations, strict=True) if o == "trigger_dag_run")
        total += _mean_rate_per_s(scenario, stage) * stage.duration_s * ours / sum(weights)
    return total


def _mean_rate_per_s(scenario: Scenario, stage: Stage) -> float:
    if stage.rate_per_s is None:  # users: at most
        return scenario.highest_rate_per_s(stage)
    return (stage.rate_per_s + (stage.ramp_to_rate_per_s or stage.rate_per_s)) / 2
