"""The first day on AWS, from the first command to the last report, against an imitation of AWS."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from airflow_imitation import Airflow
from aws_imitation import KEY, Imitation, serving
from whole_runs import answer_here, start, until, wait_for_load

from mwaa_headroom.analysis.record import RunRecord, read_run

DAG = "etl_daily"
WITHIN_S = 5.0


def written(aws: Imitation, directory: Path) -> Path:
    """A scenario as a careful user has it."""
    path = directory / "first.toml"
    path.write_text(f"""
slo = ["rate(errors) < 5%"]
[question]
ask = "check"
[environment]
kind = "aws"
name = "{aws.name}"
region = "{aws.region}"
metrics_settle_s = 0
[traffic.mix]
trigger_dag_run = {{ weight = 1, dag_id = "{DAG}" }}
list_dags = 1
[[stages]]
rate_per_s = 9
duration_s = 60
[recovery]
longest_s = 0
[limits]
allow_environment = "{aws.arn}"
""")
    return path


def surroundings(aws: Imitation) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, **aws.variables()}


def one_line(text: str) -> str:
    return " ".join(text.split())


# What happens in the middle of the run.


def killed(aws: Imitation, process: "subprocess.Popen[str]") -> None:
    process.kill()


def others_suffer(aws: Imitation, process: "subprocess.Popen[str]") -> None:
    """Somebody updates the environment, and its scheduler does not come back."""
    aws.environment["Status"] = "UPDATING"
    aws.airflow.unhealthy.add("scheduler")


def throttled_and_expired(aws: Imitation, process: "subprocess.Popen[str]") -> None:
    aws.throttle_per_s = 3
    until(lambda: ("refused", "ThrottlingException") in aws.seen, "a throttled call")
    aws.throttle_per_s = None
    aws.expired.add(KEY)


@dataclass(frozen=True)
class Rehearsal:
    region: str
    partition: str
    airflow: str
    happens: Callable[[Imitation, "subprocess.Popen[str]"], None]
    code: int
    status: str
    said: str
    is_left: bool


REHEARSALS = (
    Rehearsal("us-east-1", "aws", "3.3.1", killed, -9, "interrupted", "", True),
    Rehearsal("cn-north-1", "aws-cn", "2.10.3", others_suffer, 5, "aborted", "scheduler", False),
    Rehearsal(
        *("us-gov-west-1", "aws-us-gov", "3.0.6", throttled_and_expired, 5, "aborted"),
        *("ExpiredTokenException", True),
    ),
)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("one", REHEARSALS, ids=lambda one: one.partition)
def test_a_first_day(one: Rehearsal, tmp_path: Path) -> None:
    with serving(Imitation(one.region, "etl", Airflow(one.airflow))) as aws:
        assert aws.arn.startswith(f"arn:{one.partition}:airflow:{one.region}:")
        variables = surroundings(aws)
        scenario = written(aws, tmp_path)
        process = start("run", str(scenario), cwd=tmp_path, variables=variables)
        directory = wait_for_load(tmp_path / "runs").resolve()
        began_s = time.time()
        one.happens(aws, process)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == one.code, output
        assert one.said in output
        until(lambda: "generator_ended" in events_text(directory) or ended(directory), "its end")

        told = answer_here("report", str(directory), variables=variables)
        record = read_run(directory)
        assert record.manifest["status"] in (one.status, "running")
        if one.status == "aborted":
            (aborted,) = (e for e in record.events if e["kind"] == "aborted")
            assert aborted["time_s"] - began_s < WITHIN_S + 1.5  # and until it was throttled
        is_told = f"headroom clean {directory}" in one_line(told.stdout)
        assert is_told is one.is_left, told.stdout
        assert bool(ours(aws)) is one.is_left

        aws.expired.clear()
        cleaned = answer_here("clean", str(directory), "--yes", "--json", variables=variables)
        assert cleaned.exception is None, cleaned.stderr
        answer: dict[str, Any] = json.loads(cleaned.stdout)
        assert (answer["environment"], answer["left"]) == (aws.arn, {})
        assert ours(aws) == []
        again = answer_here("report", str(directory), variables=variables)
        assert "headroom clean" not in one_line(again.stdout)


def events_text(directory: Path) -> str:
    return (directory / "events.jsonl").read_text()


def ended(directory: Path) -> bool:
    return "interrupted" in events_text(directory) or (directory / "report.html").exists()


def ours(aws: Imitation) -> list[str]:
    return [run for run in aws.airflow.runs.get(DAG, {}) if run.startswith("headroom_")]


def rows(record: RunRecord) -> int:
    return int(record.requests.num_rows)


# What keeps a run from beginning: each says what to do, and nothing was sent.


def private(aws: Imitation) -> None:
    aws.private = True


def wrong_policy(aws: Imitation) -> None:
    statement = {"Effect": "Allow", "Action": "airflow:*", "Resource": aws.arn}
    aws.policy = {"Version": "2012-10-17", "Statement": [statement]}


def expired(aws: Imitation) -> None:
    aws.expired.add(KEY)


def plain_text(aws: Imitation) -> None:
    aws.too_old = True


def updating(aws: Imitation) -> None:
    aws.environment["Status"] = "UPDATING"


def production(aws: Imitation) -> None:
    aws.environment["Tags"] = {"stage": "Production"}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (private, "run headroom from inside the environment's VPC"),
        (wrong_policy, "a role/ ARN, not an environment/ one"),
        (expired, "the AWS credentials have expired"),
        (plain_text, "the environment is too old for InvokeRestApi; update it once"),
        (updating, "is UPDATING; wait until it is AVAILABLE"),
        (production, 'confirm_production = "etl"'),
    ],
)
def test_what_is_wrong_from_the_beginning_is_told_before_anything_is_sent(
    fault: Callable[[Imitation], None], words: str, tmp_path: Path
) -> None:
    with serving(Imitation("cn-north-1", "etl")) as aws:
        scenario = written(aws, tmp_path)
        fault(aws)
        runs = str(tmp_path / "runs")
        arguments = ("run", str(scenario), "--runs", runs, "--no-progress")
        ended = answer_here(*arguments, variables=surroundings(aws))
        assert words in one_line(str(ended.exception))
        assert getattr(ended.exception, "exit_code", None) == 2
        assert all(method == "GET" for method, _ in aws.airflow.calls)
