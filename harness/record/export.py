"""Tables of runs in the formats that other programs read.

    csv      RFC 4180 in UTF-8, lines end in LF; what is not known is an empty cell
    jsonl    one JSON object a line; what is not known is null
    parquet  types as in `analysis.tables.SCHEMAS`
    otava    CSV for Apache Otava: one row a run, its time, attributes and metrics

Numbers are written so that they read back as the same. In CSV, texts are shown to spreadsheets as
texts: one that begins with = + - or @ gets an apostrophe before it, and control characters are
written as their escapes.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from mwaa_headroom.analysis.comparison.metric_table import MetricTable
from mwaa_headroom.analysis.errors import RecordFormatError
from mwaa_headroom.analysis.manifest import read_manifest
from mwaa_headroom.analysis.report.controls import escape_controls
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.tables import SCHEMAS, period_table, request_tables, stage_table
from mwaa_headroom.harness.errors import RecordError

Write = Callable[[pa.Table], None]
_FORMULAS: Final = ("=", "+", "-", "@")


def export_tables(
    directories: Iterable[Path],
    files: Mapping[str, BinaryIO],
    file_format: str,
    is_read: Callable[[], bool],
) -> None:
    """Write tables of runs, one run below the other.

    Args:
        directories: of the runs.
        files: by the names of the tables wanted, open for writing.
        file_format: a key of `FORMATS`.
        is_read: asked between pieces of tables; False ends it.

    Raises:
        RecordError: a run cannot be read.
        OSError: a file cannot be written.
    """
    with ExitStack() as stack:
        writers = {
            table: stack.enter_context(FORMATS[file_format](file, SCHEMAS[table]))
            for table, file in files.items()
        }
        for directory in directories:
            for table, piece in _pieces(directory, files):
                if not is_read():
                    return
                writers[table](piece)


def _pieces(directory: Path, tables: Iterable[str]) -> Iterator[tuple[str, pa.Table]]:
    wanted = set(tables)
    try:
        if "requests" in wanted:
            run_id = str(read_manifest(directory).get("run_id", directory.name))
            for piece in request_tables(directory, run_id):
                yield "requests", piece
        if wanted & {"periods", "stages"}:
            run = Run.read(directory)
            yield from (
                (table, of(run))
                for table, of in (("periods", period_table), ("stages", stage_table))
                if table in wanted
            )
    except RecordFormatError as exc:
        raise RecordError(str(exc)) from exc


@contextmanager
def _as_csv(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    with _as_text(file) as text:
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(schema.names)
        yield lambda table: rows.writerows(_rows(table))


@contextmanager
def _as_json_lines(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    encode = json.JSONEncoder(allow_nan=False).encode

    def write(table: pa.Table) -> None:
        lists = (column.to_pylist() for column in table.columns)
        text.writelines(
            f"{encode(dict(zip(schema.names, row, strict=True)))}\n"
            for row in zip(*lists, strict=True)
        )

    with _as_text(file) as text:
        yield write


@contextmanager
def _as_parquet(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        yield writer.write_table


FORMATS: Final = {"csv": _as_csv, "parquet": _as_parquet, "jsonl": _as_json_lines}


@contextmanager
def _as_text(file: BinaryIO) -> Iterator[io.TextIOWrapper]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        yield text
    finally:
        text.detach()  # flushes; the file is closed by who opened it


def _rows(table: pa.Table) -> Iterator[Sequence[Any]]:
    columns = []
    for column in table.columns:
        values = column.to_pylist()
        if pa.types.is_string(column.type):
            cells = {text: _cell(text) for text in set(values)}
            values = [cells[text] for text in values]
        elif pa.types.is_boolean(column.type):
            values = [None if value is None else str(value).lower() for value in values]
        columns.append(values)
    return zip(*columns, strict=True)


def _cell(text: str | None) -> str | None:
    if text is None:
        return None
    shown = escape_controls(text)
    return f"'{shown}" if shown.startswith(_FORMULAS) else shown


def export_metrics(table: MetricTable, file: BinaryIO) -> None:
    """Write the metrics of runs as Apache Otava reads them.

    A tag `branch` becomes the column of that name, by which Otava keeps branches apart, and any
    other tag_KEY; a run without a tag has an empty cell there, which Otava takes in attributes.

    Args:
        table: with at least one run.
        file: open for writing.
    """
    tags = [_tags(Path(run.directory)) for run in table.runs]
    keys = sorted({key for of_run in tags for key in of_run})
    names = [key if key == "branch" else f"tag_{key}" for key in keys]
    with _as_text(file) as text:
        rows = csv.writer(text, lineterminator="\n")
        attributes = ("run", "scenario", "environment", "airflow_version")
        rows.writerow(map(_cell, ("time", *attributes, *names, *table.values)))
        for index, run in enumerate(table.runs):
            told = (
                run.run_id,
                run.scenario_name,
                *(str(run.environment.get(key) or "") for key in ("name", "airflow_version")),
                *(tags[index].get(key, "") for key in keys),
            )
            began = datetime.fromtimestamp(run.started_at_s, UTC).isoformat(timespec="seconds")
            values = (of_runs[index] for of_runs in table.values.values())
            rows.writerow((began, *map(_cell, told), *values))


def _tags(directory: Path) -> dict[str, str]:
    tags = read_manifest(directory).get("tags") or {}
    return {str(key): str(value) for key, value in tags.items()}
