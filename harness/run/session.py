"""One run, in order: environment, preflight, load beside collection, winding up.

    environment up -> allowed? -> preflight -> [generator | collector | environment's events]
                   -> cleaning up -> late metrics -> environment down -> tables and manifest

Whatever happens once the run directory exists, the record is finished and says what happened.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from mwaa_headroom.analysis.leftovers import left_behind
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.report.words import time_of_day
from mwaa_headroom.analysis.schema import METRICS_SCHEMA, METRICS_STREAM, REQUESTS_STREAM
from mwaa_headroom.harness.aws.cleanup import (
    Created,
    cleaning_api,
    dags_triggered,
    deletes_in_bulk,
    finder,
    still_there,
    undoing_s,
)
from mwaa_headroom.harness.aws.collector import Collector, LatestMetrics, MetricsReader
from mwaa_headroom.harness.aws.environment import (
    EnvironmentFacts,
    describe_environment,
    require_allowed,
    require_confirmed,
)
from mwaa_headroom.harness.aws.health_watch import HealthWatch
from mwaa_headroom.harness.aws.preflight import PreflightResult, preflight
from mwaa_headroom.harness.errors import EnvironmentAccessError
from mwaa_headroom.harness.record.directory import point_latest_at, require_writable
from mwaa_headroom.harness.record.stream import StreamWriter
from mwaa_headroom.harness.run.cleaning import (
    created_by,
    duration_text,
    recorded,
    undo_and_record,
)
from mwaa_headroom.harness.run.environments import RunEnvironment, open_environment
from mwaa_headroom.harness.run.host_watch import Host, HostWatch
from mwaa_headroom.harness.run.load import Ending, carry_load, too_much_cpu
from mwaa_headroom.harness.run.load_processes import (
    ALLOW_VARIABLE,
    Generator,
    LoadProcesses,
)
from mwaa_headroom.harness.run.progress import Progress
from mwaa_headroom.harness.run.recording import NO_TAGS, Phases, Recording, start_recording
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.operations import Targets, build_call, save_targets
from mwaa_headroom.harness.transport.opening import WEB_TOKEN_STEPS, open_transport


def run_scenario(
    scenario: Scenario,
    *,
    scenario_file: Path,
    runs_directory: Path,
    progress: Progress,
    load_processes: LoadProcesses = LoadProcesses(),  # noqa: B008 - frozen
    tags: Mapping[str, str] = NO_TAGS,
    opened: RunEnvironment | None = None,
) -> Path:
    """Carry out a scenario and return its run directory.

    Ctrl-C, once there is a record, ends the run in order; its status is then "interrupted".

    Args:
        scenario: what is to be done.
        scenario_file: where it is from; traces are found beside it.
        runs_directory: where the run directory is made.
        progress: is told how far it is.
        load_processes: who sends the load.
        tags: kept in the record.
        opened: its environment, if that is up already and shall stay up.

    Raises:
        HeadroomError: nothing was loaded (environment, permission, preflight, load processes that
            do not fit the scenario), or the record could not be written.
    """
    load_processes.require_fitting(scenario)
    require_writable(runs_directory)
    phases = Phases()
    recording: Recording | None = None
    ending: Ending = "failed"
    try:
        with (
            nullcontext(opened) if opened else open_environment(scenario, progress, phases)
        ) as environment:
            facts = describe_environment(environment.clients, scenario.environment.name)
            require_allowed(
                scenario,
                facts.arn,
                endpoint_is_loopback=environment.clients.endpoint_is_loopback,
            )
            require_confirmed(scenario, facts)
            recording = start_recording(
                scenario,
                scenario_file=scenario_file,
                runs_directory=runs_directory,
                load_processes=load_processes,
                facts=facts,
                stand_in_facts=environment.facts,
                phases=phases,
                tags=tags,
            )
            progress.recording(recording.directory)
            ending = _Session(environment, recording, progress).carry_out()
    except KeyboardInterrupt:
        if recording is None:
            raise
        ending = "interrupted"
    finally:
        if recording is not None:
            recording.finish(ending)
    return recording.directory


@dataclass(frozen=True, slots=True)
class _Session:
    """What happens between the environment being up and going down again."""

    environment: RunEnvironment
    recording: Recording
    progress: Progress

    def carry_out(self) -> Ending:
        recording, clients = self.recording, self.environment.clients
        created = Created(tell=partial(recording.event, "created"))
        self.progress.step("Checking the environment and preparing what the calls need")
        with ExitStack() as undoing:
            if not self.environment.is_ours:
                undoing.callback(self._clean_up, created)
            with recording.phases.timed("preflight"):
                prepared = preflight(
                    clients, recording.scenario, recording.facts_before, recording.run_id, created
                )
            save_targets(recording.directory, prepared.targets)
            point_latest_at(recording.directory)
            self._record_preflight(prepared)
            return self._load_and_collect(prepared.targets, clean_up=undoing.close)

    def _record_preflight(self, prepared: PreflightResult) -> None:
        for kind, fields in prepared.events():
            self.recording.event(kind, **fields)
        for finding in prepared.findings:
            self.progress.note(told(finding))
        if self.environment.facts.get("cpu_limited") is False:  # the report says so by itself
            reason = self.environment.facts.get("cpu_limit_reason")
            self.progress.note(f"The webservers share this host's CPUs: {reason}.")

    def _load_and_collect(self, targets: Targets, *, clean_up: Callable[[], None]) -> Ending:
        recording, environment = self.recording, self.environment
        writer = StreamWriter(recording.directory / METRICS_STREAM, METRICS_SCHEMA)
        collector = Collector(
            MetricsReader(environment.clients.cloudwatch, recording.scenario.environment.name),
            writer,
            recording.events,
            period_s=environment.metric_period_s,
            clock=time.time,
            sleep=time.sleep,
        )
        longest_call_s = self._longest_call_s()
        load_ended = threading.Event()
        collecting = collector.run_in_thread(load_ended)
        began_s = time.monotonic()
        host = None if recording.load_processes.is_remote else Host.of_this_process()
        try:
            self._announce_load()
            with (
                recording.phases.timed("load"),
                HostWatch(recording.event, host) as watch,
                self._health_watch(targets) as health,
            ):
                ending = carry_load(
                    self._generator(),
                    environment,
                    recording,
                    self.progress,
                    latest_metrics=collector.latest,
                    longest_call_s=longest_call_s,
                    host=watch,
                    reason_to_abort=lambda: (
                        health.reason_to_abort
                        or too_much_cpu(recording.scenario.limits, collector.latest())
                    ),
                )
            load_ended.set()
            clean_up()  # before the wait: a task that is stopped has two minutes to undo things
            self.progress.step(_waiting_for_metrics(environment.metrics_settle_s))
            with recording.phases.timed("late_metrics"):
                collecting.join()
                ended_s = time.time()
                took_s = time.monotonic() - began_s
                collector.final_read(
                    ended_s - took_s,
                    ended_s,
                    environment.metrics_settle_s,
                    lambda left_s: self.progress.count(_known_so_far(collector.latest(), left_s)),
                )
            recording.facts_after = self._facts_after()
        finally:
            load_ended.set()
            collecting.join()
            writer.close()
        recording.copy_events(environment.new_events())
        return ending

    def _health_watch(self, targets: Targets) -> HealthWatch:
        scenario = self.recording.scenario
        return HealthWatch(
            cleaning_api(self.environment.clients, scenario),
            build_call("health", {}, arrival=0, targets=targets).path,
            () if self.environment.is_ours else scenario.limits.abort_unhealthy,
        )

    def _generator(self) -> Generator:
        variables = dict(self.environment.generator_variables)
        allowed = self.recording.scenario.limits.allow_environment
        if allowed is not None:  # workers on this machine may load what the scenario may
            variables[ALLOW_VARIABLE] = allowed
        return Generator(
            self.recording.directory,
            variables,
            self.recording.load_processes,
            keys=self.environment.keys,
        )

    def _longest_call_s(self) -> float:
        scenario, environment = self.recording.scenario, self.environment
        match scenario.traffic.transport:
            case "lean":
                return scenario.limits.call_timeout_s
            case "web_token":
                return WEB_TOKEN_STEPS * scenario.limits.call_timeout_s
        # How often boto3 sends a call again depends on settings that only its client knows.
        opened = open_transport(
            scenario,
            scenario.environment.name,
            self.recording.facts_before.airflow_version,
            environment.generator_variables if environment.is_ours else None,
            environment.clients.credentials,
        )
        return opened.longest_call_s

    def _announce_load(self) -> None:
        processes, progress = self.recording.load_processes, self.progress
        if not processes.is_remote:
            several = f" from {processes.workers} processes" if processes.has_master else ""
            progress.step(f"Sending the load{several}")
            return
        allowed = self.recording.scenario.limits.allow_environment
        option = "" if allowed is None else f" --allow-environment {allowed}"
        progress.step(f"Waiting for workers, {processes.workers} in all; start each with")
        progress.step(f"    headroom worker --master {processes.master_address}{option}")
        if not processes.is_on_loopback:
            progress.note(
                f"Whoever can reach {processes.master_address} can join this run and read its "
                "scenario: Locust neither authenticates nor encrypts what it tells its workers."
            )

    def _facts_after(self) -> EnvironmentFacts | None:
        """The environment may have gone away under the load: that must not cost the record."""
        name = self.recording.scenario.environment.name
        try:
            return describe_environment(self.environment.clients, name)
        except EnvironmentAccessError as exc:
            self.recording.note(f"GetEnvironment failed after the load: {exc}")
            return None

    def _clean_up(self, created: Created) -> None:
        recording, scenario = self.recording, self.recording.scenario
        if not created.counts() and not (recording.directory / REQUESTS_STREAM).exists():
            return  # neither preflight nor load has done anything
        if scenario.limits.clean_up:
            self.progress.step("Looking for what the run created, to undo it")
            with recording.phases.timed("clean_up"):
                self._undo(created)
        left = left_behind(recorded(recording.directory))
        if left is not None:
            self.progress.note(told(left))

    def _undo(self, created: Created) -> None:
        recording, scenario = self.recording, self.recording.scenario
        api = cleaning_api(self.environment.clients, scenario)
        known = created_by(recorded(recording.directory), scenario)
        find = finder(api, recording.run_id)
        runs = still_there(find, dags_triggered(scenario), known.dag_runs)
        found = replace(created, dag_runs=runs)
        in_bulk = deletes_in_bulk(recording.facts_before.airflow_version)
        counts = found.counts()
        if counts:
            takes = duration_text(undoing_s(counts, api.rate_per_s, in_bulk=in_bulk))
            self.progress.step(f"There are {counts.total()} to undo, which takes about {takes}")
        undoing = undo_and_record(
            api, found, find, recording.events, self.progress.count, in_bulk=in_bulk
        )
        if undoing.refusal:
            recording.note(f"Nothing more could be undone: {undoing.refusal}")
            self.progress.note(f"Nothing more could be undone: {undoing.refusal}")


def _waiting_for_metrics(longest_s: float) -> str:
    return f"Reading the last metrics, for which it waits up to {longest_s:.0f} s"


def _known_so_far(latest: LatestMetrics | None, left_s: float) -> str:
    known = "no metrics yet"
    if latest is not None:
        cpu = "?" if latest.cpu_percent is None else f"{latest.cpu_percent:.0f} %"
        until = time_of_day(latest.until_s)
        known = f"metrics until {until}: {latest.webservers} webservers at {cpu} CPU"
    return f"{known}; waiting up to {left_s:.0f} s more (`headroom collect` adds what comes later)"
