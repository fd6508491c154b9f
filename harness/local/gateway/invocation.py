"""An InvokeRestApi request, turned into the call that Airflow sees."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode

from harness.local.gateway.answers import ApiError, validation_error
from harness.local.settings import GatewaySettings

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
