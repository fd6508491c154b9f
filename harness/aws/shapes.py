"""What an environment's answers look like: a few harmless calls, and the shapes of what comes back.

A shape is status, error code, some headers and the tree of JSON keys with the types of their
values. Nothing else of an answer is kept: no id, no name of anybody's, no secret. Two environments
are held against each other by these shapes.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

import urllib3
from botocore.exceptions import ClientError

from mwaa_headroom.analysis.mwaa import CLUSTER, DATABASE_ROLE, INVOKE_PATH_CHARACTERS
from mwaa_headroom.harness.aws.clients import AwsClients, is_loopback
from mwaa_headroom.harness.aws.collector import MetricsReader
from mwaa_headroom.harness.aws.translate import aws_call, is_throttle
from mwaa_headroom.harness.errors import EnvironmentAccessError
from mwaa_headroom.harness.traffic.operations import segment

Shape = Any  # "text", "number", "boolean", "null", "object", "any", {key: shape}, [] or [shape]

HEADERS: Final[Sequence[str]] = ("content-type", "x-amzn-requestid", "x-amz-retry-after")
# Members whose keys are somebody's own.
_OPEN: Final = frozenset({"Tags", "AirflowConfigurationOptions", "conf", "params", "extra"})
_ONLY_ON_AWS, _LEFT_OUT = _HARMLESS = ("only on AWS", "left out on AWS, null here")
_LONG_PATH: Final = "/dags/" + 64 * "x"
_NOBODYS: Final = "headroom_absent"
_LOGIN: Final = {"2": "/aws_mwaa/login", "3": "/pluginsv2/aws_mwaa/login"}
_PREFIX: Final = {"2": "/api/v1", "3": "/api/v2"}
_HEALTH: Final = {"2": "/health", "3": "/monitor/health"}
_TIMEOUT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Seen:
    """The shape of one answer; `why_not` says why there is none."""

    status: int = 0
    error_code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Shape = "null"
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """One call's answers side by side."""

    what: str
    aws: Seen
    local: Seen
    differs: tuple[str, ...] = ()
    more: tuple[str, ...] = ()  # what is no difference to who does without it

    @property
    def verdict(self) -> str:
        """Whether AWS answers as the stand-in does."""
        if self.aws.why_not or self.local.why_not:
            return "not tried"
        return "differs" if self.differs else "agrees"


def shape_of(value: Any) -> Shape:
    """The tree of keys and types of a JSON value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case dict():
            return {key: "object" if key in _OPEN else shape_of(own) for key, own in value.items()}
    elements: list[Shape] = []
    for element in value:
        elements = [_merged(elements[0], shape_of(element)) if elements else shape_of(element)]
    return elements


def _merged(one: Shape, other: Shape) -> Shape:
    """A shape that both have, as elements of one list."""
    if one == other or other == "null":
        return one
    if one == "null":
        return other
    if isinstance(one, dict) and isinstance(other, dict):
        keys = dict.fromkeys((*one, *other))
        return {key: _merged(one.get(key, "null"), other.get(key, "null")) for key in keys}
    if isinstance(one, list) and isinstance(other, list):
        both = [*one, *other]
        return [_merged(both[0], both[-1])] if both else []
    return "any"


def compare(what: str, aws: Seen, local: Seen) -> Compared:
    """Hold what AWS answered against what the stand-in does."""
    if aws.why_not or local.why_not:
        return Compared(what, aws, local)
    differs = [
        f"{name}: {one or 'none'} on AWS, {other or 'none'} here"
        for name, one, other in (
            ("status", aws.status, local.status),
            ("error code", aws.error_code, local.error_code),
            *((name, aws.headers.get(name), local.headers.get(name)) for name in HEADERS),
        )
        if one != other
    ]
    more: list[str] = []
    for place, problem in _tree_differences(aws.body, local.body, "body"):
        (more if problem in _HARMLESS else differs).append(f"{place}: {problem}")
    return Compared(what, aws, local, tuple(differs), tuple(more))


def _tree_differences(aws: Shape, local: Shape, place: str) -> Iterator[tuple[str, str]]:
    if aws == local or "any" in (aws, local) or "null" in (aws, local):
        return
    if isinstance(aws, dict) and isinstance(local, dict):
        for key in dict.fromkeys((*local, *aws)):
            if key not in aws:
                yield f"{place}.{key}", _LEFT_OUT if local[key] == "null" else "only here"
            elif key not in local:
                yield f"{place}.{key}", _ONLY_ON_AWS
            else:
                yield from _tree_differences(aws[key], local[key], f"{place}.{key}")
    elif isinstance(aws, list) and isinstance(local, list):
        if aws and local:
            yield from _tree_differences(aws[0], local[0], f"{place}[]")
    else:
        yield place, f"{_kind(aws)} on AWS, {_kind(local)} here"


def _kind(shape: Shape) -> str:
    if isinstance(shape, dict):
        return "an object"
    return "a list" if isinstance(shape, list) else str(shape)


class Prober:
    """Makes the calls, one after another, and keeps the shapes of what comes back."""

    def __init__(
        self,
        clients: AwsClients,
        environment: str,
        airflow_version: str,
        *,
        pause: Callable[[], None],
    ) -> None:
        """Nothing is asked yet; `pause` is called before every call."""
        self._clients = clients
        self._mwaa: Any = clients.mwaa_once
        self._name = environment
        self._major = "2" if airflow_version.startswith("2.") else "3"
        self._pause = pause
        self._raw: Mapping[str, Any] = {}
        self._dag = _NOBODYS
        self._mwaa.meta.events.register("before-parse.mwaa", self._keep_raw)

    def probes(self) -> Iterator[tuple[str, str, Callable[[], Seen]]]:
        """An id, what is called, and the call itself; in this order, as some build on others."""
        yield "environment", "GetEnvironment", lambda: self._environment(self._name, "be allowed")
        unknown = "headroom-absent"
        yield (
            "unknown_environment",
            "GetEnvironment of an unknown one",
            lambda: self._environment(unknown, "be answered"),
        )
        for check, path, query in (
            ("health", _HEALTH[self._major], {}),
            ("version", "/version", {}),
            ("list_dags", "/dags", {"limit": 1}),
            ("dag", "/dags/{dag}", {}),
            ("list_dag_runs", "/dags/{dag}/dagRuns", {"limit": 1}),
            ("list_pools", "/pools", {"limit": 1}),
            ("list_variables", "/variables", {"limit": 1}),
            ("not_found", f"/dags/{_NOBODYS}", {}),
            ("bad_query", "/dags", {"limit": "many"}),
            ("long_path", _LONG_PATH, {}),
            ("path_without_slash", "dags", {}),
            ("query_in_path", "/dags?limit=1", {}),
            ("trailing_slash", "/dags/", {"limit": 1}),
        ):
            yield check, f"GET {path} {query or ''}".strip(), self._rest(path, query)
        yield "web_token", "CreateWebLoginToken", lambda: self._token()[1]
        yield "web_login", f"POST {_LOGIN[self._major]}", self._login(_LOGIN[self._major])
        if self._major == "3":
            yield "old_login", f"POST {_LOGIN['2']}", self._login(_LOGIN["2"])
        yield "no_session", f"GET {_PREFIX[self._major]}/dags without a session", self._no_session
        yield "metrics", "ListMetrics of AWS/MWAA", self._metrics

    def _keep_raw(self, response_dict: Mapping[str, Any], **_: Any) -> None:
        self._raw = response_dict

    def _call(self, action: str, send: Callable[[], object], *, must: str = "be allowed") -> Seen:
        """Send, and look at what came back, be it good or bad; `must`: without what it is none."""
        self._pause()
        try:
            with aws_call(action, environment=self._name, client=self._mwaa):
                send()
        except EnvironmentAccessError as exc:
            cause = exc.__cause__
            if not isinstance(cause, ClientError):
                return self._not_tried(exc)
            code = cause.response["Error"].get("Code", "")
            status = cause.response["ResponseMetadata"]["HTTPStatusCode"]
            is_denied = status == 403 and must == "be allowed"
            if is_denied or must == "succeed" or is_throttle(code, status):
                return self._not_tried(exc)
        return _seen(self._raw)

    def _not_tried(self, why: EnvironmentAccessError) -> Seen:
        return Seen(why_not=str(why).replace(self._name, "NAME"))

    def _environment(self, name: str, must: str) -> Seen:
        return self._call(
            "airflow:GetEnvironment", lambda: self._mwaa.get_environment(Name=name), must=must
        )

    def _rest(self, path: str, query: Mapping[str, Any]) -> Callable[[], Seen]:
        def call() -> Seen:
            real = path.replace("{dag}", segment(self._dag))
            if len(real) > INVOKE_PATH_CHARACTERS and path != _LONG_PATH:
                return Seen(why_not="the id of the first DAG is too long for a path")
            given = {
                "Name": self._name,
                "Path": real,
                "Method": "GET",
                "QueryParameters": {**query},
            }
            seen = self._call("airflow:InvokeRestApi", lambda: self._mwaa.invoke_rest_api(**given))
            with suppress(ValueError, LookupError, TypeError):  # whatever came back
                self._dag = json.loads(self._raw["body"])["RestApiResponse"]["dags"][0]["dag_id"]
            return seen

        return call

    def _token(self) -> tuple[Mapping[str, Any], Seen]:
        answer: dict[str, Any] = {}
        seen = self._call(
            "airflow:CreateWebLoginToken",
            lambda: answer.update(self._mwaa.create_web_login_token(Name=self._name)),
            must="succeed",
        )
        return answer, seen

    def _login(self, path: str) -> Callable[[], Seen]:
        return lambda: self._ask_webserver("POST", path)

    def _no_session(self) -> Seen:
        return self._ask_webserver("GET", f"{_PREFIX[self._major]}/dags")

    def _ask_webserver(self, method: str, path: str) -> Seen:
        """At its own address; a POST with a login token."""
        token, seen = self._token()
        if seen.why_not:
            return seen
        self._pause()
        url = self._mwaa.meta.endpoint_url
        scheme = "http" if is_loopback(url) and url.startswith("http:") else "https"
        try:
            answer = urllib3.PoolManager().urlopen(
                method,
                f"{scheme}://{token['WebServerHostname']}{path}",
                body=urlencode({"token": token["WebToken"]}) if method == "POST" else None,
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                redirect=False,
                retries=False,
                timeout=_TIMEOUT_S,
            )
        except urllib3.exceptions.HTTPError as exc:
            return Seen(why_not=f"the webserver address does not answer ({type(exc).__name__})")
        cookies = (line.partition("=")[0] for line in answer.headers.getlist("set-cookie"))
        leads = re.sub(r"^https?://[^/]*", "", answer.headers.get("location", "")).partition("?")[0]
        is_json = "json" in answer.headers.get("content-type", "")
        body = {
            "cookies": {name.strip(): "text" for name in cookies},
            "leads_to": {leads: "path"} if leads else {},
            "json": shape_of(answer.json()) if is_json and answer.data else "null",
        }
        return Seen(answer.status, body=body)

    def _metrics(self) -> Seen:
        self._pause()
        try:
            found = MetricsReader(self._clients.cloudwatch, self._name).discover()
        except EnvironmentAccessError as exc:
            return self._not_tried(exc)
        names: dict[str, dict[str, str]] = {}
        for metric in found:
            kinds = (
                f"{key}={value}" if key in (CLUSTER, DATABASE_ROLE) else key
                for key, value in sorted(metric.dimensions)
            )
            names.setdefault(metric.name, {})[", ".join(kinds)] = "listed"
        return Seen(200, body=names) if names else Seen(why_not="there are no metrics yet")


def _seen(raw: Mapping[str, Any]) -> Seen:
    headers = {str(name).lower(): str(value) for name, value in raw["headers"].items()}
    code = headers.get("x-amzn-errortype", "").partition(":")[0].rpartition("#")[2]
    kept = {name: "there" for name in HEADERS if name in headers}
    if "content-type" in kept:
        kept["content-type"] = headers["content-type"].partition(";")[0]
    return Seen(int(raw["status_code"]), code, kept, _body_shape(raw["body"]))


def _body_shape(body: bytes) -> Shape:
    try:
        return shape_of(json.loads(body)) if body else "null"
    except ValueError:
        return "text"


def hold_against(
    aws: Prober, local: Prober, told: Callable[[str], None] = lambda _: None
) -> Sequence[tuple[str, Compared]]:
    """Make every call on both sides; by the id of each."""
    found = []
    for (check, what, ask), (_, _, ask_here) in zip(aws.probes(), local.probes(), strict=True):
        told(what)
        found.append((check, compare(what, ask(), ask_here())))
    return found
