"""Whole runs against a look-alike of AWS: what they create is gone again, or is told."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from canned_mwaa import ARN, NAME, CannedMwaa, handler_of, serving, stand_in_variables
from whole_runs import run, start, until, wait_for_load

from mwaa_headroom.analysis.record import read_run

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


def one_line(text: str) -> str:
    return " ".join(text.split())


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
    (directory,) = (tmp_path / "runs").glob("2*")
    phases = list(read_run(directory).manifest["phases_s"])
    assert phases.index("clean_up") < phases.index("late_metrics")


def test_a_run_that_may_not_delete_says_so_at_once_and_in_its_report(
    mwaa: CannedMwaa, aws_scenario: Path, tmp_path: Path
) -> None:
    mwaa.airflow.forbidden = {"DELETE"}
    short = ("--set", "stages=[{rate_per_s=10, duration_s=2}]")
    ended = run("run", str(aws_scenario), *short, cwd=tmp_path, variables=surroundings(mwaa))
    (directory,) = (tmp_path / "runs").glob("2*")
    for text in (ended.stderr, ended.stdout):
        assert "headroom clean " in one_line(text)
        assert f"runs/{directory.name}` removes them" in one_line(text)
        assert "Airflow answered 403" in one_line(text)
    assert ended.returncode == 0, ended.stderr


def write_keys(home: Path, key_id: str) -> None:
    """As programs do that renew temporary keys: the file is replaced in one step."""
    part = home / "part"
    part.write_text(
        "[default]\naws_access_key_id = OTHER\naws_secret_access_key = other\n[renewed]\n"
        f"aws_access_key_id = {key_id}\naws_secret_access_key = s\naws_session_token = t\n"
    )
    part.replace(home / "credentials")


def test_temporary_keys_that_another_program_renews_are_used_by_load_and_cleaning_up(
    mwaa: CannedMwaa, aws_scenario: Path, tmp_path: Path
) -> None:
    write_keys(tmp_path, "ASIA1")
    kept = {name: value for name, value in surroundings(mwaa).items() if "_KEY" not in name}
    files = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"), "AWS_PROFILE": "renewed"}
    process = start("run", str(aws_scenario), cwd=tmp_path, variables={**kept, **files})
    directory = wait_for_load(tmp_path / "runs")
    write_keys(tmp_path, "ASIA2")
    until(lambda: ("ASIA2", f"/restapi/{NAME}") in mwaa.seen, "calls with the new keys")
    time.sleep(0.5)  # calls in flight
    mwaa.expired = {"ASIA1"}
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 130, output
    assert set(read_run(directory).requests["outcome"].to_pylist()) == {"ok"}
    assert mwaa.airflow.runs == {"headroom_example": []}
