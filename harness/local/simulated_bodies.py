"""JSON bodies as Airflow 2.11 (API v1) and 3.3 (API v2) have them, member for member."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from mwaa_headroom.harness.local.simulated_dags import RUNS_FOR_S, Dag, DagRun

TASK_ID: Final = "work"  # of the one task that every DAG has
BUNDLE: Final = "dags-folder"
CREATED_AT_S: Final = 1_767_225_600.0  # 2026-01-01, when all DAGs were parsed

ABSENT_FROM_DAGS_2: Final = (
    *("root_dag_id", "last_pickled", "pickle_id", "scheduler_lock", "schedule_interval"),
    *("next_dagrun", "next_dagrun_create_after"),
)
ABSENT_FROM_DAGS_3: Final = (
    *("bundle_version", "timetable_summary", "allowed_run_types"),
    *("next_dagrun_logical_date", "next_dagrun_run_after"),
)

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bodies:
    """Bodies as Airflow `major` 2 or 3 words them; dates are seconds since the epoch here."""

    major: int

    def problem(self, status: int, detail: Any) -> Body:
        """An error."""
        if self.major > 2:
            return {"detail": detail}
        titles = {400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict"}
        return {"type": "about:blank", "title": titles[status], "status": status, "detail": detail}

    def dag(self, dag: Dag) -> Body:
        """A DAG."""
        common = {
            "dag_id": dag.dag_id,
            "dag_display_name": dag.dag_id,
            "is_paused": dag.is_paused,
            "last_parsed_time": self.date(CREATED_AT_S),
            "last_expired": None,
            "description": "A DAG of the simulated environment",
            "fileloc": f"/usr/local/airflow/dags/{dag.dag_id}.py",
            "file_token": dag.dag_id,
            "owners": ["airflow"],
            "tags": [],
            "timetable_description": "Never, external triggers only",
            "max_active_runs": 16,
            "max_active_tasks": 16,
            "max_consecutive_failed_dag_runs": 0,
            "has_task_concurrency_limits": False,
            "has_import_errors": False,
            "next_dagrun_data_interval_start": None,
            "next_dagrun_data_interval_end": None,
        }
        if self.major == 2:
            return {
                **common,
                **dict.fromkeys(ABSENT_FROM_DAGS_2),
                "is_active": True,
                "is_subdag": False,
                "default_view": "grid",
            }
        return {
            **common,
            **dict.fromkeys(ABSENT_FROM_DAGS_3),
            "is_stale": False,
            "last_parse_duration": 0.1,
            "bundle_name": BUNDLE,
            "relative_fileloc": f"{dag.dag_id}.py",
            "timetable_partitioned": False,
            "timetable_periodic": False,
            "is_backfillable": False,
        }

    def run(self, run: DagRun, now_s: float) -> Body:
        """A DAG run."""
        state = run.state(now_s)
        start_s, end_s = _times(run, now_s)
        common = {
            "dag_id": run.dag_id,
            "dag_run_id": run.run_id,
            "logical_date": run.logical_date,
            "data_interval_start": run.logical_date,
            "data_interval_end": run.logical_date,
            "start_date": self.date(start_s),
            "end_date": self.date(end_s),
            "last_scheduling_decision": self.date(end_s or start_s),
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
            "queued_at": self.date(run.queued_s),
            "run_after": self.date(run.queued_s),
            "duration": RUNS_FOR_S if end_s is not None else None,
            "triggered_by": "rest_api",
            "triggering_user_name": "admin",
            "dag_versions": [self._dag_version(run.dag_id)],
            "bundle_version": None,
            "partition_key": None,
            "partition_date": None,
        }

    def task_instance(self, run: DagRun, now_s: float) -> Body:
        """The one task instance every simulated DAG run has."""
        start_s, end_s = _times(run, now_s)
        state = run.state(now_s)
        absent = ("pid", "executor", "note", "rendered_map_index", "trigger", "triggerer_job")
        common: Body = {
            **dict.fromkeys(absent),
            "task_id": TASK_ID,
            "task_display_name": TASK_ID,
            "dag_id": run.dag_id,
            "dag_run_id": run.run_id,
            "map_index": -1,
            "try_number": 0 if start_s is None else 1,
            "max_tries": 0,
            "operator": "PythonOperator",
            "pool": "default_pool",
            "pool_slots": 1,
            "queue": "default",
            "priority_weight": 1,
            "state": None if state == "queued" else state,  # until its DAG run has started
            "start_date": self.date(start_s),
            "end_date": self.date(end_s),
            "duration": RUNS_FOR_S if end_s is not None else None,
            "queued_when": self.date(start_s),
            "executor_config": "{}",
            "hostname": "" if start_s is None else "worker-1",
            "unixname": "airflow",
            "rendered_fields": {},
        }
        if self.major == 2:
            return {**common, "execution_date": run.logical_date, "sla_miss": None}
        return {
            **common,
            "id": _uuid(run.dag_id, run.run_id, TASK_ID),
            "dag_display_name": run.dag_id,
            "logical_date": run.logical_date,
            "run_after": self.date(run.queued_s),
            "scheduled_when": self.date(start_s),
            "operator_name": "PythonOperator",
            "dag_version": self._dag_version(run.dag_id),
        }

    def variable(self, key: str, value: str) -> Body:
        """A variable."""
        body = {"key": key, "value": value, "description": None}
        return body if self.major == 2 else {**body, "is_encrypted": True, "team_name": None}

    def health(self, now_s: float) -> Body:
        """An environment all of whose components are healthy."""
        beat = datetime.fromtimestamp(now_s, UTC).isoformat()
        beating = ("scheduler", "triggerer", "dag_processor")
        return {
            "metadatabase": {"status": "healthy"},
            **{
                component: {"status": "healthy", f"latest_{component}_heartbeat": beat}
                for component in beating
            },
        }

    def connection(self) -> Body:
        """The one connection there is."""
        absent = ("description", "host", "login", "schema", "port")
        body = {"connection_id": "aws_default", "conn_type": "aws", **dict.fromkeys(absent)}
        if self.major == 2:
            return body
        return {**body, **dict.fromkeys(("password", "extra", "team_name"))}

    def pool(self) -> Body:
        """The one pool there is."""
        used = ("occupied_slots", "running_slots", "queued_slots", "scheduled_slots")
        body = {
            "name": "default_pool",
            "description": "Default pool",
            "slots": 128,
            "open_slots": 128,
            **dict.fromkeys((*used, "deferred_slots"), 0),
            "include_deferred": False,
        }
        return body if self.major == 2 else {**body, "team_name": None}

    def page(self, key: str, entries: list[Body], total: int) -> Body:
        """One page of a list."""
        body: Body = {key: entries, "total_entries": total}
        if self.major > 2 and key in ("dag_runs", "task_instances"):
            return {**body, "next_cursor": None, "previous_cursor": None}
        return body

    def date(self, time_s: float | None) -> str | None:
        """A date and time, in UTC."""
        if time_s is None:
            return None
        text = datetime.fromtimestamp(time_s, UTC).isoformat()
        return text if self.major == 2 else text.replace("+00:00", "Z")

    def _dag_version(self, dag_id: str) -> Body:
        return {
            "id": _uuid(dag_id),
            "version_number": 1,
            "dag_id": dag_id,
            "bundle_name": BUNDLE,
            "bundle_version": None,
            "created_at": self.date(CREATED_AT_S),
            "dag_display_name": dag_id,
            "bundle_url": None,
        }


def _times(run: DagRun, now_s: float) -> tuple[float | None, float | None]:
    """When a run started and ended, as far as it did."""
    if run.start_s is None or now_s < run.start_s:
        return None, None
    end_s = run.start_s + RUNS_FOR_S
    return run.start_s, end_s if now_s >= end_s else None


def _uuid(*names: str) -> str:
    return str(uuid5(NAMESPACE_URL, "/".join(names)))
