"""A gateway in a background event loop, before webservers that answer what a test tells them to."""

import asyncio
import contextlib
import http.client
import json
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import boto3
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from mwaa_headroom.harness.local.gateway.balancer import Balancer
from mwaa_headroom.harness.local.gateway.server import Gateway
from mwaa_headroom.harness.local.gateway.signature import Credential
from mwaa_headroom.harness.local.settings import StandInSettings

T = TypeVar("T")
SESSION = boto3.Session()  # reads the service model once for all tests

KEY_ID = "AKIDHEADROOM"
SECRET = "not-a-real-secret"
TEMPORARY_KEY_ID = "ASIAHEADROOM"
SESSION_TOKEN = "not-a-real-session-token"
POWERLESS_KEY_ID = "AKIDPOWERLESS"
VIEWER_KEY_ID = "AKIDVIEWER"
ENVIRONMENT = StandInSettings().name
ACCOUNT = StandInSettings().account
CREDENTIALS = (
    Credential(KEY_ID, SECRET, "tester", ACCOUNT, "Admin"),
    Credential(TEMPORARY_KEY_ID, SECRET, "visitor", ACCOUNT, "Admin", session_token=SESSION_TOKEN),
    Credential(POWERLESS_KEY_ID, SECRET, "nobody", ACCOUNT, "Admin", actions=frozenset()),
    Credential(VIEWER_KEY_ID, SECRET, "viewer", ACCOUNT, "Viewer"),
)


@dataclass
class Reply:
    """What a webserver answers on one path."""

    status: int = 200
    body: bytes = b'{"ok": true}'
    content_type: str = "application/json"
    delay_s: float = 0.0
    chunked: bool = False
    hang_up: bool = False  # close the connection instead of answering
    break_off: bool = False  # close it in the middle of the answer


@dataclass
class SeenCall:
    """What a webserver was asked."""

    method: str
    raw_path: str
    headers: dict[str, str]
    body: bytes
    peer_port: int


@dataclass
class ScriptedWebserver:
    """A real HTTP server whose answers are set by the test."""

    name: str
    replies: dict[str, Reply] = field(default_factory=dict)
    seen: list[SeenCall] = field(default_factory=list)
    abandoned: threading.Event = field(default_factory=threading.Event)
    base_url: str = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        self.seen.append(
            SeenCall(
                method=request.method,
                raw_path=request.raw_path,
                headers=dict(request.headers),
                body=await request.read(),
                peer_port=request.transport.get_extra_info("peername")[1],
            )
        )
        reply = self.replies.get(request.raw_path.partition("?")[0], Reply())
        if reply.hang_up:
            request.transport.abort()
        if reply.break_off:
            request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            request.transport.close()
        try:
            await asyncio.sleep(reply.delay_s)
        except asyncio.CancelledError:
            self.abandoned.set()
            raise
        headers = {"Content-Type": reply.content_type}
        if not reply.chunked:
            return web.Response(status=reply.status, body=reply.body, headers=headers)
        response = web.StreamResponse(status=reply.status, headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(reply.body), 1000):
                await response.write(reply.body[start : start + 1000])
        return response

    async def start(self) -> web.ServerRunner:
        server = web.Server(self.handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner


@dataclass
class HttpAnswer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Stand:
    """A running gateway; `run` executes a coroutine on its event loop."""

    def __init__(
        self,
        cloudtrail_path: Path,
        *,
        settings: StandInSettings | None = None,
        airflow_version: str = "3.3.1",
        webservers: int = 1,
    ) -> None:
        self.cloudtrail_path = cloudtrail_path
        self.settings = settings or StandInSettings()
        self.clock_offset_s = 0.0
        self.balancer = Balancer()
        self.webservers = [ScriptedWebserver(f"webserver-{n + 1}") for n in range(webservers)]
        self.gateway = Gateway(
            settings=self.settings,
            airflow_version=airflow_version,
            balancer=self.balancer,
            credentials=CREDENTIALS,
            authorization=self._authorization,
            cloudtrail_path=cloudtrail_path,
            wall_clock=lambda: time.time() + self.clock_offset_s,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._runners: dict[str, web.ServerRunner] = {}
        self._clients: list[Any] = []

    async def _authorization(self, airflow_role: str) -> str | None:
        return None if airflow_role == "Public" else f"Bearer airflow-{airflow_role}"

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    def __enter__(self) -> "Stand":
        self._thread.start()
        for webserver in self.webservers:
            self._runners[webserver.name] = self.run(webserver.start())
            self.balancer.add(webserver.name, webserver.base_url)
        self.addresses = self.run(self.gateway.start())
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        self.run(self.gateway.stop())
        for name in list(self._runners):
            self.kill(name)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def kill(self, name: str) -> None:
        """Stop a webserver behind the balancer's back."""
        self.run(self._runners.pop(name).cleanup())

    def client(self, **changes: Any) -> Any:
        """A real boto3 client; changes: region_name, aws_access_key_id, ..."""
        parts: dict[str, Any] = {
            "region_name": self.settings.region,
            "endpoint_url": self.addresses.mwaa_url,
            "aws_access_key_id": KEY_ID,
            "aws_secret_access_key": SECRET,
            "config": Config(inject_host_prefix=False, retries={"total_max_attempts": 1}),
        }
        client = SESSION.client("mwaa", **{**parts, **changes})
        self._clients.append(client)
        return client

    def invoke(self, path: str = "/dags", method: str = "GET", **members: Any) -> Any:
        if not self._clients:
            self.client()
        return self._clients[0].invoke_rest_api(
            Name=self.settings.name, Path=path, Method=method, **members
        )

    def cloudtrail(self) -> list[dict[str, Any]]:
        """Every event that CloudTrail has so far."""
        self._loop.call_soon_threadsafe(self.gateway._cloudtrail.flush)
        self.run(asyncio.sleep(0))
        if not self.cloudtrail_path.exists():
            return []
        return [json.loads(line) for line in self.cloudtrail_path.read_text().splitlines()]


def signed_headers(
    url: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> dict[str, str]:
    """The headers of a call that botocore signed."""
    request = AWSRequest(method=method, url=f"{url}{path}", headers=headers, data=body)
    SigV4Auth(Credentials(KEY_ID, SECRET), "airflow", StandInSettings().region).add_auth(request)
    return dict(request.headers)


def http_call(
    url: str,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    form: dict[str, str] | None = None,
    body: bytes | None = None,
) -> HttpAnswer:
    """One plain HTTP call."""
    sent_headers = dict(headers or {})
    if form is not None:
        body = urlencode(form).encode()
        sent_headers["Content-Type"] = "application/x-www-form-urlencoded"
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path, body=body, headers=sent_headers)
        response = connection.getresponse()
        return HttpAnswer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()
