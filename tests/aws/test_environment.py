"""Reaching an environment: clients, its facts, whether it may be loaded, and what errors say."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from canned_mwaa import ARN, NAME, CannedMwaa, stand_in_variables

from mwaa_headroom.harness.aws.clients import RestApi, is_loopback, make_clients
from mwaa_headroom.harness.aws.environment import (
    describe_environment,
    production_signs,
    reduce_environment,
    require_allowed,
    require_confirmed,
)
from mwaa_headroom.harness.errors import EnvironmentAccessError, NotAllowedError
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario


def scenario(kind: str, **limits: object) -> Scenario:
    tree = {
        "name": "x",
        "question": {"ask": "check"},
        "slo": ["rate(errors) < 1%"],
        "environment": {"kind": kind, "name": NAME},
        "traffic": {"mix": {"health": 1}},
        "stages": [{"rate_per_s": 1, "duration_s": 1}],
        "limits": limits,
    }
    return check_scenario(tree, origin="x.toml")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:5000", True),
        ("http://127.9.9.9", True),
        ("http://[::1]:5000", True),
        ("http://localhost:80", True),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
        ("https://airflow.us-east-1.amazonaws.com", False),
    ],
)
def test_loopback_is_told_by_the_name_alone(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


def test_real_aws_keeps_the_host_prefix_and_other_endpoints_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The model puts "env." before the host, and `env.127.0.0.1` does not resolve."""
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    aws = make_clients(environment=NAME, region="us-east-1")
    assert aws.mwaa.meta.config.inject_host_prefix is not False
    assert not aws.endpoint_is_loopback
    monkeypatch.setenv("AWS_ENDPOINT_URL_MWAA", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:1")
    own = make_clients(environment=NAME, region="us-east-1")
    assert own.mwaa.meta.config.inject_host_prefix is False
    assert own.endpoint_is_loopback


def test_the_stand_in_ignores_the_users_aws_configuration(
    canned: CannedMwaa, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_PROFILE": "nobody",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_MAX_ATTEMPTS": "9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    clients = canned.clients()
    assert clients.endpoint_is_loopback
    assert describe_environment(clients, NAME).status == "AVAILABLE"


def test_reads_are_tried_three_times_and_writes_once(canned: CannedMwaa) -> None:
    clients = canned.clients()
    assert clients.mwaa.meta.config.retries["total_max_attempts"] == 3
    assert clients.mwaa_once.meta.config.retries["total_max_attempts"] == 1


def test_facts_are_read_with_the_class_told_in_cpus(canned: CannedMwaa) -> None:
    facts = describe_environment(canned.clients(), NAME)
    assert (facts.arn, facts.airflow_version) == (ARN, "3.0.6")
    assert (facts.recorded["MinWebservers"], facts.recorded["MaxWebservers"]) == (2, 5)
    assert facts.webserver_vcpu == 2.0  # AWS user guide: mw1.large
    canned.environment["EnvironmentClass"] = "mw9.unheard-of"
    assert describe_environment(canned.clients(), NAME).webserver_vcpu is None


def test_the_clock_offset_is_the_servers_clock_minus_ours(canned: CannedMwaa) -> None:
    ours = datetime.now(UTC).timestamp()
    behind = describe_environment(canned.clients(), NAME, clock=lambda: ours - 3600)
    assert behind.clock_offset_s == pytest.approx(3600, abs=60)


def test_what_is_recorded_holds_nothing_sensitive() -> None:
    answer: dict[str, Any] = {
        "Name": NAME,
        "Arn": ARN,
        "Status": "AVAILABLE",
        "CreatedAt": datetime(2026, 1, 2, tzinfo=UTC),
        "AirflowConfigurationOptions": {"smtp.smtp_password": "hunter2", "core.x": "hunter2"},
        "Tags": {"owner": "hunter2"},
        "ExecutionRoleArn": "hunter2",
        "KmsKey": "hunter2",
        "SourceBucketArn": "hunter2",
        "NetworkConfiguration": {"SubnetIds": ["hunter2"]},
        "WebserverUrl": "hunter2",
        "LastUpdate": {"Status": "FAILED", "Error": {"ErrorMessage": "hunter2"}},
        "LoggingConfiguration": {
            "WebserverLogs": {
                "Enabled": True,
                "LogLevel": "INFO",
                "CloudWatchLogGroupArn": "hunter2",
            }
        },
    }
    recorded = reduce_environment(answer)
    assert "hunter2" not in json.dumps(recorded)
    assert recorded["AirflowConfigurationOptions"] == ["core.x", "smtp.smtp_password"]
    assert recorded["CreatedAt"] == "2026-01-02T00:00:00+00:00"
    assert recorded["LastUpdate"] == {"Status": "FAILED"}


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (
            (403, "AccessDeniedException", "User arn:aws:iam::999:user/x is not authorized"),
            r"allow airflow:InvokeRestApi on arn:aws:airflow:us-east-1:<account>:role/field/",
        ),
        ((403, "AccessDeniedException", "Private webserver"), "inside the environment's VPC"),
        ((400, "ValidationException", "Update your environment to use InvokeRestApi"), "too old"),
        ((404, "ResourceNotFoundException", "x"), "check the name, the region and the account"),
        ((403, "ExpiredTokenException", "x"), "credentials have expired; renew them"),
        ((403, "UnrecognizedClientException", "x"), "AWS does not know these credentials"),
        ((400, "TooManyRequestsException", "x"), "throttles these calls; wait a minute"),
        ((429, "ThrottlingException", "x"), "throttles these calls; wait a minute"),
        ((418, "Teapot", "short and stout."), "AWS answered 418 Teapot short and stout"),
    ],
)
def test_each_refusal_is_one_sentence_that_says_what_to_do(
    canned: CannedMwaa, refusal: tuple[int, str, str], sentence: str
) -> None:
    canned.refusal = refusal
    api = RestApi(canned.clients(), NAME, rate_per_s=1000, sleep=lambda _: None)
    with pytest.raises(EnvironmentAccessError, match=sentence) as caught:
        api.send("PATCH", "/dags/x", {"is_paused": True})
    assert "arn:aws:iam" not in str(caught.value)
    assert str(caught.value).count(".") <= 1 + str(caught.value).count("<account>")


@pytest.mark.parametrize(("until_s", "calls"), [(2.5, 3), (100.0, 4)])
def test_who_is_throttled_holds_back_and_sends_it_again(
    canned: CannedMwaa, until_s: float, calls: int
) -> None:
    """The throttle is shared with the environment's other callers; nothing was done yet."""
    canned.refusal = (429, "ThrottlingException", "Rate exceeded")
    canned.airflow.dags = {"x": {}}
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if sum(slept) >= until_s:
            canned.refusal = None

    clients = make_clients(environment=NAME, variables=stand_in_variables(canned.url))
    api = RestApi(clients, NAME, rate_per_s=1000, clock=lambda: sum(slept), sleep=sleep)
    before = len(canned.seen)
    if until_s < 7:
        assert api.send("PATCH", "/dags/x", {"is_paused": True}).ok
    else:
        with pytest.raises(EnvironmentAccessError, match="throttles"):
            api.send("PATCH", "/dags/x", {"is_paused": True})
    assert len(canned.seen) - before == calls
    assert slept == pytest.approx([1.0, 2.0, 4.0][: calls - 1], abs=0.01)


@pytest.mark.parametrize(
    ("region", "place"),
    [
        ("cn-north-1", "arn:aws-cn:airflow:cn-north-1:"),
        ("cn-northwest-1", "arn:aws-cn:airflow:cn-northwest-1:"),
        ("us-gov-west-1", "arn:aws-us-gov:airflow:us-gov-west-1:"),
        ("eu-central-1", "arn:aws:airflow:eu-central-1:"),
    ],
)
def test_a_hint_names_the_partition_of_the_region(
    canned: CannedMwaa, region: str, place: str
) -> None:
    variables = {**stand_in_variables(canned.url), "AWS_REGION": region}
    clients = make_clients(environment=NAME, variables=variables)
    canned.refusal = (403, "AccessDeniedException", "not authorized")
    with pytest.raises(EnvironmentAccessError, match=f" {place}<account>:environment/{NAME}"):
        describe_environment(clients, NAME)
    with pytest.raises(EnvironmentAccessError, match=f" {place}<account>:role/{NAME}/"):
        RestApi(clients, NAME, rate_per_s=1000).get("/dags")


@pytest.mark.parametrize("allowed", [None, ""])
def test_an_environment_without_an_arn_is_not_loaded(allowed: str | None) -> None:
    limits = {} if allowed is None else {"allow_environment": allowed}
    with pytest.raises(NotAllowedError, match="does not tell"):
        require_allowed(scenario("aws", **limits), "", endpoint_is_loopback=True)


def test_nobody_listening_is_one_sentence(canned: CannedMwaa) -> None:
    canned.url = "http://127.0.0.1:1"
    with pytest.raises(EnvironmentAccessError, match="cannot be reached; check the network"):
        RestApi(canned.clients(), NAME, rate_per_s=1000).send("PATCH", "/dags/x", {})


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "set environment.region or AWS_DEFAULT_REGION"),
        ({"AWS_PROFILE": "nobody"}, "correct environment.profile or AWS_PROFILE"),
    ],
)
def test_a_configuration_without_region_or_profile_is_one_sentence(
    variables: dict[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(EnvironmentAccessError, match=sentence):
        make_clients(environment=NAME)


def test_aws_is_loaded_only_when_its_arn_is_allowed() -> None:
    with pytest.raises(NotAllowedError, match=f'allow_environment = "{ARN}"'):
        require_allowed(scenario("aws"), ARN, endpoint_is_loopback=False)
    with pytest.raises(NotAllowedError, match="not 'arn:other'"):
        require_allowed(
            scenario("aws", allow_environment="arn:other"), ARN, endpoint_is_loopback=True
        )
    require_allowed(scenario("aws", allow_environment=ARN), ARN, endpoint_is_loopback=False)


@pytest.mark.parametrize("kind", ["local", "simulated"])
def test_the_local_kinds_load_only_this_machine(kind: str) -> None:
    with pytest.raises(NotAllowedError, match='use kind = "aws"'):
        require_allowed(scenario(kind), ARN, endpoint_is_loopback=False)
    require_allowed(scenario(kind), ARN, endpoint_is_loopback=True)


@pytest.mark.parametrize(
    ("name", "tags", "signs"),
    [
        ("airflow-prod", {}, ("its name airflow-prod",)),
        ("ProdAirflow2", {}, ("its name ProdAirflow2",)),
        ("PRODUCTION_1", {}, ("its name PRODUCTION_1",)),
        ("prd2", {}, ("its name prd2",)),
        ("x", {"env": "Production", "team": "product"}, ("its tag env=Production",)),
        ("x", {"production": "true"}, ("its tag production=true",)),
        ("x", {"production": "False", "env": "pre-prod", "stage": "nonprod"}, ()),
        ("non-prod", {"is": "not production"}, ()),
        ("preProd", {}, ()),
        ("products", {"reproduce": "prods"}, ()),
        ("staging", {}, ()),
    ],
)
def test_names_and_tags_that_say_production(
    name: str, tags: dict[str, str], signs: tuple[str, ...]
) -> None:
    assert production_signs(name, tags) == signs


def test_a_production_environment_must_be_named_a_second_time(canned: CannedMwaa) -> None:
    canned.environment["Tags"] = {"env": "prod"}
    facts = describe_environment(canned.clients(), NAME)
    assert "Tags" not in facts.recorded
    for named in (None, "production", ARN):
        with pytest.raises(NotAllowedError, match=f'confirm_production = "{NAME}"'):
            require_confirmed(scenario("aws", confirm_production=named), facts)
    require_confirmed(scenario("aws", confirm_production=NAME), facts)
    require_confirmed(scenario("local"), facts)
    canned.environment["Tags"] = {}
    require_confirmed(scenario("aws"), describe_environment(canned.clients(), NAME))


@pytest.mark.parametrize(
    "other",
    [
        ARN.replace("aws:", "aws-cn:", 1),
        ARN.replace("us-east-1", "us-east-2"),
        ARN.replace("123456789012", "123456789013"),
        f"{ARN}2",
        ARN.upper(),
        f"{ARN} ",
        "*",
    ],
)
def test_the_arn_is_compared_whole(other: str) -> None:
    with pytest.raises(NotAllowedError, match="put this line"):
        require_allowed(scenario("aws", allow_environment=other), ARN, endpoint_is_loopback=True)
