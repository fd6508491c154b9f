"""Before and after the load: what is missing is named, what is created is undone, no more."""

from collections import Counter
from typing import Any

import pytest
from airflow_imitation import Airflow
from aws_imitation import Imitation, serving
from canned_mwaa import NAME, CannedMwaa

from mwaa_headroom.analysis.findings import note
from mwaa_headroom.analysis.leftovers import DAG_RUNS, PAUSED_STATES, VARIABLES
from mwaa_headroom.analysis.mwaa import INVOKE_PATH_CHARACTERS
from mwaa_headroom.analysis.results import Expectation
from mwaa_headroom.harness.aws.cleanup import (
    MOST_FAILURES_IN_A_ROW,
    Created,
    Undoing,
    cleaning_api,
    dags_triggered,
    deletes_in_bulk,
    finder,
    still_there,
    undo,
    undoing_s,
)
from mwaa_headroom.harness.aws.clients import Answer, RestApi, make_clients
from mwaa_headroom.harness.aws.environment import describe_environment
from mwaa_headroom.harness.aws.preflight import PreflightResult, preflight
from mwaa_headroom.harness.errors import EnvironmentAccessError, PreflightError
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.operations import build_call, run_id_prefix

RUN_ID = "20261122T073000-x-ab12"
OURS = run_id_prefix(RUN_ID)
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


def check(canned: CannedMwaa, wanted: Scenario, created: Created | None = None) -> PreflightResult:
    clients = canned.clients()
    facts = describe_environment(clients, NAME)
    return preflight(clients, wanted, facts, RUN_ID, created or Created(), **NO_WAIT)


def tidy(canned: CannedMwaa, ran: Scenario, created: Created) -> tuple[dict[str, int], ...]:
    """What was undone, and what was not."""
    api = cleaning_api(canned.clients(), ran, **NO_WAIT)
    find = finder(api, RUN_ID)
    runs = still_there(find, dags_triggered(ran), created.dag_runs)
    undoing = Undoing()
    undo(api, Created(runs, created.variables, created.paused), undoing, lambda _: None, find)
    return +undoing.done, +undoing.left


def test_a_mix_without_needs_only_asks_each_of_its_reads_once(canned: CannedMwaa) -> None:
    created = Created()
    again = {"operation": "list_pools", "weight": 2}
    mix = {"health": 1, "list_dags": 1, "list_pools": 1, "pools_again": again}
    result = check(canned, scenario(mix), created)
    assert created == Created()
    assert result.targets.airflow_version == "3.0.6"
    assert result.targets.run_id == RUN_ID
    assert canned.airflow.calls == [
        ("GET", "/monitor/health"),
        ("GET", "/dags"),
        ("GET", "/pools"),
    ]


@pytest.mark.parametrize("status", [401, 403])
def test_reads_that_the_airflow_role_forbids_are_named_together_before_anything_is_created(
    canned: CannedMwaa, status: int
) -> None:
    """As in a question of somebody whose role may read DAGs, but no connections."""
    canned.airflow.dags["headroom_example"] = {}
    run = f"/dags/headroom_example/dagRuns/{OURS}x"
    for path in ("/connections", "/variables", run):
        canned.airflow.statuses["GET", path] = [status] * 9
    reads = ("list_connections", "list_dags", "list_variables", "get_dag_run")
    mix = dict.fromkeys((*reads, "trigger_dag_run", "set_variable"), 1)
    with pytest.raises(PreflightError) as told:
        check(canned, scenario(mix))
    named = f"list_connections ({status}), list_variables ({status}), get_dag_run ({status});"
    assert named in str(told.value)
    assert {method for method, _ in canned.airflow.calls} == {"GET"}


@pytest.mark.parametrize("status", [400, 404, 422, 500, 503])
def test_what_else_a_read_meets_is_left_to_the_load(canned: CannedMwaa, status: int) -> None:
    canned.airflow.statuses["GET", "/connections"] = [status] * 9
    assert check(canned, scenario({"list_connections": 1})).findings == ()


def test_a_read_that_the_service_refuses_is_left_to_the_load_and_our_ids_are_short(
    canned: CannedMwaa, monkeypatch: pytest.MonkeyPatch
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = [f"{n}" for n in range(20)]
    asked = check(canned, scenario({"list_task_instances": 1}))
    assert max(len(path) for _, path in canned.airflow.calls) <= INVOKE_PATH_CHARACTERS
    monkeypatch.setattr(canned, "most_path_characters", len("/dags/headroom_example/dagRuns"))
    assert check(canned, scenario({"list_task_instances": 1})).targets == asked.targets


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
        preflight(clients, scenario({"health": 1}), facts, RUN_ID, Created(), **NO_WAIT)


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
    canned.airflow.runs["headroom_example"] = [f"run__{n}" for n in range(150)]
    created = Created()
    result = check(canned, scenario({"get_dag_run": 1, "list_task_instances": 1}), created)
    assert result.targets.dag_run_ids == {
        "headroom_example": tuple(f"run__{n}" for n in range(149, 49, -1))
    }
    assert created == Created()
    assert canned.airflow.calls.count(("GET", "/dags/headroom_example/dagRuns")) == 1


@pytest.mark.parametrize("major", [2, 3])
def test_too_few_runs_are_made_ten_and_cleaned_up_again(canned: CannedMwaa, major: int) -> None:
    canned.environment["AirflowVersion"] = {2: "2.10.3", 3: "3.0.6"}[major]
    canned.airflow.major = major
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = ["manual__1", "manual__2", "manual__3"]
    wanted = scenario({"get_dag_run": 1})
    created = Created()

    result = check(canned, wanted, created)

    seeds = tuple(f"{OURS}s{n}" for n in range(7))
    assert created.dag_runs == {"headroom_example": seeds}
    targets = result.targets
    assert len(targets.dag_run_ids["headroom_example"]) == 10
    call = build_call("get_dag_run", {}, arrival=5, targets=targets)
    assert call.path.split("/")[-1] in targets.dag_run_ids["headroom_example"]

    assert tidy(canned, wanted, created) == ({DAG_RUNS: 7}, {})
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


def test_runs_are_named_as_airflow_knows_them_and_those_without_a_path_are_left_out(
    canned: CannedMwaa,
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    odd = ["path/to/file", "pct%41", "q?x", "a b", "più", "..", "."]
    canned.airflow.runs["headroom_example"] = ["lost/1", *odd, *(f"m__{n}" for n in range(9))]
    canned.airflow.statuses["GET", "/dags/headroom_example/dagRuns/lost%2F1"] = [404]
    result = check(canned, scenario(READING, kind="aws"))
    (found,) = result.findings
    assert (found.code, found.severity) == ("preflight.runs_left_out", "warning")
    assert found.values == {"dag_id": "headroom_example", "runs": 3, "reason": "not_addressable"}
    runs = result.targets.dag_run_ids["headroom_example"]
    assert [run for run in runs if run in odd] == odd[4::-1]


LONG = [f"scheduled__2026-01-{day:02d}T00:00:00+00:00" for day in range(1, 13)]


def test_runs_whose_paths_are_too_long_are_left_out_where_others_will_do(
    canned: CannedMwaa,
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = [*LONG, *(f"m__{n}" for n in range(10))]
    result = check(canned, scenario(READING, kind="aws"))
    assert set(result.targets.dag_run_ids["headroom_example"]).isdisjoint(LONG)
    assert [found.values["reason"] for found in result.findings] == ["too_long"]


@pytest.mark.parametrize("is_enforced", [True, False])
def test_whether_long_paths_are_refused_is_seen_where_there_are_no_others(
    canned: CannedMwaa, is_enforced: bool
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = LONG
    canned.most_path_characters = 64 if is_enforced else 1000
    if is_enforced:
        with pytest.raises(PreflightError, match="short run id"):
            check(canned, scenario(READING, kind="aws"))
        return
    result = check(canned, scenario(READING, kind="aws"))
    assert set(result.targets.dag_run_ids["headroom_example"]) == set(LONG)
    assert [(found.code, found.values["characters"]) for found in result.findings] == [
        ("preflight.long_path", 67),
        ("preflight.long_path", 81),
    ]


def test_own_ids_keep_to_the_paths_of_invoke_rest_api(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.most_path_characters = 64
    wanted, created = scenario({"trigger_dag_run": 1, **READING}, kind="aws"), Created()
    assert check(canned, wanted, created).findings == ()
    assert tidy(canned, wanted, created) == ({DAG_RUNS: 10}, {})


@pytest.mark.parametrize(("largest_page", "answered"), [(100, 100), (50, 50), (1000, None)])
def test_a_page_that_is_capped_is_told(
    canned: CannedMwaa, largest_page: int, answered: int | None
) -> None:
    canned.airflow.largest_page = largest_page
    found = check(canned, scenario({"list_pools": {"weight": 1, "limit": 250}})).findings
    values = [each.values for each in found]
    expected = {"label": "list_pools", "limit": 250, "answered": answered}
    assert values == ([] if answered is None else [expected])


@pytest.mark.parametrize("status", [401, 403])
def test_a_role_that_may_not_read_a_dag_is_not_told_to_deploy_it(
    canned: CannedMwaa, status: int
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.statuses["GET", "/dags/headroom_example"] = [status]
    with pytest.raises(PreflightError, match="use an Airflow role that may read DAG") as caught:
        check(canned, scenario({"trigger_dag_run": 1}))
    assert "deploy" not in str(caught.value)


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


def test_what_was_made_before_something_fails_is_known_and_undone(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.dags["etl"] = {}
    canned.airflow.statuses["POST", "/dags/etl/dagRuns"] = [403]
    mix = {
        "set_variable": 1,
        "get_dag_run": 1,
        "etl": {"operation": "get_dag_run", "dag_id": "etl", "weight": 1},
    }
    created = Created()
    with pytest.raises(PreflightError, match=r"traffic\.mix\.etl\.dag_id: .* answered 403"):
        check(canned, scenario(mix), created)
    assert tidy(canned, scenario(mix), created) == ({DAG_RUNS: 10, VARIABLES: 1}, {})
    assert canned.airflow.runs == {"headroom_example": []}
    assert canned.airflow.variables == {}


def test_a_missing_variable_is_created_and_deleted_again(canned: CannedMwaa) -> None:
    wanted, created = scenario({"set_variable": 1}), Created()
    check(canned, wanted, created)
    assert created.variables == {"headroom_variable": None}
    assert "headroom_variable" in canned.airflow.variables
    assert tidy(canned, wanted, created) == ({VARIABLES: 1}, {})
    assert canned.airflow.variables == {}


def test_a_variable_of_ours_gets_its_value_back(canned: CannedMwaa) -> None:
    canned.airflow.variables["headroom_variable"] = "left over"
    wanted, created = scenario({"set_variable": 1}), Created()
    check(canned, wanted, created)
    canned.airflow.variables["headroom_variable"] = "00000000000000000000000000000007"
    assert tidy(canned, wanted, created) == ({VARIABLES: 1}, {})
    assert canned.airflow.variables == {"headroom_variable": "left over"}


def test_a_variable_whose_value_is_hidden_could_not_be_given_back(canned: CannedMwaa) -> None:
    canned.airflow.variables["headroom_secret"] = "***"
    mix = {"set_variable": {"weight": 1, "key": "headroom_secret"}}
    with pytest.raises(PreflightError, match=r"traffic\.mix\.set_variable\.key: .*not show"):
        check(canned, scenario(mix))


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
    wanted, created = scenario({"pause_dag": 1, "unpause_dag": 1}), Created()
    check(canned, wanted, created)
    canned.airflow.dags["headroom_pausable"]["is_paused"] = not was_paused
    assert tidy(canned, wanted, created) == ({PAUSED_STATES: 1}, {})
    assert canned.airflow.dags["headroom_pausable"]["is_paused"] is was_paused


@pytest.mark.parametrize(
    ("kind", "limits", "components"),
    [
        ("aws", {}, ("scheduler",)),
        ("aws", {"abort_unhealthy": ["triggerer"]}, None),
        ("simulated", {}, None),
    ],
)
def test_an_illness_that_cannot_be_seen_to_begin_is_told(
    canned: CannedMwaa, kind: str, limits: dict[str, Any], components: tuple[str, ...] | None
) -> None:
    canned.airflow.health = {"scheduler": {"status": "unhealthy"}, "triggerer": {"status": None}}
    found = check(canned, scenario({"health": 1}, kind=kind, limits=limits)).findings
    told = [f.values["components"] for f in found if f.code == "preflight.unwatched"]
    assert told == ([] if components is None else [components])


def test_triggering_a_paused_dag_is_noted_once(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {"is_paused": True}
    again = {"operation": "trigger_dag_run", "weight": 1}
    found = check(canned, scenario({"trigger_dag_run": 1, "again": again})).findings
    assert found == (note("preflight.dag_paused", dag_id="headroom_example"),)
    assert found[0].values == {"dag_id": "headroom_example"}


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
    created = Created()
    result = check(canned, wanted, created)
    assert {(item.name, item.met, item.detail) for item in result.expectations} == {
        ("environment is AVAILABLE", False, "it is UPDATING"),
        ("DAG etl", False, "not checked: unmet is 'environment is AVAILABLE'"),
    }
    assert canned.airflow.calls == []
    assert created == Created()
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
    clients = canned.clients()
    told = preflight(clients, wanted, facts, RUN_ID, Created(), **NO_WAIT).expectations
    assert [(item.name, item.met) for item in told] == [
        ("REST API answers", False),
        ("DAG etl", False),
    ]


def test_a_denied_call_is_an_error_whatever_is_expected(canned: CannedMwaa) -> None:
    facts = describe_environment(canned.clients(), NAME)
    canned.refusal = (403, "AccessDeniedException", "not authorized")
    wanted = scenario({"health": 1}, expect={"dags": ["etl"]})
    with pytest.raises(EnvironmentAccessError, match="access is denied"):
        preflight(canned.clients(), wanted, facts, RUN_ID, Created(), **NO_WAIT)


def test_everything_is_told_before_it_is_created(canned: CannedMwaa) -> None:
    told: list[tuple[str, str, bool]] = []

    def tell(*, what: str, name: str, **_: object) -> None:
        is_there = [name in canned.airflow.variables, *(name in r for r in canned_runs())]
        told.append((what, name, any(is_there)))

    def canned_runs() -> Any:
        return canned.airflow.runs.values()

    canned.airflow.dags["headroom_example"] = {}
    check(canned, scenario({"set_variable": 1, "get_dag_run": 1}), Created(tell=tell))
    assert told == [
        (VARIABLES, "headroom_variable", False),
        *((DAG_RUNS, f"{OURS}s{n}", False) for n in range(10)),
    ]


def test_cleaning_up_finds_everything_triggered_over_many_pages_and_nothing_else(
    canned: CannedMwaa,
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    foreign = [f"headroom_abcdef_{n}" for n in range(120)] + ["manual__x"]
    triggered = [f"{OURS}{n}" for n in range(250)]
    canned.airflow.runs["headroom_example"] = [*foreign, *triggered, "scheduled__later"]
    result = tidy(canned, scenario({"trigger_dag_run": 1}), Created())
    assert result == ({DAG_RUNS: 250}, {})
    assert canned.airflow.runs["headroom_example"] == [*foreign, "scheduled__later"]


def test_cleaning_up_looks_behind_pages_of_runs_that_others_triggered_since(
    canned: CannedMwaa,
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    old = [f"old__{n}" for n in range(350)]
    later = [f"run__{n}" for n in range(250)]
    canned.airflow.queued_at = {
        **dict.fromkeys(old, "2026-11-20T00:00:00Z"),
        **dict.fromkeys(later, "2026-11-22T07:45:00+00:00"),
    }
    canned.airflow.runs["headroom_example"] = [*old, f"{OURS}0", *later]
    result = tidy(canned, scenario({"trigger_dag_run": 1}), Created())
    assert result == ({DAG_RUNS: 1}, {})
    # Ours is on the third page, the fourth is older than this run: there the search ends. It is
    # done once more, to see that ours is gone: the third page then is older too.
    assert canned.airflow.calls.count(("GET", "/dags/headroom_example/dagRuns")) == 4 + 4


def test_what_is_gone_already_is_undone(canned: CannedMwaa) -> None:
    created = Created(variables={"headroom_variable": None})
    assert tidy(canned, scenario({"health": 1}), created) == ({VARIABLES: 1}, {})


@pytest.mark.parametrize("answer", [500, 403])
def test_runs_that_cannot_be_listed_are_deleted_by_their_ids(
    canned: CannedMwaa, answer: int
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = [f"{OURS}{n}" for n in range(3)]
    canned.airflow.statuses["GET", "/dags/headroom_example/dagRuns"] = [answer] * 2
    created = Created({"headroom_example": tuple(f"{OURS}{n}" for n in range(4))})
    # the fourth was never there
    assert tidy(canned, scenario({"trigger_dag_run": 1}), created) == ({DAG_RUNS: 4}, {})
    assert canned.airflow.runs == {"headroom_example": []}


def test_a_role_that_may_not_delete_is_not_asked_for_ever(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = [f"{OURS}{n}" for n in range(40)]
    canned.airflow.forbidden = {"DELETE"}
    assert tidy(canned, scenario({"trigger_dag_run": 1}), Created()) == ({}, {DAG_RUNS: 40})
    deletes = [call for call in canned.airflow.calls if call[0] == "DELETE"]
    assert len(deletes) == MOST_FAILURES_IN_A_ROW


def test_a_running_dag_run_is_ended_before_it_is_deleted(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = [f"{OURS}0"]
    path = f"/dags/headroom_example/dagRuns/{OURS}0"
    canned.airflow.statuses["DELETE", path] = [409]
    assert tidy(canned, scenario({"trigger_dag_run": 1}), Created()) == ({DAG_RUNS: 1}, {})
    assert [call for call in canned.airflow.calls if call[1] == path] == [
        ("DELETE", path),
        ("PATCH", path),
        ("DELETE", path),
    ]


def test_a_running_dag_run_that_airflow_says_it_deleted_is_ended_and_deleted(
    canned: CannedMwaa,
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = [f"{OURS}0", f"{OURS}1"]
    path = f"/dags/headroom_example/dagRuns/{OURS}1"
    canned.airflow.statuses["DELETE", path] = [204]
    assert tidy(canned, scenario({"trigger_dag_run": 1}), Created()) == ({DAG_RUNS: 2}, {})
    assert canned.airflow.runs == {"headroom_example": []}
    assert ("PATCH", path) in canned.airflow.calls


@pytest.mark.parametrize(
    ("version", "changes"), [("2.10.3", 130), ("3.0.6", 132), ("3.3.1", 6 + 1)]
)
def test_many_runs_are_deleted_at_once_where_airflow_can(version: str, changes: int) -> None:
    airflow = Airflow(version, dags={"headroom_example": {}})
    for number in range(130):
        airflow.trigger("headroom_example", f"{OURS}{number}")
    airflow.trigger("headroom_example", "manual__x")
    airflow.runs["headroom_example"][f"{OURS}7"]["state"] = "running"
    with serving(Imitation(airflow=airflow)) as aws:
        clients = make_clients(environment=aws.name, variables=aws.variables())
        api = RestApi(clients, aws.name, rate_per_s=10_000, **NO_WAIT)
        find = finder(api, RUN_ID)
        created = Created(still_there(find, ["headroom_example"], {}))
        undoing, told = Undoing(), []
        undo(
            api,
            created,
            undoing,
            lambda u: told.append(u.left.total()),
            find,
            in_bulk=deletes_in_bulk(version),
        )
    assert (+undoing.done, +undoing.left) == ({DAG_RUNS: 130}, {})
    assert [*airflow.runs["headroom_example"]] == ["manual__x"]
    assert told[-1] == 0
    assert sum(method != "GET" for method, _ in airflow.calls) == changes


def test_what_a_call_for_many_does_not_delete_is_deleted_one_by_one() -> None:
    airflow = Airflow("3.3.1", dags={"headroom_example": {}})
    for number in range(130):
        airflow.trigger("headroom_example", f"{OURS}{number}")
    with serving(Imitation(airflow=airflow)) as aws:
        clients = make_clients(environment=aws.name, variables=aws.variables())
        api = RestApi(clients, aws.name, rate_per_s=10_000, **NO_WAIT)
        find = finder(api, RUN_ID)
        created = Created(still_there(find, ["headroom_example"], {}))
        airflow.version = "3.2.1"  # 404
        undoing = Undoing()
        undo(api, created, undoing, lambda _: None, find, in_bulk=True)
    assert (+undoing.done, +undoing.left) == ({DAG_RUNS: 130}, {})


@pytest.mark.parametrize(
    ("version", "expected"),
    [("2.11.2", False), ("3.0.6", False), ("3.3.1", True), ("3.10.0", True), ("4.0", True)],
)
def test_which_airflow_deletes_many_at_once(version: str, expected: bool) -> None:
    assert deletes_in_bulk(version) is expected


def test_how_long_undoing_takes_is_known_beforehand() -> None:
    counts = Counter({DAG_RUNS: 10_000, VARIABLES: 5})
    assert undoing_s(counts, 5.0, in_bulk=False) == 2001
    assert undoing_s(counts, 5.0, in_bulk=True) < 800


@pytest.mark.parametrize(("refusals", "deleted"), [([500], True), ([500, 500, 403], False)])
def test_what_cannot_be_deleted_is_tried_again_and_then_counted(
    canned: CannedMwaa, refusals: list[int], deleted: bool
) -> None:
    canned.airflow.dags["headroom_example"] = {}
    canned.airflow.runs["headroom_example"] = [f"{OURS}0", f"{OURS}1"]
    canned.airflow.statuses["DELETE", f"/dags/headroom_example/dagRuns/{OURS}1"] = refusals
    result = tidy(canned, scenario({"trigger_dag_run": 1}), Created())
    assert result == (({DAG_RUNS: 2}, {}) if deleted else ({DAG_RUNS: 1}, {DAG_RUNS: 1}))


def test_nothing_more_is_tried_once_the_credentials_have_expired(canned: CannedMwaa) -> None:
    canned.refusal = (403, "ExpiredTokenException", "The security token is expired")
    runs = tuple(f"{OURS}{n}" for n in range(40))
    api, undoing = cleaning_api(canned.clients(), scenario({"health": 1}), **NO_WAIT), Undoing()
    for in_bulk in (False, True):
        undoing = Undoing()
        canned.seen.clear()
        undo(api, Created({"etl": runs}), undoing, lambda _: None, lambda _: None, in_bulk=in_bulk)
        assert (+undoing.done, +undoing.left) == ({}, {DAG_RUNS: 40})
        assert "the AWS credentials have expired" in undoing.refusal
        assert len(canned.seen) == 1


def test_an_environment_that_is_gone_is_counted_and_not_raised(canned: CannedMwaa) -> None:
    canned.url = "http://127.0.0.1:1"
    created = Created({"etl": (f"{OURS}s0",)}, {"headroom_variable": None}, {"etl": True})
    result = tidy(canned, scenario({"health": 1}), created)
    assert result == ({}, {DAG_RUNS: 1, VARIABLES: 1, PAUSED_STATES: 1})


def test_preparing_and_tidying_keep_to_the_rate(canned: CannedMwaa) -> None:
    canned.airflow.dags["headroom_example"] = {}
    now_s = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    clients = canned.clients()
    wanted = scenario({"get_dag_run": 1}, limits={"max_rate_per_s": 2})
    facts = describe_environment(clients, NAME)
    preflight(clients, wanted, facts, RUN_ID, Created(), clock=lambda: now_s, sleep=sleep)
    # health, the DAG, one run, its runs, ten triggers: 14 calls, 13 intervals of half a second
    assert len(canned.airflow.calls) == 14
    assert now_s == pytest.approx(6.5)


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
