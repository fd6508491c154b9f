"""Whole runs against a look-alike of AWS: what they create is gone again, or is told."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from canned_mwaa import ARN, NAME, CannedMwaa, handler_of, serving, stand_in_variables
from whole_runs import start, wait_for_load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SCENARIO = f"""
slo = ["rate(errors) < 1%"]
[question]
ask = "check"
[environment]
kind = "aws"
name = "{NAME}"
region = "us-east-1"
metrics_settle_s = 0
[traffic.mix]
trigger_dag_run = 1
[[stages]]
rate_per_s = 10
duration_s = 60
[recovery]
longest_s = 0
[limits]
allow_environment = "{ARN}"
"""


@pytest.fixture
def mwaa() -> Iterator[CannedMwaa]:
    mwaa = CannedMwaa()
    mwaa.airflow.dags["headroom_example"] = {}
    with serving(handler_of(mwaa)) as url:
        mwaa.url = url
        yield mwaa


@pytest.fixture
def aws_scenario(tmp_path: Path) -> Path:
    path = tmp_path / "aws.toml"
    path.write_text(SCENARIO)
    return path


def surroundings(mwaa: CannedMwaa) -> dict[str, str]:
    return {**os.environ, **stand_in_variables(mwaa.url)}


def test_a_run_whose_terminal_closes_deletes_what_it_created(
    mwaa: CannedMwaa, aws_scenario: Path, tmp_path: Path
) -> None:
    process = start("run", str(aws_scenario), cwd=tmp_path, variables=surroundings(mwaa))
    wait_for_load(tmp_path / "runs")
    for _ in range(3):  # the kernel, the shell and sshd
        process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert ("POST", "/dags/headroom_example/dagRuns") in mwaa.airflow.calls
    assert mwaa.airflow.runs == {"headroom_example": []}
