"""Signatures and keys of the lean transport beside those of botocore."""

import calendar
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore.auth
import gevent
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import ClientError, CredentialRetrievalError
from botocore.utils import percent_encode
from canned_service import point_aws_at
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.harness.traffic.operations import RestCall
from mwaa_headroom.harness.transport import signer as module
from mwaa_headroom.harness.transport.boto3_transport import invoke_client
from mwaa_headroom.harness.transport.http import host_header
from mwaa_headroom.harness.transport.lean import lean_transport
from mwaa_headroom.harness.transport.outcome import CallResult
from mwaa_headroom.harness.transport.signer import (
    CONTENT_TYPE,
    CurrentKeys,
    NoKeysError,
    Signer,
    signing_key,
)

KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
PRINTABLE = st.characters(min_codepoint=33, max_codepoint=126)

names = st.one_of(
    st.from_regex(r"[a-zA-Z][0-9a-zA-Z\-_]{0,79}", fullmatch=True), st.text(min_size=1, max_size=80)
)
keys = st.builds(
    ReadOnlyCredentials,
    st.from_regex(r"A[KS]IA[A-Z0-9]{16}", fullmatch=True),
    st.text(PRINTABLE, min_size=1, max_size=60),
    st.one_of(st.none(), st.just(""), st.text(PRINTABLE, min_size=1, max_size=600)),
    st.none(),
)
regions = st.from_regex(r"(us|eu|ap|cn|us-gov)-[a-z]{4,9}-[1-9]", fullmatch=True)
hosts = st.sampled_from(
    [
        "https://env.airflow.us-east-1.amazonaws.com",
        "https://env.airflow.us-east-1.amazonaws.com:443",
        "https://env.airflow.us-east-1.amazonaws.com:8443",
        "https://ENV.Airflow.us-east-1.api.aws",
        "http://127.0.0.1",
        "http://127.0.0.1:80",
        "http://127.0.0.1:5000",
        "http://localhost:443",
        "http://user:password@localhost:5000",
        "https://[::1]:8443",
        "https://[::1]",
    ]
)
bodies = st.one_of(st.binary(max_size=2000), st.text(max_size=500).map(str.encode))
moments = st.datetimes(datetime(2001, 1, 1), datetime(2099, 12, 31))


def by_botocore(
    url: str, body: bytes, credentials: ReadOnlyCredentials, region: str, at: datetime
) -> dict[str, str]:
    """The headers that botocore adds."""
    request = AWSRequest("POST", url, headers={"Content-Type": CONTENT_TYPE}, data=body)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: at)
        botocore.auth.SigV4Auth(credentials, "airflow", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def as_sent(headers: bytes) -> dict[str, str]:
    assert headers.endswith(b"\r\n")
    lines = headers.decode().removesuffix("\r\n").split("\r\n")
    return dict(line.split(": ", 1) for line in lines)


def epoch_s(at: datetime) -> float:
    return calendar.timegm(at.timetuple()) + at.microsecond / 1e6


@given(names, hosts, st.sampled_from(["", "/prefix", "/a b/%20"]), bodies, keys, regions, moments)
def test_the_same_as_botocore(name, host, prefix, body, credentials, region, at):
    path = f"{prefix}/restapi/{percent_encode(name)}".replace(" ", "%20")
    signer = Signer(host=host_header(host), path=path, region=region, service="airflow")
    headers = signer.headers(body, credentials, epoch_s(at))
    assert as_sent(headers) == by_botocore(host + path, body, credentials, region, at)


@given(
    st.lists(st.tuples(bodies, st.booleans(), st.sampled_from([0, 0, 1, 3, 86400])), max_size=6),
    keys,
    keys,
)
def test_nothing_stale_is_used(steps, first, second):
    """One signer through seconds, days and changes of credentials, as a long run uses it."""
    signer = Signer(host="localhost", path="/restapi/env", region="us-east-1", service="airflow")
    now_s = epoch_s(datetime(2026, 2, 28, 23, 59, 57))
    for body, other, pause_s in steps:
        now_s += pause_s
        credentials = second if other else first
        at = datetime.fromtimestamp(now_s, UTC)
        expected = by_botocore("http://localhost/restapi/env", body, credentials, "us-east-1", at)
        assert as_sent(signer.headers(body, credentials, now_s)) == expected


def test_new_credentials_with_the_same_access_key():
    signer = Signer(host="localhost", path="/restapi/env", region="us-east-1", service="airflow")
    old, new = (ReadOnlyCredentials(KEY, secret, None, None) for secret in ("old", "new"))
    assert signer.headers(b"{}", old, 0.0) != signer.headers(b"{}", new, 0.0)


def test_the_key_of_awss_documentation():
    """ "Examples of how to derive a signing key", AWS General Reference."""
    key = signing_key(SECRET, date="20120215", region="us-east-1", service="iam")
    assert key.hex() == "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"


def test_no_secret_in_sight():
    signer = Signer(host="localhost", path="/", region="us-east-1", service="airflow")
    headers = signer.headers(b"", ReadOnlyCredentials(KEY, SECRET, None, None), 0.0)
    assert SECRET.encode() not in headers
    assert SECRET not in repr(signer)


CALL = RestCall("GET", "/dags")


class Clock:
    """Moves when it is told to."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def utc(self) -> datetime:
        return datetime.fromtimestamp(self.now_s, UTC)


class Source:
    """Hands out numbered keys that live for `life_s`."""

    def __init__(self, clock: Clock, life_s: float) -> None:
        self.clock = clock
        self.life_s = life_s
        self.problem: Exception | None = None
        self.fetched = 0
        self.blocks_until: gevent.event.Event | None = None

    def fetch(self) -> dict[str, str]:
        if self.blocks_until is not None:
            self.blocks_until.wait()
        if self.problem is not None:
            raise self.problem
        self.fetched += 1
        return {
            "access_key": f"key-{self.fetched}",
            "secret_key": "secret",
            "token": "token",
            "expiry_time": (self.clock.utc() + timedelta(seconds=self.life_s)).isoformat(),
        }

    def credentials(self) -> RefreshableCredentials:
        fetched = self.fetch()
        return RefreshableCredentials(
            fetched["access_key"],
            fetched["secret_key"],
            fetched["token"],
            self.clock.utc() + timedelta(seconds=self.life_s),
            self.fetch,
            method="test",
            time_fetcher=self.clock.utc,
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


def used(keys: CurrentKeys, clock: Clock, seconds: float, step_s: float = 0.5) -> list[str]:
    """The access keys that calls of so many seconds get."""
    got = []
    for _ in range(int(seconds / step_s)):
        clock.now_s += step_s
        got.append(keys.get().access_key or "")
        gevent.sleep(0)
    return got


def test_fixed_keys_are_asked_for_once(clock):
    keys = CurrentKeys(Credentials("key", "secret", "token"), clock=clock)
    first = keys.get()
    clock.now_s += 1e6
    assert keys.get() is first
    assert first.token == "token"


def test_keys_of_an_hour_are_fetched_once_in_time(clock):
    """botocore fetches 15 minutes before expiry; here not later than a minute after that."""
    source = Source(clock, 3600)
    keys = CurrentKeys(source.credentials(), clock=clock)
    assert set(used(keys, clock, 2690, step_s=10)) == {"key-1"}
    assert source.fetched == 1
    used(keys, clock, 130, step_s=10)
    assert keys.get().access_key == "key-2"
    assert source.fetched == 2


def test_short_lived_keys_are_not_fetched_for_every_call(clock):
    """botocore would: keys of less than 15 minutes are always near their expiry for it."""
    source = Source(clock, 120)
    keys = CurrentKeys(source.credentials(), clock=clock)
    used(keys, clock, 600, step_s=0.01)
    assert 5 <= source.fetched <= 15


def test_no_call_gets_keys_that_have_expired(clock):
    source = Source(clock, 20)
    keys = CurrentKeys(source.credentials(), clock=clock)
    for _ in range(200):
        clock.now_s += 0.5
        keys.get()
        gevent.sleep(0)
        assert not keys._expires_within(0)


def test_calls_go_on_while_new_keys_are_fetched(clock):
    source = Source(clock, 120)
    keys = CurrentKeys(source.credentials(), clock=clock)
    asked_at_start = source.fetched
    source.blocks_until = gevent.event.Event()
    assert len(set(used(keys, clock, 80))) == 1
    assert source.fetched == asked_at_start
    source.blocks_until.set()
    gevent.sleep(0)
    assert keys.get().access_key == f"key-{asked_at_start + 1}"


def test_calls_wait_in_the_place_of_expired_keys(clock):
    """After a long pause in the traffic; those of other greenlets too, and one asks for all."""
    source = Source(clock, 3600)
    keys = CurrentKeys(source.credentials(), clock=clock)
    clock.now_s += 10_000
    source.blocks_until = gevent.event.Event()
    calls = [gevent.spawn(keys.get) for _ in range(3)]
    gevent.sleep(0)
    assert not any(call.ready() for call in calls)
    source.blocks_until.set()
    gevent.joinall(calls, timeout=5)
    assert [call.value.access_key for call in calls] == ["key-2"] * 3
    assert source.fetched == 2


def test_a_wait_for_keys_ends(clock, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    source = Source(clock, 3600)
    keys = CurrentKeys(source.credentials(), clock=clock)
    clock.now_s += 10_000
    source.blocks_until = gevent.event.Event()
    with pytest.raises(NoKeysError, match="CredentialRetrievalError"):
        keys.get()
    source.blocks_until.set()
    gevent.sleep(0)
    assert keys.get().access_key == "key-2"


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (CredentialRetrievalError(provider="x", error_msg="y"), "CredentialRetrievalError"),
        (ClientError({"Error": {"Code": "ExpiredToken"}}, "AssumeRole"), "ExpiredToken"),
        (ClientError({}, "AssumeRole"), "Unknown"),
        (RuntimeError("odd"), "RuntimeError"),
    ],
)
def test_keys_that_cannot_be_replaced_and_then_can(clock, problem, code):
    source = Source(clock, 3600)
    keys = CurrentKeys(source.credentials(), clock=clock)
    source.problem = problem
    clock.now_s += 10_000
    for _ in range(3):
        with pytest.raises(NoKeysError) as caught:
            keys.get()
        assert caught.value.code == code
    source.problem = None
    clock.now_s += 1.5
    with pytest.raises(NoKeysError):
        keys.get()  # asks again, but does not wait for it
    gevent.sleep(0)
    assert keys.get().access_key == "key-2"


def test_a_line_break_in_a_token_cannot_become_a_header(clock):
    keys = CurrentKeys(Credentials("key", "secret", "token\r\nx-evil: 1"), clock=clock)
    with pytest.raises(NoKeysError, match="ValueError"):
        keys.get()


def profile_with_process(tmp_path: Path, monkeypatch, life_s: float, url: str) -> Path:
    """A profile whose keys come from a process; the file counts how often it ran."""
    runs = tmp_path / "runs"
    process = tmp_path / "keys.py"
    process.write_text(
        f"""
import datetime, json, pathlib, sys
runs = pathlib.Path({str(runs)!r})
count = len(runs.read_text()) + 1 if runs.exists() else 1
runs.write_text("x" * count)
if (runs.parent / "broken").exists():
    sys.exit(3)
expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds={life_s})
print(json.dumps({{"Version": 1, "AccessKeyId": f"KEY{{count}}", "SecretAccessKey": "hidden",
    "SessionToken": f"token-{{count}}", "Expiration": expiry.isoformat()}}))
"""
    )
    config = tmp_path / "config"
    config.write_text(f"[profile short]\ncredential_process = {sys.executable} {process}\n")
    point_aws_at(monkeypatch, url)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    return runs


def open_with_profile(profile: str | None):
    client = invoke_client(
        environment="env",
        region="us-east-1",
        profile=profile,
        call_timeout_s=5.0,
        max_in_flight=4,
        retries="off",
    )
    return lean_transport(client, "env", call_timeout_s=5.0, max_in_flight=4)


@pytest.mark.slow
def test_a_real_credential_process_whose_keys_expire_quickly(server, tmp_path, monkeypatch):
    runs = profile_with_process(tmp_path, monkeypatch, life_s=3.0, url=server.url)
    send = open_with_profile("short")
    for _ in range(60):
        assert send(CALL).outcome == "ok"
        gevent.sleep(0.1)
    seen = [
        (
            headers["authorization"].split("Credential=")[1].split("/")[0],
            headers["x-amz-security-token"],
        )
        for _, headers, _ in server.asked
    ]
    assert seen == sorted(seen, key=lambda pair: int(pair[0][3:])), "never back to older keys"
    assert all(key[3:] == token[6:] for key, token in seen), "a key always with its own token"
    assert 3 <= len(set(seen)) <= len(runs.read_text()) < 15, "in time, but not for every call"


@pytest.mark.slow
def test_a_real_credential_process_that_fails_later(server, tmp_path, monkeypatch):
    profile_with_process(tmp_path, monkeypatch, life_s=1.0, url=server.url)
    send = open_with_profile("short")
    assert send(CALL).outcome == "ok"
    (tmp_path / "broken").touch()
    gevent.sleep(1.2)
    assert send(CALL) == CallResult("denied", error_code="CredentialRetrievalError")
    asked = len(server.asked)
    assert send(CALL) == CallResult("denied", error_code="CredentialRetrievalError")
    assert len(server.asked) == asked
    (tmp_path / "broken").unlink()
    for _ in range(30):
        if send(CALL).outcome == "ok":
            return
        gevent.sleep(0.1)
    pytest.fail("the keys did not come back")


def test_a_session_token(server, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a+b/c=")
    assert open_with_profile(None)(CALL).outcome == "ok"
    _, headers, _ = server.asked[0]
    assert headers["x-amz-security-token"] == "a+b/c="
    assert ";x-amz-security-token," in headers["authorization"]
