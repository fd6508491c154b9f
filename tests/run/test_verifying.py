"""`headroom local verify` against an imitation of AWS that owes nothing to the stand-in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_imitation import Imitation, serving
from json_outputs import checked

from mwaa_headroom.harness.aws.shapes import hold_against
from mwaa_headroom.harness.cli.main import main
from mwaa_headroom.harness.errors import NotAllowedError
from mwaa_headroom.harness.run import verifying
from mwaa_headroom.harness.run.verifying import verify_against_aws

SECRET = "k7Qw-secret"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Imitation]:
    with serving(Imitation(region="us-gov-west-1", name=f"prod-{SECRET}")) as aws:
        aws.environment["Tags"] = {SECRET: SECRET}
        for name, value in aws.variables().items():
            monkeypatch.setenv(name, value)
        yield aws


def verify(aws: Imitation, arn: str) -> verifying.Verified:
    return verify_against_aws(
        aws.name, region=aws.region, profile=None, allowed_arn=arn, tell=lambda _: None, pause_s=0.0
    )


def test_another_environment_than_the_one_that_is_allowed_is_not_called(aws: Imitation) -> None:
    with pytest.raises(NotAllowedError, match="us-gov-west-1"):
        verify(aws, aws.arn.replace("us-gov", "us"))
    assert {operation for _, operation in aws.seen} == {"GetEnvironment"}


@pytest.mark.slow
def test_the_command_compares_keeps_shapes_and_changes_nothing(
    aws: Imitation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pauses: list[float] = []
    really = verifying.time.sleep
    pause_s = verifying.LEAST_PAUSE_S
    monkeypatch.setattr(
        verifying.time, "sleep", lambda s: pauses.append(s) if s == pause_s else really(s)
    )
    aws.metrics_missing = {"ActiveConnectionCount"}
    file = tmp_path / "snapshot.json"
    given = ["--environment", aws.name, "--region", aws.region, "--allow-environment", aws.arn]
    with pytest.raises(SystemExit) as ended:
        main(["local", "verify", "--against", "aws", *given, "--output", str(file)])
    assert ended.value.code == 5
    assert "✓ agrees     GET /dags/headroom_absent" in capsys.readouterr().out

    text = file.read_text(encoding="utf-8")
    assert SECRET not in text
    assert aws.arn not in text
    snapshot = checked("local verify", text)
    assert (snapshot["region"], snapshot["airflow_version"]) == (aws.region, aws.airflow.version)
    verdicts = {check: call["verdict"] for check, call in snapshot["calls"].items()}
    # What both have from the service model or from Airflow, and what only one of them assumes.
    for check in ("not_found", "long_path", "list_dag_runs", "old_login", "no_session"):
        assert verdicts[check] == "agrees", snapshot["calls"][check]
    assert verdicts["path_without_slash"] == verdicts["metrics"] == "differs"
    wanted = "body.ActiveConnectionCount: only here"
    assert snapshot["calls"]["metrics"]["differs"] == [wanted]
    long_path = snapshot["calls"]["long_path"]["aws"]
    assert (long_path["status"], long_path["error_code"]) == (400, "ValidationException")

    assert {method for method, _ in aws.airflow.calls} == {"GET"}
    sent = [operation for service, operation in aws.seen if service == "mwaa"]
    assert set(sent) == {"GetEnvironment", "InvokeRestApi", "CreateWebLoginToken"}
    assert pause_s >= 1.0
    assert len(pauses) >= len(sent) - 1  # the first one finds out whether it is allowed


def test_what_is_denied_is_not_tried_and_nobodys_name_is_kept(
    aws: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = {"Effect": "Allow", "Action": "airflow:GetEnvironment", "Resource": "*"}
    aws.policy = {"Version": "2012-10-17", "Statement": [statement]}
    clients = verifying.make_clients(environment=aws.name, region=aws.region)

    def prober() -> verifying.Prober:
        return verifying.Prober(clients, aws.name, "3.0.6", pause=lambda: None)

    found = dict(hold_against(prober(), prober()))
    assert found["environment"].verdict == found["unknown_environment"].verdict == "agrees"
    denied = ("list_dags", "long_path", "web_login", "metrics")
    assert {found[check].verdict for check in denied} == {"not tried"}
    assert SECRET not in str(found)
