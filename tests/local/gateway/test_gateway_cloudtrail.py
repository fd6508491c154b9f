"""The CloudTrail log: its documented fields, and nothing that must stay secret."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from gateway_stand import CREDENTIALS, ENVIRONMENT, KEY_ID, POWERLESS_KEY_ID, SECRET, Reply, Stand

from mwaa_headroom.harness.local.gateway.cloudtrail import CloudTrailLog


def test_a_call_leaves_the_documented_record(stand: Stand) -> None:
    """Fields as in the MWAA User Guide's example of an InvokeRestApi data event."""
    answer = stand.invoke("/dags", "GET", QueryParameters={"secret_filter": "hush"})
    (event,) = stand.cloudtrail()
    assert event["eventVersion"] == "1.09"
    assert event["eventSource"] == "airflow.amazonaws.com"
    assert event["eventName"] == "InvokeRestApi"
    assert event["eventCategory"] == "Data"
    assert event["eventType"] == "AwsApiCall"
    assert event["readOnly"] is False
    assert event["managementEvent"] is False
    assert event["eventTime"].endswith("Z")
    assert event["requestParameters"] == {"Name": ENVIRONMENT, "Path": "/dags", "Method": "GET"}
    assert event["responseElements"] == {"RestApiStatusCode": 200, "RestApiResponse": "***"}
    assert event["requestID"] == answer["ResponseMetadata"]["RequestId"]
    assert event["resources"][0]["ARN"].endswith(f":environment/{ENVIRONMENT}")
    assert event["userIdentity"]["accessKeyId"] == KEY_ID
    assert "Boto3" in event["userAgent"]
    assert "errorCode" not in event


def test_failures_carry_their_code(stand: Stand) -> None:
    stand.webservers[0].replies["/api/v2/x"] = Reply(404, b'{"detail": "hush"}')
    powerless = stand.client(aws_access_key_id=POWERLESS_KEY_ID)
    for call in (
        lambda: stand.client().invoke_rest_api(Name=ENVIRONMENT, Path="/x", Method="POST"),
        lambda: powerless.invoke_rest_api(Name=ENVIRONMENT, Path="/dags", Method="GET"),
    ):
        with pytest.raises(ClientError):
            call()
    airflow_error, denied = stand.cloudtrail()
    assert airflow_error["errorCode"] == "RestApiClientException"
    assert airflow_error["responseElements"] is None
    assert denied["errorCode"] == "AccessDeniedException"
    assert denied["userIdentity"]["userName"] == "nobody"


def test_only_data_events_of_known_callers_are_there(stand: Stand) -> None:
    stand.client().get_environment(Name=ENVIRONMENT)
    stand.client().list_environments()
    with pytest.raises(ClientError):
        stand.client(aws_secret_access_key="wrong").create_web_login_token(Name=ENVIRONMENT)
    assert stand.cloudtrail() == []


def test_no_secret_is_in_it(stand: Stand) -> None:
    stand.invoke("/variables", "POST", Body={"key": "k", "value": "hush"})
    token = stand.client().create_web_login_token(Name=ENVIRONMENT)["WebToken"]
    events = stand.cloudtrail()
    assert [event["eventName"] for event in events] == ["InvokeRestApi", "CreateWebLoginToken"]
    assert events[1]["responseElements"]["WebToken"] == "***"
    written = stand.cloudtrail_path.read_text()
    for secret in (token, "hush", SECRET, "airflow-Admin"):
        assert secret not in written


def test_no_secret_is_in_a_repr() -> None:
    assert SECRET not in repr(CREDENTIALS)


def test_stopping_writes_the_rest(tmp_path: Path, start_stand: Callable[..., Stand]) -> None:
    with Stand(tmp_path / "other.jsonl") as stand:
        stand.invoke()
    assert len((tmp_path / "other.jsonl").read_text().splitlines()) == 1


def test_events_wait_for_the_flush(tmp_path: Path) -> None:
    path = tmp_path / "trail.jsonl"
    log = CloudTrailLog(path)
    for n in range(3):
        log.add({"n": n})
    assert not path.exists()
    log.flush()
    log.flush()
    assert path.read_text().splitlines() == ['{"n": 0}', '{"n": 1}', '{"n": 2}']


def test_a_file_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = CloudTrailLog(tmp_path / "missing" / "trail.jsonl")
    log.add({})

    async def flush_once() -> None:
        flushing = asyncio.create_task(log.keep_flushing())
        await asyncio.sleep(0)
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)

    with caplog.at_level(logging.WARNING):
        asyncio.run(flush_once())
    assert "1 CloudTrail events were lost" in caplog.text
