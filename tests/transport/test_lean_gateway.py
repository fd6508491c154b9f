"""The lean transport against the stand-in's own gateway, which checks every signature."""

import gevent
import pytest
from local.gateway.gateway_stand import (
    ENVIRONMENT,
    POWERLESS_KEY_ID,
    SESSION_TOKEN,
    TEMPORARY_KEY_ID,
    Reply,
    Stand,
)

from mwaa_headroom.harness.local.settings import GatewaySettings, StandInSettings
from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport.lean import lean_transport
from mwaa_headroom.harness.transport.outcome import CallResult, Transport

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
