"""What a simulated Airflow's answers look like, in both versions of its API."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harness.local.simulated_state import RUNS_FOR_S, Dag, DagRun

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bodies:
    """JSON bodies as Airflow `major` 2 (API v1) or 3 (API v2) words them."""

    major: int

    def problem(self, status: int, detail: Any) -> Body:
        """An error."""
        if self.major > 2:
            return {"detail": detail}
        titles = {400: "Bad Request", 404: "Not Found", 409: "Conflict"}
        title = titles.get(status, "Error")
        return {"type": "about:blank", "title": title, "status": status, "detail": detail}

    def dag(self, dag: Dag) -> Body:
        """One DAG."""
        common = {
            "dag_id": dag.dag_id,
            "dag_display_name": dag.dag_id,
            "is_paused": dag.is_paused,
            "description": "A DAG of the simulated environment",
            "fileloc": f"/usr/local/airflow/dags/{dag.dag_id}.py",
            "owners": ["airflow"],
            "tags": [],
            "max_active_runs": 16,
            "max_active_tasks": 16,
            "max_consecutive_failed_dag_runs": 0,
            "has_task_concurrency_limits": False,
            "has_import_errors": False,
            "timetable_description": "Never, external triggers only",
            "next_dagrun_create_after": None,
            "file_token": dag.dag_id,
        }
        if self.major == 2:
            return {**common, "is_active": True, "is_subdag": False, "schedule_interval": None}
        return {**common, "is_stale": False, "timetable_summary": None, "bundle_name": "dags"}

    def run(self, run: DagRun, now_s: float) -> Body:
        """One DAG run."""
        state = run.state(now_s)
        start_s = None if state == "queued" else run.start_s
        end_s = start_s + RUNS_FOR_S if start_s is not None and state == "success" else None
        common = {
            "dag_id": run.dag_id,
            "dag_run_id": run.run_id,
            "logical_date": run.logical_date,
            "data_interval_start": run.logical_date,
            "data_interval_end": run.logical_date,
            "start_date": _iso(start_s),
            "end_date": _iso(end_s),
            "last_scheduling_decision": _iso(end_s or start_s),
            "run_type": "manual",
            "state": state,
            "conf": run.conf,
            "note": run.note,
        }
        if self.major == 2:
            return {**common, "execution_date": run.logical_date, "external_trigger": True}
        return {
            **common,
            "dag_display_name": run.dag_id,
            "queued_at": _iso(run.queued_s),
            "run_after": _iso(run.queued_s),
            "duration": RUNS_FOR_S if end_s is not None else None,
            "triggered_by": "rest_api",
            "dag_versions": [],
            "bundle_version": None,
        }

    def task_instance(self, run: DagRun, now_s: float) -> Body:
        """The one task instance every simulated DAG run has."""
        shown = self.run(run, now_s)
        return {
            "task_id": "work",
            "task_display_name": "work",
            "dag_id": run.dag_id,
            "dag_run_id": run.run_id,
            "map_index": -1,
            "try_number": 0 if shown["start_date"] is None else 1,
            "max_tries": 0,
            "operator": "PythonOperator",
            "pool": "default_pool",
            "pool_slots": 1,
            "queue": "default",
            "priority_weight": 1,
            "state": shown["state"],
            "start_date": shown["start_date"],
            "end_date": shown["end_date"],
            "hostname": "worker-1",
            "unixname": "airflow",
            "note": None,
        }

    def variable(self, key: str, value: str) -> Body:
        """One variable."""
        return {"key": key, "value": value, "description": None, "is_encrypted": False}

    def health(self, now_s: float) -> Body:
        """A healthy environment without a triggerer."""
        beat = _iso(now_s)
        return {
            "metadatabase": {"status": "healthy"},
            "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": beat},
            "triggerer": {"status": None, "latest_triggerer_heartbeat": None},
            "dag_processor": {"status": "healthy", "latest_dag_processor_heartbeat": beat},
        }

    def connection(self) -> Body:
        """The one connection."""
        empty = dict.fromkeys(("description", "host", "login", "schema", "port", "extra"))
        return {"connection_id": "aws_default", "conn_type": "aws", **empty}

    def pool(self) -> Body:
        """The one pool."""
        used = ("occupied_slots", "running_slots", "queued_slots", "scheduled_slots")
        return {
            "name": "default_pool",
            "description": "Default pool",
            "slots": 128,
            "open_slots": 128,
            **dict.fromkeys((*used, "deferred_slots"), 0),
            "include_deferred": False,
        }


def _iso(time_s: float | None) -> str | None:
    return None if time_s is None else datetime.fromtimestamp(time_s, UTC).isoformat()
