"""A run from its record to its answer, of open and closed workloads."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from calls_by_hand import began, calls_by_hand, ended, setting_of
from synthetic_records import STARTED_AT_S, write_synthetic_run

from mwaa_headroom.analysis import schema
from mwaa_headroom.analysis.errors import RecordFormatError
from mwaa_headroom.analysis.findings import refusal, warning
from mwaa_headroom.analysis.generator.health import lost_with_users
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.html import render_html
from mwaa_headroom.analysis.report.junit import render_junit
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.report.sentences.run import verdict_sentence
from mwaa_headroom.analysis.report.terminal import render_terminal
from mwaa_headroom.analysis.report.write import write_document
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.run import ANALYSED_COLUMNS, Run
from mwaa_headroom.analysis.schema import MANIFEST_FILE, REQUESTS_SCHEMA
from mwaa_headroom.analysis.setting import read_setting
from mwaa_headroom.analysis.slo_judgement import Window
from mwaa_headroom.analysis.stages import measured_window, stage_stats, stage_times
from mwaa_headroom.harness.scenario.load import check_scenario


def analysed(directory: Path, **changes: Any) -> RunAnalysis:
    write_synthetic_run(directory, **changes)
    return Run(read_run(directory)).analysis


def with_manifest(directory: Path, **changes: Any) -> RunAnalysis:
    path = directory / schema.MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return Run(read_run(directory)).analysis


def test_a_capacity_run_is_answered(tmp_path: Path) -> None:
    """2 -> 3 webservers of 0.25 CPU at 22 ms a call: 24 calls/s fit (73 % CPU), 36 cannot (109 %).

    For 20 calls/s at 70 %: 20 * 0.022 / (0.7 * 0.25 - 0.01) = 2.7, so 3 webservers.
    """
    analysis = analysed(tmp_path / "run")
    assert analysis.capacity is not None
    assert (analysis.capacity.highest_stage, analysis.capacity.stopped_by_stage) == (4, 5)
    assert analysis.capacity.bottleneck == "webserver_cpu"
    assert analysis.capacity.rate_per_s is not None
    assert 24.0 < (analysis.capacity.rate_per_s.value or 0.0) < 36.0
    assert (analysis.capacity.webservers, analysis.capacity.rate_webservers) == (3, 3)
    assert analysis.sizing is not None
    assert analysis.sizing.target is not None
    assert analysis.sizing.target.webservers == 3
    (event,) = analysis.scaling
    assert (event.from_count, event.to_count, event.ready_s) == (2, 3, STARTED_AT_S + 204)
    assert [line.met for line in analysis.slo] == [True, True]
    assert analysis.verdict.answered
    assert analysis.verdict.exit_code == 0
    assert verdict_sentence(analysis).startswith(
        "20 calls/s of this mix need 3 webservers with 0.25 CPU (95 % interval 3); measured: "
    )
    assert analysis.complete
    assert analysis.warnings == ()
    assert analysis.environment["airflow_version"] == "3.3.1"
    assert sum(analysis.mix.values()) == pytest.approx(1)


THROTTLED = {"rates_per_s": (4.0, 8.0, 30.0), "throttle_per_s": 10.0}
CALM: dict[str, Any] = {"rates_per_s": (4.0, 8.0), "stage_s": 40.0}
CHECK: dict[str, Any] = CALM | {"question": "check"}
OVERLOAD: dict[str, Any] = {"rates_per_s": (4.0, 60.0), "stage_s": 40.0}


@pytest.mark.parametrize(
    ("changes", "exit_code", "says"),
    [
        pytest.param(CHECK, 0, "Met: p95(latency) < 800ms (", id="check holds"),
        pytest.param(
            CHECK | {"expectations": (("dag one", True),)}, 0, "1 of 1 expectation.",
            id="check and expectations hold",
        ),
        pytest.param(
            CHECK | {"expectations": (("dag one", False),)}, 3, "Not met: dag one: dag one seen.",
            id="an expectation is not met",
        ),
        pytest.param(
            CHECK | {"airflow_error_share": 0.1}, 3, "Not met: rate(errors) < 1%:",
            id="too many errors",
        ),
        pytest.param(
            OVERLOAD | {"question": "check"}, 3, "Not met: p95(latency) < 800ms:", id="too slow"
        ),
        pytest.param(
            CHECK | {"lag_s": 0.2}, 5, "the load generator was the limit", id="generator too late"
        ),
        pytest.param(
            CHECK | {"unsent_share": 0.02}, 5, "never sent", id="generator did not send"
        ),
        pytest.param(
            CHECK | {"slo": ("p99.9(latency) < 1s",)}, 5, "p99.9 needs at least 1000 calls",
            id="too few calls",
        ),
        pytest.param(
            CHECK | {"slo": ("max(webserver.cpu) < 85%",), "with_metrics": False}, 5,
            "No whole metric period", id="no metrics for a line about them",
        ),
        pytest.param(
            CHECK | {"slo": ("p95(latency{operation=nobody}) < 1s",)}, 5, "No call of nobody",
            id="an operation nobody called",
        ),
        pytest.param(CALM, 5, "add a stage with a higher rate", id="capacity not reached"),
        pytest.param(
            OVERLOAD | {"with_metrics": False}, 5, "No webserver count can be given".lower(),
            id="capacity without metrics",
        ),
        pytest.param(
            {"rates_per_s": (60.0,), "stage_s": 40.0}, 5, "no stage met the SLO",
            id="capacity below the lowest stage",
        ),
        pytest.param(
            CALM | THROTTLED | {"target_rate_per_s": 9.0}, 0, "the service's throttle",
            id="throttled above the target",
        ),
        pytest.param(
            CALM | THROTTLED, 5, "No webserver count reaches 20 calls/s", id="throttled below it",
        ),
        pytest.param({"status": "failed"}, 5, "Not answered: the run broke down", id="failed"),
        pytest.param(CALM | {"status": "interrupted"}, 130, "Interrupted; up to then",
            id="interrupted"),
        pytest.param(CHECK | {"status": "aborted"}, 5, "did not come to its end", id="aborted"),
    ],
)  # fmt: skip
def test_the_question_is_answered_with_an_exit_code_and_a_sentence(
    tmp_path: Path, changes: dict[str, Any], exit_code: int, says: str
) -> None:
    analysis = analysed(tmp_path / "run", **changes)
    verdict, sentence = analysis.verdict, verdict_sentence(analysis)
    assert verdict.exit_code == exit_code
    assert says in sentence
    assert sentence.endswith(".")
    assert verdict.answered == (exit_code in (0, 3))


def test_a_check_that_holds_only_on_the_whole_names_the_stage_that_broke_it(
    tmp_path: Path,
) -> None:
    verdict = analysed(
        tmp_path / "run",
        question="check",
        rates_per_s=(9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 22.0),
        stage_s=25.0,
        slo=("p50(latency) < 600ms",),
        min_webservers=2,
        max_webservers=2,
    ).verdict
    assert verdict.exit_code == 3
    assert [each.values.get("stage") for each in verdict.reasons] == [(9, "stage 10")]


def test_lines_over_the_whole_run_leave_warm_ups_and_other_phases_out(tmp_path: Path) -> None:
    lines = ("rate(unsent) < 50%", "rate(goodput) > 10%", "rate(errors) < 50%")
    analysis = analysed(
        tmp_path / "run", **CHECK, slo=lines, unsent_share=0.2, airflow_error_share=0.1,
        recovery_s=40.0,
    )  # fmt: skip
    stages = analysis.stages
    arrivals = sum(stage.arrivals for stage in stages)
    sent = sum(stage.sent for stage in stages)
    ok = sum(stage.outcomes["ok"] for stage in stages)
    observed = [line.observed for line in analysis.slo]
    assert observed == pytest.approx([1 - sent / arrivals, ok / arrivals, 1 - ok / sent])


def test_a_one_webserver_run_without_events_of_the_environment(tmp_path: Path) -> None:
    analysis = analysed(
        tmp_path / "run", **OVERLOAD, min_webservers=1, max_webservers=1,
        with_environment_events=False,
    )  # fmt: skip
    assert analysis.scaling == ()
    assert analysis.stages[0].webservers_max == 1


def test_a_run_without_any_call(tmp_path: Path) -> None:
    analysis = analysed(tmp_path / "run", rates_per_s=(0.0001,), stage_s=30.0)
    assert analysis.verdict.exit_code == 5
    assert warning("run.no_calls") in analysis.warnings
    assert analysis.stages[0].arrivals == 0


def test_nothing_but_a_manifest_is_analysed(tmp_path: Path) -> None:
    write_synthetic_run(tmp_path / "run", **CALM)
    for path in (tmp_path / "run").iterdir():
        if path.name != schema.MANIFEST_FILE:
            path.unlink()
    analysis = Run(read_run(tmp_path / "run")).analysis
    assert analysis.stages == ()
    assert analysis.verdict.exit_code == 5
    assert not analysis.complete


def test_a_killed_run_is_analysed_with_what_is_there(tmp_path: Path) -> None:
    write_synthetic_run(tmp_path / "run", **CALM, streams=True, status="running")
    stream = tmp_path / "run" / schema.REQUESTS_STREAM
    stream.write_bytes(stream.read_bytes()[:-2000])
    with_manifest(tmp_path / "run", finished_at_s=None)
    ended_at_s = Run(read_run(tmp_path / "run")).analysis.ended_at_s
    with (tmp_path / "run" / schema.EVENTS_FILE).open("a") as events:
        for kind in ("cleaned_up", "metrics_collected"):  # the next day
            told = {"what": "dag_runs", "count": 1, "failed": 0} if kind == "cleaned_up" else {}
            event = {"time_s": STARTED_AT_S + 86_400, "kind": kind, "source": "harness", **told}
            events.write(f"{json.dumps(event)}\n")
    analysis = Run(read_run(tmp_path / "run")).analysis
    assert analysis.ended_at_s == ended_at_s
    assert not analysis.complete
    assert analysis.stages[0].met_slo is True
    assert warning("record.stream_read", file=schema.REQUESTS_STREAM, cut=True) in analysis.warnings
    assert analysis.ended_at_s > analysis.started_at_s


def test_missing_metric_periods_are_survived(tmp_path: Path) -> None:
    write_synthetic_run(tmp_path / "run")
    path = tmp_path / "run" / schema.METRICS_TABLE
    table = pq.read_table(path)
    since_start_s = pc.subtract(table["period_start_s"], STARTED_AT_S)
    gap = pc.and_(pc.greater(since_start_s, 100.0), pc.less(since_start_s, 150.0))
    pq.write_table(table.filter(pc.invert(gap)), path)
    analysis = Run(read_run(tmp_path / "run")).analysis
    assert len(analysis.scaling) == 1
    assert analysis.demand is not None
    assert analysis.demand.mix_s.value == pytest.approx(0.022, rel=0.1)


def test_what_a_careful_reader_must_know_is_a_warning(tmp_path: Path) -> None:
    write_synthetic_run(
        tmp_path / "run", **CHECK, slo=("p95(latency) < 1s",), airflow_error_share=0.1
    )
    events = [
        {"kind": "metrics_gap", "from_s": 1, "to_s": 2, "reason": "CloudWatch did not answer"},
        {"kind": "webserver_died", "webserver": "webserver-1", "detail": "out of memory"},
        {"kind": "aborted", "reason": "error rate 0.95"},
        {"kind": "note", "message": "The quota is near."},
        {"kind": "environment_ended", "logs": "/there"},
        {"kind": "clock_stepped", "step_s": -200.0},
        {"kind": "clock_stepped", "step_s": -199.9, "source": "environment"},  # the same again
    ]
    with (tmp_path / "run" / schema.EVENTS_FILE).open("a") as file:
        for event in events:
            file.write(json.dumps({"time_s": STARTED_AT_S, "source": "harness"} | event) + "\n")
    manifest = json.loads((tmp_path / "run" / schema.MANIFEST_FILE).read_text())
    environment = manifest["environment"]
    environment["after"] = environment["before"] | {"MaxWebservers": 5}
    environment["facts"] |= {"cpu_limited": False, "cpu_limit_reason": "no cgroups here"}
    analysis = with_manifest(tmp_path / "run", clock_offset_s=7.0, environment=environment)
    assert {each.code: dict(each.values) for each in (*analysis.warnings, *analysis.notes)} == {
        "run.clock_offset": {"offset_s": 7.0},
        "run.environment_changed": {"member": "MaxWebservers"},
        "run.metrics_gap": {"reason": "CloudWatch did not answer"},
        "run.webserver_died": {"webserver": "webserver-1", "reason": "out of memory"},
        "run.aborted": {"reason": "error rate 0.95"},
        "run.errors_not_limited": {"error_fraction": pytest.approx(0.1, abs=0.03)},
        "run.note": {"message": "The quota is near."},
        "run.environment_ended": {"logs": "/there"},
        "run.clock_stepped": {"step_s": -200.0},
        "run.cpu_not_limited": {"reason": "no cgroups here"},
    }


@pytest.mark.parametrize(
    ("after", "members"),
    [
        ({"Status": "UPDATING"}, ["Status"]),
        ({"LastUpdate": {"Status": "SUCCESS", "CreatedAt": "2026-11-30T12:00:00"}}, ["LastUpdate"]),
        ({"MinWorkers": 3}, []),
    ],
)
def test_an_update_in_the_middle_is_told(
    tmp_path: Path, after: dict[str, Any], members: list[str]
) -> None:
    write_synthetic_run(tmp_path / "run", **CHECK, slo=("p95(latency) < 1s",))
    manifest = json.loads((tmp_path / "run" / schema.MANIFEST_FILE).read_text())
    environment = manifest["environment"]
    environment["before"] |= {
        "Status": "AVAILABLE",
        "LastUpdate": {"Status": "SUCCESS", "CreatedAt": "2026-10-01T12:00:00"},
    }
    environment["after"] = environment["before"] | after
    analysis = with_manifest(tmp_path / "run", environment=environment)
    told = [f.values["member"] for f in analysis.warnings if f.code == "run.environment_changed"]
    assert told == members


@pytest.mark.parametrize(
    ("scenario", "says"),
    [
        (None, "has no scenario"),
        ({"name": "x"}, "incomplete"),
        ({"question": {"ask": "check"}, "slo": ["p95(latenc) < 1s"]}, "incomplete|judged"),
    ],
)
def test_a_manifest_without_a_usable_scenario_is_refused(
    tmp_path: Path, scenario: object, says: str
) -> None:
    write_synthetic_run(tmp_path / "run", **CALM)
    with pytest.raises(RecordFormatError, match=says):
        with_manifest(tmp_path / "run", scenario=scenario)


def test_the_imagined_manifest_holds_a_scenario_of_the_harness(tmp_path: Path) -> None:
    write_synthetic_run(tmp_path / "run", **CALM)
    manifest = read_run(tmp_path / "run").manifest
    saved = check_scenario(manifest["scenario"], origin="manifest").model_dump(mode="json")
    found = with_manifest(tmp_path / "run", scenario=saved)
    first = Run(read_run(tmp_path / "run")).analysis
    assert replace(found, identity=first.identity) == first


def test_the_same_record_gives_the_same_analysis(tmp_path: Path) -> None:
    first = analysed(tmp_path / "run", **CALM)
    assert Run(read_run(tmp_path / "run")).analysis == first


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of a client that repeats calls by itself: it makes use of most columns."""
    directory = tmp_path / "run"
    write_synthetic_run(
        directory, rates_per_s=(5.0, 20.0), stage_s=30.0, airflow_error_share=0.05, lag_s=0.002
    )
    path = directory / MANIFEST_FILE
    manifest = json.loads(path.read_text())
    manifest["scenario"]["traffic"] |= {"transport": "boto3", "retries": "standard"}
    path.write_text(json.dumps(manifest))
    return directory


def test_an_analysis_of_the_needed_columns_is_that_of_all(run: Path) -> None:
    lean = read_run(run, ANALYSED_COLUMNS)
    assert len(ANALYSED_COLUMNS) == lean.requests.num_columns < len(REQUESTS_SCHEMA)
    analysis = Run(lean).analysis
    assert analysis.retries is not None
    assert analysis == Run(read_run(run)).analysis


@pytest.mark.slow
def test_a_report_of_the_needed_columns_can_be_written(run: Path) -> None:
    lean = Run.read(run, ANALYSED_COLUMNS)
    assert write_document(run_document(lean), run).exists()


USERS: dict[str, Any] = {"users": (2, 20), "think_time_s": 1.0, "stage_s": 40.0}


def of_users(directory: Path, **changes: Any) -> RunAnalysis:
    write_synthetic_run(directory, **(USERS | changes))
    return Run(read_run(directory)).analysis


def test_a_closed_stage_has_users_and_the_rate_it_achieved() -> None:
    setting = setting_of({"rate_per_s": None, "users": 7})
    calls = calls_by_hand(outcomes=["ok"] * 80)
    (times,) = stage_times(setting, [began(0, 0.0), ended(0, 100.0)], calls)
    stage = stage_stats(times, measured_window(times, Window(calls, calls.ok, ())), ())
    assert (stage.users, stage.rate_per_s, stage.achieved_per_s) == (7, 0.8, 0.8)


def test_a_closed_record_never_tells_a_capacity_or_a_webserver_count(tmp_path: Path) -> None:
    """Stage 2 met the SLO and so would have been the answer of an open workload."""
    analysis = of_users(tmp_path / "run", question="capacity")
    assert [stage.met_slo for stage in analysis.stages] == [True, True]
    assert analysis.capacity is not None
    assert analysis.capacity.highest_rate_per_s is None
    assert analysis.capacity.explanation == refusal("capacity.closed")
    assert analysis.sizing is not None
    assert analysis.sizing.target is None
    assert analysis.sizing.rows == ()
    assert (analysis.verdict.answered, analysis.verdict.exit_code) == (False, 5)
    assert analysis.verdict.reasons[0] == refusal("capacity.closed")


def test_a_closed_check_is_judged_and_labelled_in_every_report(tmp_path: Path) -> None:
    analysis = of_users(tmp_path / "run", question="check")
    assert analysis.verdict.exit_code == 0
    assert analysis.workload == "closed: users with think time"
    assert warning("run.closed_hides_waiting") in analysis.warnings
    document = run_document(Run.read(tmp_path / "run"))
    text = render_terminal(document, verbose=True, width=100, colour=False)
    page = render_html(document, {})
    flat = " ".join(text.split())
    for report in (flat, page[: page.index("<script")], render_junit(document)):
        assert "closed: users with think time" in report
    for report in (text, page):
        assert "latencies hide the waiting" in " ".join(report.split())
        assert "users" in report
    answer = as_json(analysis)
    assert answer["workload"] == "closed: users with think time"
    assert [stage["users"] for stage in answer["stages"]] == [2, 20]


def test_users_lost_with_their_load_process_spoil_the_stage_they_were_lost_in(
    tmp_path: Path,
) -> None:
    """Half the users are gone after 10 of 40 s: no row says so, and fewer calls meet any SLO."""
    spoilt = {"users": (20, 20), "workers": 2, "last_worker_lost_at_s": 10.0}
    analysis = of_users(tmp_path / "run", question="check", **spoilt)
    assert [stage.met_slo for stage in analysis.stages] == [True, True]
    assert analysis.generator.arrivals == analysis.generator.rows
    assert analysis.stages[0].achieved_per_s < 0.7 * analysis.stages[1].achieved_per_s
    # The next stage has all its users again, on the process that is left.
    assert [stage.generator_ok for stage in analysis.stages] == [False, True]
    assert (analysis.verdict.exit_code, analysis.verdict.passed) == (5, None)
    reasons = [reason.values.get("reason") for reason in analysis.verdict.reasons]
    assert refusal("generator.lost_users", workers=(1,)) in reasons


@pytest.mark.parametrize(
    ("lost_at_s", "stages"),
    [
        (50.0, [0]),
        (103.0, [0]),  # noticed while the last calls were awaited: it may have been lost before
        (104.5, [1]),  # users had been shared out, their time had not come
        (150.0, [1]),
        (206.0, []),  # all calls had ended
    ],
)
def test_a_loss_belongs_to_the_stage_that_had_those_users(
    lost_at_s: float, stages: list[int]
) -> None:
    setting = setting_of(*[{"rate_per_s": None, "users": 7}] * 2)
    events = [
        *(began(0, 0.0), ended(0, 100.0), {"kind": "drained", "stage": 0, "time_s": 104.0}),
        *(began(1, 105.0), ended(1, 205.0), {"kind": "drained", "stage": 1, "time_s": 205.5}),
        {"kind": "worker_lost", "worker": 3, "reason": "it is gone", "time_s": lost_at_s},
    ]
    times = stage_times(setting, events, calls_by_hand(outcomes=["ok"]))
    lost = [lost_with_users(one.plan.users, one.started_at_s, events) for one in times]
    assert [index for index, workers in enumerate(lost) if workers] == stages


def test_an_open_stage_records_what_it_lost_as_rows() -> None:
    events = [began(0, 0.0), {"kind": "worker_lost", "worker": 0, "reason": "", "time_s": 5.0}]
    (times,) = stage_times(setting_of({}), events, calls_by_hand(outcomes=["ok"]))
    assert lost_with_users(times.plan.users, times.started_at_s, events) == ()


@pytest.mark.parametrize(
    ("arrivals", "called"),
    [
        ("poisson", "open: Poisson arrivals"),
        ("constant", "open: constant arrivals"),
        ("trace", "open: trace"),
        ("closed", "closed: users with think time"),
    ],
)
def test_workloads_by_name(arrivals: str, called: str) -> None:
    assert setting_with({"arrivals": arrivals}).workload == called


@pytest.mark.parametrize(
    ("version", "traffic", "transport"),
    [(1, {}, "boto3"), (2, {}, "lean"), (2, {"transport": "web_token"}, "web_token")],
)
def test_the_first_records_were_all_sent_by_boto3(
    version: int, traffic: dict[str, str], transport: str
) -> None:
    assert setting_with(traffic, version).transport == transport


def setting_with(traffic: dict[str, str], version: int = 2) -> Any:
    scenario = {
        "question": {"ask": "check"},
        "traffic": {"mix": {"health": {"weight": 1}}} | traffic,
        "stages": [{"rate_per_s": 1.0, "duration_s": 10.0}],
    }
    return read_setting({"schema_version": version, "scenario": scenario})


def test_a_run_is_read_from_a_text_too(tmp_path: Path) -> None:
    write_synthetic_run(tmp_path / "run", rates_per_s=(4.0,), stage_s=20.0)
    assert Run.read(f"{tmp_path}/run").run_id == Run.read(tmp_path / "run").run_id
