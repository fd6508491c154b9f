"""Passwords and tokens, against a small server that hands tokens out."""

import asyncio
import base64
import hashlib
import json
import re
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.airflow.release import (
    Tokens,
    expiry_s,
    password_statements,
    write_passwords,
)

LIFETIME_S = 3600


def token_for(user: str, expires: float) -> str:
    payload = base64.urlsafe_b64encode(json.dumps({"sub": user, "exp": expires}).encode())
    return f"header.{payload.decode().rstrip('=')}.signature"


class Issuer:
    """Hands out tokens to who knows the password, and remembers whom it gave one."""

    def __init__(self, passwords_file: Path) -> None:
        self.passwords = json.loads(passwords_file.read_text())
        self.now_s = 1_000_000.0
        self.logins: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.passwords[body["username"]] != body["password"]:
            return web.json_response({"detail": "Invalid credentials"}, status=401)
        self.logins.append(body["username"])
        token = token_for(body["username"], self.now_s + LIFETIME_S + len(self.logins))
        return web.json_response({"access_token": token}, status=201)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/auth/token", self.answer)
        async with TestServer(app) as server:
            yield str(server.make_url("")).rstrip("/")


def with_tokens(tmp_path: Path, test: Callable[[Issuer, Tokens], Awaitable[None]]) -> None:
    async def run() -> None:
        file = write_passwords(tmp_path)
        issuer = Issuer(file)
        async with issuer.serving() as url:
            await test(issuer, Tokens("/auth/token", file, lambda: url, clock=lambda: issuer.now_s))

    asyncio.run(run())


def test_each_role_has_its_own_password_in_a_private_file(tmp_path: Path) -> None:
    first = json.loads(write_passwords(tmp_path).read_text())
    file = write_passwords(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    second = json.loads(file.read_text())
    assert first.keys() == second.keys() == {"admin", "op", "user", "viewer"}
    assert len({*first.values(), *second.values()}) == 8


def test_a_token_is_fetched_once_a_role_even_by_many_at_once(tmp_path: Path) -> None:
    async def test(issuer: Issuer, tokens: Tokens) -> None:
        seen = await asyncio.gather(*(tokens.authorization("Admin") for _ in range(5)))
        assert len(set(seen)) == 1
        assert str(seen[0]).startswith("Bearer header.")
        assert await tokens.authorization("Viewer") != seen[0]
        assert issuer.logins == ["admin", "viewer"]

    with_tokens(tmp_path, test)


def test_a_token_is_renewed_before_it_ends(tmp_path: Path) -> None:
    async def test(issuer: Issuer, tokens: Tokens) -> None:
        first = await tokens.authorization("Op")
        issuer.now_s += LIFETIME_S / 2
        assert await tokens.authorization("Op") == first
        issuer.now_s += LIFETIME_S / 2 - 10
        second = await tokens.authorization("Op")
        assert second != first
        assert expiry_s(str(second)) > issuer.now_s + LIFETIME_S

    with_tokens(tmp_path, test)


def test_the_role_public_needs_no_token(tmp_path: Path) -> None:
    async def test(issuer: Issuer, tokens: Tokens) -> None:
        assert await tokens.authorization("Public") is None
        assert issuer.logins == []

    with_tokens(tmp_path, test)


def test_a_refused_login_is_one_sentence_without_the_password(tmp_path: Path) -> None:
    async def test(issuer: Issuer, tokens: Tokens) -> None:
        known, issuer.passwords["user"] = issuer.passwords["user"], "another"
        with pytest.raises(EnvironmentStartError, match="refused to log in user 'user'") as caught:
            await tokens.authorization("User")
        assert known not in str(caught.value)

    with_tokens(tmp_path, test)


def test_where_nobody_logs_in_the_password_is_the_token(tmp_path: Path) -> None:
    file = write_passwords(tmp_path)
    tokens = Tokens(None, file, lambda: None)
    password = json.loads(file.read_text())["viewer"]
    assert asyncio.run(tokens.authorization("Viewer")) == f"Bearer {password}"
    assert asyncio.run(tokens.authorization("Public")) is None


def test_fabs_users_get_hashes_of_their_passwords(tmp_path: Path) -> None:
    file = write_passwords(tmp_path)
    statements = password_statements(file).splitlines()
    for (user, password), statement in zip(
        json.loads(file.read_text()).items(), statements, strict=True
    ):
        assert password not in statement
        assert statement.endswith(f"' WHERE username = '{user}';")
        hashed = re.search(r"'pbkdf2:sha256:(\d+)\$(\w+)\$(\w+)'", statement)
        assert hashed
        rounds, salt, digest = hashed.groups()
        expected = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), int(rounds))
        assert digest == expected.hex()


def test_without_a_ready_webserver_the_error_says_so(tmp_path: Path) -> None:
    tokens = Tokens("/auth/token", write_passwords(tmp_path), lambda: None)
    with pytest.raises(EnvironmentStartError, match="No webserver is ready"):
        asyncio.run(tokens.authorization("Admin"))
