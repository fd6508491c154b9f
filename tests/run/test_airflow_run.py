"""Whole runs against real Airflow: the quickstart, a deployment's check, a killed webserver."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.compute as pc
import pytest

from mwaa_headroom.analysis.record import read_run

ROOT = Path(__file__).parents[2]
HEADROOM = str(Path(sys.executable).with_name("headroom"))

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(420)]


def test_the_quickstart_answers_with_a_scale_out_on_the_way() -> None:
    answer = subprocess.run(
        ["make", "quickstart"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        stdin=subprocess.DEVNULL,
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr
    latest = (ROOT / "runs" / "latest").resolve()
    report = json.loads((latest / "report.json").read_text())
    assert f"{latest.name}/report.html" in answer.stdout
    assert report["verdict"]["answered"] is True
    assert any(event["to_count"] > event["from_count"] for event in report["scaling"])
    assert 2 <= report["sizing"]["target"]["webservers"] <= 5
    assert f"{report['sizing']['target']['webservers']} webservers" in answer.stdout
    assert report["capacity"]["stopped_by_stage"] is not None
    requests = read_run(latest).requests
    of_stages = requests.filter(pc.greater_equal(requests["stage"], 0))  # not of recoveries
    assert sorted(of_stages["arrival"].to_pylist()) == list(range(of_stages.num_rows))
    assert report["recoveries"][-1]["after_stage"] == report["capacity"]["stopped_by_stage"]
    assert report["generator"]["ok"] is True
    processes = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in processes if "run-headroom-quickstart" in " ".join(line)]


def test_a_deployment_that_lacks_a_dag_is_named_and_exits_3(tmp_path: Path) -> None:
    answer = subprocess.run(
        [
            HEADROOM,
            "run",
            "scenarios/health_and_dag_validation.toml",
            "--runs",
            str(tmp_path),
            "--set",
            'expect.dags=["headroom_example", "no_such_dag"]',
            "--set",
            "stages=[{rate_per_s=5, duration_s=8}]",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        stdin=subprocess.DEVNULL,
    )

    assert answer.returncode == 3, answer.stdout + answer.stderr
    assert "✗ DAG no_such_dag" in answer.stdout
    for held in ("metadatabase", "scheduler", "triggerer", "dag_processor", "headroom_example"):
        assert f"✓ {held}" in answer.stdout or f"✓ DAG {held}" in answer.stdout


def test_a_webserver_killed_under_load_is_replaced(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            HEADROOM,
            "run",
            "scenarios/quickstart.toml",
            "--runs",
            str(tmp_path),
            "--json",
            "--set",
            "environment.name=headroom-kill",
            "--set",
            "question.ask=check",
            "--set",
            'slo=["rate(errors) < 20%"]',
            "--set",
            "stages=[{rate_per_s=8, duration_s=40}]",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    try:
        for _ in range(900):
            if list(tmp_path.glob("*/requests.arrows")) or process.poll() is not None:
                break
            time.sleep(0.1)
        time.sleep(5)
        os.kill(pid_of_a_webserver(process.pid), signal.SIGKILL)
        output, progress = process.communicate(timeout=200)
    finally:
        process.kill()

    assert process.returncode == 0, progress
    report = json.loads(output)
    events = [event["kind"] for event in read_run(tmp_path / "latest").events]
    assert "webserver_died" in events
    assert "webserver_restarted" in events
    assert any("died" in warning for warning in report["warnings"])


def pid_of_a_webserver(run_pid: int) -> int:
    """The first webserver of the environment that this run started, by its log."""
    for process in psutil.Process(run_pid).children(recursive=True):
        if Path(f"/proc/{process.pid}/fd/1").resolve().name == "webserver-1.log":
            return process.pid
    raise AssertionError("no webserver is running")
