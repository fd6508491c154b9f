"""The first day on AWS, from the first command to the last report, against an imitation of AWS."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow_imitation import Airflow
from aws_imitation import KEY, Imitation, Minute, serving
from whole_runs import answer_here, start, until, wait_for_load

from mwaa_headroom.analysis.leftovers import left_behind
from mwaa_headroom.analysis.record import read_run

DAG = "etl_daily"
WITHIN_S = 5.0
CAP_PER_S = 10  # of what init writes


TRIGGERS = f'traffic.mix.trigger_dag_run={{weight=5, dag_id="{DAG}"}}'
SHORT = ("stages=[{rate_per_s=8, duration_s=60}]", "environment.metrics_settle_s=0")


def sets(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


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
    aws.throttle_per_s = 0
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
    metrics_missing: frozenset[str]
    clusters: frozenset[str]  # of the metrics that are collected afterwards


BOTH = frozenset({"", "WebServer", "AdditionalWebserver"})
REHEARSALS = (
    Rehearsal(
        *("us-east-1", "aws", "3.3.1", killed, -9, "running", "", True),
        *(frozenset(), BOTH),
    ),
    Rehearsal(
        *("cn-north-1", "aws-cn", "2.10.3", others_suffer, 5, "aborted", "scheduler", False),
        *(frozenset({"ActiveConnectionCount"}), BOTH),  # the database's has none
    ),
    Rehearsal(
        *("us-gov-west-1", "aws-us-gov", "3.0.6", throttled_and_expired, 5, "aborted"),
        *("ExpiredTokenException", True),
        frozenset({"ActiveConnectionCount", "CPUUtilization", "MemoryUtilization"}),
        frozenset({""}),
    ),
)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("one", REHEARSALS, ids=lambda one: one.partition)
def test_a_first_day(one: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Imitation(one.region, "etl", Airflow(one.airflow))) as aws:
        assert aws.arn.startswith(f"arn:{one.partition}:airflow:{one.region}:")
        aws.metrics_missing = set(one.metrics_missing)
        aws.minute = lambda _: Minute(webservers=3)
        aws.airflow.trigger(DAG, "manual__1", "success")
        variables = surroundings(aws)
        scenario = str(tmp_path / "first.toml")

        def ask(*words: str) -> Any:
            answer = answer_here(*words, variables=variables)
            assert answer.exception is None, (words, answer.exception, answer.output)
            return answer

        ask("init", "--environment", aws.name, "--output", scenario)
        aws.policy = json.loads(ask("policy", scenario, *sets(TRIGGERS)).stdout)
        examined = ask("doctor", scenario, *sets(TRIGGERS), "--json")
        assert examined.return_value == 0, examined.stdout

        run = ("run", scenario, *sets(TRIGGERS, *SHORT))
        process = start(*run, cwd=tmp_path, variables=variables)
        directory = wait_for_load(tmp_path / "runs").resolve()
        began_s = time.time()
        one.happens(aws, process)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == one.code, output
        assert one.said in output
        until(lambda: "interrupted" in events_text(directory) or process.returncode > 0, "its end")

        told = output if one.code > 0 else ask("report", str(directory)).stdout
        record = read_run(directory)
        assert record.manifest["status"] == one.status
        for event in record.events:
            if event["kind"] == "aborted":
                assert event["time_s"] - began_s < WITHIN_S + 1.5  # with the throttled calls
        is_told = f"runs/{directory.name}` removes them" in one_line(told)
        assert is_told is one.is_left, told
        assert bool(ours(aws)) is one.is_left

        aws.expired.clear()
        aws.environment["Status"] = "AVAILABLE"
        cleaned = ask("clean", str(directory), "--yes", "--json")
        answer: dict[str, Any] = json.loads(cleaned.stdout)
        assert (answer["environment"], answer["left"]) == (aws.arn, {})
        assert [*aws.airflow.runs[DAG]] == ["manual__1"]

        assert max(aws.invoked.values()) <= CAP_PER_S + 2  # one at each end of a second

        later = SimpleNamespace(time=lambda: time.time() + 120)
        monkeypatch.setattr("mwaa_headroom.harness.cli.run.time", later)
        aws.metrics_late_s = -180.0
        ask("collect", str(directory))
        clusters = set(read_run(directory).metrics.column("cluster").to_pylist())
        assert clusters == one.clusters
        assert left_behind(read_run(directory)) is None


def events_text(directory: Path) -> str:
    return (directory / "events.jsonl").read_text()


def ours(aws: Imitation) -> list[str]:
    return [run for run in aws.airflow.runs.get(DAG, {}) if run.startswith("headroom_")]


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
        scenario, runs = str(tmp_path / "first.toml"), str(tmp_path / "runs")
        variables = surroundings(aws)
        answer_here("init", "--environment", "etl", "--output", scenario, variables=variables)
        fault(aws)
        arguments = ("run", scenario, *sets(TRIGGERS), "--runs", runs, "--no-progress")
        ended = answer_here(*arguments, variables=variables)
        assert words in one_line(str(ended.exception))
        assert getattr(ended.exception, "exit_code", None) == 2
        assert all(method == "GET" for method, _ in aws.airflow.calls)
