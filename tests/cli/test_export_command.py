"""`headroom export`: what it writes is what the record and its analysis hold."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from runs_by_hand import FROZEN, put_run

from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.harness.cli.main import app
from mwaa_headroom.harness.errors import RecordError, UsageError
from mwaa_headroom.harness.record.export import export_tables

HEADROOM = (sys.executable, "-c", "from mwaa_headroom.harness.cli.main import main; main()")
RUN = FROZEN / "quickstart"


def export(*arguments: object) -> Result:
    return CliRunner().invoke(
        app, ["export", *map(str, arguments)], standalone_mode=False, catch_exceptions=False
    )


def csv_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def json_rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def calls_of(run: Path) -> list[dict[str, Any]]:
    return list(read_run(run).requests.to_pylist())


def test_every_call_is_exported_as_it_was_recorded_in_each_format(tmp_path: Path) -> None:
    recorded = [{"run": "quickstart", **call} for call in calls_of(RUN)]
    assert len(recorded) > 200

    assert json_rows(export(RUN, "--table", "requests", "--format", "jsonl").stdout) == recorded
    export(RUN, "--table", "requests", "--output", tmp_path / "calls.parquet")
    assert pq.read_table(tmp_path / "calls.parquet").to_pylist() == recorded
    as_text = [
        {key: "" if value is None else str(value) for key, value in call.items()}
        for call in recorded
    ]
    assert csv_rows(export(RUN, "--table", "requests").stdout) == as_text


def test_stages_have_the_figures_of_the_analysis() -> None:
    stages = Run.read(RUN).stages
    rows = json_rows(export(RUN, "--table", "stages", "--format", "jsonl").stdout)
    assert len(rows) == len(stages)
    for row, stage in zip(rows, stages, strict=True):
        p50 = stage.latency_s["p50"]
        assert row["stage"] == stage.index
        assert (row["latency_p50_s"], row["latency_p50_low_s"], row["latency_p50_high_s"]) == (
            *(p50.value, p50.low, p50.high),
        )
        assert row["service_time_p95_s"] == stage.service_time_s["p95"].value
        assert row["error_fraction"] == stage.error_rate.value
        layers = {layer: each.value for layer, each in stage.error_rate_by_layer.items()}
        assert layers == {layer: row[f"error_fraction_{layer}"] for layer in layers}
        assert row["calls_ok"] == stage.outcomes["ok"]
        assert row["webserver_cpu_percent"] == stage.webserver_cpu_percent
        assert row["met_slo"] is stage.met_slo


def test_periods_are_those_of_the_analysis_one_run_below_the_other() -> None:
    runs = [FROZEN / "scale_out", RUN]
    rows = json_rows(export(*runs, "--table", "periods", "--format", "jsonl").stdout)
    points = [
        (run.name, point.start_s, point.cpu_percent, point.latency_p95_s)
        for run in runs
        for point in Run.read(run).points
    ]
    keys = ("run", "start_s", "cpu_percent", "latency_p95_s")
    assert [tuple(row[key] for key in keys) for row in rows] == points


def test_all_tables_go_into_a_folder_and_one_into_a_file_named_or_not(tmp_path: Path) -> None:
    export(RUN, "--output", tmp_path / "all", "--format", "jsonl")
    export(RUN, "--output", tmp_path / "all", "--table", "stages")
    told = export(RUN, "--output", tmp_path / "new/one.jsonl", "--table", "periods").stdout
    assert told == f"{tmp_path / 'new/one.jsonl'}\n"
    names = ["periods.jsonl", "requests.jsonl", "stages.csv", "stages.jsonl"]
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == names
    one = (tmp_path / "new/one.jsonl").read_text(encoding="utf-8")
    assert one == (tmp_path / "all" / "periods.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("half_a_table", [False, True])
def test_of_a_record_cut_by_a_kill_all_that_is_whole_is_exported(
    tmp_path: Path, half_a_table: bool
) -> None:
    cut = put_run(tmp_path, "cut", of="quickstart", whole=True, status="running")
    table = pq.read_table(cut / "requests.parquet")
    whole = (cut / "requests.parquet").read_bytes()
    (cut / "requests.parquet").unlink()
    with pa.ipc.new_stream(cut / "requests.arrows", table.schema) as stream:
        stream.write_table(table, max_chunksize=100)
    content = (cut / "requests.arrows").read_bytes()
    (cut / "requests.arrows").write_bytes(content[: len(content) * 2 // 3])
    if half_a_table:
        (cut / "requests.parquet").write_bytes(whole[: len(whole) // 2])

    answer = export(cut, "--table", "requests", "--format", "jsonl")

    exported = json_rows(answer.stdout)
    assert exported == [{"run": "cut", **call} for call in calls_of(cut)]
    assert 0 < len(exported) < table.num_rows
    assert len(exported) % 100 == 0
    assert answer.stderr.startswith("cut: ")


def test_a_text_is_no_formula_and_no_line_to_a_spreadsheet_but_itself_in_json(
    tmp_path: Path,
) -> None:
    run = put_run(tmp_path, "evil", of="quickstart", whole=True)
    events = (run / "events.jsonl").read_text(encoding="utf-8")
    name = '=HYPERLINK("x")\n'
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    old = manifest["scenario"]["stages"][0]["name"]
    manifest["scenario"]["stages"][0]["name"] = name
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (run / "events.jsonl").write_text(
        events.replace(json.dumps(old), json.dumps(name)), encoding="utf-8"
    )

    (cell, *_) = [row["name"] for row in csv_rows(export(run, "--table", "stages").stdout)]
    assert cell == '\'=HYPERLINK("x")\\n'
    rows = json_rows(export(run, "--table", "stages", "--format", "jsonl").stdout)
    assert rows[0]["name"] == '=HYPERLINK("x")\n'


def test_otava_gets_a_row_for_each_run_in_order_without_any_gap(tmp_path: Path) -> None:
    runs = sorted((FROZEN / "compared").iterdir())[:3]
    for index, run in enumerate(runs):
        copy = tmp_path / "runs" / f"n{index}"
        shutil.copytree(run, copy)
        manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
        manifest["tags"] = {"branch": "main", "build": str(index)} if index else {}
        (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    put_run(tmp_path / "runs", "stopped", of="interrupted", whole=True)

    answer = export(tmp_path / "runs", "--format", "otava")

    rows = csv_rows(answer.stdout)
    assert [row["run"] for row in rows] == ["compared-01", "compared-02", "compared-03"]
    assert [(row["branch"], row["tag_build"]) for row in rows] == [
        *(("", ""), ("main", "1"), ("main", "2")),
    ]
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert {row["airflow_version"] for row in rows} == {"3.2.1"}
    p95_s = [Run.read(run).stages[0].latency_s["p95"].value for run in runs]
    assert [float(row["p95 latency, stage 1, 5/s"]) for row in rows] == p95_s
    metrics = list(rows[0])[list(rows[0]).index("tag_build") + 1 :]
    assert len(metrics) > 20
    assert all(float(row[metric]) >= 0 for row in rows for metric in metrics)
    assert "stopped" in answer.stderr


def test_a_metric_that_one_run_lacks_is_left_out_of_otava() -> None:
    answer = export(FROZEN / "compared" / "01", FROZEN / "quickstart", "--format", "otava")
    (head, *rows) = csv.reader(io.StringIO(answer.stdout))
    assert "goodput, stage 1, 5/s" not in head
    assert "errors where the SLO held" in head
    assert not any("latency" in column for column in head)
    assert "p95 latency, stage 1, 5/s" in answer.stderr
    assert all(cell for row in rows for cell in row)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    damaged = put_run(tmp_path / "runs", "second", of="quickstart", whole=True)
    (damaged / "requests.parquet").write_bytes(b"PAR1")
    file = tmp_path / "calls.csv"
    file.write_text("old", encoding="utf-8")
    with pytest.raises(RecordError):
        export(RUN, damaged, "--table", "requests", "--output", file)
    assert file.read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls.csv", "runs"]


@pytest.mark.parametrize("place", ["file/calls.csv", "fifo"])
def test_what_cannot_be_written_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match=place):
        export(RUN, "--table", "stages", "--output", tmp_path / place)


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--table stages --table periods",
        "--format parquet --table stages",
        "--format otava --table stages",
    ],
)
def test_what_cannot_be_asked_is_refused(options: str) -> None:
    with pytest.raises(click.UsageError):
        export(RUN, *options.split())


def test_nothing_more_is_read_for_a_reader_that_is_gone() -> None:
    answers, file = iter([True, False]), io.BytesIO()
    run = FROZEN / "scale_out"
    export_tables([run, run], {"requests": file}, "csv", lambda: next(answers))
    assert len(file.getvalue().splitlines()) == 1 + 20_000


@pytest.mark.slow
def test_a_reader_that_goes_ends_it_quietly() -> None:
    with subprocess.Popen(
        [*HEADROOM, "export", FROZEN / "scale_out", "--table", "requests"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"run,arrival,")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0
