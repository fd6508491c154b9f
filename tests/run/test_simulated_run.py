"""Whole runs, from the command to the report, against simulated webservers over real HTTP."""

import json
import os
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from whole_runs import kill_one, run, start, wait_for_load

from analysis.records.reader import read_run

SCENARIO = """
slo = ["p95(latency) < 500ms", "rate(errors) < 1%"]
[question]
ask = "check"
[environment]
kind = "simulated"
name = "{name}"
min_webservers = 2
max_webservers = 3
[traffic]
seed = 3
[traffic.mix]
health = 1
list_dags = 1
get_dag_run = 1
trigger_dag_run = 1
[[stages]]
name = "steady"
rate_per_s = 10
duration_s = {duration_s}
[recovery]
longest_s = 0
[limits]
max_rate_per_s = 400
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "short.toml"
    path.write_text(SCENARIO.format(name=f"test-{os.getpid()}", duration_s=12))
    return path


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}


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
    assert 80 < requests.num_rows < 170  # 120 expected, Poisson
    assert set(requests["outcome"].to_pylist()) == {"ok"}
    assert manifest["rows"]["metrics"] > 0
    assert manifest["environment"]["before"]["MinWebservers"] == 2
    assert report["schema_version"] == 1
    assert (directory / "junit.xml").read_text().count("<testcase") >= 3
    assert not (directory / "requests.arrows").exists()

    # The report is a function of the record: made again from a copy elsewhere, it says the same.
    copy = tmp_path / "copy"
    (directory.resolve()).rename(copy)
    again = run("report", str(copy), "--json", cwd=tmp_path, variables=variables)
    assert again.returncode == 0
    repeated = json.loads(again.stdout)
    assert repeated["verdict"] == report["verdict"]
    assert repeated["stages"] == report["stages"]


def test_a_check_that_does_not_hold_exits_3(
    scenario: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    answer = run(
        "run",
        str(scenario),
        "--set",
        'slo=["p95(latency) < 5ms"]',
        cwd=tmp_path,
        variables=variables,
    )

    assert answer.returncode == 3, answer.stderr
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
    time.sleep(3)

    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=90)

    assert process.returncode == 130, output
    assert json.loads((directory / "manifest.json").read_text())["status"] == "interrupted"
    assert (directory / "report.html").exists()
    assert read_run(directory).requests.num_rows > 10


def test_a_killed_run_is_analysed_and_marked_incomplete(
    scenario: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    process = start("run", str(scenario), cwd=tmp_path, variables=variables)
    directory = wait_for_load(tmp_path / "runs")
    time.sleep(3)

    process.kill()
    process.communicate()
    time.sleep(4)  # the generator notices that its parent is gone, and ends too
    answer = run("report", str(directory), "--json", cwd=tmp_path, variables=variables)

    report = json.loads(answer.stdout)
    assert answer.returncode == 5, answer.stderr
    assert report["complete"] is False
    assert read_run(directory).requests.num_rows > 10

    # Nothing is in the way of a second run.
    second = run("run", str(scenario), "--json", cwd=tmp_path, variables=variables)
    assert second.returncode == 0, second.stderr


def test_cloudwatch_refusing_costs_the_metrics_but_not_the_run(
    scenario: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    process = start("run", str(scenario), "--json", cwd=tmp_path, variables=variables)
    directory = wait_for_load(tmp_path / "runs")

    kill_one(tmp_path / "cache", "harness.local.metrics_server")
    output, _ = process.communicate(timeout=120)

    events = read_run(directory).events
    assert process.returncode == 0, output
    assert any(event["kind"] == "metrics_gap" for event in events)


def test_an_environment_that_dies_is_not_blamed_on_the_network(
    scenario: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    process = start("run", str(scenario), cwd=tmp_path, variables=variables)
    directory = wait_for_load(tmp_path / "runs")

    kill_one(tmp_path / "cache", "harness.local.daemon")
    output, _ = process.communicate(timeout=120)

    assert process.returncode == 5, output
    assert "The local environment ended during the load; its logs in" in output
    assert json.loads((directory / "manifest.json").read_text())["status"] == "failed"


def test_ctrl_c_while_late_metrics_are_read_still_reports(
    scenario: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    process = start(
        "run",
        str(scenario),
        "--set",
        "stages=[{rate_per_s=10, duration_s=3}]",
        cwd=tmp_path,
        variables=variables,
    )
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            if "Reading the last metrics" in line:
                break
        process.send_signal(signal.SIGINT)
        output = lines.read()

    assert process.wait(60) == 130, output
    assert "Report:" in output
