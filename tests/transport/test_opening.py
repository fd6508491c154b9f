"""A scenario's transport, opened against the stand-in's gateway."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canned_service import point_aws_at
from local.gateway.gateway_stand import KEY_ID, SECRET, Reply, Stand

from mwaa_headroom.harness.errors import EnvironmentAccessError, NotAllowedError
from mwaa_headroom.harness.local.settings import GatewaySettings, StandInSettings
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport.opening import OpenTransport, open_transport
from mwaa_headroom.harness.transport.web_token import WebTokenTransport

DAGS = RestCall("GET", "/dags", query={"limit": 5})
TIMEOUT_S = 0.5  # of the stand's InvokeRestApi
NAME = StandInSettings().name


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    settings = StandInSettings(gateway=GatewaySettings(timeout_s=TIMEOUT_S))
    with Stand(tmp_path_factory.mktemp("stand") / "trail.jsonl", settings=settings) as stand:
        yield stand


def scenario_of(environment: dict[str, Any] | None = None, **traffic: Any) -> Scenario:
    simulated = {"kind": "simulated", "name": NAME, "gateway": {"timeout_s": TIMEOUT_S}}
    tree = {
        "name": "s",
        "slo": ["p95(latency) < 1s"],
        "question": {"ask": "check"},
        "environment": environment or simulated,
        "traffic": {"mix": {"list_dags": 1}, **traffic},
        "stages": [{"rate_per_s": 5, "duration_s": 20}],
        "limits": {"call_timeout_s": 4.0, "max_in_flight": 8},
    }
    return check_scenario(tree, origin="test")


def variables_of(stand: Stand) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_MWAA": stand.addresses.mwaa_url,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": stand.settings.region,
    }


def opened(stand: Stand, **traffic: Any) -> OpenTransport:
    return open_transport(scenario_of(**traffic), NAME, "3.3.1", variables_of(stand))


@pytest.mark.parametrize("transport", ["lean", "boto3", "web_token"])
def test_each_transport_takes_the_call_to_airflow(stand, transport):
    stand.webservers[0].seen.clear()
    assert opened(stand, transport=transport).send(DAGS).outcome == "ok"
    (seen,) = stand.webservers[0].seen
    assert (seen.method, seen.raw_path) == ("GET", "/api/v2/dags?limit=5")


def test_lean_is_the_default(stand):
    opened(stand).send(DAGS)
    assert "headroom lean" in stand.cloudtrail()[-1]["userAgent"]


@pytest.mark.parametrize("transport", ["lean", "boto3"])
def test_the_stands_own_time_limit_is_known(stand, transport):
    path = "/api/v2/slow"
    stand.webservers[0].replies[path] = Reply(delay_s=2 * TIMEOUT_S)
    result = opened(stand, transport=transport).send(RestCall("GET", "/slow"))
    assert result.outcome == "service_timeout"


# 4 s per attempt, half a second beyond, one for room under the cap; backoff as in test_retry_modes.
@pytest.mark.parametrize(
    ("traffic", "longest_call_s"),
    [
        ({"transport": "lean"}, 5 + 4.5),  # and for keys that have expired
        ({"transport": "boto3"}, 4.5),
        ({"transport": "boto3", "retries": "standard"}, 3 * 4 + 13 + 2 + 0.5),
        ({"transport": "boto3", "retries": "adaptive"}, 3 * 4 + 13 + 2 + 0.5),
        ({"transport": "boto3", "retries": "legacy"}, 5 * 4 + 15 + 4 + 0.5),
        # the call, a token, a login, the call again
        ({"transport": "web_token"}, 4 * 4 + 1 + 0.5),
    ],
)
def test_the_longest_call(stand, monkeypatch, traffic, longest_call_s):
    monkeypatch.delenv("AWS_MAX_ATTEMPTS", raising=False)
    assert opened(stand, **traffic).longest_call_s == longest_call_s


def test_where_the_calls_go(stand):
    assert opened(stand, transport="lean").endpoint_url == stand.addresses.mwaa_url
    assert opened(stand, transport="boto3").endpoint_url == stand.addresses.mwaa_url
    web = opened(stand, transport="web_token")
    assert web.endpoint_url == stand.addresses.webserver_url
    assert isinstance(web.send, WebTokenTransport)


@pytest.mark.parametrize("transport", ["lean", "boto3", "web_token"])
def test_by_default_the_process_says_where(stand, monkeypatch, transport):
    point_aws_at(monkeypatch, stand.addresses.mwaa_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    aws = {"kind": "aws", "name": NAME, "region": stand.settings.region}
    transport = open_transport(scenario_of(aws, transport=transport), NAME, "3.3.1")
    assert transport.send(DAGS).outcome == "ok"


def test_the_variables_of_a_stand_in_beat_the_users_own(stand, monkeypatch, tmp_path):
    """A profile that is not there breaks nothing, another endpoint is not asked."""
    point_aws_at(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert opened(stand, transport="boto3").send(DAGS).outcome == "ok"


@pytest.mark.parametrize("transport", ["lean", "boto3", "web_token"])
def test_a_local_scenario_stays_on_this_machine(monkeypatch, transport):
    point_aws_at(monkeypatch, "https://mwaa.example.invalid")
    with pytest.raises(NotAllowedError, match="only this machine"):
        open_transport(
            scenario_of(
                {"kind": "simulated", "name": NAME, "region": "us-east-1"}, transport=transport
            ),
            NAME,
            "3.3.1",
        )


def test_a_configuration_that_cannot_be_used(monkeypatch):
    point_aws_at(monkeypatch, "nowhere")
    with pytest.raises(EnvironmentAccessError, match="AWS_ENDPOINT_URL_"):
        open_transport(scenario_of(), NAME, "3.3.1")


@pytest.mark.slow
def test_gevent_comes_only_with_the_load():
    """`headroom report` and the like must neither wait for it nor be patched by it."""
    script = (
        "import sys, mwaa_headroom.harness.cli, mwaa_headroom.harness.transport.opening\n"
        "print([name for name in ('gevent', 'geventhttpclient') if name in sys.modules])\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert printed.stdout.strip() == "[]"
