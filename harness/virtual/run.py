"""What `headroom run --virtual-time` does between its scenario and its report."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.schema import (
    EVENTS_FILE,
    METRICS_SCHEMA,
    METRICS_STREAM,
    REQUESTS_SCHEMA,
    REQUESTS_STREAM,
)
from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.files import writing
from mwaa_headroom.harness.local.settings import SimulatedSettings
from mwaa_headroom.harness.local.simulated import simulated_facts
from mwaa_headroom.harness.record.directory import (
    EventLog,
    create_run_directory,
    finish_tables,
    point_latest_at,
    require_writable,
    write_manifest,
)
from mwaa_headroom.harness.record.stream import StreamWriter
from mwaa_headroom.harness.run.progress import Progress
from mwaa_headroom.harness.run.recording import NO_TAGS, build_manifest, save_scenario
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.stage_traces import (
    how_traces_were_read,
    save_traces,
    traces_beside,
)
from mwaa_headroom.harness.traffic.traces import Trace
from mwaa_headroom.harness.virtual.environment import Event, VirtualEnvironment, VirtualMetrics
from mwaa_headroom.harness.virtual.load import Prepared, VirtualLoad, prepare
from mwaa_headroom.harness.virtual.webserver import requests_table

METRICS_SETTLE_S: Final = 2.0  # beyond one period: a real run waits so long for its last metrics
ROWS_AT_ONCE: Final = 65_536
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
        scenario=scenario,
        scenario_file="",
        before=prepared.facts,
        after=prepared.facts,
        facts={
            **simulated_facts(settings),
            "scale_out_cpu_percent": settings.autoscaler.cpu_above_percent,
            "scale_out_connections": settings.autoscaler.connections_above,
            "virtual_time": True,
        },
        generator={"workers": 1, "remote": False},
        tags=NO_TAGS,
        rows={"requests": requests.num_rows, "metrics": collected.num_rows},
        phases_s={"load": load_s, "late_metrics": environment.now_s - load_s},
    )
    notes = how_traces_were_read(scenario, traces).values()
    events = [*_first_events(prepared, notes, started_at_s), *environment.events, *load.events]
    return RunRecord(
        directory=Path(run_id),
        manifest=manifest,
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
    if limits.abort_webserver_cpu is not None:
        raise UsageError(
            "limits.abort_webserver_cpu ends no load in virtual time: leave --virtual-time or the "
            "limit out."
        )
    return settings


def _first_events(prepared: Prepared, notes: Iterable[str], time_s: float) -> Iterator[Event]:
    for kind, fields in prepared.found.events():
        yield {"time_s": time_s, "kind": kind, "source": "harness", **fields}
    for message in notes:
        yield {"time_s": time_s, "kind": "note", "source": "harness", "message": message}


def save_run(
    record: RunRecord,
    runs_directory: Path,
    *,
    scenario_file: Path | None = None,
    tags: Mapping[str, str] = NO_TAGS,
) -> Path:
    """Write a finished run; whatever interrupts it leaves no half of one behind.

    Args:
        record: as `run_virtually` makes it.
        runs_directory: where run directories are made.
        scenario_file: where the scenario came from, for its name and the traces beside it.
        tags: to find the run by.

    Returns:
        The run directory.

    Raises:
        HeadroomError: the disk is full or may not be written to.
    """
    with writing(runs_directory):
        runs_directory.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".virtual-", dir=runs_directory))
    directory: Path | None = None
    try:
        rows = _write_record(record, unfinished, scenario_file)
        started = datetime.fromtimestamp(record.manifest["started_at_s"], UTC)
        name = record.manifest["scenario"]["name"]
        directory = create_run_directory(runs_directory, name, started)
        told = {} if scenario_file is None else {"scenario_file": scenario_file.name}
        ours = {"run_id": directory.name, "rows": rows, "tags": dict(tags)}
        manifest = {**record.manifest, **told, **ours}
        write_manifest(unfinished, manifest)
        with writing(directory):
            unfinished.chmod(directory.stat().st_mode)  # temporary folders are for us alone
            unfinished.replace(directory)
        point_latest_at(directory)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def _write_record(record: RunRecord, directory: Path, scenario_file: Path | None) -> dict[str, int]:
    scenario = record.manifest["scenario"]
    save_scenario(scenario, directory)
    if scenario_file is not None:
        save_traces(check_scenario(scenario, origin="the run"), scenario_file, directory)
    events = EventLog(directory / EVENTS_FILE)
    for event in record.events:
        events.write(**event)
    events.close()
    for table, name, schema in (
        (record.requests, REQUESTS_STREAM, REQUESTS_SCHEMA),
        (record.metrics, METRICS_STREAM, METRICS_SCHEMA),
    ):
        stream = StreamWriter(directory / name, schema)
        for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
            stream.write(batch.cast(schema))
        stream.close()
    return finish_tables(directory)


def run_in_virtual_time(
    scenario: Scenario,
    *,
    scenario_file: Path,
    runs_directory: Path,
    started_at_s: float,
    progress: Progress,
    tags: Mapping[str, str] = NO_TAGS,
) -> Path:
    """Carry out a scenario in virtual time, with its seed of the traffic, and save its run.

    Nothing is written before the end, so that Ctrl-C leaves nothing behind.

    Raises:
        HeadroomError: virtual time cannot carry it out, or the run cannot be written.
    """
    require_simulated(scenario)
    require_writable(runs_directory)
    stages_s = sum(stage.duration_s for stage in scenario.stages)
    progress.step(f"Simulating {stages_s:g} s in virtual time")
    record = run_virtually(
        scenario,
        seed=scenario.traffic.seed,
        started_at_s=started_at_s,
        traces=traces_beside(scenario, scenario_file),
    )
    progress.step(f"Writing the record of {record.requests.num_rows} calls")
    return save_run(record, runs_directory, scenario_file=scenario_file, tags=tags)
