"""A loopback server with canned answers of the MWAA API over a scripted Airflow."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from harness.aws.clients import AwsClients, make_clients

NAME = "prod"
ARN = f"arn:aws:airflow:us-east-1:123456789012:environment/{NAME}"


@dataclass
class ScriptedAirflow:
    """Just enough of Airflow's REST API to be looked at, seeded and tidied up."""

    major: int = 3
    dags: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, list[str]] = field(default_factory=dict)  # oldest first
    variables: dict[str, str] = field(default_factory=dict)
    health: dict[str, Any] = field(default_factory=dict)
    statuses: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # answered first
    calls: list[tuple[str, str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, query: dict[str, Any], body: Any) -> tuple[int, Any]:
        self.calls.append((method, path, body if body is not None else query or None))
        scripted = self.statuses.get((method, path), [])
        if scripted:
            return scripted.pop(0), {"detail": "scripted"}
        match (method, *path.strip("/").split("/")):
            case ("GET", "health") if self.major == 2:
                return 200, self.health
            case ("GET", "monitor", "health") if self.major == 3:
                return 200, self.health
            case ("GET", "dags", dag) if dag in self.dags:
                return 200, {"dag_id": dag, "is_paused": False, **self.dags[dag]}
            case ("PATCH", "dags", dag) if dag in self.dags:
                self.dags[dag]["is_paused"] = body["is_paused"]
                return 200, {"dag_id": dag}
            case ("GET", "dags", dag, "dagRuns") if dag in self.dags:
                return 200, self._page(dag, query)
            case ("POST", "dags", dag, "dagRuns") if dag in self.dags:
                if self.major == 3 and "logical_date" not in body:
                    return 422, {"detail": "logical_date: field required"}
                self.runs.setdefault(dag, []).append(body["dag_run_id"])
                return 200, {"dag_run_id": body["dag_run_id"], "state": "queued"}
            case ("DELETE", "dags", dag, "dagRuns", run) if run in self.runs.get(dag, []):
                self.runs[dag].remove(run)
                return 204, None
            case ("PATCH", "dags", dag, "dagRuns", run) if run in self.runs.get(dag, []):
                return 200, {"dag_run_id": run, "state": body["state"]}
            case ("GET", "variables", key) if key in self.variables:
                return 200, {"key": key, "value": self.variables[key]}
            case ("POST", "variables"):
                self.variables[body["key"]] = body["value"]
                return 201, body
            case ("DELETE", "variables", key) if key in self.variables:
                del self.variables[key]
                return 204, None
        return 404, {"detail": "not found"}

    def _page(self, dag: str, query: dict[str, Any]) -> dict[str, Any]:
        runs = list(self.runs.get(dag, []))
        if query.get("order_by") == "-id":
            runs.reverse()
        offset, limit = query.get("offset", 0), min(query.get("limit", 50), 100)
        page = runs[offset : offset + limit]
        return {"dag_runs": [{"dag_run_id": run} for run in page], "total_entries": len(runs)}


@dataclass
class CannedMwaa:
    """What the server answers; tests change it as they go."""

    airflow: ScriptedAirflow = field(default_factory=ScriptedAirflow)
    environment: dict[str, Any] = field(default_factory=dict)
    refusal: tuple[int, str, str] | None = None  # HTTP status, error code, message
    url: str = ""

    def clients(self) -> AwsClients:
        return make_clients(
            environment=NAME,
            variables={
                "AWS_ENDPOINT_URL_MWAA": self.url,
                "AWS_ENDPOINT_URL_CLOUDWATCH": self.url,
                "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
                "AWS_SECRET_ACCESS_KEY": "canned",
                "AWS_REGION": "us-east-1",
            },
        )


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


@pytest.fixture
def canned() -> Iterator[CannedMwaa]:
    mwaa = CannedMwaa(
        environment={
            "Name": NAME,
            "Arn": ARN,
            "Status": "AVAILABLE",
            "AirflowVersion": "3.0.6",
            "EnvironmentClass": "mw1.large",
            "MinWebservers": 2,
            "MaxWebservers": 5,
        }
    )

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if mwaa.refusal is not None:
                status, code, message = mwaa.refusal
                self._send(status, {"message": message, "Message": message}, code)
            elif self.path == f"/environments/{NAME}":
                self._send(200, {"Environment": mwaa.environment})
            elif self.path == f"/restapi/{NAME}":
                self._rest_api(json.loads(body))
            else:
                self._send(404, {"message": "no"}, "ResourceNotFoundException")

        def _rest_api(self, call: dict[str, Any]) -> None:
            status, answer = mwaa.airflow.answer(
                call["Method"], call["Path"], call.get("QueryParameters") or {}, call.get("Body")
            )
            wrapped = {"RestApiStatusCode": status, "RestApiResponse": answer}
            if status >= 500:
                self._send(400, wrapped, "RestApiServerException")
            elif status >= 400:
                self._send(400, wrapped, "RestApiClientException")
            else:
                self._send(200, wrapped)

        def _send(self, status: int, tree: object, error: str | None = None) -> None:
            data = json.dumps(tree).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if error is not None:
                self.send_header("x-amzn-errortype", error)
            self.end_headers()
            self.wfile.write(data)

    with serving(Handler) as url:
        mwaa.url = url
        yield mwaa
