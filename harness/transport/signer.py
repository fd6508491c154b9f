"""SigV4 for the hot path: the keys that boto3 would use, and signatures at a tenth of its cost.

The keys come from botocore's chain. botocore looks at the expiry on every call and, once it is
near, lets that call fetch new keys; keys that live for less than 15 minutes it fetches again for
every single call. Here a call takes the keys at hand, while a greenlet of its own asks for new ones
in time. A call waits only if its keys have expired.

The signatures are AWS Signature Version 4 for POSTs of JSON to one path:

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
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any
from urllib.parse import quote

import gevent
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.utils import normalize_url_path

LOOK_EVERY_S = 1.0
ASK_EVERY_S = 60.0  # botocore then decides whether new keys are due: 15 minutes before expiry
EXPIRES_SOON_S = 30.0  # for keys that live for less
PATIENCE_S = 5.0  # of a call whose keys have expired: STS answers in less than one

CONTENT_TYPE = "application/json"
_ALGORITHM = "AWS4-HMAC-SHA256"
_TERMINATOR = "aws4_request"


class NoKeysError(Exception):
    """There are no keys to sign with.

    Attributes:
        code: AWS's error code, or the class name of botocore's exception.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class CurrentKeys:
    """The keys of one client, for the greenlets of one thread."""

    def __init__(
        self, credentials: Credentials | None, *, clock: Callable[[], float] = monotonic
    ) -> None:
        """Ask for keys for the first time; a failure shows when they are used.

        Args:
            credentials: a client's, as botocore's chain found them; None: it found none.
            clock: monotonic seconds.
        """
        self._credentials = credentials
        self._clock = clock
        self._keys: ReadOnlyCredentials | None = None
        self._problem = ""
        self._asking: Any = None
        self._must_wait = False
        self._asked_s = -inf
        self._look_at_s = inf
        self._ask()
        if hasattr(credentials, "refresh_needed"):  # others never change
            self._look_at_s = self._clock() + LOOK_EVERY_S

    def get(self) -> ReadOnlyCredentials:
        """The keys to sign with now; the same object until there are new ones.

        Raises:
            NoKeysError: there are none, or they have expired and could not be replaced.
        """
        if self._clock() >= self._look_at_s:
            self._look()
        if self._must_wait:
            self._asking.join(timeout=PATIENCE_S)
            if self._must_wait:
                raise NoKeysError("CredentialRetrievalError")
        if self._keys is None or self._problem:
            raise NoKeysError(self._problem)
        return self._keys

    def _look(self) -> None:
        now_s = self._clock()
        self._look_at_s = now_s + LOOK_EVERY_S
        stale = now_s - self._asked_s >= ASK_EVERY_S
        if not (stale or self._problem or self._expires_within(EXPIRES_SOON_S)):
            return
        if self._asking is None:
            self._asking = gevent.spawn(self._ask)
        self._must_wait = not self._problem and self._expires_within(0.0)

    def _expires_within(self, seconds: float) -> bool:
        credentials: Any = self._credentials
        return bool(credentials.refresh_needed(refresh_in=seconds))

    def _ask(self) -> None:
        try:
            self._keys, self._problem = self._frozen_keys(), ""
        except ClientError as exc:  # of the service that hands out keys
            self._problem = exc.response.get("Error", {}).get("Code") or "Unknown"
        except Exception as exc:  # whatever a source of credentials lets out
            self._problem = type(exc).__name__
        finally:
            self._asked_s = self._clock()
            self._asking, self._must_wait = None, False

    def _frozen_keys(self) -> ReadOnlyCredentials:
        if self._credentials is None:
            raise NoCredentialsError
        keys = self._credentials.get_frozen_credentials()
        if not f"{keys.access_key}{keys.token or ''}".isprintable():
            raise ValueError("AWS keys with control characters cannot be sent")
        return keys


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
