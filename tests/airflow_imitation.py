"""An Airflow behind `aws_imitation`: as much of its REST API as is called there, for tests.

After the OpenAPI of Airflow 2.10, 3.0 and 3.3: paths, bodies, errors of either dialect.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

Answered = tuple[int, Any]
WRITERS = ("Admin", "Op", "User")  # of Airflow's roles, those that may change something


@dataclass
class Airflow:
    """An Airflow that remembers DAGs, their runs and variables; running anything is not its job.

    Attributes:
        version: decides dialect and errors.
        dags: what GET /dags/{id} tells of each, beside its id.
        runs: per DAG the runs by id, oldest first.
        unhealthy: components that the health check calls so.
        broken: (status, text) that answers every call; None: it works.
    """

    version: str = "3.0.6"
    dags: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"headroom_example": {}, "etl_daily": {}}
    )
    runs: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    unhealthy: set[str] = field(default_factory=set)
    broken: tuple[int, str] | None = None
    calls: list[tuple[str, str]] = field(default_factory=list)

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def trigger(self, dag: str, run: str, state: str = "queued") -> dict[str, Any]:
        now = datetime.now(UTC).isoformat()
        made = {"dag_run_id": run, "dag_id": dag, "state": state, "queued_at": now}
        made |= {"start_date": None, "end_date": None, "run_after": now, "conf": {}}
        self.runs.setdefault(dag, {})[run] = made
        return made

    def answer(
        self, method: str, path: str, query: dict[str, Any], body: Any, role: str
    ) -> Answered:
        """Status and body."""
        self.calls.append((method, path))
        if self.broken:
            return self._error(*self.broken)
        if role == "Public" or (method not in ("GET", "HEAD") and role not in WRITERS):
            return self._error(403, "Forbidden")
        if path == ("/health" if self.major == 2 else "/monitor/health"):
            return 200, self._health()
        match method, *(unquote(part) for part in path.strip("/").split("/")):
            case "GET", "version":
                return 200, {"version": self.version, "git_version": None}
            case "GET", "dags":
                return self._dags(query)
            case "GET", "dags", "~", "dagRuns":
                return 200, self._page("dag_runs", self._all_runs(), query)
            case _, "dags", dag, *rest if dag in self.dags:
                return self._of_dag(method, dag, rest, query, body)
            case "GET", "variables" | "connections" | "pools" as kind:
                known = {"variables": [{"key": key, "value": "***"} for key in self.variables]}
                return 200, self._page(kind, known.get(kind, []), query)
            case _, "variables", *rest:
                return self._variable(method, rest, body)
        return self._error(404, "Not Found")

    def _of_dag(
        self, method: str, dag: str, rest: list[str], query: dict[str, Any], body: Any
    ) -> Answered:
        runs = self.runs.setdefault(dag, {})
        match method, *rest:
            case ("GET",):
                return 200, self._dag(dag)
            case ("PATCH",):
                self.dags[dag]["is_paused"] = body["is_paused"]
                return 200, self._dag(dag)
            case "GET", "dagRuns":
                return 200, self._page("dag_runs", list(runs.values()), query)
            case "POST", "dagRuns":
                return self._triggered(dag, body)
            case "PATCH", "dagRuns" if self.version >= "3.3":
                return 200, self._bulk(dag, body)
            case _, "dagRuns", run, *rest if run in runs:
                return self._of_run(method, runs, run, rest, body)
        return self._error(404, "Not Found")

    def _of_run(
        self, method: str, runs: dict[str, Any], run: str, rest: list[str], body: Any
    ) -> Answered:
        match method, *rest:
            case "GET", "taskInstances":
                return 200, self._page("task_instances", [], {})
            case ("GET",):
                return 200, runs[run]
            case ("PATCH",):
                runs[run]["state"] = body["state"]
                return 200, runs[run]
            case ("DELETE",):
                if self.major >= 3 and runs[run]["state"] == "running":
                    return self._error(409, "cannot be deleted in running state")
                del runs[run]
                return 204, None
        return self._error(404, "Not Found")

    def _triggered(self, dag: str, body: Any) -> Answered:
        if self.major >= 3 and "logical_date" not in body:
            return 422, {"detail": [{"type": "missing", "loc": ["body", "logical_date"]}]}
        run = body.get("dag_run_id") or f"manual__{time.time_ns()}"
        if run in self.runs.get(dag, {}):
            return self._error(409, "DAGRun already exists")
        return 200, self.trigger(dag, run)

    def _bulk(self, dag: str, body: Any) -> dict[str, Any]:
        """Many runs at once, which Airflow 3.3 can: each entity of each action by itself."""
        answer: dict[str, Any] = {"create": None, "update": None, "delete": None}
        for action in body["actions"]:
            done: dict[str, list[Any]] = {"success": [], "errors": []}
            answer[action["action"]] = done
            for entity in action["entities"]:
                run = entity if isinstance(entity, str) else entity["dag_run_id"]
                method = {"delete": "DELETE", "update": "PATCH"}[action["action"]]
                status, told = self._of_dag(method, dag, ["dagRuns", run], {}, entity)
                if status < 300:
                    done["success"].append(f"{dag}.{run}")
                elif status != 404 or action.get("action_on_non_existence") != "skip":
                    done["errors"].append({"error": str(told), "status_code": status})
        return answer

    def _variable(self, method: str, rest: list[str], body: Any) -> Answered:
        match method, *rest:
            case ("POST",):
                self.variables[body["key"]] = body["value"]
                return 201 if self.major >= 3 else 200, body
            case "GET", key if key in self.variables:
                return 200, {"key": key, "value": self.variables[key]}
            case "PATCH", key if key in self.variables:
                self.variables[key] = body["value"]
                return 200, body
            case "DELETE", key if key in self.variables:
                del self.variables[key]
                return 204, None
        return self._error(404, "Variable not found")

    def _dag(self, dag: str) -> dict[str, Any]:
        stale = {"is_active": True} if self.major == 2 else {"is_stale": False}
        shown = {"dag_id": dag, "is_paused": False, "max_active_runs": 16, **stale}
        return {**shown, "has_import_errors": False, "tags": [], **self.dags[dag]}

    def _all_runs(self) -> list[Any]:
        return [run for runs in self.runs.values() for run in runs.values()]

    def _dags(self, query: dict[str, Any]) -> Answered:
        if not str(query.get("limit") or 1).isdecimal():
            return self._error(422 if self.major >= 3 else 400, "limit is no number")
        dags = [self._dag(dag) for dag in sorted(self.dags)]
        return 200, self._page("dags", dags, query)

    def _page(self, name: str, items: list[Any], query: dict[str, Any]) -> dict[str, Any]:
        order = str(query.get("order_by") or "")
        ordered = items[::-1] if order.startswith("-") else items
        offset = int(query.get("offset") or 0)
        limit = min(int(query.get("limit") or 100), 100)
        return {name: ordered[offset : offset + limit], "total_entries": len(items)}

    def _health(self) -> dict[str, Any]:
        beat = datetime.now(UTC).isoformat()
        names = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        status = {name: "unhealthy" if name in self.unhealthy else "healthy" for name in names}
        health: dict[str, Any] = {name: {"status": status[name]} for name in names}
        for name in names[1:]:
            health[name][f"latest_{name}_heartbeat"] = beat
        return health

    def _error(self, status: int, text: str) -> Answered:
        if self.major == 2:
            told = {"title": text, "status": status, "detail": text, "type": "about:blank"}
            return status, told
        return status, {"detail": text}
