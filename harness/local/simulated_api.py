"""Airflow's REST API as far as load tests need it, answered from memory.

Both versions are spoken: /api/v2 (Airflow 3) and /api/v1 (Airflow 2), with their differences in
page size, bodies and errors. Recognising a call is apart from answering it, because its CPU is
spent in between.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from harness.local.simulated_bodies import Bodies, Body
from harness.local.simulated_state import Dag, DagRun, RunQuery, State

PAGE_LIMIT: Final = 100  # api.maximum_page_limit
DEFAULT_PAGE: Final = {2: 100, 3: 50}  # api.fallback_page_limit


@dataclass(frozen=True, slots=True)
class Request:
    """One call, with the path below /api/v1 or /api/v2."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    body: dict[str, Any]

    def text(self, name: str) -> str:
        """A query parameter; "" if it is absent."""
        return (self.query.get(name) or [""])[0]

    def number(self, name: str, default: int) -> int:
        """A query parameter that is a whole number."""
        text = self.text(name)
        return int(text) if text.isdecimal() else default


@dataclass(frozen=True, slots=True)
class Answer:
    """What the webserver says."""

    status: int
    body: Body | None = None  # None: no content


@dataclass(frozen=True, slots=True)
class Recognised:
    """Which operation a call is, and how it is answered at a time (seconds since the epoch)."""

    operation: str
    answer: Callable[[float], Answer]


@dataclass(frozen=True, slots=True)
class Call:
    """A request, the ids in its path, and when it is answered."""

    request: Request
    ids: tuple[str, ...]
    now_s: float


class SimulatedAirflow:
    """Answers calls from the state of one environment."""

    def __init__(self, airflow_version: str) -> None:
        self.airflow_version = airflow_version
        self._major = int(airflow_version.split(".")[0])
        self.prefix = "/api/v1" if self._major == 2 else "/api/v2"
        self._bodies = Bodies(self._major)
        self._state = State()

    def recognise(self, request: Request) -> Recognised:
        """Find the operation of a call; unknown paths are operation "unknown" and answer 404."""
        for method, pattern, operation, answering in _ROUTES:
            match = pattern.fullmatch(request.path) if method == request.method else None
            if match:
                return self._recognised(operation, answering, request, match.groups())
        return Recognised("unknown", lambda _: self._problem(404, "Not Found"))

    def _recognised(
        self, operation: str, answering: "Answering", request: Request, ids: tuple[str, ...]
    ) -> Recognised:
        if operation == "pause_dag" and request.body.get("is_paused") is not True:
            operation = "unpause_dag"
        return Recognised(operation, lambda now_s: answering(self, Call(request, ids, now_s)))

    def version(self, _: Call) -> Answer:
        """GET /version."""
        return Answer(200, {"version": self.airflow_version, "git_version": None})

    def health(self, call: Call) -> Answer:
        """GET /health or /monitor/health."""
        return Answer(200, self._bodies.health(call.now_s))

    def list_dags(self, call: Call) -> Answer:
        """GET /dags."""
        dags = list(self._state.dags.values())
        if call.request.text("order_by").startswith("-"):
            dags.reverse()
        return self._list("dags", [self._bodies.dag(dag) for dag in dags], call)

    def get_dag(self, call: Call) -> Answer:
        """GET /dags/{id}."""
        dag = self._dag(call)
        return Answer(200, self._bodies.dag(dag)) if dag else self._no_dag(call)

    def patch_dag(self, call: Call) -> Answer:
        """PATCH /dags/{id}: pause or unpause."""
        dag = self._dag(call)
        if dag is None:
            return self._no_dag(call)
        is_paused = call.request.body.get("is_paused")
        if not isinstance(is_paused, bool):
            return self._invalid("is_paused must be a boolean")
        dag.set_paused(is_paused, call.now_s)
        return Answer(200, self._bodies.dag(dag))

    def trigger_dag_run(self, call: Call) -> Answer:
        """POST /dags/{id}/dagRuns; Airflow 3 insists on `logical_date`, null being fine."""
        dag, body = self._dag(call), call.request.body
        if dag is None:
            return self._no_dag(call)
        if self._major > 2 and "logical_date" not in body:
            missing = {"type": "missing", "loc": ["body", "logical_date"], "msg": "Field required"}
            return self._problem(422, [missing])
        logical_date, run_id = self._date_and_run_id(call)
        run = dag.add(
            run_id,
            conf=body.get("conf") or {},
            note=body.get("note"),
            logical_date=logical_date,
            now_s=call.now_s,
        )
        if run is None:
            detail = f"DAGRun with DAG ID: '{dag.dag_id}' and DAGRun ID: '{run_id}' already exists"
            return self._problem(409, detail)
        return Answer(200, self._bodies.run(run, call.now_s))

    def list_dag_runs(self, call: Call) -> Answer:
        """GET /dags/{id}/dagRuns, "~" being all DAGs."""
        dag, request = self._dag(call), call.request
        if dag is None and call.ids[0] != "~":
            return self._no_dag(call)
        limit, offset = self._page(request)
        query = RunQuery(
            limit=limit,
            offset=offset,
            order_by=request.text("order_by") or "id",
            run_id_pattern=request.text("run_id_pattern") or request.text("dag_run_id_pattern"),
            states=tuple(request.query.get("state", ())),
        )
        chosen = [dag] if dag else list(self._state.dags.values())
        runs, total = self._state.select_runs(chosen, query, call.now_s)
        shown = [self._bodies.run(run, call.now_s) for run in runs]
        return Answer(200, {"dag_runs": shown, "total_entries": total})

    def get_dag_run(self, call: Call) -> Answer:
        """GET /dags/{id}/dagRuns/{run}."""
        run = self._run(call)
        return Answer(200, self._bodies.run(run, call.now_s)) if run else self._no_run(call)

    def delete_dag_run(self, call: Call) -> Answer:
        """DELETE /dags/{id}/dagRuns/{run}."""
        dag = self._dag(call)
        return Answer(204) if dag and dag.remove(call.ids[1]) else self._no_run(call)

    def list_task_instances(self, call: Call) -> Answer:
        """GET /dags/{id}/dagRuns/{run}/taskInstances."""
        run = self._run(call)
        if run is None:
            return self._no_run(call)
        return self._list("task_instances", [self._bodies.task_instance(run, call.now_s)], call)

    def list_variables(self, call: Call) -> Answer:
        """GET /variables."""
        variables = sorted(self._state.variables.items())
        return self._list("variables", [self._bodies.variable(*pair) for pair in variables], call)

    def get_variable(self, call: Call) -> Answer:
        """GET /variables/{key}."""
        value = self._state.variables.get(call.ids[0])
        if value is None:
            return self._no_variable(call)
        return Answer(200, self._bodies.variable(call.ids[0], value))

    def create_variable(self, call: Call) -> Answer:
        """POST /variables; Airflow 2 overwrites, Airflow 3 answers 409."""
        key, value = call.request.body.get("key"), call.request.body.get("value")
        if not isinstance(key, str) or not isinstance(value, str):
            return self._invalid("key and value must be strings")
        if self._major > 2 and key in self._state.variables:
            return self._problem(409, f"The Variable with key: `{key}` already exists")
        self._state.variables[key] = value
        return Answer(201 if self._major > 2 else 200, self._bodies.variable(key, value))

    def set_variable(self, call: Call) -> Answer:
        """PATCH /variables/{key}."""
        key, value = call.ids[0], str(call.request.body.get("value", ""))
        if key not in self._state.variables:
            return self._no_variable(call)
        self._state.variables[key] = value
        return Answer(200, self._bodies.variable(key, value))

    def delete_variable(self, call: Call) -> Answer:
        """DELETE /variables/{key}."""
        is_gone = self._state.variables.pop(call.ids[0], None) is not None
        return Answer(204) if is_gone else self._no_variable(call)

    def list_connections(self, call: Call) -> Answer:
        """GET /connections."""
        return self._list("connections", [self._bodies.connection()], call)

    def list_pools(self, call: Call) -> Answer:
        """GET /pools."""
        return self._list("pools", [self._bodies.pool()], call)

    def _list(self, key: str, entries: list[Body], call: Call) -> Answer:
        limit, offset = self._page(call.request)
        page = entries[offset : offset + limit]
        return Answer(200, {key: page, "total_entries": len(entries)})

    def _page(self, request: Request) -> tuple[int, int]:
        limit = request.number("limit", DEFAULT_PAGE[self._major])
        return min(limit or PAGE_LIMIT, PAGE_LIMIT), request.number("offset", 0)

    def _dag(self, call: Call) -> Dag | None:
        return self._state.dags.get(call.ids[0])

    def _run(self, call: Call) -> DagRun | None:
        dag = self._dag(call)
        return dag.runs.get(call.ids[1]) if dag else None

    def _date_and_run_id(self, call: Call) -> tuple[str | None, str]:
        body, now = call.request.body, datetime.fromtimestamp(call.now_s, UTC).isoformat()
        date = body.get("logical_date") or body.get("execution_date")
        if date is None and self._major == 2:
            date = now
        suffix = "" if date else f"_{uuid4().hex[:8]}"  # so that runs without a date may coincide
        return date, str(body.get("dag_run_id") or f"manual__{date or now}{suffix}")

    def _problem(self, status: int, detail: Any) -> Answer:
        return Answer(status, self._bodies.problem(status, detail))

    def _invalid(self, detail: str) -> Answer:
        return self._problem(422 if self._major > 2 else 400, detail)

    def _no_dag(self, call: Call) -> Answer:
        return self._problem(404, f"The DAG with dag_id: '{call.ids[0]}' was not found")

    def _no_run(self, call: Call) -> Answer:
        dag_id, run_id = call.ids[:2]
        return self._problem(
            404, f"The DagRun with dag_id: '{dag_id}' and run_id: '{run_id}' was not found"
        )

    def _no_variable(self, call: Call) -> Answer:
        return self._problem(404, f"The Variable with key: '{call.ids[0]}' was not found")


Answering = Callable[[SimulatedAirflow, Call], Answer]

_ID = "([^/]+)"
_RUNS = f"/dags/{_ID}/dagRuns"
_ROUTES: Final[tuple[tuple[str, re.Pattern[str], str, Answering], ...]] = tuple(
    (method, re.compile(pattern), operation, answering)
    for method, pattern, operation, answering in (
        ("GET", "/version", "version", SimulatedAirflow.version),
        ("GET", "(?:/monitor)?/health", "health", SimulatedAirflow.health),
        ("GET", "/dags", "list_dags", SimulatedAirflow.list_dags),
        ("GET", f"/dags/{_ID}", "get_dag", SimulatedAirflow.get_dag),
        ("PATCH", f"/dags/{_ID}", "pause_dag", SimulatedAirflow.patch_dag),
        ("POST", _RUNS, "trigger_dag_run", SimulatedAirflow.trigger_dag_run),
        ("GET", _RUNS, "list_dag_runs", SimulatedAirflow.list_dag_runs),
        ("GET", f"{_RUNS}/{_ID}", "get_dag_run", SimulatedAirflow.get_dag_run),
        ("DELETE", f"{_RUNS}/{_ID}", "delete_dag_run", SimulatedAirflow.delete_dag_run),
        (
            "GET",
            f"{_RUNS}/{_ID}/taskInstances",
            "list_task_instances",
            SimulatedAirflow.list_task_instances,
        ),
        ("GET", "/variables", "list_variables", SimulatedAirflow.list_variables),
        ("GET", f"/variables/{_ID}", "get_variable", SimulatedAirflow.get_variable),
        ("POST", "/variables", "create_variable", SimulatedAirflow.create_variable),
        ("PATCH", f"/variables/{_ID}", "set_variable", SimulatedAirflow.set_variable),
        ("DELETE", f"/variables/{_ID}", "delete_variable", SimulatedAirflow.delete_variable),
        ("GET", "/connections", "list_connections", SimulatedAirflow.list_connections),
        ("GET", "/pools", "list_pools", SimulatedAirflow.list_pools),
    )
)
