"""The operations a mix can hold: their parameters, and the REST call each arrival becomes.

Of the environment a call needs only the targets, found before the run and kept with its record.
Paths are relative to Airflow's API, as InvokeRestApi wants them, with ids percent-encoded; our own
ids are short, so that paths with them keep to InvokeRestApi's 64 characters. Airflow 2 and 3 differ
in two places: the health path, and the trigger body, in which Airflow 3 requires `logical_date`
(null lets many runs start at once).
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from mwaa_headroom.harness.errors import PreflightError, RecordError
from mwaa_headroom.harness.files import writing

Method = Literal["GET", "PUT", "POST", "PATCH", "DELETE"]
Need = Literal["dag", "dag_runs", "variable"]

TARGETS_FILE = "targets.json"
DEFAULT_DAG = "headroom_example"
PAUSABLE_DAG = "headroom_pausable"
DEFAULT_VARIABLE = "headroom_variable"
ALL_DAGS: Final = "~"  # instead of a DAG's id, where the runs of all are listed
OUR_PREFIX: Final = "headroom_"  # the id of every DAG run that any of our runs triggers
LARGEST_PAYLOAD_BYTES = 1_000_000  # nothing documents the service's own limit


@dataclass(frozen=True, slots=True)
class Targets:
    """Facts about the environment that building a call needs, found once before the run.

    Attributes:
        airflow_version: of the environment, such as "3.3.1"; decides paths and bodies.
        run_id: of this headroom run; part of the id of every DAG run it triggers.
        dag_run_ids: per DAG, existing DAG runs that reading operations may ask for.
    """

    airflow_version: str
    run_id: str
    dag_run_ids: dict[str, tuple[str, ...]]

    @property
    def airflow_major(self) -> int:
        """2 or 3."""
        return int(self.airflow_version.split(".")[0])


def save_targets(run_dir: Path, targets: Targets) -> None:
    """Write `targets.json` into a run directory.

    Raises:
        HeadroomError: the disk is full or may not be written.
    """
    path = run_dir / TARGETS_FILE
    with writing(path):
        path.write_text(json.dumps(asdict(targets), indent=2) + "\n", encoding="utf-8")


def load_targets(run_dir: Path) -> Targets:
    """Read `targets.json` of a run directory.

    Raises:
        RecordError: it is missing or damaged.
    """
    path = run_dir / TARGETS_FILE
    try:
        return targets_from_tree(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise RecordError(f"'{path}' is missing or damaged; prepare the run again.") from exc


def targets_from_tree(tree: Mapping[str, Any]) -> Targets:
    """The targets from what `dataclasses.asdict` makes of them.

    Raises:
        KeyError, TypeError, AttributeError: `tree` is something else.
    """
    return Targets(
        airflow_version=tree["airflow_version"],
        run_id=tree["run_id"],
        dag_run_ids={dag: tuple(runs) for dag, runs in tree["dag_run_ids"].items()},
    )


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an operation.

    Attributes:
        default: what is used when the scenario does not say.
        problem: from a given value to what is wrong with it, as the end of a sentence that starts
            with the name; None: nothing.
        bounds: of a number, for the reference.
    """

    default: Any
    problem: Callable[[object], str | None]
    bounds: str = ""


def _whole_number(default: int, lowest: int, highest: int) -> Parameter:
    def problem(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"must be a whole number, got {value!r}"
        if not lowest <= value <= highest:
            return f"must be from {lowest} to {highest}, got {value}"
        return None

    return Parameter(default, problem, bounds=f"{lowest} to {highest}")


def _text(default: str, pattern: str) -> Parameter:
    def problem(value: object) -> str | None:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            return f"must be a string that matches {pattern}, got {value!r}"
        return None

    return Parameter(default, problem)


def _not_a_json_table(value: object) -> str | None:
    if not isinstance(value, dict):
        return f"must be a table, got {value!r}"
    try:
        json.dumps(value, allow_nan=False)
    except TypeError:  # TOML knows dates and times
        return "must hold only what JSON knows: write dates and times in quotes"
    except ValueError:
        return "must hold only what JSON knows, so neither nan nor inf"
    return None


@dataclass(frozen=True, slots=True)
class RestCall:
    """One call as InvokeRestApi takes it."""

    method: Method
    path: str
    query: dict[str, Any] | None = None
    body: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of call.

    Attributes:
        parameters: by name, all optional in a scenario.
        needs: what must exist in the environment before the call can succeed.
        build: from complete parameters, the arrival's index and the targets to the call.
    """

    name: str
    parameters: dict[str, Parameter]
    needs: tuple[Need, ...]
    build: Callable[[Mapping[str, Any], int, Targets], RestCall]


def check_parameters(operation: str, parameters: Mapping[str, Any]) -> None:
    """Check the parameters a scenario gives to a known operation.

    Raises:
        ValueError: one sentence naming the wrong parameter, and the known ones if it is unknown.
    """
    known = OPERATIONS[operation].parameters
    for name, value in parameters.items():
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise ValueError(f"operation '{operation}' has no parameter '{name}'; it takes {names}")
        problem = known[name].problem(value)
        if problem:
            raise ValueError(f"parameter '{name}' of operation '{operation}' {problem}")
    if "conf" in parameters and "payload_bytes" in parameters:
        raise ValueError(f"operation '{operation}' takes either 'conf' or 'payload_bytes'")


def complete_parameters(operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The given parameters with defaults for the rest."""
    defaults = {name: kind.default for name, kind in OPERATIONS[operation].parameters.items()}
    return {**defaults, **parameters}


def build_call(
    operation: str, parameters: Mapping[str, Any], *, arrival: int, targets: Targets
) -> RestCall:
    """The call of one arrival; the same arguments always give the same call.

    Raises:
        PreflightError: the operation reads DAG runs and the targets have none.
    """
    complete = complete_parameters(operation, parameters)
    return OPERATIONS[operation].build(complete, arrival, targets)


def run_id_prefix(run_id: str) -> str:
    """What the id of every DAG run begins with that a run triggers: by it they are found again.

    The run's own id is too long: the path to the task instances of a run of `headroom_example`
    leaves 19 of 64 characters for the DAG run's id.
    """
    digest = base64.b32encode(hashlib.sha256(run_id.encode()).digest())
    return f"{OUR_PREFIX}{digest[:6].decode().lower()}_"


def segment(text: str) -> str:
    """An id as one segment of a path: whatever would mean something else there is encoded."""
    return quote(text, safe="!$&'()*+,;=:@", errors="replace")


def can_be_addressed(text: str) -> bool:
    """Whether a path can hold an id: "." and "..", encoded or not, leave the folder."""
    return not {".", ".."} & {*text.replace("\\", "/").split("/")}


def dag_path(dag_id: str) -> str:
    """Where a DAG is."""
    return f"/dags/{segment(dag_id)}"


def dag_runs_path(dag_id: str) -> str:
    """Where the runs of a DAG are."""
    return f"{dag_path(dag_id)}/dagRuns"


def dag_run_path(dag_id: str, run: str) -> str:
    """Where one run of a DAG is."""
    return f"{dag_runs_path(dag_id)}/{segment(run)}"


def variable_path(key: str) -> str:
    """Where a variable is."""
    return f"/variables/{segment(key)}"


def _health(_: Mapping[str, Any], __: int, targets: Targets) -> RestCall:
    return RestCall("GET", "/health" if targets.airflow_major == 2 else "/monitor/health")


def _trigger_dag_run(parameters: Mapping[str, Any], arrival: int, targets: Targets) -> RestCall:
    conf = parameters["conf"]
    if parameters["payload_bytes"]:
        conf = {"payload": "x" * parameters["payload_bytes"]}
    body: dict[str, Any] = {
        "dag_run_id": f"{run_id_prefix(targets.run_id)}{arrival}",
        "conf": conf,
    }
    if targets.airflow_major >= 3:
        body["logical_date"] = None
    return RestCall("POST", dag_runs_path(parameters["dag_id"]), body=body)


def _get_dag_run(parameters: Mapping[str, Any], arrival: int, targets: Targets) -> RestCall:
    dag_id = parameters["dag_id"]
    return RestCall("GET", dag_run_path(dag_id, _existing_run(dag_id, arrival, targets)))


def _list_task_instances(parameters: Mapping[str, Any], arrival: int, targets: Targets) -> RestCall:
    dag_id = parameters["dag_id"]
    path = dag_run_path(dag_id, _existing_run(dag_id, arrival, targets))
    return RestCall("GET", f"{path}/taskInstances", query=_page(parameters))


def _list(path: str) -> Callable[[Mapping[str, Any], int, Targets], RestCall]:
    def build(parameters: Mapping[str, Any], _: int, __: Targets) -> RestCall:
        return RestCall("GET", path, query=_page(parameters))

    return build


def _list_dag_runs(parameters: Mapping[str, Any], _: int, __: Targets) -> RestCall:
    return RestCall("GET", dag_runs_path(parameters["dag_id"]), query=_page(parameters))


def _set_paused(is_paused: bool) -> Callable[[Mapping[str, Any], int, Targets], RestCall]:
    def build(parameters: Mapping[str, Any], _: int, __: Targets) -> RestCall:
        return RestCall("PATCH", dag_path(parameters["dag_id"]), body={"is_paused": is_paused})

    return build


def _set_variable(parameters: Mapping[str, Any], arrival: int, _: Targets) -> RestCall:
    key, size = parameters["key"], parameters["value_bytes"]
    # Another value each time: a webserver must not be able to skip the write.
    value = str(arrival).rjust(size, "0")[-size:]
    return RestCall("PATCH", variable_path(key), body={"key": key, "value": value})


def _page(parameters: Mapping[str, Any]) -> dict[str, Any]:
    query = {"limit": parameters["limit"]}
    if parameters.get("order_by"):
        query["order_by"] = parameters["order_by"]
    return query


def _existing_run(dag_id: str, arrival: int, targets: Targets) -> str:
    runs = targets.dag_run_ids.get(dag_id, ())
    if not runs:
        raise PreflightError(
            f"DAG '{dag_id}' has no runs to read; trigger one before loading the environment."
        )
    return runs[_scramble(arrival) % len(runs)]


def _scramble(number: int) -> int:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): neighbours land far apart, reproducibly."""
    mask = (1 << 64) - 1
    z = (number + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


# Airflow's own rule for the id of a DAG (validate_key): letters and digits of any script.
_ID = r"(?!\.{1,2}$)[\w.\-]{1,250}"
_LIMIT = _whole_number(100, lowest=1, highest=1000)
_ORDER_BY = _text("", r"-?[a-z_]{1,40}|")  # "": Airflow's own order
_DAG_ID = _text(DEFAULT_DAG, _ID)

_ALL = (
    Operation("health", {}, (), _health),
    Operation(
        "trigger_dag_run",
        {
            "dag_id": _DAG_ID,
            "conf": Parameter({}, _not_a_json_table),
            "payload_bytes": _whole_number(0, 0, LARGEST_PAYLOAD_BYTES),
        },
        ("dag",),
        _trigger_dag_run,
    ),
    Operation("list_dags", {"limit": _LIMIT, "order_by": _ORDER_BY}, (), _list("/dags")),
    Operation(
        "list_dag_runs",
        # "~" lists the runs of all DAGs
        {"dag_id": _text(DEFAULT_DAG, f"{_ID}|~"), "limit": _LIMIT, "order_by": _ORDER_BY},
        ("dag",),
        _list_dag_runs,
    ),
    Operation("get_dag_run", {"dag_id": _DAG_ID}, ("dag", "dag_runs"), _get_dag_run),
    Operation(
        "list_task_instances",
        {"dag_id": _DAG_ID, "limit": _LIMIT, "order_by": _ORDER_BY},
        ("dag", "dag_runs"),
        _list_task_instances,
    ),
    Operation("pause_dag", {"dag_id": _text(PAUSABLE_DAG, _ID)}, ("dag",), _set_paused(True)),
    Operation("unpause_dag", {"dag_id": _text(PAUSABLE_DAG, _ID)}, ("dag",), _set_paused(False)),
    Operation("list_variables", {"limit": _LIMIT}, (), _list("/variables")),
    Operation("list_connections", {"limit": _LIMIT}, (), _list("/connections")),
    Operation("list_pools", {"limit": _LIMIT}, (), _list("/pools")),
    Operation(
        "set_variable",
        {
            "key": _text(DEFAULT_VARIABLE, r"(?!\.{1,2}$)[\w.\-]{1,250}"),
            "value_bytes": _whole_number(32, lowest=1, highest=LARGEST_PAYLOAD_BYTES),
        },
        ("variable",),
        _set_variable,
    ),
)
OPERATIONS: dict[str, Operation] = {operation.name: operation for operation in _ALL}
