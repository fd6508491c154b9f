"""Signatures: botocore signs, the gateway's own code verifies."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.utils import normalize_url_path
from gateway_stand import (
    CREDENTIALS,
    ENVIRONMENT,
    KEY_ID,
    SECRET,
    SESSION_TOKEN,
    TEMPORARY_KEY_ID,
    Stand,
    http_call,
)
from hypothesis import assume, given
from hypothesis import strategies as st

from mwaa_headroom.harness.local.gateway.answers import ApiError
from mwaa_headroom.harness.local.gateway.signature import (
    Credential,
    ReceivedRequest,
    SignatureVerifier,
)

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. "
    "Consult the service documentation for details."
)
TOKEN_INVALID = "The security token included in the request is invalid."

unreserved = "abcXYZ019-._~"
segments = st.one_of(
    st.text(max_size=8).map(lambda text: quote(text, safe="")),
    st.text(unreserved + ":@!$&'()*+,;=", max_size=8),
    st.sampled_from(["", ".", "..", "%2F", "manual__2025-10-06T10:00:00+00:00"]),
)
paths = st.lists(segments, max_size=5).map(lambda parts: "/" + "/".join(parts))
words = st.text(max_size=6).map(lambda text: quote(text, safe="-_.~"))
queries = st.lists(
    st.one_of(words, st.tuples(words, words).map("=".join)).filter(bool), max_size=5
).map("&".join)
header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
header_sets = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=6).map("x-test-{}".format), header_values, max_size=4
)
methods = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"])


def verifier(max_clock_skew_s: float = 300.0) -> SignatureVerifier:
    return SignatureVerifier(
        region="us-east-1", credentials=CREDENTIALS, max_clock_skew_s=max_clock_skew_s
    )


def signed(
    method: str = "POST",
    path: str = f"/restapi/{ENVIRONMENT}",
    query: str = "",
    headers: dict[str, str] | None = None,
    body: bytes = b"{}",
    *,
    secret: str = SECRET,
    region: str = "us-east-1",
    service: str = "airflow",
) -> ReceivedRequest:
    """A request signed by botocore, as it arrives."""
    host = "127.0.0.1:8000"
    url = f"http://{host}{path}{'?' if query else ''}{query}"
    request = AWSRequest(method=method, url=url, headers=headers, data=body)
    SigV4Auth(Credentials(KEY_ID, secret), service, region).add_auth(request)
    arrived = urlsplit(str(request.url))
    pairs = [("Host", host), ("User-Agent", "test"), *request.headers.items()]
    return ReceivedRequest(method, arrived.path, arrived.query, pairs, body)


def refusal(request: ReceivedRequest, now_s: float | None = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        verifier().verify(request, time.time() if now_s is None else now_s)
    return caught.value


def with_header(request: ReceivedRequest, name: str, value: str) -> ReceivedRequest:
    kept = [(key, old) for key, old in request.headers if key.lower() != name.lower()]
    return replace(request, headers=[*kept, (name, value)])


def header(request: ReceivedRequest, name: str) -> str:
    return next(value for key, value in request.headers if key.lower() == name.lower())


@given(method=methods, path=paths, query=queries, headers=header_sets, body=st.binary(max_size=64))
def test_what_botocore_signs_is_accepted(
    method: str, path: str, query: str, headers: dict[str, str], body: bytes
) -> None:
    request = signed(method, path, query, headers, body)
    assert verifier().verify(request, time.time()).user_name == "tester"


PUBLISHED = {  # AWS's test suite of Signature Version 4: method, path, headers, signature
    "get-header-value-order": (
        "GET",
        "/",
        [("My-Header1", value) for value in ("value4", "value1", "value3", "value2")],
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
    ),
    "get-header-key-duplicate": (
        "GET",
        "/",
        [("My-Header1", value) for value in ("value2", "value2", "value1")],
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    "get-header-value-trim": (
        "GET",
        "/",
        [("My-Header1", " value1"), ("My-Header2", '"a   b   c"')],
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "get-utf8": (
        "GET",
        "/\u1234",
        [],
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    "post-header-value-case": (
        "POST",
        "/",
        [("My-Header1", "VALUE1")],
        "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_signatures_are_accepted(name: str) -> None:
    method, path, headers, signature = PUBLISHED[name]
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    one = SignatureVerifier(
        region="us-east-1",
        service="service",
        credentials=[Credential("AKIDEXAMPLE", secret, "reader", "1", "Admin")],
        max_clock_skew_s=300.0,
    )
    scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
    pairs = [("Host", "example.amazonaws.com"), *headers, ("X-Amz-Date", "20150830T123600Z")]
    signed_names = ";".join(sorted({key.lower() for key, _ in pairs}))
    authorization = (
        f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed_names}, Signature={signature}"
    )
    request = ReceivedRequest(method, path, "", [*pairs, ("Authorization", authorization)], b"")
    now_s = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
    assert one.verify(request, now_s).user_name == "reader"
    with pytest.raises(ApiError):
        one.verify(replace(request, method="PUT"), now_s)


@given(body=st.binary(max_size=64), other=st.binary(max_size=64))
def test_another_body_is_refused(body: bytes, other: bytes) -> None:
    assume(body != other)
    assert refusal(replace(signed(body=body), body=other)).message == MISMATCH


@given(path=paths, data=st.data())
def test_another_path_is_refused(path: str, data: st.DataObject) -> None:
    position = data.draw(st.integers(1, len(path)))
    other = f"{path[:position]}x{path[position:]}"
    assume(normalize_url_path(path) != normalize_url_path(other))
    assert refusal(replace(signed(path=path), raw_path=other)).message == MISMATCH


@given(query=queries, data=st.data())
def test_another_query_is_refused(query: str, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(query)))
    other = f"{query[:position]}x{query[position:]}"
    assert refusal(replace(signed(query=query), raw_query=other)).message == MISMATCH


@given(secret=st.text(min_size=1, max_size=40))
def test_another_secret_is_refused(secret: str) -> None:
    assume(secret != SECRET)
    assert refusal(signed(secret=secret)).message == MISMATCH


@pytest.mark.parametrize("name", ["X-Test", "Host", "X-Amz-Content-SHA256"])
def test_another_signed_header_is_refused(name: str) -> None:
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of "{}"
    request = signed(headers={"X-Test": "1", "X-Amz-Content-SHA256": digest})
    verifier().verify(request, time.time())
    assert refusal(with_header(request, name, "changed")).message == MISMATCH


def test_a_method_other_than_the_signed_one_is_refused() -> None:
    assert refusal(replace(signed("GET"), method="DELETE")).message == MISMATCH


def test_a_claimed_payload_hash_does_not_stand_in_for_the_body() -> None:
    """botocore signs whatever this header says; the body received must still match it."""
    assert refusal(signed(headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})).message == MISMATCH


def test_a_date_header_can_replace_x_amz_date() -> None:
    request = signed(headers={"Date": "replaced by botocore"})
    assert "x-amz-date" not in {name.lower() for name, _ in request.headers}
    assert verifier().verify(request, time.time()).access_key_id == KEY_ID


@given(noise=st.binary(max_size=80).map(lambda raw: raw.decode("utf-8", "surrogateescape")))
def test_no_authorization_header_breaks_the_verifier(noise: str) -> None:
    request = signed()
    whole = header(request, "Authorization")
    for value in (noise, f"AWS4-HMAC-SHA256 {noise}", whole + noise.strip() + "x"):
        refused = refusal(with_header(request, "Authorization", value))
        assert refused.status in (400, 403)


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        ("Bearer abc", "Unsupported AWS 'algorithm': 'Bearer'."),
        (
            "AWS4-HMAC-SHA256 Credential=a/b/c/d/e",
            "Authorization header requires 'Signature' parameter. "
            "Authorization header requires 'SignedHeaders' parameter.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/b, Signature",
            "' Signature' not a valid key=value pair in Authorization header.",
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0",
            "Credential must have exactly 5 slash-delimited elements, "
            "e.g. keyid/date/region/service/term, got 'a/b'.",
        ),
    ],
)
def test_an_unreadable_authorization_header_is_incomplete(authorization: str, message: str) -> None:
    refused = refusal(with_header(signed(), "Authorization", authorization))
    assert (refused.code, refused.status) == ("IncompleteSignatureException", 400)
    assert refused.message == message


UNREADABLE_DATES = [
    ("X-Amz-Date", "yesterday"),
    ("X-Amz-Date", ""),
    ("X-Amz-Date", "2026-11-22T10:00:00Z"),
    ("X-Amz-Date", "20261322T000000Z"),
    ("X-Amz-Date", "20261122t100000z"),
    ("X-Amz-Date", "20261122T10000Z"),
    ("X-Amz-Date", "120261122T100000Z"),
    ("X-Amz-Date", "\u0662\u0660261122T100000Z"),
    ("Date", "Sun, 22 Nov 12026 10:00:00 GMT"),
    ("Date", "Sun, 22 Nov 20260000000 10:00:00 GMT"),
    ("Date", "Sun, 22 Nov 26 10:00:00 GMT"),
    ("Date", "Sun, 22 Nov 2026 10:00:00 +0100"),
    ("Date", "22 nov 2026 10:00:00 GMT (a comment)"),
    ("Date", "Sun, 31 Feb 2026 10:00:00 GMT"),
]


@pytest.mark.parametrize(("name", "date"), UNREADABLE_DATES)
def test_an_unreadable_date_is_incomplete(name: str, date: str) -> None:
    request = signed()
    kept = [pair for pair in request.headers if pair[0].lower() != "x-amz-date"]
    refused = refusal(replace(request, headers=[*kept, (name, date)]))
    assert (refused.code, refused.status) == ("IncompleteSignatureException", 400)
    assert refused.message.startswith(f"Date must be in ISO-8601 'basic format'. Got '{date}'.")


@pytest.mark.parametrize("other", ["\x0b", "\x1f", "\x85", "\xa0", "\u2003"])
def test_only_blanks_are_white_space_in_a_header(other: str) -> None:
    request = signed(headers={"X-Test": "a  b"})
    verifier().verify(with_header(request, "X-Test", "\ta b "), time.time())
    assert refusal(with_header(request, "X-Test", f"a{other}b")).message == MISMATCH


def test_a_missing_date_is_incomplete() -> None:
    request = signed()
    kept = [pair for pair in request.headers if pair[0].lower() != "x-amz-date"]
    assert refusal(replace(request, headers=kept)).code == "IncompleteSignatureException"


def changed_scope(position: int, value: str) -> Callable[[str], str]:
    def change(authorization: str) -> str:
        start, _, rest = authorization.partition("Credential=")
        credential, _, end = rest.partition(",")
        parts = credential.split("/")
        parts[position] = value
        return f"{start}Credential={'/'.join(parts)},{end}"

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed_scope(1, "20200101"), "Date in Credential scope does not match YYYYMMDD"),
        (changed_scope(2, "eu-west-1"), "Credential should be scoped to a valid region"),
        (changed_scope(3, "s3"), "Credential should be scoped to correct service: 'airflow'."),
        (changed_scope(4, "aws5"), "Credential should be scoped with a valid terminator"),
        (lambda given: given.replace("host;", ""), "'Host' or ':authority' must be"),
    ],
)
def test_a_wrong_scope_is_named(change: Callable[[str], str], message: str) -> None:
    request = signed()
    changed = with_header(request, "Authorization", change(header(request, "Authorization")))
    refused = refusal(changed)
    assert (refused.code, refused.status) == ("InvalidSignatureException", 403)
    assert refused.message.startswith(message)


@pytest.mark.parametrize(
    ("late_s", "message"), [(400, "Signature expired: "), (-400, "Signature not yet current: ")]
)
def test_too_much_clock_skew_is_refused(late_s: float, message: str) -> None:
    refused = refusal(signed(), time.time() + late_s)
    assert (refused.code, refused.status) == ("InvalidSignatureException", 403)
    assert refused.message.startswith(message)
    assert refused.message.endswith("5 min.)")


@pytest.mark.parametrize("late_s", [-250, 250])
def test_a_little_clock_skew_is_accepted(late_s: float) -> None:
    verifier().verify(signed(), time.time() + late_s)


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"aws_access_key_id": "AKIDUNKNOWN"}, "UnrecognizedClientException", TOKEN_INVALID),
        ({"aws_secret_access_key": "wrong"}, "InvalidSignatureException", MISMATCH),
        (
            {"region_name": "eu-west-1"},
            "InvalidSignatureException",
            "Credential should be scoped to a valid region, not 'eu-west-1'.",
        ),
        # a long-lived key takes no token, a temporary key needs exactly its own
        ({"aws_session_token": SESSION_TOKEN}, "UnrecognizedClientException", TOKEN_INVALID),
        ({"aws_access_key_id": TEMPORARY_KEY_ID}, "UnrecognizedClientException", TOKEN_INVALID),
        (
            {"aws_access_key_id": TEMPORARY_KEY_ID, "aws_session_token": "other"},
            "UnrecognizedClientException",
            TOKEN_INVALID,
        ),
    ],
)
def test_boto3_sees_awss_own_errors(
    stand: Stand, changes: dict[str, Any], code: str, message: str
) -> None:
    with pytest.raises(ClientError) as caught:
        stand.client(**changes).get_environment(Name=ENVIRONMENT)
    error = caught.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert error["Error"] == {"Code": code, "Message": message}


def test_a_temporary_key_with_its_token_is_accepted(stand: Stand) -> None:
    client = stand.client(aws_access_key_id=TEMPORARY_KEY_ID, aws_session_token=SESSION_TOKEN)
    assert client.get_environment(Name=ENVIRONMENT)["Environment"]["Name"] == ENVIRONMENT


def test_an_unsigned_call_lacks_its_token(stand: Stand) -> None:
    answer = http_call(stand.addresses.mwaa_url, "GET", "/environments")
    assert answer.status == 403
    assert answer.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
    assert answer.json() == {"message": "Missing Authentication Token"}


def test_a_skewed_clock_reaches_boto3(stand: Stand) -> None:
    stand.clock_offset_s = 3600.0
    with pytest.raises(ClientError, match="Signature expired"):
        stand.client().list_environments()
