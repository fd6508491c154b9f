"""Whole runs in which something ends that should not: a process, the metrics, the environment."""

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from whole_runs import answer_here, kill_one, pids_of, start, until, wait_for_load

from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.run import Run

LONG = ("--set", "stages=[{rate_per_s=20, duration_s=60}]")  # nobody waits for its end

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_a_killed_run_is_analysed_and_stands_in_the_way_of_none(
    scenario: Path, tmp_path: Path, variables: dict[str, str]
) -> None:
    """And the next has trouble of its own, which ends no load.

    Nobody reads what it says, as with `headroom run ... 2>&1 | head -1`, and CloudWatch is gone.
    """
    process = start("run", str(scenario), *LONG, cwd=tmp_path, variables=variables)
    killed = wait_for_load(tmp_path / "runs")

    process.kill()
    process.communicate()
    until(lambda: pids_of(tmp_path / "cache") == [], "the end of its processes")
    answer = answer_here("report", str(killed), "--json", variables=variables)

    report = json.loads(answer.stdout)
    assert answer.return_value == 5, answer.stderr
    assert report["complete"] is False
    assert read_run(killed).requests.num_rows > 10

    second = start("run", str(scenario), cwd=tmp_path, variables=variables)
    assert second.stdout is not None
    second.stdout.readline()
    second.stdout.close()
    directory = wait_for_load(tmp_path / "runs", besides=killed)
    kill_one(tmp_path / "cache", "mwaa_headroom.harness.local.metrics_server")

    assert second.wait(120) == 0
    record = read_run(directory)
    assert record.requests.num_rows > 50
    assert any(event["kind"] == "metrics_gap" for event in record.events)
    assert (directory / "report.html").exists()


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
