"""What a simulated Airflow answers, in both versions of the API."""

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

    def operation(self, method: str, path: str, body: dict[str, Any] | None = None) -> str:
        return self.airflow.recognise(Request(method, path, {}, body or {})).operation

    def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, **query: str
    ) -> Answer:
        lists: dict[str, Any] = {name: [value] for name, value in query.items()}
        return self.airflow.recognise(Request(method, path, lists, body or {})).answer(self.now_s)

    def get(self, path: str, **query: str) -> dict[str, Any]:
        answer = self.call("GET", path, **query)
        assert answer.status == 200
        assert answer.body is not None
        return answer.body

    def trigger(self, run_id: str | None = None) -> dict[str, Any]:
        body: dict[str, Any] = {"logical_date": None}
        if run_id:
            body["dag_run_id"] = run_id
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
        ("GET", "/health", None, "health"),
        ("GET", "/monitor/health", None, "health"),
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
        ("GET", "/variables", None, "list_variables"),
        ("PATCH", "/variables/key", {"value": "1"}, "set_variable"),
        ("GET", "/connections", None, "list_connections"),
        ("GET", "/pools", None, "list_pools"),
        ("GET", "/nowhere", None, "unknown"),
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
    assert ids(order_by="-logical_date", offset="1") == ["a", "b"]
    assert ids(order_by="dag_run_id") == ["a", "b", "c"]
    assert ids(run_id_pattern="%A%") == ["a"]
    assert ids(run_id_pattern="_") == ["b", "a", "c"]


def test_runs_of_all_dags_and_by_pattern(airflow: Client) -> None:
    for dag_id in ("headroom_work", "headroom_example"):
        for number in range(3):
            body = {"dag_run_id": f"headroom__x__{number}", "logical_date": None}
            airflow.now_s += 1
            assert airflow.call("POST", f"/dags/{dag_id}/dagRuns", body).status == 200
    found = airflow.get("/dags/~/dagRuns", run_id_pattern="headroom\\_\\_x%", order_by="-id")
    assert found["total_entries"] == 0  # a backslash is a character like others here
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
    assert run["end_date"] > run["start_date"] > run["queued_at"]
    instances = airflow3.get(f"{RUNS}/one/taskInstances")
    assert [one["state"] for one in instances["task_instances"]] == ["success"]


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
    ("method", "path"),
    [
        ("POST", "/dags/no_such_dag/dagRuns"),
        ("GET", "/dags/no_such_dag/dagRuns"),
        ("PATCH", "/dags/no_such_dag"),
        ("GET", f"{RUNS}/no_such_run"),
        ("GET", f"{RUNS}/no_such_run/taskInstances"),
        ("GET", "/variables/no_such_key"),
        ("PATCH", "/variables/no_such_key"),
        ("DELETE", "/variables/no_such_key"),
        ("GET", "/nowhere"),
    ],
)
def test_what_is_not_there_is_404(airflow: Client, method: str, path: str) -> None:
    body = {"logical_date": None, "is_paused": True, "value": "1"}
    assert airflow.call(method, path, body).status == 404


def test_variables_live_as_long_as_they_should(airflow: Client) -> None:
    created = airflow.call("POST", "/variables", {"key": "k", "value": "1"})
    assert created.status in (200, 201)
    assert airflow.call("PATCH", "/variables/k", {"key": "k", "value": "2"}).status == 200
    assert airflow.get("/variables/k")["value"] == "2"
    assert [one["key"] for one in airflow.get("/variables")["variables"]] == ["k"]
    assert airflow.call("DELETE", "/variables/k") == Answer(204)
    assert airflow.get("/variables")["total_entries"] == 0


def test_health_is_healthy(airflow: Client) -> None:
    assert airflow.get("/monitor/health")["scheduler"]["status"] == "healthy"
