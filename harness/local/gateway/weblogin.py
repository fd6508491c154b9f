"""Web login tokens and the sessions they are exchanged for."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

TOKEN_LIFE_S = 60.0  # documented
SESSION_LIFE_S = 12 * 3600.0  # documented


@dataclass(frozen=True, slots=True)
class _Grant:
    airflow_role: str
    expires_at_s: float


class WebLogins:
    """Hands out single-use tokens and remembers whose Airflow role a session carries."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens: dict[str, _Grant] = {}
        self._sessions: dict[str, _Grant] = {}

    def issue_token(self, airflow_role: str) -> str:
        """A new web login token, valid for 60 s and one use."""
        return self._grant(self._tokens, airflow_role, TOKEN_LIFE_S)

    def exchange(self, token: str) -> str | None:
        """A new session for a valid token, None for any other; the token is spent."""
        grant = self._tokens.pop(token, None)
        if grant is None or grant.expires_at_s < self._clock():
            return None
        return self._grant(self._sessions, grant.airflow_role, SESSION_LIFE_S)

    def airflow_role(self, session: str) -> str | None:
        """The Airflow role of a valid session, else None."""
        grant = self._sessions.get(session)
        if grant is None or grant.expires_at_s < self._clock():
            return None
        return grant.airflow_role

    def _grant(self, grants: dict[str, _Grant], airflow_role: str, life_s: float) -> str:
        now_s = self._clock()
        for key in [key for key, grant in grants.items() if grant.expires_at_s < now_s]:
            del grants[key]
        key = secrets.token_urlsafe(32)
        grants[key] = _Grant(airflow_role, now_s + life_s)
        return key
