"""The lean transport does what the user configured for boto3, or refuses it in one sentence."""

import base64

import boto3
import gevent
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from canned_service import point_aws_at
from local.gateway.gateway_stand import (
    ENVIRONMENT,
    POWERLESS_KEY_ID,
    SESSION_TOKEN,
    TEMPORARY_KEY_ID,
    Reply,
    Stand,
)

from mwaa_headroom.harness.errors import EnvironmentAccessError
from mwaa_headroom.harness.local.settings import GatewaySettings, StandInSettings
from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport.boto3_transport import boto3_transport, invoke_client
from mwaa_headroom.harness.transport.lean import invoke_url, lean_transport, request_body
from mwaa_headroom.harness.transport.outcome import CallResult, Transport
from mwaa_headroom.harness.transport.proxy import proxy_for

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
SETTINGS = {"call_timeout_s": 5.0, "max_in_flight": 4}


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch):
    for name in (*PROXIES, *map(str.lower, PROXIES), "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    point_aws_at(monkeypatch, "")
    monkeypatch.delenv("AWS_ENDPOINT_URL_MWAA")


def client_of(region: str = "us-east-1", **changes):
    return boto3.Session(region_name=region).client("mwaa", **changes)


def asked_by_boto3(client, name: str, call: RestCall):
    """The request that boto3 would send."""
    requests = []

    def answer(request, **_):
        requests.append(request)
        return AWSResponse(request.url, 200, {}, None)

    client.meta.events.register("before-send.mwaa.InvokeRestApi", answer)
    boto3_transport(client, name)(call)
    client.meta.events.unregister("before-send.mwaa.InvokeRestApi", answer)
    return requests[0]


@pytest.mark.parametrize(
    ("region", "changes"),
    [
        ("us-east-1", {}),
        ("cn-north-1", {}),
        ("us-gov-west-1", {}),
        ("eu-west-1", {"config": Config(use_dualstack_endpoint=True)}),
        ("us-east-1", {"config": Config(use_fips_endpoint=True)}),
        ("us-east-1", {"config": Config(inject_host_prefix=False)}),
        ("us-east-1", {"endpoint_url": "http://localhost:5000/some/where/"}),
        ("us-east-1", {"endpoint_url": "https://vpce-1.airflow.us-east-1.vpce.amazonaws.com"}),
    ],
)
def test_calls_go_where_boto3s_go(region, changes):
    client = client_of(region, **changes)
    for name in ("env", "My-Env_1", "ü n/..?#%20"):
        assert invoke_url(client, name) == asked_by_boto3(client, name, RestCall("GET", "/x")).url


@pytest.mark.parametrize(
    "call",
    [
        RestCall("GET", "/dags"),
        RestCall("GET", "/dags", query={"limit": 100, "tags": ["a", "b"], "x": None, "y": True}),
        RestCall("POST", "/dags/ü/dagRuns", body={"conf": {"☃": "\ud83d\ude00"}, "n": None}),
        RestCall("PATCH", "/x", query={}, body={}),
        RestCall("PUT", "/x", body={"nested": [{"a": [1, 2.5, -3e9, '\u0000"\\']}]}),
    ],
)
def test_bodies_are_boto3s(call):
    request = asked_by_boto3(client_of(), "env", call)
    assert request_body(call) == request.body
    assert request.headers["Content-Type"] == b"application/json"


def test_the_signing_name_and_region_are_boto3s():
    request = asked_by_boto3(client_of("eu-west-1"), "env", RestCall("GET", "/x"))
    assert b"/eu-west-1/airflow/aws4_request" in request.headers["Authorization"]
    client = client_of("eu-west-1")
    assert client.meta.region_name == "eu-west-1"
    assert client.meta.service_model.signing_name == "airflow"


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"HTTPS_PROXY": "https://user:hidden@proxy.example:3128"}, "https://host.example"),
        ({"https_proxy": "socks5://proxy.example:3128"}, "https://host.example"),
        ({"HTTP_PROXY": "http://proxy.example:3128"}, "http://host.example"),
        ({"HTTPS_PROXY": "http://user:hidden@proxy.example:port", "NO_PROXY": "other"}, None),
    ],
)
def test_a_proxy_that_does_not_lead_tls_on_is_refused_clearly(monkeypatch, variables, url):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    client = client_of(endpoint_url=url)
    with pytest.raises(EnvironmentAccessError, match='transport = "boto3"') as caught:
        lean_transport(client, "env", **SETTINGS)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "host", "port", "secret"),
    [
        ("http://user:p%40ss@proxy.example:3128", "proxy.example", 3128, b"user:p@ss"),
        ("proxy.example:3128", "proxy.example", 3128, None),
        ("http://proxy.example", "proxy.example", 80, None),
    ],
)
def test_what_is_known_of_a_proxy(given, host, port, secret):
    proxy = proxy_for("https://host.example", {"https": given}, transport="lean")
    assert (proxy.host, proxy.port) == (host, port)
    told = base64.b64decode(proxy.headers.split()[-1]) if proxy.headers else None
    assert told == secret
    assert "dXNlc" not in repr(proxy)


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        (
            {"HTTPS_PROXY": "http://proxy.example", "NO_PROXY": "host.example"},
            "https://host.example",
        ),
        ({"HTTPS_PROXY": "http://proxy.example"}, "http://host.example"),
        ({"HTTPS_PROXY": "http://proxy.example", "NO_PROXY": ".amazonaws.com"}, None),
    ],
)
def test_a_proxy_for_others_is_none(monkeypatch, variables, url):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    lean_transport(client_of(endpoint_url=url), "env", **SETTINGS)


def test_loopback_goes_past_the_proxy(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    client = invoke_client(
        environment="env", region="us-east-1", profile=None, retries="off", **SETTINGS
    )
    assert lean_transport(client, "env", **SETTINGS)(RestCall("GET", "/dags")).outcome == "ok"


def test_unverified_tls_is_refused():
    with pytest.raises(EnvironmentAccessError, match="AWS_CA_BUNDLE"):
        lean_transport(client_of(verify=False), "env", **SETTINGS)


def test_without_tls_there_is_nothing_to_verify():
    client = client_of(verify=False, endpoint_url="http://localhost:1")
    lean_transport(client, "env", **SETTINGS)


def test_the_ca_bundle_of_the_profile(tmp_path, monkeypatch):
    (tmp_path / "config").write_text(f"[default]\nca_bundle = {tmp_path / 'ca.pem'}\n")
    (tmp_path / "ca.pem").write_text("not a certificate")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with pytest.raises(EnvironmentAccessError, match=r"ca\.pem"):
        lean_transport(client_of(), "env", **SETTINGS)


CALL = RestCall("GET", "/dags", query={"limit": 5})


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    gateway = GatewaySettings(timeout_s=0.5)
    settings = StandInSettings(gateway=gateway)
    with Stand(tmp_path_factory.mktemp("stand") / "trail.jsonl", settings=settings) as stand:
        yield stand


@pytest.fixture(autouse=True)
def _fresh(stand):
    stand.webservers[0].replies.clear()
    stand.clock_offset_s = 0.0


def open_for(stand: Stand, environment: str = ENVIRONMENT, **credentials: str) -> Transport:
    return lean_transport(
        stand.client(**credentials),
        environment,
        call_timeout_s=5.0,
        max_in_flight=8,
        service_timeout_s=0.5,
    )


def test_a_signed_call(stand):
    result = open_for(stand)(CALL)
    assert (result.outcome, result.http_status, result.airflow_status) == ("ok", 200, 200)
    event = stand.cloudtrail()[-1]
    assert event["eventName"] == "InvokeRestApi"
    assert event["userAgent"] == "headroom lean"


def test_a_call_with_everything_in_it(stand):
    call = RestCall("POST", "/dags/d/dagRuns", query={"a": ["ü", 1]}, body={"conf": {"x": "☃"}})
    assert open_for(stand)(call).outcome == "ok"
    assert stand.webservers[0].seen[-1].method == "POST"


def test_temporary_keys(stand):
    send = open_for(stand, aws_access_key_id=TEMPORARY_KEY_ID, aws_session_token=SESSION_TOKEN)
    assert send(CALL).outcome == "ok"


@pytest.mark.parametrize(
    ("credentials", "code"),
    [
        ({"aws_secret_access_key": "wrong"}, "InvalidSignatureException"),
        ({"aws_access_key_id": "AKIDNOBODY"}, "UnrecognizedClientException"),
        ({"aws_access_key_id": TEMPORARY_KEY_ID}, "UnrecognizedClientException"),
        ({"aws_access_key_id": POWERLESS_KEY_ID}, "AccessDeniedException"),
        ({"region_name": "eu-west-3"}, "InvalidSignatureException"),
    ],
)
def test_a_caller_who_may_not(stand, credentials, code):
    result = open_for(stand, **credentials)(CALL)
    assert (result.outcome, result.error_code) == ("denied", code)


def test_a_clock_that_is_wrong(stand):
    stand.clock_offset_s = 3600.0
    assert open_for(stand)(CALL).error_code == "InvalidSignatureException"


def test_an_environment_that_is_not_there(stand):
    result = open_for(stand, "other")(CALL)
    assert (result.outcome, result.error_code) == ("not_found", "ResourceNotFoundException")


def test_airflows_own_error(stand):
    stand.webservers[0].replies["/api/v2/dags"] = Reply(status=404)
    result = open_for(stand)(CALL)
    assert (result.outcome, result.http_status) == ("airflow_client_error", 400)
    assert (result.airflow_status, result.error_code) == (404, "RestApiClientException")


def test_the_services_time_limit(stand):
    stand.webservers[0].replies["/api/v2/dags"] = Reply(delay_s=2.0)
    assert open_for(stand)(CALL).outcome == "service_timeout"


def test_many_at_once(stand):
    send = open_for(stand)
    calls = [gevent.spawn(send, CALL) for _ in range(100)]
    gevent.joinall(calls, timeout=60)
    assert {call.value.outcome for call in calls} == {"ok"}


def test_the_same_as_boto3(stand):
    send = open_for(stand)
    stand.invoke("/dags", QueryParameters={"limit": 5})
    by_boto3 = stand.webservers[0].seen[-1]
    assert send(CALL) == CallResult("ok", 200, 200, response_bytes=send(CALL).response_bytes)
    seen = stand.webservers[0].seen[-1]
    assert (seen.method, seen.raw_path, seen.body) == (
        by_boto3.method,
        by_boto3.raw_path,
        by_boto3.body,
    )
