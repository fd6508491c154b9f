"""Operations: wrong parameters named, calls as the API of Airflow 2 and 3 wants them."""

import math
from datetime import date

import pytest

from mwaa_headroom.harness.errors import HeadroomError, PreflightError, RecordError
from mwaa_headroom.harness.traffic.operations import (
    OPERATIONS,
    TARGETS_FILE,
    RestCall,
    Targets,
    build_call,
    check_parameters,
    complete_parameters,
    load_targets,
    run_id_prefix,
    save_targets,
)

RUNS = tuple(f"manual__{n}" for n in range(10))
AIRFLOW_2 = Targets("2.11.2", "r1", {"headroom_example": RUNS})
AIRFLOW_3 = Targets("3.3.1", "r1", {"headroom_example": RUNS})
BOTH = pytest.mark.parametrize("targets", [AIRFLOW_2, AIRFLOW_3], ids=["2", "3"])


def call(operation: str, targets: Targets = AIRFLOW_3, arrival: int = 7, **parameters) -> RestCall:
    check_parameters(operation, parameters)
    return build_call(operation, parameters, arrival=arrival, targets=targets)


@pytest.mark.parametrize(
    ("operation", "parameters", "part"),
    [
        ("list_dags", {"limt": 5}, "operation 'list_dags' has no parameter 'limt'"),
        ("list_dags", {"limt": 5}, "it takes limit, order_by"),
        ("health", {"limit": 5}, "it takes none"),
        ("list_dags", {"limit": 0}, "'limit' of operation 'list_dags' must be from 1 to 1000"),
        ("list_dags", {"limit": 1001}, "got 1001"),
        ("list_dags", {"limit": True}, "must be a whole number"),
        ("list_dags", {"limit": "5"}, "must be a whole number"),
        ("list_dags", {"order_by": "dag_id; drop"}, "'order_by'"),
        ("get_dag_run", {"dag_id": "a/b"}, "'dag_id'"),
        ("get_dag_run", {"dag_id": "~"}, "'dag_id'"),
        ("get_dag_run", {"dag_id": ""}, "'dag_id'"),
        ("trigger_dag_run", {"conf": [1]}, "must be a table"),
        ("trigger_dag_run", {"conf": {"day": date(2026, 9, 21)}}, "dates and times in quotes"),
        ("trigger_dag_run", {"conf": {"a": [{"b": math.nan}]}}, "neither nan nor inf"),
        ("trigger_dag_run", {"conf": {"a": -math.inf}}, "neither nan nor inf"),
        ("trigger_dag_run", {"payload_bytes": -1}, "'payload_bytes'"),
        ("trigger_dag_run", {"conf": {}, "payload_bytes": 1}, "either 'conf' or 'payload_bytes'"),
        ("set_variable", {"value_bytes": 0}, "'value_bytes'"),
        ("set_variable", {"key": "a b"}, "'key'"),
    ],
)
def test_a_wrong_parameter_is_named(operation, parameters, part):
    with pytest.raises(ValueError) as caught:
        check_parameters(operation, parameters)
    assert part in str(caught.value)


def test_every_default_is_itself_allowed():
    for name, operation in OPERATIONS.items():
        assert operation.name == name
        for parameter, kind in operation.parameters.items():
            assert kind.problem(kind.default) is None, (name, parameter)


def test_defaults_fill_what_the_scenario_leaves_out():
    assert complete_parameters("list_dags", {"limit": 5}) == {"limit": 5, "order_by": ""}


@BOTH
@pytest.mark.parametrize("operation", sorted(OPERATIONS))
def test_calls_are_reproducible_and_short(operation, targets):
    """The service model of InvokeRestApi gives Path at most 64 characters."""
    built = call(operation, targets)
    assert built == call(operation, targets)
    assert built.path.startswith("/")
    assert len(built.path) <= 64


def test_health_moved_in_airflow_3():
    assert call("health", AIRFLOW_2) == RestCall("GET", "/health")
    assert call("health", AIRFLOW_3) == RestCall("GET", "/monitor/health")


def test_airflow_3_requires_a_logical_date_key():
    old = call("trigger_dag_run", AIRFLOW_2)
    new = call("trigger_dag_run", AIRFLOW_3)
    assert old.method == new.method == "POST"
    assert old.path == new.path == "/dags/headroom_example/dagRuns"
    assert old.body == {"dag_run_id": f"{run_id_prefix('r1')}7", "conf": {}}
    assert new.body == {"dag_run_id": f"{run_id_prefix('r1')}7", "conf": {}, "logical_date": None}


def test_triggered_runs_can_be_told_apart():
    ids = {call("trigger_dag_run", arrival=n).body["dag_run_id"] for n in range(100)}
    assert len(ids) == 100


def test_trigger_payload_is_given_or_of_a_size():
    assert call("trigger_dag_run", conf={"a": 1}).body["conf"] == {"a": 1}
    assert call("trigger_dag_run", payload_bytes=5).body["conf"] == {"payload": "xxxxx"}


def test_pages():
    assert call("list_dags", limit=21).query == {"limit": 21}
    assert call("list_dag_runs", dag_id="~", order_by="-start_date") == RestCall(
        "GET", "/dags/~/dagRuns", query={"limit": 100, "order_by": "-start_date"}
    )
    for operation, path in [
        ("list_variables", "/variables"),
        ("list_connections", "/connections"),
        ("list_pools", "/pools"),
    ]:
        assert call(operation, limit=3) == RestCall("GET", path, query={"limit": 3})


def test_pausing():
    assert call("pause_dag") == RestCall(
        "PATCH", "/dags/headroom_pausable", body={"is_paused": True}
    )
    assert call("unpause_dag", dag_id="d").body == {"is_paused": False}


def test_variable_values_change_and_keep_their_size():
    values = [call("set_variable", arrival=n, value_bytes=8).body["value"] for n in range(20)]
    assert len(set(values)) == 20
    assert {len(value) for value in values} == {8}
    assert call("set_variable").path == "/variables/headroom_variable"


def test_reads_spread_over_the_existing_runs():
    paths = [call("get_dag_run", arrival=n).path for n in range(1000)]
    counts = {path: paths.count(path) for path in set(paths)}
    assert set(counts) == {f"/dags/headroom_example/dagRuns/{run}" for run in RUNS}
    assert min(counts.values()) > 60  # 100 expected, five standard deviations are 47
    assert max(counts.values()) < 150
    assert paths[:10] != sorted(paths[:10])  # neighbours do not go through the runs in order


def test_task_instances_of_an_existing_run():
    built = call("list_task_instances", limit=10)
    assert built.path.startswith("/dags/headroom_example/dagRuns/manual__")
    assert built.path.endswith("/taskInstances")
    assert built.query == {"limit": 10}


def test_reading_without_runs_says_what_to_do():
    with pytest.raises(PreflightError, match="DAG 'other' has no runs to read; trigger one"):
        call("get_dag_run", dag_id="other")


def test_targets_survive_their_file(tmp_path):
    save_targets(tmp_path, AIRFLOW_3)
    assert load_targets(tmp_path) == AIRFLOW_3
    assert AIRFLOW_3.airflow_major == 3


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"airflow_version": "3"}'])
def test_damaged_targets_are_refused(tmp_path, text):
    if text is not None:
        (tmp_path / TARGETS_FILE).write_text(text)
    with pytest.raises(RecordError, match="missing or damaged"):
        load_targets(tmp_path)


def test_targets_that_cannot_be_written_are_one_sentence(tmp_path):
    (tmp_path / TARGETS_FILE).mkdir()
    with pytest.raises(HeadroomError, match=r"Cannot write '.*targets\.json': .*\.$"):
        save_targets(tmp_path, AIRFLOW_3)
