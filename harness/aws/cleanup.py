"""After the load: undo what a run created, and touch nothing else.

Only DAG runs whose id begins with the run's own prefix or is known to be the run's, the variables
that it created or overwrote, and the paused state of the DAGs that it paused and unpaused.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from mwaa_headroom.analysis.leftovers import DAG_RUNS, PAUSED_STATES, VARIABLES
from mwaa_headroom.harness.aws.clients import Answer, AwsClients, RestApi
from mwaa_headroom.harness.aws.translate import is_refused
from mwaa_headroom.harness.errors import EnvironmentAccessError
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.operations import (
    Method,
    complete_parameters,
    dag_path,
    dag_run_path,
    dag_runs_path,
    run_id_prefix,
    variable_path,
)

CALLS_PER_S = 5.0  # the throttle is the environment's, and others call it too; AWS's scripts do so
PAGE = 100  # Airflow's largest page
MOST_PAGES = 1000
CLOCKS_APART = timedelta(minutes=10)  # this host's clock and the environment's, at most
BULK_SINCE = (3, 3)  # of Airflow: PATCH /dags/{id}/dagRuns deletes many runs at once
BULK_RUNS = 25  # so few, because the service ends a call after 10 s
BULK_RUN_S = 0.07  # for each of them, running ones, measured with Airflow 3.3.1
PASSES = 3  # what failed, by a throttle or a moment's trouble, is tried again
MOST_FAILURES_IN_A_ROW = 10  # more of them are no moment's trouble
HOLD_BACK_S = 1.0  # after an answer that was none, times how many there were in a row

_STARTED = "%Y%m%dT%H%M%S"  # a run id begins with it, in UTC
_STARTED_LENGTH = 15
_LIFE = ("queued_at", "start_date", "run_after")  # not all of them in every version and state

_GONE = 404
_CONFLICT = 409


Finder = Callable[[str], tuple[str, ...] | None]  # from a DAG's id; None: cannot be listed


def _tell_nobody(**_: object) -> None:
    pass


@dataclass(slots=True)
class Created:
    """What a run created, or found in a state that its load may change; grows as it goes.

    Attributes:
        dag_runs: per DAG, ids of runs that it triggered, or may have.
        variables: the value that each had before; None: there was none, so that it is deleted.
        paused: per DAG that the mix pauses or unpauses, whether it was paused before.
        tell: is called before anything is created, with the fields of the event `created`.
    """

    dag_runs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    variables: dict[str, str | None] = field(default_factory=dict)
    paused: dict[str, bool] = field(default_factory=dict)
    tell: Callable[..., None] = field(default=_tell_nobody, compare=False)

    def add_dag_run(self, dag_id: str, run: str) -> None:
        """One that is about to be triggered: a call that fails on our side may still arrive."""
        self.tell(what=DAG_RUNS, name=run, dag_id=dag_id)
        self.dag_runs[dag_id] = (*self.dag_runs.get(dag_id, ()), run)

    def add_variable(self, key: str, value: str | None) -> None:
        """One that is about to be created, or that the load overwrites; its value is not told."""
        self.tell(what=VARIABLES, name=key, existed=value is not None)
        self.variables[key] = value

    def add_paused(self, dag_id: str, is_paused: bool) -> None:
        """A DAG that the load pauses or unpauses."""
        self.tell(what=PAUSED_STATES, name=dag_id, was_paused=is_paused)
        self.paused[dag_id] = is_paused

    def counts(self) -> Counter[str]:
        """How many things there are to undo, by what they are."""
        runs = sum(map(len, self.dag_runs.values()))
        counts = {DAG_RUNS: runs, VARIABLES: len(self.variables), PAUSED_STATES: len(self.paused)}
        return Counter({what: count for what, count in counts.items() if count})


@dataclass(slots=True)
class Undoing:
    """How far undoing has come, true at any moment; the keys are those of `Created.counts`.

    Attributes:
        done: what was undone.
        left: what was not, or not yet.
        answers: statuses that Airflow refused with; None among them: no answer came.
        refusal: why AWS let nothing more through, such as expired credentials; empty: it did.
    """

    done: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    answers: set[int | None] = field(default_factory=set)
    failures_in_a_row: int = 0
    refusal: str = ""

    def count(self, what: str, status: int | None) -> bool:
        """Count an answer; returns whether the thing is undone."""
        if status is None or not (200 <= status < 300 or status == _GONE):
            self.answers.add(status)
            self.failures_in_a_row += 1
            return False
        self.failures_in_a_row = 0
        self.correct(what, -1)
        return True

    def correct(self, what: str, more_left: int) -> None:
        """So many more are left than was counted."""
        self.done[what] -= more_left
        self.left[what] += more_left

    @property
    def is_worth_another_try(self) -> bool:
        """Whether it is no more than a moment's trouble."""
        return self.failures_in_a_row < MOST_FAILURES_IN_A_ROW


def cleaning_api(
    clients: AwsClients,
    scenario: Scenario,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> RestApi:
    """Calls of the scenario's environment, slow enough for what else it has to do."""
    rate_per_s = min(scenario.limits.max_rate_per_s, CALLS_PER_S)
    name = scenario.environment.name
    return RestApi(clients, name, rate_per_s=rate_per_s, clock=clock, sleep=sleep)


def deletes_in_bulk(airflow_version: str) -> bool:
    """Whether an Airflow such as "3.3.1" deletes many DAG runs in one call."""
    return tuple(int(part) for part in re.findall(r"\d+", airflow_version)[:2]) >= BULK_SINCE


def undoing_s(counts: Counter[str], rate_per_s: float, *, in_bulk: bool) -> float:
    """How long undoing takes, if nothing is in the way."""
    runs = counts[DAG_RUNS]
    others_s = (counts.total() - runs) / rate_per_s
    return others_s + runs * (BULK_RUN_S if in_bulk else 1 / rate_per_s)


def dags_triggered(scenario: Scenario) -> set[str]:
    """The DAGs that the load triggers."""
    return {
        complete_parameters(choice.operation, choice.parameters)["dag_id"]
        for choice in scenario.traffic.mix.values()
        if choice.operation == "trigger_dag_run"
    }


def finder(api: RestApi, run_id: str) -> Finder:
    """`list_runs` for what one run triggered."""
    started = datetime.strptime(run_id[:_STARTED_LENGTH], _STARTED).replace(tzinfo=UTC)
    return partial(list_runs, api, prefix=run_id_prefix(run_id), since=started - CLOCKS_APART)


def still_there(
    find: Finder,
    dag_ids: Iterable[str],
    known: Mapping[str, tuple[str, ...]],
) -> dict[str, tuple[str, ...]]:
    """Per DAG, the runs that are found; of a DAG whose runs cannot be listed, those known."""
    found = {}
    for dag_id in sorted({*dag_ids, *known}):
        listed = find(dag_id)
        runs = known.get(dag_id, ()) if listed is None else listed
        if runs:
            found[dag_id] = runs
    return found


def list_runs(
    api: RestApi, dag_id: str, prefix: str, *, since: datetime | None = None
) -> tuple[str, ...] | None:
    """Ids of a DAG's runs that begin with `prefix`, newest first; None: they cannot be listed.

    Args:
        api: of the environment.
        dag_id: of the DAG.
        prefix: of ours.
        since: there is none of ours before. Others may trigger the DAG too, so a page without any
            of ours ends the search only if all of it is older; None: all pages are read.
    """
    found: dict[str, None] = {}
    offset = 0
    for _ in range(MOST_PAGES):
        query = {"limit": PAGE, "offset": offset, "order_by": "-id"}
        try:
            answer = api.get(dag_runs_path(dag_id), query)
        except EnvironmentAccessError:
            return None
        if answer.status == _GONE:
            return ()
        if not answer.ok or not isinstance(answer.get("dag_runs"), list):
            return None
        runs = answer.dag_runs
        ours = [run["dag_run_id"] for run in runs if run["dag_run_id"].startswith(prefix)]
        is_older = since is not None and not any(_lived_after(run, since) for run in runs)
        if not runs or (not ours and is_older):
            return tuple(found)
        found.update(dict.fromkeys(ours))
        offset += len(runs)
    return None


def undo(
    api: RestApi,
    created: Created,
    undoing: Undoing,
    tell: Callable[[Undoing], None],
    find: Finder,
    *,
    in_bulk: bool = False,
) -> None:
    """Undo what `created` holds; what cannot be undone is counted, never raised.

    Args:
        api: of the environment.
        created: what there is to undo.
        undoing: keeps count.
        tell: is called after every thing.
        find: as `list_runs` for one DAG. What it still finds afterwards has not been deleted,
            whatever was answered: Airflow 3.1 answers 204 for running ones and keeps them
            (apache/airflow issue 59497).
        in_bulk: see `deletes_in_bulk`. What a call for many leaves, running DAG runs among them, is
            then deleted one by one.
    """
    undoing.left.update(created.counts())
    try:
        _undo_each(api, created, undoing, tell, find, in_bulk=in_bulk)
    except EnvironmentAccessError as exc:
        undoing.refusal = str(exc)


def _undo_each(
    api: RestApi,
    created: Created,
    undoing: Undoing,
    tell: Callable[[Undoing], None],
    find: Finder,
    *,
    in_bulk: bool,
) -> None:
    for dag_id, is_paused in created.paused.items():
        status = _status(api, "PATCH", dag_path(dag_id), {"is_paused": is_paused})
        undoing.count(PAUSED_STATES, status)
    for key, value in created.variables.items():
        undoing.count(VARIABLES, _give_back(api, key, value))
    for dag_id, runs in created.dag_runs.items():
        left = _deleted_in_bulk(api, dag_id, runs, undoing, tell) if in_bulk else list(runs)
        for number in range(PASSES):
            left = _delete_dag_runs(api, dag_id, left, undoing, tell, end_first=number > 0)
            listed = find(dag_id) if undoing.is_worth_another_try else None
            if listed is not None:
                still_there = {*listed}
                undoing.correct(DAG_RUNS, len(still_there & {*runs}) - len(left))
                left = [run for run in runs if run in still_there]
            if not left or not undoing.is_worth_another_try:
                break


def _deleted_in_bulk(
    api: RestApi,
    dag_id: str,
    runs: Sequence[str],
    undoing: Undoing,
    tell: Callable[[Undoing], None],
    *,
    end_first: bool = False,
) -> list[str]:
    """Delete many at a time, as long as that works; returns those that are left."""
    left: list[str] = []
    failures = 0
    for begin in range(0, len(runs), BULK_RUNS):
        some = list(runs[begin : begin + BULK_RUNS])
        answer = _answer(api, "PATCH", dag_runs_path(dag_id), bulk_body(some, end_first=end_first))
        told = answer.get("delete") if answer is not None and answer.ok else None
        if not isinstance(told, dict):
            failures += 1
            if failures == PASSES:
                return [*left, *runs[begin:]]
            api.hold_back(HOLD_BACK_S * failures)
        gone = {*told.get("success", ())} if isinstance(told, dict) else set()
        left += [run for run in some if f"{dag_id}.{run}" not in gone]
        undoing.correct(DAG_RUNS, -sum(f"{dag_id}.{run}" in gone for run in some))
        tell(undoing)
    if left and not end_first and not failures:  # running ones, which are not deleted
        return _deleted_in_bulk(api, dag_id, left, undoing, tell, end_first=True)
    return left


def bulk_body(runs: list[str], *, end_first: bool) -> dict[str, object]:
    """Of a PATCH of a DAG's runs that deletes them; Airflow deletes no running one."""
    entities: dict[str, Sequence[object]] = {"delete": runs}
    if end_first:
        ended = [{"dag_run_id": run, "state": "failed"} for run in runs]
        entities = {"update": ended, **entities}
    return {
        "actions": [
            {"action": action, "entities": these, "action_on_non_existence": "skip"}
            for action, these in entities.items()
        ]
    }


def _delete_dag_runs(
    api: RestApi,
    dag_id: str,
    runs: list[str],
    undoing: Undoing,
    tell: Callable[[Undoing], None],
    *,
    end_first: bool,
) -> list[str]:
    """Delete them, unless nothing works any more; returns those that are left."""
    left = []
    for position, run in enumerate(runs):
        status = _delete_dag_run(api, dag_id, run, end_first=end_first)
        if not undoing.count(DAG_RUNS, status):
            left.append(run)
        if not undoing.is_worth_another_try:
            return left + runs[position + 1 :]
        if status is None:
            api.hold_back(HOLD_BACK_S * undoing.failures_in_a_row)
        tell(undoing)
    return left


def _lived_after(run: Mapping[str, Any], since: datetime) -> bool:
    return any(datetime.fromisoformat(run[key]) > since for key in _LIFE if run.get(key))


def _delete_dag_run(api: RestApi, dag_id: str, run: str, *, end_first: bool) -> int | None:
    path = dag_run_path(dag_id, run)
    status = _CONFLICT if end_first else _status(api, "DELETE", path)
    if status == _CONFLICT:  # Airflow 3 does not delete a running DAG run: end it
        _status(api, "PATCH", path, {"state": "failed"})
        status = _status(api, "DELETE", path)
    return status


def _give_back(api: RestApi, key: str, value: str | None) -> int | None:
    path = variable_path(key)
    if value is None:
        return _status(api, "DELETE", path)
    return _status(api, "PATCH", path, {"key": key, "value": value})


def _status(
    api: RestApi, method: Method, path: str, body: Mapping[str, object] | None = None
) -> int | None:
    """What Airflow answered; None: it was not reached."""
    answer = _answer(api, method, path, body)
    return None if answer is None else answer.status


def _answer(
    api: RestApi, method: Method, path: str, body: Mapping[str, object] | None = None
) -> Answer | None:
    """None: Airflow was not reached.

    Raises:
        EnvironmentAccessError: these credentials are refused: nothing more will come through.
    """
    try:
        return api.send(method, path, body)
    except EnvironmentAccessError as exc:
        if is_refused(exc):
            raise
        return None
