"""The record of the run that is going on: its directory, its events and its manifest."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from mwaa_headroom.analysis.schema import EVENTS_FILE
from mwaa_headroom.harness.aws.environment import EnvironmentFacts
from mwaa_headroom.harness.record.directory import (
    EventLog,
    create_run_directory,
    finish_tables,
    write_manifest,
)
from mwaa_headroom.harness.record.manifest import build_manifest, describe_run_environment
from mwaa_headroom.harness.record.stream import writing
from mwaa_headroom.harness.run.load_processes import Fleet
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.traces import save_traces


class Phases:
    """Durations by phase, kept in the manifest so that slow starts can be seen."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.durations_s: dict[str, float] = {}

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Time what happens inside, even when it fails."""
        began_s = self._clock()
        try:
            yield
        finally:
            self.durations_s[phase] = round(self._clock() - began_s, 3)


SCENARIO_FILE = "scenario.json"  # what the load process reads


@dataclass(slots=True)
class Recording:
    """A record that is being written.

    Attributes:
        directory: of the run; its name is the run's id.
        events: what happens goes here.
        notes: what the user was told, in order.
    """

    directory: Path
    events: EventLog
    scenario: Scenario
    scenario_file: Path
    fleet: Fleet
    facts_before: EnvironmentFacts
    stand_in_facts: Mapping[str, object]
    phases: Phases
    started_at_s: float
    facts_after: EnvironmentFacts | None = field(default=None)

    @property
    def run_id(self) -> str:
        """The name of the run directory."""
        return self.directory.name

    def note(self, message: str) -> None:
        """Keep something the reader of the report should know."""
        self.events.write("note", source="harness", time_s=time.time(), message=message)

    def finish(self, status: str) -> None:
        """Turn the streams into tables and write the last manifest.

        Raises:
            HeadroomError: the disk is full or read-only; the streams stay readable.
        """
        self.events.close()
        with self.phases.timed("finish_record"):
            rows = finish_tables(self.directory)
        self.save_manifest(status, finished_at_s=time.time(), rows=rows)

    def save_manifest(
        self, status: str, *, finished_at_s: float | None = None, rows: Mapping[str, int]
    ) -> None:
        """Write the manifest as things stand."""
        before, after = self.facts_before, self.facts_after
        vcpu = before.webserver_vcpu
        facts = {} if vcpu is None else {"webserver_cpu": vcpu}
        manifest = build_manifest(
            run_id=self.run_id,
            status=status,
            started_at_s=self.started_at_s,
            finished_at_s=finished_at_s,
            scenario=self.scenario.model_dump(mode="json"),
            scenario_file=self.scenario_file.name,
            environment=describe_run_environment(
                name=before.name,
                kind=self.scenario.environment.kind,
                arn=before.arn,
                before=before.recorded,
                after=None if after is None else after.recorded,
                facts={**facts, **self.stand_in_facts},
            ),
            airflow_version=before.airflow_version,
            clock_offset_s=before.clock_offset_s,
            generator={"workers": self.fleet.workers, "remote": self.fleet.is_remote},
            rows=rows,
        )
        write_manifest(self.directory, {**manifest, "phases_s": self.phases.durations_s})


def start_recording(
    scenario: Scenario,
    *,
    scenario_file: Path,
    runs_directory: Path,
    fleet: Fleet,
    facts: EnvironmentFacts,
    stand_in_facts: Mapping[str, object],
    phases: Phases,
) -> Recording:
    """Make the run directory: a first manifest (status running), the effective scenario, traces.

    Raises:
        HeadroomError: the directory cannot be made or written to, or a trace cannot be read.
    """
    now = datetime.now(UTC)
    directory = create_run_directory(runs_directory, scenario.name, now)
    recording = Recording(
        directory=directory,
        events=EventLog(directory / EVENTS_FILE),
        scenario=scenario,
        scenario_file=scenario_file,
        fleet=fleet,
        facts_before=facts,
        stand_in_facts=stand_in_facts,
        phases=phases,
        started_at_s=now.timestamp(),
    )
    recording.save_manifest("running", rows={})
    effective = json.dumps(scenario.model_dump(mode="json"), indent=2)
    with writing(directory):
        (directory / SCENARIO_FILE).write_text(effective + "\n", encoding="utf-8")
    save_traces(scenario, scenario_file, directory)
    return recording
