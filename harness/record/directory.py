"""A run directory: its events, its manifest, replaced atomically, and its streams made tables."""

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mwaa_headroom.analysis.schema import (
    EVENT_KINDS,
    EVENT_SOURCES,
    EVENTS_FILE,
    MANIFEST_FILE,
    METRICS_SCHEMA,
    METRICS_STREAM,
    METRICS_TABLE,
    REQUESTS_SCHEMA,
    REQUESTS_STREAM,
    REQUESTS_TABLE,
)
from mwaa_headroom.harness.files import replacing, writing
from mwaa_headroom.harness.record.stream import append_batch, record_batch
from mwaa_headroom.harness.validation import refuse_secrets

LATEST_LINK = "latest"
ROWS_PER_GROUP = 65_536  # bounds the memory of finishing a table
_ATTEMPTS_AT_A_FREE_NAME = 10


class EventLog:
    """Appends events to one file.

    Every line is one write to a file opened with O_APPEND, so lines of several processes and
    threads never mix, and a line that was written survives a kill of its process. Its lock on the
    file, which goes with the process, says that the run may still be going on.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(path):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o644)
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def write(self, kind: str, *, source: str, time_s: float, **fields: object) -> None:
        """Append one event.

        Args:
            kind: a key of `EVENT_KINDS`; its further keys must all be among `fields`.
            source: one of `EVENT_SOURCES`.
            time_s: when it happened, seconds since the epoch.
            fields: JSON values.

        Raises:
            ValueError: an unknown kind or source, or a missing key.
            UsageError: a key looks like a secret.
            HeadroomError: the disk is full or read-only.
        """
        if kind not in EVENT_KINDS:
            raise ValueError(f"unknown event kind '{kind}'")
        if source not in EVENT_SOURCES:
            raise ValueError(f"unknown event source '{source}'")
        missing = [key for key in EVENT_KINDS[kind] if key not in fields]
        if missing:
            raise ValueError(f"event '{kind}' needs {', '.join(missing)}")
        refuse_secrets(fields, where="the events")
        event = {"time_s": time_s, "kind": kind, "source": source, **fields}
        line = json.dumps(event, allow_nan=False) + "\n"
        with writing(self._path):
            os.write(self._descriptor, line.encode())

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


# Values that hardly ever repeat fill a dictionary in vain, which would cost two thirds of the time.
_ENCODINGS = {pa.float64(): "BYTE_STREAM_SPLIT", pa.int64(): "DELTA_BINARY_PACKED"}

_TABLES = (
    ("requests", REQUESTS_STREAM, REQUESTS_TABLE, REQUESTS_SCHEMA),
    ("metrics", METRICS_STREAM, METRICS_TABLE, METRICS_SCHEMA),
)


def is_being_written(directory: Path) -> bool:
    """Whether some process, on this machine at least, has the events of a run open."""
    try:
        with (directory / EVENTS_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def require_writable(base: Path) -> None:
    """Make the folder of runs before anything is started whose record could not be kept.

    Raises:
        HeadroomError: it cannot be made or written to, or is a file.
    """
    with writing(base):
        base.mkdir(parents=True, exist_ok=True)
        _make_unused(base, ".headroom").rmdir()


def create_run_directory(base: Path, scenario_name: str, now: datetime) -> Path:
    """Create `base/20261122T073000-quickstart-ab12`.

    Args:
        base: where runs are kept; created if it is not there.
        scenario_name: anything; what does not fit a file name is replaced by dashes.
        now: an aware time; the id is in UTC, so names sort by start.

    Raises:
        HeadroomError: the directory cannot be created.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", scenario_name.lower()).strip("-")[:40] or "run"
    stem = f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{slug}"
    with writing(base):
        base.mkdir(parents=True, exist_ok=True)
        return _make_unused(base, stem)


def write_manifest(directory: Path, manifest: Mapping[str, object]) -> None:
    """Replace the manifest in one step: a reader sees the old one or the new one, whole.

    Raises:
        UsageError: a key looks like a secret.
        HeadroomError: the disk is full or read-only.
    """
    refuse_secrets(manifest, where="the manifest")
    text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
    with replacing(directory / MANIFEST_FILE) as part:
        part.write_text(text, encoding="utf-8")


def finish_tables(directory: Path) -> dict[str, int]:
    """Turn each stream into a table and remove the stream.

    A stream whose writer was killed is read up to its last whole message. Doing it again, or after
    having been interrupted halfway, is safe. Memory stays bounded by `ROWS_PER_GROUP` rows.

    Returns:
        Rows of each table by name: `{"requests": ..., "metrics": ...}`; 0 where there is no file.

    Raises:
        HeadroomError: the disk is full or read-only; the streams are still there then.
    """
    rows = {}
    for name, stream_name, table_name, schema in _TABLES:
        stream, table = directory / stream_name, directory / table_name
        if stream.exists():
            _stream_to_table(stream, table, schema)
        rows[name] = pq.read_metadata(table).num_rows if table.exists() else 0
    return rows


def add_metrics(directory: Path, rows: list[tuple[object, ...]]) -> dict[str, int]:
    """Add rows to the metrics of a run that has ended; streams become tables as they do then.

    Returns:
        As `finish_tables`.

    Raises:
        HeadroomError: the disk is full or read-only; every row that was there is still there then.
    """
    counts = finish_tables(directory)
    if rows:
        path = directory / METRICS_TABLE
        there = pq.read_table(path) if path.exists() else METRICS_SCHEMA.empty_table()
        added = pa.Table.from_batches([record_batch(rows, METRICS_SCHEMA)])
        every = pa.concat_tables([there, added], promote_options="default")
        _write_table(path, every.schema, [every])
        counts["metrics"] = every.num_rows
    return counts


def _make_unused(base: Path, stem: str) -> Path:
    for _ in range(_ATTEMPTS_AT_A_FREE_NAME):
        directory = base / f"{stem}-{secrets.token_hex(2)}"
        with suppress(FileExistsError):
            directory.mkdir()
            return directory
    raise FileExistsError(None, f"no free name beginning with {stem}")


def point_latest_at(directory: Path) -> None:
    """Have `latest`, beside a run directory, lead to it: its load begins now."""
    part = directory.with_name(f".{LATEST_LINK}-{directory.name}")
    # The link is a convenience: a file system without links must not stop a run.
    with suppress(OSError):
        part.symlink_to(directory.name, target_is_directory=True)
        part.replace(directory.with_name(LATEST_LINK))


def _stream_to_table(stream: Path, table: Path, schema: pa.Schema) -> None:
    groups = (pa.Table.from_batches(group, schema) for group in _in_groups(_whole_batches(stream)))
    _write_table(table, schema, groups)
    with writing(stream):
        stream.unlink()


def _write_table(path: Path, schema: pa.Schema, parts: Iterable[pa.Table]) -> None:
    own = {field.name: _ENCODINGS[field.type] for field in schema if field.type in _ENCODINGS}
    others = [name for name in schema.names if name not in own]
    encodings: dict[str, Any] = {"column_encoding": own, "use_dictionary": others}
    with (
        replacing(path) as part,
        pq.ParquetWriter(part, schema, compression="zstd", **encodings) as writer,
    ):
        for table in parts:
            writer.write_table(table)


def _whole_batches(stream: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(stream)) as source:
        try:
            reader = pa.ipc.open_stream(source)
            yield from reader
        except (pa.ArrowInvalid, OSError):  # torn by a kill: the last message is not whole
            return


def _in_groups(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    group: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        append_batch(group, batch)
        rows += batch.num_rows
        if rows >= ROWS_PER_GROUP:
            yield group
            group, rows = [], 0
    if group:
        yield group
