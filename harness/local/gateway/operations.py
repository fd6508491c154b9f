"""The `mwaa` service's model: routes, checks of requests, GetEnvironment's answer, the throttle.

Nothing here waits or talks to anybody.
"""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote, urlencode

from mwaa_headroom.analysis.mwaa import INVOKE_PATH_CHARACTERS, partition_of
from mwaa_headroom.harness.local.bounded_json import TooManyValuesError, read_json
from mwaa_headroom.harness.local.gateway.answers import ApiError, validation_error
from mwaa_headroom.harness.local.settings import GatewaySettings, StandInSettings, ThrottleSettings

Action = Literal["InvokeRestApi", "GetEnvironment", "ListEnvironments", "CreateWebLoginToken"]

METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE")
NAME_PATTERN = r"[a-zA-Z][0-9a-zA-Z-_]*"
ROUTES: Mapping[tuple[str, str], Action] = {
    ("POST", "restapi"): "InvokeRestApi",
    ("POST", "webtoken"): "CreateWebLoginToken",
    ("GET", "environments"): "GetEnvironment",
}
MOST_QUERY_CHARACTERS = 65_536  # Airflow's servers take no longer request line


def route(method: str, raw_path: str) -> tuple[Action, str]:
    """The operation and the environment's name for a request line.

    Raises UnknownOperationException (HTTP 404) if there is none.
    """
    if (method, raw_path) == ("GET", "/environments"):
        return "ListEnvironments", ""
    _, _, rest = raw_path.partition("/")
    first, _, name = rest.partition("/")
    action = ROUTES.get((method, first))
    if action is None or not name or "/" in name:
        raise ApiError("UnknownOperationException", 404, "Unknown operation")
    return action, unquote(name)


def check_name(name: str, *, known: str) -> None:
    """Raise unless this is a possible name of an environment, and the known one's."""
    if len(name) > 80 or re.fullmatch(NAME_PATTERN, name) is None:
        raise validation_error(
            f"1 validation error detected: Value '{name}' at 'name' failed to satisfy "
            f"constraint: Member must satisfy regular expression pattern: {NAME_PATTERN}"
        )
    if name != known:
        raise ApiError("ResourceNotFoundException", 404, f"Environment {name} not found")


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

    Raises SerializationException (HTTP 400) for anything else, and RequestEntityTooLargeException
    (HTTP 413) for one with too many values.
    """
    try:
        document = read_json(payload) if payload else {}
    except TooManyValuesError as error:
        # Unverified what AWS does; the code is that of bodies with too many bytes.
        raise ApiError("RequestEntityTooLargeException", 413, str(error)) from None
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
    """True if clients and proxies would take a path for another one, above the prefix before it.

    "%2E" is left to Airflow, which takes it for an id that is a dot.
    """
    return any(segment in (".", "..") for segment in path.split("/"))


def _check_path(path: str, *, enforce_limit: bool) -> None:
    if not path:
        raise _broken(path, "path", "Member must have length greater than or equal to 1")
    if enforce_limit and len(path) > INVOKE_PATH_CHARACTERS:
        raise _broken(
            path, "path", f"Member must have length less than or equal to {INVOKE_PATH_CHARACTERS}"
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
    if value is None:
        raise _broken(None, member.lower(), "Member must not be null")
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
    characters = 0
    for key, value in parameters.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict | list):
                raise validation_error(f"QueryParameters.{key} must be a value or a list of values")
            if one is None:
                continue
            text = one if isinstance(one, str) else json.dumps(one)
            characters += len(key) + len(text) + 2
            if characters > MOST_QUERY_CHARACTERS:
                raise validation_error("QueryParameters are longer than a request line may be")
            yield key, text


def _body(document: Mapping[str, object], unwrap_string: bool) -> bytes | None:
    body = document.get("Body")
    if body is None:
        return None
    if unwrap_string and isinstance(body, str) and _is_json(body):
        return body.encode("utf-8", "replace")
    return json.dumps(body, separators=(",", ":")).encode()


def _is_json(text: str) -> bool:
    try:
        read_json(text)
    except (ValueError, RecursionError):
        return False
    return True


def describe(
    settings: StandInSettings, *, airflow_version: str, webserver_url: str, created_at_s: float
) -> dict[str, object]:
    """The `Environment` structure of the service model; times are seconds since the epoch.

    As on AWS there is no current webserver count in it: only the metrics show that.
    """
    partition = partition_of(settings.region)
    place = f"arn:{partition}:airflow:{settings.region}:{settings.account}"
    arn = f"{place}:environment/{settings.name}"
    role = f"arn:{partition}:iam::{settings.account}:role/{settings.name}"
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
