"""Airflow's REST API as far as load tests need it, answered from memory.

Both versions are spoken: /api/v2 (Airflow 3) and /api/v1 (Airflow 2), with their differences in
page size, bodies and errors. Recognising a call is apart from answering it, because its CPU is
spent in between.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from typing import Any, Final
from uuid import uuid4

from mwaa_headroom.harness.local.backend import DAG_IDS
from mwaa_headroom.harness.local.gateway.operations import api_prefix

QUEUED_FOR_S = 0.3  # from the trigger until a scheduler starts the DAG run
RUNS_FOR_S = 1.0
IN_ORDER_OF_CREATION = frozenset(
    {"id", "start_date", "queued_at", "run_after", "logical_date", "execution_date"}
)
PAGE_LIMIT: Final = 100  # api.maximum_page_limit
DEFAULT_PAGE: Final = {2: 100, 3: 50}  # api.fallback_page_limit

Body = dict[str, Any]


@dataclass(slots=True)
class _DagRun:
    """One DAG run; its state follows from the time, so nothing has to run in the background."""

    dag_id: str
    run_id: str
    conf: dict[str, Any]
    note: str | None
    queued_s: float
    logical_date: str | None
    start_s: float | None  # None: waits for its DAG to be unpaused

    def state(self, now_s: float) -> str:
        """Airflow's word for where the DAG run is."""
        if self.start_s is None or now_s < self.start_s:
            return "queued"
        return "running" if now_s < self.start_s + RUNS_FOR_S else "success"


@dataclass(slots=True)
class _Dag:
    """One DAG and its runs in the order of their creation."""

    dag_id: str
    is_paused: bool = False
    runs: dict[str, _DagRun] = field(default_factory=dict)
    logical_dates: set[str] = field(default_factory=set)

    def set_paused(self, is_paused: bool, now_s: float) -> None:
        """Pause, or unpause and let the waiting DAG runs start."""
        if self.is_paused and not is_paused:
            for run in self.runs.values():
                if run.start_s is None:
                    run.start_s = now_s + QUEUED_FOR_S
        self.is_paused = is_paused

    def add(
        self,
        run_id: str,
        *,
        conf: dict[str, Any],
        note: str | None,
        logical_date: str | None,
        now_s: float,
    ) -> _DagRun | None:
        """Add a DAG run; None if there is one with this id or this logical date."""
        if run_id in self.runs or logical_date in self.logical_dates:
            return None
        start_s = None if self.is_paused else now_s + QUEUED_FOR_S
        run = _DagRun(self.dag_id, run_id, conf, note, now_s, logical_date, start_s)
        self.runs[run_id] = run
        if logical_date is not None:
            self.logical_dates.add(logical_date)
        return run

    def remove(self, run: _DagRun) -> None:
        """Remove a DAG run."""
        del self.runs[run.run_id]
        if run.logical_date is not None:
            self.logical_dates.discard(run.logical_date)


@dataclass(frozen=True, slots=True)
class _RunQuery:
    """The part of Airflow's query parameters for DAG runs that is understood here."""

    limit: int
    offset: int
    order_by: str
    run_id_pattern: str  # SQL LIKE, without regard to case
    states: tuple[str, ...]

    def select(self, dags: Sequence[_Dag], now_s: float) -> tuple[list[_DagRun], int]:
        """One page of DAG runs and how many there are on all pages."""
        is_descending, column = self.order_by.startswith("-"), self.order_by.lstrip("-")
        page = slice(self.offset, self.offset + self.limit)
        is_filtered = self.run_id_pattern or self.states
        if column in IN_ORDER_OF_CREATION and len(dags) == 1 and not is_filtered:
            # the common question, asked thousands of times of ever more runs: no full walk
            runs = dags[0].runs
            ordered = reversed(runs.values()) if is_descending else iter(runs.values())
            return list(islice(ordered, page.start, page.stop)), len(runs)
        all_runs = chain.from_iterable(dag.runs.values() for dag in dags)
        chosen = [run for run in all_runs if self._matches(run, now_s)]
        chosen.sort(key=lambda run: _sort_key(column, run, now_s), reverse=is_descending)
        return chosen[page], len(chosen)

    def _matches(self, run: _DagRun, now_s: float) -> bool:
        if self.states and run.state(now_s) not in self.states:
            return False
        return not self.run_id_pattern or _is_like(run.run_id, self.run_id_pattern)


def _sort_key(column: str, run: _DagRun, now_s: float) -> float | str:
    if column in ("dag_run_id", "run_id"):
        return run.run_id
    if column == "dag_id":
        return run.dag_id
    # by creation where nothing else is known
    return run.state(now_s) if column == "state" else run.queued_s


def _is_like(text: str, pattern: str) -> bool:
    """SQL's ILIKE: % is anything, _ any one character."""
    parts = (".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), text, re.IGNORECASE | re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class _Bodies:
    """JSON bodies as Airflow `major` 2 (API v1) or 3 (API v2) words them."""

    major: int

    def problem(self, status: int, detail: Any) -> Body:
        if self.major > 2:
            return {"detail": detail}
        titles = {400: "Bad Request", 404: "Not Found", 409: "Conflict"}
        title = titles.get(status, "Error")
        return {"type": "about:blank", "title": title, "status": status, "detail": detail}

    def dag(self, dag: _Dag) -> Body:
        common = {
            "dag_id": dag.dag_id,
            "dag_display_name": dag.dag_id,
            "is_paused": dag.is_paused,
            "description": "A DAG of the simulated environment",
            "fileloc": f"/usr/local/airflow/dags/{dag.dag_id}.py",
            "owners": ["airflow"],
            "tags": [],
            "max_active_runs": 16,
            "max_active_tasks": 16,
            "max_consecutive_failed_dag_runs": 0,
            "has_task_concurrency_limits": False,
            "has_import_errors": False,
            "timetable_description": "Never, external triggers only",
            "next_dagrun_create_after": None,
            "file_token": dag.dag_id,
        }
        if self.major == 2:
            return {**common, "is_active": True, "is_subdag": False, "schedule_interval": None}
        return {**common, "is_stale": False, "timetable_summary": None, "bundle_name": "dags"}

    def run(self, run: _DagRun, now_s: float) -> Body:
        state = run.state(now_s)
        start_s = None if state == "queued" else run.start_s
        end_s = start_s + RUNS_FOR_S if start_s is not None and state == "success" else None
        common = {
            "dag_id": run.dag_id,
            "dag_run_id": run.run_id,
            "logical_date": run.logical_date,
            "data_interval_start": run.logical_date,
            "data_interval_end": run.logical_date,
            "start_date": _iso(start_s),
            "end_date": _iso(end_s),
            "last_scheduling_decision": _iso(end_s or start_s),
            "run_type": "manual",
            "state": state,
            "conf": run.conf,
            "note": run.note,
        }
        if self.major == 2:
            return {**common, "execution_date": run.logical_date, "external_trigger": True}
        return {
            **common,
            "dag_display_name": run.dag_id,
            "queued_at": _iso(run.queued_s),
            "run_after": _iso(run.queued_s),
            "duration": RUNS_FOR_S if end_s is not None else None,
            "triggered_by": "rest_api",
            "dag_versions": [],
            "bundle_version": None,
        }

    def task_instance(self, run: _DagRun, now_s: float) -> Body:
        """The one task instance every simulated DAG run has."""
        shown = self.run(run, now_s)
        return {
            "task_id": "work",
            "task_display_name": "work",
            "dag_id": run.dag_id,
            "dag_run_id": run.run_id,
            "map_index": -1,
            "try_number": 0 if shown["start_date"] is None else 1,
            "max_tries": 0,
            "operator": "PythonOperator",
            "pool": "default_pool",
            "pool_slots": 1,
            "queue": "default",
            "priority_weight": 1,
            "state": shown["state"],
            "start_date": shown["start_date"],
            "end_date": shown["end_date"],
            "hostname": "worker-1",
            "unixname": "airflow",
            "note": None,
        }

    def variable(self, key: str, value: str) -> Body:
        return {"key": key, "value": value, "description": None, "is_encrypted": False}

    def health(self, now_s: float) -> Body:
        """A healthy environment without a triggerer."""
        beat = _iso(now_s)
        return {
            "metadatabase": {"status": "healthy"},
            "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": beat},
            "triggerer": {"status": None, "latest_triggerer_heartbeat": None},
            "dag_processor": {"status": "healthy", "latest_dag_processor_heartbeat": beat},
        }

    def connection(self) -> Body:
        empty = dict.fromkeys(("description", "host", "login", "schema", "port", "extra"))
        return {"connection_id": "aws_default", "conn_type": "aws", **empty}

    def pool(self) -> Body:
        used = ("occupied_slots", "running_slots", "queued_slots", "scheduled_slots")
        return {
            "name": "default_pool",
            "description": "Default pool",
            "slots": 128,
            "open_slots": 128,
            **dict.fromkeys((*used, "deferred_slots"), 0),
            "include_deferred": False,
        }


def _iso(time_s: float | None) -> str | None:
    return None if time_s is None else datetime.fromtimestamp(time_s, UTC).isoformat()


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
class _Call:
    """A request, the ids in its path, and when it is answered."""

    request: Request
    ids: tuple[str, ...]
    now_s: float


class _ProblemError(Exception):
    """A call that ends with an error."""

    def __init__(self, status: int, detail: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class SimulatedAirflow:
    """Answers calls from the state of one environment."""

    def __init__(self, airflow_version: str) -> None:
        self.airflow_version = airflow_version
        self._major = int(airflow_version.split(".")[0])
        self.prefix = api_prefix(airflow_version)
        self._bodies = _Bodies(self._major)
        self._dags = {dag_id: _Dag(dag_id) for dag_id in sorted(DAG_IDS)}
        self._dags["headroom_pausable"].is_paused = True
        self._variables: dict[str, str] = {}

    def recognise(self, request: Request) -> Recognised:
        """Find the operation of a call; unknown paths are operation "unknown" and answer 404."""
        for method, pattern, operation, answering in _ROUTES:
            match = pattern.fullmatch(request.path) if method == request.method else None
            if match:
                if operation == "pause_dag" and request.body.get("is_paused") is not True:
                    operation = "unpause_dag"
                return Recognised(
                    operation, partial(self._answer, answering, request, match.groups())
                )
        return Recognised("unknown", lambda _: self._problem(404, "Not Found"))

    def _answer(
        self, answering: "_Answering", request: Request, ids: tuple[str, ...], now_s: float
    ) -> Answer:
        try:
            return answering(self, _Call(request, ids, now_s))
        except _ProblemError as problem:
            return self._problem(problem.status, problem.detail)

    def _problem(self, status: int, detail: Any) -> Answer:
        return Answer(status, self._bodies.problem(status, detail))

    def _version(self, _: _Call) -> Answer:
        return Answer(200, {"version": self.airflow_version, "git_version": None})

    def _health(self, call: _Call) -> Answer:
        return Answer(200, self._bodies.health(call.now_s))

    def _list_dags(self, call: _Call) -> Answer:
        dags = list(self._dags.values())
        if call.request.text("order_by").startswith("-"):
            dags.reverse()
        return self._list("dags", [self._bodies.dag(dag) for dag in dags], call)

    def _get_dag(self, call: _Call) -> Answer:
        return Answer(200, self._bodies.dag(self._dag(call)))

    def _patch_dag(self, call: _Call) -> Answer:
        dag, is_paused = self._dag(call), call.request.body.get("is_paused")
        if not isinstance(is_paused, bool):
            raise self._invalid("is_paused must be a boolean")
        dag.set_paused(is_paused, call.now_s)
        return Answer(200, self._bodies.dag(dag))

    def _trigger_dag_run(self, call: _Call) -> Answer:
        dag, body = self._dag(call), call.request.body
        if (
            self._major > 2 and "logical_date" not in body
        ):  # Airflow 3 insists on it, null being fine
            missing = {"type": "missing", "loc": ["body", "logical_date"], "msg": "Field required"}
            raise _ProblemError(422, [missing])
        logical_date, run_id = self._date_and_run_id(call)
        run = dag.add(
            run_id,
            conf=body.get("conf") or {},
            note=body.get("note"),
            logical_date=logical_date,
            now_s=call.now_s,
        )
        if run is None:
            raise _ProblemError(
                409, f"DAGRun with DAG ID: '{dag.dag_id}' and DAGRun ID: '{run_id}' already exists"
            )
        return Answer(200, self._bodies.run(run, call.now_s))

    def _list_dag_runs(self, call: _Call) -> Answer:
        request = call.request
        dags = list(self._dags.values()) if call.ids[0] == "~" else [self._dag(call)]
        limit, offset = self._page(request)
        query = _RunQuery(
            limit=limit,
            offset=offset,
            order_by=request.text("order_by") or "id",
            run_id_pattern=request.text("run_id_pattern") or request.text("dag_run_id_pattern"),
            states=tuple(request.query.get("state", ())),
        )
        runs, total = query.select(dags, call.now_s)
        shown = [self._bodies.run(run, call.now_s) for run in runs]
        return Answer(200, {"dag_runs": shown, "total_entries": total})

    def _get_dag_run(self, call: _Call) -> Answer:
        return Answer(200, self._bodies.run(self._run(call), call.now_s))

    def _delete_dag_run(self, call: _Call) -> Answer:
        run = self._run(call)
        self._dags[run.dag_id].remove(run)
        return Answer(204)

    def _list_task_instances(self, call: _Call) -> Answer:
        entries = [self._bodies.task_instance(self._run(call), call.now_s)]
        return self._list("task_instances", entries, call)

    def _list_variables(self, call: _Call) -> Answer:
        variables = sorted(self._variables.items())
        return self._list("variables", [self._bodies.variable(*pair) for pair in variables], call)

    def _get_variable(self, call: _Call) -> Answer:
        key = self._known_variable(call)
        return Answer(200, self._bodies.variable(key, self._variables[key]))

    def _create_variable(self, call: _Call) -> Answer:
        key, value = call.request.body.get("key"), call.request.body.get("value")
        if not isinstance(key, str) or not isinstance(value, str):
            raise self._invalid("key and value must be strings")
        if self._major > 2 and key in self._variables:  # Airflow 2 overwrites
            raise _ProblemError(409, f"The Variable with key: `{key}` already exists")
        self._variables[key] = value
        return Answer(201 if self._major > 2 else 200, self._bodies.variable(key, value))

    def _set_variable(self, call: _Call) -> Answer:
        key, value = self._known_variable(call), str(call.request.body.get("value", ""))
        self._variables[key] = value
        return Answer(200, self._bodies.variable(key, value))

    def _delete_variable(self, call: _Call) -> Answer:
        del self._variables[self._known_variable(call)]
        return Answer(204)

    def _list_connections(self, call: _Call) -> Answer:
        return self._list("connections", [self._bodies.connection()], call)

    def _list_pools(self, call: _Call) -> Answer:
        return self._list("pools", [self._bodies.pool()], call)

    def _list(self, key: str, entries: list[Body], call: _Call) -> Answer:
        limit, offset = self._page(call.request)
        page = entries[offset : offset + limit]
        return Answer(200, {key: page, "total_entries": len(entries)})

    def _page(self, request: Request) -> tuple[int, int]:
        limit = request.number("limit", DEFAULT_PAGE[self._major])
        return min(limit or PAGE_LIMIT, PAGE_LIMIT), request.number("offset", 0)

    def _dag(self, call: _Call) -> _Dag:
        dag = self._dags.get(call.ids[0])
        if dag is None:
            raise _ProblemError(404, f"The DAG with dag_id: '{call.ids[0]}' was not found")
        return dag

    def _run(self, call: _Call) -> _DagRun:
        dag_id, run_id = call.ids[:2]
        dag = self._dags.get(dag_id)
        if dag is None or run_id not in dag.runs:
            raise _ProblemError(
                404, f"The DagRun with dag_id: '{dag_id}' and run_id: '{run_id}' was not found"
            )
        return dag.runs[run_id]

    def _known_variable(self, call: _Call) -> str:
        key = call.ids[0]
        if key not in self._variables:
            raise _ProblemError(404, f"The Variable with key: '{key}' was not found")
        return key

    def _date_and_run_id(self, call: _Call) -> tuple[str | None, str]:
        body, now = call.request.body, datetime.fromtimestamp(call.now_s, UTC).isoformat()
        date = body.get("logical_date") or body.get("execution_date")
        if date is None and self._major == 2:
            date = now
        suffix = "" if date else f"_{uuid4().hex[:8]}"  # so that runs without a date may coincide
        return date, str(body.get("dag_run_id") or f"manual__{date or now}{suffix}")

    def _invalid(self, detail: str) -> _ProblemError:
        return _ProblemError(422 if self._major > 2 else 400, detail)


_Answering = Callable[[SimulatedAirflow, _Call], Answer]

_ID = "([^/]+)"
_RUNS = f"/dags/{_ID}/dagRuns"
_RUN = f"{_RUNS}/{_ID}"
_ROUTES: Final[tuple[tuple[str, re.Pattern[str], str, _Answering], ...]] = tuple(
    (method, re.compile(pattern), operation, answering)
    for method, pattern, operation, answering in (
        ("GET", "/version", "version", SimulatedAirflow._version),
        ("GET", "(?:/monitor)?/health", "health", SimulatedAirflow._health),
        ("GET", "/dags", "list_dags", SimulatedAirflow._list_dags),
        ("GET", f"/dags/{_ID}", "get_dag", SimulatedAirflow._get_dag),
        ("PATCH", f"/dags/{_ID}", "pause_dag", SimulatedAirflow._patch_dag),
        ("POST", _RUNS, "trigger_dag_run", SimulatedAirflow._trigger_dag_run),
        ("GET", _RUNS, "list_dag_runs", SimulatedAirflow._list_dag_runs),
        ("GET", _RUN, "get_dag_run", SimulatedAirflow._get_dag_run),
        ("DELETE", _RUN, "delete_dag_run", SimulatedAirflow._delete_dag_run),
        (
            "GET",
            f"{_RUN}/taskInstances",
            "list_task_instances",
            SimulatedAirflow._list_task_instances,
        ),
        ("GET", "/variables", "list_variables", SimulatedAirflow._list_variables),
        ("GET", f"/variables/{_ID}", "get_variable", SimulatedAirflow._get_variable),
        ("POST", "/variables", "create_variable", SimulatedAirflow._create_variable),
        ("PATCH", f"/variables/{_ID}", "set_variable", SimulatedAirflow._set_variable),
        ("DELETE", f"/variables/{_ID}", "delete_variable", SimulatedAirflow._delete_variable),
        ("GET", "/connections", "list_connections", SimulatedAirflow._list_connections),
        ("GET", "/pools", "list_pools", SimulatedAirflow._list_pools),
    )
)
