"""Before any load: is the environment there, may we call it, and has it what the scenario needs?

First everything is only looked at; what is missing is created when all the rest is in order, and
undone again if creating fails halfway.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from analysis.results import Expectation
from harness.aws.cleanup import undo
from harness.aws.clients import AwsClients
from harness.aws.created import Created, run_id_prefix
from harness.aws.environment import EnvironmentFacts
from harness.aws.expectations import (
    check_expectations,
    expect_dag,
    expect_nothing_met,
    health_path,
)
from harness.aws.mix_needs import DagUse, VariableUse, dag_uses, variable_uses
from harness.aws.rest_api import Answer, RestApi
from harness.aws.seeding import Seeding
from harness.aws.translate import is_unanswered
from harness.errors import EnvironmentAccessError, PreflightError
from harness.scenario.model import Scenario
from harness.traffic.targets import Targets

_USABLE = ("AVAILABLE", "UPDATE_FAILED")  # the latter "is ready to use" in its former state

_AVAILABLE = "environment is AVAILABLE"
_ANSWERS = "REST API answers"


@dataclass(frozen=True, slots=True)
class PreflightResult:
    """What the run needs to know before it starts."""

    targets: Targets
    expectations: tuple[Expectation, ...]
    notes: tuple[str, ...]
    created: Created


def preflight(
    clients: AwsClients,
    scenario: Scenario,
    facts: EnvironmentFacts,
    run_id: str,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> PreflightResult:
    """Check the environment and prepare what the mix reads.

    A scenario that expects something of the environment (`scenario.expect`) gets unmet expectations
    where another one gets an error about a missing DAG, ill health, an environment that is not
    available or a webserver that does not answer; of the latter two nothing more is asked.

    Args:
        clients: see `make_clients`.
        scenario: what is going to run; its `limits.max_rate_per_s` holds here too.
        facts: of the environment, just read.
        run_id: of this run; part of the id of everything created.
        clock: seconds on any scale.
        sleep: waits for the next turn.

    Raises:
        PreflightError: names the scenario's key and what is missing.
        EnvironmentAccessError: InvokeRestApi is not permitted, or nothing answers.
    """
    expects_something = bool(scenario.expect.dags or scenario.expect.healthy_components)
    if facts.status not in _USABLE:
        if expects_something:
            return _not_ready(scenario, facts, run_id, _AVAILABLE, f"it is {facts.status}")
        raise PreflightError(
            f"Environment '{facts.name}' is {facts.status}; wait until it is AVAILABLE."
        )
    rate_per_s = scenario.limits.max_rate_per_s
    api = RestApi(clients, facts.name, rate_per_s=rate_per_s, clock=clock, sleep=sleep)

    try:
        health = api.get(health_path(facts.airflow_version))
    except EnvironmentAccessError as exc:
        if expects_something and is_unanswered(exc):
            return _not_ready(scenario, facts, run_id, _ANSWERS, str(exc))
        raise
    if health.status >= 500 and expects_something:
        detail = f"the health check answered {health.status}"
        return _not_ready(scenario, facts, run_id, _ANSWERS, detail)
    if not health.ok and not expects_something:
        raise PreflightError(_unhealthy(facts, health))
    expectations = tuple(check_expectations(api, scenario.expect, health))

    usable, unmet = _look_at_dags(api, dag_uses(scenario), may_lack=expects_something)
    found_runs, created = _prepare(api, facts, run_id, usable, variable_uses(scenario))
    dag_run_ids = {**_absent_runs(scenario, run_id), **found_runs}
    return PreflightResult(
        targets=Targets(facts.airflow_version, run_id, dag_run_ids),
        expectations=tuple(dict.fromkeys((*expectations, *unmet))),
        notes=_notes(usable),
        created=created,
    )


def _not_ready(
    scenario: Scenario, facts: EnvironmentFacts, run_id: str, name: str, detail: str
) -> PreflightResult:
    """Nothing is created where nothing answers; the load then records what its calls meet."""
    return PreflightResult(
        targets=Targets(facts.airflow_version, run_id, _absent_runs(scenario, run_id)),
        expectations=(
            Expectation(name, met=False, detail=detail),
            *expect_nothing_met(scenario.expect, f"not checked: unmet is '{name}'"),
        ),
        notes=(),
        created=Created(),
    )


def _absent_runs(scenario: Scenario, run_id: str) -> dict[str, tuple[str, ...]]:
    """Without a run to ask for, a call could not even be built: these ask for one that is not."""
    absent = (f"{run_id_prefix(run_id)}absent",)
    return {use.dag_id: absent for use in dag_uses(scenario) if use.reads_dag_runs}


def _look_at_dags(
    api: RestApi, uses: tuple[DagUse, ...], *, may_lack: bool
) -> tuple[dict[DagUse, Answer], list[Expectation]]:
    """What was answered for DAGs that can run, and what was found of the others."""
    answers = {dag_id: api.get(f"/dags/{dag_id}") for dag_id in {use.dag_id: None for use in uses}}
    usable: dict[DagUse, Answer] = {}
    unmet = []
    for use in uses:
        found = expect_dag(use.dag_id, answers[use.dag_id])
        if found.met:
            usable[use] = answers[use.dag_id]
        elif may_lack:
            unmet.append(found)
        else:
            raise PreflightError(
                f"{use.key}: {found.detail}; deploy DAG '{use.dag_id}' or name another one."
            )
    return usable, unmet


def _prepare(
    api: RestApi,
    facts: EnvironmentFacts,
    run_id: str,
    usable: dict[DagUse, Answer],
    variables: tuple[VariableUse, ...],
) -> tuple[dict[str, tuple[str, ...]], Created]:
    seeding = Seeding(api, facts.airflow_version, run_id)
    try:
        for variable in variables:
            seeding.provide_variable(variable)
        for use, answer in usable.items():
            if use.changes_paused:
                seeding.remember_paused(use.dag_id, is_paused=bool(answer.get("is_paused")))
            if use.reads_dag_runs:
                seeding.provide_dag_runs(use)
    except BaseException:  # Ctrl-C too: nobody else knows yet what has been created
        undo(api, seeding.created(), run_id)
        raise
    return seeding.dag_run_ids, seeding.created()


def _notes(usable: dict[DagUse, Answer]) -> tuple[str, ...]:
    paused = {
        use.dag_id: None
        for use, answer in usable.items()
        if use.triggers and answer.get("is_paused") is True
    }
    return tuple(f"DAG '{dag_id}' is paused: the runs triggered stay queued." for dag_id in paused)


def _unhealthy(facts: EnvironmentFacts, health: Answer) -> str:
    if health.status in (401, 403):
        return (
            f"Airflow refuses these credentials with {health.status}; let their IAM policy name an "
            "Airflow role that may read."
        )
    return (
        f"Airflow {facts.airflow_version} in '{facts.name}' answers its health check with "
        f"{health.status}; repair it before loading it."
    )
