"""The record of the run that is going on: its directory, its events and its manifest.

A manifest says what ran, on what, with which versions, and whether the run is complete.
"""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import psutil

from mwaa_headroom.analysis.schema import EVENTS_FILE, RUN_STATUSES, SCHEMA_VERSION
from mwaa_headroom.harness.aws.environment import EnvironmentFacts
from mwaa_headroom.harness.epoch_clock import EpochClock
from mwaa_headroom.harness.files import writing
from mwaa_headroom.harness.record.directory import (
    EventLog,
    create_run_directory,
    finish_tables,
    write_manifest,
)
from mwaa_headroom.harness.run.load_processes import SCENARIO_FILE, LoadProcesses
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.stage_traces import (
    how_traces_were_read,
    load_traces,
    save_traces,
)

_DISTRIBUTIONS = {
    "headroom": "mwaa-headroom",
    **{
        name: name
        for name in ("boto3", "botocore", "locust", "gevent", "geventhttpclient", "numpy")
    },
}


NO_TAGS: Final[Mapping[str, str]] = MappingProxyType({})


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


@dataclass(slots=True)
class Recording:
    """A record that is being written; the name of its directory is the run's id."""

    directory: Path
    events: EventLog
    scenario: Scenario
    scenario_file: Path
    load_processes: LoadProcesses
    facts_before: EnvironmentFacts
    stand_in_facts: Mapping[str, object]
    phases: Phases
    clock: EpochClock
    started_at_s: float
    tags: Mapping[str, str]
    facts_after: EnvironmentFacts | None = None

    @property
    def run_id(self) -> str:
        """The name of the run directory."""
        return self.directory.name

    def event(self, kind: str, **fields: object) -> None:
        """Record what the harness has just done or found."""
        self.events.write(kind, source="harness", time_s=self.clock.now_s(), **fields)

    def look_at_clock(self) -> None:
        """Record a step of this host's clock, which parts the calls from the metrics."""
        if step_s := self.clock.take_step_s():
            self.event("clock_stepped", step_s=step_s)

    def note(self, message: str) -> None:
        """Record something the reader of the report should know."""
        self.event("note", message=message)

    def copy_events(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Record the stand-in's own events."""
        for event in events:
            self.events.write(**{**event, "source": "environment"})

    def finish(self, status: str) -> None:
        """Turn the streams into tables and write the last manifest.

        Raises:
            HeadroomError: the disk is full or read-only; the streams stay readable.
        """
        with self.phases.timed("finish_record"):
            rows = finish_tables(self.directory)
        self.save_manifest(status, finished_at_s=self.clock.now_s(), rows=rows)
        self.events.close()

    def save_manifest(
        self, status: str, *, finished_at_s: float | None = None, rows: Mapping[str, int]
    ) -> None:
        """Write the manifest as things stand."""
        vcpu = self.facts_before.webserver_vcpu
        facts = {} if vcpu is None else {"webserver_cpu": vcpu}
        manifest = build_manifest(
            run_id=self.run_id,
            status=status,
            started_at_s=self.started_at_s,
            finished_at_s=finished_at_s,
            scenario=self.scenario,
            scenario_file=self.scenario_file.name,
            before=self.facts_before,
            after=self.facts_after,
            facts={**facts, **self.stand_in_facts},
            generator={
                "workers": self.load_processes.workers,
                "remote": self.load_processes.is_remote,
            },
            tags=self.tags,
            rows=rows,
            phases_s=self.phases.durations_s,
        )
        write_manifest(self.directory, manifest)


def start_recording(
    scenario: Scenario,
    *,
    scenario_file: Path,
    runs_directory: Path,
    load_processes: LoadProcesses,
    facts: EnvironmentFacts,
    stand_in_facts: Mapping[str, object],
    phases: Phases,
    tags: Mapping[str, str] = NO_TAGS,
) -> Recording:
    """Make the run directory: a first manifest (status running), the effective scenario, traces.

    Raises:
        HeadroomError: the directory cannot be made or written to, or a trace cannot be read.
    """
    clock = EpochClock()
    started_at_s = clock.now_s()
    now = datetime.fromtimestamp(started_at_s, UTC)
    directory = create_run_directory(runs_directory, scenario.name, now)
    recording = Recording(
        directory=directory,
        events=EventLog(directory / EVENTS_FILE),
        scenario=scenario,
        scenario_file=scenario_file,
        load_processes=load_processes,
        facts_before=facts,
        stand_in_facts=stand_in_facts,
        phases=phases,
        clock=clock,
        started_at_s=started_at_s,
        tags=tags,
    )
    recording.save_manifest("running", rows={})
    save_scenario(scenario.model_dump(mode="json"), directory)
    save_traces(scenario, scenario_file, directory)
    for told in how_traces_were_read(scenario, load_traces(scenario, directory)).values():
        recording.note(told)
    return recording


def save_scenario(scenario: Mapping[str, object], directory: Path) -> None:
    """Write the effective scenario, as JSON values, into a run directory."""
    with writing(directory):
        text = json.dumps(scenario, indent=2) + "\n"
        (directory / SCENARIO_FILE).write_text(text, encoding="utf-8")


def build_manifest(
    *,
    run_id: str,
    status: str,
    started_at_s: float,
    finished_at_s: float | None,
    scenario: Scenario,
    scenario_file: str,
    before: EnvironmentFacts,
    after: EnvironmentFacts | None,
    facts: Mapping[str, object],
    generator: Mapping[str, object],
    tags: Mapping[str, str],
    rows: Mapping[str, int],
    phases_s: Mapping[str, float],
) -> dict[str, object]:
    """Put together the manifest of one run; times are in seconds since the epoch.

    While it runs, `finished_at_s` and `after` are None and `rows` is empty. `facts` is what the
    stand-in, or the environment class, tells beyond GetEnvironment; `generator` holds workers (how
    many were to send) and remote (whether on other machines).

    Raises:
        ValueError: `status` is none of `RUN_STATUSES`.
    """
    if status not in RUN_STATUSES:
        raise ValueError(f"unknown run status '{status}'")
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "status": status,
        "started_at_s": started_at_s,
        "finished_at_s": finished_at_s,
        "scenario": scenario.model_dump(mode="json"),
        "scenario_file": scenario_file,
        "environment": {
            "name": before.name,
            "kind": scenario.environment.kind,
            "arn": before.arn,
            "before": before.recorded,
            "after": None if after is None else after.recorded,
            "facts": dict(facts),
        },
        "versions": {**_versions(), "airflow": before.airflow_version},
        # Without the host's name, which says nothing about the result.
        "host": {
            "cpus": os.cpu_count(),
            "platform": platform.platform(),
            "memory_bytes": psutil.virtual_memory().total,
            "cpu_model": _cpu_model(),
            "machine": _machine(),
        },
        "clock_offset_s": before.clock_offset_s,
        "generator": dict(generator),
        "tags": dict(tags),
        "rows": dict(rows),
        "phases_s": dict(phases_s),
    }


def _cpu_model() -> str | None:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None


def _machine() -> str | None:
    """Tells one machine from another, and nothing else of it."""
    with suppress(OSError):
        if found := Path("/etc/machine-id").read_bytes().strip():
            return hashlib.sha256(b"headroom " + found).hexdigest()[:12]
    return None


def _versions() -> dict[str, str]:
    """Versions of everything that can change a result; a part that is not installed is left out."""
    versions = {"python": platform.python_version()}
    for name, distribution in _DISTRIBUTIONS.items():
        try:
            versions[name] = version(distribution)
        except PackageNotFoundError:
            continue
    return versions
