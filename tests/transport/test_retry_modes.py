"""What a client's own retries do, counted where they arrive: at the server.

The numbers are those of botocore 1.44 (measured against a stub that never succeeds): standard and
adaptive send three times, legacy five times, and which answers are worth another attempt differs.
"""

import re
import subprocess
import sys

import pytest
from canned_service import CannedServer

from mwaa_headroom.harness.errors import EnvironmentAccessError
from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport.boto3_transport import (
    boto3_transport,
    invoke_client,
    longest_backoff_s,
    most_attempts,
)
from mwaa_headroom.harness.transport.outcome import CallResult

READ = RestCall("GET", "/dags")
TRIGGER = RestCall("POST", "/dags/d/dagRuns", body={"dag_run_id": "r", "logical_date": None})
MODES = ("off", "legacy", "standard", "adaptive")


def make_client(retries: str, call_timeout_s: float = 5.0):
    return invoke_client(
        environment="env",
        region="us-east-1",
        profile=None,
        call_timeout_s=call_timeout_s,
        max_in_flight=4,
        retries=retries,
    )


def send(retries: str, call: RestCall = READ, call_timeout_s: float = 5.0) -> CallResult:
    return boto3_transport(make_client(retries, call_timeout_s), "env")(call)


def received(server: CannedServer) -> int:
    """How many attempts of one and the same call arrived."""
    assert len({headers["amz-sdk-invocation-id"] for _, headers, _ in server.asked}) == 1
    return len(server.asked)


def last_allowance(server: CannedServer) -> int:
    """The client's own idea of how often it may send this call, as it tells the service."""
    match = re.fullmatch(r"(?:ttl=\w+; )?attempt=\d+; max=(\d+)", last_header(server))
    assert match is not None, last_header(server)
    return int(match[1])


def last_header(server: CannedServer) -> str:
    return server.asked[-1][1]["amz-sdk-request"]


NEVER_REPEATED = [
    (400, "RestApiClientException", {"RestApiStatusCode": 429}),
    (400, "RestApiServerException", {"RestApiStatusCode": 503}),
    (403, "AccessDeniedException", {"Message": "no"}),
    (404, "ResourceNotFoundException", {"message": "no"}),
    (400, "ValidationException", {"message": "no"}),
    (408, None, {}),
]
SERVICE_ERRORS = [
    (500, "InternalServerException", {"message": "no"}),
    (503, "ServiceUnavailableException", {"message": "no"}),
    (502, None, {}),
    (504, None, {}),
]


@pytest.mark.parametrize("retries", MODES)
def test_what_no_mode_repeats(server, retries):
    transport = boto3_transport(make_client(retries), "env")
    for status, code, body in NEVER_REPEATED:
        server.asked.clear()
        server.error(status, code, **body)
        assert transport(READ).attempts == 1, code
        assert received(server) == 1, code


@pytest.mark.parametrize("retries", ["standard", "adaptive"])
def test_errors_of_the_service_are_sent_three_times(server, retries):
    transport = boto3_transport(make_client(retries), "env")
    for status, code, body in SERVICE_ERRORS:
        server.asked.clear()
        server.error(status, code, **body)
        result = transport(READ)
        assert (result.attempts, received(server)) == (3, 3), (status, code)
        assert (result.outcome, result.http_status) == ("service_error", status)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "ThrottlingException"), (400, "TooManyRequestsException"), (429, None)],
)
def test_standard_repeats_a_throttled_call_twice(server, status, code):
    server.error(status, code, message="Rate exceeded")
    result = send("standard")
    assert (result.outcome, result.attempts, received(server)) == ("throttled", 3, 3)


@pytest.mark.parametrize(("retries", "allowed"), [("standard", 3), ("adaptive", 3), ("legacy", 5)])
def test_a_call_that_succeeds_at_last(server, retries, allowed):
    server.error(500, "InternalServerException", message="no")
    server.changes_after = 1
    result = send(retries)
    assert (result.outcome, result.attempts, received(server)) == ("ok", 2, 2)
    assert last_allowance(server) == allowed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (500, "InternalServerException", 3),
        (429, "ThrottlingException", 3),
        (400, "TooManyRequestsException", 1),  # unlike in standard mode
        (509, None, 3),  # unlike in standard mode
    ],
)
def test_what_legacy_repeats(server, monkeypatch, status, code, expected):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")  # its five could sleep for 15 s
    server.error(status, code, message="no")
    assert send("legacy").attempts == expected
    assert received(server) == expected


@pytest.mark.parametrize(("retries", "expected"), [("off", 1), ("standard", 3)])
def test_a_trigger_that_times_out_is_sent_again(server, retries, expected):
    """The danger of it: the first one may well have been carried out."""
    server.delay_s = 1.0
    result = send(retries, TRIGGER, call_timeout_s=0.3)
    assert result == CallResult("client_timeout", error_code="ReadTimeoutError", attempts=expected)
    assert received(server) == expected
    assert {body["Body"]["dag_run_id"] for _, _, body in server.asked} == {"r"}


def test_a_duplicate_shows_as_a_conflict(server):
    """The first answer is lost on its way, the repeated trigger meets the run of the first."""
    server.error(500, "InternalServerException", message="no")
    server.changes_after = 1
    server.later = (
        400,
        {"x-amzn-errortype": "RestApiClientException"},
        b'{"RestApiStatusCode": 409}',
    )
    result = send("standard", TRIGGER)
    assert (result.outcome, result.airflow_status) == ("airflow_client_error", 409)
    assert (result.attempts, received(server)) == (2, 2)


@pytest.mark.parametrize("retries", ["standard", "adaptive"])
def test_a_connection_that_is_closed_is_tried_again(server, retries):
    server.hang_up = True
    result = send(retries)
    assert result == CallResult("connection_error", error_code="ConnectionClosedError", attempts=3)
    assert received(server) == 3


@pytest.mark.parametrize("retries", MODES)
def test_what_never_left_counts_as_one(server, retries):
    """0 attempts would say that the generator did not get round to it."""
    assert send(retries, RestCall("GET", "")).attempts == 1
    assert server.asked == []


@pytest.mark.parametrize("retries", ["legacy", "standard", "adaptive"])
def test_the_users_own_number_of_attempts_counts(server, monkeypatch, retries):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    server.error(500, "InternalServerException", message="no")
    assert most_attempts(make_client(retries)) == 2
    assert send(retries).attempts == 2
    assert received(server) == 2


def test_off_is_off_whatever_the_user_configured(server, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("AWS_RETRY_MODE", "legacy")
    server.error(500, "InternalServerException", message="no")
    assert send("off").attempts == 1
    assert received(server) == 1


def test_a_number_that_is_none_is_one_sentence(server, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "many")
    with pytest.raises(EnvironmentAccessError, match="AWS_MAX_ATTEMPTS"):
        make_client("standard")


def test_the_services_time_limit_is_judged_by_the_last_attempt(server):
    """Three quick refusals with long waits between them are no timeout of the service."""
    server.error(500, "InternalServerException", message="no")
    began_s = iter([100.0, 105.0, 109.9])
    answered_s = 110.0
    transport = boto3_transport(
        make_client("standard"), "env", clock=lambda: next(began_s, answered_s)
    )
    assert transport(READ).outcome == "service_error"


@pytest.mark.parametrize(
    ("retries", "attempts", "backoff_s"),
    [
        ("off", 1, 0.0),
        ("legacy", 5, 1 + 2 + 4 + 8),
        ("standard", 3, (1 + 5) + (2 + 5)),
        ("adaptive", 3, (1 + 5) + (2 + 5)),
    ],
)
def test_the_longest_backoff(server, retries, attempts, backoff_s):
    client = make_client(retries)
    assert (most_attempts(client), longest_backoff_s(client)) == (attempts, backoff_s)


def test_no_single_wait_of_standard_mode_is_above_twenty_seconds(server, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "8")
    assert longest_backoff_s(make_client("standard")) == 1 + 2 + 4 + 8 + 16 + 20 + 20 + 7 * 5


IN_GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent
from test_retry_modes import READ, boto3_transport, make_client
transport = boto3_transport(make_client("standard"), "env")
calls = [gevent.spawn(transport, READ) for _ in range(8)]
print([call.get().attempts for call in calls])
"""


@pytest.mark.slow
def test_each_greenlet_counts_its_own(server, request):
    server.hang_up = True
    script = subprocess.run(
        [sys.executable, "-c", IN_GREENLETS],
        cwd=request.path.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert script.stdout.strip() == str([3] * 8), script.stderr
    assert len(server.asked) == 24


@pytest.mark.parametrize(
    ("status", "code", "outcome", "allowed", "attempts"),
    [
        (429, "ThrottlingException", "throttled", 0, 1),
        (429, "ThrottlingException", "throttled", 2, 3),
        (503, "ServiceUnavailableException", "service_error", 1, 2),
    ],
)
@pytest.mark.parametrize("retries", ["legacy", "adaptive"])
def test_an_attempt_that_finds_no_room_under_the_cap_is_not_made(
    server, retries, status, code, outcome, allowed, attempts
):
    """The call then ends as its last attempt did."""
    server.error(status, code, message="no")
    left = iter([True] * allowed)
    client = make_client(retries)
    transport = boto3_transport(client, "env", may_try_again=lambda: next(left, False))
    result = transport(READ)
    assert result[:2] == (outcome, status)
    assert (result.error_code, result.attempts) == (code, attempts)
    assert received(server) == attempts


def test_without_room_a_call_that_was_never_answered_ends_so(server):
    server.delay_s = 1.0
    client = make_client("standard", call_timeout_s=0.2)
    result = boto3_transport(client, "env", may_try_again=lambda: False)(READ)
    assert (result.outcome, result.error_code) == ("client_timeout", "ReadTimeoutError")
    assert result.attempts == received(server) == 1
