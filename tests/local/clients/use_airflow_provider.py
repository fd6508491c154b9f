"""What Airflow's own provider does with an environment, deferred and through a web login too."""

import asyncio
import json
import sys
from typing import Any

from airflow.providers.amazon.aws.hooks.mwaa import MwaaHook
from airflow.providers.amazon.aws.operators.mwaa import MwaaTriggerDagRunOperator
from airflow.providers.amazon.aws.sensors.mwaa import MwaaDagRunSensor, MwaaTaskSensor
from airflow.providers.amazon.aws.triggers.mwaa import MwaaDagRunCompletedTrigger

NAME, DAG = sys.argv[1], "headroom_example"
ANY_STATE = ["queued", "scheduled", "running", "success", None]
hook = MwaaHook(aws_conn_id=None)
triggered = MwaaTriggerDagRunOperator(
    task_id="trigger",
    env_name=NAME,
    trigger_dag_id=DAG,
    trigger_run_id="provider",  # Airflow's own would make the task's path too long
    logical_date="2026-01-01T00:00:00Z",
    aws_conn_id=None,
).execute({})
run_id = triggered["RestApiResponse"]["dag_run_id"]
path = f"/dags/{DAG}/dagRuns/{run_id}/taskInstances"
tasks = hook.invoke_rest_api(NAME, path, "GET")["RestApiResponse"]["task_instances"]
where: dict[str, Any] = {
    "external_env_name": NAME,
    "external_dag_id": DAG,
    "external_dag_run_id": run_id,
    "success_states": ANY_STATE,
    "aws_conn_id": None,
}


async def deferred() -> str:
    """Through aiobotocore."""
    trigger = MwaaDagRunCompletedTrigger(
        failure_states=["failed"], waiter_delay=1, waiter_max_attempts=5, **where
    )
    events = trigger.run()
    event = await anext(events)
    await events.aclose()
    return str(event.payload["status"])


results = {
    "run": MwaaDagRunSensor(task_id="run", **where).poke({}),
    "task": MwaaTaskSensor(task_id="task", external_task_id=tasks[0]["task_id"], **where).poke({}),
    "deferred": asyncio.run(deferred()),
    "token": hook.invoke_rest_api(
        NAME, "/dags", "GET", generate_local_token=True, airflow_version=3
    )["RestApiStatusCode"],
}
print("RESULTS", json.dumps(results))  # noqa: T201 - for the test
