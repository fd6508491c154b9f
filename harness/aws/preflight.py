"""Before any load: is the environment there, may we call it, and has it what the scenario needs?

First everything is only looked at; what is missing is created when all the rest is in order, and
undone again if creating fails halfway.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from mwaa_headroom.analysis.results import Expectation
from mwaa_headroom.harness.aws.cleanup import Created, undo
from mwaa_headroom.harness.aws.clients import Answer, AwsClients, RestApi
from mwaa_headroom.harness.aws.environment import EnvironmentFacts
from mwaa_headroom.harness.aws.translate import is_unanswered
from mwaa_headroom.harness.errors import EnvironmentAccessError, PreflightError
from mwaa_headroom.harness.scenario.model import Expectations, Scenario
from mwaa_headroom.harness.traffic.operations import (
    OPERATIONS,
    Need,
    Targets,
    build_call,
    complete_parameters,
    run_id_prefix,
)

FEWEST_DAG_RUNS = 10  # to read from, so that one hot row is not all that is measured
MOST_DAG_RUNS = 100  # Airflow's largest page
OUR_VARIABLES = "headroom"  # a variable whose key begins so may be overwritten

_USABLE = ("AVAILABLE", "UPDATE_FAILED")  # the latter "is ready to use" in its former state
_ALL_DAGS = "~"
_NOT_FOUND = 404
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
    dags = _uses(scenario, "dag", "dag_id")
    # Without a run to ask for, a call could not even be built: these ask for one that is not there.
    absent = f"{run_id_prefix(run_id)}absent"
    targets = Targets(
        facts.airflow_version, run_id, {use.value: (absent,) for use in dags if use.reads_dag_runs}
    )

    def not_ready(name: str, detail: str) -> PreflightResult:
        """Nothing is created where nothing answers; the load records what its calls meet."""
        unmet = _none_met(scenario.expect, f"not checked: unmet is '{name}'")
        found = Expectation(name, met=False, detail=detail)
        return PreflightResult(targets, (found, *unmet), (), Created())

    if facts.status not in _USABLE:
        if expects_something:
            return not_ready(_AVAILABLE, f"it is {facts.status}")
        raise PreflightError(
            f"Environment '{facts.name}' is {facts.status}; wait until it is AVAILABLE."
        )
    rate_per_s = scenario.limits.max_rate_per_s
    api = RestApi(clients, facts.name, rate_per_s=rate_per_s, clock=clock, sleep=sleep)
    try:
        health = api.get(build_call("health", {}, arrival=0, targets=targets).path)
    except EnvironmentAccessError as exc:
        if expects_something and is_unanswered(exc):
            return not_ready(_ANSWERS, str(exc))
        raise
    if health.status >= 500 and expects_something:
        return not_ready(_ANSWERS, f"the health check answered {health.status}")
    if not health.ok and not expects_something:
        raise PreflightError(_unhealthy(facts, health))

    expectations = tuple(_check_expectations(api, scenario.expect, health))
    usable, unmet = _look_at_dags(api, dags, may_lack=expects_something)
    variables = _uses(scenario, "variable", "key")
    may_trigger = _dags_to_trigger(scenario)
    found_runs, created = _prepare(api, targets, usable, variables, may_trigger)
    return PreflightResult(
        targets=replace(targets, dag_run_ids={**targets.dag_run_ids, **found_runs}),
        expectations=tuple(dict.fromkeys((*expectations, *unmet))),
        notes=_notes(usable),
        created=created,
    )


@dataclass(frozen=True, slots=True)
class _Use:
    """A DAG or variable that one entry of the mix names, or has by default."""

    label: str
    operation: str
    parameter: str
    value: str

    @property
    def key(self) -> str:
        """Where the scenario says so."""
        return f"traffic.mix.{self.label}.{self.parameter}"

    @property
    def reads_dag_runs(self) -> bool:
        return "dag_runs" in OPERATIONS[self.operation].needs


def _uses(scenario: Scenario, need: Need, parameter: str) -> tuple[_Use, ...]:
    uses = (
        _Use(label, one.operation, parameter, complete[parameter])
        for label, one in scenario.traffic.mix.items()
        if need in OPERATIONS[one.operation].needs
        for complete in [complete_parameters(one.operation, one.parameters)]
    )
    return tuple(use for use in uses if use.value != _ALL_DAGS)


def _dags_to_trigger(scenario: Scenario) -> frozenset[str]:
    """DAGs that may be triggered for runs to read from: not those that are somebody's work."""
    reads_may_trigger = scenario.environment.kind != "aws" or scenario.limits.trigger_dags_to_read
    return frozenset(
        use.value
        for use in _uses(scenario, "dag", "dag_id")
        if reads_may_trigger or use.operation == "trigger_dag_run"
    )


def _check_expectations(
    api: RestApi, expect: Expectations, health: Answer
) -> Iterator[Expectation]:
    for component in expect.healthy_components:
        yield _expect_component(component, health)
    for dag_id in expect.dags:
        yield _expect_dag(dag_id, api.get(f"/dags/{dag_id}"))


def _none_met(expect: Expectations, detail: str) -> Iterator[Expectation]:
    for component in expect.healthy_components:
        yield Expectation(f"{component} is healthy", met=False, detail=detail)
    for dag_id in expect.dags:
        yield Expectation(f"DAG {dag_id}", met=False, detail=detail)


def _expect_component(component: str, health: Answer) -> Expectation:
    name = f"{component} is healthy"
    if not health.ok:
        return Expectation(name, met=False, detail=f"the health check answered {health.status}")
    reported = health.get(component)
    status = reported.get("status") if isinstance(reported, dict) else None
    return Expectation(name, met=status == "healthy", detail=str(status or "not reported"))


def _expect_dag(dag_id: str, answer: Answer) -> Expectation:
    """Whether `GET /dags/{dag_id}` answered with a DAG that can run."""
    problem = None
    if answer.status == 404:
        problem = f"the environment has no DAG '{dag_id}'"
    elif not answer.ok:
        problem = f"Airflow answered {answer.status}"
    # Airflow 3 says is_stale, Airflow 2 says is_active.
    elif answer.get("is_stale") is True or answer.get("is_active") is False:
        problem = f"DAG '{dag_id}' is stale: its file is gone or no longer parsed"
    elif answer.get("has_import_errors") is True:
        problem = f"DAG '{dag_id}' has import errors"
    detail = problem or ("paused" if answer.get("is_paused") else "active")
    return Expectation(f"DAG {dag_id}", met=problem is None, detail=detail)


def _look_at_dags(
    api: RestApi, uses: tuple[_Use, ...], *, may_lack: bool
) -> tuple[dict[_Use, Answer], list[Expectation]]:
    """What was answered for DAGs that can run, and what was found of the others."""
    answers = {dag_id: api.get(f"/dags/{dag_id}") for dag_id in {use.value: None for use in uses}}
    usable: dict[_Use, Answer] = {}
    unmet = []
    for use in uses:
        found = _expect_dag(use.value, answers[use.value])
        if found.met:
            usable[use] = answers[use.value]
        elif may_lack:
            unmet.append(found)
        else:
            raise PreflightError(
                f"{use.key}: {found.detail}; deploy DAG '{use.value}' or name another one."
            )
    return usable, unmet


def _prepare(
    api: RestApi,
    targets: Targets,
    usable: dict[_Use, Answer],
    variables: tuple[_Use, ...],
    may_trigger: frozenset[str],
) -> tuple[dict[str, tuple[str, ...]], Created]:
    created = Created()
    dag_run_ids: dict[str, tuple[str, ...]] = {}
    try:
        for variable in variables:
            _provide_variable(api, variable, created)
        for use, answer in usable.items():
            if use.operation in ("pause_dag", "unpause_dag"):
                created.paused[use.value] = bool(answer.get("is_paused"))
            if use.reads_dag_runs and use.value not in dag_run_ids:
                wanted = FEWEST_DAG_RUNS if use.value in may_trigger else 0
                dag_run_ids[use.value] = _provide_dag_runs(api, targets, use, wanted, created)
    except BaseException:  # Ctrl-C too: nobody else knows yet what has been created
        undo(api, created, targets.run_id)
        raise
    return dag_run_ids, created


def _provide_variable(api: RestApi, use: _Use, created: Created) -> None:
    if use.value in created.variables:
        return
    found = api.get(f"/variables/{use.value}")
    if found.ok and not use.value.startswith(OUR_VARIABLES):
        raise PreflightError(
            f"{use.key}: the variable '{use.value}' exists and would be overwritten; choose "
            f"a key that begins with '{OUR_VARIABLES}'."
        )
    if found.ok:
        return
    # Airflow 2 overwrites whatever a POST finds, so only what is surely absent may be created.
    if found.status != _NOT_FOUND:
        raise PreflightError(
            f"{use.key}: whether there is a variable '{use.value}' cannot be told, Airflow "
            f"answered {found.status}; use an Airflow role that may read it, or leave "
            f"'{use.label}' out."
        )
    made = api.send("POST", "/variables", {"key": use.value, "value": "headroom"})
    if not made.ok:
        raise PreflightError(
            f"{use.key}: the variable '{use.value}' cannot be created, Airflow answered "
            f"{made.status}; use an Airflow role that may, or leave '{use.label}' out."
        )
    created.variables = (*created.variables, use.value)


def _provide_dag_runs(
    api: RestApi, targets: Targets, use: _Use, wanted: int, created: Created
) -> tuple[str, ...]:
    """The newest runs of the DAG, which is triggered until there are as many as wanted."""
    # Airflow's own order is oldest first; "-id" is newest first in Airflow 2 and 3.
    query = {"limit": MOST_DAG_RUNS, "order_by": "-id"}
    answer = api.get(f"/dags/{use.value}/dagRuns", query)
    if not answer.ok:
        raise PreflightError(
            f"{use.key}: the runs of DAG '{use.value}' cannot be listed, Airflow answered "
            f"{answer.status}; use an Airflow role that may, or leave '{use.label}' out."
        )
    found = tuple(run["dag_run_id"] for run in answer.dag_runs)
    if not found and not wanted:
        raise PreflightError(
            f"{use.key}: DAG '{use.value}' has no runs to read; trigger it, or let headroom do so "
            f"{FEWEST_DAG_RUNS} times with limits.trigger_dags_to_read = true."
        )
    for index in range(wanted - len(found)):
        found = (*found, _trigger(api, targets, use, index, created))
    return found


def _trigger(api: RestApi, targets: Targets, use: _Use, index: int, created: Created) -> str:
    dag_run_id = f"{run_id_prefix(targets.run_id)}seed{index}"
    call = build_call("trigger_dag_run", {"dag_id": use.value}, arrival=index, targets=targets)
    # Remembered before it is sent: a call that fails on our side may still have arrived.
    created.dag_runs[use.value] = (*created.dag_runs.get(use.value, ()), dag_run_id)
    answer = api.send(call.method, call.path, {**(call.body or {}), "dag_run_id": dag_run_id})
    if not answer.ok:
        raise PreflightError(
            f"{use.key}: DAG '{use.value}' has too few runs to read from and cannot be "
            f"triggered, Airflow answered {answer.status}; trigger it {FEWEST_DAG_RUNS} times."
        )
    return dag_run_id


def _notes(usable: dict[_Use, Answer]) -> tuple[str, ...]:
    paused = {
        use.value: None
        for use, answer in usable.items()
        if use.operation == "trigger_dag_run" and answer.get("is_paused") is True
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
