"""AWS as somebody meets it who tests an MWAA environment: an imitation on loopback, for tests.

It shares no code with the product's own stand-in. It follows the service models that botocore
ships (paths, members, errors, protocols), MWAA's user guide, Airflow's OpenAPI of 2.10, 3.0 and
3.3, and texts that people have met in public: "No Airflow role granted in IAM.", "Private webserver
environments can only call InvokeRestApi within a VPC", an HTTP 400 in plain text whose error type
is only in a header. What nobody has published (status and code of a throttled call, the name of
the additional webservers' cluster) can be set.

    with serving(Imitation(region="cn-north-1")) as aws:
        aws.private = True                      # everything may be changed while it serves
        run("doctor", variables={**os.environ, **aws.variables()})

`python tests/aws_imitation.py [REGION]` serves it until Ctrl-C, and prints what a shell needs.

Signatures are not checked; the access key, the region and the moment in them are.
"""

import fnmatch
import json
import math
import re
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

from airflow_imitation import WRITERS, Airflow

KEY = "AKIAIMITATION0000000"
ACCOUNT = "123456789012"
CALLER = "assumed-role/Tester/session"
DAY_S = 86_400.0
# How long CloudWatch keeps samples of one minute, five minutes and an hour.
_KEPT_S = {60: 15 * DAY_S, 300: 63 * DAY_S, 3600: 455 * DAY_S}
_LISTED_S = 14 * DAY_S  # ListMetrics knows nothing older
_ROLES = (*WRITERS, "Viewer", "Public")


@dataclass(frozen=True)
class Minute:
    """What CloudWatch has of one minute; None: no sample.

    Attributes:
        webservers: as many samples of CPU and memory has each of two clusters, the primary having
            at most `Imitation.environment["MinWebservers"]`.
        connections: at the load balancer.
    """

    webservers: int = 2
    cpu_percent: float = 20.0
    memory_percent: float = 40.0
    connections: float | None = 3.0
    running_tasks: float = 4.0


@dataclass
class Imitation:
    """All of AWS that there is; every attribute may be set while it serves.

    Attributes:
        policy: an IAM policy document of the caller; None: everything is allowed.
        expired: access key ids whose session has expired.
        throttle_per_s: calls of InvokeRestApi in any second that are answered; None: all.
        private: the webserver is, and the caller outside its VPC.
        too_old: InvokeRestApi answers in plain text that the environment must be updated.
        status_while_updating: what `UpdateEnvironment` sets for `update_s`.
        connections_have_cluster: the dimension that the guide lets one expect.
        metrics_missing: names of metrics that do not exist.
        metrics_late_s: how old a minute is before CloudWatch knows it.
        minute: what happened in the minute that begins at a moment.
        login_redirects: the web login answers with the same path and a slash first.
        clock_offset_s: AWS's clock minus this machine's.
        seen: (service, operation) in order.
        invoked: calls of InvokeRestApi by the second in which they were signed.
    """

    region: str = "us-east-1"
    name: str = "data-airflow"
    airflow: Airflow = field(default_factory=Airflow)
    environment: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] | None = None
    expired: set[str] = field(default_factory=set)
    throttle_per_s: float | None = None
    throttle_error: tuple[int, str] = (429, "ThrottlingException")
    private: bool = False
    too_old: bool = False
    update_s: float = 0.5
    additional_cluster: str = "AdditionalWebserver"
    connections_have_cluster: bool = False
    metrics_missing: set[str] = field(default_factory=set)
    metrics_late_s: float = 0.0
    metrics_since_s: float = field(default_factory=lambda: time.time() - 30 * DAY_S)
    minute: Callable[[float], Minute] = lambda _: Minute()
    login_redirects: bool = False
    clock_offset_s: float = 0.0
    webserver_quota: float = 5.0
    url: str = ""
    seen: list[tuple[str, str]] = field(default_factory=list)
    invoked: Counter[str] = field(default_factory=Counter)
    _invoked_s: deque[float] = field(default_factory=deque)
    _tokens: set[str] = field(default_factory=set)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        places = {"cn": "aws-cn", "us-gov": "aws-us-gov"}
        self.partition = places.get(self.region.rsplit("-", 2)[0], "aws")
        self.arn = self._arn("airflow", f"environment/{self.name}")
        self.environment = {**self._new_environment(), **self.environment}

    def variables(self) -> dict[str, str]:
        """For a process that shall meet this AWS and no other."""
        services = ("MWAA", "STS", "IAM", "CLOUDWATCH", "SERVICE_QUOTAS", "CLOUDTRAIL")
        return {
            "AWS_ENDPOINT_URL": self.url,
            **{f"AWS_ENDPOINT_URL_{service}": self.url for service in services},
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": "imitated",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _arn(self, service: str, resource: str) -> str:
        region = "" if service in ("iam", "sts") else self.region
        return f"arn:{self.partition}:{service}:{region}:{ACCOUNT}:{resource}"

    def _new_environment(self) -> dict[str, Any]:
        log = {"Enabled": True, "LogLevel": "INFO"}
        return {
            "Name": self.name,
            "Arn": self.arn,
            "Status": "AVAILABLE",
            "CreatedAt": 1_760_000_000.0,
            "AirflowVersion": self.airflow.version,
            "AirflowConfigurationOptions": {"core.default_timezone": "utc"},
            "EnvironmentClass": "mw1.medium",
            "MinWebservers": 2,
            "MaxWebservers": 5,
            "MinWorkers": 1,
            "MaxWorkers": 10,
            "Schedulers": 2,
            "WebserverAccessMode": "PUBLIC_ONLY",
            "WeeklyMaintenanceWindowStart": "SUN:03:30",
            "EndpointManagement": "SERVICE",
            "ExecutionRoleArn": self._arn("iam", "role/Execution"),
            "SourceBucketArn": f"arn:{self.partition}:s3:::a-bucket",
            "DagS3Path": "dags",
            "LoggingConfiguration": {"WebserverLogs": log, "SchedulerLogs": log},
            "LastUpdate": {"Status": "SUCCESS", "CreatedAt": 1_760_000_000.0},
            "Tags": {"team": "data"},
        }

    # Who may what.

    def _allows(self, action: str, resource: str) -> bool:
        if self.policy is None:
            return True
        said = set()
        for statement in _list(self.policy["Statement"]):
            actions, resources = _list(statement["Action"]), _list(statement["Resource"])
            if any(fnmatch.fnmatchcase(action.lower(), one.lower()) for one in actions) and any(
                fnmatch.fnmatchcase(resource, one) for one in resources
            ):
                said.add(statement["Effect"])
        return said == {"Allow"}

    def _airflow_role(self, action: str) -> str | None:
        """The first of Airflow's roles that the policy grants; others are called by their names."""
        granted = [one for one in _ROLES if self._allows(action, self._role_arn(one))]
        named = re.findall(rf"role/{self.name}/([\w-]+)", json.dumps(self.policy or {}))
        return (granted or [one for one in named if one not in _ROLES] or [None])[0]

    def _role_arn(self, role: str) -> str:
        return self._arn("airflow", f"role/{self.name}/{role}")

    def _require(self, action: str, resource: str) -> None:
        if not self._allows(action, resource):
            who = self._arn("sts", CALLER)
            raise _RefusedError(
                403,
                "AccessDeniedException",
                f"User: {who} is not authorized to perform: {action} on resource: {resource} "
                f"because no identity-based policy allows the {action} action",
            )

    def _authenticate(self, request: "_Request") -> None:
        scope = request.headers.get("Authorization", "").partition("Credential=")[2]
        key, _, rest = scope.partition("/")
        if key in self.expired:
            code = "ExpiredTokenException" if request.is_rest else "ExpiredToken"
            text = "The security token included in the request is expired"
            raise _RefusedError(403, code, text)
        if request.is_rest and f"/{self.region}/airflow/" not in f"/{rest}":
            raise _RefusedError(
                403, "InvalidSignatureException", "Credential should be scoped to a valid region."
            )
        signed = request.headers.get("X-Amz-Date", "")
        if signed:
            at = datetime.strptime(signed, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
            if abs(at - time.time() - self.clock_offset_s) > 300:
                raise _RefusedError(
                    403, "InvalidSignatureException", f"Signature expired: {signed}"
                )

    # MWAA, in rest-json.

    def answer(self, request: "_Request") -> "_Answer":
        if request.path.startswith(("/api/", "/aws_mwaa/", "/pluginsv2/")):
            return self._web(request)
        try:
            with self._lock:
                self._authenticate(request)
                if request.path == "/":
                    return self._query(request)
                return self._mwaa(request)
        except _RefusedError as exc:
            self.seen.append(("refused", exc.code))
            return request.refusal(exc)

    def _mwaa(self, request: "_Request") -> "_Answer":
        kind, _, name = request.path.strip("/").partition("/")
        if kind == "environments" and not name:
            self.seen.append(("mwaa", "ListEnvironments"))
            self._require("airflow:ListEnvironments", self._arn("airflow", "environment/"))
            return _json({"Environments": [self.name]})
        operation = {
            ("GET", "environments"): "GetEnvironment",
            ("PATCH", "environments"): "UpdateEnvironment",
            ("POST", "webtoken"): "CreateWebLoginToken",
            ("POST", "restapi"): "InvokeRestApi",
        }.get((request.method, kind))
        self.seen.append(("mwaa", operation or request.path))
        if operation is None or unquote(name) != self.name:
            raise _RefusedError(404, "ResourceNotFoundException", f"Environment '{name}' not found")
        if operation == "InvokeRestApi":
            self.invoked[request.headers.get("X-Amz-Date", "")] += 1
            return self._invoke(json.loads(request.body))
        if operation == "CreateWebLoginToken":
            role = self._airflow_role("airflow:CreateWebLoginToken")
            if role is None:
                raise _RefusedError(403, "AccessDeniedException", "No Airflow role granted in IAM.")
            token = f"{role}.{time.time_ns()}"
            self._tokens.add(token)
            host = urlsplit(self.url).netloc
            return _json({"WebToken": token, "WebServerHostname": host, "AirflowIdentity": "me"})
        self._require(f"airflow:{operation}", self.arn)
        if operation == "GetEnvironment":
            told = {"WebserverUrl": urlsplit(self.url).netloc, **self.environment}
            return _json({"Environment": told})
        changes = json.loads(request.body)
        self.environment["Status"] = "UPDATING"
        done = {**changes, "Status": "AVAILABLE"}
        threading.Timer(self.update_s, lambda: self.environment.update(done)).start()
        return _json({"Arn": self.arn})

    def _invoke(self, call: dict[str, Any]) -> "_Answer":
        if self.private:
            text = "Private webserver environments can only call InvokeRestApi within a VPC"
            raise _RefusedError(403, "AccessDeniedException", text)
        role = self._airflow_role("airflow:InvokeRestApi")
        if role is None:
            raise _RefusedError(403, "AccessDeniedException", "No Airflow role granted in IAM.")
        if self.throttle_per_s is not None and not self._has_room(self.throttle_per_s):
            raise _RefusedError(*self.throttle_error, "Rate exceeded")
        if self.too_old:
            plain = b"Update your environment to use InvokeRestApi"
            return _Answer(400, plain, {"x-amzn-ErrorType": "ValidationException"}, "text/plain")
        if len(call["Path"]) > 64:
            raise _RefusedError(
                400,
                "ValidationException",
                "1 validation error detected: Value at 'path' failed to satisfy constraint: "
                "Member must have length less than or equal to 64",
            )
        status, body = self.airflow.answer(
            call["Method"], call["Path"], call.get("QueryParameters") or {}, call.get("Body"), role
        )
        wrapped = {"RestApiStatusCode": status, "RestApiResponse": body}
        if status < 400:
            return _json(wrapped)
        code = "RestApiServerException" if status >= 500 else "RestApiClientException"
        return _json(wrapped, 400, {"x-amzn-ErrorType": code})

    def _has_room(self, rate_per_s: float) -> bool:
        now_s = time.monotonic()
        while self._invoked_s and self._invoked_s[0] <= now_s - 1.0:
            self._invoked_s.popleft()
        if len(self._invoked_s) >= rate_per_s:
            return False
        self._invoked_s.append(now_s)
        return True

    def _web(self, request: "_Request") -> "_Answer":
        """The webserver's own address: login, and the API that needs it."""
        major = self.airflow.major
        prefix = "/pluginsv2" if major >= 3 else ""
        path = request.path.rstrip("/")
        if path == f"{prefix}/aws_mwaa/login":
            if self.login_redirects and not request.path.endswith("/"):
                return _Answer(307, b"", {"Location": f"{request.path}/"})
            token = dict(parse_qsl(request.body.decode())).get("token", "")
            if token not in self._tokens:
                return _Answer(401, b"")
            self._tokens.remove(token)
            cookie = "_token" if major >= 3 else "session"
            return _Answer(302, b"", {"Set-Cookie": f"{cookie}={token}; Path=/", "Location": "/"})
        shown = request.headers.get("Authorization" if major >= 3 else "Cookie", "")
        api = f"/api/v{1 if major == 2 else 2}"
        if not path.startswith(f"{api}/"):  # Airflow 3 shows its user interface instead
            return _Answer(200 if major >= 3 else 404, b"<html></html>", kind="text/html")
        if "." not in shown:
            return _json({"detail": "Unauthorized"}, 401)
        role = re.split(r"[ =]", shown)[-1].partition(".")[0]
        body = json.loads(request.body) if request.body else None
        query = {key: values[-1] for key, values in request.query.items()}
        status, told = self.airflow.answer(
            request.method, path.removeprefix(api), query, body, role
        )
        return _Answer(204, b"") if told is None else _json(told, status)

    # STS, IAM and Service Quotas at "/".

    def _query(self, request: "_Request") -> "_Answer":
        target = request.headers.get("X-Amz-Target", "")
        if target.startswith("GraniteServiceVersion"):
            return self._cloudwatch(request)
        if target.endswith(".GetServiceQuota"):
            self.seen.append(("servicequotas", "GetServiceQuota"))
            self._require("servicequotas:GetServiceQuota", "*")
            quota = {"QuotaCode": json.loads(request.body)["QuotaCode"], "ServiceCode": "airflow"}
            return _json({"Quota": {**quota, "Value": self.webserver_quota, "Adjustable": True}})
        form = dict(parse_qsl(request.body.decode()))
        match form.get("Action", ""):
            case "GetCallerIdentity":
                self.seen.append(("sts", "GetCallerIdentity"))
                told = f"<Arn>{self._arn('sts', CALLER)}</Arn><UserId>AROAEXAMPLE:session</UserId>"
                return _xml("GetCallerIdentity", f"{told}<Account>{ACCOUNT}</Account>", "sts")
            case "SimulatePrincipalPolicy":
                self.seen.append(("iam", "SimulatePrincipalPolicy"))
                self._require("iam:SimulatePrincipalPolicy", form["PolicySourceArn"])
                return _xml("SimulatePrincipalPolicy", self._simulated(form), "iam")
        raise _RefusedError(400, "InvalidAction", f"No imitation of {target or form.get('Action')}")

    def _simulated(self, form: dict[str, str]) -> str:
        def members(name: str) -> list[str]:
            return [value for key, value in form.items() if key.startswith(f"{name}.member.")]

        results = ""
        for action in members("ActionNames"):
            for resource in members("ResourceArns") or ["*"]:
                decision = "allowed" if self._allows(action, resource) else "implicitDeny"
                results += (
                    f"<member><EvalActionName>{action}</EvalActionName><EvalResourceName>"
                    f"{escape(resource)}</EvalResourceName><EvalDecision>{decision}</EvalDecision>"
                    "</member>"
                )
        return f"<EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated>"

    # CloudWatch, in JSON, which botocore prefers to its query protocol and to CBOR.

    def _cloudwatch(self, request: "_Request") -> "_Answer":
        operation = request.headers["X-Amz-Target"].rpartition(".")[2]
        self.seen.append(("cloudwatch", operation))
        self._require(f"cloudwatch:{operation}", "*")
        given = json.loads(request.body)
        if operation == "ListMetrics":
            listed = [
                {"Namespace": "AWS/MWAA", "MetricName": name, "Dimensions": _dimensions(dims)}
                for name, dims in self._metrics()
                if given.get("MetricName") in (None, name)
                and given.get("Namespace") in (None, "AWS/MWAA")
            ]
            return _json({"Metrics": listed})
        if operation == "GetMetricData":
            begin, end = given["StartTime"], given["EndTime"]
            known = {(name, frozenset(dims)) for name, dims in self._metrics(ever=True)}
            ascending = given.get("ScanBy") == "TimestampAscending"
            results = [
                self._result(query, known, begin, end, ascending)
                for query in given["MetricDataQueries"]
            ]
            return _json({"MetricDataResults": results, "Messages": []})
        raise _RefusedError(400, "UnknownOperation", f"No imitation of {operation}")

    def _metrics(self, *, ever: bool = False) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
        """Names and dimensions of what had a sample in the last two weeks, or ever."""
        known_until_s = time.time() - self.metrics_late_s - 60
        since_s = max(self.metrics_since_s, 0.0 if ever else known_until_s - _LISTED_S)
        if since_s > known_until_s:
            return []
        environment = ("Environment", self.name)
        clusters = ["WebServer", "Scheduler", "BaseWorker"]
        looked_at = range(math.ceil(since_s / 3600), int(known_until_s / 3600) + 1)
        recent = [known_until_s - 60 * minutes for minutes in range(60)]
        moments = [at for at in recent if at >= since_s] + [hour * 3600.0 for hour in looked_at]
        if any(self._additional(self.minute(at)) for at in moments):
            clusters.append(self.additional_cluster)
        found = [
            (name, (("Cluster", cluster), environment))
            for name in ("CPUUtilization", "MemoryUtilization")
            for cluster in clusters
        ]
        of_all: tuple[tuple[str, str], ...] = (environment,)
        cluster = (("Cluster", "WebServer"),) if self.connections_have_cluster else ()
        found.append(("ActiveConnectionCount", (*cluster, environment)))
        found += [(name, of_all) for name in ("RunningTasks", "QueuedTasks")]
        for name in ("CPUUtilization", "DatabaseConnections"):
            found.append((name, (("DatabaseRole", "WRITER"), environment)))
        return [one for one in found if one[0] not in self.metrics_missing]

    def _additional(self, minute: Minute) -> int:
        return max(0, minute.webservers - self.environment["MinWebservers"])

    def _result(
        self, query: dict[str, Any], known: set[Any], begin: float, end: float, ascending: bool
    ) -> dict[str, Any]:
        stat = query["MetricStat"]
        metric, period = stat["Metric"], stat["Period"]
        dims = frozenset((one["Name"], one["Value"]) for one in metric["Dimensions"])
        times, values = [], []
        if (metric["MetricName"], dims) in known and metric["Namespace"] == "AWS/MWAA":
            oldest_s = time.time() - max(
                (kept for shortest, kept in _KEPT_S.items() if period >= shortest), default=0.0
            )
            first = max(begin, self.metrics_since_s, oldest_s)
            last = min(end, time.time() - self.metrics_late_s)
            for number in range(math.ceil(first / period), math.ceil(last / period)):
                samples = self._samples(metric["MetricName"], dict(dims), number * period, period)
                if samples:
                    times.append(number * period)
                    values.append(_STATISTICS[stat["Stat"]](samples))
        if not ascending:
            times, values = times[::-1], values[::-1]
        return {
            "Id": query["Id"],
            "Label": query["Id"],
            "Timestamps": times,
            "Values": values,
            "StatusCode": "Complete",
        }

    def _samples(
        self, name: str, dims: dict[str, str], begin_s: float, period_s: int
    ) -> list[float]:
        """Of every whole minute of a period that CloudWatch knows by now."""
        known_until_s = time.time() - self.metrics_late_s
        samples: list[float] = []
        for at in range(int(begin_s), int(begin_s + period_s), 60):
            if at + 60 <= known_until_s and at >= self.metrics_since_s:
                samples += self._of_minute(name, dims, self.minute(float(at)))
        return samples

    def _of_minute(self, name: str, dims: dict[str, str], minute: Minute) -> list[float]:
        additional = self._additional(minute)
        counts = {"WebServer": minute.webservers - additional, self.additional_cluster: additional}
        if name in ("RunningTasks", "QueuedTasks"):
            return [minute.running_tasks if name == "RunningTasks" else 0.0]
        if "DatabaseRole" in dims:
            return [10.0]
        if name == "ActiveConnectionCount":
            return [] if minute.connections is None else [minute.connections]
        value = minute.cpu_percent if name == "CPUUtilization" else minute.memory_percent
        return [value] * counts.get(dims["Cluster"], 2)


_STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "Average": lambda samples: sum(samples) / len(samples),
    "Maximum": max,
    "Minimum": min,
    "Sum": sum,
    "SampleCount": lambda samples: float(len(samples)),
    "p99": max,
}


# The wire.


class _RefusedError(Exception):
    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: Any
    body: bytes

    @property
    def is_rest(self) -> bool:
        """Whether MWAA is meant, not one of the services that share a path."""
        return self.path != "/"

    def refusal(self, refused: _RefusedError) -> _Answer:
        if self.path == "/" and "X-Amz-Target" not in self.headers:
            code = refused.code.removesuffix("Exception")
            told_xml = f"<Code>{code}</Code><Message>{escape(refused.text)}</Message>"
            error = f"<ErrorResponse><Error>{told_xml}</Error><RequestId>r</RequestId>"
            return _Answer(refused.status, f"{error}</ErrorResponse>".encode(), kind="text/xml")
        key = "Message" if refused.code == "AccessDeniedException" else "message"
        body = {key: refused.text, "__type": refused.code}
        return _json(body, refused.status, {"x-amzn-ErrorType": refused.code})


def _list(one_or_more: Any) -> list[Any]:
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]


def _dimensions(pairs: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in pairs]


def _json(tree: Any, status: int = 200, headers: dict[str, str] | None = None) -> _Answer:
    return _Answer(status, json.dumps(tree).encode(), headers or {})


def _xml(action: str, result: str, service: str) -> _Answer:
    days = {"sts": "2011-06-15", "iam": "2010-05-08"}
    space = f"https://{service}.amazonaws.com/doc/{days[service]}/"
    text = (
        f'<{action}Response xmlns="{space}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></{action}Response>"
    )
    return _Answer(200, text.encode(), kind="text/xml")


def _handler_of(aws: Imitation) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet
        timeout = 30

        def log_message(self, *_: object) -> None:
            pass

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate((timestamp or time.time()) + aws.clock_offset_s, usegmt=True)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = urlsplit(self.path)
            request = _Request(self.command, url.path, parse_qs(url.query), self.headers, body)
            answer = aws.answer(request)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("x-amzn-RequestId", "00000000-0000-4000-8000-000000000000")
                self.send_header("Content-Type", answer.kind)
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_PATCH = do_DELETE = do_POST  # noqa: N815 - http.server's names

    return Handler


@contextmanager
def serving(aws: Imitation) -> Iterator[Imitation]:
    """Serve it on loopback, in threads of this process, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(aws))
    server.daemon_threads = True
    server.block_on_close = False
    aws.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield aws
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _serve_for_a_shell(region: str = "us-east-1") -> None:
    aws = Imitation(region)
    aws.airflow.trigger("etl_daily", "manual__2026-11-01", "success")
    with serving(aws), suppress(KeyboardInterrupt):
        for name, value in aws.variables().items():
            print(f"export {name}={value}")  # noqa: T201 - that is what it is for
        print(f"# {aws.arn}", flush=True)  # noqa: T201
        threading.Event().wait()


if __name__ == "__main__":
    _serve_for_a_shell(*sys.argv[1:])
