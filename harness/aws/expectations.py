"""The post-deployment check: what a scenario expects, met or not, never an error."""

from collections.abc import Iterator

from analysis.results import Expectation
from harness.aws.rest_api import Answer, RestApi
from harness.scenario.model import Expectations


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
