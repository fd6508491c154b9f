"""Closed workloads and traces: what they are called, and what no closed workload can answer."""

from pathlib import Path
from typing import Any

import pytest
from calls_by_hand import began, calls_by_hand, ended, setting_of
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.findings import refusal, warning
from mwaa_headroom.analysis.generator.health import lost_with_users
from mwaa_headroom.analysis.judge import Window
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.html import render_html
from mwaa_headroom.analysis.report.junit import render_junit
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.report.terminal import render_terminal
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.setting import read_setting
from mwaa_headroom.analysis.stages import measured_window, stage_stats, stage_times

USERS: dict[str, Any] = {"users": (2, 20), "think_time_s": 1.0, "stage_s": 40.0}


def analysed(directory: Path, **changes: Any) -> RunAnalysis:
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
    analysis = analysed(tmp_path / "run", question="capacity")
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
    analysis = analysed(tmp_path / "run", question="check")
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
    analysis = analysed(tmp_path / "run", question="check", **spoilt)
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
