"""Before any load: is the environment there, may we call it, and has it what the scenario needs?

First everything is only looked at; what is missing is created when all the rest is in order. What
was created is known to the caller at any moment, who undoes it, also if creating fails halfway.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from mwaa_headroom.analysis.findings import Finding, note, warning
from mwaa_headroom.analysis.mwaa import INVOKE_PATH_CHARACTERS
from mwaa_headroom.analysis.results import Expectation
from mwaa_headroom.harness.aws.cleanup import Created, dags_triggered
from mwaa_headroom.harness.aws.clients import Answer, AwsClients, RestApi
from mwaa_headroom.harness.aws.environment import EnvironmentFacts
from mwaa_headroom.harness.aws.runs_to_read import MOST_DAG_RUNS, Reads, runs_to_read
from mwaa_headroom.harness.aws.translate import is_unanswered
from mwaa_headroom.harness.errors import EnvironmentAccessError, HeadroomError, PreflightError
from mwaa_headroom.harness.scenario.model import Expectations, Scenario
from mwaa_headroom.harness.traffic.operations import (
    ALL_DAGS,
    OPERATIONS,
    Need,
    RestCall,
    Targets,
    build_call,
    complete_parameters,
    dag_path,
    dag_run_path,
    run_id_prefix,
    variable_path,
)
from mwaa_headroom.harness.traffic.rate_cap import spaced_stages

MOST_CALLS = 10**9 - 1  # of one run: the longest number in the id of a DAG run
OUR_VARIABLES = "headroom"  # a variable whose key begins so may be overwritten

USABLE = ("AVAILABLE", "UPDATE_FAILED")  # the latter "is ready to use" in its former state
_NOT_FOUND = 404
_REFUSED = (401, 403)
_HIDDEN = "***"  # what Airflow 3 shows instead of a value that looks like a secret
_AVAILABLE = "environment is AVAILABLE"
_ANSWERS = "REST API answers"


@dataclass(frozen=True, slots=True)
class PreflightResult:
    """What the run needs to know before it starts."""

    targets: Targets
    expectations: tuple[Expectation, ...]
    findings: tuple[Finding, ...] = ()

    def events(self) -> Iterator[tuple[str, dict[str, object]]]:
        """Kind and fields of what the record keeps of it."""
        for each in self.expectations:
            yield "expectation", {"name": each.name, "met": each.met, "detail": each.detail}
        for finding in self.findings:
            yield "found", {"finding": asdict(finding)}


def preflight(
    clients: AwsClients,
    scenario: Scenario,
    facts: EnvironmentFacts,
    run_id: str,
    created: Created,
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
        run_id: of this run; decides the id of every DAG run triggered.
        created: gets everything that is created or that the load may change, before it is.
        clock: seconds on any scale.
        sleep: waits for the next turn.

    Raises:
        PreflightError: names the scenario's key and what is missing.
        EnvironmentAccessError: InvokeRestApi is not permitted, or nothing answers.
    """
    expects_something = bool(scenario.expect.dags or scenario.expect.healthy_components)
    dags = uses(scenario, "dag", "dag_id")
    targets = targets_before(scenario, facts.airflow_version, run_id)

    def not_ready(name: str, detail: str) -> PreflightResult:
        """Nothing is created where nothing answers; the load records what its calls meet."""
        unmet = _none_met(scenario.expect, f"not checked: unmet is '{name}'")
        found = Expectation(name, met=False, detail=detail)
        return PreflightResult(targets, (found, *unmet))

    if facts.status not in USABLE:
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
        raise PreflightError(unhealthy(facts, health))

    expectations = tuple(check_expectations(api, scenario.expect, health))
    usable, unmet = _look_at_dags(api, dags, may_lack=expects_something)
    findings = [
        *_unwatched(scenario, health),
        *_paused_dags(usable),
        *ask_reads(api, scenario, targets, health),
    ]
    found_runs, told = _prepare(api, scenario, targets, usable, created)
    targets = replace(targets, dag_run_ids={**targets.dag_run_ids, **found_runs})
    return PreflightResult(
        targets=targets,
        expectations=tuple(dict.fromkeys((*expectations, *unmet))),
        findings=(
            *findings,
            *told,
            *long_paths(scenario, targets),
            *spaced_stages(scenario),
        ),
    )


@dataclass(frozen=True, slots=True)
class Use:
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
        """Whether its calls ask for runs of that DAG."""
        return "dag_runs" in OPERATIONS[self.operation].needs


def uses(scenario: Scenario, need: Need, parameter: str) -> tuple[Use, ...]:
    """What the mix names of one sort, by `parameter` of operations that need it."""
    uses = (
        Use(label, one.operation, parameter, complete[parameter])
        for label, one in scenario.traffic.mix.items()
        if need in OPERATIONS[one.operation].needs
        for complete in [complete_parameters(one.operation, one.parameters)]
    )
    return tuple(use for use in uses if use.value != ALL_DAGS)


def targets_before(scenario: Scenario, airflow_version: str, run_id: str) -> Targets:
    """Targets while no DAG run is known; those that calls ask for are not there.

    Without a run to ask for, a call could not even be built.
    """
    absent = (f"{run_id_prefix(run_id)}x",)  # short, as our own ids
    read = (use.value for use in uses(scenario, "dag", "dag_id") if use.reads_dag_runs)
    return Targets(airflow_version, run_id, dict.fromkeys(read, absent))


def _prepare(
    api: RestApi,
    scenario: Scenario,
    targets: Targets,
    usable: dict[Use, Answer],
    created: Created,
) -> tuple[dict[str, tuple[str, ...]], list[Finding]]:
    """Create what is missing; per DAG, the runs to read, and what is worth knowing of them."""
    for use in uses(scenario, "variable", "key"):
        _provide_variable(api, use, created)
    for use, answer in usable.items():
        if use.operation in ("pause_dag", "unpause_dag") and use.value not in created.paused:
            created.add_paused(use.value, bool(answer.get("is_paused")))
    found_runs: dict[str, tuple[str, ...]] = {}
    findings: list[Finding] = []
    for reads in reads_of(scenario, usable):
        found_runs[reads.dag_id], told = runs_to_read(api, targets, reads, created)
        findings += told
    return found_runs, findings


def reads_of(scenario: Scenario, usable: Iterable[Use]) -> Iterator[Reads]:
    """Per DAG whose runs are read; one that the mix does not trigger is somebody's work."""
    mix = scenario.traffic.mix
    everything = scenario.environment.kind != "aws" or scenario.limits.trigger_dags_to_read
    triggered = dags_triggered(scenario)
    reading: dict[str, list[Use]] = {}
    for use in usable:
        if use.reads_dag_runs:
            reading.setdefault(use.value, []).append(use)
    for dag_id, uses in reading.items():
        yield Reads(
            dag_id,
            uses[0].key,
            [(use.operation, mix[use.label].parameters) for use in uses],
            may_trigger=everything or dag_id in triggered,
            is_limited=scenario.traffic.transport != "web_token",
        )


def long_paths(scenario: Scenario, targets: Targets) -> Iterator[Finding]:
    """Entries of the mix with a path that InvokeRestApi may refuse, each with its longest."""
    if scenario.traffic.transport == "web_token":
        return
    for label, choice in scenario.traffic.mix.items():
        complete = complete_parameters(choice.operation, choice.parameters)
        dag_id = complete.get("dag_id", "")
        runs = targets.dag_run_ids.get(dag_id, ("",))
        each = (replace(targets, dag_run_ids={dag_id: (run,)}) for run in runs)
        paths = [build_call(choice.operation, complete, arrival=0, targets=t).path for t in each]
        if choice.operation == "trigger_dag_run":  # by this path it is deleted again
            paths.append(dag_run_path(dag_id, f"{run_id_prefix(targets.run_id)}{MOST_CALLS}"))
        longest = max(map(len, paths))
        if longest > INVOKE_PATH_CHARACTERS:
            yield warning("preflight.long_path", label=label, characters=longest)


def ask_reads(
    api: RestApi, scenario: Scenario, targets: Targets, health: Answer
) -> Iterator[Finding]:
    """Each read of the mix once; lists that are answered with fewer entries than there are.

    What else a read meets is for the load to record. Which DAG run it asks for does not matter:
    Airflow looks at permissions first.

    Raises:
        PreflightError: the Airflow role forbids some.
    """
    asked: dict[str, Answer | None] = {}
    forbidden = []
    for label, choice in scenario.traffic.mix.items():
        call = build_call(choice.operation, choice.parameters, arrival=0, targets=targets)
        if call.method != "GET":
            continue
        if choice.operation == "health":
            asked[str(call)] = health
        if str(call) not in asked:
            asked[str(call)] = _answer_if_any(api, call)
        answer = asked[str(call)]
        if answer is None:
            continue
        if answer.status in _REFUSED:
            forbidden.append(f"{label} ({answer.status})")
        limit = (call.query or {}).get("limit", 0)
        entries = _entries(answer, limit) if limit > MOST_DAG_RUNS else None
        if entries is not None:
            yield warning("preflight.page_capped", label=label, limit=limit, answered=entries)
    if forbidden:
        raise PreflightError(
            f"traffic.mix: the Airflow role of these credentials forbids {', '.join(forbidden)}; "
            "use one that may read them, or leave them out."
        )


def _answer_if_any(api: RestApi, call: RestCall) -> Answer | None:
    with suppress(HeadroomError):  # too slow, too large or refused, as it may be under load
        return api.get(call.path, call.query)
    return None


def _entries(answer: Answer, limit: int) -> int | None:
    """How many entries a list was answered with; None: as many as were asked for, or are there."""
    total = answer.get("total_entries")
    lists = [part for part in (answer.body or {}).values() if isinstance(part, list)]
    if not answer.ok or not isinstance(total, int) or len(lists) != 1:
        return None
    return len(lists[0]) if len(lists[0]) < min(limit, total) else None


def check_expectations(api: RestApi, expect: Expectations, health: Answer) -> Iterator[Expectation]:
    """Of what a scenario expects of its environment, what is there."""
    for component in expect.healthy_components:
        yield _expect_component(component, health)
    for dag_id in expect.dags:
        yield expect_dag(dag_id, api.get(dag_path(dag_id)))


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


def expect_dag(dag_id: str, answer: Answer) -> Expectation:
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
    api: RestApi, uses: tuple[Use, ...], *, may_lack: bool
) -> tuple[dict[Use, Answer], list[Expectation]]:
    """What was answered for DAGs that can run, and what was found of the others."""
    answers = {dag_id: api.get(dag_path(dag_id)) for dag_id in {use.value: None for use in uses}}
    usable: dict[Use, Answer] = {}
    unmet = []
    for use in uses:
        found = expect_dag(use.value, answers[use.value])
        if found.met:
            usable[use] = answers[use.value]
        elif may_lack:
            unmet.append(found)
        else:
            todo = remedy(answers[use.value].status, use)
            raise PreflightError(f"{use.key}: {found.detail}; {todo}.")
    return usable, unmet


def remedy(status: int, use: Use) -> str:
    """What to do about a DAG of which Airflow answered so, as the end of a sentence."""
    if status in _REFUSED:
        return f"use an Airflow role that may read DAG '{use.value}', or leave '{use.label}' out"
    if status >= 500:
        return "see what keeps Airflow from answering, then try again"
    return f"deploy DAG '{use.value}' or name another one"


def _provide_variable(api: RestApi, use: Use, created: Created) -> None:
    if use.value in created.variables:
        return
    value = former_value(api, use)
    created.add_variable(use.value, value)
    if value is not None:
        return
    made = api.send("POST", "/variables", {"key": use.value, "value": "headroom"})
    if not made.ok:
        if made.status < 500:
            del created.variables[use.value]
        raise PreflightError(
            f"{use.key}: the variable '{use.value}' cannot be created, Airflow answered "
            f"{made.status}; use an Airflow role that may, or leave '{use.label}' out."
        )


def former_value(api: RestApi, use: Use) -> str | None:
    """Of a variable that the load overwrites, to give back afterwards; None: there is none.

    Raises:
        PreflightError: it may not be overwritten, or whether there is one cannot be told.
    """
    found = api.get(variable_path(use.value))
    if found.ok:
        return _value_to_give_back(use, found)
    # Airflow 2 overwrites whatever a POST finds, so only what is surely absent may be created.
    if found.status != _NOT_FOUND:
        raise PreflightError(
            f"{use.key}: whether there is a variable '{use.value}' cannot be told, Airflow "
            f"answered {found.status}; use an Airflow role that may read it, or leave "
            f"'{use.label}' out."
        )
    return None


def _value_to_give_back(use: Use, found: Answer) -> str:
    value = found.get("value")
    if not use.value.startswith(OUR_VARIABLES):
        problem = "exists and would be overwritten"
    elif not isinstance(value, str) or value == _HIDDEN:
        problem = "exists with a value that Airflow does not show and that would be lost"
    else:
        return value
    raise PreflightError(
        f"{use.key}: the variable '{use.value}' {problem}; choose a key that begins with "
        f"'{OUR_VARIABLES}' and is not taken."
    )


def _unwatched(scenario: Scenario, health: Answer) -> Iterator[Finding]:
    """Components that are ill before any load, so that falling ill cannot end it."""
    if scenario.environment.kind != "aws":
        return
    told = {each: health.get(each) for each in scenario.limits.abort_unhealthy}
    ill = [k for k, v in told.items() if isinstance(v, dict) and v.get("status") == "unhealthy"]
    if ill:
        yield warning("preflight.unwatched", components=tuple(ill))


def _paused_dags(usable: dict[Use, Answer]) -> list[Finding]:
    paused = {
        use.value: None
        for use, answer in usable.items()
        if use.operation == "trigger_dag_run" and answer.get("is_paused") is True
    }
    return [note("preflight.dag_paused", dag_id=dag_id) for dag_id in paused]


def unhealthy(facts: EnvironmentFacts, health: Answer) -> str:
    """What a health check that was not answered well means, as a sentence."""
    if health.status in _REFUSED:
        return (
            f"Airflow refuses these credentials with {health.status}; let their IAM policy name an "
            "Airflow role that may read."
        )
    return (
        f"Airflow {facts.airflow_version} in '{facts.name}' answers its health check with "
        f"{health.status}; repair it before loading it."
    )
