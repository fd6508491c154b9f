import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_records import write_synthetic_run

from analysis.errors import RecordFormatError
from analysis.records import schema
from analysis.records.reader import read_run

SHORT = {"rates_per_s": (10.0,), "stage_s": 60.0}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("finished")
    write_synthetic_run(directory, **SHORT)
    return directory


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("killed")
    write_synthetic_run(directory, **SHORT, streams=True, status="running")
    return directory


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_finished_run_is_complete(finished: Path) -> None:
    record = read_run(finished)
    assert record.complete
    assert record.warnings == ()
    assert record.requests.schema == schema.REQUESTS_SCHEMA
    assert record.metrics.schema == schema.METRICS_SCHEMA
    assert [event["kind"] for event in record.events][:1] == ["stage_started"]


def test_a_killed_run_has_the_same_rows_but_is_not_complete(finished: Path, killed: Path) -> None:
    record = read_run(killed)
    assert record.requests.equals(read_run(finished).requests)
    assert not record.complete
    assert any("was read instead" in warning for warning in record.warnings)


@settings(max_examples=200, deadline=None)
@given(share=st.floats(0, 1))
def test_a_stream_cut_at_any_byte_gives_every_whole_batch_before_the_cut(
    killed: Path, tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    stream = (killed / schema.REQUESTS_STREAM).read_bytes()
    size = int(share * len(stream))
    directory = tmp_path_factory.getbasetemp() / "cut"
    directory.mkdir(exist_ok=True)
    for name in (schema.MANIFEST_FILE, schema.EVENTS_FILE, schema.METRICS_STREAM):
        shutil.copy(killed / name, directory / name)
    (directory / schema.REQUESTS_STREAM).write_bytes(stream[:size])

    recovered = read_run(directory).requests

    assert recovered.num_rows == sum(
        rows for end, rows in _batch_ends(killed / schema.REQUESTS_STREAM) if end <= size
    )
    assert recovered.equals(read_run(killed).requests.slice(0, recovered.num_rows))


def _batch_ends(path: Path) -> list[tuple[int, int]]:
    """Byte position after each batch of a stream, and its rows: an oracle from the file format."""
    ends = []
    with pa.OSFile(str(path)) as source:
        reader = pa.ipc.MessageReader.open_stream(source)
        wanted = pa.ipc.read_schema(reader.read_next_message())
        for message in reader:
            batch = pa.ipc.read_record_batch(message, wanted)
            ends.append((source.tell(), batch.num_rows))
    return ends


@given(cut=st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_a_half_written_last_event_is_left_out_with_a_warning(
    finished: Path, tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    directory = tmp_path_factory.mktemp("events") / "run"
    shutil.copytree(finished, directory)
    whole = (directory / schema.EVENTS_FILE).read_bytes()
    last = len(whole.splitlines()[-1])
    (directory / schema.EVENTS_FILE).write_bytes(whole[: -min(cut, last) - 1])

    record = read_run(directory)

    assert len(record.events) == len(whole.splitlines()) - 1
    # Cut to nothing, a line has left no trace to warn about.
    assert record.complete == (cut >= last)


def test_half_a_parquet_file_beside_a_whole_stream_is_not_needed(copy: Path, killed: Path) -> None:
    table = copy / schema.REQUESTS_TABLE
    table.write_bytes(table.read_bytes()[:-20])
    shutil.copy(killed / schema.REQUESTS_STREAM, copy / schema.REQUESTS_STREAM)
    assert read_run(copy).requests.equals(read_run(killed).requests)


def test_columns_of_a_later_writer_are_left_out_and_missing_ones_are_empty(copy: Path) -> None:
    path = copy / schema.REQUESTS_TABLE
    table = pq.read_table(path)
    rows = table.num_rows
    changed = table.append_column("shard", pa.nulls(rows, pa.int8())).drop_columns("airflow_status")
    pq.write_table(changed, path)
    record = read_run(copy)
    assert record.requests.schema == schema.REQUESTS_SCHEMA
    assert record.requests.column("airflow_status").null_count == rows


def _without_directory(run: Path) -> None:
    shutil.rmtree(run)


def _without_manifest(run: Path) -> None:
    (run / schema.MANIFEST_FILE).unlink()


def _with_half_a_manifest(run: Path) -> None:
    path = run / schema.MANIFEST_FILE
    path.write_text(path.read_text()[:50])


def _with_manifest(run: Path, **changes: object) -> None:
    path = run / schema.MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _with_damaged_table(run: Path) -> None:
    path = run / schema.REQUESTS_TABLE
    path.write_bytes(path.read_bytes()[:-20])


def _without_needed_column(run: Path) -> None:
    path = run / schema.REQUESTS_TABLE
    pq.write_table(pq.read_table(path).drop_columns("outcome"), path)


def _with_words_for_numbers(run: Path) -> None:
    path = run / schema.REQUESTS_TABLE
    table = pq.read_table(path)
    words = pa.array(["soon"] * table.num_rows)
    pq.write_table(table.set_column(4, "lag_s", words), path)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_without_directory, "There is no run directory"),
        (_without_manifest, "it has no manifest.json"),
        (_with_half_a_manifest, "cannot be read"),
        (lambda run: _with_manifest(run, schema_version=None), "does not say its schema_version"),
        (lambda run: _with_manifest(run, schema_version=99), "use a newer headroom"),
        (_with_damaged_table, "is damaged"),
        (_without_needed_column, "has no column 'outcome'"),
        (_with_words_for_numbers, "has string in its column 'lag_s' instead of double"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(
    copy: Path, damage: object, says: str
) -> None:
    damage(copy)  # type: ignore[operator]
    with pytest.raises(RecordFormatError, match=says) as refused:
        read_run(copy)
    assert "\n" not in str(refused.value)


def test_a_directory_with_nothing_but_a_manifest_is_readable(copy: Path) -> None:
    for path in copy.iterdir():
        if path.name != schema.MANIFEST_FILE:
            path.unlink()
    record = read_run(copy)
    assert record.requests.num_rows == record.metrics.num_rows == len(record.events) == 0
    assert not record.complete


def test_a_run_that_is_still_running_is_not_complete(copy: Path) -> None:
    _with_manifest(copy, status="running")
    assert not read_run(copy).complete
