"""One run, in order: environment, preflight, load beside collection, winding up.

    environment up -> allowed? -> preflight -> [generator | collector | environment's events]
                   -> late metrics -> cleaning up -> environment down -> tables and manifest

Whatever happens once the run directory exists, the record is finished and says what happened.
"""

import threading
import time
from pathlib import Path

from mwaa_headroom.analysis.schema import METRICS_SCHEMA, METRICS_STREAM
from mwaa_headroom.harness.aws.cleanup import clean_up
from mwaa_headroom.harness.aws.collector import Collector, MetricsReader
from mwaa_headroom.harness.aws.environment import (
    EnvironmentFacts,
    describe_environment,
    require_allowed,
)
from mwaa_headroom.harness.aws.preflight import PreflightResult, preflight
from mwaa_headroom.harness.errors import EnvironmentAccessError
from mwaa_headroom.harness.record.stream import StreamWriter
from mwaa_headroom.harness.run.environments import RunEnvironment, open_environment
from mwaa_headroom.harness.run.load import Ending, Watch, carry_load, record_environment_events
from mwaa_headroom.harness.run.load_processes import (
    ALLOW_VARIABLE,
    Fleet,
    Generator,
    require_fitting,
)
from mwaa_headroom.harness.run.progress import Narrator
from mwaa_headroom.harness.run.recording import Phases, Recording, start_recording
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.targets import save_targets
from mwaa_headroom.harness.transport.opening import WEB_TOKEN_STEPS, open_transport


def run_scenario(
    scenario: Scenario,
    *,
    scenario_file: Path,
    runs_directory: Path,
    narrator: Narrator,
    fleet: Fleet = Fleet(),  # noqa: B008 - frozen
) -> Path:
    """Carry out a scenario and return its run directory.

    Ctrl-C, once there is a record, ends the run in order; its status is then "interrupted".

    Raises:
        HeadroomError: nothing was loaded (environment, permission, preflight, the fleet does not
            fit the scenario), or the record could not be written.
    """
    require_fitting(fleet, scenario)
    phases = Phases()
    recording: Recording | None = None
    ending: Ending = "failed"
    try:
        with open_environment(scenario, narrator, phases) as environment:
            facts = describe_environment(environment.clients, scenario.environment.name)
            require_allowed(
                scenario,
                facts.arn,
                endpoint_is_loopback=environment.clients.endpoint_is_loopback,
            )
            recording = start_recording(
                scenario,
                scenario_file=scenario_file,
                runs_directory=runs_directory,
                fleet=fleet,
                facts=facts,
                stand_in_facts=environment.facts,
                phases=phases,
            )
            ending = _load(environment, recording, narrator)
    except KeyboardInterrupt:
        if recording is None:
            raise
        ending = "interrupted"
    finally:
        if recording is not None:
            recording.finish(ending)
    return recording.directory


def _load(environment: RunEnvironment, recording: Recording, narrator: Narrator) -> Ending:
    narrator.step("Checking the environment and preparing what the calls need")
    with recording.phases.timed("preflight"):
        prepared = preflight(
            environment.clients, recording.scenario, recording.facts_before, recording.run_id
        )
    try:
        save_targets(recording.directory, prepared.targets)
        _record_preflight(prepared, environment, recording, narrator)
        return _load_and_collect(environment, recording, narrator)
    finally:
        if not environment.is_ours:
            _clean_up(prepared, environment, recording, narrator)


def _record_preflight(
    prepared: PreflightResult,
    environment: RunEnvironment,
    recording: Recording,
    narrator: Narrator,
) -> None:
    for expectation in prepared.expectations:
        recording.events.write(
            "expectation",
            source="harness",
            time_s=time.time(),
            name=expectation.name,
            met=expectation.met,
            detail=expectation.detail,
        )
    for message in prepared.notes:
        narrator.note(message)
        recording.note(message)
    if environment.facts.get("cpu_limited") is False:  # the report says so by itself
        reason = environment.facts.get("cpu_limit_reason")
        narrator.note(f"The webservers share this host's CPUs: {reason}.")


def _load_and_collect(
    environment: RunEnvironment, recording: Recording, narrator: Narrator
) -> Ending:
    name = recording.scenario.environment.name
    writer = StreamWriter(recording.directory / METRICS_STREAM, METRICS_SCHEMA)
    collector = Collector(
        MetricsReader(environment.clients.cloudwatch, name),
        writer,
        recording.events,
        period_s=environment.metric_period_s,
        clock=time.time,
        sleep=time.sleep,
    )
    allowed = recording.scenario.limits.allow_environment
    generator = Generator(
        recording.directory,
        # Workers on this machine may load what the scenario may.
        {
            **environment.generator_variables,
            **({} if allowed is None else {ALLOW_VARIABLE: allowed}),
        },
        recording.fleet,
    )
    watch = Watch(
        latest_metrics=collector.latest,
        new_environment_events=environment.new_events,
        environment_is_alive=environment.is_alive,
        environment_logs=environment.logs,
        longest_call_s=_longest_call_s(environment, recording),
    )
    load_ended = threading.Event()
    collecting = collector.run_in_thread(load_ended)
    began_s = time.time()
    try:
        _announce(recording, narrator)
        with recording.phases.timed("load"):
            ending = carry_load(generator, watch, recording, narrator)
        load_ended.set()
        narrator.step("Reading the last metrics")
        with recording.phases.timed("late_metrics"):
            collecting.join()
            collector.final_read(began_s, time.time(), environment.metrics_settle_s)
        recording.facts_after = _facts_after(environment, recording)
    finally:
        load_ended.set()
        collecting.join()
        writer.close()
    record_environment_events(environment.new_events(), recording)
    return ending


def _longest_call_s(environment: RunEnvironment, recording: Recording) -> float:
    scenario = recording.scenario
    match scenario.traffic.transport:
        case "lean":
            return scenario.limits.call_timeout_s
        case "web_token":
            return WEB_TOKEN_STEPS * scenario.limits.call_timeout_s
    # How often boto3 sends a call again depends on settings that only its client knows.
    opened = open_transport(
        scenario,
        scenario.environment.name,
        recording.facts_before.airflow_version or "",
        environment.generator_variables if environment.is_ours else None,
    )
    return opened.longest_call_s


def _announce(recording: Recording, narrator: Narrator) -> None:
    fleet = recording.fleet
    if not fleet.is_remote:
        several = f" from {fleet.workers} processes" if fleet.has_master else ""
        narrator.step(f"Sending the load{several}")
        return
    allowed = recording.scenario.limits.allow_environment
    option = "" if allowed is None else f" --allow-environment {allowed}"
    narrator.step(f"Waiting for workers, {fleet.workers} in all; start each with")
    narrator.step(f"    headroom worker --master {fleet.meeting_point}{option}")
    if not fleet.is_on_loopback:
        narrator.note(
            f"Whoever can reach {fleet.meeting_point} can join this run and read its scenario: "
            "Locust neither authenticates nor encrypts what it tells its workers."
        )


def _facts_after(environment: RunEnvironment, recording: Recording) -> EnvironmentFacts | None:
    """The environment may have gone away under the load: that must not cost the record."""
    try:
        return describe_environment(environment.clients, recording.scenario.environment.name)
    except EnvironmentAccessError as exc:
        recording.note(f"GetEnvironment failed after the load: {exc}")
        return None


def _clean_up(
    prepared: PreflightResult,
    environment: RunEnvironment,
    recording: Recording,
    narrator: Narrator,
) -> None:
    narrator.step("Deleting what the run created")
    with recording.phases.timed("clean_up"):
        result = clean_up(
            environment.clients, recording.scenario, prepared.created, recording.run_id
        )
    for what in sorted({*result.deleted, *result.failed}):
        recording.events.write(
            "cleaned_up",
            source="harness",
            time_s=time.time(),
            what=what,
            count=result.deleted.get(what, 0),
            failed=result.failed.get(what, 0),
        )
