"""Reads a run directory, whole or cut off at any byte by a kill.

A finished run has Parquet tables. A run that was killed has Arrow IPC streams, of which every whole
batch before the cut is recovered, and an events file whose last line may be half written.
"""

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mwaa_headroom.analysis import schema
from mwaa_headroom.analysis.errors import RecordFormatError
from mwaa_headroom.analysis.findings import Finding, warning
from mwaa_headroom.analysis.manifest import read_manifest
from mwaa_headroom.analysis.run_files import run_file

BROKE_DOWN = ("running", "failed")  # failures of such a run are not the environment's
_CLOCK_STEP_S = 3600.0  # somebody may set the host's clock during a run
_LONGEST_WAIT_S = 24 * 3600.0  # before and after the load: for an environment, metrics, clean-up
_LONGEST_LOAD_S = 31 * 86_400.0
_CODES = (pa.int8(), pa.int16(), pa.int32())


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; copied only where it is not one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """A column of strings as one array with one dictionary and the smallest codes that hold it."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    words = whole(column.unify_dictionaries())
    most = max(len(words.dictionary) - 1, 0)
    codes = next(kind for kind in _CODES if most < 2 ** (kind.bit_width - 1))
    return words.cast(pa.dictionary(codes, pa.string()))


_BATCHES_TOGETHER = 128  # a stream has one every second, too small to be kept as they are
_ROWS_TOGETHER = 20_000  # of a table that is read piece by piece


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The files of one run, read.

    `requests` has exactly the columns that were asked for, `metrics` those of the schema; columns
    of later versions of the writer are left out. Each column is one piece of memory, strings are
    dictionary-encoded. `complete` is False when something is cut or missing, or the status is still
    "running".
    """

    directory: Path
    manifest: dict[str, Any]
    requests: pa.Table
    metrics: pa.Table
    events: tuple[dict[str, Any], ...]
    complete: bool
    warnings: tuple[Finding, ...]


def read_run(
    directory: Path, columns: Collection[str] = tuple(schema.REQUESTS_SCHEMA.names)
) -> RunRecord:
    """Read a run directory.

    Args:
        directory: of the run.
        columns: of the requests; a long run has millions of them, and who needs few columns needs
            little memory.

    Raises:
        RecordFormatError: it is missing, has no readable manifest, was written by a newer
            version, or a finished table is damaged.
    """
    manifest = read_manifest(directory)
    warnings: list[Finding] = []
    wanted = pa.schema([field for field in schema.REQUESTS_SCHEMA if field.name in columns])
    requests = _read_table(
        directory, schema.REQUESTS_TABLE, schema.REQUESTS_STREAM, wanted, warnings
    )
    metrics = _read_table(
        directory, schema.METRICS_TABLE, schema.METRICS_STREAM, schema.METRICS_SCHEMA, warnings
    )
    events = _read_events(directory, warnings)
    _check_times(manifest, events, requests)
    if manifest.get("status", "running") == "running":
        warnings.append(warning("record.cut_off"))
    return RunRecord(
        directory=directory,
        manifest=manifest,
        requests=requests,
        metrics=metrics,
        events=events,
        complete=not warnings,
        warnings=tuple(warnings),
    )


def request_pieces(directory: Path) -> Iterator[pa.Table]:
    """The calls of a run with all columns, some ten thousand rows at a time, strings encoded.

    Raises:
        RecordFormatError: a finished table is damaged, or lacks columns.
    """
    table_path = run_file(directory, schema.REQUESTS_TABLE)
    stream_path = run_file(directory, schema.REQUESTS_STREAM)
    try:
        if table_path is not None and (stream_path is None or _is_whole(table_path)):
            yield from _table_pieces(table_path, schema.REQUESTS_SCHEMA)
        elif stream_path is not None:
            yield from _stream_pieces(stream_path, schema.REQUESTS_SCHEMA, [])
    except (pa.ArrowException, OSError) as exc:
        damaged = table_path or stream_path
        raise RecordFormatError(f"'{damaged}' is damaged: {_first_line(exc)}.") from exc


def _is_whole(table_path: Path) -> bool:
    """A kill while finishing leaves half a Parquet file, without its end, beside the stream."""
    try:
        pq.read_schema(table_path)
    except (pa.ArrowException, OSError):
        return False
    return True


def _table_pieces(path: Path, wanted: pa.Schema) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        names = [name for name in wanted.names if name in file.schema_arrow.names]
        for batch in file.iter_batches(_ROWS_TOGETHER, columns=names):
            yield _conformed(pa.Table.from_batches([batch]), wanted, path)


def _read_table(
    directory: Path, table_file: str, stream_file: str, wanted: pa.Schema, warnings: list[Finding]
) -> pa.Table:
    table_path, stream_path = run_file(directory, table_file), run_file(directory, stream_file)
    if table_path is not None:
        try:
            return _read_parquet(table_path, wanted)
        except (pa.ArrowException, OSError) as exc:
            # A kill while finishing leaves half a Parquet file beside the whole stream.
            if stream_path is None:
                raise RecordFormatError(f"'{table_path}' is damaged: {_first_line(exc)}.") from exc
    if stream_path is None:
        warnings.append(warning("record.file_missing", files=(table_file, stream_file)))
        return _compact(_conformed(wanted.empty_table(), wanted, directory / stream_file))
    try:
        table, cut = _read_stream(stream_path, wanted)
    except OSError as exc:  # it has just become a table, or went away
        raise RecordFormatError(
            f"'{stream_path}' cannot be read: {exc}; try again when the run has finished."
        ) from exc
    warnings.append(warning("record.stream_read", file=stream_file, cut=cut))
    return table


def _read_parquet(path: Path, wanted: pa.Schema) -> pa.Table:
    written = pq.read_schema(path)
    words = [
        field.name
        for field in wanted
        if pa.types.is_string(field.type)
        and field.name in written.names
        and pa.types.is_string(written.field(field.name).type)
    ]
    with pq.ParquetFile(path, read_dictionary=words) as file:
        # One at a time: the memory that decoding a column takes serves the next one again.
        columns = [
            _compact(_conformed(file.read(columns=[field.name]), pa.schema([field]), path))
            for field in wanted
        ]
    return pa.Table.from_arrays([column.column(0) for column in columns], names=wanted.names)


def _read_stream(path: Path, wanted: pa.Schema) -> tuple[pa.Table, bool]:
    """Every whole batch of an Arrow IPC stream, and whether more had begun."""
    parts = [_conformed(wanted.empty_table(), wanted, path)]
    torn: list[Exception] = []
    parts += [
        part.unify_dictionaries().combine_chunks() for part in _stream_pieces(path, wanted, torn)
    ]
    return _compact(pa.concat_tables(parts)), bool(torn)


def _stream_pieces(path: Path, wanted: pa.Schema, torn: list[Exception]) -> Iterator[pa.Table]:
    with pa.OSFile(str(path)) as source:
        batches = _whole_batches(source, torn)
        while together := list(islice(batches, _BATCHES_TOGETHER)):
            yield _conformed(pa.Table.from_batches(together), wanted, path)


def _whole_batches(source: pa.NativeFile, torn: list[Exception]) -> Iterator[pa.RecordBatch]:
    try:
        yield from pa.ipc.open_stream(source)
    except (pa.ArrowException, OSError) as exc:
        torn.append(exc)


def _conformed(table: pa.Table, wanted: pa.Schema, path: Path) -> pa.Table:
    """The wanted columns, strings dictionary-encoded."""
    columns = []
    for field in wanted:
        if field.name in table.column_names:
            columns.append(_cast(table.column(field.name), field, path))
        elif field.nullable:
            columns.append(_cast(pa.chunked_array([pa.nulls(table.num_rows)]), field, path))
        else:
            raise RecordFormatError(f"'{path}' has no column '{field.name}'.")
    return pa.Table.from_arrays(columns, names=wanted.names)


def _cast(column: pa.ChunkedArray, field: pa.Field, path: Path) -> pa.ChunkedArray:
    if column.null_count and not field.nullable:
        raise RecordFormatError(f"'{path}' has empty values in its column '{field.name}'.")
    try:
        if not pa.types.is_string(field.type):
            return column.cast(field.type)
        is_encoded = pa.types.is_dictionary(column.type)
        return column if is_encoded else column.cast(field.type).dictionary_encode()
    except pa.ArrowException as exc:
        raise RecordFormatError(
            f"'{path}' has {column.type} in its column '{field.name}' instead of {field.type}."
        ) from exc


def _compact(table: pa.Table) -> pa.Table:
    """The same with each column in one piece and codes no wider than they must be."""
    columns = [
        encoded(column) if pa.types.is_dictionary(column.type) else whole(column)
        for column in table.columns
    ]
    return pa.Table.from_arrays(columns, names=table.column_names)


def _check_times(
    manifest: Mapping[str, Any], events: Iterable[Mapping[str, Any]], requests: pa.Table
) -> None:
    """Refuse a record whose parts are of different times: no axis could show them together."""
    stages = [float(e["time_s"]) for e in events if e["kind"] in ("stage_started", "stage_ended")]
    if "intended_start_s" in requests.column_names and requests.num_rows:
        stages += pc.min_max(requests.column("intended_start_s")).as_py().values()
    if not stages:
        return
    first_s, last_s = min(stages), max(stages)
    started_s = manifest.get("started_at_s") or first_s
    finished_s = manifest.get("finished_at_s") or last_s
    waits_s = {"started_at_s": first_s - started_s, "finished_at_s": finished_s - last_s}
    for key, wait_s in waits_s.items():
        if not -_CLOCK_STEP_S <= wait_s <= _LONGEST_WAIT_S:
            raise RecordFormatError(
                f"The record is damaged: the {key} of its manifest is {abs(wait_s) / 3600:.1f} "
                "hours off from its calls and stages."
            )
    if last_s - first_s > _LONGEST_LOAD_S:
        raise RecordFormatError(
            "The record is damaged: its calls and stages are spread over "
            f"{(last_s - first_s) / 86_400:.0f} days."
        )


def _read_events(directory: Path, warnings: list[Finding]) -> tuple[dict[str, Any], ...]:
    path = run_file(directory, schema.EVENTS_FILE)
    if path is None:
        warnings.append(warning("record.file_missing", files=(schema.EVENTS_FILE,)))
        return ()
    events, unreadable = [], 0
    for line in path.read_bytes().splitlines():
        event = _event(line)
        if event is not None:
            events.append(event)
        elif line.strip():
            unreadable += 1
    if unreadable:
        warnings.append(warning("record.lines_cut", file=schema.EVENTS_FILE, lines=unreadable))
    return tuple(sorted(events, key=lambda event: float(event["time_s"])))


def _event(line: bytes) -> dict[str, Any] | None:
    """One event, or None for a line that is not one."""
    try:
        event = json.loads(line)
        is_one = math.isfinite(event["time_s"]) and isinstance(event["kind"], str)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return dict(event) if is_one else None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
