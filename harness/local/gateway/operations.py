"""The four operations of the `mwaa` service that the stand-in knows."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import unquote

from harness.local.gateway.answers import (
    HIDDEN,
    Answer,
    answer_from_airflow,
    internal_error,
    json_answer,
    not_found,
    service_error,
    validation_error,
)
from harness.local.gateway.balancer import NoWebserverError
from harness.local.gateway.environments import describe
from harness.local.gateway.identities import Action, Credential
from harness.local.gateway.invocation import api_prefix, read_invocation
from harness.local.gateway.throttle import Throttle
from harness.local.gateway.upstream import TooLargeError, Upstream, UpstreamError
from harness.local.gateway.weblogin import WebLogins
from harness.local.settings import StandInSettings

NAME_PATTERN = r"[a-zA-Z][0-9a-zA-Z-_]*"
ROUTES: Mapping[tuple[str, str], Action] = {
    ("POST", "restapi"): "InvokeRestApi",
    ("POST", "webtoken"): "CreateWebLoginToken",
    ("GET", "environments"): "GetEnvironment",
}


def route(method: str, raw_path: str) -> tuple[Action, str] | None:
    """The operation and the environment's name for a request line, or None."""
    if (method, raw_path) == ("GET", "/environments"):
        return "ListEnvironments", ""
    _, _, rest = raw_path.partition("/")
    first, _, name = rest.partition("/")
    action = ROUTES.get((method, first))
    if action is None or not name or "/" in name:
        return None
    return action, unquote(name)


class Operations:
    """Performs calls whose signature has been checked."""

    def __init__(
        self,
        *,
        settings: StandInSettings,
        airflow_version: str,
        webserver_host: str,
        created_at_s: float,
        upstream: Upstream,
        throttle: Throttle,
        logins: WebLogins,
        authorization: Callable[[str], Awaitable[str | None]],
    ) -> None:
        self._settings = settings
        self._prefix = api_prefix(airflow_version)
        self._webserver_host = webserver_host
        self._environment = describe(
            settings,
            airflow_version=airflow_version,
            webserver_url=f"http://{webserver_host}",
            created_at_s=created_at_s,
        )
        self._upstream = upstream
        self._throttle = throttle
        self._logins = logins
        self._authorization = authorization

    async def perform(
        self, action: Action, name: str, caller: Credential, document: Mapping[str, object]
    ) -> Answer:
        """Answer one call. Raises ApiError for every refusal."""
        if action != "ListEnvironments":
            self._check_name(name)
        caller.require(
            action,
            region=self._settings.region,
            account=self._settings.account,
            environment=self._settings.name,
        )
        if action == "InvokeRestApi":
            return await self._invoke_rest_api(caller, document)
        if action == "CreateWebLoginToken":
            return self._create_web_login_token(caller)
        if action == "GetEnvironment":
            return json_answer({"Environment": self._environment})
        return json_answer({"Environments": [self._settings.name]})

    def _check_name(self, name: str) -> None:
        if len(name) > 80 or re.fullmatch(NAME_PATTERN, name) is None:
            raise validation_error(
                f"1 validation error detected: Value '{name}' at 'name' failed to satisfy "
                f"constraint: Member must satisfy regular expression pattern: {NAME_PATTERN}"
            )
        # AWS may look at the permission first and deny access to a name that does not exist
        # (unverified); saying that it does not exist helps more.
        if name != self._settings.name:
            raise not_found(name)

    async def _invoke_rest_api(self, caller: Credential, document: Mapping[str, object]) -> Answer:
        self._throttle.admit()
        gateway = self._settings.gateway
        invocation = read_invocation(document, prefix=self._prefix, settings=gateway)
        headers = {"Accept": "application/json"}
        if invocation.body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(gateway.timeout_s):
                authorization = await self._authorization(caller.permission.airflow_role)
                if authorization is not None:
                    headers["Authorization"] = authorization
                answer = await self._upstream.call(
                    invocation.method,
                    invocation.target,
                    headers=headers,
                    body=invocation.body,
                    max_bytes=gateway.max_response_bytes,
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
        token = self._logins.issue_token(caller.permission.airflow_role)
        return json_answer({**public, "WebToken": token}, {**public, "WebToken": HIDDEN})
