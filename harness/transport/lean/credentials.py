"""The caller's AWS keys, from botocore's chain, without its price on every call.

botocore looks at the expiry on every call and, once it is near, lets that call fetch new keys; keys
that live for less than 15 minutes it fetches again for every single call. Here a call takes the
keys at hand, while a greenlet of its own asks for new ones in time. A call waits only if its keys
have expired.
"""

from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any

import gevent
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import ClientError, NoCredentialsError

LOOK_EVERY_S = 1.0
ASK_EVERY_S = 60.0  # botocore then decides whether new keys are due: 15 minutes before expiry
EXPIRES_SOON_S = 30.0  # for keys that live for less
PATIENCE_S = 5.0  # of a call whose keys have expired: STS answers in less than one


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
            self._keys, self._problem = _keys_of(self._credentials), ""
        except ClientError as exc:  # of the service that hands out keys
            self._problem = exc.response.get("Error", {}).get("Code") or "Unknown"
        except Exception as exc:  # whatever a source of credentials lets out
            self._problem = type(exc).__name__
        finally:
            self._asked_s = self._clock()
            self._asking, self._must_wait = None, False


def _keys_of(credentials: Credentials | None) -> ReadOnlyCredentials:
    if credentials is None:
        raise NoCredentialsError
    keys = credentials.get_frozen_credentials()
    if not f"{keys.access_key}{keys.token or ''}".isprintable():
        raise ValueError("AWS keys with control characters cannot be sent")
    return keys
