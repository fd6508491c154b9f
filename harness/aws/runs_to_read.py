"""The DAG runs that reading calls ask for: those that are there, and where allowed a few of ours.

A run is of use if every call about it can name it: "." and ".." cannot stand in a path, Airflow
finds no run whose id has a slash, and InvokeRestApi takes paths of up to 64 characters.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mwaa_headroom.analysis.findings import Finding, note, warning
from mwaa_headroom.analysis.mwaa import INVOKE_PATH_CHARACTERS
from mwaa_headroom.harness.aws.cleanup import Created
from mwaa_headroom.harness.aws.clients import Answer, RestApi
from mwaa_headroom.harness.aws.translate import is_unanswered
from mwaa_headroom.harness.errors import EnvironmentAccessError, PreflightError
from mwaa_headroom.harness.traffic.operations import (
    Targets,
    build_call,
    can_be_addressed,
    dag_run_path,
    dag_runs_path,
    run_id_prefix,
    segment,
)

FEWEST_DAG_RUNS = 10  # to read from, so that one hot row is not all that is measured
MOST_DAG_RUNS = 100  # Airflow's largest page


@dataclass(frozen=True, slots=True)
class Reads:
    """How the mix reads runs of one DAG.

    Attributes:
        dag_id: of the DAG.
        key: of the scenario, for errors.
        calls: (operation, parameters) of all entries of the mix that do.
        may_trigger: whether the DAG may be triggered.
        is_limited: whether paths are limited, which calls with a web login token are not.
    """

    dag_id: str
    key: str
    calls: Sequence[tuple[str, Mapping[str, Any]]]
    may_trigger: bool
    is_limited: bool


def runs_to_read(
    api: RestApi, targets: Targets, reads: Reads, created: Created
) -> tuple[tuple[str, ...], list[Finding]]:
    """Ids of the newest runs that can be read, and what is worth knowing about them.

    Raises:
        PreflightError: they cannot be listed, there are none, or the DAG cannot be triggered.
        EnvironmentAccessError: Airflow was not reached.
    """
    listed, named, usable = readable_runs(api, targets, reads)
    if reads.may_trigger:
        missing = range(FEWEST_DAG_RUNS - len(usable))
        usable += [_trigger(api, targets, reads, index, created) for index in missing]
    elif not usable and named and _answer(api, _path(targets, reads, named[0])) is not None:
        usable = named  # the limit is the service model's; whether it is enforced can be seen
    if not usable:
        raise PreflightError(
            f"{reads.key}: DAG '{reads.dag_id}' has no runs that can be read; trigger it with a "
            f"short run id, or let headroom do so {FEWEST_DAG_RUNS} times with "
            "limits.trigger_dags_to_read = true."
        )
    return tuple(usable), list(_findings(reads.dag_id, listed, named, usable))


def readable_runs(
    api: RestApi, targets: Targets, reads: Reads
) -> tuple[list[str], list[str], list[str]]:
    """Of a DAG's newest runs all, those that a path can name, and those with short paths.

    Raises:
        PreflightError: they cannot be listed.
        EnvironmentAccessError: Airflow was not reached.
    """
    listed = _newest(api, reads)
    named = [run for run in listed if _is_found(api, reads.dag_id, run)]
    usable = [run for run in named if _longest_path(targets, reads, run) <= _most(reads)]
    return listed, named, usable


def _findings(
    dag_id: str, listed: list[str], named: list[str], usable: list[str]
) -> Iterator[Finding]:
    left_out = {
        "not_addressable": len(listed) - len(named),
        "too_long": len({*named} - {*usable}),
    }
    for reason, runs in left_out.items():
        if runs:
            yield warning("preflight.runs_left_out", dag_id=dag_id, runs=runs, reason=reason)
    if len(usable) < FEWEST_DAG_RUNS:
        yield note("preflight.few_runs", dag_id=dag_id, runs=len(usable))


def _newest(api: RestApi, reads: Reads) -> list[str]:
    # Airflow's own order is oldest first; "-id" is newest first in Airflow 2 and 3.
    answer = api.get(dag_runs_path(reads.dag_id), {"limit": MOST_DAG_RUNS, "order_by": "-id"})
    cannot = f"{reads.key}: the runs of DAG '{reads.dag_id}' cannot be listed"
    if not answer.ok:
        raise PreflightError(
            f"{cannot}, Airflow answered {answer.status}; use an Airflow role that may, or leave "
            "what reads them out."
        )
    if not isinstance(answer.get("dag_runs"), list):
        raise PreflightError(
            f"{cannot}: Airflow answered {answer.status} with something else, perhaps a login "
            "page; see what its REST API answers, or leave what reads them out."
        )
    return [run["dag_run_id"] for run in answer.dag_runs]


def _is_found(api: RestApi, dag_id: str, run: str) -> bool:
    if not can_be_addressed(run):
        return False
    if segment(run) == run:
        return True
    # Whether an encoded id comes through is the business of each version, and of what is between.
    answer = _answer(api, dag_run_path(dag_id, run))
    return answer is not None and answer.ok


def _answer(api: RestApi, path: str) -> Answer | None:
    """What Airflow answers; None: the service itself refuses such a path."""
    try:
        return api.get(path)
    except EnvironmentAccessError as exc:
        if is_unanswered(exc):
            raise
        return None


def _longest_path(targets: Targets, reads: Reads, run: str) -> int:
    return len(_path(targets, reads, run))


def _path(targets: Targets, reads: Reads, run: str) -> str:
    """The longest path with which the mix asks for a run."""
    only = replace(targets, dag_run_ids={reads.dag_id: (run,)})
    calls = (build_call(*call, arrival=0, targets=only) for call in reads.calls)
    return max((call.path for call in calls), key=len)


def _most(reads: Reads) -> float:
    return INVOKE_PATH_CHARACTERS if reads.is_limited else float("inf")


def _trigger(api: RestApi, targets: Targets, reads: Reads, index: int, created: Created) -> str:
    run = f"{run_id_prefix(targets.run_id)}s{index}"
    parameters = {"dag_id": reads.dag_id}
    call = build_call("trigger_dag_run", parameters, arrival=index, targets=targets)
    created.add_dag_run(reads.dag_id, run)
    answer = api.send(call.method, call.path, {**(call.body or {}), "dag_run_id": run})
    if not answer.ok:
        raise PreflightError(
            f"{reads.key}: DAG '{reads.dag_id}' has too few runs to read from and cannot be "
            f"triggered, Airflow answered {answer.status}; trigger it {FEWEST_DAG_RUNS} times."
        )
    return run
