"""Before any load: is the environment there, may we call it, and has it what the scenario needs?

First everything is only looked at; what is missing is created when all the rest is in order, and
undone again if creating fails halfway.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mwaa_headroom.analysis.results import Expectation
from mwaa_headroom.harness.aws.cleanup import (
    Created,
    DagUse,
    VariableUse,
    dag_uses,
    run_id_prefix,
    undo,
    variable_uses,
)
from mwaa_headroom.harness.aws.clients import Answer, AwsClients, RestApi
from mwaa_headroom.harness.aws.environment import EnvironmentFacts
from mwaa_headroom.harness.aws.translate import is_unanswered
from mwaa_headroom.harness.errors import EnvironmentAccessError, PreflightError
from mwaa_headroom.harness.scenario.model import Expectations, Scenario
from mwaa_headroom.harness.traffic.operations import Targets


def health_path(airflow_version: str) -> str:
    """Where Airflow tells its components' health."""
    return "/health" if airflow_version.startswith("2.") else "/monitor/health"


def check_expectations(api: RestApi, expect: Expectations, health: Answer) -> Iterator[Expectation]:
    """Judge every expectation.

    Args:
        api: of the environment.
        expect: what the scenario expects.
        health: the answer of `health_path`.
    """
    for component in expect.healthy_components:
        yield _expect_component(component, health)
    for dag_id in expect.dags:
        yield expect_dag(dag_id, api.get(f"/dags/{dag_id}"))


def expect_nothing_met(expect: Expectations, detail: str) -> Iterator[Expectation]:
    """Every expectation, unmet for one reason."""
    for component in expect.healthy_components:
        yield Expectation(_component_name(component), met=False, detail=detail)
    for dag_id in expect.dags:
        yield Expectation(_dag_name(dag_id), met=False, detail=detail)


def expect_dag(dag_id: str, answer: Answer) -> Expectation:
    """Whether `GET /dags/{dag_id}` answered with a DAG that can run."""
    name = _dag_name(dag_id)
    if answer.status == 404:
        return Expectation(name, met=False, detail=f"the environment has no DAG '{dag_id}'")
    if not answer.ok:
        return Expectation(name, met=False, detail=f"Airflow answered {answer.status}")
    # Airflow 3 says is_stale, Airflow 2 says is_active.
    if answer.get("is_stale") is True or answer.get("is_active") is False:
        detail = f"DAG '{dag_id}' is stale: its file is gone or no longer parsed"
        return Expectation(name, met=False, detail=detail)
    if answer.get("has_import_errors") is True:
        return Expectation(name, met=False, detail=f"DAG '{dag_id}' has import errors")
    return Expectation(name, met=True, detail="paused" if answer.get("is_paused") else "active")


def _expect_component(component: str, health: Answer) -> Expectation:
    name = _component_name(component)
    if not health.ok:
        detail = f"the health check answered {health.status}"
        return Expectation(name, met=False, detail=detail)
    reported = health.get(component)
    status = reported.get("status") if isinstance(reported, dict) else None
    return Expectation(name, met=status == "healthy", detail=str(status or "not reported"))


def _component_name(component: str) -> str:
    return f"{component} is healthy"


def _dag_name(dag_id: str) -> str:
    return f"DAG {dag_id}"


FEWEST_DAG_RUNS = 10  # to read from, so that one hot row is not all that is measured
MOST_DAG_RUNS = 100  # Airflow's largest page
OUR_VARIABLES = "headroom"  # a variable whose key begins so may be overwritten


class Seeding:
    """Finds things, or creates them; `created` tells what came of it, even after an error."""

    def __init__(self, api: RestApi, airflow_version: str, run_id: str) -> None:
        self._api = api
        self._airflow_version = airflow_version
        self._run_id = run_id
        self._created_runs: dict[str, tuple[str, ...]] = {}
        self._created_variables: dict[str, None] = {}
        self._paused: dict[str, bool] = {}
        self.dag_run_ids: dict[str, tuple[str, ...]] = {}

    def created(self) -> Created:
        """What was created, and the states remembered, so far."""
        return Created(dict(self._created_runs), tuple(self._created_variables), dict(self._paused))

    def remember_paused(self, dag_id: str, *, is_paused: bool) -> None:
        """Keep the state that cleaning up brings back."""
        self._paused[dag_id] = is_paused

    def provide_variable(self, use: VariableUse) -> None:
        """Create the variable unless it is there already.

        Raises:
            PreflightError: it is there and not ours, or cannot be created.
        """
        if use.variable in self._created_variables:
            return
        found = self._api.get(f"/variables/{use.variable}")
        if found.ok and not use.variable.startswith(OUR_VARIABLES):
            raise PreflightError(
                f"{use.key}: the variable '{use.variable}' exists and would be overwritten; choose "
                f"a key that begins with '{OUR_VARIABLES}'."
            )
        if found.ok:
            return
        made = self._api.send("POST", "/variables", {"key": use.variable, "value": "headroom"})
        if not made.ok:
            raise PreflightError(
                f"{use.key}: the variable '{use.variable}' cannot be created, Airflow answered "
                f"{made.status}; use an Airflow role that may, or leave '{use.label}' out."
            )
        self._created_variables[use.variable] = None

    def provide_dag_runs(self, use: DagUse) -> None:
        """Find the newest runs of the DAG, and trigger it until there are enough to read from.

        Raises:
            PreflightError: they cannot be listed, or the DAG cannot be triggered.
        """
        if use.dag_id in self.dag_run_ids:
            return
        found = self._newest_runs(use)
        for index in range(FEWEST_DAG_RUNS - len(found)):
            found = (*found, self._trigger(use, index))
        self.dag_run_ids[use.dag_id] = found

    def _newest_runs(self, use: DagUse) -> tuple[str, ...]:
        # Airflow's own order is oldest first; "-id" is newest first in Airflow 2 and 3.
        query = {"limit": MOST_DAG_RUNS, "order_by": "-id"}
        answer = self._api.get(f"/dags/{use.dag_id}/dagRuns", query)
        if not answer.ok:
            raise PreflightError(
                f"{use.key}: the runs of DAG '{use.dag_id}' cannot be listed, Airflow answered "
                f"{answer.status}; use an Airflow role that may, or leave '{use.label}' out."
            )
        return tuple(run["dag_run_id"] for run in answer.get("dag_runs") or ())

    def _trigger(self, use: DagUse, index: int) -> str:
        dag_run_id = f"{run_id_prefix(self._run_id)}seed{index}"
        body: dict[str, object] = {"dag_run_id": dag_run_id, "conf": {}}
        if not self._airflow_version.startswith("2."):
            body["logical_date"] = None  # required in Airflow 3, and null never collides
        # Remembered before it is sent: a call that fails on our side may still have arrived.
        self._created_runs[use.dag_id] = (*self._created_runs.get(use.dag_id, ()), dag_run_id)
        answer = self._api.send("POST", f"/dags/{use.dag_id}/dagRuns", body)
        if not answer.ok:
            raise PreflightError(
                f"{use.key}: DAG '{use.dag_id}' has too few runs to read from and cannot be "
                f"triggered, Airflow answered {answer.status}; trigger it {FEWEST_DAG_RUNS} times."
            )
        return dag_run_id


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
