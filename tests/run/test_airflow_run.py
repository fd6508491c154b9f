"""Whole runs against real Airflow: the quickstart, and a deployment's check with trouble."""

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
from whole_runs import until

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

    latest = (ROOT / "runs" / "latest").resolve()
    report = json.loads((latest / "report.json").read_text())
    assert f"{latest.name}/report.html" in answer.stdout
    assert any(event["to_count"] > event["from_count"] for event in report["scaling"])
    requests = read_run(latest).requests
    of_stages = requests.filter(pc.greater_equal(requests["stage"], 0))  # not of recoveries
    assert sorted(of_stages["arrival"].to_pylist()) == list(range(of_stages.num_rows))
    if "run.host_disturbed" in {warning["code"] for warning in report["warnings"]}:
        # Whoever else uses the machine makes the answer undecided, or leaves the quiet stages.
        assert answer.returncode == 0 or report["verdict"]["exit_code"] == 5, answer.stdout
    else:
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert report["verdict"]["answered"] is True
        assert 1 <= report["sizing"]["target"]["webservers"] <= 5
        assert f"need {report['sizing']['target']['webservers']}" in answer.stdout
        assert report["capacity"]["stopped_by_stage"] is not None
        failed = [stage["index"] for stage in report["stages"] if stage["trial"] == "fail"]
        recovered = [recovery["after_stage"] for recovery in report["recoveries"]]
        assert report["capacity"]["stopped_by_stage"] in recovered
        assert recovered[-1] == failed[-1]
        assert report["generator"]["ok"] is True
    processes = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in processes if "run-headroom-quickstart" in " ".join(line)]


def test_a_missing_dag_is_named_and_a_webserver_killed_under_load_replaced(tmp_path: Path) -> None:
    """All in one run, because starting Airflow is what takes the time; that of an older Airflow."""
    with subprocess.Popen(
        [
            HEADROOM,
            *("run", "scenarios/health_and_dag_validation.toml", "--runs", str(tmp_path)),
            *("--set", 'environment.airflow_version="2.11.2"'),
            *("--set", "environment.min_webservers=2", "--set", "environment.max_webservers=2"),
            *("--set", 'expect.dags=["headroom_example", "no_such_dag"]'),
            *("--set", 'slo=["rate(errors) < 20%"]'),
            *("--set", "stages=[{rate_per_s=8, duration_s=40}]"),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    ) as process:
        try:
            until(lambda: ended_or_loading(process, tmp_path), "load", within_s=240)
            time.sleep(3)
            os.kill(pid_of_a_webserver(process.pid), signal.SIGKILL)
            output, progress = process.communicate(timeout=200)
        finally:
            process.kill()

    assert process.returncode == 3, output + progress
    assert "✗ DAG no_such_dag" in output
    for held in ("metadatabase", "scheduler", "triggerer", "dag_processor", "headroom_example"):
        assert f"✓ {held}" in output or f"✓ DAG {held}" in output
    report = json.loads((tmp_path / "latest" / "report.json").read_text())
    reasons = {reason["code"] for reason in report["verdict"]["reasons"]}
    # A host with other tests on it says so, and then its SLO is not judged.
    assert reasons - {"verdict.stage_spoilt"} == {"verdict.expectation_missed"}
    assert all(line["met"] for stage in report["stages"] for line in stage["slo"])
    events = [event["kind"] for event in read_run(tmp_path / "latest").events]
    assert "webserver_died" in events
    assert "webserver_restarted" in events
    assert "run.webserver_died" in {warning["code"] for warning in report["warnings"]}


def ended_or_loading(process: "subprocess.Popen[str]", runs: Path) -> bool:
    return process.poll() is not None or any(runs.glob("*/requests.arrows"))


def pid_of_a_webserver(run_pid: int) -> int:
    """The first webserver of the environment that this run started, by its log."""
    for process in psutil.Process(run_pid).children(recursive=True):
        if Path(f"/proc/{process.pid}/fd/1").resolve().name == "webserver-1.log":
            return process.pid
    raise AssertionError("no webserver is running")
