"""Airflow's REST API as far as load tests need it, answered from memory.

Both versions are spoken: /api/v2 (Airflow 3) and /api/v1 (Airflow 2), with their differences in
page size, bodies and errors. DAG runs may have any id that Airflow can be configured to take.
Recognising a call is apart from answering it, because its CPU is spent in between.
"""

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import uuid4

from mwaa_headroom.harness.local.backend import DAG_IDS
from mwaa_headroom.harness.local.gateway.operations import api_prefix
from mwaa_headroom.harness.local.simulated_bodies import TASK_ID, Bodies, Body
from mwaa_headroom.harness.local.simulated_dags import Dag, DagRun, RunQuery

PAGE_LIMIT: Final = 100  # api.maximum_page_limit
DEFAULT_PAGE: Final = {2: 100, 3: 50}  # api.fallback_page_limit
MOST_ID_CHARACTERS: Final = 250
LARGEST_NUMBER: Final = 2**63 - 1  # that a database takes
STATES: Final = ("queued", "running", "success", "failed")
_RUN_KEYS: Final = frozenset(
    ("dag_run_id", "logical_date", "data_interval_start", "data_interval_end", "conf", "note")
)
RUN_KEYS: Final[Mapping[int, Set[str]]] = {
    2: _RUN_KEYS | {"execution_date"},
    3: _RUN_KEYS | {"run_after", "partition_key"},
}
SORTED_BY: Final[Mapping[int, Mapping[str, frozenset[str]]]] = {
    major: {key: frozenset(names.split()) for key, names in lists.items()}
    for major, lists in {
        2: {
            "dags": "dag_id",
            "dag_runs": "id state dag_id execution_date dag_run_id start_date end_date updated_at "
            "external_trigger conf",
            "task_instances": "state duration start_date end_date map_index",
            "variables": "value key id",
            "connections": "connection_id conn_type description host port id",
            "pools": "name slots id",
        },
        3: {
            "dags": "dag_id dag_display_name next_dagrun state start_date last_run_state "
            "last_run_start_date",
            "dag_runs": "id state dag_id run_id dag_run_id logical_date partition_date run_after "
            "start_date end_date updated_at conf duration",
            "task_instances": "id state duration start_date end_date map_index try_number "
            "logical_date run_after data_interval_start data_interval_end rendered_map_index "
            "operator",
            "variables": "key id _val description is_encrypted team_name",
            "connections": "connection_id conn_id conn_type description host port id team_name",
            "pools": "id pool name",
        },
    }.items()
}


@dataclass(frozen=True, slots=True)
class Request:
    """One call, with the path below /api/v1 or /api/v2."""

    method: str
    path: str  # decoded
    query: Mapping[str, list[str]]
    body: Any  # JSON; None: there is none, or it is not JSON

    def text(self, name: str) -> str:
        """A query parameter; "" if it is absent."""
        return (self.query.get(name) or [""])[0]


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
        self._bodies = Bodies(self._major)
        self._dags = {dag_id: Dag(dag_id) for dag_id in sorted(DAG_IDS)}
        self._dags["headroom_pausable"].is_paused = True
        self._variables: dict[str, str] = {}

    def recognise(self, request: Request) -> Recognised:
        """Find the operation of a call; unknown paths are operation "unknown" and answer 404."""
        status = 404
        for method, pattern, operation, answering in _ROUTES[self._major]:
            match = pattern.fullmatch(request.path)
            if match and method == request.method:
                if operation == "pause_dag" and not _pauses(request.body):
                    operation = "unpause_dag"
                return Recognised(
                    operation, partial(self._answer, answering, request, match.groups())
                )
            if match:
                status = 405
        title = "Not Found" if status == 404 else "Method Not Allowed"
        return Recognised("unknown", lambda _: self._problem(status, title))

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
        is_paused = self._object(call, {"is_paused"}).get("is_paused")
        if not isinstance(is_paused, bool):
            raise self._invalid("body", "is_paused", "bool_type", "Input should be true or false")
        dag = self._dag(call)
        dag.set_paused(is_paused, call.now_s)
        return Answer(200, self._bodies.dag(dag))

    def _trigger_dag_run(self, call: _Call) -> Answer:
        body = self._object(call, RUN_KEYS[self._major])
        if self._major > 2 and "logical_date" not in body:  # null is fine
            raise self._invalid("body", "logical_date", "missing", "Field required")
        for key, kind in (("dag_run_id", str), ("conf", dict), ("note", str)):
            if not isinstance(body.get(key), kind | None):
                message = f"Input should be a valid {kind.__name__}"
                raise self._invalid("body", key, f"{kind.__name__}_type", message)
        dag = self._dag(call)
        logical_date, run_id = self._date_and_run_id(body, call.now_s)
        run = dag.add(
            run_id,
            conf=body.get("conf") or {},
            note=body.get("note"),
            logical_date=logical_date,
            now_s=call.now_s,
        )
        if run is None:
            exists = f"DAGRun with DAG ID: '{dag.dag_id}' and DAGRun ID: '{run_id}' already exists"
            raise self._refused_by_database(409, "Unique constraint violation", exists)
        return Answer(200, self._bodies.run(run, call.now_s))

    def _list_dag_runs(self, call: _Call) -> Answer:
        request = call.request
        states = request.query.get("state", [])
        if self._major > 2 and not {*STATES, "none"}.issuperset(states):
            raise _ProblemError(422, f"{states} must be of {', '.join(STATES)}")
        if self._major == 2 and "run_id_pattern" in request.query:
            raise _ProblemError(400, "Extra query parameter(s) run_id_pattern")
        limit, offset = self._page(request)
        query = RunQuery(
            limit=limit,
            offset=offset,
            order_by=self._order("dag_runs", request) or "id",
            run_id_pattern=request.text("run_id_pattern"),
            states=tuple(states),
        )
        runs, total = query.select(self._chosen_dags(call), call.now_s)
        shown = [self._bodies.run(run, call.now_s) for run in runs]
        return Answer(200, self._bodies.page("dag_runs", shown, total))

    def _get_dag_run(self, call: _Call) -> Answer:
        return Answer(200, self._bodies.run(self._run(call), call.now_s))

    def _delete_dag_run(self, call: _Call) -> Answer:
        run = self._run(call)
        if self._major > 2 and run.state(call.now_s) == "running":
            raise _ProblemError(409, f"The DagRun `{run.run_id}` cannot be deleted while it runs")
        self._dags[run.dag_id].remove(run)
        return Answer(204)

    def _list_task_instances(self, call: _Call) -> Answer:
        dag_id, run_id = call.ids
        if run_id == "~":
            dags = self._chosen_dags(call)
            runs = [run for dag in dags for run in dag.runs.values()]
        elif self._major == 2:  # which does not look whether there is such a DAG run
            dag = self._dags.get(dag_id)
            runs = [dag.runs[run_id]] if dag and run_id in dag.runs else []
        else:
            runs = [self._run(call)]
        entries = [self._bodies.task_instance(run, call.now_s) for run in runs]
        return self._list("task_instances", entries, call)

    def _get_task_instance(self, call: _Call) -> Answer:
        dag_id, run_id, task_id = call.ids
        dag = self._dags.get(dag_id)
        if dag is None or run_id not in dag.runs or task_id != TASK_ID:
            raise _ProblemError(
                404,
                f"The Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}` and task_id: "
                f"`{task_id}` was not found",
            )
        return Answer(200, self._bodies.task_instance(dag.runs[run_id], call.now_s))

    def _list_variables(self, call: _Call) -> Answer:
        variables = sorted(self._variables.items())
        return self._list("variables", [self._bodies.variable(*pair) for pair in variables], call)

    def _get_variable(self, call: _Call) -> Answer:
        key = self._known_variable(call)
        return Answer(200, self._bodies.variable(key, self._variables[key]))

    def _create_variable(self, call: _Call) -> Answer:
        key, value = self._key_and_value(call)
        if self._major > 2 and key in self._variables:  # Airflow 2 overwrites
            raise _ProblemError(409, f"The Variable with key: `{key}` already exists")
        self._variables[key] = value
        return Answer(201 if self._major > 2 else 200, self._bodies.variable(key, value))

    def _set_variable(self, call: _Call) -> Answer:
        key, value = self._key_and_value(call)
        if key != call.ids[0]:
            raise _ProblemError(400, "The key in the body is not the one in the path")
        self._variables[self._known_variable(call)] = value
        return Answer(200, self._bodies.variable(key, value))

    def _delete_variable(self, call: _Call) -> Answer:
        del self._variables[self._known_variable(call)]
        return Answer(204)

    def _list_connections(self, call: _Call) -> Answer:
        return self._list("connections", [self._bodies.connection()], call)

    def _list_pools(self, call: _Call) -> Answer:
        return self._list("pools", [self._bodies.pool()], call)

    def _list(self, key: str, entries: list[Body], call: _Call) -> Answer:
        self._order(key, call.request)
        limit, offset = self._page(call.request)
        return Answer(200, self._bodies.page(key, entries[offset : offset + limit], len(entries)))

    def _order(self, key: str, request: Request) -> str:
        """The parameter `order_by`, which must name a column that lists can be sorted by."""
        order_by = request.text("order_by")
        column = order_by.lstrip("-")
        if order_by and column not in SORTED_BY[self._major][key]:
            raise _ProblemError(400, f"{key} cannot be ordered by '{column}'")
        return order_by

    def _page(self, request: Request) -> tuple[int, int]:
        limit = self._number("limit", DEFAULT_PAGE[self._major], request)
        if self._major == 2:
            limit = limit or DEFAULT_PAGE[2]
        return min(limit, PAGE_LIMIT), self._number("offset", 0, request)

    def _number(self, name: str, default: int, request: Request) -> int:
        if name not in request.query:
            return default
        text = request.text(name).strip()
        if re.fullmatch(r"[+-]?[0-9]{1,100}", text) is None:
            raise self._invalid("query", name, "int_parsing", f"'{text}' is not a whole number")
        number = int(text)
        if not 0 <= number <= LARGEST_NUMBER:
            raise self._invalid("query", name, "greater_than_equal", f"{number} is out of range")
        return number

    def _chosen_dags(self, call: _Call) -> list[Dag]:
        dag_id = call.ids[0]
        if dag_id == "~":
            return list(self._dags.values())
        if self._major == 2 and dag_id not in self._dags:  # it does not look whether there is one
            return []
        return [self._dag(call)]

    def _dag(self, call: _Call) -> Dag:
        dag = self._dags.get(call.ids[0])
        if dag is None:
            raise _ProblemError(404, f"The Dag with ID: `{call.ids[0]}` was not found")
        return dag

    def _run(self, call: _Call) -> DagRun:
        dag_id, run_id = call.ids
        dag = self._dags.get(dag_id)
        if dag is None or run_id not in dag.runs:
            raise _ProblemError(
                404, f"The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found"
            )
        return dag.runs[run_id]

    def _known_variable(self, call: _Call) -> str:
        key = call.ids[0]
        if key not in self._variables:
            raise _ProblemError(404, f"The Variable with key: `{key}` was not found")
        return key

    def _key_and_value(self, call: _Call) -> tuple[str, str]:
        body = self._object(call, {"key", "value", "description", "team_name"})
        key, value = body.get("key"), body.get("value")
        if not isinstance(key, str) or len(key) > MOST_ID_CHARACTERS:
            raise self._invalid("body", "key", "string_type", "Input should be a valid string")
        if "value" not in body or (self._major == 2 and not isinstance(value, str)):
            raise self._invalid("body", "value", "missing", "Field required")
        return key, value if isinstance(value, str) else str(value)

    def _date_and_run_id(self, body: Body, now_s: float) -> tuple[str | None, str]:
        now = datetime.fromtimestamp(now_s, UTC)
        given = body.get("logical_date") or body.get("execution_date")
        date = self._instant(given) if given is not None else now if self._major == 2 else None
        suffix = "" if date else f"_{uuid4().hex[:8]}"  # so that runs without a date may coincide
        run_id = body.get("dag_run_id") or f"manual__{(date or now).isoformat()}{suffix}"
        if len(run_id) > MOST_ID_CHARACTERS:
            status = 422 if self._major > 2 else 400
            raise self._refused_by_database(status, "Value rejected by database", "It is too long")
        return None if date is None else self._bodies.date(date.timestamp()), run_id

    def _instant(self, text: Any) -> datetime:
        try:
            instant = datetime.fromisoformat(text)
        except (TypeError, ValueError):
            instant = datetime.min
        if instant.tzinfo is None:
            message = "Input should be a date and time with a time zone"
            raise self._invalid("body", "logical_date", "datetime_from_date_parsing", message)
        return instant

    def _object(self, call: _Call, keys: Set[str]) -> Body:
        """The body, which must be an object with no other keys."""
        body = call.request.body
        if not isinstance(body, dict):
            raise self._invalid("body", "", "model_attributes_type", "Input should be an object")
        for key in body.keys() - keys:
            raise self._invalid("body", key, "extra_forbidden", "Extra inputs are not permitted")
        return body

    def _invalid(self, where: str, name: str, kind: str, message: str) -> _ProblemError:
        if self._major == 2:
            return _ProblemError(400, f"{name}: {message}")
        location = [where, name] if name else [where]
        return _ProblemError(422, [{"type": kind, "loc": location, "msg": message}])

    def _refused_by_database(self, status: int, reason: str, message: str) -> _ProblemError:
        if self._major == 2:
            return _ProblemError(status, message)
        hidden = {"statement": "hidden", "orig_error": "hidden"}
        return _ProblemError(status, {"reason": reason, **hidden, "message": message})


def _pauses(body: Any) -> bool:
    return isinstance(body, dict) and body.get("is_paused") is True


_Answering = Callable[[SimulatedAirflow, _Call], Answer]

_ID = "([^/]+)"
_RUNS = f"/dags/{_ID}/dagRuns"
_RUN = f"{_RUNS}/{_ID}"
_TASKS = f"{_RUN}/taskInstances"
_KEY = {2: f"/variables/{_ID}", 3: "/variables/(.+)"}  # in Airflow 3 there may be slashes in it
_HEALTH = {2: "/health", 3: "/monitor/health"}
_ROUTES: Final[Mapping[int, Sequence[tuple[str, re.Pattern[str], str, _Answering]]]] = {
    major: tuple(
        (method, re.compile(pattern, re.DOTALL), operation, answering)
        for method, pattern, operation, answering in (
            ("GET", "/version", "version", SimulatedAirflow._version),
            ("GET", _HEALTH[major], "health", SimulatedAirflow._health),
            ("GET", "/dags", "list_dags", SimulatedAirflow._list_dags),
            ("GET", f"/dags/{_ID}", "get_dag", SimulatedAirflow._get_dag),
            ("PATCH", f"/dags/{_ID}", "pause_dag", SimulatedAirflow._patch_dag),
            ("POST", _RUNS, "trigger_dag_run", SimulatedAirflow._trigger_dag_run),
            ("GET", _RUNS, "list_dag_runs", SimulatedAirflow._list_dag_runs),
            ("GET", _RUN, "get_dag_run", SimulatedAirflow._get_dag_run),
            ("DELETE", _RUN, "delete_dag_run", SimulatedAirflow._delete_dag_run),
            ("GET", _TASKS, "list_task_instances", SimulatedAirflow._list_task_instances),
            ("GET", f"{_TASKS}/{_ID}", "get_task_instance", SimulatedAirflow._get_task_instance),
            ("GET", "/variables", "list_variables", SimulatedAirflow._list_variables),
            ("GET", _KEY[major], "get_variable", SimulatedAirflow._get_variable),
            ("POST", "/variables", "create_variable", SimulatedAirflow._create_variable),
            ("PATCH", _KEY[major], "set_variable", SimulatedAirflow._set_variable),
            ("DELETE", _KEY[major], "delete_variable", SimulatedAirflow._delete_variable),
            ("GET", "/connections", "list_connections", SimulatedAirflow._list_connections),
            ("GET", "/pools", "list_pools", SimulatedAirflow._list_pools),
        )
    )
    for major in (2, 3)
}
