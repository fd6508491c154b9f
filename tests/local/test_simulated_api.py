"""What a simulated Airflow answers, in both versions of the API."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from mwaa_headroom.harness.local.simulated_api import Answer, Request, SimulatedAirflow

NOW_S = 1_700_000_000.0
RUNS = "/dags/headroom_example/dagRuns"


class Client:
    """Calls an Airflow at a time that the test decides."""

    def __init__(self, version: str) -> None:
        self.airflow = SimulatedAirflow(version)
        self.now_s = NOW_S

    def operation(self, method: str, path: str, body: Any = None) -> str:
        return self.airflow.recognise(Request(method, path, {}, body)).operation

    def call(self, method: str, path: str, body: Any = None, **query: str) -> Answer:
        lists = {name: [value] for name, value in query.items()}
        return self.airflow.recognise(Request(method, path, lists, body)).answer(self.now_s)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        answer = self.call("GET", path, **query)
        assert answer.status == 200
        assert answer.body is not None
        return answer.body

    def trigger(self, run_id: str | None = None) -> dict[str, Any]:
        body = {"logical_date": None, "dag_run_id": run_id}
        answer = self.call("POST", RUNS, body)
        assert answer.status == 200
        assert answer.body is not None
        return answer.body


@pytest.fixture
def airflow3() -> Client:
    return Client("3.3.1")


@pytest.fixture
def airflow2() -> Client:
    return Client("2.11.2")


@pytest.fixture(params=["2.11.2", "3.3.1"])
def airflow(request: pytest.FixtureRequest) -> Client:
    return Client(request.param)


@pytest.mark.parametrize(
    ("method", "path", "body", "operation"),
    [
        ("GET", "/version", None, "version"),
        ("GET", "/dags", None, "list_dags"),
        ("GET", "/dags/headroom_example", None, "get_dag"),
        ("PATCH", "/dags/headroom_pausable", {"is_paused": True}, "pause_dag"),
        ("PATCH", "/dags/headroom_pausable", {"is_paused": False}, "unpause_dag"),
        ("POST", RUNS, {"logical_date": None}, "trigger_dag_run"),
        ("GET", RUNS, None, "list_dag_runs"),
        ("GET", "/dags/~/dagRuns", None, "list_dag_runs"),
        ("GET", f"{RUNS}/one", None, "get_dag_run"),
        ("DELETE", f"{RUNS}/one", None, "delete_dag_run"),
        ("GET", f"{RUNS}/one/taskInstances", None, "list_task_instances"),
        ("GET", f"{RUNS}/one/taskInstances/work", None, "get_task_instance"),
        ("GET", "/variables", None, "list_variables"),
        ("PATCH", "/variables/key", {"value": "1"}, "set_variable"),
        ("GET", "/connections", None, "list_connections"),
        ("GET", "/pools", None, "list_pools"),
        ("GET", "/nowhere", None, "unknown"),
        ("GET", f"{RUNS}/a/b", None, "unknown"),
        ("DELETE", "/dags", None, "unknown"),
    ],
)
def test_operations_are_recognised(
    airflow: Client, method: str, path: str, body: dict[str, Any] | None, operation: str
) -> None:
    assert airflow.operation(method, path, body) == operation


def test_lists_have_pages_and_the_total(airflow: Client) -> None:
    assert airflow.get("/dags")["total_entries"] == 23
    page = airflow.get("/dags", limit="2", offset="1")
    assert [dag["dag_id"] for dag in page["dags"]] == ["headroom_dag_02", "headroom_dag_03"]
    assert page["total_entries"] == 23


@pytest.mark.parametrize(("version", "shown"), [("2.11.2", 100), ("3.3.1", 50)])
def test_page_size_without_limit_and_beyond_the_maximum(version: str, shown: int) -> None:
    client = Client(version)
    for number in range(120):
        client.now_s += 1
        client.trigger(f"run-{number}")
    assert len(client.get(RUNS)["dag_runs"]) == shown
    assert len(client.get(RUNS, limit="1000")["dag_runs"]) == 100
    assert client.get(RUNS)["total_entries"] == 120


def test_runs_come_oldest_first_unless_asked_otherwise(airflow: Client) -> None:
    for name in ("b", "a", "c"):
        airflow.now_s += 1
        airflow.trigger(name)

    def ids(**query: str) -> list[str]:
        return [run["dag_run_id"] for run in airflow.get(RUNS, **query)["dag_runs"]]

    assert ids() == ["b", "a", "c"]
    assert ids(order_by="-start_date", limit="1") == ["c"]
    assert ids(order_by="-id", offset="1") == ["a", "b"]
    assert ids(order_by="dag_run_id") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("%A%", ["a"]),
        ("_", ["b", "a", "c_%"]),
        ("\\_\\%", ["c_%"]),
        ("a|b", ["b", "a"]),
        ("[ab]", []),
        ("%".join("a" * 40), []),  # which must not take for ever
    ],
)
def test_ids_are_searched_as_by_sql(airflow3: Client, pattern: str, found: list[str]) -> None:
    for name in ("b", "a", "c_%"):
        airflow3.trigger(name)
    runs = airflow3.get(RUNS, run_id_pattern=pattern)["dag_runs"]
    assert [run["dag_run_id"] for run in runs] == found


def test_runs_of_all_dags_and_by_pattern(airflow3: Client) -> None:
    airflow = airflow3
    for dag_id in ("headroom_work", "headroom_example"):
        for number in range(3):
            body = {"dag_run_id": f"headroom__x__{number}", "logical_date": None}
            airflow.now_s += 1
            assert airflow.call("POST", f"/dags/{dag_id}/dagRuns", body).status == 200
    found = airflow.get("/dags/~/dagRuns", run_id_pattern="headroom__x%", order_by="-id")
    assert found["total_entries"] == 6
    assert found["dag_runs"][0]["dag_id"] == "headroom_example"


def test_a_run_is_queued_then_running_then_successful(airflow3: Client) -> None:
    airflow3.trigger("one")
    seen = []
    for _ in range(12):
        run = airflow3.get(f"{RUNS}/one")
        seen.append(run["state"])
        airflow3.now_s += 0.2
    assert list(dict.fromkeys(seen)) == ["queued", "running", "success"]
    queued, started, ended = (
        datetime.fromisoformat(run[name]) for name in ("queued_at", "start_date", "end_date")
    )
    assert (started - queued, ended - started) == (timedelta(seconds=0.3), timedelta(seconds=1))
    instances = airflow3.get(f"{RUNS}/one/taskInstances")
    assert [one["state"] for one in instances["task_instances"]] == ["success"]
    assert airflow3.get(f"{RUNS}/one/taskInstances/work") == instances["task_instances"][0]
    assert airflow3.call("GET", f"{RUNS}/one/taskInstances/other").status == 404


def test_a_paused_dag_takes_runs_that_wait_until_it_is_unpaused(airflow: Client) -> None:
    path = "/dags/headroom_example"
    assert airflow.call("PATCH", path, {"is_paused": True}).status == 200
    assert airflow.get(path)["is_paused"] is True
    airflow.trigger("waits")
    airflow.now_s += 60
    assert airflow.get(f"{RUNS}/waits")["state"] == "queued"
    airflow.call("PATCH", path, {"is_paused": False})
    airflow.now_s += 60
    assert airflow.get(f"{RUNS}/waits")["state"] == "success"


def test_a_run_id_is_taken_until_its_run_is_deleted(airflow: Client) -> None:
    airflow.trigger("same")
    body = {"dag_run_id": "same", "logical_date": None}
    assert airflow.call("POST", RUNS, body).status == 409
    assert airflow.call("DELETE", f"{RUNS}/same") == Answer(204)
    assert airflow.call("DELETE", f"{RUNS}/same").status == 404
    assert airflow.call("GET", f"{RUNS}/same").status == 404
    airflow.trigger("same")


def test_a_logical_date_is_unique_per_dag(airflow: Client) -> None:
    body = {"logical_date": "2026-01-01T00:00:00Z"}
    assert airflow.call("POST", RUNS, {**body, "dag_run_id": "a"}).status == 200
    assert airflow.call("POST", RUNS, {**body, "dag_run_id": "b"}).status == 409
    other = "/dags/headroom_work/dagRuns"
    assert airflow.call("POST", other, {**body, "dag_run_id": "b"}).status == 200


def test_airflow_3_wants_the_logical_date_key_and_airflow_2_sets_one(
    airflow2: Client, airflow3: Client
) -> None:
    assert airflow3.call("POST", RUNS, {}).status == 422
    answer = airflow2.call("POST", RUNS, {})
    assert answer.status == 200
    assert answer.body is not None
    assert answer.body["logical_date"] == answer.body["execution_date"] is not None


def test_triggers_without_date_do_not_collide_on_airflow_3(airflow3: Client) -> None:
    ids = {airflow3.trigger()["dag_run_id"] for _ in range(50)}
    assert len(ids) == 50


def test_errors_are_worded_as_by_each_version(airflow2: Client, airflow3: Client) -> None:
    old, new = (one.call("GET", "/dags/no_such_dag") for one in (airflow2, airflow3))
    assert old.status == new.status == 404
    assert old.body is not None
    assert new.body is not None
    assert set(old.body) == {"type", "title", "status", "detail"}
    assert set(new.body) == {"detail"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/dags/no_such_dag/dagRuns", {"logical_date": None}),
        ("PATCH", "/dags/no_such_dag", {"is_paused": True}),
        ("GET", f"{RUNS}/no_such_run", None),
        ("DELETE", f"{RUNS}/no_such_run", None),
        ("GET", f"{RUNS}/no_such_run/taskInstances/work", None),
        ("GET", "/variables/no_such_key", None),
        ("PATCH", "/variables/no_such_key", {"key": "no_such_key", "value": "1"}),
        ("DELETE", "/variables/no_such_key", None),
        ("GET", "/nowhere", None),
    ],
)
def test_what_is_not_there_is_404(airflow: Client, method: str, path: str, body: Any) -> None:
    assert airflow.call(method, path, body).status == 404


@pytest.mark.parametrize("path", ["/dags/no_such_dag/dagRuns", f"{RUNS}/no_such_run/taskInstances"])
def test_only_airflow_3_looks_for_what_lists_are_of(
    airflow2: Client, airflow3: Client, path: str
) -> None:
    assert airflow3.call("GET", path).status == 404
    assert airflow2.get(path)["total_entries"] == 0


@pytest.mark.parametrize(
    ("query", "old", "new"),
    [
        ({"limit": "-1"}, 400, 422),
        ({"limit": "ten"}, 400, 422),
        ({"limit": "1_0"}, 400, 422),
        ({"limit": ""}, 400, 422),
        ({"offset": "-1"}, 400, 422),
        ({"offset": "9" * 5000}, 400, 422),
        ({"offset": str(2**63)}, 400, 422),
        ({"order_by": "colour"}, 400, 400),
        ({"state": "tired"}, 200, 422),
        ({"run_id_pattern": "x"}, 400, 200),
    ],
)
def test_queries_that_airflow_refuses(
    airflow2: Client, airflow3: Client, query: dict[str, str], old: int, new: int
) -> None:
    assert airflow2.call("GET", RUNS, **query).status == old
    assert airflow3.call("GET", RUNS, **query).status == new


def test_a_limit_of_zero(airflow2: Client, airflow3: Client) -> None:
    assert len(airflow2.get("/dags", limit="0")["dags"]) == 23
    assert airflow3.get("/dags", limit="0")["dags"] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", RUNS, None),
        ("POST", RUNS, ["logical_date"]),
        ("POST", RUNS, {"logical_date": None, "dag_run_id": 1}),
        ("POST", RUNS, {"logical_date": None, "dag_run_id": "x" * 251}),
        ("POST", RUNS, {"logical_date": None, "conf": "{}"}),
        ("POST", RUNS, {"logical_date": "tomorrow"}),
        ("POST", RUNS, {"logical_date": "2026-01-01T00:00:00"}),
        ("POST", RUNS, {"logical_date": None, "colour": "red"}),
        ("PATCH", "/dags/headroom_example", {"is_paused": "perhaps"}),
        ("PATCH", "/dags/headroom_example", {}),
        ("POST", "/variables", {"key": "k"}),
        ("POST", "/variables", {"value": "v"}),
    ],
)
def test_bodies_that_airflow_refuses(
    airflow2: Client, airflow3: Client, method: str, path: str, body: Any
) -> None:
    assert airflow2.call(method, path, body).status == 400
    answer = airflow3.call(method, path, body)
    assert answer.status == 422
    assert answer.body is not None


def test_other_methods_are_405(airflow: Client) -> None:
    assert airflow.call("DELETE", "/dags").status == 405


def test_airflow_3_does_not_delete_what_runs(airflow2: Client, airflow3: Client) -> None:
    for client, status in ((airflow2, 204), (airflow3, 409)):
        client.trigger("one")
        client.now_s += 0.5
        assert client.call("DELETE", f"{RUNS}/one").status == status


@pytest.mark.parametrize(
    "run_id", ["pct%41", "q?x", ".", "..", "ordini_più", "a b", "x" * 250, "manual__+00:00"]
)
def test_any_id_without_a_slash_is_found(airflow: Client, run_id: str) -> None:
    airflow.trigger(run_id)
    assert airflow.get(f"{RUNS}/{run_id}")["dag_run_id"] == run_id
    assert airflow.get(f"{RUNS}/{run_id}/taskInstances")["total_entries"] == 1


RUN_MEMBERS = (
    "conf dag_id dag_run_id data_interval_end data_interval_start end_date "
    "last_scheduling_decision logical_date note run_type start_date state"
)
TASK_INSTANCE_MEMBERS = (
    "dag_id dag_run_id duration end_date executor executor_config hostname map_index max_tries "
    "note operator pid pool pool_slots priority_weight queue queued_when rendered_fields "
    "rendered_map_index start_date state task_display_name task_id trigger triggerer_job "
    "try_number unixname"
)
DAG_MEMBERS = (
    "dag_display_name dag_id description file_token fileloc has_import_errors "
    "has_task_concurrency_limits is_paused last_expired last_parsed_time max_active_runs "
    "max_active_tasks max_consecutive_failed_dag_runs next_dagrun_data_interval_end "
    "next_dagrun_data_interval_start owners tags timetable_description"
)
CONNECTION_MEMBERS = "conn_type connection_id description host login port schema"
POOL_MEMBERS = (
    "deferred_slots description include_deferred name occupied_slots open_slots queued_slots "
    "running_slots scheduled_slots slots"
)


@pytest.mark.parametrize(
    ("path", "common", "old", "new"),
    [
        (
            "/dags/headroom_example",
            DAG_MEMBERS,
            "default_view is_active is_subdag last_pickled next_dagrun next_dagrun_create_after "
            "pickle_id root_dag_id schedule_interval scheduler_lock",
            "allowed_run_types bundle_name bundle_version is_backfillable is_stale "
            "last_parse_duration next_dagrun_logical_date next_dagrun_run_after relative_fileloc "
            "timetable_partitioned timetable_periodic timetable_summary",
        ),
        (
            f"{RUNS}/one",
            RUN_MEMBERS,
            "execution_date external_trigger",
            "bundle_version dag_display_name dag_versions duration partition_date partition_key "
            "queued_at run_after triggered_by triggering_user_name",
        ),
        (
            f"{RUNS}/one/taskInstances/work",
            TASK_INSTANCE_MEMBERS,
            "execution_date sla_miss",
            "dag_display_name dag_version id logical_date operator_name run_after scheduled_when",
        ),
        ("/variables/k", "description key value", "", "is_encrypted team_name"),
        (RUNS, "dag_runs total_entries", "", "next_cursor previous_cursor"),
        (
            f"{RUNS}/one/taskInstances",
            "task_instances total_entries",
            "",
            "next_cursor previous_cursor",
        ),
    ],
)
def test_answers_have_airflows_members(
    airflow2: Client, airflow3: Client, path: str, common: str, old: str, new: str
) -> None:
    """Those of API v1 in 2.11 and of the OpenAPI document of 3.3.1."""
    for client, more in ((airflow2, old), (airflow3, new)):
        client.trigger("one")
        client.call("POST", "/variables", {"key": "k", "value": "v"})
        assert set(client.get(path)) == {*common.split(), *more.split()}


def test_pools_and_connections_have_airflows_members(airflow3: Client) -> None:
    (pool,) = airflow3.get("/pools")["pools"]
    assert set(pool) == {*POOL_MEMBERS.split(), "team_name"}
    (connection,) = airflow3.get("/connections")["connections"]
    assert set(connection) == {*CONNECTION_MEMBERS.split(), "password", "extra", "team_name"}


def test_variables_live_as_long_as_they_should(airflow: Client) -> None:
    created = airflow.call("POST", "/variables", {"key": "k", "value": "1"})
    assert created.status in (200, 201)
    assert airflow.call("PATCH", "/variables/k", {"key": "k", "value": "2"}).status == 200
    assert airflow.get("/variables/k")["value"] == "2"
    assert [one["key"] for one in airflow.get("/variables")["variables"]] == ["k"]
    assert airflow.call("DELETE", "/variables/k") == Answer(204)
    assert airflow.get("/variables")["total_entries"] == 0


def test_all_components_are_healthy(airflow2: Client, airflow3: Client) -> None:
    for client, path in ((airflow2, "/health"), (airflow3, "/monitor/health")):
        components = client.get(path)
        assert set(components) == {"metadatabase", "scheduler", "triggerer", "dag_processor"}
        assert {one["status"] for one in components.values()} == {"healthy"}
        assert components["triggerer"]["latest_triggerer_heartbeat"]
    assert airflow2.call("GET", "/monitor/health").status == 404
    assert airflow3.call("GET", "/health").status == 404
