"""Airflow's users, one for each role, and the tokens they call its API with."""

import asyncio
import base64
import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

from harness.errors import EnvironmentStartError
from harness.local.airflow import release

# Airflow's tokens are good for a day; no call must start with one that ends during it.
_RENEW_BEFORE_S = 600.0
_TIMEOUT = aiohttp.ClientTimeout(total=60)
_PRIVATE = 0o600


def write_passwords(directory: Path) -> Path:
    """Give each role's user a new password, in a file that only its owner can read."""
    file = directory / "passwords.json"
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump({user: secrets.token_urlsafe(24) for user in release.ROLES}, stream)
    return file


class Tokens:
    """Bearer tokens, fetched when first needed and again before they end.

    Args:
        passwords_file: written by `write_passwords`.
        choose: the base URL of a webserver that answers, or None while there is none.
        clock: seconds since the epoch, as in the tokens.
    """

    def __init__(
        self,
        passwords_file: Path,
        choose: Callable[[], str | None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._passwords_file = passwords_file
        self._choose = choose
        self._clock = clock
        self._tokens: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def authorization(self, airflow_role: str) -> str | None:
        """The Authorization header of a user with this role; None for the role Public.

        Raises:
            EnvironmentStartError: no webserver answers, or it refuses the login.
        """
        user = airflow_role.lower()
        if user not in release.ROLES:
            return None
        async with self._lock:
            token = self._tokens.get(user)
            if token is None or expiry_s(token) - self._clock() < _RENEW_BEFORE_S:
                token = self._tokens[user] = await self._log_in(user)
        return f"Bearer {token}"

    async def _log_in(self, user: str) -> str:
        base_url = self._choose()
        if base_url is None:
            raise EnvironmentStartError("No webserver is ready to log in to: start one first.")
        passwords = json.loads(self._passwords_file.read_text(encoding="utf-8"))
        body = {"username": user, "password": passwords[user]}
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT, raise_for_status=True) as session,
                session.post(base_url + release.TOKEN, json=body) as answer,
            ):
                return str((await answer.json())["access_token"])
        except (aiohttp.ClientError, TimeoutError, KeyError) as exc:
            raise EnvironmentStartError(
                f"Airflow at {base_url} refused to log in user '{user}' ({type(exc).__name__}):"
                " look into the webserver's log."
            ) from exc


def expiry_s(token: str) -> float:
    """When a JSON web token ends, in seconds since the epoch; its signature is not checked."""
    payload = token.split(".")[1]
    padded = payload + "=" * (-len(payload) % 4)
    return float(json.loads(base64.urlsafe_b64decode(padded))["exp"])
