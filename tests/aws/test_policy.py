"""The least IAM policy of a scenario, and what a given one lacks or allows beyond it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from json_outputs import checked

from mwaa_headroom.harness.aws.policy import (
    EnvironmentArn,
    arn_of,
    check_policy,
    least_role,
    needs_of,
    policy_of,
)
from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.operations import OPERATIONS

ARN = EnvironmentArn("aws", "eu-west-1", "123456789012", "nightly")
INVOKE, GET = "airflow:InvokeRestApi", "airflow:GetEnvironment"


def scenario(
    *operations: str, arn: EnvironmentArn | None = ARN, kind: str = "aws", **keys: Any
) -> Scenario:
    tree: dict[str, Any] = {
        "name": "x",
        "question": {"ask": "check"},
        "slo": ["rate(errors) < 1%"],
        "environment": {"kind": kind, "name": "nightly"},
        "traffic": {"mix": dict.fromkeys(operations or ("health",), 1)},
        "stages": [{"rate_per_s": 1, "duration_s": 1}],
        "limits": {} if arn is None else {"allow_environment": arn.environment},
    }
    for key, value in keys.items():
        table, _, name = key.partition("_")
        tree[table][name] = value
    return check_scenario(tree, origin="x.toml")


def codes(policy: Any, given: Scenario | None = None, role: str | None = None) -> list[str]:
    needs = needs_of(given or scenario(), ARN, role)
    return [finding.code for finding in check_policy(policy, needs, ARN)]


def document(*statements: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    """Allows what is needed but InvokeRestApi, and these (action, resource)."""
    rest = policy_of(needs_of(scenario(), ARN))["Statement"][1:]
    ours = [{"Effect": "Allow", "Action": a, "Resource": r, **more} for a, r in statements]
    return {"Version": "2012-10-17", "Statement": [*ours, *rest]}


@pytest.mark.parametrize(
    ("given", "role"),
    [
        (scenario("health", "list_dags", "get_dag_run", "list_pools"), "Viewer"),
        (scenario("list_dags", "trigger_dag_run"), "User"),
        (scenario("pause_dag", "unpause_dag"), "User"),
        (scenario("list_variables", "trigger_dag_run"), "Op"),
        (scenario("list_connections"), "Op"),
        (scenario("set_variable"), "Op"),
        (scenario("get_dag_run", limits_trigger_dags_to_read=True), "User"),
        (scenario("list_dags", limits_trigger_dags_to_read=True), "Viewer"),
    ],
)
def test_the_least_role_of_airflows_that_does(given: Scenario, role: str) -> None:
    assert least_role(given) == role


@pytest.mark.parametrize(
    ("region", "partition"),
    [("us-east-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_the_policy_names_partition_region_account_environment_and_role(
    region: str, partition: str
) -> None:
    arn = EnvironmentArn(partition, region, "210987654321", "nightly")
    given = scenario("trigger_dag_run", arn=arn)

    policy = policy_of(needs_of(given, arn_of(given)))

    place = f"arn:{partition}:airflow:{region}:210987654321"
    assert policy["Statement"] == [
        {"Effect": "Allow", "Action": INVOKE, "Resource": f"{place}:role/nightly/User"},
        {"Effect": "Allow", "Action": GET, "Resource": f"{place}:environment/nightly"},
        {
            "Effect": "Allow",
            "Action": ["cloudwatch:ListMetrics", "cloudwatch:GetMetricData"],
            "Resource": "*",
        },
    ]


def test_a_web_token_and_a_role_of_ones_own() -> None:
    given = scenario(traffic_transport="web_token")

    first, *_ = policy_of(needs_of(given, ARN, "load testers"))["Statement"]

    assert first["Action"] == [INVOKE, "airflow:CreateWebLoginToken"]
    assert first["Resource"] == ARN.role("load testers")
    assert "role/nightly/load testers" in ARN.role("load testers")


@pytest.mark.parametrize(
    "given",
    [
        scenario(kind="simulated", arn=None),
        scenario(arn=None),
        scenario(arn=EnvironmentArn("aws", "eu-west-1", "123456789012", "other")),
        scenario(limits_allow_environment="arn:aws:airflow:eu-west-1:1:environment/nightly"),
    ],
)
def test_without_the_whole_arn_there_is_no_policy(given: Scenario) -> None:
    with pytest.raises(UsageError):
        arn_of(given)


@given(
    operations=st.sets(st.sampled_from(sorted(OPERATIONS)), min_size=1),
    transport=st.sampled_from(["lean", "boto3", "web_token"]),
    role=st.none() | st.sampled_from(["Viewer", "Admin", "own"]),
)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_what_it_prints_passes_its_own_check_and_not_without_any_statement(
    operations: set[str], transport: str, role: str | None
) -> None:
    given = scenario(*operations, traffic_transport=transport)
    policy = policy_of(needs_of(given, ARN, role))

    assert codes(policy, given, role) == ["iam.suffices"]
    for index in range(len(policy["Statement"])):
        less = {"Statement": [s for i, s in enumerate(policy["Statement"]) if i != index]}
        assert "iam.missing" in codes(less, given, role)


ROLE = ARN.role("Viewer")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param(
            document((INVOKE, ARN.environment)),
            ["iam.environment_instead_of_role"],
            id="the frequent mistake",
        ),
        pytest.param(
            document(([INVOKE, GET], ARN.environment)),
            ["iam.environment_instead_of_role"],
            id="the same in one statement",
        ),
        pytest.param(
            document((INVOKE, ROLE.replace("eu-west-1", "eu-west-2"))),
            ["iam.other_resource"],
            id="another region",
        ),
        pytest.param(document((INVOKE, f"{ROLE}s")), ["iam.other_resource"], id="another role"),
        pytest.param(document(), ["iam.missing"], id="not at all"),
        pytest.param(document(("AIRFLOW:invokerestapi", ROLE)), ["iam.suffices"], id="any case"),
        pytest.param(
            document((INVOKE, ARN.role("Admin"))),
            ["iam.suffices", "iam.more_resources"],
            id="a role that may do more",
        ),
        pytest.param(
            document((INVOKE, ARN.role("*"))),
            ["iam.suffices", "iam.more_resources"],
            id="any role",
        ),
        pytest.param(
            document((INVOKE, ARN.role("V?ewer"))),
            ["iam.suffices", "iam.more_resources"],
            id="one character",
        ),
        pytest.param(
            document(("airflow:*", [ROLE, ARN.environment])),
            ["iam.suffices", "iam.more_actions"],
            id="all actions",
        ),
        pytest.param(
            document((INVOKE, ROLE), ("s3:GetObject", "arn:aws:s3:::x/*")),
            ["iam.suffices", "iam.more_actions"],
            id="something else",
        ),
        pytest.param(
            {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}},
            ["iam.suffices", "iam.more_actions", "iam.more_resources"],
            id="everything",
        ),
        pytest.param(
            {"Statement": {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}},
            ["iam.suffices", "iam.all_but"],
            id="all but",
        ),
        pytest.param(
            document((INVOKE, ROLE), Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
            ["iam.suffices", "iam.conditional"],
            id="under a condition",
        ),
        pytest.param(
            {
                "Statement": [
                    *document((INVOKE, ROLE))["Statement"],
                    {"Effect": "Deny", "Action": "airflow:Invoke*", "Resource": "*"},
                ]
            },
            ["iam.denied"],
            id="denied",
        ),
        pytest.param(
            {
                "Statement": [
                    *document((INVOKE, ROLE))["Statement"],
                    {
                        "Effect": "Deny",
                        "NotAction": GET,
                        "Resource": "*",
                        "Condition": {"Bool": {}},
                    },
                ]
            },
            ["iam.suffices", "iam.conditional", "iam.conditional", "iam.conditional"],
            id="denied under a condition",
        ),
        pytest.param(
            {"PolicyVersion": {"Document": document((INVOKE, ROLE))}},
            ["iam.suffices"],
            id="as the AWS CLI prints it",
        ),
    ],
)
def test_what_a_policy_lacks_and_allows_beyond(policy: Any, expected: list[str]) -> None:
    assert codes(policy) == expected


@pytest.mark.parametrize(
    "tree", [[], {}, {"Statement": [{"Effect": "Allow"}]}, {"Statement": [3]}, None, "x"]
)
def test_what_is_no_policy_is_said_to_be_none(tree: Any) -> None:
    with pytest.raises(UsageError, match="no IAM policy document"):
        codes(tree)


def test_the_command_prints_and_checks(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from mwaa_headroom.harness.cli.main import app

    template = Path(__file__).parents[2] / "scenarios" / "aws_capacity.toml"
    allow = "arn:aws:airflow:us-east-1:123456789012:environment/my-environment"
    words = ["policy", str(template), "--set", f"limits.allow_environment={allow}"]

    def call(*more: str) -> Any:
        return CliRunner().invoke(app, [*words, *more], standalone_mode=False)

    printed = call()
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(printed.stdout)
    bad.write_text(printed.stdout.replace("role/my-environment/User", "environment/my-environment"))
    accepted, refused = call("--check", str(good)), call("--check", str(bad), "--json")

    assert (printed.return_value, accepted.return_value, refused.return_value) == (0, 0, 2)
    assert checked("policy", call("--json").stdout)["policy"] == json.loads(printed.stdout)
    (first,) = checked("policy", refused.stdout)["policy"]
    assert first["finding"]["code"] == "iam.environment_instead_of_role"
    assert call("--role", "a/b").exception.exit_code == 2
