"""From a run in memory to a run directory like any other."""

import json
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from analysis.records.reader import RunRecord
from analysis.records.schema import (
    EVENTS_FILE,
    METRICS_SCHEMA,
    METRICS_STREAM,
    REQUESTS_SCHEMA,
    REQUESTS_STREAM,
)
from harness.record.directory import create_run_directory, finish_tables, write_manifest
from harness.record.disk import writing
from harness.record.events import EventLog
from harness.record.stream import StreamWriter
from harness.run.recording import SCENARIO_FILE
from harness.scenario.load import check_scenario
from harness.traffic.traces import save_traces

ROWS_AT_ONCE = 65_536


def save_run(record: RunRecord, runs_directory: Path, *, scenario_file: Path | None = None) -> Path:
    """Write a finished run; whatever interrupts it leaves no half of one behind.

    Args:
        record: as `run_virtually` makes it.
        runs_directory: where run directories are made.
        scenario_file: where the scenario came from, for its name and the traces beside it.

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
        manifest = {**record.manifest, **told, "run_id": directory.name, "rows": rows}
        write_manifest(unfinished, manifest)
        with writing(directory):
            unfinished.chmod(directory.stat().st_mode)  # temporary folders are for us alone
            unfinished.replace(directory)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def _write_record(record: RunRecord, directory: Path, scenario_file: Path | None) -> dict[str, int]:
    scenario = record.manifest["scenario"]
    with writing(directory):
        text = json.dumps(scenario, indent=2) + "\n"
        (directory / SCENARIO_FILE).write_text(text, encoding="utf-8")
    if scenario_file is not None:
        save_traces(check_scenario(scenario, origin="the run"), scenario_file, directory)
    events = EventLog(directory / EVENTS_FILE)
    for event in record.events:
        keys = {key: value for key, value in event.items() if key not in _EVENT_KEYS}
        events.write(event["kind"], source=event["source"], time_s=event["time_s"], **keys)
    events.close()
    _write_stream(record.requests, directory / REQUESTS_STREAM, REQUESTS_SCHEMA)
    _write_stream(record.metrics, directory / METRICS_STREAM, METRICS_SCHEMA)
    return finish_tables(directory)


_EVENT_KEYS = ("kind", "source", "time_s")


def _write_stream(table: pa.Table, path: Path, schema: pa.Schema) -> None:
    stream = StreamWriter(path, schema)
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        stream.write(batch.cast(schema))
    stream.close()
