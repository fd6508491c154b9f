"""AWS Signature Version 4 for POSTs of JSON to one path, at a tenth of botocore's cost.

    signature = HMAC(key, string to sign), in hex
    key = HMAC(HMAC(HMAC(HMAC("AWS4" + secret, date), region), service), "aws4_request")
    string to sign = algorithm, time, scope, SHA-256(canonical request)
    canonical request = method, path, query, headers, names of the signed headers, SHA-256(body)

Source: "Create a signed AWS API request", AWS IAM User Guide. The time has whole seconds, so that
only the body differs between two calls of a second: all the rest is made once a second, the key
once a day and for new credentials. A test holds every header to botocore's, byte by byte.
"""

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from botocore.credentials import ReadOnlyCredentials
from botocore.utils import normalize_url_path

CONTENT_TYPE = "application/json"
_ALGORITHM = "AWS4-HMAC-SHA256"
_TERMINATOR = "aws4_request"


@dataclass(frozen=True, slots=True)
class _Second:
    """What the signatures of one second share."""

    second: int
    keys: ReadOnlyCredentials = field(repr=False)
    canonical: Any  # SHA-256 of the canonical request, up to the body's hash
    to_sign: bytes  # up to the canonical request's hash
    headers: bytes = field(repr=False)  # up to the signature


class Signer:
    """Signs for one host, path and region."""

    def __init__(self, *, host: str, path: str, region: str, service: str) -> None:
        """Remember what does not change.

        Args:
            host: the Host header.
            path: percent-encoded, as it is sent.
            region: of the endpoint.
            service: its name in signatures, such as "airflow".
        """
        self._host = host
        # Every service but S3 encodes the path a second time.
        self._canonical_path = quote(normalize_url_path(path), safe="/~")
        self._region = region
        self._service = service
        self._keyed: Any = None  # an HMAC that only lacks the message
        self._keyed_by: tuple[str | None, ...] = ()
        self._current: _Second | None = None

    def headers(self, body: bytes, keys: ReadOnlyCredentials, now_s: float) -> bytes:
        r"""Header lines of a request, all but Host and Content-Length; each ends in "\r\n".

        Args:
            body: what will be sent.
            keys: whose signature; nothing but printable characters.
            now_s: seconds since the epoch.
        """
        current = self._current
        if current is None or current.second != int(now_s) or current.keys is not keys:
            current = self._current = self._prepared(int(now_s), keys)
        canonical = current.canonical.copy()
        canonical.update(hashlib.sha256(body).hexdigest().encode())
        to_sign = current.to_sign + canonical.hexdigest().encode()
        signature = self._keyed.copy()
        signature.update(to_sign)
        return b"%b%b\r\n" % (current.headers, signature.hexdigest().encode())

    def _prepared(self, second: int, keys: ReadOnlyCredentials) -> _Second:
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        date = timestamp[:8]
        self._use_key(date, keys)
        scope = f"{date}/{self._region}/{self._service}/{_TERMINATOR}"
        signed = {"content-type": CONTENT_TYPE, "host": self._host, "x-amz-date": timestamp}
        if keys.token:
            signed["x-amz-security-token"] = keys.token
        names = ";".join(signed)
        lines = [f"{name}:{value}" for name, value in signed.items()]
        canonical = "\n".join(["POST", self._canonical_path, "", *lines, "", names, ""])
        sent = [f"{name}: {value}" for name, value in signed.items() if name != "host"]
        sent.append(
            f"authorization: {_ALGORITHM} Credential={keys.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature="
        )
        return _Second(
            second=second,
            keys=keys,
            canonical=hashlib.sha256(canonical.encode()),
            to_sign=f"{_ALGORITHM}\n{timestamp}\n{scope}\n".encode(),
            headers="\r\n".join(sent).encode(),
        )

    def _use_key(self, date: str, keys: ReadOnlyCredentials) -> None:
        wanted = (date, keys.access_key, keys.secret_key)
        if wanted != self._keyed_by:
            key = signing_key(
                keys.secret_key or "", date=date, region=self._region, service=self._service
            )
            self._keyed, self._keyed_by = hmac.new(key, digestmod="sha256"), wanted


def signing_key(secret_key: str, *, date: str, region: str, service: str) -> bytes:
    """The key that signs for a day (YYYYMMDD), region and service."""
    key = f"AWS4{secret_key}".encode()
    for part in (date, region, service, _TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
