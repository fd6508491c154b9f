"""The gateway's two listeners on loopback, and the way of one call through it.

CloudTrail-shaped data events, one JSON line each.

Source: the MWAA User Guide's CloudTrail page. Only InvokeRestApi and CreateWebLoginToken are data
events; the request's Body and QueryParameters are not in them, sensitive members read "***", and
`readOnly` is false even for a GET. The shape of failed calls is unverified: here it follows
CloudTrail's general rule (errorCode and errorMessage, no responseElements).
"""

import asyncio
import contextlib
import json
import logging
import os
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.gateway.answers import Answer, ApiError, internal_error
from mwaa_headroom.harness.local.gateway.load_balancer import Balancer, Upstream
from mwaa_headroom.harness.local.gateway.operations import (
    Operations,
    Throttle,
    WebLogins,
    read_document,
    route,
)
from mwaa_headroom.harness.local.gateway.signature import (
    Action,
    Credential,
    Identities,
    ReceivedRequest,
    SignatureVerifier,
)
from mwaa_headroom.harness.local.gateway.web_address import WebserverAddress
from mwaa_headroom.harness.local.settings import StandInSettings

logger = logging.getLogger(__name__)

FLUSH_PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class DataEvent:
    """One call that CloudTrail would log."""

    event_name: str
    event_time_s: float  # since the epoch
    caller: Credential
    region: str
    environment: str
    request_parameters: Mapping[str, str]
    answer: Answer
    request_id: str
    source_address: str
    user_agent: str

    def record(self) -> dict[str, object]:
        """The event as CloudTrail writes it."""
        account = self.caller.permission.account
        arn = f"arn:aws:airflow:{self.region}:{account}:environment/{self.environment}"
        record: dict[str, object] = {
            "eventVersion": "1.09",
            "userIdentity": {
                "type": "IAMUser",
                "arn": self.caller.user_arn,
                "accountId": account,
                "accessKeyId": self.caller.access_key_id,
                "userName": self.caller.user_name,
            },
            "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.event_time_s)),
            "eventSource": "airflow.amazonaws.com",
            "eventName": self.event_name,
            "awsRegion": self.region,
            "sourceIPAddress": self.source_address,
            "userAgent": self.user_agent,
            "requestParameters": self.request_parameters,
            "responseElements": self.answer.trail_elements,
            "requestID": self.request_id,
            "eventID": str(uuid.uuid4()),
            "readOnly": False,
            "resources": [
                {
                    "accountId": account,
                    "type": "AWS::MWAA::Environment",
                    "ARN": arn,
                }
            ],
            "eventType": "AwsApiCall",
            "managementEvent": False,
            "recipientAccountId": account,
            "eventCategory": "Data",
        }
        if self.answer.error_code is not None:
            record["errorCode"] = self.answer.error_code
            record["errorMessage"] = self.answer.error_message
        return record


class Trail:
    """Collects events in memory and appends them to a file about once a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []

    def add(self, event: DataEvent) -> None:
        """Take one event; it reaches the file with the next flush."""
        self._lines.append(json.dumps(event.record()))

    def flush(self) -> None:
        """Append what was collected. A full disk loses events, never calls."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
        except OSError as exc:
            logger.warning("%d trail events were lost: %s", len(lines), exc)

    async def keep_flushing(self) -> None:
        """Flush every second until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(FLUSH_PERIOD_S)
                self.flush()
        finally:
            self.flush()


LOOPBACK = "127.0.0.1"
DATA_EVENTS = frozenset(("InvokeRestApi", "CreateWebLoginToken"))
BACKLOG = 1024  # an open workload may connect in bursts
SHUTDOWN_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class GatewayAddresses:
    """Where a started gateway listens."""

    mwaa_url: str  # endpoint_url for boto3's mwaa client
    webserver_url: str  # the webserver address, for web login tokens


class Gateway:
    """The stand-in for the MWAA service in front of the balancer's webservers."""

    def __init__(
        self,
        *,
        settings: StandInSettings,
        airflow_version: str,
        balancer: Balancer,
        identities: Identities,
        authorization: Callable[[str], Awaitable[str | None]],
        trail_path: Path,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Nothing listens before `start`.

        Args:
            settings: Names, limits and unverified choices.
            airflow_version: Decides between /api/v1 and /api/v2.
            balancer: Where the webservers are; the caller adds and removes them.
            identities: Who may call.
            authorization: The Authorization header for an Airflow role, or None; called for every
                call, so it should remember.
            trail_path: Where data events are appended.
            wall_clock: Seconds since the epoch.
        """
        self._settings = settings
        self._airflow_version = airflow_version
        self._balancer = balancer
        self._authorization = authorization
        self._wall_clock = wall_clock
        self._verifier = SignatureVerifier(
            region=settings.region,
            identities=identities,
            max_clock_skew_s=settings.gateway.max_clock_skew_s,
        )
        self._trail = Trail(trail_path)
        self._cleanup = contextlib.AsyncExitStack()
        self.outcomes: Counter[str] = Counter()

    @property
    def calls_handled(self) -> int:
        """Calls answered so far on the MWAA port; `outcomes` has them by error code or "ok"."""
        return self.outcomes.total()

    async def start(self) -> GatewayAddresses:
        """Listen on loopback.

        Raises EnvironmentStartError if the port is in use.
        """
        async with contextlib.AsyncExitStack() as cleanup:
            upstream = Upstream(self._balancer)
            cleanup.push_async_callback(upstream.close)
            flushing = asyncio.create_task(self._trail.keep_flushing())
            cleanup.push_async_callback(_cancel, flushing)
            logins = WebLogins(self._wall_clock)
            webserver_address = WebserverAddress(
                airflow_version=self._airflow_version,
                upstream=upstream,
                logins=logins,
                authorization=self._authorization,
            )
            web_port = await self._listen(webserver_address.handle, 0, cleanup)
            operations = Operations(
                settings=self._settings,
                airflow_version=self._airflow_version,
                webserver_host=f"{LOOPBACK}:{web_port}",
                created_at_s=self._wall_clock(),
                upstream=upstream,
                throttle=Throttle(self._settings.gateway.throttle),
                logins=logins,
                authorization=self._authorization,
            )
            mwaa_port = await self._listen(
                partial(self._handle, operations), self._settings.gateway_port, cleanup
            )
            self._cleanup = cleanup.pop_all()
        return GatewayAddresses(
            mwaa_url=f"http://{LOOPBACK}:{mwaa_port}", webserver_url=f"http://{LOOPBACK}:{web_port}"
        )

    async def stop(self) -> None:
        """Stop listening, let calls in flight end for two seconds, and write the trail's rest."""
        await self._cleanup.aclose()

    async def _listen(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        port: int,
        cleanup: contextlib.AsyncExitStack,
    ) -> int:
        """Serve `handler` on loopback; the port it got (0 asks for a free one)."""
        loop = asyncio.get_running_loop()
        max_bytes = self._settings.gateway.max_request_bytes

        def new_request(
            message: Any, payload: Any, protocol: Any, writer: Any, task: "asyncio.Task[None]"
        ) -> web.BaseRequest:
            return web.BaseRequest(
                message, payload, protocol, writer, task, loop, client_max_size=max_bytes
            )

        # Low-level: an Application's routes and middlewares cost more than the signature.
        runner = web.ServerRunner(
            web.Server(handler, request_factory=new_request, access_log=None),
            shutdown_timeout=SHUTDOWN_GRACE_S,
        )
        await runner.setup()
        cleanup.push_async_callback(runner.cleanup)
        try:
            await web.TCPSite(runner, LOOPBACK, port, backlog=BACKLOG).start()
        except OSError as exc:
            raise EnvironmentStartError(
                f"Port {port} on {LOOPBACK} cannot be used ({os.strerror(exc.errno or 0)}): "
                "set gateway_port to a free port, or to 0 for any free one."
            ) from exc
        return int(runner.addresses[0][1])

    async def _handle(self, operations: Operations, request: web.BaseRequest) -> web.StreamResponse:
        request_id = str(uuid.uuid4())
        try:
            answer = await self._answer(operations, request, request_id)
        except ApiError as error:
            answer = error.answer()
        except Exception:
            logger.exception("call %s failed", request_id)
            answer = internal_error("Internal error").answer()
        self.outcomes[answer.error_code or "ok"] += 1
        headers = {"Content-Type": "application/json", "x-amzn-RequestId": request_id}
        if answer.error_code is not None:
            headers["x-amzn-errortype"] = answer.error_code
        if answer.retry_after_ms is not None:
            headers["x-amz-retry-after"] = str(answer.retry_after_ms)
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    async def _answer(
        self, operations: Operations, request: web.BaseRequest, request_id: str
    ) -> Answer:
        now_s = self._wall_clock()
        raw_path, _, raw_query = request.raw_path.partition("?")
        routed = route(request.method, raw_path)
        if routed is None:
            raise ApiError("UnknownOperationException", 404, "Unknown operation")
        action, name = routed
        body = await _read_body(request)
        caller = self._verifier.verify(
            ReceivedRequest(
                request.method, raw_path, raw_query, list(request.headers.items()), body
            ),
            now_s,
        )
        document: Mapping[str, object] = {}
        try:
            document = read_document(body)
            answer = await operations.perform(action, name, caller, document)
        except ApiError as error:
            answer = error.answer()
        if action in DATA_EVENTS:
            self._trail.add(
                DataEvent(
                    event_name=action,
                    event_time_s=now_s,
                    caller=caller,
                    region=self._settings.region,
                    environment=name,
                    request_parameters=_trail_parameters(action, name, document),
                    answer=answer,
                    request_id=request_id,
                    source_address=request.remote or "",
                    user_agent=request.headers.get("User-Agent", ""),
                )
            )
        return answer


def _trail_parameters(action: Action, name: str, document: Mapping[str, object]) -> dict[str, str]:
    parameters = {"Name": name}
    if action == "InvokeRestApi":
        for member in ("Path", "Method"):
            value = document.get(member)
            if isinstance(value, str):
                parameters[member] = value
    return parameters


async def _read_body(request: web.BaseRequest) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise ApiError(
            "RequestEntityTooLargeException",
            413,
            f"The request is larger than {request.client_max_size} bytes",
        ) from None


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
