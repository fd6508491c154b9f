"""The DAGs that scenarios call. Runs of all but `headroom_work` cost no executor any work.

Airflow parses this file; the project never imports it.
"""

# mypy: ignore-errors
# ^ Airflow lives in an environment of its own, without types as far as this project can see.

from datetime import UTC, datetime

try:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.operators.empty import EmptyOperator

GENERATED = 20
MANY = 100_000  # active runs at once: load must not queue behind Airflow's default of 16

SETTINGS = {
    "schedule": None,
    "start_date": datetime(2024, 1, 1, tzinfo=UTC),
    "catchup": False,
    "is_paused_upon_creation": False,
    "max_active_runs": MANY,
    "max_active_tasks": MANY,
    "tags": ["headroom"],
}


def empty_dag(dag_id: str, tasks: int) -> DAG:
    """A chain of tasks that the scheduler itself marks as done."""
    with DAG(dag_id, **SETTINGS) as dag:
        previous = EmptyOperator(task_id="task_1")
        for number in range(2, tasks + 1):
            following = EmptyOperator(task_id=f"task_{number}")
            previous >> following
            previous = following
    return dag


headroom_example = empty_dag("headroom_example", tasks=2)
headroom_pausable = empty_dag("headroom_pausable", tasks=1)
for number in range(1, GENERATED + 1):
    globals()[f"headroom_dag_{number:02}"] = empty_dag(f"headroom_dag_{number:02}", tasks=3)

with DAG("headroom_work", **SETTINGS) as headroom_work:

    @task
    def add(left: int, right: int) -> int:
        """A task that is really executed."""
        return left + right

    add(1, 2)
