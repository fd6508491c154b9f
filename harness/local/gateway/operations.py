"""The four operations of the `mwaa` service that the stand-in knows."""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode

from mwaa_headroom.harness.local.gateway.answers import (
    HIDDEN,
    Answer,
    ApiError,
    answer_from_airflow,
    internal_error,
    json_answer,
    not_found,
    service_error,
    validation_error,
)
from mwaa_headroom.harness.local.gateway.load_balancer import (
    NoWebserverError,
    TooLargeError,
    Upstream,
    UpstreamError,
)
from mwaa_headroom.harness.local.gateway.signature import Action, Credential
from mwaa_headroom.harness.local.settings import GatewaySettings, StandInSettings, ThrottleSettings

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


def describe(
    settings: StandInSettings, *, airflow_version: str, webserver_url: str, created_at_s: float
) -> dict[str, object]:
    """The `Environment` structure of the service model; times are seconds since the epoch.

    As on AWS there is no current webserver count in it: only the metrics show that.
    """
    arn = f"arn:aws:airflow:{settings.region}:{settings.account}:environment/{settings.name}"
    role = f"arn:aws:iam::{settings.account}:role/{settings.name}"
    return {
        "Name": settings.name,
        "Arn": arn,
        "Status": "AVAILABLE",
        "AirflowVersion": airflow_version,
        "EnvironmentClass": "mw1.small",  # means nothing here: settings decide the CPU and memory
        "MinWebservers": settings.min_webservers,
        "MaxWebservers": settings.max_webservers,
        "MinWorkers": 1,
        "MaxWorkers": 1,
        "Schedulers": 1,
        "WebserverUrl": webserver_url,
        "WebserverAccessMode": "PUBLIC_ONLY",
        "EndpointManagement": "SERVICE",
        "ExecutionRoleArn": role,
        "ServiceRoleArn": role,
        "DagS3Path": "dags",
        "AirflowConfigurationOptions": {},
        "WeeklyMaintenanceWindowStart": "SUN:03:00",
        "CreatedAt": created_at_s,
        "LastUpdate": {"Status": "SUCCESS", "CreatedAt": created_at_s},
        "Tags": {},
    }


METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE")
MOST_PATH_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call for a webserver."""

    method: str
    target: str  # "/api/v2/dags?limit=10", percent-encoded
    body: bytes | None


def api_prefix(airflow_version: str) -> str:
    """Where this Airflow's REST API is: /api/v1 (Airflow 2) or /api/v2 (Airflow 3)."""
    return "/api/v1" if airflow_version.startswith("2.") else "/api/v2"


def read_document(payload: bytes) -> dict[str, object]:
    """The JSON object in a request body; an empty body is an empty object.

    Raises SerializationException (HTTP 400) for anything else.
    """
    try:
        document = json.loads(payload) if payload else {}
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ApiError("SerializationException", 400, "The request body is not a JSON object")
    return document


def read_invocation(
    document: Mapping[str, object], *, prefix: str, settings: GatewaySettings
) -> Invocation:
    """Check an InvokeRestApiRequest against the service model.

    Raises ValidationException (HTTP 400) with a message in AWS's wording.
    """
    method = _text(document, "Method")
    if method not in METHODS:
        raise _broken(
            method, "method", f"Member must satisfy enum value set: [{', '.join(METHODS)}]"
        )
    path = _text(document, "Path")
    _check_path(path, enforce_limit=settings.enforce_path_limit)
    query = urlencode(list(_query_pairs(document.get("QueryParameters"))), errors="replace")
    # "%" is left alone: callers may give a run id with or without percent-encoding.
    encoded_path = quote(path, safe="/%:@!$&'()*+,;=~", errors="replace")
    return Invocation(
        method=method,
        target=f"{prefix}{encoded_path}{'?' if query else ''}{query}",
        # Airflow's provider sends Body={} with every call; on a GET it has no meaning.
        body=None if method == "GET" else _body(document, settings.unwrap_string_body),
    )


def leaves_its_folder(path: str) -> bool:
    """True if a path, percent-encoded or not, could climb out of the prefix put before it."""
    return any(segment in (".", "..") for segment in unquote(path).replace("\\", "/").split("/"))


def _check_path(path: str, *, enforce_limit: bool) -> None:
    if not path:
        raise _broken(path, "path", "Member must have length greater than or equal to 1")
    if enforce_limit and len(path) > MOST_PATH_CHARACTERS:
        raise _broken(
            path, "path", f"Member must have length less than or equal to {MOST_PATH_CHARACTERS}"
        )
    # Unverified whether AWS refuses these three; what passes here should pass there.
    if not path.startswith("/"):
        raise validation_error("Path must begin with '/', for example /dags")
    if leaves_its_folder(path):
        raise validation_error("Path must not contain '.' or '..' segments")
    if "?" in path:
        raise validation_error("Path must not contain '?': use QueryParameters")


def _text(document: Mapping[str, object], member: str) -> str:
    value = document.get(member)
    name = member.lower()
    if value is None:
        raise _broken(None, name, "Member must not be null")
    if not isinstance(value, str):
        raise validation_error(f"{member} must be a string")
    return value


def _broken(value: str | None, member: str, constraint: str) -> ApiError:
    shown = "null" if value is None else f"'{value}'"
    return validation_error(
        f"1 validation error detected: Value {shown} at '{member}' "
        f"failed to satisfy constraint: {constraint}"
    )


def _query_pairs(parameters: object) -> Iterator[tuple[str, str]]:
    """Key and value of every parameter; a list repeats its key, a null is left out."""
    if parameters is None:
        return
    if not isinstance(parameters, dict):
        raise validation_error("QueryParameters must be an object")
    for key, value in parameters.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict | list):
                raise validation_error(f"QueryParameters.{key} must be a value or a list of values")
            if one is not None:
                yield key, one if isinstance(one, str) else json.dumps(one)


def _body(document: Mapping[str, object], unwrap_string: bool) -> bytes | None:
    body = document.get("Body")
    if body is None:
        return None
    if unwrap_string and isinstance(body, str) and _is_json(body):
        return body.encode("utf-8", "replace")
    return json.dumps(body, separators=(",", ":")).encode()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class Throttle:
    """Admits `burst` calls at once and `rate_per_s` in the long run; without a rate, all calls."""

    def __init__(
        self, settings: ThrottleSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._tokens = float(settings.burst)
        self._filled_at_s = clock()

    def admit(self) -> None:
        """Take one token, or raise the throttling error that the settings name."""
        rate_per_s = self._settings.rate_per_s
        if rate_per_s is None:
            return
        now_s = self._clock()
        gained = (now_s - self._filled_at_s) * rate_per_s
        self._tokens = min(float(self._settings.burst), self._tokens + gained)
        self._filled_at_s = now_s
        if self._tokens < 1.0:
            raise ApiError(
                self._settings.error_code,
                self._settings.http_status,
                "Rate exceeded",
                retry_after_ms=self._settings.retry_after_ms,
            )
        self._tokens -= 1.0


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
