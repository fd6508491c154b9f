"""Records that are finished, cut off anywhere, or damaged."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis import schema
from mwaa_headroom.analysis.errors import RecordFormatError
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.run import Run

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


def columns_of(table: pa.Table) -> dict[str, pa.DataType]:
    """Name and type of each column, strings told from their encoding in memory."""
    return {
        field.name: field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        for field in table.schema
    }


REQUESTS_COLUMNS = columns_of(schema.REQUESTS_SCHEMA.empty_table())
METRICS_COLUMNS = columns_of(schema.METRICS_SCHEMA.empty_table())


def test_a_finished_run_is_complete(finished: Path) -> None:
    record = read_run(finished)
    assert record.complete
    assert record.warnings == ()
    assert columns_of(record.requests) == REQUESTS_COLUMNS
    assert columns_of(record.metrics) == METRICS_COLUMNS
    assert [event["kind"] for event in record.events][:1] == ["stage_started"]


def test_a_killed_run_has_the_same_rows_but_is_not_complete(finished: Path, killed: Path) -> None:
    record = read_run(killed)
    assert record.requests.equals(read_run(finished).requests)
    assert not record.complete
    assert {(each.code, each.values.get("cut")) for each in record.warnings} >= {
        ("record.stream_read", False)
    }


@settings(max_examples=60)
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
    whole = read_run(killed).requests
    assert recovered.to_pylist() == whole.slice(0, recovered.num_rows).to_pylist()


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
@settings(max_examples=20)
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
    assert columns_of(record.requests) == REQUESTS_COLUMNS
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


@pytest.mark.parametrize("streams", [False, True])
def test_strings_are_codes_and_every_column_is_one_piece(
    finished: Path, killed: Path, *, streams: bool
) -> None:
    requests = read_run(killed if streams else finished).requests
    for name, column in zip(requests.column_names, requests.columns, strict=True):
        assert column.num_chunks == 1, name
    for name in ("operation", "outcome", "error_code"):
        assert requests.column(name).type == pa.dictionary(pa.int8(), pa.string())


def test_only_the_columns_asked_for_are_read(copy: Path, killed: Path) -> None:
    wanted = ("stage", "lag_s", "outcome")
    everything = read_run(copy).requests
    for directory in (copy, killed):
        requests = read_run(directory, wanted).requests
        assert requests.column_names == list(wanted)
        assert requests.to_pylist() == everything.select(wanted).to_pylist()


def test_a_row_takes_no_more_memory_than_its_values(finished: Path) -> None:
    requests = read_run(finished).requests
    # 4 x 8 for arrival and times, 8 bytes of answer, 5 x 4 other numbers, 3 words, 7 null bitmaps
    most_bytes = 32 + 8 + 20 + 3 + 1
    words_bytes = 1000
    assert requests.nbytes <= most_bytes * requests.num_rows + words_bytes


@pytest.mark.parametrize("encoding", ["plain", "dictionary", "as pandas writes it"])
def test_however_a_table_was_encoded_its_rows_are_the_same(copy: Path, encoding: str) -> None:
    expected = read_run(copy).requests.to_pylist()
    path = copy / schema.REQUESTS_TABLE
    table = pq.read_table(path)
    if encoding == "as pandas writes it":
        large = pa.schema(
            [f.with_type(pa.large_string()) if f.type == pa.string() else f for f in table.schema]
        )
        table = table.cast(large)
    pq.write_table(table, path, use_dictionary=encoding == "dictionary", row_group_size=100)
    assert read_run(copy).requests.to_pylist() == expected


def test_a_stream_of_very_many_batches_is_put_together_in_order(
    killed: Path, tmp_path: Path
) -> None:
    """Operations come up one after another, so that every batch has a dictionary of its own."""
    copied = Path(shutil.copytree(killed, tmp_path / "run"))
    expected = [
        row | {"operation": f"operation {n // 2}"}
        for n, row in enumerate(read_run(killed).requests.to_pylist())
    ]
    wanted = schema.REQUESTS_SCHEMA
    with pa.ipc.new_stream(str(copied / schema.REQUESTS_STREAM), wanted) as stream:
        for batch in pa.Table.from_pylist(expected, wanted).to_batches(max_chunksize=3):
            stream.write_batch(batch)
    assert len(expected) > 3 * 128
    requests = read_run(copied).requests
    assert requests.column("operation").type.index_type == pa.int16()
    assert requests.to_pylist() == expected


@pytest.mark.parametrize(
    ("key", "by_s"), [("started_at_s", 1e6), ("started_at_s", -1e9), ("finished_at_s", 1e15)]
)
def test_a_manifest_of_another_time_than_the_calls_is_damaged(
    copy: Path, key: str, by_s: float
) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest[key] += by_s
    (copy / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(RecordFormatError, match=f"the {key} of its manifest is .* hours off"):
        read_run(copy)


def test_a_clock_that_was_set_during_a_run_is_no_damage(copy: Path) -> None:
    """Every call is still within the run."""
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["started_at_s"] += 3000.0
    (copy / "manifest.json").write_text(json.dumps(manifest))

    analysis = Run.read(copy).analysis

    assert analysis.started_at_s <= analysis.stages[0].started_at_s < analysis.ended_at_s
