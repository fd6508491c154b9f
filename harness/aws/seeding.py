"""Provides what the mix reads or writes: DAG runs, variables. Remembers everything it creates."""

from harness.aws.created import Created, run_id_prefix
from harness.aws.mix_needs import DagUse, VariableUse
from harness.aws.rest_api import RestApi
from harness.errors import PreflightError

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
