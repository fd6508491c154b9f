"""Whole runs in which something ends that should not: a process, the metrics, the environment."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from whole_runs import kill_one, pids_of, run, start, until, wait_for_load

from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.run import Run

LONG = ("--set", "stages=[{rate_per_s=20, duration_s=60}]")  # nobody waits for its end

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_a_killed_run_is_analysed_and_marked_incomplete(
    scenario: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    process = start("run", str(scenario), *LONG, cwd=tmp_path, variables=variables)
    directory = wait_for_load(tmp_path / "runs")

    process.kill()
    process.communicate()
    until(lambda: pids_of(tmp_path / "cache") == [], "the end of its processes")
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

    kill_one(tmp_path / "cache", "mwaa_headroom.harness.local.metrics_server")
    output, _ = process.communicate(timeout=120)

    events = read_run(directory).events
    assert process.returncode == 0, output
    assert any(event["kind"] == "metrics_gap" for event in events)


def test_an_environment_that_dies_is_not_blamed_on_the_network(
    scenario: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    process = start("run", str(scenario), *LONG, cwd=tmp_path, variables=variables)
    directory = wait_for_load(tmp_path / "runs")

    kill_one(tmp_path / "cache", "mwaa_headroom.harness.local.daemon")
    output, _ = process.communicate(timeout=120)

    assert process.returncode == 5, output
    assert "The local environment ended during the load; its logs in" in output
    record = read_run(directory)
    assert record.complete
    assert "environment_ended" in {event["kind"] for event in record.events}
    assert "run.environment_ended" in {found.code for found in Run(record).analysis.warnings}
    until(lambda: pids_of(tmp_path / "cache") == [], "the end of its processes")
    assert json.loads((directory / "manifest.json").read_text())["status"] == "failed"


def test_ctrl_c_while_late_metrics_are_read_still_reports(
    scenario: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    process = start(
        "run",
        str(scenario),
        *("--set", "stages=[{rate_per_s=10, duration_s=2}]"),
        *("--set", "environment.metrics.period_s=5"),  # there is time to interrupt
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


def test_load_processes_that_stood_still_make_up_for_nothing(
    scenario: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    """Random at their cap: in no second more than that, and one each; what was due stays unsent."""
    process = start(
        *("run", str(scenario), "--processes", "2", "--set", "traffic.arrivals=poisson"),
        *("--set", "stages=[{rate_per_s=20, duration_s=9}]", "--set", "limits.max_rate_per_s=20"),
        cwd=tmp_path,
        variables=variables,
    )
    directory = wait_for_load(tmp_path / "runs")
    processes = psutil.Process(process.pid).children(recursive=True)
    workers = [one.pid for one in processes if "--worker" in one.cmdline()]
    assert len(workers) == 2
    for what in (signal.SIGSTOP, signal.SIGCONT):
        for worker in workers:
            os.kill(worker, what)
        time.sleep(3.0)
    output, _ = process.communicate(timeout=120)

    assert process.returncode == 5, output
    rows = read_run(directory).requests.to_pylist()
    assert 150 < len(rows) < 190
    late = [row for row in rows if row["error_code"] == "StartedTooLate"]
    assert 25 <= len(late) <= 55
    began_s = sorted(row["intended_start_s"] + row["lag_s"] for row in rows if row["attempts"])
    assert all(after - first >= 0.99 for first, after in zip(began_s, began_s[22:], strict=False))


def test_nobody_reading_what_it_says_ends_no_load(
    scenario: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    """As with `headroom run ... 2>&1 | head -1`."""
    process = start("run", str(scenario), cwd=tmp_path, variables=variables)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()

    assert process.wait(120) == 0
    directory = tmp_path / "runs" / "latest"
    assert read_run(directory).requests.num_rows > 50
    assert (directory / "report.html").exists()
