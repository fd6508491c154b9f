"""Checking AWS Signature Version 4, written from AWS's public description of it.

    signature = HMAC(HMAC(HMAC(HMAC(HMAC("AWS4" + secret, date), region), service),
                     "aws4_request"), string to sign), in hex
    string to sign = algorithm, time, scope, SHA-256(canonical request)
    canonical request = method, path, query, headers, names of the signed headers, SHA-256(body)

Source: "Create a signed AWS API request", AWS IAM User Guide. The body's hash is always taken from
the body received, never from a header, so a changed body cannot pass.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import quote

from mwaa_headroom.analysis.mwaa import partition_of
from mwaa_headroom.harness.local.gateway.answers import ApiError
from mwaa_headroom.harness.local.gateway.operations import Action
from mwaa_headroom.harness.local.settings import StandInSettings

ALL_ACTIONS: frozenset[Action] = frozenset(
    ("InvokeRestApi", "GetEnvironment", "ListEnvironments", "CreateWebLoginToken")
)


@dataclass(frozen=True, slots=True)
class Credential:
    """One access key, whose it is, and what it may do in the environment as which Airflow role."""

    access_key_id: str
    secret: str = field(repr=False)
    user_name: str
    account: str
    airflow_role: str
    actions: frozenset[Action] = ALL_ACTIONS
    session_token: str | None = field(default=None, repr=False)

    def user_arn(self, region: str) -> str:
        """The caller as AWS names it in messages and in CloudTrail."""
        return f"arn:{partition_of(region)}:iam::{self.account}:user/{self.user_name}"

    def require(self, action: Action, settings: StandInSettings) -> None:
        """Raise AccessDeniedException (HTTP 403) unless the action is granted."""
        if action in self.actions:
            return
        region = settings.region
        # Calls that act as an Airflow role are judged on that role, not on the environment:
        # granting InvokeRestApi on `environment/NAME` is a common mistake.
        resource = {
            "InvokeRestApi": f"role/{settings.name}/{self.airflow_role}",
            "CreateWebLoginToken": f"role/{settings.name}/{self.airflow_role}",
            "GetEnvironment": f"environment/{settings.name}",
            "ListEnvironments": "environment/*",
        }[action]
        raise ApiError(
            "AccessDeniedException",
            403,
            f"User: {self.user_arn(region)} is not authorized to perform: airflow:{action} on "
            f"resource: arn:{partition_of(region)}:airflow:{region}:{settings.account}:{resource} "
            f"because no identity-based policy allows the airflow:{action} action",
        )


ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "airflow"
TERMINATOR = "aws4_request"
PARAMETERS = ("Credential", "Signature", "SignedHeaders")
TIME_FORMAT = "%Y%m%dT%H%M%SZ"
# strptime and the email package take far more for a date than AWS does.
BASIC_FORMAT = re.compile(r"[0-9]{8}T[0-9]{6}Z")
DATE_HEADER = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} "
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    r"[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} (?:GMT|[+-]0000)"
)
BLANKS = re.compile(r"[ \t]+")  # str.split knows more of them, which HTTP takes for text
MOST_CACHED_KEYS = 256


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request exactly as it came over the wire."""

    method: str
    raw_path: str
    raw_query: str
    headers: Sequence[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Authorization:
    """What the Authorization header says."""

    access_key_id: str
    date: str
    region: str
    service: str
    terminator: str
    signed_headers: str
    signature: str

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/{self.terminator}"


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose a request says to be, as far as its headers go; its signature is not checked yet."""

    credential: Credential
    headers: Mapping[str, str]
    timestamp: str
    authorization: _Authorization


class SignatureVerifier:
    """Finds out whose credential signed a request."""

    def __init__(
        self,
        *,
        region: str,
        credentials: Iterable[Credential],
        max_clock_skew_s: float,
        service: str = SERVICE,
    ) -> None:
        self._region = region
        self._service = service
        self._credentials = {one.access_key_id: one for one in credentials}
        self._max_clock_skew_s = max_clock_skew_s
        self._keys: dict[tuple[str, str], bytes] = {}

    def verify(self, request: ReceivedRequest, now_s: float) -> Credential:
        """The credential that signed this request.

        Args:
            request: As received.
            now_s: Seconds since the epoch.

        Raises:
            ApiError: MissingAuthenticationTokenException, IncompleteSignatureException,
                UnrecognizedClientException or InvalidSignatureException.
        """
        return self.check(self.read_claim(request.headers, now_s), request)

    def read_claim(self, given: Sequence[tuple[str, str]], now_s: float) -> Claim:
        """All that can be told from a request's headers; raises and takes what `verify` does."""
        headers = _joined(given)
        if "authorization" not in headers:
            raise ApiError(
                "MissingAuthenticationTokenException", 403, "Missing Authentication Token"
            )
        authorization = _parse(headers["authorization"])
        timestamp = _timestamp(headers)
        credential = self._credentials.get(authorization.access_key_id)
        if credential is None or not _same(
            credential.session_token or "", headers.get("x-amz-security-token", "")
        ):
            raise ApiError(
                "UnrecognizedClientException",
                403,
                "The security token included in the request is invalid.",
            )
        self._check_scope(authorization, timestamp)
        self._check_age(timestamp, now_s)
        return Claim(credential, headers, timestamp, authorization)

    def check(self, claim: Claim, request: ReceivedRequest) -> Credential:
        """The claim's credential; raises InvalidSignatureException unless it signed the request."""
        authorization = claim.authorization
        string_to_sign = "\n".join(
            (
                ALGORITHM,
                claim.timestamp,
                authorization.scope,
                hashlib.sha256(_canonical_request(request, claim)).hexdigest(),
            )
        )
        expected = hmac.new(
            self._signing_key(claim.credential, authorization.date),
            string_to_sign.encode(),
            hashlib.sha256,
        ).hexdigest()
        if not _same(expected, authorization.signature):
            raise _invalid(
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method. "
                "Consult the service documentation for details."
            )
        return claim.credential

    def _check_scope(self, claim: _Authorization, timestamp: str) -> None:
        if claim.terminator != TERMINATOR:
            raise _invalid(
                f"Credential should be scoped with a valid terminator: '{TERMINATOR}', "
                f"not '{claim.terminator}'."
            )
        if claim.region != self._region:
            raise _invalid(f"Credential should be scoped to a valid region, not '{claim.region}'.")
        if claim.service != self._service:
            raise _invalid(f"Credential should be scoped to correct service: '{self._service}'.")
        if claim.date != timestamp[:8]:
            raise _invalid(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date "
                f"from HTTP: '{claim.date}' != '{timestamp[:8]}', from '{timestamp}'."
            )
        if "host" not in claim.signed_headers.split(";"):
            raise _invalid(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization header."
            )

    def _check_age(self, timestamp: str, now_s: float) -> None:
        signed_at_s = _epoch_s(timestamp)
        skew_s = self._max_clock_skew_s
        if now_s - signed_at_s > skew_s:
            raise _invalid(
                f"Signature expired: {timestamp} is now earlier than "
                f"{_basic_format(now_s - skew_s)} ({_basic_format(now_s)} - {skew_s / 60:g} min.)"
            )
        if signed_at_s - now_s > skew_s:
            raise _invalid(
                f"Signature not yet current: {timestamp} is still later than "
                f"{_basic_format(now_s + skew_s)} ({_basic_format(now_s)} + {skew_s / 60:g} min.)"
            )

    def _signing_key(self, credential: Credential, date: str) -> bytes:
        key = self._keys.get((credential.access_key_id, date))
        if key is None:
            key = f"AWS4{credential.secret}".encode()
            for part in (date, self._region, self._service, TERMINATOR):
                key = hmac.new(key, part.encode(), hashlib.sha256).digest()
            if len(self._keys) >= MOST_CACHED_KEYS:
                self._keys.clear()
            self._keys[(credential.access_key_id, date)] = key
        return key


def _parse(authorization: str) -> _Authorization:
    """Read the Authorization header; raises IncompleteSignatureException if it cannot be read."""
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm}'.")
    fields: dict[str, str] = {}
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name in fields or name not in PARAMETERS:
            raise _incomplete(f"'{part}' not a valid key=value pair in Authorization header.")
        fields[name] = value
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in PARAMETERS
        if not fields.get(name)
    ]
    if missing:
        raise _incomplete(" ".join(missing))
    scope = fields["Credential"].split("/")
    if len(scope) != 5:
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, "
            f"e.g. keyid/date/region/service/term, got '{fields['Credential']}'."
        )
    key_id, date, region, service, terminator = scope
    signed_headers, signature = fields["SignedHeaders"], fields["Signature"]
    return _Authorization(key_id, date, region, service, terminator, signed_headers, signature)


def _timestamp(headers: dict[str, str]) -> str:
    """When the request was signed, as YYYYMMDDTHHMMSSZ; from X-Amz-Date, else from Date."""
    given = headers.get("x-amz-date", headers.get("date"))
    if given is None:
        raise _incomplete(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        )
    try:
        if "x-amz-date" not in headers and DATE_HEADER.fullmatch(given):
            timestamp = parsedate_to_datetime(given).strftime(TIME_FORMAT)
        else:
            timestamp = given
        _epoch_s(timestamp)
    except ValueError:
        raise _incomplete(
            f"Date must be in ISO-8601 'basic format'. Got '{given}'. "
            "See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None
    return timestamp


@lru_cache(maxsize=128)  # all calls of one second share a timestamp
def _epoch_s(timestamp: str) -> float:
    if not BASIC_FORMAT.fullmatch(timestamp):
        raise ValueError(timestamp)
    return datetime.strptime(timestamp, TIME_FORMAT).replace(tzinfo=UTC).timestamp()


def _canonical_request(request: ReceivedRequest, claim: Claim) -> bytes:
    signed_headers = claim.authorization.signed_headers
    lines = [
        request.method,
        # Every service but S3 encodes the path a second time.
        quote(_without_dot_segments(request.raw_path), safe="/~"),
        _canonical_query(request.raw_query),
        *(f"{name}:{claim.headers.get(name, '')}" for name in signed_headers.split(";")),
        "",
        signed_headers,
        hashlib.sha256(request.body).hexdigest(),
    ]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _canonical_query(raw_query: str) -> str:
    if not raw_query:
        return ""
    pairs = sorted(pair.partition("=")[::2] for pair in raw_query.split("&"))
    return "&".join(f"{key}={value}" for key, value in pairs)


def _without_dot_segments(path: str) -> str:
    """RFC 3986, section 5.2.4, with empty segments removed too, as AWS asks for."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    trailing = "/" if path.endswith("/") and kept else ""
    return "/" + "/".join(kept) + trailing


def _joined(headers: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Lower-case names; runs of blanks become one space, repeated headers one list."""
    joined: dict[str, str] = {}
    for name, raw_value in headers:
        key, value = name.lower(), BLANKS.sub(" ", raw_value.strip(" \t"))
        joined[key] = f"{joined[key]},{value}" if key in joined else value
    return joined


def _same(expected: str, given: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogateescape"))


def _basic_format(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime(TIME_FORMAT)


def _incomplete(message: str) -> ApiError:
    return ApiError("IncompleteSignatureException", 400, message)


def _invalid(message: str) -> ApiError:
    return ApiError("InvalidSignatureException", 403, message)
