"""`headroom doctor` against an imitation of AWS: each fault is found, none hides another."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow_imitation import Airflow
from aws_imitation import KEY, Imitation, serving
from botocore.credentials import RefreshableCredentials
from click.testing import CliRunner
from json_outputs import checked

from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.harness.aws.cleanup import BULK_RUN_S
from mwaa_headroom.harness.aws.credentials import asks_for_code
from mwaa_headroom.harness.aws.doctor import Checked, keys_last
from mwaa_headroom.harness.aws.policy import INVOKE, LOG_IN, EnvironmentArn, needs_of, policy_of
from mwaa_headroom.harness.cli.main import app
from mwaa_headroom.harness.run.doctor import examine
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario

NAME = "nightly"
READS_OF_AWS = {
    ("mwaa", "GetEnvironment"),
    ("mwaa", "InvokeRestApi"),
    ("sts", "GetCallerIdentity"),
    ("iam", "SimulatePrincipalPolicy"),
    ("cloudwatch", "ListMetrics"),
    ("cloudwatch", "GetMetricData"),
    ("refused", "InvalidAction"),  # GetRole, of which there is no imitation
}


@pytest.fixture(scope="module")
def served() -> Iterator[Imitation]:
    with serving(Imitation(region="eu-west-1", name=NAME)) as aws:
        yield aws


@pytest.fixture
def aws(served: Imitation, monkeypatch: pytest.MonkeyPatch) -> Imitation:
    """As new, at the same address, and where botocore looks; DAGs have runs."""
    new = Imitation(region="eu-west-1", name=NAME, url=served.url)
    for dag in new.airflow.dags:
        for number in range(12):
            new.airflow.trigger(dag, f"r{number}", "success")
    served.__dict__.update(new.__dict__)
    monkeypatch.setattr("mwaa_headroom.harness.aws.doctor.CALLS_PER_S", 1000)
    for name, value in served.variables().items():
        monkeypatch.setenv(name, value)
    return served


def scenario(aws: Imitation, mix: dict[str, Any] | None = None, **limits: Any) -> Scenario:
    reading = {"dag_id": "etl_daily"}
    tree = {
        "name": "x",
        "question": {"ask": "check"},
        "slo": ["rate(errors) < 1%"],
        "environment": {"kind": "aws", "name": NAME},
        "traffic": {
            "mix": mix
            or {
                "health": 1,
                "get_dag_run": {"weight": 1, **reading},
                "trigger_dag_run": {"weight": 2, **reading},
                "set_variable": 1,
            }
        },
        "stages": [{"rate_per_s": 5, "duration_s": 300}],
        "limits": {"allow_environment": aws.arn, "max_rate_per_s": 1000, **limits},
    }
    return check_scenario(tree, origin="x.toml")


def examined(given: Scenario, **options: bool) -> list[Checked]:
    lines = list(examine(given, **options))
    assert all(told(line.finding) for line in lines)
    return lines


def codes(lines: list[Checked], severity: str) -> list[tuple[str, str]]:
    return [(ln.area, ln.finding.code) for ln in lines if ln.finding.severity == severity]


def values(lines: list[Checked], code: str) -> dict[str, Any]:
    (found,) = [line.finding.values for line in lines if line.finding.code == code]
    return dict(found)


def test_an_environment_in_order_and_a_plan_of_the_run(aws: Imitation) -> None:
    lines = examined(scenario(aws))

    assert codes(lines, "refusal") == codes(lines, "warning") == []
    assert values(lines, "doctor.caller")["account"] == "123456789012"
    assert values(lines, "doctor.environment")["partition"] == "aws"
    assert values(lines, "doctor.webservers") == {"fewest": 2, "most": 5, "quota": 5}
    assert values(lines, "doctor.creates")["dag_runs"] == 5 * 300 * 2 / 5
    assert values(lines, "doctor.creates")["variables"] == 1
    duration = values(lines, "doctor.duration")
    assert (duration["load_s"], duration["longest_s"]) == (300, 360)
    assert duration["waits_s"] == 180 + 600 / 5  # at 5 calls/s
    aws.environment["AirflowVersion"] = "3.3.1"  # which deletes many at once
    assert values(examined(scenario(aws)), "doctor.duration")["waits_s"] == 180 + 600 * BULK_RUN_S
    assert "ActiveConnectionCount (nightly)" in values(lines, "doctor.metrics")["metrics"]
    assert values(lines, "doctor.newest_sample")["age_s"] < 120


def test_nothing_is_ever_sent_that_changes_anything(aws: Imitation) -> None:
    aws.airflow.runs.clear()  # a run would trigger some, and create a variable

    lines = examined(scenario(aws))

    assert values(lines, "doctor.triggers_to_read")["runs"] == 10
    assert values(lines, "doctor.variable") == {"key": "headroom_variable", "exists": False}
    assert {method for method, _ in aws.airflow.calls} == {"GET"}
    assert {*aws.seen} <= READS_OF_AWS


def least_policy(aws: Imitation, given: Scenario) -> dict[str, Any]:
    arn = EnvironmentArn.parse(aws.arn)
    assert arn is not None
    return policy_of(needs_of(given, arn))


def test_the_least_policy_is_enough_and_iam_cannot_be_asked_then(aws: Imitation) -> None:
    aws.policy = least_policy(aws, scenario(aws))

    lines = examined(scenario(aws))

    assert codes(lines, "refusal") == []
    assert codes(lines, "warning") == [("permissions", "doctor.not_asked")]


def with_simulation(aws: Imitation, policy: dict[str, Any]) -> None:
    may_ask = {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*"}
    aws.policy = {"Statement": [*policy["Statement"], may_ask]}


def wrong_resource(aws: Imitation) -> None:
    policy = least_policy(aws, scenario(aws))
    policy["Statement"][0]["Resource"] = aws.arn
    with_simulation(aws, policy)


def only_a_viewer(aws: Imitation) -> None:
    policy = least_policy(aws, scenario(aws))
    policy["Statement"][0]["Resource"] = aws.arn.replace("environment/", "role/") + "/Viewer"
    with_simulation(aws, policy)


def without_cloudwatch(aws: Imitation) -> None:
    policy = least_policy(aws, scenario(aws))
    with_simulation(aws, {"Statement": policy["Statement"][:-1]})


def setting(**attributes: Any) -> Callable[[Imitation], None]:
    return lambda aws: aws.__dict__.update(attributes)


def in_environment(**members: Any) -> Callable[[Imitation], None]:
    return lambda aws: aws.environment.update(members)


def in_dag(**members: Any) -> Callable[[Imitation], None]:
    return lambda aws: aws.airflow.dags["etl_daily"].update(members)


def without_the_dag(aws: Imitation) -> None:
    del aws.airflow.dags["etl_daily"]


STOPS, WARNS = "refusal", "warning"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param(
            setting(private=True), [(STOPS, "REST API", "doctor.problem")], id="private webserver"
        ),
        pytest.param(setting(too_old=True), [(STOPS, "REST API", "doctor.problem")], id="too old"),
        pytest.param(
            setting(throttle_per_s=0), [(STOPS, "REST API", "doctor.problem")], id="throttled"
        ),
        pytest.param(
            wrong_resource,
            [
                (STOPS, "REST API", "doctor.problem"),
                (STOPS, "permissions", "iam.environment_instead_of_role"),
            ],
            id="policy on environment/NAME",
        ),
        pytest.param(
            only_a_viewer, [(WARNS, "permissions", "doctor.other_role")], id="a smaller role"
        ),
        pytest.param(
            without_cloudwatch,
            [
                (WARNS, "permissions", "iam.missing"),
                (WARNS, "metrics", "doctor.not_asked"),
            ],
            id="no CloudWatch",
        ),
        pytest.param(
            in_environment(Status="UPDATING"),
            [(STOPS, "environment", "doctor.environment")],
            id="updating",
        ),
        pytest.param(
            in_environment(Arn="arn:aws:airflow:eu-west-1:210987654321:environment/nightly"),
            [(STOPS, "environment", "doctor.problem")],
            id="another account",
        ),
        pytest.param(setting(clock_offset_s=60.0), [(WARNS, "clock", "doctor.clock")], id="clock"),
        pytest.param(
            setting(metrics_missing={"CPUUtilization"}),
            [(WARNS, "metrics", "doctor.metrics_missing")],
            id="no CPU metric",
        ),
        pytest.param(
            setting(metrics_late_s=1000.0),
            [(WARNS, "metrics", "doctor.newest_sample")],
            id="late metrics",
        ),
        pytest.param(in_dag(is_paused=True), [(WARNS, "DAGs", "doctor.dag")], id="paused DAG"),
        pytest.param(without_the_dag, [(STOPS, "DAGs", "doctor.dag_unusable")], id="no such DAG"),
        pytest.param(
            lambda aws: aws.airflow.unhealthy.add("scheduler"),
            [(WARNS, "REST API", "doctor.unhealthy")],
            id="unhealthy scheduler",
        ),
    ],
)
def test_each_fault_is_found(
    aws: Imitation, fault: Callable[[Imitation], None], expected: list[tuple[str, str, str]]
) -> None:
    fault(aws)

    lines = examined(scenario(aws))

    for severity, area, code in expected:
        assert (area, code) in codes(lines, severity)
    stopping = {(area, code) for severity, area, code in expected if severity == STOPS}
    assert {*codes(lines, STOPS)} == stopping
    areas = {line.area for line in lines}  # none hides another
    assert areas >= {"credentials", "environment", "permissions", "metrics", "plan", "generator"}


def test_expired_keys_stop_the_run_and_the_private_webserver_is_told_as_such(
    aws: Imitation,
) -> None:
    aws.private = True
    (private,) = [ln for ln in examined(scenario(aws)) if ln.area == "REST API"]
    aws.expired.add(KEY)
    expired = examined(scenario(aws))

    assert "inside the environment's VPC" in told(private.finding)
    assert ("credentials", "doctor.problem") in codes(expired, STOPS)
    assert "expired" in told(expired[0].finding)
    assert values(expired, "doctor.duration")["load_s"] == 300


@pytest.mark.parametrize(
    ("variables", "severity"),
    [
        ({}, "note"),
        ({"AWS_SESSION_TOKEN": "t"}, "warning"),
        ({"AWS_CREDENTIAL_EXPIRATION": 3600}, "note"),
        ({"AWS_CREDENTIAL_EXPIRATION": 400}, "refusal"),
    ],
)
def test_how_long_the_keys_last_against_the_run(
    aws: Imitation, monkeypatch: pytest.MonkeyPatch, variables: dict[str, Any], severity: str
) -> None:
    for name, value in variables.items():
        ends_at = datetime.now(UTC) + timedelta(seconds=value) if isinstance(value, int) else None
        monkeypatch.setenv(name, ends_at.isoformat() if ends_at else value)

    lines = examined(scenario(aws))

    assert [ln.finding.severity for ln in lines if ln.finding.code == "doctor.keys"] == [severity]


@pytest.mark.parametrize(
    ("profile", "left_s", "severity"),
    [("plain", 400, "note"), ("with_code", 400, "warning"), ("with_code", 4000, "note")],
)
def test_keys_that_are_renewed_only_with_a_code_that_somebody_types(
    profile: str, left_s: float, severity: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile plain]\n[profile with_code]\nmfa_serial = arn:aws:iam::1:mfa/me\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    ends_at = datetime.now(UTC) + timedelta(seconds=left_s)
    keys = RefreshableCredentials("a", "b", "c", ends_at, dict, method="assume-role")

    assert keys_last(keys, 900, asks_for_code=asks_for_code(profile)).severity == severity


def test_paths_dag_runs_and_variables_that_do_not_fit(aws: Imitation) -> None:
    long = "a_dag_with_quite_a_long_name_for_a_path"
    aws.airflow.dags |= {long: {}, "empty": {}}
    aws.airflow.trigger(long, "manual__2026-10-06T10:00:00")
    aws.airflow.variables["theirs"] = "precious"
    mix = {
        "trigger_dag_run": {"dag_id": long},
        "list_task_instances": {"dag_id": "empty"},
        "set_variable": {"key": "theirs"},
    }

    lines = examined(scenario(aws, mix))

    assert ("paths", "preflight.long_path") in codes(lines, WARNS)
    assert codes(lines, STOPS) == [("DAGs", "doctor.problem"), ("variables", "doctor.problem")]


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_other_partitions(region: str, partition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(Imitation(region=region, name=NAME, airflow=Airflow("2.10.3"))) as aws:
        for name, value in aws.variables().items():
            monkeypatch.setenv(name, value)
        lines = examined(scenario(aws, {"list_dags": 1}))

    assert codes(lines, STOPS) == []
    permitted = [ln.finding.values for ln in lines if ln.finding.code == "doctor.permitted"]
    assert (
        permitted[0]["resource"]
        == f"arn:{partition}:airflow:{region}:123456789012:role/{NAME}/Viewer"
    )


@pytest.mark.parametrize(
    ("role", "actions", "expected"),
    [
        ("Op", [INVOKE, LOG_IN], []),
        ("Op", [INVOKE], [(STOPS, "iam.missing")]),
        ("loaders", [INVOKE, LOG_IN], [(WARNS, "doctor.other_role")] * 2),
    ],
)
def test_a_web_login_and_a_role_of_ones_own(
    role: str, actions: list[str], expected: list[tuple[str, str]], aws: Imitation
) -> None:
    given = scenario(aws)
    policy = least_policy(aws, given)
    place = aws.arn.replace("environment/", "role/") + f"/{role}"
    policy["Statement"][0] |= {"Action": actions, "Resource": place}
    with_simulation(aws, policy)
    traffic = given.traffic.model_copy(update={"transport": "web_token"})

    lines = examined(given.model_copy(update={"traffic": traffic}))

    found = [ln.finding for ln in lines if ln.area == "permissions"]
    assert [(f.severity, f.code) for f in found if f.severity != "note"] == expected


def test_the_command_finds_the_only_environment(aws: Imitation) -> None:
    answers = [
        CliRunner().invoke(app, ["doctor", "--json", *words], standalone_mode=False)
        for words in ([], ["--environment", NAME, "--region", "eu-west-1"])
    ]

    assert [answer.return_value for answer in answers] == [0, 0]
    first, second = (checked("doctor", answer.stdout)["checks"] for answer in answers)
    assert [check["area"] for check in first] == [check["area"] for check in second]


def test_the_last_line_is_the_verdict(aws: Imitation) -> None:
    def last_line() -> str:
        words = ["doctor", "--environment", NAME]
        return CliRunner().invoke(app, words, standalone_mode=False).stdout.splitlines()[-1]

    assert last_line().startswith("Ready")
    aws.private = True
    assert last_line().startswith("Not ready")
    assert "1 line marked ✗" in last_line()


def test_what_could_not_be_asked_for_one_reason_is_one_line(aws: Imitation, tmp_path: Path) -> None:
    template = str(Path(__file__).parents[2] / "scenarios" / "aws_capacity.toml")
    changes = ("environment.name=" + NAME, "environment.region=eu-west-1")
    words = ["doctor", template, *(word for one in changes for word in ("--set", one))]
    aws.private = True

    answer = CliRunner().invoke(app, words, standalone_mode=False)

    assert answer.stdout.count("Not asked: InvokeRestApi was not answered.") == 1
    assert "! reads, DAGs, paths: Not asked" in answer.stdout


def test_the_command_adds_what_validate_warns_of(aws: Imitation) -> None:
    template = str(Path(__file__).parents[2] / "scenarios" / "aws_capacity.toml")
    changes = (
        f"environment.name={NAME}",
        "environment.region=eu-west-1",
        f"limits.allow_environment={aws.arn}",
        "traffic.mix={list_dags=1}",
        "stages=[{rate_per_s=1, duration_s=60}]",
    )
    words = ["doctor", template, "--json", *(word for one in changes for word in ("--set", one))]

    answer = CliRunner().invoke(app, words, standalone_mode=False)

    assert answer.return_value == 0
    checks = checked("doctor", answer.stdout)["checks"]
    warned = [check["area"] for check in checks if check["finding"]["severity"] == "warning"]
    assert set(warned) == {"scenario"}


def test_what_a_check_after_deployment_expects_does_not_stop_it(aws: Imitation) -> None:
    without_the_dag(aws)
    given = scenario(aws)
    expect = given.expect.model_copy(update={"dags": ("etl_daily",)})

    lines = examined(given.model_copy(update={"expect": expect}))

    assert codes(lines, STOPS) == []
    assert codes(lines, WARNS) == [
        ("REST API", "doctor.expectation"),
        ("DAGs", "doctor.dag_unusable"),
    ]


def test_without_a_region_the_plan_is_told_all_the_same(
    aws: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)

    lines = examined(scenario(aws))

    assert codes(lines, STOPS) == [("configuration", "doctor.problem")]
    assert values(lines, "doctor.duration")["load_s"] == 300


def test_an_environment_alone_is_looked_at_without_a_plan(aws: Imitation) -> None:
    lines = examined(scenario(aws, {"list_dags": 1}, allow_environment=None), is_meant=False)

    assert codes(lines, STOPS) == []
    assert {"DAGs", "plan", "cost"}.isdisjoint({line.area for line in lines})
