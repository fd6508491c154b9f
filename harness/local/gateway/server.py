"""The gateway's two listeners on loopback, and the way of one call through it.

A call to the MWAA API is routed, its signature verified, its permission checked, then answered;
what the service would log in CloudTrail is logged.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.local.gateway.answers import (
    HIDDEN,
    Answer,
    ApiError,
    answer_from_airflow,
    internal_error,
    json_answer,
    needs_update,
    service_error,
)
from mwaa_headroom.harness.local.gateway.balancer import Balancer, NoWebserverError
from mwaa_headroom.harness.local.gateway.cloudtrail import DATA_EVENTS, CloudTrailLog, data_event
from mwaa_headroom.harness.local.gateway.listener import (
    BodyError,
    Handler,
    Listener,
    Recognised,
    read_body,
)
from mwaa_headroom.harness.local.gateway.operations import (
    Action,
    Throttle,
    api_prefix,
    check_name,
    describe,
    read_document,
    read_invocation,
    route,
)
from mwaa_headroom.harness.local.gateway.signature import (
    Credential,
    ReceivedRequest,
    SignatureVerifier,
)
from mwaa_headroom.harness.local.gateway.upstream import TooLargeError, Upstream, UpstreamError
from mwaa_headroom.harness.local.gateway.web_login import WebLogins, WebserverAddress
from mwaa_headroom.harness.local.loopback import FOREIGN, LOOPBACK
from mwaa_headroom.harness.local.settings import StandInSettings

logger = logging.getLogger(__name__)

BODY_ERRORS = {
    HTTPStatus.BAD_REQUEST: "MalformedHttpRequestException",
    HTTPStatus.REQUEST_TIMEOUT: "RequestTimeoutException",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestEntityTooLargeException",
}


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
        credentials: Iterable[Credential],
        authorization: Callable[[str], Awaitable[str | None]],
        cloudtrail_path: Path,
        tls: ssl.SSLContext | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Nothing listens before `start`.

        Args:
            settings: Names, limits and unverified choices.
            airflow_version: Decides between /api/v1 and /api/v2.
            balancer: Where the webservers are; the caller adds and removes them.
            credentials: Who may call.
            authorization: The Authorization header for an Airflow role, or None; called for every
                call, so it should remember.
            cloudtrail_path: Where data events are appended.
            tls: Serves https with it; None: plain HTTP.
            wall_clock: Seconds since the epoch.
        """
        self._settings = settings
        self._airflow_version = airflow_version
        self._prefix = api_prefix(airflow_version)
        self._balancer = balancer
        self._authorization = authorization
        self._wall_clock = wall_clock
        self._tls = tls
        self._verifier = SignatureVerifier(
            region=settings.region,
            credentials=credentials,
            max_clock_skew_s=settings.gateway.max_clock_skew_s,
        )
        self._throttle = Throttle(settings.gateway.throttle)
        self._logins = WebLogins(wall_clock)
        self._cloudtrail = CloudTrailLog(cloudtrail_path)
        self._cleanup = contextlib.AsyncExitStack()
        self.outcomes: Counter[str] = Counter()
        # From `start` on:
        self._upstream: Upstream
        self._webserver_host = ""
        self._environment: dict[str, object] = {}

    @property
    def calls_handled(self) -> int:
        """Calls answered so far on the MWAA port; `outcomes` has them by error code or "ok"."""
        return self.outcomes.total()

    async def start(self) -> GatewayAddresses:
        """Listen on loopback.

        Raises UsageError if the port is in use.
        """
        async with contextlib.AsyncExitStack() as cleanup:
            self._upstream = Upstream(self._balancer)
            cleanup.push_async_callback(self._upstream.close)
            flushing = asyncio.create_task(self._cloudtrail.keep_flushing())
            cleanup.push_async_callback(_cancel, flushing)
            webserver_address = WebserverAddress(
                prefix=self._prefix,
                upstream=self._upstream,
                logins=self._logins,
                authorization=self._authorization,
                max_bytes=self._settings.gateway.max_request_bytes,
                login_redirects=self._settings.gateway.login_redirects,
            )
            scheme = "http" if self._tls is None else "https"
            web_port = await _listen(
                webserver_address.handle, webserver_address.refuse, 0, cleanup, self._tls
            )
            self._webserver_host = f"{LOOPBACK}:{web_port}"
            webserver_url = f"{scheme}://{self._webserver_host}"
            self._environment = describe(
                self._settings,
                airflow_version=self._airflow_version,
                webserver_url=webserver_url,
                created_at_s=self._wall_clock(),
            )
            mwaa_port = await _listen(
                self._handle, _refuse, self._settings.gateway_port, cleanup, self._tls
            )
            self._cleanup = cleanup.pop_all()
        return GatewayAddresses(f"{scheme}://{LOOPBACK}:{mwaa_port}", webserver_url)

    async def stop(self) -> None:
        """Stop listening, let calls in flight end for two seconds, and write the log's rest."""
        await self._cleanup.aclose()

    async def _handle(self, request: web.BaseRequest, recognised: Recognised) -> web.StreamResponse:
        request_id = str(uuid.uuid4())
        try:
            answer = await self._answer(request, request_id, recognised)
        except ApiError as error:
            answer = error.answer()
        except Exception:
            logger.exception("call %s failed", request_id)
            answer = internal_error("Internal error").answer()
        self.outcomes[answer.error_code or "ok"] += 1
        return _response(answer, request_id)

    async def _answer(
        self, request: web.BaseRequest, request_id: str, recognised: Recognised
    ) -> Answer:
        now_s = self._wall_clock()
        raw_path, _, raw_query = request.raw_path.partition("?")
        action, name = route(request.method, raw_path)
        headers = list(request.headers.items())
        # First what needs no body: nobody unknown makes us hold one.
        claim = self._verifier.read_claim(headers, now_s)
        body = await _read_body(request, self._settings.gateway.max_request_bytes)
        caller = self._verifier.check(
            claim, ReceivedRequest(request.method, raw_path, raw_query, headers, body)
        )
        recognised()
        document: Mapping[str, object] = {}
        try:
            _check_encoding(request)
            document = read_document(body)
            answer = await self._perform(action, name, caller, document)
        except ApiError as error:
            answer = error.answer()
        if action in DATA_EVENTS:
            self._cloudtrail.add(
                data_event(
                    action,
                    time_s=now_s,
                    caller=caller,
                    region=self._settings.region,
                    environment=name,
                    document=document,
                    answer=answer,
                    request_id=request_id,
                    source_address=request.remote or "",
                    user_agent=request.headers.get("User-Agent", ""),
                )
            )
        return answer

    async def _perform(
        self, action: Action, name: str, caller: Credential, document: Mapping[str, object]
    ) -> Answer:
        if action != "ListEnvironments":
            # AWS may look at the permission first and deny access to a name that does not exist
            # (unverified); saying that it does not exist helps more.
            check_name(name, known=self._settings.name)
        caller.require(action, self._settings)
        match action:
            case "InvokeRestApi":
                return await self._invoke_rest_api(caller, document)
            case "CreateWebLoginToken":
                return self._create_web_login_token(caller)
            case "GetEnvironment":
                return json_answer({"Environment": self._environment})
            case "ListEnvironments":
                return json_answer({"Environments": [self._settings.name]})

    async def _invoke_rest_api(self, caller: Credential, document: Mapping[str, object]) -> Answer:
        self._throttle.admit()
        gateway = self._settings.gateway
        if gateway.needs_update:
            return needs_update()
        invocation = read_invocation(document, prefix=self._prefix, settings=gateway)
        headers = {"Accept": "application/json"}
        if invocation.body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(gateway.timeout_s):
                authorization = await self._authorization(caller.airflow_role)
                if authorization is not None:
                    headers["Authorization"] = authorization
                answer = await self._upstream.call(
                    invocation, headers=headers, max_bytes=gateway.max_response_bytes
                )
        except TimeoutError:
            raise service_error(
                gateway.timeout_exception,
                f"The Airflow REST API did not answer within {gateway.timeout_s:g} seconds",
            ) from None
        except TooLargeError:
            raise service_error(
                gateway.too_large_exception,
                f"The response is larger than {gateway.max_response_bytes} bytes",
            ) from None
        except NoWebserverError:
            # What AWS answers while no webserver is healthy is unverified; so is the next one.
            raise internal_error("No webserver is available") from None
        except UpstreamError:
            raise internal_error("The webserver did not answer") from None
        return answer_from_airflow(
            answer.status, answer.content_type, answer.body, drop_nulls=gateway.drop_nulls
        )

    def _create_web_login_token(self, caller: Credential) -> Answer:
        public = {
            "WebServerHostname": self._webserver_host,
            "IamIdentity": f"user/{caller.user_name}",
            "AirflowIdentity": caller.user_name[:64],
        }
        token = self._logins.issue_token(caller.airflow_role)
        return json_answer({**public, "WebToken": token}, {**public, "WebToken": HIDDEN})


def _refuse() -> web.Response:
    return _response(ApiError("ForbiddenException", 403, FOREIGN).answer(), str(uuid.uuid4()))


def _response(answer: Answer, request_id: str) -> web.Response:
    headers = {"Content-Type": answer.content_type, "x-amzn-RequestId": request_id}
    if answer.error_code is not None:
        headers["x-amzn-errortype"] = answer.error_code
    if answer.retry_after_ms is not None:
        headers["x-amz-retry-after"] = str(answer.retry_after_ms)
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _check_encoding(request: web.BaseRequest) -> None:
    """Raise if the body is compressed: the service model names no operation that takes that."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        # AWS's code for a body that cannot be unpacked
        raise ApiError(
            "MalformedHttpRequestException", 400, f"Content-Encoding {encoding} is not supported"
        )


async def _read_body(request: web.BaseRequest, max_bytes: int) -> bytes:
    try:
        return await read_body(request, max_bytes)
    except BodyError as error:
        message = f"{error}; at most {max_bytes} bytes are taken"
        raise ApiError(BODY_ERRORS[error.status], error.status, message) from None


async def _listen(
    handler: Handler,
    refuse: Callable[[], web.Response],
    port: int,
    cleanup: contextlib.AsyncExitStack,
    tls: ssl.SSLContext | None,
) -> int:
    """Serve `handler` on loopback; the port it got (0 asks for a free one)."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((LOOPBACK, port))
        listener = Listener(handler, refuse)
        await listener.start(listening, tls)
    except OSError as exc:
        listening.close()
        raise UsageError(
            f"Port {port} on {LOOPBACK} cannot be used ({os.strerror(exc.errno or 0)}): "
            "set environment.gateway_port or --port to a free one, or to 0 for any."
        ) from exc
    cleanup.push_async_callback(listener.stop)
    return int(listening.getsockname()[1])


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
