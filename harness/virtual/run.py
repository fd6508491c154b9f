"""One run in virtual time, from its scenario to its record, in memory."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from analysis.records.reader import RunRecord
from harness.errors import UsageError
from harness.local.settings import SimulatedSettings
from harness.local.simulated_truth import simulated_facts
from harness.record.manifest import build_manifest, describe_run_environment
from harness.scenario.model import Scenario
from harness.traffic.traces import Trace
from harness.virtual.answers import Prepared, prepare
from harness.virtual.environment import Event, VirtualEnvironment
from harness.virtual.load import VirtualLoad
from harness.virtual.metrics import VirtualMetrics
from harness.virtual.rows import requests_table

METRICS_SETTLE_S: Final = 2.0  # beyond one period: a real run waits so long for its last metrics
NO_TRACES: Final[Mapping[int, Trace]] = MappingProxyType({})


def run_virtually(
    scenario: Scenario,
    *,
    seed: int,
    started_at_s: float,
    traces: Mapping[int, Trace] = NO_TRACES,
) -> RunRecord:
    """Carry out a scenario of kind "simulated" in virtual time.

    Args:
        scenario: with an open workload.
        seed: in place of the scenario's own seeds; the same one gives the same record.
        started_at_s: epoch seconds at which the first stage begins; where that lies within a metric
            period is where the load's steps lie in it.
        traces: by stage, where the scenario replays any.

    Raises:
        UsageError: the scenario is one that only a real run can carry out.
        PreflightError: the environment lacks what the scenario needs.
    """
    settings = require_simulated(scenario).model_copy(update={"seed": seed})
    traffic = scenario.traffic.model_copy(update={"seed": seed})
    scenario = scenario.model_copy(update={"environment": settings, "traffic": traffic})
    run_id = f"virtual-{seed}"
    prepared = prepare(scenario, settings, run_id=run_id, started_at_s=started_at_s)
    metrics = VirtualMetrics(settings)
    environment = VirtualEnvironment(
        settings,
        started_at_s=started_at_s,
        endings=prepared.endings,
        measured=metrics.add,
    )
    load = VirtualLoad(scenario, traces, environment, prepared, started_at_s=started_at_s)
    status = load.run()
    load_s = environment.now_s
    environment.run_until(load_s + settings.metrics.period_s + METRICS_SETTLE_S)
    requests, collected = requests_table(load.phases), metrics.table(started_at_s + load_s)
    manifest = build_manifest(
        run_id=run_id,
        status=status,
        started_at_s=started_at_s,
        finished_at_s=started_at_s + environment.now_s,
        scenario=scenario.model_dump(mode="json"),
        scenario_file="",
        environment=_described(settings, prepared),
        airflow_version=settings.airflow_version,
        clock_offset_s=prepared.facts.clock_offset_s,
        generator={"workers": 1, "remote": False},
        rows={"requests": requests.num_rows, "metrics": collected.num_rows},
    )
    phases_s = {"load": load_s, "late_metrics": environment.now_s - load_s}
    events = [*_preflight_events(prepared, started_at_s), *environment.events, *load.events]
    return RunRecord(
        directory=Path(run_id),
        manifest={**manifest, "phases_s": phases_s},
        requests=requests,
        metrics=collected,
        events=tuple(sorted(events, key=lambda event: float(str(event["time_s"])))),
        complete=True,
        warnings=(),
    )


def require_simulated(scenario: Scenario) -> SimulatedSettings:
    """The settings of a scenario's simulated environment.

    Raises:
        UsageError: virtual time cannot carry out this scenario.
    """
    settings, traffic, limits = scenario.environment, scenario.traffic, scenario.limits
    if not isinstance(settings, SimulatedSettings):
        raise UsageError(
            f'Only an environment of kind "simulated" runs in virtual time, not "{settings.kind}": '
            "leave --virtual-time out, or change environment.kind."
        )
    if traffic.arrivals == "closed":
        raise UsageError(
            "Users who wait for their answers do not run in virtual time: leave --virtual-time out,"
            ' or choose other traffic.arrivals than "closed".'
        )
    if traffic.transport == "web_token" or traffic.retries != "off":
        raise UsageError(
            "Neither web login tokens nor retries run in virtual time: leave --virtual-time out, "
            'or set traffic.transport = "lean" and traffic.retries = "off".'
        )
    if limits.call_timeout_s <= settings.gateway.timeout_s:
        raise UsageError(
            "Callers who give up before the service does not run in virtual time: leave "
            "--virtual-time out, or set limits.call_timeout_s above "
            f"{settings.gateway.timeout_s:g} s."
        )
    return settings


def _described(settings: SimulatedSettings, prepared: Prepared) -> dict[str, object]:
    facts, rule = prepared.facts, settings.autoscaler
    return describe_run_environment(
        name=facts.name,
        kind=settings.kind,
        arn=facts.arn,
        before=facts.recorded,
        after=facts.recorded,
        facts={
            **simulated_facts(settings),
            "scale_out_cpu_percent": rule.cpu_above_percent,
            "scale_out_connections": rule.connections_above,
            "virtual_time": True,
        },
    )


def _preflight_events(prepared: Prepared, time_s: float) -> Iterator[Event]:
    for one in prepared.found.expectations:
        told = {"name": one.name, "met": one.met, "detail": one.detail}
        yield {"time_s": time_s, "kind": "expectation", "source": "harness", **told}
    for message in prepared.found.notes:
        yield {"time_s": time_s, "kind": "note", "source": "harness", "message": message}
