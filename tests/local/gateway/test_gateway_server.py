"""The four operations, called with a real boto3 client."""

import asyncio
import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from gateway_stand import (
    CREDENTIALS,
    ENVIRONMENT,
    KEY_ID,
    POWERLESS_KEY_ID,
    SECRET,
    VIEWER_KEY_ID,
    Reply,
    Stand,
    http_call,
    signed_headers,
)

from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.local.gateway.balancer import Balancer
from mwaa_headroom.harness.local.gateway.server import Gateway
from mwaa_headroom.harness.local.settings import StandInSettings, ThrottleSettings

AWS = Path(sys.executable).parent / "aws"
StartStand = Callable[..., Stand]


def error_of(call: Callable[[], Any]) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call()
    return dict(caught.value.response)


def status_of(error: dict[str, Any]) -> int:
    return int(error["ResponseMetadata"]["HTTPStatusCode"])


# --- InvokeRestApi: what Airflow sees ---------------------------------------------------------


def test_a_get_reaches_airflow_with_the_roles_authorization(stand: Stand) -> None:
    answer = stand.invoke("/dags", QueryParameters={"limit": 21, "paused": False})
    assert answer["RestApiStatusCode"] == 200
    assert answer["RestApiResponse"] == {"ok": True}
    assert answer["ResponseMetadata"]["RequestId"]
    (seen,) = stand.webservers[0].seen
    assert (seen.method, seen.raw_path) == ("GET", "/api/v2/dags?limit=21&paused=false")
    assert seen.headers["Authorization"] == "Bearer airflow-Admin"
    assert seen.body == b""


@pytest.mark.parametrize(
    "sent",
    [
        *("path%2Fto%2Ffile", "pct%2541", "q%3Fx", "%2E", "%2E%2E", "a%20b", "%23"),
        *("ordini_pi%C3%B9", "manual__2026-01-01T00:00:00+00:00", "x" * 30),
    ],
)
def test_ids_reach_airflow_as_they_were_encoded(stand: Stand, sent: str) -> None:
    stand.invoke(f"/dags/d/dagRuns/{sent}")
    assert stand.webservers[0].seen[0].raw_path == f"/api/v2/dags/d/dagRuns/{sent}"


def test_what_no_path_can_hold_is_encoded(stand: Stand) -> None:
    stand.invoke('/dags/d/dagRuns/ordini_più "#')
    (seen,) = stand.webservers[0].seen
    assert seen.raw_path == "/api/v2/dags/d/dagRuns/ordini_pi%C3%B9%20%22%23"


def test_the_callers_role_decides_the_authorization(stand: Stand) -> None:
    viewer = stand.client(aws_access_key_id=VIEWER_KEY_ID)
    viewer.invoke_rest_api(Name=ENVIRONMENT, Path="/dags", Method="GET")
    assert stand.webservers[0].seen[0].headers["Authorization"] == "Bearer airflow-Viewer"


@pytest.mark.parametrize(
    ("airflow_version", "path", "target"),
    [
        ("3.3.1", "/monitor/health", "/api/v2/monitor/health"),
        ("2.11.2", "/health", "/api/v1/health"),
    ],
)
def test_the_airflow_version_decides_the_prefix(
    start_stand: StartStand, airflow_version: str, path: str, target: str
) -> None:
    stand = start_stand(airflow_version=airflow_version)
    stand.invoke(path)
    assert stand.webservers[0].seen[0].raw_path == target


def test_query_lists_repeat_their_key_and_nulls_vanish(stand: Stand) -> None:
    stand.invoke("/dags", QueryParameters={"tags": ["a", "b c"], "order_by": None, "limit": 1})
    assert stand.webservers[0].seen[0].raw_path == "/api/v2/dags?tags=a&tags=b+c&limit=1"


def test_a_run_id_in_the_path_survives(stand: Stand) -> None:
    stand.invoke("/dags/my dag/dagRuns/manual__2025-10-06T10:00:00.123456+00:00")
    assert stand.webservers[0].seen[0].raw_path == (
        "/api/v2/dags/my%20dag/dagRuns/manual__2025-10-06T10:00:00.123456+00:00"
    )


@pytest.mark.parametrize("body", [{"logical_date": None}, [1, "ä"], True])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_body_arrives_as_json(stand: Stand, method: str, body: Any) -> None:
    stand.invoke("/dags/x/dagRuns", method, Body=body)
    (seen,) = stand.webservers[0].seen
    assert seen.method == method
    assert seen.headers["Content-Type"] == "application/json"
    assert json.loads(seen.body) == body


def test_the_providers_empty_body_on_a_get_is_dropped(stand: Stand) -> None:
    stand.invoke("/dags", "GET", Body={}, QueryParameters={})
    (seen,) = stand.webservers[0].seen
    assert (seen.raw_path, seen.body) == ("/api/v2/dags", b"")
    assert "Content-Type" not in seen.headers


@pytest.mark.parametrize(
    ("unwrap", "body", "arrives"),
    [
        (True, '{"conf": {}}', b'{"conf": {}}'),
        (True, "not JSON", b'"not JSON"'),
        (False, '{"conf": {}}', b'"{\\"conf\\": {}}"'),
    ],
)
def test_a_string_body(start_stand: StartStand, unwrap: bool, body: str, arrives: bytes) -> None:
    stand = start_stand(unwrap_string_body=unwrap)
    stand.invoke("/dags/x/dagRuns", "POST", Body=body)
    assert stand.webservers[0].seen[0].body == arrives


def test_connections_to_a_webserver_are_kept(stand: Stand) -> None:
    for _ in range(5):
        stand.invoke()
    assert len({seen.peer_port for seen in stand.webservers[0].seen}) == 1


# --- InvokeRestApi: what the caller sees ------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 307])
def test_airflows_success_keeps_its_status(stand: Stand, status: int) -> None:
    stand.webservers[0].replies["/api/v2/x"] = Reply(status, b'{"a": [1, null, "\xc3\xa4"]}')
    answer = stand.invoke("/x")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert answer["RestApiStatusCode"] == status
    assert answer["RestApiResponse"] == {"a": [1, None, "ä"]}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "RestApiClientException"),
        (404, "RestApiClientException"),
        (409, "RestApiClientException"),
        (429, "RestApiClientException"),
        (499, "RestApiClientException"),
        (500, "RestApiServerException"),
        (503, "RestApiServerException"),
    ],
)
def test_airflows_errors_become_http_400(stand: Stand, status: int, code: str) -> None:
    stand.webservers[0].replies["/api/v2/x"] = Reply(status, b'{"detail": "no"}')
    error = error_of(lambda: stand.invoke("/x"))
    assert status_of(error) == 400
    assert error["Error"]["Code"] == code
    assert error["RestApiStatusCode"] == status
    assert error["RestApiResponse"] == {"detail": "no"}


@pytest.mark.parametrize(
    ("status", "reply_body", "seen"),
    [
        (200, b"pong \xe2\x82\xac \xff", "pong \u20ac \ufffd"),
        (204, b"", ""),
        (500, b"<h1>", "<h1>"),
    ],
)
def test_anything_but_json_becomes_a_string(
    stand: Stand, status: int, reply_body: bytes, seen: str
) -> None:
    stand.webservers[0].replies["/api/v2/x"] = Reply(status, reply_body, "text/html")
    if status < 400:
        assert stand.invoke("/x")["RestApiResponse"] == seen
    else:
        assert error_of(lambda: stand.invoke("/x"))["RestApiResponse"] == seen


def test_nulls_can_be_dropped(start_stand: StartStand) -> None:
    stand = start_stand(drop_nulls=True)
    stand.webservers[0].replies["/api/v2/x"] = Reply(body=b'{"a": null, "b": [null, {"c": null}]}')
    assert stand.invoke("/x")["RestApiResponse"] == {"b": [None, {}]}


@pytest.mark.parametrize(
    ("exception", "status"), [("InternalServerException", 500), ("RestApiServerException", 400)]
)
def test_a_slow_answer_is_cut_off(start_stand: StartStand, exception: str, status: int) -> None:
    stand = start_stand(timeout_s=0.1, timeout_exception=exception)
    (webserver,) = stand.webservers
    webserver.replies["/api/v2/slow"] = Reply(delay_s=60)
    error = error_of(lambda: stand.invoke("/slow"))
    assert (error["Error"]["Code"], status_of(error)) == (exception, status)
    if exception == "RestApiServerException":
        assert error["RestApiStatusCode"] == 504
    assert webserver.abandoned.wait(10), "the connection to the webserver was not closed"
    assert stand.balancer.in_flight(webserver.name) == 0


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("exception", "status"), [("ValidationException", 400), ("InternalServerException", 500)]
)
def test_a_large_answer_is_refused(
    start_stand: StartStand, exception: str, status: int, chunked: bool
) -> None:
    stand = start_stand(max_response_bytes=10_000, too_large_exception=exception)
    replies = stand.webservers[0].replies
    replies["/api/v2/fits"] = Reply(body=b'"%b"' % (b"x" * 9_998), chunked=chunked)
    replies["/api/v2/large"] = Reply(body=b'"%b"' % (b"x" * 9_999), chunked=chunked)
    assert len(stand.invoke("/fits")["RestApiResponse"]) == 9_998
    error = error_of(lambda: stand.invoke("/large"))
    assert (error["Error"]["Code"], status_of(error)) == (exception, status)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"Method": "HEAD"}, "at 'method' failed to satisfy constraint: Member must satisfy enum"),
        ({"Path": "dags"}, "must begin with '/'"),
        ({"Path": "/../../admin"}, "'..'"),
        ({"Path": "/dags/./x"}, "'.'"),
        ({"Path": "http://elsewhere/"}, "must begin with '/'"),
        ({"Path": "/dags?limit=1"}, "use QueryParameters"),
        ({"QueryParameters": [1]}, "QueryParameters must be an object"),
        ({"QueryParameters": {"a": {"b": 1}}}, "QueryParameters.a must be a value"),
        ({"QueryParameters": {"a": [1] * 30_000}}, "longer than a request line"),
        ({"Name": "no spaces"}, "regular expression pattern"),
    ],
)
def test_invalid_calls_are_named(stand: Stand, members: dict[str, Any], message: str) -> None:
    call = {"Name": ENVIRONMENT, "Path": "/dags", "Method": "GET", **members}
    error = error_of(lambda: stand.client().invoke_rest_api(**call))
    assert (error["Error"]["Code"], status_of(error)) == ("ValidationException", 400)
    assert message in error["Error"]["Message"]
    assert stand.webservers[0].seen == []


@pytest.mark.parametrize(
    ("document", "code", "message"),
    [
        ({"Method": "GET"}, "ValidationException", "Value null at 'path'"),
        ({"Path": "/dags"}, "ValidationException", "Value null at 'method'"),
        ({"Path": "", "Method": "GET"}, "ValidationException", "greater than or equal to 1"),
        ({"Path": 1, "Method": "GET"}, "ValidationException", "Path must be a string"),
        ([], "SerializationException", "not a JSON object"),
    ],
)
def test_calls_that_botocore_would_not_send(
    stand: Stand, document: Any, code: str, message: str
) -> None:
    def change_body(request: Any, **_: Any) -> None:
        request.data = json.dumps(document).encode()

    client = stand.client()
    client.meta.events.register("request-created.mwaa.InvokeRestApi", change_body)
    # botocore's signer listens to the same event and must come after the change
    client.meta.events.unregister("request-created.mwaa", client._request_signer.handler)
    client.meta.events.register_last("request-created.mwaa", client._request_signer.handler)
    error = error_of(lambda: client.invoke_rest_api(Name=ENVIRONMENT, Path="/dags", Method="GET"))
    assert (error["Error"]["Code"], status_of(error)) == (code, 400)
    assert message in error["Error"]["Message"]


@pytest.mark.parametrize("enforced", [False, True])
def test_a_path_over_64_characters(start_stand: StartStand, enforced: bool) -> None:
    stand = start_stand(enforce_path_limit=enforced)
    stand.invoke("/" + "x" * 63)
    if enforced:
        error = error_of(lambda: stand.invoke("/" + "x" * 64))
        assert "length less than or equal to 64" in error["Error"]["Message"]
    else:
        assert stand.invoke("/" + "x" * 64)["RestApiStatusCode"] == 200


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.invoke_rest_api(Name="other", Path="/dags", Method="GET"),
        lambda client: client.create_web_login_token(Name="other"),
        lambda client: client.get_environment(Name="other"),
    ],
)
def test_an_unknown_environment_is_not_found(stand: Stand, call: Callable[[Any], Any]) -> None:
    error = error_of(lambda: call(stand.client()))
    assert (error["Error"]["Code"], status_of(error)) == ("ResourceNotFoundException", 404)
    assert "other" in error["Error"]["Message"]


@pytest.mark.parametrize(
    ("call", "action", "resource"),
    [
        (
            lambda client: client.invoke_rest_api(Name=ENVIRONMENT, Path="/dags", Method="GET"),
            "InvokeRestApi",
            f"role/{ENVIRONMENT}/Admin",
        ),
        (
            lambda client: client.create_web_login_token(Name=ENVIRONMENT),
            "CreateWebLoginToken",
            f"role/{ENVIRONMENT}/Admin",
        ),
        (
            lambda client: client.get_environment(Name=ENVIRONMENT),
            "GetEnvironment",
            f"environment/{ENVIRONMENT}",
        ),
        (lambda client: client.list_environments(), "ListEnvironments", "environment/*"),
    ],
)
def test_a_missing_permission_is_named(
    stand: Stand, call: Callable[[Any], Any], action: str, resource: str
) -> None:
    error = error_of(lambda: call(stand.client(aws_access_key_id=POWERLESS_KEY_ID)))
    assert (error["Error"]["Code"], status_of(error)) == ("AccessDeniedException", 403)
    assert error["Error"]["Message"].startswith(
        "User: arn:aws:iam::123456789012:user/nobody is not authorized to perform: "
        f"airflow:{action} on resource: arn:aws:airflow:us-east-1:123456789012:{resource} "
    )


def test_an_operation_that_does_not_exist(stand: Stand) -> None:
    error = error_of(lambda: stand.client().delete_environment(Name=ENVIRONMENT))
    assert (error["Error"]["Code"], status_of(error)) == ("UnknownOperationException", 404)


def test_a_request_beyond_the_size_limit(stand: Stand) -> None:
    error = error_of(lambda: stand.invoke("/x", "POST", Body="x" * 11_000_000))
    assert (error["Error"]["Code"], status_of(error)) == ("RequestEntityTooLargeException", 413)


def test_the_size_limit_is_a_setting(start_stand: StartStand) -> None:
    stand = start_stand(max_request_bytes=1000)
    assert stand.invoke("/x", "POST", Body="x" * 500)["RestApiStatusCode"] == 200
    error = error_of(lambda: stand.invoke("/x", "POST", Body="x" * 1000))
    assert (error["Error"]["Code"], status_of(error)) == ("RequestEntityTooLargeException", 413)


@pytest.mark.parametrize(
    ("code", "status"), [("ThrottlingException", 429), ("TooManyRequestsException", 400)]
)
def test_the_throttle_answers_as_set(start_stand: StartStand, code: str, status: int) -> None:
    throttle = ThrottleSettings(rate_per_s=0.001, burst=2, error_code=code, http_status=status)
    stand = start_stand(throttle=throttle)
    stand.invoke()
    stand.invoke()
    error = error_of(stand.invoke)
    assert (error["Error"]["Code"], status_of(error)) == (code, status)
    assert error["Error"]["Message"] == "Rate exceeded"
    assert "x-amz-retry-after" not in error["ResponseMetadata"]["HTTPHeaders"]
    stand.client().get_environment(Name=ENVIRONMENT)  # only InvokeRestApi is throttled
    assert stand.gateway.calls_handled == 4
    assert stand.gateway.outcomes == {"ok": 3, code: 1}


def test_the_throttle_may_say_when_to_come_back(start_stand: StartStand) -> None:
    stand = start_stand(throttle=ThrottleSettings(rate_per_s=0.001, burst=1, retry_after_ms=250))
    assert "x-amz-retry-after" not in stand.invoke()["ResponseMetadata"]["HTTPHeaders"]
    headers = error_of(stand.invoke)["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amz-retry-after"] == "250"


# --- webservers that fail ---------------------------------------------------------------------


def test_an_environment_that_needs_an_update_says_so_in_plain_text(
    start_stand: StartStand,
) -> None:
    """Its code is only in a header, as was seen on AWS."""
    stand = start_stand(needs_update=True)
    client = stand.client()
    raw: list[Any] = []
    client.meta.events.register(
        "before-parse.mwaa", lambda response_dict, **_: raw.append(response_dict)
    )
    with pytest.raises(client.exceptions.ValidationException, match="Update your environment"):
        client.invoke_rest_api(Name=ENVIRONMENT, Path="/dags", Method="GET")
    assert raw[0]["body"] == b"Update your environment to use InvokeRestApi"
    assert raw[0]["headers"]["content-type"].startswith("text/plain")


def test_without_a_webserver_the_service_is_at_fault(start_stand: StartStand) -> None:
    stand = start_stand(webservers=0)
    error = error_of(stand.invoke)
    assert (error["Error"]["Code"], status_of(error)) == ("InternalServerException", 500)


def test_a_get_moves_on_from_a_webserver_that_is_gone(start_stand: StartStand) -> None:
    stand = start_stand(webservers=2)
    stand.kill("webserver-1")
    for _ in range(4):
        assert stand.invoke()["RestApiStatusCode"] == 200
    assert len(stand.webservers[1].seen) == 4
    assert stand.balancer.ready_names() == ("webserver-2",)


def test_a_get_that_got_no_answer_is_sent_once_more(start_stand: StartStand) -> None:
    stand = start_stand(webservers=3)
    for webserver in stand.webservers:
        webserver.replies["/api/v2/x"] = Reply(hang_up=True)
    assert error_of(lambda: stand.invoke("/x"))["Error"]["Code"] == "InternalServerException"
    assert sorted(len(webserver.seen) for webserver in stand.webservers) == [0, 1, 1]
    assert len(stand.balancer.ready_names()) == 3  # a reset is no reason to replace a webserver


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_change_is_never_sent_twice(start_stand: StartStand, method: str) -> None:
    stand = start_stand(webservers=2)
    for webserver in stand.webservers:
        webserver.replies["/api/v2/x"] = Reply(hang_up=True)
    error = error_of(lambda: stand.invoke("/x", method, Body={}))
    assert (error["Error"]["Code"], status_of(error)) == ("InternalServerException", 500)
    assert sum(len(webserver.seen) for webserver in stand.webservers) == 1


def test_an_answer_that_breaks_off_is_not_asked_for_again(start_stand: StartStand) -> None:
    stand = start_stand(webservers=2)
    for webserver in stand.webservers:
        webserver.replies["/api/v2/x"] = Reply(break_off=True)
    assert error_of(lambda: stand.invoke("/x"))["Error"]["Code"] == "InternalServerException"
    assert sum(len(webserver.seen) for webserver in stand.webservers) == 1
    assert sum(stand.balancer.in_flight(name) for name in stand.balancer.names()) == 0


def test_calls_spread_over_the_webservers(start_stand: StartStand) -> None:
    stand = start_stand(webservers=2)
    for _ in range(6):
        stand.invoke()
    assert [len(webserver.seen) for webserver in stand.webservers] == [3, 3]


def test_a_drained_webserver_ends_its_calls_and_gets_no_new_ones(start_stand: StartStand) -> None:
    stand = start_stand(webservers=2)
    first, second = stand.webservers
    first.replies["/api/v2/slow"] = Reply(delay_s=0.5)
    stand.client()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(stand.invoke, "/slow")
        while not first.seen:
            stand.run(asyncio.sleep(0.01))
        assert stand.run(stand.balancer.drain(first.name, timeout_s=20))
        assert slow.result()["RestApiStatusCode"] == 200
    stand.balancer.remove(first.name)
    for _ in range(3):
        stand.invoke()
    assert (len(first.seen), len(second.seen)) == (1, 3)


# --- the environment and the gateway itself ---------------------------------------------------


def test_get_environment_is_what_botocore_expects(stand: Stand) -> None:
    environment = stand.client().get_environment(Name=ENVIRONMENT)["Environment"]
    assert environment["Status"] == "AVAILABLE"
    assert environment["AirflowVersion"] == "3.3.1"
    assert environment["EnvironmentClass"] == "mw1.small"
    assert (environment["MinWebservers"], environment["MaxWebservers"]) == (2, 4)
    assert environment["Arn"] == f"arn:aws:airflow:us-east-1:123456789012:environment/{ENVIRONMENT}"
    assert environment["WebserverUrl"] == stand.addresses.webserver_url
    assert environment["LastUpdate"]["CreatedAt"] == environment["CreatedAt"]
    assert environment["CreatedAt"].year >= 2024
    model = stand.client().meta.service_model.shape_for("Environment")
    assert set(environment) <= set(model.members)


def test_list_environments_names_it(stand: Stand) -> None:
    pages = stand.client().get_paginator("list_environments").paginate()
    assert pages.build_full_result()["Environments"] == [ENVIRONMENT]


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}]
)
def test_what_a_web_page_sends_is_refused_at_both_ports(
    stand: Stand, headers: dict[str, str]
) -> None:
    answer = http_call(stand.addresses.mwaa_url, "GET", "/environments", headers=headers)
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (403, "ForbiddenException")
    assert "Host" in answer.json()["message"]
    login = http_call(
        stand.addresses.webserver_url,
        "POST",
        "/pluginsv2/aws_mwaa/login",
        headers=headers,
        form={"token": "x"},
    )
    assert login.status == 403


def test_hosts_with_awss_prefixes_are_ours(stand: Stand) -> None:
    port = stand.addresses.mwaa_url.rpartition(":")[2]
    for host in (f"api.localhost:{port}", f"env.127.0.0.1:{port}"):
        answer = http_call(stand.addresses.mwaa_url, "GET", "/environments", headers={"Host": host})
        assert answer.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"


INVOCATION = b'{"Path": "/dags", "Method": "GET"}'


@pytest.mark.parametrize(
    ("signed", "encoding", "code"),
    [
        (
            INVOCATION,
            "gzip",
            "InvalidSignatureException",
        ),  # of the unpacked body, while AWS hashes what it was sent
        (gzip.compress(INVOCATION, mtime=0), "gzip", "MalformedHttpRequestException"),
        (gzip.compress(INVOCATION, mtime=0), "garbage", "MalformedHttpRequestException"),
        (gzip.compress(INVOCATION, mtime=0), "identity", "SerializationException"),
    ],
)
def test_the_bytes_sent_are_what_is_signed_and_read(
    stand: Stand, signed: bytes, encoding: str, code: str
) -> None:
    url, path = stand.addresses.mwaa_url, f"/restapi/{ENVIRONMENT}"
    headers = signed_headers(url, "POST", path, signed, {"Content-Encoding": encoding})
    sent = gzip.compress(INVOCATION, mtime=0)
    answer = http_call(url, "POST", path, headers=headers, body=sent)
    assert answer.headers["x-amzn-errortype"] == code


def test_nobody_unknown_makes_it_hold_a_body(stand: Stand) -> None:
    port = int(stand.addresses.mwaa_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as caller:
        head = f"POST /restapi/{ENVIRONMENT} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        caller.sendall(f"{head}Content-Length: 10000000\r\n\r\n".encode())
        assert caller.recv(4096).startswith(b"HTTP/1.1 403 ")


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    async def start(port: int) -> None:
        gateway = Gateway(
            settings=StandInSettings(gateway_port=port),
            airflow_version="3.3.1",
            balancer=Balancer(),
            credentials=CREDENTIALS,
            authorization=lambda role: asyncio.sleep(0),
            cloudtrail_path=tmp_path / "trail.jsonl",
        )
        await gateway.start()

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"Port {port} .* set environment.gateway_port or"):
            asyncio.run(start(port))


@pytest.mark.slow
@pytest.mark.skipif(not AWS.exists(), reason="the AWS command line is not installed")
def test_the_aws_command_line_works(stand: Stand, tmp_path: Path) -> None:
    def aws(*arguments: str) -> dict[str, object]:
        done = subprocess.run(
            [AWS, "mwaa", *arguments, "--endpoint-url", stand.addresses.mwaa_url],
            env={
                "PATH": str(AWS.parent),
                "HOME": str(tmp_path),
                "AWS_ACCESS_KEY_ID": KEY_ID,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_DEFAULT_REGION": stand.settings.region,
                "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
                "AWS_MAX_ATTEMPTS": "1",
            },
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    answer = aws(
        *("invoke-rest-api", "--name", ENVIRONMENT, "--path", "/dags/x/dagRuns"),
        *("--method", "POST", "--body", '{"logical_date": null}'),
    )
    assert answer == {"RestApiStatusCode": 200, "RestApiResponse": {"ok": True}}
    assert json.loads(stand.webservers[0].seen[0].body) == {"logical_date": None}
    environment = aws("get-environment", "--name", ENVIRONMENT)["Environment"]
    assert isinstance(environment, dict)
    assert environment["Status"] == "AVAILABLE"
