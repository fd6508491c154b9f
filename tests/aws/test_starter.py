"""`headroom init`: a first scenario that only reads, for the environment that there is."""

import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from aws_imitation import Imitation, serving
from botocore.stub import Stubber
from click.testing import CliRunner
from json_outputs import checked

from mwaa_headroom.harness.aws.clients import make_clients
from mwaa_headroom.harness.aws.starter import only_environment
from mwaa_headroom.harness.cli.main import app
from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.scenario.load import load_scenario
from mwaa_headroom.harness.scenario.model import Scenario


@pytest.fixture(scope="module")
def served() -> Iterator[Imitation]:
    with serving(Imitation(region="eu-west-1")) as aws:
        yield aws


@pytest.fixture
def aws(served: Imitation, monkeypatch: pytest.MonkeyPatch) -> Imitation:
    served.__dict__.update(Imitation(region="eu-west-1", url=served.url).__dict__)
    for module in ("doctor", "starter"):
        monkeypatch.setattr(f"mwaa_headroom.harness.aws.{module}.CALLS_PER_S", 1000)
    for name, value in served.variables().items():
        monkeypatch.setenv(name, value)
    return served


def call(folder: Path, *words: str) -> Any:
    with chdir(folder):
        return CliRunner().invoke(app, words, standalone_mode=False)


def written(folder: Path, *words: str) -> Scenario:
    answer = call(folder, "init", *words)
    assert answer.exception is None
    (file,) = folder.glob("*.toml")
    assert call(folder, "validate", file.name).exception is None
    return load_scenario(file)


def test_the_only_environment_and_a_dag_with_runs(aws: Imitation, tmp_path: Path) -> None:
    aws.airflow.dags = {"a_paused": {"is_paused": True}, "b_without_runs": {}, "c_used": {}}
    for dag in ("a_paused", "c_used"):
        aws.airflow.trigger(dag, "r1")

    scenario = written(tmp_path)

    assert scenario.environment.name == "data-airflow"
    assert scenario.limits.allow_environment == aws.arn
    assert scenario.traffic.mix["get_dag_run"].parameters["dag_id"] == "c_used"
    highest_per_s = max(stage.rate_per_s or 0 for stage in scenario.stages)
    assert highest_per_s < 10
    assert all(stage.duration_s - stage.warmup_s >= 5 * 60 for stage in scenario.stages)
    assert {method for method, _ in aws.airflow.calls} == {"GET"}
    warned = checked("validate", call(tmp_path, "validate", "data-airflow.toml", "--json").stdout)
    assert [text for text in warned["warnings"] if "spaced" not in text] == []


def test_what_it_writes_is_ready_for_policy_and_doctor(aws: Imitation, tmp_path: Path) -> None:
    aws.airflow.trigger("etl_daily", "r1")
    words = ("init", "--environment", aws.name, "--output", "first.toml", "--json")
    assert checked("init", call(tmp_path, *words).stdout) == {
        "schema_version": 1,
        "environment": aws.arn,
        "file": "first.toml",
        "dag_id": "etl_daily",
        "problem": None,
    }

    policy = json.loads(call(tmp_path, "policy", "first.toml").stdout)
    aws.policy = policy
    examined = call(tmp_path, "doctor", "first.toml", "--json")

    assert policy["Statement"][0]["Resource"].endswith(f":role/{aws.name}/Viewer")
    assert examined.return_value == 0, examined.stdout


def test_a_private_webserver_leaves_a_scenario_without_dags(aws: Imitation, tmp_path: Path) -> None:
    aws.private = True

    scenario = written(tmp_path, "--environment", aws.name, "--region", "eu-west-1")

    assert list(scenario.traffic.mix) == ["health", "list_dags"]


def test_a_file_that_is_there_stays(aws: Imitation, tmp_path: Path) -> None:
    there = tmp_path / f"{aws.name}.toml"
    there.write_text("mine")

    answer = call(tmp_path, "init")

    assert answer.exception.exit_code == 2
    assert there.read_text() == "mine"


@pytest.mark.parametrize("names", [[], ["b", "a"]])
def test_none_or_several_environments_are_an_error_that_lists_them(
    names: list[str], aws: Imitation
) -> None:
    clients = make_clients(environment="*")
    with Stubber(clients.mwaa) as stub:
        first = {"Environments": names[:1], "NextToken": "more"}
        stub.add_response("list_environments", first, {})
        stub.add_response("list_environments", {"Environments": names[1:]}, {"NextToken": "more"})
        with pytest.raises(UsageError, match="a, b" if names else "none"):
            only_environment(clients)


def test_a_production_environment_has_to_be_confirmed_by_hand(
    aws: Imitation, tmp_path: Path
) -> None:
    aws.environment["Tags"] = {"env": "prod"}
    assert written(tmp_path).limits.confirm_production is None
    (file,) = tmp_path.glob("*.toml")

    assert 'confirm_production = "data-airflow"' in call(tmp_path, "doctor", file.name).stdout
    file.write_text(file.read_text().replace("# confirm_production", "confirm_production"))
    assert "confirm_production" not in call(tmp_path, "doctor", file.name).stdout
