"""The session behind the web-token transport: logged in once, shared by all calls, renewed in time.

Source: MWAA User Guide, "Create a web server session token and call the Apache Airflow REST API". A
web login token serves once within 60 s; the session it is exchanged for lives 12 h.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from harness.errors import EnvironmentAccessError

SESSION_LIFE_S = 12 * 3600.0
RENEW_BEFORE_S = 900.0
PAUSE_S = 10.0  # between logins that did not help: they must not become a load of their own

logger = logging.getLogger(__name__)


class Lock(AbstractContextManager[object], Protocol):
    """What `threading` and gevent have."""

    def acquire(self, blocking: bool = True) -> bool:
        """Whether the lock was got."""

    def release(self) -> None:
        """Give it back."""


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """One login."""

    headers: bytes = field(repr=False)  # lines of a request that prove it
    began_s: float


class SharedSession:
    """Everybody's session. However many calls find it ended, one of them logs in again."""

    def __init__(
        self,
        first: Session,
        *,
        log_in: Callable[[], Session],
        lock: Lock,
        clock: Callable[[], float],
    ) -> None:
        """Nothing is done before the first question.

        Args:
            first: a login that has just been made.
            log_in: makes another one, or raises what kept it from that.
            lock: one for the threads or greenlets that share the session.
            clock: the one that sessions are dated by, in seconds.
        """
        self._session = first
        self._log_in = log_in
        self._lock = lock
        self._clock = clock
        self._not_before_s = float("-inf")

    def current(self) -> Session:
        """The session to use. If its end is near, one caller renews it while others go on."""
        session = self._session
        if self._is_old(session) and self._lock.acquire(blocking=False):
            try:
                if self._session is session:
                    self._replace()
            finally:
                self._lock.release()
        return self._session

    def instead_of(self, refused: Session) -> Session | None:
        """Another session than one that the webserver refused; None: there is none to be had."""
        with self._lock:
            if self._session is refused:
                self._replace()
            return None if self._session is refused else self._session

    def did_not_help(self, session: Session) -> None:
        """A call was refused with a new session too: another login would not change that now."""
        if self._session is session:
            self._not_before_s = self._clock() + PAUSE_S

    def _is_old(self, session: Session) -> bool:
        return self._clock() - session.began_s > SESSION_LIFE_S - RENEW_BEFORE_S

    def _replace(self) -> None:
        if self._clock() < self._not_before_s:
            return
        try:
            self._session = self._log_in()
        except Exception as exc:  # botocore's parser lets anything out on an unforeseen answer
            reason = exc if isinstance(exc, EnvironmentAccessError) else type(exc).__name__
            logger.warning("The web session could not be renewed: %s", reason)
            self._not_before_s = self._clock() + PAUSE_S
