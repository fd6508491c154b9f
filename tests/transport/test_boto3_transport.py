"""Every answer botocore can meet becomes the right outcome: a real client against a real server."""

import socket

import pytest
from canned_service import point_aws_at

from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME
from mwaa_headroom.harness.errors import EnvironmentAccessError
from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport.boto3_transport import boto3_transport, invoke_client
from mwaa_headroom.harness.transport.outcome import UNSENT, CallResult

CALL = RestCall("GET", "/dags", query={"limit": 5})


@pytest.fixture(scope="module")
def shared_client(listening):
    """Making a client takes longer than most of these tests."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        point_aws_at(monkeypatch, listening.url)
        return make_client()


def make_client(call_timeout_s: float = 5.0):
    return invoke_client(
        environment="env",
        region="us-east-1",
        profile=None,
        call_timeout_s=call_timeout_s,
        max_in_flight=4,
    )


def send(call: RestCall = CALL, *, call_timeout_s: float = 5.0) -> CallResult:
    """Send one call through a new client, as the process's environment configures it now."""
    return boto3_transport(make_client(call_timeout_s), "env")(call)


def send_taking(took_s: float, client, **settings: float) -> CallResult:
    """Send one call that seems to take `took_s`."""
    moments = iter([100.0, 100.0 + took_s])
    return boto3_transport(client, "env", clock=lambda: next(moments), **settings)(CALL)


def test_a_good_call(server):
    assert send() == CallResult(
        outcome="ok",
        http_status=200,
        airflow_status=200,
        error_code=None,
        response_bytes=len(server.body),
        attempts=1,
    )
    path, headers, body = server.asked[0]
    assert path == "/restapi/env"
    assert body == {"Method": "GET", "Path": "/dags", "QueryParameters": {"limit": 5}}
    assert "/us-east-1/airflow/aws4_request" in headers["Authorization"]
    assert headers["amz-sdk-request"] == "attempt=1; max=1"


def test_the_body_keeps_its_nulls(server):
    """Airflow 3 requires the key `logical_date`, which is null."""
    send(RestCall("POST", "/dags/d/dagRuns", body={"conf": {}, "logical_date": None}))
    assert server.asked[0][2]["Body"] == {"conf": {}, "logical_date": None}
    assert "QueryParameters" not in server.asked[0][2]


def airflow(status: int) -> dict[str, object]:
    return {"RestApiStatusCode": status, "RestApiResponse": {"detail": "why"}}


# took_s: None where it does not matter. Facts: botocore's service model of `mwaa` (2020-07-01):
# RestApiClientException and RestApiServerException are both HTTP 400 and carry Airflow's status.
ANSWERS = [
    # Airflow's own errors
    (400, "RestApiClientException", airflow(404), None, "airflow_client_error"),
    (400, "RestApiClientException", airflow(409), None, "airflow_client_error"),
    (400, "RestApiClientException", airflow(422), None, "airflow_client_error"),
    (400, "RestApiClientException", airflow(429), None, "airflow_client_error"),
    (400, "RestApiClientException", {}, None, "airflow_client_error"),
    (400, "RestApiServerException", airflow(500), None, "airflow_server_error"),
    (400, "RestApiServerException", airflow(503), None, "airflow_server_error"),
    (400, "RestApiServerException", {}, None, "airflow_server_error"),
    # Airflow's own server error that happened to be slow stays Airflow's
    (400, "RestApiServerException", airflow(500), 10.0, "airflow_server_error"),
    # somebody between the service and Airflow gave up: early it is not the 10 s limit
    (400, "RestApiServerException", airflow(504), 3.0, "airflow_server_error"),
    (400, "RestApiServerException", airflow(504), 10.0, "service_timeout"),
    (400, "RestApiServerException", {}, 10.0, "service_timeout"),
    # the service's own errors
    (500, "InternalServerException", {"message": "no"}, 0.1, "service_error"),
    (500, "InternalServerException", {"message": "no"}, 9.4, "service_error"),
    (500, "InternalServerException", {"message": "no"}, 9.6, "service_timeout"),
    (500, "InternalServerException", {"message": "no"}, 12.0, "service_timeout"),
    (503, "ServiceUnavailableException", {"message": "no"}, 10.0, "service_error"),
    (500, None, {}, None, "service_error"),
    (502, None, {}, None, "service_error"),
    (503, None, {}, None, "service_error"),
    (504, None, {}, 1.0, "service_error"),
    (504, None, {}, 10.0, "service_timeout"),
    (509, None, {}, None, "service_error"),
    # throttles: no exception of this service's model, so any of AWS's general codes
    (400, "ThrottlingException", {"message": "Rate exceeded"}, None, "throttled"),
    (429, "ThrottlingException", {"message": "Rate exceeded"}, None, "throttled"),
    (400, "TooManyRequestsException", {"message": "Rate exceeded"}, None, "throttled"),
    (429, "TooManyRequestsException", {"message": "Rate exceeded"}, None, "throttled"),
    (400, "LimitExceededException", {"message": "Rate exceeded"}, None, "throttled"),
    (400, "Throttling", {}, None, "throttled"),
    (503, "SlowDown", {"message": "Reduce your rate"}, None, "throttled"),
    (429, None, {}, None, "throttled"),
    (429, "SomethingNew", {}, None, "throttled"),
    # the caller's own fault
    (403, "AccessDeniedException", {"Message": "Airflow role"}, None, "denied"),
    (403, "AccessDeniedException", {"Message": "Private webserver"}, None, "denied"),
    (403, "AccessDeniedException", {"Message": "limit the response"}, None, "denied"),
    (403, "InvalidSignatureException", {"message": "expired"}, None, "denied"),
    (403, "UnrecognizedClientException", {"message": "who"}, None, "denied"),
    (400, "ExpiredTokenException", {"message": "old"}, None, "denied"),
    (403, None, {}, None, "denied"),
    (401, None, {}, None, "denied"),
    (404, "ResourceNotFoundException", {"message": "no env"}, None, "not_found"),
    (404, None, {}, None, "not_found"),
    (400, "ValidationException", {"message": "Path is wrong"}, None, "invalid"),
    (
        400,
        "ValidationException",
        {"message": "Update your environment to use InvokeRestApi"},
        None,
        "invalid",
    ),
    (413, "RequestEntityTooLargeException", {"message": "The request is larger"}, None, "invalid"),
    (400, None, {}, None, "invalid"),
    (408, None, {}, None, "connection_error"),
    # the documented limit of 6 MB; code and text are not documented
    (
        400,
        "ValidationException",
        {"message": "The response is larger than 6291456 bytes"},
        None,
        "response_too_large",
    ),
    (
        500,
        "InternalServerException",
        {"message": "Response payload size exceeded maximum allowed size"},
        0.5,
        "response_too_large",
    ),
    (413, "PayloadTooLarge", {"message": "response too large"}, None, "response_too_large"),
]


@pytest.mark.parametrize(("status", "code", "body", "took_s", "outcome"), ANSWERS)
def test_errors_of_the_service(server, shared_client, status, code, body, took_s, outcome):
    server.error(status, code, **body)
    result = send_taking(took_s if took_s is not None else 0.1, shared_client)
    assert result.outcome == outcome, result
    assert result.http_status == status
    assert result.airflow_status == body.get("RestApiStatusCode")
    assert result.error_code == (code or str(status))
    assert result.attempts == 1
    assert len(server.asked) == 1, "the call must never be sent twice"
    assert "why" not in repr(result)


def test_a_service_with_another_time_limit(server, shared_client):
    server.error(500, "InternalServerException", message="no")
    result = send_taking(2.0, shared_client, service_timeout_s=2.0)
    assert result.outcome == "service_timeout"


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"", b"{}", b"[1]"])
def test_a_success_that_is_not_mwaas_is_no_success(server, shared_client, body):
    server.body = body
    assert boto3_transport(shared_client, "env")(CALL).outcome == "service_error"


def test_a_client_that_gives_up(server):
    server.delay_s = 0.5
    result = send(call_timeout_s=0.1)
    assert result == CallResult("client_timeout", error_code="ReadTimeoutError")
    assert len(server.asked) == 1


def test_a_server_that_hangs_up(server):
    server.hang_up = True
    assert send() == CallResult("connection_error", error_code="ConnectionClosedError")
    assert len(server.asked) == 1


def test_nobody_listens(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refused
        point_aws_at(monkeypatch, f"http://127.0.0.1:{taken.getsockname()[1]}")
        result = send()
    assert result == CallResult("connection_error", error_code="EndpointConnectionError")


def test_no_tls_on_the_other_side(server, monkeypatch):
    point_aws_at(monkeypatch, server.url.replace("http:", "https:"))
    assert send() == CallResult("connection_error", error_code="SSLError")


def test_what_boto3_itself_refuses(server):
    result = send(RestCall("GET", ""))
    assert result == CallResult("invalid", error_code="ParamValidationError")
    assert server.asked == []


def test_no_credentials(server, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert send() == CallResult("denied", error_code="NoCredentialsError")


def test_connections_are_reused(server):
    transport = boto3_transport(make_client(), "env")
    assert {transport(CALL).outcome for _ in range(5)} == {"ok"}
    assert len(server.asked) == 5


def test_a_missing_profile_is_one_sentence(server, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(EnvironmentAccessError, match="nobody"):
        make_client()


def test_awss_own_endpoint_keeps_its_host_prefix(monkeypatch):
    point_aws_at(monkeypatch, "")
    monkeypatch.delenv("AWS_ENDPOINT_URL_MWAA")
    assert make_client().meta.config.inject_host_prefix is True
    monkeypatch.setenv("AWS_DISABLE_HOST_PREFIX_INJECTION", "true")
    assert make_client().meta.config.inject_host_prefix is False


def test_loopback_goes_past_the_proxy(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert send().outcome == "ok"


def test_outcomes_are_words_of_the_schema():
    assert {row[-1] for row in ANSWERS} | {UNSENT.outcome} <= set(LAYER_OF_OUTCOME)
