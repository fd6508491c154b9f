"""Whole runs, from the command to the report, against simulated webservers over real HTTP."""

import json
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from whole_runs import answer_here, run, start, wait_for_load

from mwaa_headroom.analysis.record import read_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_a_check_that_holds(scenario: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    answer = run("run", str(scenario), "--json", cwd=tmp_path, variables=variables)

    assert answer.returncode == 0, answer.stderr
    directory = tmp_path / "runs" / "latest"
    manifest = json.loads((directory / "manifest.json").read_text())
    requests = pq.read_table(directory / "requests.parquet")
    report = json.loads(answer.stdout)
    assert manifest["status"] == "finished"
    assert manifest["rows"]["requests"] == requests.num_rows
    assert sorted(requests["arrival"].to_pylist()) == list(range(requests.num_rows))
    assert 60 < requests.num_rows < 140  # 100 expected, Poisson
    assert set(requests["outcome"].to_pylist()) == {"ok"}
    assert manifest["rows"]["metrics"] > 0
    assert "host_load" in {event["kind"] for event in read_run(directory).events}
    assert manifest["environment"]["before"]["MinWebservers"] == 2
    assert report["schema_version"] == 1
    assert (directory / "junit.xml").read_text().count("<testcase") >= 3
    assert not (directory / "requests.arrows").exists()

    # The report is a function of the record: made again from a copy elsewhere, it says the same.
    copy = tmp_path / "copy"
    (directory.resolve()).rename(copy)
    again = answer_here("report", str(copy), "--json", variables=variables)
    assert again.return_value == 0
    repeated = json.loads(again.stdout)
    assert repeated["verdict"] == report["verdict"]
    assert repeated["stages"] == report["stages"]


def test_a_check_that_does_not_hold_exits_3(
    scenario: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    """In virtual time: how the load was sent makes no difference to it."""
    answer = answer_here(
        *("run", str(scenario), "--virtual-time", "--runs", str(tmp_path / "runs")),
        *("--set", 'slo=["p95(latency) < 5ms"]'),
        variables=variables,
    )

    assert answer.return_value == 3, answer.stderr
    assert "✗" in answer.stdout
    assert "p95(latency) < 5ms" in answer.stdout


def test_ctrl_c_keeps_the_record_and_reports(
    scenario: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    process = start(
        "run",
        str(scenario),
        "--set",
        "stages=[{rate_per_s=10, duration_s=100}]",
        cwd=tmp_path,
        variables=variables,
    )
    directory = wait_for_load(tmp_path / "runs")
    time.sleep(1)

    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=90)

    assert process.returncode == 130, output
    assert json.loads((directory / "manifest.json").read_text())["status"] == "interrupted"
    assert (directory / "report.html").exists()
    assert read_run(directory).requests.num_rows > 10
