"""Every signed header is botocore's, byte by byte; only the arithmetic is done less often."""

import calendar
from datetime import UTC, datetime

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.utils import percent_encode
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaa_headroom.harness.transport.http import host_header
from mwaa_headroom.harness.transport.signer import CONTENT_TYPE, Signer, signing_key

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


@settings(deadline=None)
@given(names, hosts, st.sampled_from(["", "/prefix", "/a b/%20"]), bodies, keys, regions, moments)
def test_the_same_as_botocore(name, host, prefix, body, credentials, region, at):
    path = f"{prefix}/restapi/{percent_encode(name)}".replace(" ", "%20")
    signer = Signer(host=host_header(host), path=path, region=region, service="airflow")
    headers = signer.headers(body, credentials, epoch_s(at))
    assert as_sent(headers) == by_botocore(host + path, body, credentials, region, at)


@settings(deadline=None)
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
