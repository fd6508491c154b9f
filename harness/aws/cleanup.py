"""After the load: undo what the run created, and touch nothing else.

Only DAG runs whose id begins with `headroom__{run_id}__`, the variables that preflight created, and
the paused state of the DAGs that the mix pauses and unpauses.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from mwaa_headroom.harness.aws.clients import AwsClients, RestApi
from mwaa_headroom.harness.errors import EnvironmentAccessError
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.operations import (
    Method,
    complete_parameters,
    run_id_prefix,
)

PAGE = 100  # Airflow's largest page
MOST_PAGES = 1000
CLOCKS_APART = timedelta(minutes=10)  # this host's clock and the environment's, at most
PASSES = 2  # what failed once, by a throttle or a moment's trouble, is tried once more

DAG_RUNS = "dag_runs"
VARIABLES = "variables"
PAUSED_STATES = "paused_states"

_STARTED = "%Y%m%dT%H%M%S"  # a run id begins with it, in UTC
_STARTED_LENGTH = 15
_LIFE = ("queued_at", "start_date", "run_after")  # not all of them in every version and state

_GONE = 404
_CONFLICT = 409


@dataclass(slots=True)
class Created:
    """What preflight created or found in a state that the load may change.

    Attributes:
        dag_runs: per DAG, the runs triggered so that there is something to read.
        variables: keys of the variables created.
        paused: per DAG that the mix pauses or unpauses, whether it was paused before.
    """

    dag_runs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    variables: tuple[str, ...] = ()
    paused: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CleanupResult:
    """How many things were undone, and how many could not be, by what they are.

    The keys are `DAG_RUNS`, `VARIABLES` and `PAUSED_STATES`. DAG runs that could not even be listed
    count as one failure per DAG.
    """

    deleted: dict[str, int]
    failed: dict[str, int]


def clean_up(
    clients: AwsClients,
    scenario: Scenario,
    created: Created,
    run_id: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> CleanupResult:
    """Undo what the run created; what cannot be undone is counted, never raised.

    Args:
        clients: see `make_clients`.
        scenario: what ran. Kind aws is cleaned up only with `limits.clean_up`; never faster than
            `limits.max_rate_per_s`.
        created: by preflight.
        run_id: of the run.
        clock: seconds on any scale.
        sleep: waits for the next turn.
    """
    if scenario.environment.kind == "aws" and not scenario.limits.clean_up:
        return CleanupResult({}, {})
    name, rate_per_s = scenario.environment.name, scenario.limits.max_rate_per_s
    api = RestApi(clients, name, rate_per_s=rate_per_s, clock=clock, sleep=sleep)
    triggered = {
        complete_parameters(choice.operation, choice.parameters)["dag_id"]
        for choice in scenario.traffic.mix.values()
        if choice.operation == "trigger_dag_run"
    }
    return undo(api, created, run_id, triggered_dags=triggered)


def undo(
    api: RestApi, created: Created, run_id: str, *, triggered_dags: Iterable[str] = ()
) -> CleanupResult:
    """Undo what `created` holds, and all runs of this run in the DAGs that the load triggered."""
    counts: Counter[tuple[str, bool]] = Counter()
    for dag_id in sorted({*triggered_dags, *created.dag_runs}):
        counts.update((DAG_RUNS, is_done) for is_done in _delete_dag_runs(api, dag_id, run_id))
    for key in created.variables:
        counts[VARIABLES, _is_done(_status(api, "DELETE", f"/variables/{key}"))] += 1
    for dag_id, is_paused in created.paused.items():
        status = _status(api, "PATCH", f"/dags/{dag_id}", {"is_paused": is_paused})
        counts[PAUSED_STATES, _is_done(status)] += 1
    return CleanupResult(
        deleted={what: count for (what, is_done), count in counts.items() if is_done},
        failed={what: count for (what, is_done), count in counts.items() if not is_done},
    )


def _delete_dag_runs(api: RestApi, dag_id: str, run_id: str) -> Iterator[bool]:
    left = _runs_of(api, dag_id, run_id)
    if left is None:
        yield False
        return
    for _ in range(PASSES):
        still_there = [run for run in left if not _delete_dag_run(api, dag_id, run)]
        yield from (True for _ in range(len(left) - len(still_there)))
        left = still_there
    yield from (False for _ in left)


def _runs_of(api: RestApi, dag_id: str, run_id: str) -> list[str] | None:
    """Ids of the DAG runs that this run triggered; None: they cannot be listed.

    Newest first. Others may trigger the DAG too, so a page without any of ours ends the search only
    if all of it is older than this run.
    """
    started = datetime.strptime(run_id[:_STARTED_LENGTH], _STARTED).replace(tzinfo=UTC)
    prefix, since = run_id_prefix(run_id), started - CLOCKS_APART
    found: dict[str, None] = {}
    offset = 0
    for _ in range(MOST_PAGES):
        query = {"limit": PAGE, "offset": offset, "order_by": "-id"}
        try:
            answer = api.get(f"/dags/{dag_id}/dagRuns", query)
        except EnvironmentAccessError:
            return None
        if not answer.ok:
            return None
        runs = answer.dag_runs
        ours = [run["dag_run_id"] for run in runs if run["dag_run_id"].startswith(prefix)]
        if not ours and not any(_lived_after(run, since) for run in runs):
            break
        found.update(dict.fromkeys(ours))
        offset += len(runs)
    return list(found)


def _lived_after(run: Mapping[str, Any], since: datetime) -> bool:
    return any(datetime.fromisoformat(run[key]) > since for key in _LIFE if run.get(key))


def _delete_dag_run(api: RestApi, dag_id: str, run: str) -> bool:
    path = f"/dags/{dag_id}/dagRuns/{run}"
    status = _status(api, "DELETE", path)
    if status == _CONFLICT:  # newer versions of Airflow do not delete a running DAG run: end it
        _status(api, "PATCH", path, {"state": "failed"})
        status = _status(api, "DELETE", path)
    return _is_done(status)


def _status(
    api: RestApi, method: Method, path: str, body: Mapping[str, object] | None = None
) -> int | None:
    """What Airflow answered; None: it was not reached."""
    try:
        return api.send(method, path, body).status
    except EnvironmentAccessError:
        return None


def _is_done(status: int | None) -> bool:
    return status is not None and (200 <= status < 300 or status == _GONE)
