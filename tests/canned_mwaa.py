"""A loopback server with canned answers of the MWAA API over a scripted Airflow."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from mwaa_headroom.harness.aws.clients import AwsClients, make_clients

NAME = "field"
ARN = f"arn:aws:airflow:us-east-1:123456789012:environment/{NAME}"

Answered = tuple[int, Any]
NOT_FOUND: Answered = (404, {"detail": "not found"})


@dataclass
class ScriptedAirflow:
    """Just enough of Airflow's REST API to be looked at, seeded and tidied up."""

    major: int = 3
    dags: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, list[str]] = field(default_factory=dict)  # oldest first
    queued_at: dict[str, str] = field(default_factory=dict)  # of some of the runs
    variables: dict[str, str] = field(default_factory=dict)
    health: dict[str, Any] = field(default_factory=dict)
    statuses: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # answered first
    largest_page: int = 100
    forbidden: set[str] = field(default_factory=set)  # methods
    calls: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, method: str, path: str, query: dict[str, Any], body: Any) -> Answered:
        self.calls.append((method, path))
        scripted = self.statuses.get((method, path), [])
        if scripted:
            return scripted.pop(0), {"detail": "scripted"}
        if method in self.forbidden:
            return 403, {"detail": "Forbidden"}
        if path == {2: "/health", 3: "/monitor/health"}[self.major]:
            return 200, self.health
        match [unquote(part) for part in path.strip("/").split("/")]:
            case ["dags", dag, *rest] if dag in self.dags:
                return self._dag(method, dag, rest, query, body)
            case ["pools"]:
                limit = min(query["limit"], self.largest_page)
                return 200, {"pools": [{}] * min(limit, 300), "total_entries": 300}
            case ["variables", *rest]:
                return self._variable(method, rest, body)
        return NOT_FOUND

    def _dag(
        self, method: str, dag: str, rest: list[str], query: dict[str, Any], body: Any
    ) -> Answered:
        match (method, *rest):
            case ("GET",):
                return 200, {"dag_id": dag, "is_paused": False, **self.dags[dag]}
            case ("PATCH",):
                self.dags[dag]["is_paused"] = body["is_paused"]
                return 200, {"dag_id": dag}
            case ("GET", "dagRuns"):
                return 200, self._page(dag, query)
            case ("POST", "dagRuns"):
                return self._trigger(dag, body)
            case (_, "dagRuns", run) if run in self.runs.get(dag, []):
                return self._dag_run(method, dag, run, body)
        return NOT_FOUND

    def _page(self, dag: str, query: dict[str, Any]) -> dict[str, Any]:
        runs = list(self.runs.get(dag, []))
        if query.get("order_by") == "-id":
            runs.reverse()
        offset, limit = query.get("offset", 0), min(query.get("limit", 50), 100)
        page = runs[offset : offset + limit]
        shown = [{"dag_run_id": run, "queued_at": self.queued_at.get(run)} for run in page]
        return {"dag_runs": shown, "total_entries": len(runs)}

    def _trigger(self, dag: str, body: Any) -> Answered:
        if self.major == 3 and "logical_date" not in body:
            return 422, {"detail": "logical_date: field required"}
        self.runs.setdefault(dag, []).append(body["dag_run_id"])
        return 200, {"dag_run_id": body["dag_run_id"], "state": "queued"}

    def _dag_run(self, method: str, dag: str, run: str, body: Any) -> Answered:
        if method == "DELETE":
            self.runs[dag].remove(run)
            return 204, None
        if method == "GET":
            return 200, {"dag_run_id": run}
        return 200, {"dag_run_id": run, "state": body["state"]}

    def _variable(self, method: str, rest: list[str], body: Any) -> Answered:
        match (method, *rest):
            case ("POST",):
                self.variables[body["key"]] = body["value"]
                return 201, body
            case ("GET", key) if key in self.variables:
                return 200, {"key": key, "value": self.variables[key]}
            case ("PATCH", key) if key in self.variables:
                self.variables[key] = body["value"]
                return 200, body
            case ("DELETE", key) if key in self.variables:
                del self.variables[key]
                return 204, None
        return NOT_FOUND


@dataclass
class CannedMwaa:
    """What the server answers; tests change it as they go."""

    airflow: ScriptedAirflow = field(default_factory=ScriptedAirflow)
    environment: dict[str, Any] = field(
        default_factory=lambda: {
            "Name": NAME,
            "Arn": ARN,
            "Status": "AVAILABLE",
            "AirflowVersion": "3.0.6",
            "EnvironmentClass": "mw1.large",
            "MinWebservers": 2,
            "MaxWebservers": 5,
        }
    )
    refusal: tuple[int, str, str] | None = None  # HTTP status, error code, message
    expired: set[str] = field(default_factory=set)  # access key ids
    seen: list[tuple[str, str]] = field(default_factory=list)  # access key ids and paths
    most_path_characters: int = 1000
    url: str = ""
    _clients: dict[str, AwsClients] = field(default_factory=dict)

    def forget(self) -> None:
        """Answer as at the beginning; address and clients stay."""
        new = CannedMwaa()
        self.airflow, self.environment, self.refusal = new.airflow, new.environment, new.refusal
        self.expired, self.seen = new.expired, new.seen

    def clients(self) -> AwsClients:
        """Clients of this server; made once per address, because making them takes a while."""
        if self.url not in self._clients:
            variables = stand_in_variables(self.url)
            self._clients[self.url] = make_clients(environment=NAME, variables=variables)
        return self._clients[self.url]

    def answer(self, path: str, body: bytes, key_id: str = "") -> tuple[int, Any, str | None]:
        """HTTP status, body, error code."""
        self.seen.append((key_id, path))
        if key_id in self.expired:
            expired = "The security token included in the request is expired"
            return 403, {"message": expired}, "ExpiredTokenException"
        if self.refusal is not None:
            status, code, message = self.refusal
            return status, {"message": message, "Message": message}, code
        if path == f"/environments/{NAME}":
            return 200, {"Environment": self.environment}, None
        if path == f"/restapi/{NAME}":
            return self._rest_api(json.loads(body))
        if path == "/":  # CloudWatch, which knows no metric
            return 200, {"Metrics": []}, None
        return 404, {"message": "no"}, "ResourceNotFoundException"

    def _rest_api(self, call: dict[str, Any]) -> tuple[int, Any, str | None]:
        if len(call["Path"]) > self.most_path_characters:
            return 400, {"message": "Member must have length less than"}, "ValidationException"
        status, answer = self.airflow.answer(
            call["Method"], call["Path"], call.get("QueryParameters") or {}, call.get("Body")
        )
        wrapped = {"RestApiStatusCode": status, "RestApiResponse": answer}
        if status >= 500:
            return 400, wrapped, "RestApiServerException"
        if status >= 400:
            return 400, wrapped, "RestApiClientException"
        return 200, wrapped, None


def stand_in_variables(url: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_MWAA": url,
        "AWS_ENDPOINT_URL_CLOUDWATCH": url,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "canned",
        "AWS_REGION": "us-east-1",
    }


def handler_of(mwaa: CannedMwaa) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            _, _, scope = self.headers.get("Authorization", "").partition("Credential=")
            status, tree, error = mwaa.answer(self.path, body, scope.partition("/")[0])
            data = json.dumps(tree).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if error is not None:
                self.send_header("x-amzn-errortype", error)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST  # noqa: N815 - http.server's name

    return Handler


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
