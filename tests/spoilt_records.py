"""Turns run directories into ones of callers, networks and metrics that went wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mwaa_headroom.analysis.schema import EVENTS_FILE

Row = dict[str, Any]


def change_rows(directory: Path, table: str, change: Callable[[Row], Row | None]) -> None:
    """Change or drop (None) every row of "requests" or "metrics"."""
    path = directory / f"{table}.parquet"
    before = pq.read_table(path)
    rows = [row for each in before.to_pylist() if (row := change(each)) is not None]
    pq.write_table(pa.Table.from_pylist(rows, schema=before.schema), path)


def move(directory: Path, by_s: float) -> None:
    """As if the whole run had been so much later."""
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    for key in ("started_at_s", "finished_at_s"):
        manifest[key] += by_s
    path.write_text(json.dumps(manifest))
    events = map(json.loads, (directory / EVENTS_FILE).read_text().splitlines())
    lines = (json.dumps({**event, "time_s": event["time_s"] + by_s}) for event in events)
    (directory / EVENTS_FILE).write_text("".join(f"{line}\n" for line in list(lines)))
    for name in ("requests", "metrics"):
        table = pq.read_table(directory / f"{name}.parquet")
        for column in {"intended_start_s", "period_start_s", "read_at_s"} & {*table.column_names}:
            place = table.column_names.index(column)
            later = pc.add(table.column(column), by_s)
            table = table.set_column(place, table.schema.field(column), later)
        pq.write_table(table, directory / f"{name}.parquet")


def fail_from(
    directory: Path, from_s: float, outcome: str, code: str | None = None, every: int = 1
) -> None:
    """Every so many calls from a time on fail at once, and no webserver has work from then on."""

    def failed(row: Row) -> Row:
        if row["intended_start_s"] < from_s or row["arrival"] % every:
            return row
        return row | {"outcome": outcome, "error_code": code, "service_time_s": 0.005}

    def idle(row: Row) -> Row:
        is_cpu = row["metric"] == "CPUUtilization" and row["statistic"] != "SampleCount"
        return row | {"value": 1.0} if is_cpu and row["period_start_s"] >= from_s else row

    change_rows(directory, "requests", failed)
    if every == 1:
        change_rows(directory, "metrics", idle)


def add_event(directory: Path, **event: Any) -> None:
    """One more line of the events."""
    with (directory / EVENTS_FILE).open("a") as events:
        events.write(json.dumps({"source": "generator", **event}) + "\n")
