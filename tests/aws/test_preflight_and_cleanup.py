"""Before and after the load: what is missing is named, what is created is undone, no more."""

from typing import Any

import pytest
from canned_mwaa import NAME, CannedMwaa

from mwaa_headroom.analysis.results import Expectation
from mwaa_headroom.harness.aws.cleanup import (
    DAG_RUNS,
    PAUSED_STATES,
    VARIABLES,
    CleanupResult,
    Created,
    clean_up,
)
from mwaa_headroom.harness.aws.clients import Answer
from mwaa_headroom.harness.aws.environment import describe_environment
from mwaa_headroom.harness.aws.preflight import PreflightResult, preflight
from mwaa_headroom.harness.errors import EnvironmentAccessError, PreflightError
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.operations import build_call

RUN_ID = "20261122T073000-x-ab12"
OURS = f"headroom__{RUN_ID}__"
NO_WAIT: dict[str, Any] = {"sleep": lambda _: None}


def scenario(mix: dict[str, Any], *, kind: str = "simulated", **sections: Any) -> Scenario:
    tree = {
        "name": "x",
        "question": {"ask": "check"},
        "slo": ["rate(errors) < 1%"],
        "environment": {"kind": kind, "name": NAME},
        "traffic": {"mix": mix},
        "stages": [{"rate_per_s": 1, "duration_s": 1}],
        **sections,
    }
    return check_scenario(tree, origin="x.toml")


def check(canned: CannedMwaa, wanted: Scenario) -> PreflightResult:
    clients = canned.clients()
    return preflight(clients, wanted, describe_environment(clients, NAME), RUN_ID, **NO_WAIT)


def tidy(canned: CannedMwaa, ran: Scenario, created: Created) -> CleanupResult:
    return clean_up(canned.clients(), ran, created, RUN_ID, **NO_WAIT)


def test_a_mix_without_needs_only_asks_for_health(canned: CannedMwaa) -> None:
    result = check(canned, scenario({"health": 1, "list_dags": 1, "list_pools": 1}))
    assert result.created == Created()
    assert result.targets.airflow_version == "3.0.6"
    assert result.targets.run_id == RUN_ID
    assert canned.airflow.calls == [("GET", "/monitor/health")]


@pytest.mark.parametrize("status", ["CREATING", "UPDATING", "MAINTENANCE"])
def test_an_environment_that_is_not_available_is_not_called(
    canned: CannedMwaa, status: str
) -> None:
    canned.environment["Status"] = status
    with pytest.raises(PreflightError, match=f"is {status}; wait until it is AVAILABLE"):
        check(canned, scenario({"health": 1}))
    assert canned.airflow.calls == []


def test_an_environment_whose_update_failed_is_ready_to_use(canned: CannedMwaa) -> None:
    canned.environment["Status"] = "UPDATE_FAILED"
    assert check(canned, scenario({"health": 1})).expectations == ()


def test_a_denied_call_names_the_permission(canned: CannedMwaa) -> None:
    clients = canned.clients()
    facts = describe_environment(clients, NAME)
    canned.refusal = (403, "AccessDeniedException", "not authorized")
    with pytest.raises(EnvironmentAccessError, match="allow airflow:InvokeRestApi on arn:aws"):
        preflight(clients, scenario({"health": 1}), facts, RUN_ID, **NO_WAIT)


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(403, "Airflow role that may read"), (500, "health check with 500; repair it")],
)
def test_an_airflow_that_does_not_answer_its_health_check_is_not_loaded(
    canned: CannedMwaa, status: int, sentence: str
) -> None:
    canned.airflow.statuses["GET", "/monitor/health"] = [status]
    with pytest.raises(PreflightError, match=sentence):
        check(canned, scenario({"health": 1}))


@pytest.mark.parametrize(
    ("dag", "sentence"),
    [
        (None, r"traffic\.mix\.start\.dag_id: the environment has no DAG 'etl'; deploy DAG 'etl'"),
        ({"is_stale": True}, "is stale"),  # Airflow 3
        ({"is_active": False}, "is stale"),  # Airflow 2
        ({"has_import_errors": True}, "has import errors"),
    ],
)
def test_a_dag_that_cannot_run_is_named_with_its_key_and_nothing_is_created(
    canned: CannedMwaa, dag: dict[str, Any] | None, sentence: str
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    if dag is not None:
        canned.airflow.dags["etl"] = dag
    mix = {
        "get_dag_run": 1,
        "set_variable": 1,
        "start": {"operation": "trigger_dag_run", "dag_id": "etl", "weight": 1},
    }
    with pytest.raises(PreflightError, match=sentence):
        check(canned, scenario(mix))
    assert {method for method, _ in canned.airflow.calls} == {"GET"}


def test_enough_existing_runs_are_read_newest_first_and_none_is_triggered(
    canned: CannedMwaa,
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = [f"scheduled__{n}" for n in range(150)]
    result = check(canned, scenario({"get_dag_run": 1, "list_task_instances": 1}))
    assert result.targets.dag_run_ids == {
        "headroom_example": tuple(f"scheduled__{n}" for n in range(149, 49, -1))
    }
    assert result.created.dag_runs == {}
    assert canned.airflow.calls.count(("GET", "/dags/headroom_example/dagRuns")) == 1


@pytest.mark.parametrize("major", [2, 3])
def test_too_few_runs_are_made_ten_and_cleaned_up_again(canned: CannedMwaa, major: int) -> None:
    canned.environment["AirflowVersion"] = {2: "2.10.3", 3: "3.0.6"}[major]
    canned.airflow.major = major
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = ["manual__1", "manual__2", "manual__3"]
    wanted = scenario({"get_dag_run": 1})

    result = check(canned, wanted)

    seeds = tuple(f"{OURS}seed{n}" for n in range(7))
    assert result.created.dag_runs == {"headroom_example": seeds}
    targets = result.targets
    assert len(targets.dag_run_ids["headroom_example"]) == 10
    call = build_call("get_dag_run", {}, arrival=5, targets=targets)
    assert call.path.split("/")[-1] in targets.dag_run_ids["headroom_example"]

    assert tidy(canned, wanted, result.created) == CleanupResult({DAG_RUNS: 7}, {})
    assert canned.airflow.runs["headroom_example"] == ["manual__1", "manual__2", "manual__3"]


READING = {"get_dag_run": 1, "list_task_instances": 1}


def test_a_dag_on_aws_that_the_mix_only_reads_is_not_triggered(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = ["manual__1", "manual__2", "manual__3"]
    result = check(canned, scenario(READING, kind="aws"))
    assert result.targets.dag_run_ids == {
        "headroom_example": ("manual__3", "manual__2", "manual__1")
    }
    assert {method for method, _ in canned.airflow.calls} == {"GET"}


def test_a_dag_on_aws_without_runs_is_triggered_only_when_the_scenario_says_so(
    canned: CannedMwaa,
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    with pytest.raises(PreflightError, match=r"limits\.trigger_dags_to_read = true"):
        check(canned, scenario(READING, kind="aws"))
    assert {method for method, _ in canned.airflow.calls} == {"GET"}
    allowed = scenario(READING, kind="aws", limits={"trigger_dags_to_read": True})
    assert len(check(canned, allowed).targets.dag_run_ids["headroom_example"]) == 10


def test_a_dag_on_aws_that_the_mix_triggers_anyway_gets_runs_to_read(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {}
    result = check(canned, scenario({"trigger_dag_run": 1, **READING}, kind="aws"))
    assert len(result.targets.dag_run_ids["headroom_example"]) == 10


def test_seeds_already_made_are_undone_when_a_later_one_fails(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.dags["etl"] = {}
    canned.airflow.statuses["POST", "/dags/etl/dagRuns"] = [403]
    mix = {
        "set_variable": 1,
        "get_dag_run": 1,
        "etl": {"operation": "get_dag_run", "dag_id": "etl", "weight": 1},
    }
    with pytest.raises(PreflightError, match=r"traffic\.mix\.etl\.dag_id: .* answered 403"):
        check(canned, scenario(mix))
    assert canned.airflow.runs == {"headroom_example": []}
    assert canned.airflow.variables == {}


def test_a_missing_variable_is_created_and_deleted_again(canned: CannedMwaa) -> None:
    wanted = scenario({"set_variable": 1})
    result = check(canned, wanted)
    assert result.created.variables == ("headroom_variable",)
    assert "headroom_variable" in canned.airflow.variables
    assert tidy(canned, wanted, result.created) == CleanupResult({VARIABLES: 1}, {})
    assert canned.airflow.variables == {}


def test_a_variable_of_an_earlier_run_is_used_and_left(canned: CannedMwaa) -> None:
    canned.airflow.variables["headroom_variable"] = "left over"
    wanted = scenario({"set_variable": 1})
    result = check(canned, wanted)
    assert result.created.variables == ()
    tidy(canned, wanted, result.created)
    assert canned.airflow.variables == {"headroom_variable": "left over"}


def test_a_variable_of_somebody_elses_is_never_overwritten(canned: CannedMwaa) -> None:
    canned.airflow.variables["api_url"] = "precious"
    mix = {"set_variable": {"weight": 1, "key": "api_url"}}
    with pytest.raises(PreflightError, match=r"traffic\.mix\.set_variable\.key: .*overwritten"):
        check(canned, scenario(mix))


@pytest.mark.parametrize("status", [500, 403])
@pytest.mark.parametrize("key", ["api_url", "headroom_variable"])
def test_a_variable_that_cannot_be_looked_up_is_not_taken_for_absent(
    canned: CannedMwaa, status: int, key: str
) -> None:
    canned.airflow.variables[key] = "precious"
    canned.airflow.statuses["GET", f"/variables/{key}"] = [status]
    mix = {"set_variable": {"weight": 1, "key": key}}
    with pytest.raises(PreflightError, match=f"answered {status}"):
        check(canned, scenario(mix))
    assert canned.airflow.variables == {key: "precious"}
    assert {method for method, _ in canned.airflow.calls} == {"GET"}


@pytest.mark.parametrize("was_paused", [True, False])
def test_the_paused_state_comes_back(canned: CannedMwaa, was_paused: bool) -> None:
    canned.airflow.dags["headroom_pausable"] = {"is_paused": was_paused}
    wanted = scenario({"pause_dag": 1, "unpause_dag": 1})
    result = check(canned, wanted)
    canned.airflow.dags["headroom_pausable"]["is_paused"] = not was_paused
    assert tidy(canned, wanted, result.created) == CleanupResult({PAUSED_STATES: 1}, {})
    assert canned.airflow.dags["headroom_pausable"]["is_paused"] is was_paused


def test_triggering_a_paused_dag_is_noted_once(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {"is_paused": True}
    again = {"operation": "trigger_dag_run", "weight": 1}
    (note,) = check(canned, scenario({"trigger_dag_run": 1, "again": again})).notes
    assert note == "DAG 'headroom_example' is paused: the runs triggered stay queued."


def test_expectations_are_told_and_never_raised(canned: CannedMwaa) -> None:
    canned.airflow.health = {
        "metadatabase": {"status": "healthy"},
        "scheduler": {"status": "unhealthy"},
        "triggerer": {},  # nulls are said to be dropped
    }
    canned.airflow.dags["etl"] = {}
    components = ["metadatabase", "scheduler", "triggerer", "dag_processor"]
    expect = {"healthy_components": components, "dags": ["etl", "gone"]}
    wanted = scenario({"trigger_dag_run": 1}, expect=expect)
    told = {item.name: (item.met, item.detail) for item in check(canned, wanted).expectations}
    assert told == {
        "metadatabase is healthy": (True, "healthy"),
        "scheduler is healthy": (False, "unhealthy"),
        "triggerer is healthy": (False, "not reported"),
        "dag_processor is healthy": (False, "not reported"),
        "DAG etl": (True, "active"),
        "DAG gone": (False, "the environment has no DAG 'gone'"),
        # not among expect.dags, but the mix needs it
        "DAG headroom_example": (False, "the environment has no DAG 'headroom_example'"),
    }


def test_an_unhealthy_answer_is_an_unmet_expectation_where_something_is_expected(
    canned: CannedMwaa,
) -> None:
    canned.airflow.statuses["GET", "/monitor/health"] = [503]
    wanted = scenario({"health": 1}, expect={"healthy_components": ["scheduler"]})
    told = check(canned, wanted).expectations
    assert told == (
        Expectation("REST API answers", met=False, detail="the health check answered 503"),
        Expectation(
            "scheduler is healthy", met=False, detail="not checked: unmet is 'REST API answers'"
        ),
    )


def test_an_environment_that_is_not_available_is_an_unmet_expectation_and_left_alone(
    canned: CannedMwaa,
) -> None:
    canned.environment["Status"] = "UPDATING"
    wanted = scenario({"set_variable": 1, "get_dag_run": 1}, expect={"dags": ["etl"]})
    result = check(canned, wanted)
    assert {(item.name, item.met, item.detail) for item in result.expectations} == {
        ("environment is AVAILABLE", False, "it is UPDATING"),
        ("DAG etl", False, "not checked: unmet is 'environment is AVAILABLE'"),
    }
    assert canned.airflow.calls == []
    assert result.created == Created()
    # The load goes on: its calls can be built.
    assert OURS in build_call("get_dag_run", {}, arrival=0, targets=result.targets).path


@pytest.mark.parametrize("refusal", [None, (504, "GatewayTimeout", "no answer")])
def test_a_webserver_that_does_not_answer_is_an_unmet_expectation(
    canned: CannedMwaa, refusal: tuple[int, str, str] | None
) -> None:
    facts = describe_environment(canned.clients(), NAME)
    canned.refusal = refusal
    if refusal is None:
        canned.url = "http://127.0.0.1:1"
    wanted = scenario({"set_variable": 1}, expect={"dags": ["etl"]})
    told = preflight(canned.clients(), wanted, facts, RUN_ID, **NO_WAIT).expectations
    assert [(item.name, item.met) for item in told] == [
        ("REST API answers", False),
        ("DAG etl", False),
    ]


def test_a_denied_call_is_an_error_whatever_is_expected(canned: CannedMwaa) -> None:
    facts = describe_environment(canned.clients(), NAME)
    canned.refusal = (403, "AccessDeniedException", "not authorized")
    wanted = scenario({"health": 1}, expect={"dags": ["etl"]})
    with pytest.raises(EnvironmentAccessError, match="access is denied"):
        preflight(canned.clients(), wanted, facts, RUN_ID, **NO_WAIT)


def test_ctrl_c_while_preparing_undoes_what_was_created(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {}
    clients = canned.clients()
    facts = describe_environment(clients, NAME)
    pressed = False

    def press_ctrl_c_once_something_is_there(_: float) -> None:
        nonlocal pressed
        if not pressed and len(canned.airflow.runs.get("headroom_example", [])) == 3:
            pressed = True
            raise KeyboardInterrupt

    wanted = scenario({"set_variable": 1, "get_dag_run": 1})
    with pytest.raises(KeyboardInterrupt):
        preflight(clients, wanted, facts, RUN_ID, sleep=press_ctrl_c_once_something_is_there)
    assert canned.airflow.runs == {"headroom_example": []}
    assert canned.airflow.variables == {}


def test_cleaning_up_finds_everything_triggered_over_many_pages_and_nothing_else(
    canned: CannedMwaa,
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    foreign = [f"headroom__20250101T000000-x-ab12__{n}" for n in range(120)] + ["manual__x"]
    triggered = [f"{OURS}{n}" for n in range(250)]
    canned.airflow.runs["headroom_example"] = [*foreign, *triggered, "scheduled__later"]
    result = tidy(canned, scenario({"trigger_dag_run": 1}), Created())
    assert result == CleanupResult({DAG_RUNS: 250}, {})
    assert canned.airflow.runs["headroom_example"] == [*foreign, "scheduled__later"]


def test_cleaning_up_looks_behind_pages_of_runs_that_others_triggered_since(
    canned: CannedMwaa,
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    old = [f"old__{n}" for n in range(350)]
    later = [f"scheduled__{n}" for n in range(250)]
    canned.airflow.queued_at = {
        **dict.fromkeys(old, "2026-11-20T00:00:00Z"),
        **dict.fromkeys(later, "2026-11-22T07:45:00+00:00"),
    }
    canned.airflow.runs["headroom_example"] = [*old, f"{OURS}0", *later]
    result = tidy(canned, scenario({"trigger_dag_run": 1}), Created())
    assert result == CleanupResult({DAG_RUNS: 1}, {})
    # Ours is on the third page, the fourth is older than this run: there the search ends.
    assert canned.airflow.calls.count(("GET", "/dags/headroom_example/dagRuns")) == 4


def test_aws_is_cleaned_up_only_when_asked(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = [f"{OURS}0"]
    created = Created(variables=("headroom_variable",))
    kept = scenario({"trigger_dag_run": 1}, kind="aws", limits={"clean_up": False})
    assert tidy(canned, kept, created) == CleanupResult({}, {})
    assert canned.airflow.calls == []
    cleaned = scenario({"trigger_dag_run": 1}, kind="aws")
    # the variable is gone already: nothing is left to undo, which is what was wanted
    assert tidy(canned, cleaned, created) == CleanupResult({DAG_RUNS: 1, VARIABLES: 1}, {})


def test_a_running_dag_run_is_ended_before_it_is_deleted(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = [f"{OURS}0"]
    path = f"/dags/headroom_example/dagRuns/{OURS}0"
    canned.airflow.statuses["DELETE", path] = [409]
    assert tidy(canned, scenario({"trigger_dag_run": 1}), Created()).deleted == {DAG_RUNS: 1}
    assert [call for call in canned.airflow.calls if call[1] == path] == [
        ("DELETE", path),
        ("PATCH", path),
        ("DELETE", path),
    ]


@pytest.mark.parametrize(("refusals", "deleted"), [([500], True), ([500, 403], False)])
def test_what_cannot_be_deleted_is_tried_once_more_and_then_counted(
    canned: CannedMwaa, refusals: list[int], deleted: bool
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = [f"{OURS}0", f"{OURS}1"]
    canned.airflow.statuses["DELETE", f"/dags/headroom_example/dagRuns/{OURS}1"] = refusals
    result = tidy(canned, scenario({"trigger_dag_run": 1}), Created())
    expected = CleanupResult({DAG_RUNS: 2}, {})
    assert result == (expected if deleted else CleanupResult({DAG_RUNS: 1}, {DAG_RUNS: 1}))


def test_an_environment_that_is_gone_is_counted_and_not_raised(canned: CannedMwaa) -> None:
    canned.url = "http://127.0.0.1:1"
    created = Created({"etl": (f"{OURS}seed0",)}, ("headroom_variable",), {"etl": True})
    result = tidy(canned, scenario({"health": 1}), created)
    assert result == CleanupResult({}, {DAG_RUNS: 1, VARIABLES: 1, PAUSED_STATES: 1})


def test_preparing_and_tidying_keep_to_the_rate(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {}
    now_s = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    clients = canned.clients()
    wanted = scenario({"get_dag_run": 1}, limits={"max_rate_per_s": 2})
    facts = describe_environment(clients, NAME)
    preflight(clients, wanted, facts, RUN_ID, clock=lambda: now_s, sleep=sleep)
    # health, the DAG, its runs, ten triggers: 13 calls, 12 intervals of half a second
    assert len(canned.airflow.calls) == 13
    assert now_s == pytest.approx(6.0)


@pytest.mark.parametrize(
    "body",
    [
        {"dag_runs": [{"dag_run_id": "a"}, {"state": "queued"}, {"dag_run_id": None}, None, "b"]},
        {"dag_runs": [{"dag_run_id": "a", "state": "queued"}]},
    ],
)
def test_runs_without_an_id_are_left_out(body: dict[str, Any]) -> None:
    assert [run["dag_run_id"] for run in Answer(200, body).dag_runs] == ["a"]


@pytest.mark.parametrize("body", [None, [], {"dag_runs": None}, {"dag_runs": {"dag_run_id": "a"}}])
def test_a_list_that_is_none_holds_no_runs(body: object) -> None:
    assert Answer(200, body).dag_runs == []
