"""Run directories: sortable names, an atomic manifest, finished tables, events in whole lines."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaa_headroom.analysis.schema import (
    METRICS_SCHEMA,
    METRICS_STREAM,
    METRICS_TABLE,
    REQUESTS_SCHEMA,
    REQUESTS_STREAM,
    REQUESTS_TABLE,
)
from mwaa_headroom.harness.errors import ExitCode, HeadroomError, UsageError
from mwaa_headroom.harness.record import directory as directory_module
from mwaa_headroom.harness.record.directory import (
    EventLog,
    create_run_directory,
    finish_tables,
    point_latest_at,
    require_writable,
    write_manifest,
)
from mwaa_headroom.harness.record.stream import StreamWriter

NOON = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)


def metrics_row(period_start_s: float) -> tuple[object, ...]:
    return (
        "CPUUtilization",
        "WebServer",
        "{}",
        "Average",
        "Percent",
        5.0,
        period_start_s,
        1.0,
        9.0,
    )


def test_names_tell_start_and_scenario_and_sort_by_start(tmp_path: Path) -> None:
    first = create_run_directory(tmp_path, "Quick start!", NOON)
    later = create_run_directory(tmp_path, "capacity", NOON + timedelta(seconds=1))
    assert first.name.startswith("20261122T073000-quick-start-")
    assert sorted([later.name, first.name]) == [first.name, later.name]


def test_another_time_zone_gives_the_same_id(tmp_path: Path) -> None:
    tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
    assert create_run_directory(tmp_path, "x", tokyo).name.startswith("20261122T073000-x-")


@pytest.mark.parametrize("name", ["", "///", "../../etc", "ä" * 300])
def test_no_scenario_name_leaves_the_base_directory(tmp_path: Path, name: str) -> None:
    made = create_run_directory(tmp_path / "runs", name, NOON)
    assert made.parent == tmp_path / "runs"
    assert made.is_dir()


def test_latest_is_a_relative_link_to_the_newest_run_whose_load_began(tmp_path: Path) -> None:
    point_latest_at(create_run_directory(tmp_path, "one", NOON))
    newest = create_run_directory(tmp_path, "two", NOON)
    point_latest_at(newest)
    create_run_directory(tmp_path, "which did not start", NOON)
    link = tmp_path / "latest"
    assert str(link.readlink()) == newest.name
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_taken_name_is_not_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suffixes = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(directory_module.secrets, "token_hex", lambda _: next(suffixes))
    assert create_run_directory(tmp_path, "x", NOON).name.endswith("-aaaa")
    assert create_run_directory(tmp_path, "x", NOON).name.endswith("-bbbb")


def test_a_base_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    base = tmp_path / "runs"
    base.write_text("", encoding="utf-8")
    with pytest.raises(HeadroomError, match="Cannot write"):
        create_run_directory(base, "x", NOON)


def test_the_manifest_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"status": "running"})
    write_manifest(tmp_path, {"status": "finished"})
    assert json.loads((tmp_path / "manifest.json").read_text()) == {"status": "finished"}
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_a_manifest_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"status": "running"})
    with pytest.raises(UsageError, match="looks like a secret"):
        write_manifest(tmp_path, {"environment": {"facts": {"SecretAccessKey": "x"}}})
    with pytest.raises(TypeError):
        write_manifest(tmp_path, {"status": object()})
    assert json.loads((tmp_path / "manifest.json").read_text()) == {"status": "running"}
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_small_batches_become_few_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "ROWS_PER_GROUP", 10)
    writer = StreamWriter(tmp_path / METRICS_STREAM, METRICS_SCHEMA)
    for n in range(25):
        writer.append(metrics_row(float(n)))
        writer.flush()
    writer.close()
    assert finish_tables(tmp_path) == {"requests": 0, "metrics": 25}
    table = pq.ParquetFile(tmp_path / METRICS_TABLE)
    assert table.metadata.num_row_groups == 3
    assert table.metadata.row_group(0).column(0).compression == "ZSTD"
    assert table.read()["period_start_s"].to_pylist() == [float(n) for n in range(25)]
    assert [path.name for path in tmp_path.iterdir()] == [METRICS_TABLE]


def test_finishing_again_counts_the_same_rows(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path / METRICS_STREAM, METRICS_SCHEMA)
    writer.append(metrics_row(5.0))
    writer.close()
    stream = (tmp_path / METRICS_STREAM).read_bytes()
    assert finish_tables(tmp_path)["metrics"] == 1
    assert finish_tables(tmp_path)["metrics"] == 1
    # interrupted between writing the table and removing the stream
    (tmp_path / METRICS_STREAM).write_bytes(stream)
    assert finish_tables(tmp_path)["metrics"] == 1


def test_a_stream_of_rubbish_becomes_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / METRICS_STREAM).write_bytes(b"\xff\xff\xff\xff not an arrow stream")
    assert finish_tables(tmp_path)["metrics"] == 0
    assert pa.types.is_float64(pq.read_schema(tmp_path / METRICS_TABLE).field("value").type)


VALUES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): st.text(max_size=5),
}
ROWS = st.lists(
    st.tuples(
        *(
            st.none() | VALUES[field.type] if field.nullable else VALUES[field.type]
            for field in REQUESTS_SCHEMA
        )
    ),
    max_size=20,
)


@settings(max_examples=20)
@given(rows=ROWS, flush_every=st.integers(1, 7))
def test_a_finished_table_has_the_rows_that_were_appended(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[object, ...]], flush_every: int
) -> None:
    directory = tmp_path_factory.mktemp("rows")
    writer = StreamWriter(directory / REQUESTS_STREAM, REQUESTS_SCHEMA)
    for number, row in enumerate(rows):
        writer.append(row)
        if number % flush_every == 0:
            writer.flush()
    writer.close()
    assert finish_tables(directory)["requests"] == len(rows)
    table = pq.read_table(directory / REQUESTS_TABLE)
    assert table.schema.equals(REQUESTS_SCHEMA)
    assert [tuple(row.values()) for row in table.to_pylist()] == rows


def test_only_values_that_repeat_go_into_a_dictionary(tmp_path: Path) -> None:
    writer = StreamWriter(tmp_path / METRICS_STREAM, METRICS_SCHEMA)
    writer.append(metrics_row(5.0))
    writer.close()
    finish_tables(tmp_path)
    group = pq.ParquetFile(tmp_path / METRICS_TABLE).metadata.row_group(0)
    dictionaries = [
        group.column(n).path_in_schema
        for n in range(group.num_columns)
        if group.column(n).has_dictionary_page
    ]
    assert dictionaries == ["metric", "cluster", "dimensions", "statistic", "unit"]


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_event_is_one_json_line(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.write("stage_started", source="generator", time_s=12.5, stage=0, name="warm-up\nlate ü")
    log.write("interrupted", source="harness", time_s=13.0)
    log.close()
    log.close()
    assert lines_of(tmp_path / "events.jsonl") == [
        {
            "time_s": 12.5,
            "kind": "stage_started",
            "source": "generator",
            "stage": 0,
            "name": "warm-up\nlate ü",
        },
        {"time_s": 13.0, "kind": "interrupted", "source": "harness"},
    ]


def test_a_second_log_appends_to_the_first(tmp_path: Path) -> None:
    for message in ("first", "second"):
        log = EventLog(tmp_path / "events.jsonl")
        log.write("note", source="harness", time_s=1.0, message=message)
        log.close()
    assert [line["message"] for line in lines_of(tmp_path / "events.jsonl")] == ["first", "second"]


@pytest.mark.parametrize(
    ("kind", "source", "fields", "problem"),
    [
        ("explosion", "harness", {}, "unknown event kind 'explosion'"),
        ("note", "moon", {"message": "x"}, "unknown event source 'moon'"),
        ("metrics_gap", "collector", {"from_s": 1.0}, "needs to_s, reason"),
        ("note", "harness", {"message": float("nan")}, "JSON"),
    ],
)
def test_what_no_reader_understands_is_refused(
    tmp_path: Path, kind: str, source: str, fields: dict[str, object], problem: str
) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    with pytest.raises(ValueError, match=problem):
        log.write(kind, source=source, time_s=1.0, **fields)
    log.close()
    assert (tmp_path / "events.jsonl").read_text(encoding="utf-8") == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "x"},
        {"detail": {"AWS_SECRET_ACCESS_KEY": "x"}},
        {"detail": [{"WebToken": "x"}]},
        {"Authorization": "x"},
    ],
)
def test_a_key_that_looks_like_a_secret_is_refused_without_showing_its_value(
    tmp_path: Path, fields: dict[str, object]
) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    with pytest.raises(UsageError, match="looks like a secret") as caught:
        log.write("note", source="harness", time_s=1.0, message="", **fields)
    log.close()
    assert "'x'" not in str(caught.value)
    assert (tmp_path / "events.jsonl").read_text(encoding="utf-8") == ""


def test_a_directory_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HeadroomError, match="Cannot write"):
        EventLog(tmp_path / "nowhere" / "events.jsonl")


WRITER = """
import sys
from pathlib import Path
from mwaa_headroom.harness.record.directory import EventLog

log = EventLog(Path(sys.argv[1]))
for n in range(300):
    log.write("note", source="generator", time_s=float(n), message=sys.argv[2] * 500)
"""


@pytest.mark.slow
def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), letter]) for letter in "abc"
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    messages = [str(line["message"]) for line in lines_of(path)]
    assert sorted(messages) == sorted([letter * 500 for letter in "abc"] * 300)


def test_the_folder_of_runs_is_tried_before_anything_is_started(tmp_path: Path) -> None:
    require_writable(tmp_path / "deep" / "runs")
    assert not list((tmp_path / "deep" / "runs").iterdir())

    (tmp_path / "file").write_text("")
    for base, told in (
        (tmp_path / "file", "it is a file; choose a directory"),
        (tmp_path / "file" / "runs", "a part of that path is a file"),
        (Path("/proc/runs"), "Cannot write '/proc/runs'"),
    ):
        with pytest.raises(UsageError, match=told) as caught:
            require_writable(base)
        assert caught.value.exit_code == ExitCode.USAGE


def test_a_run_directory_that_went_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its folder is not there"):
        write_manifest(tmp_path / "gone", {})


def test_events_are_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "events.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(UsageError, match="is a link to elsewhere"):
        EventLog(tmp_path / "events.jsonl")
