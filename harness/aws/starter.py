"""A first scenario for an environment on AWS: only reads, below the throttle, of its own DAGs."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from mwaa_headroom.analysis.mwaa import INVOKE_RATE_PER_S
from mwaa_headroom.harness.aws.cleanup import CALLS_PER_S, Created
from mwaa_headroom.harness.aws.clients import AwsClients, RestApi
from mwaa_headroom.harness.aws.environment import EnvironmentFacts
from mwaa_headroom.harness.aws.runs_to_read import Reads, runs_to_read
from mwaa_headroom.harness.aws.translate import aws_call
from mwaa_headroom.harness.errors import EnvironmentAccessError, PreflightError, UsageError
from mwaa_headroom.harness.traffic.operations import Targets, check_parameters

LOW_PER_S: Final = 2
HIGH_PER_S: Final = 8  # below the throttle, which others call through too
STAGE_S: Final = 480  # eight periods of CloudWatch, so that autoscaling has time to act
WARMUP_S: Final = 60
DAGS_LOOKED_AT: Final = 20
READS_OF_RUNS: Final = ("get_dag_run", "list_task_instances")


@dataclass(frozen=True, slots=True)
class Reachable:
    """What the environment's REST API has to read.

    Attributes:
        dag_id: of a DAG with runs that can be read; None: there is none.
        problem: why the REST API could not be asked; "": it was.
    """

    dag_id: str | None
    problem: str = ""


def only_environment(clients: AwsClients) -> str:
    """The name of the one environment in the region.

    Raises:
        UsageError: there is none, or more than one.
        EnvironmentAccessError: they may not be listed.
    """
    region = clients.mwaa.meta.region_name
    with aws_call("airflow:ListEnvironments", environment="*", client=clients.mwaa):
        pages = clients.mwaa.get_paginator("list_environments").paginate()
        names = [name for page in pages for name in page.get("Environments", [])]
    if len(names) == 1:
        return names[0]
    found = f"has {len(names)}: {', '.join(sorted(names))}" if names else "has none"
    raise UsageError(f"The region {region} {found}; say which environment with --environment.")


def look(clients: AwsClients, facts: EnvironmentFacts) -> Reachable:
    """A DAG whose runs calls can read, unpaused ones first."""
    api = RestApi(clients, facts.name, rate_per_s=CALLS_PER_S)
    try:
        answer = api.get("/dags", {"limit": 100})
        if not answer.ok:
            return Reachable(None, f"Airflow answered {answer.status} when asked for its DAGs")
        listed = answer.get("dags")
        dags = [dag for dag in listed if isinstance(dag, dict)] if isinstance(listed, list) else []
        dags.sort(key=lambda dag: dag.get("is_paused") is True)
        for dag in dags[:DAGS_LOOKED_AT]:
            if _has_runs(api, facts, dag.get("dag_id")):
                return Reachable(dag["dag_id"])
    except EnvironmentAccessError as exc:
        return Reachable(None, str(exc).rstrip("."))
    return Reachable(None)


def _has_runs(api: RestApi, facts: EnvironmentFacts, dag_id: object) -> bool:
    with suppress(ValueError, PreflightError):  # an id that no scenario can hold; no runs
        check_parameters("get_dag_run", {"dag_id": dag_id})
        calls = [(operation, {"dag_id": dag_id}) for operation in READS_OF_RUNS]
        reads = Reads(str(dag_id), "traffic.mix", calls, may_trigger=False, is_limited=True)
        runs_to_read(api, Targets(facts.airflow_version, "init", {}), reads, Created())
        return True
    return False


def starter(facts: EnvironmentFacts, region: str, reachable: Reachable) -> str:
    """The text of the scenario file."""
    fewest, most = facts.recorded.get("MinWebservers"), facts.recorded.get("MaxWebservers")
    environment_class = facts.recorded.get("EnvironmentClass")
    return f"""\
# A first load test of {facts.name}: Airflow {facts.airflow_version}, {environment_class}, \
MinWebservers {fewest}, MaxWebservers {most}.
# It only reads, and stays below the throttle of InvokeRestApi near {INVOKE_RATE_PER_S:g} calls/s, \
which it shares with all
# other callers of the environment. All keys: docs/reference.md.

description = "Reads of {facts.name}, {LOW_PER_S} and {HIGH_PER_S} calls/s."

slo = [                      # what must hold in every stage
    "p95(latency) < 2s",
    "rate(errors) < 1%",
]

[question]
ask = "check"                # does the SLO hold? "capacity" finds the stage that breaks it

[environment]
kind = "aws"
name = {json.dumps(facts.name)}
region = {json.dumps(region)}

[traffic]
arrivals = "poisson"         # at random, whatever the answers take
seed = 1

[traffic.mix]                # weights of calls
{chr(10).join(_mix(reachable))}

# CloudWatch has one value a minute, late: hold every stage for minutes.
{chr(10).join(_stages())}
[recovery]                   # after a stage that broke the SLO: light load until it holds again
hold_s = 60
longest_s = 180

[limits]
max_rate_per_s = {INVOKE_RATE_PER_S:g}          # of all calls in any second
abort_error_rate = 0.2       # of the last calls: the run ends within seconds
# The one environment that this scenario may load:
allow_environment = {json.dumps(facts.arn)}
{_of_production(facts)}"""


def _of_production(facts: EnvironmentFacts) -> str:
    if not facts.production_signs:
        return ""
    return (
        f"# It seems to be for production ({', '.join(facts.production_signs)}). If you may load "
        f"it all the same:\n# confirm_production = {json.dumps(facts.name)}\n"
    )


def _mix(reachable: Reachable) -> Iterator[str]:
    yield "health = 1"
    yield "list_dags = { weight = 1, limit = 50 }"
    if reachable.dag_id is None:
        yield "# No DAG with runs that can be read was found. With one:"
    dag_id = json.dumps(reachable.dag_id or "my_dag", ensure_ascii=False)
    mark = "" if reachable.dag_id else "# "
    yield f"{mark}list_dag_runs = {{ weight = 1, dag_id = {dag_id}, limit = 25 }}"
    for operation in READS_OF_RUNS:
        yield f"{mark}{operation} = {{ weight = 2, dag_id = {dag_id} }}"
    yield "# A DAG that is safe to trigger, each run of which is deleted afterwards:"
    yield '# trigger_dag_run = { weight = 1, dag_id = "my_safe_dag" }'


def _stages() -> Iterator[str]:
    for name, rate_per_s in (("low", LOW_PER_S), ("high", HIGH_PER_S), ("low again", LOW_PER_S)):
        yield "[[stages]]"
        yield f'name = "{name}"'
        yield f"rate_per_s = {rate_per_s}"
        yield f"duration_s = {STAGE_S}"
        yield f"warmup_s = {WARMUP_S}"
        yield ""
