"""The webserver address: log in with a web login token, then call Airflow's REST API directly.

Calls pass with Airflow's own status codes, without the 10 s limit, the size limit and the throttle
of InvokeRestApi. Failures of the balancer answer as an Application Load Balancer does:
502, 503, 504.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from aiohttp import web

from mwaa_headroom.analysis.mwaa import WEB_SESSION_LIFE_S, WEB_TOKEN_LIFE_S
from mwaa_headroom.harness.local.gateway.balancer import NoWebserverError
from mwaa_headroom.harness.local.gateway.listener import (
    Recognised,
    read_body,
)
from mwaa_headroom.harness.local.gateway.operations import Invocation, leaves_its_folder
from mwaa_headroom.harness.local.gateway.upstream import Upstream, UpstreamError
from mwaa_headroom.harness.local.loopback import FOREIGN

OLD_LOGIN_PATH = "/aws_mwaa/login"  # of Airflow 2
USER_INTERFACE = "<!doctype html><html><head><title>Airflow</title></head><body></body></html>"
IDLE_TIMEOUT_S = 60.0  # an Application Load Balancer's default
MOST_FORM_BYTES = 8192  # a login form is a token of 43 characters


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token or a session gives."""

    airflow_role: str
    expires_at_s: float


class WebLogins:
    """Hands out single-use tokens and remembers whose Airflow role a session carries."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens: dict[str, Grant] = {}
        self._sessions: dict[str, Grant] = {}

    def issue_token(self, airflow_role: str) -> str:
        """A new web login token, valid for 60 s and one use."""
        return self._grant(self._tokens, airflow_role, WEB_TOKEN_LIFE_S)

    def exchange(self, token: str) -> str | None:
        """A new session for a valid token, None for any other; the token is spent."""
        grant = self._tokens.pop(token, None)
        if grant is None or grant.expires_at_s < self._clock():
            return None
        return self._grant(self._sessions, grant.airflow_role, WEB_SESSION_LIFE_S)

    def airflow_role(self, session: str) -> str | None:
        """The Airflow role of a valid session, else None."""
        grant = self._sessions.get(session)
        if grant is None or grant.expires_at_s < self._clock():
            return None
        return grant.airflow_role

    def _grant(self, grants: dict[str, Grant], airflow_role: str, life_s: float) -> str:
        now_s = self._clock()
        for key in [key for key, grant in grants.items() if grant.expires_at_s < now_s]:
            del grants[key]
        key = secrets.token_urlsafe(32)
        grants[key] = Grant(airflow_role, now_s + life_s)
        return key


@dataclass(kw_only=True)
class WebserverAddress:
    """Serves the second listener."""

    prefix: str  # of the REST API: that of Airflow 2 or 3
    upstream: Upstream
    logins: WebLogins
    authorization: Callable[[str], Awaitable[str | None]]
    max_bytes: int  # of a request
    login_redirects: bool = False  # to the same path and a slash

    def __post_init__(self) -> None:
        if self.prefix == "/api/v1":
            self._login_path, self._cookie = OLD_LOGIN_PATH, "session"
        else:
            self._login_path, self._cookie = "/pluginsv2/aws_mwaa/login", "_token"
        slash = "/" if self.login_redirects else ""
        self._login_paths = (self._login_path, f"{self._login_path}{slash}")

    async def handle(self, request: web.BaseRequest, recognised: Recognised) -> web.StreamResponse:
        """Answer one request."""
        path = request.raw_path.partition("?")[0]
        if path == self._login_path and request.method == "POST" and self.login_redirects:
            return web.Response(status=307, headers={"Location": f"{path}/"})
        if path in self._login_paths and request.method == "POST":
            return await self._log_in(request)
        if path == OLD_LOGIN_PATH:  # Airflow 3 has its user interface there, and no session
            return web.Response(status=200, text=USER_INTERFACE, content_type="text/html")
        if path.startswith(f"{self.prefix}/") and not leaves_its_folder(path):
            return await self._pass_through(request, recognised)
        return web.Response(status=404, text="Not Found")

    def refuse(self) -> web.Response:
        """Answer a request that is not meant for this machine."""
        return web.Response(status=403, text=FOREIGN)

    async def _log_in(self, request: web.BaseRequest) -> web.Response:
        form = parse_qs((await read_body(request, MOST_FORM_BYTES)).decode("utf-8", "replace"))
        session = self.logins.exchange(form.get("token", [""])[0])
        if session is None:
            return web.Response(status=401, text="Invalid or expired web login token")
        # No Secure flag: the stand-in speaks plain HTTP on loopback.
        response = web.Response(status=200)
        response.set_cookie(
            self._cookie, session, max_age=int(WEB_SESSION_LIFE_S), httponly=True, samesite="Lax"
        )
        return response

    async def _pass_through(self, request: web.BaseRequest, recognised: Recognised) -> web.Response:
        airflow_role = self.logins.airflow_role(self._session_of(request))
        if airflow_role is None:
            return web.json_response({"detail": "Not authenticated"}, status=401)
        recognised()
        body = await read_body(request, self.max_bytes)
        headers = {
            name: request.headers[name]
            for name in ("Accept", "Content-Type")
            if name in request.headers
        }
        authorization = await self.authorization(airflow_role)
        if authorization is not None:
            headers["Authorization"] = authorization
        try:
            async with asyncio.timeout(IDLE_TIMEOUT_S):
                answer = await self.upstream.call(
                    Invocation(request.method, request.raw_path, body or None),
                    headers=headers,
                    max_bytes=None,
                )
        except NoWebserverError:
            return web.Response(status=503, text="Service Temporarily Unavailable")
        except UpstreamError:
            return web.Response(status=502, text="Bad Gateway")
        except TimeoutError:
            return web.Response(status=504, text="Gateway Time-out")
        passed = {"Content-Type": answer.content_type} if answer.content_type else None
        return web.Response(status=answer.status, body=answer.body, headers=passed)

    def _session_of(self, request: web.BaseRequest) -> str:
        """The session as documented clients send it: a cookie, or on Airflow 3 a bearer token."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if self._cookie == "_token" and scheme.lower() == "bearer":
            return token
        return request.cookies.get(self._cookie, "")
