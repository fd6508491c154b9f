"""The load generator: its limits, what spoils a run, and its retries."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from calls_by_hand import calls_by_hand, setting_of
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis import schema
from mwaa_headroom.analysis.calls import Calls, good_calls
from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.generator.health import (
    generator_health,
    retries_of,
    rows_miscounted,
    worker_warnings,
)
from mwaa_headroom.analysis.generator.limits import (
    GeneratorFigures,
    GeneratorUse,
    LoadReport,
    generator_reason,
    load_reports,
    use_within,
)
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.report import run_text
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.html import render_html
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.report.terminal import render_terminal
from mwaa_headroom.analysis.results import RetryResult, RunAnalysis
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.setting import Setting, read_setting
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.slo_judgement import Window, judge

NOT_COUNTED = refusal("generator.not_counted")
LOST = warning("generator.worker_lost", worker=2, reason="it is gone")
HELD = calls_by_hand(outcomes=["ok"] * 1000, starts_s=np.linspace(0, 99, 1000).tolist())
SLOW = calls_by_hand(outcomes=["ok"] * 1000, service_times_s=1.25)


def load(at_s: float, **figures: object) -> dict[str, Any]:
    return {"kind": "generator_load", "time_s": at_s, "in_flight": 1} | figures


def reason(
    calls: Calls, *, lost: int = 0, lost_with_users: tuple[int, ...] = (), **use: float
) -> Finding | None:
    slos = [parse_slo("p95(latency) < 1s"), parse_slo("rate(unsent) < 5%")]
    window = Window(calls, good_calls(calls, slos), ())
    unsent = int((~calls.sent).sum())
    figures = GeneratorFigures(
        arrivals=len(calls),
        unsent=unsent,
        lost=lost,
        lag_p99_s=0.001,
        use=GeneratorUse(**use),
        lost_with_users=lost_with_users,
    )
    return generator_reason(figures, window, [judge(slo, window) for slo in slos])


def test_reports_are_weighed_by_the_time_they_share_with_a_stage() -> None:
    """Reports at 5, 10, 15 s of a stage from 7.5 to 15 s: the second counts half."""
    events = [
        load(5.0, cpu_fraction=0.9, stalled_s=1.0, longest_stall_s=0.9),
        load(10.0, cpu_fraction=0.6, stalled_s=0.2, longest_stall_s=0.1),
        load(15.0, cpu_fraction=0.3, stalled_s=0.0, longest_stall_s=0.0),
    ]
    use = use_within(load_reports(events), 7.5, 15.0)
    assert use.cpu_fraction == pytest.approx((2.5 * 0.6 + 5 * 0.3) / 7.5)
    assert use.stalled_fraction == pytest.approx(0.1 / 7.5)
    assert use.longest_stall_s == 0.1


def test_of_several_processes_the_worst_counts() -> None:
    events = [
        load(5.0, worker=1, cpu_fraction=0.2, stalled_s=0.5, longest_stall_s=0.4),
        load(5.1, worker=2, cpu_fraction=0.7, stalled_s=0.0, longest_stall_s=0.0),
    ]
    use = use_within(load_reports(events), 0.0, 5.0)
    assert use.cpu_fraction == pytest.approx(0.7)
    assert use.stalled_fraction == pytest.approx(0.1)


def test_reports_of_version_1_have_neither_a_worker_nor_stalls() -> None:
    (report,) = load_reports([load(5.0, cpu_fraction=0.2)])
    assert report == LoadReport(0, 0.0, 5.0, 0.2, None, None)
    assert use_within([report], 0.0, 5.0) == GeneratorUse(cpu_fraction=0.2)
    assert use_within([report], 5.0, 9.0) == GeneratorUse()


@pytest.mark.parametrize(
    ("calls", "figures", "code"),
    [
        pytest.param(HELD, {}, None, id="nothing is known against it"),
        pytest.param(HELD, {"cpu_fraction": 0.8}, None, id="CPU at its limit"),
        pytest.param(HELD, {"cpu_fraction": 0.81}, "generator.busy", id="CPU past it"),
        pytest.param(HELD, {"stalled_fraction": 0.01}, None, id="stalls at their limit"),
        pytest.param(
            HELD,
            {"stalled_fraction": 0.03, "longest_stall_s": 0.15},
            "generator.stalled",
            id="stalls past it",
        ),
        pytest.param(
            HELD,
            {"stalled_fraction": 0.03, "longest_stall_s": 0.1},
            None,
            id="many stalls, none longer than a lag may be",
        ),
        pytest.param(HELD, {"lost": 1}, None, id="one of a thousand lost"),
        pytest.param(HELD, {"lost": 2}, "generator.lost_arrivals", id="two lost"),
        pytest.param(
            HELD,
            {"cpu_fraction": 0.97, "stalled_fraction": 0.5, "longest_stall_s": 2.0},
            "generator.busy",
            id="a busy process stalls: the cause is told",
        ),
        pytest.param(
            SLOW,
            {"cpu_fraction": 0.81},
            "generator.busy",
            id="CPU is no excuse, but no proof either",
        ),
        pytest.param(
            SLOW,
            {"stalled_fraction": 0.03, "longest_stall_s": 0.11},
            None,
            id="1.25 s less twice 110 ms is still broken",
        ),
        pytest.param(
            SLOW,
            {"stalled_fraction": 0.03, "longest_stall_s": 0.2},
            "generator.stalled",
            id="1.25 s less twice 200 ms is not",
        ),
        pytest.param(
            SLOW,
            {"stalled_fraction": 0.03},
            "generator.stalled",
            id="nobody knows how long they were",
        ),
        pytest.param(
            SLOW,
            {"stalled_fraction": 0.1, "longest_stall_s": 0.11},
            "generator.stalled",
            id="a call lives through many stalls",
        ),
        pytest.param(
            SLOW, {"lost": 2}, "generator.lost_arrivals", id="lost calls may be the slow ones"
        ),
        pytest.param(
            HELD,
            {"lost_with_users": (1,)},
            "generator.lost_users",
            id="users are lost",
        ),
        pytest.param(
            SLOW,
            {"lost_with_users": (1, 3), "cpu_fraction": 0.9},
            "generator.lost_users",
            id="users are lost, whatever else there is",
        ),
    ],
)
def test_limits_of_a_stage(calls: Calls, figures: dict[str, Any], code: str | None) -> None:
    found = reason(calls, **figures)
    assert (found and found.code) == code


@pytest.mark.parametrize(
    ("figures", "advice"),
    [
        ({"cpu_fraction": 0.9}, "--processes N"),
        ({"stalled_fraction": 0.1, "longest_stall_s": 0.2}, "--processes N"),
        ({"lost": 100}, "repeat the run"),
        ({"lost_with_users": (0,)}, "repeat the run"),
    ],
)
def test_every_reason_says_what_to_change(figures: dict[str, Any], advice: str) -> None:
    said = told(reason(HELD, **figures))
    assert advice in said
    assert said.endswith(".")


def table(workers: list[int], error_codes: list[str | None] | None = None) -> pa.Table:
    rows = [
        dict.fromkeys(schema.REQUESTS_SCHEMA.names)
        | {
            "arrival": index,
            "stage": 0,
            "operation": "health",
            "intended_start_s": float(index),
            "outcome": "unsent" if code else "ok",
            "error_code": code,
            "attempts": 1,
            "worker": worker,
        }
        for index, (worker, code) in enumerate(
            zip(workers, error_codes or [None] * len(workers), strict=True)
        )
    ]
    return pa.Table.from_pylist(rows, schema=schema.REQUESTS_SCHEMA)


@pytest.mark.parametrize(
    ("arrivals", "complete", "counted", "why"),
    [
        (4, True, 4, None),
        (5, True, 5, refusal("generator.rows_missing", missing=1, arrivals=5)),
        (3, True, 3, refusal("generator.rows_too_many", surplus=1, arrivals=3)),
        (3, False, 4, None),  # cut off after the last count: more came
        (5, False, 5, refusal("generator.rows_missing", missing=1, arrivals=5)),
    ],
)
def test_every_arrival_must_have_its_row(
    arrivals: int, complete: bool, counted: int, why: Finding | None
) -> None:
    events = [{"kind": "rows_checked", "time_s": 9.0, "arrivals": arrivals, "rows": 4}]
    health = generator_health(table([0] * 4), events, (), (), complete=complete, version=2)
    assert (health.arrivals, health.rows, health.ok) == (counted, 4, not why)
    assert rows_miscounted(health, "finished") == why


@pytest.mark.parametrize(
    ("version", "rows", "ok"),
    [
        (1, 4, True),  # had no such event
        (2, 4, False),
        (2, 0, True),  # nothing was ever sent
    ],
)
def test_a_run_that_did_not_count_its_arrivals_is_not_fine(
    version: int, rows: int, ok: bool
) -> None:
    health = generator_health(table([0] * rows), (), (), (), complete=False, version=version)
    assert (health.ok, health.counted) == (ok, ok)
    assert health.reasons == (() if ok else (NOT_COUNTED,))
    assert run_text.generator(health).startswith("fine" if ok else "not known to be fine (")
    assert rows_miscounted(health, "running") is None  # it broke down: that says it already
    assert rows_miscounted(health, "finished") == (None if ok else NOT_COUNTED)


def test_a_load_generator_that_ended_early_is_not_fine_and_says_why() -> None:
    why = "The load generator ended with code 2: the AWS credentials have expired; renew them."
    events = [{"kind": "generator_ended", "time_s": 9.0, "reason": why}]
    health = generator_health(table([0] * 4), events, (), (), complete=True, version=1)
    assert not health.ok
    assert health.reasons == (refusal("generator.ended", reason=why),)
    assert run_text.generator(health).startswith("ended before it should (")


@pytest.mark.parametrize("question", ["check", "capacity"])
def test_a_run_whose_master_was_killed_is_not_reported_as_fine(
    tmp_path: Path, question: str
) -> None:
    analysis = analysed(
        tmp_path / "run", question=question, counted=False, streams=True, status="running"
    )
    assert analysis.verdict.exit_code == 5
    document = run_document(Run.read(tmp_path / "run"))
    said = " ".join(render_terminal(document, verbose=True, width=100, colour=False).split())
    assert "Load generator Fine" not in said
    assert told(NOT_COUNTED) in said
    if question == "capacity":  # what came to its end before is shown
        assert analysis.capacity is not None
        assert analysis.capacity.highest_stage is not None


def test_what_is_known_of_each_process() -> None:
    events = [
        {"kind": "worker_joined", "time_s": 0.0, "worker": 3, "cpus": 2},
        clock(1, 0.004, 0.001),
        clock(1, -0.006, 0.002),
        {"kind": "worker_lost", "time_s": 9.0, "worker": 2, "reason": "it is gone"},
    ]
    requests = table([1, 1, 2], [None, None, schema.WORKER_LOST])
    health = generator_health(requests, events, (), (), complete=True, version=1)
    assert [(w.worker, w.rows, w.lost) for w in health.workers] == [
        (1, 2, None),
        (2, 1, LOST),
        (3, 0, None),
    ]
    assert (health.workers[0].clock_offset_s, health.workers[0].clock_uncertainty_s) == (
        -0.006,
        0.002,
    )
    assert health.unsent == 1
    assert worker_warnings(events) == [LOST]


def clock(worker: int, offset_s: float, uncertainty_s: float) -> dict[str, Any]:
    keys = {"worker": worker, "offset_s": offset_s, "uncertainty_s": uncertainty_s}
    return {"kind": "clock_offset", "time_s": 0.0, **keys}


@pytest.mark.parametrize(
    ("measured", "warned"),
    [
        ([(5.0, 0.001), (5.0, 0.001)], False),  # far off, but known
        ([(5.0, 0.001), (5.04, 0.001)], False),
        ([(5.0, 0.001), (5.06, 0.001)], True),
        ([(5.0, 0.02), (5.04, 0.02)], True),  # may have moved by more
    ],
)
def test_a_clock_that_moved_is_warned_of(measured: list[tuple[float, float]], warned: bool) -> None:
    found = worker_warnings([clock(1, *each) for each in measured])
    assert bool(found) is warned
    assert {(each.code, each.values["worker"]) for each in found} <= {("generator.clock_moved", 1)}


def analysed(directory: Path, **changes: Any) -> RunAnalysis:
    write_synthetic_run(directory, **changes)
    return Run(read_run(directory)).analysis


CALM: dict[str, Any] = {"rates_per_s": (4.0, 8.0), "stage_s": 40.0}
OVERLOAD: dict[str, Any] = {"rates_per_s": (4.0, 60.0), "stage_s": 40.0}
SPOILT = {
    "busy": ({"generator_cpu": 0.93}, "generator.busy"),
    "stalled": ({"generator_stalled": 0.05}, "generator.stalled"),
    "late": ({"lag_s": 0.2}, "generator.late"),
    "a process lost": ({"workers": 2, "last_worker_lost_at_s": 15.0}, "generator.lost_arrivals"),
    "rows missing": ({"missing_rows": 3}, "generator.rows_missing"),
}


def cause(finding: Finding) -> str:
    """The code of what is behind a finding."""
    reason = finding.values.get("reason")
    return cause(reason) if isinstance(reason, Finding) else finding.code


@pytest.mark.parametrize("name", SPOILT)
def test_a_check_with_a_spoilt_generator_is_invalid(tmp_path: Path, name: str) -> None:
    changes, code = SPOILT[name]
    analysis = analysed(tmp_path / "run", **CALM, question="check", **changes)
    assert (analysis.verdict.exit_code, analysis.verdict.passed) == (5, None)
    assert code in map(cause, analysis.verdict.reasons)
    assert not analysis.generator.ok
    assert code in map(cause, analysis.generator.reasons)


@pytest.mark.parametrize("name", ["busy", "a process lost", "rows missing"])
def test_a_spoilt_generator_is_never_the_environments_ceiling(tmp_path: Path, name: str) -> None:
    changes, code = SPOILT[name]
    analysis = analysed(tmp_path / "run", **OVERLOAD, **changes)
    assert analysis.capacity is not None
    assert analysis.capacity.bottleneck == "generator"
    assert analysis.verdict.exit_code == 5
    assert code in map(cause, analysis.verdict.reasons)


def test_a_check_that_a_spoilt_generator_seems_to_break_is_not_broken(tmp_path: Path) -> None:
    analysis = analysed(tmp_path / "run", **OVERLOAD, question="check", generator_cpu=0.93)
    assert [stage.met_slo for stage in analysis.stages] == [True, False]
    assert (analysis.verdict.exit_code, analysis.verdict.passed) == (5, None)


def test_missing_rows_spoil_even_what_was_broken(tmp_path: Path) -> None:
    analysis = analysed(tmp_path / "run", **OVERLOAD, question="check", missing_rows=1)
    assert analysis.verdict.exit_code == 5
    assert analysis.verdict.reasons[0].code == "generator.rows_missing"


def test_a_healthy_run_says_so_with_figures(tmp_path: Path) -> None:
    health = analysed(tmp_path / "run", **CALM, question="check", workers=3).generator
    assert health.ok
    assert health.arrivals == health.rows > 0
    assert (health.unsent, health.longest_stall_s, health.cpu_fraction_max) == (0, 0.0, 0.2)
    assert health.lag_p99_s == pytest.approx(0.001, abs=1e-6)
    assert [worker.worker for worker in health.workers] == [0, 1, 2]
    assert sum(worker.rows for worker in health.workers) == health.rows


def test_the_figures_of_a_stage_leave_its_warm_up_out() -> None:
    setting = setting_of({"warmup_s": 10.0})
    assert setting.stages[0].warmup_s == 10.0
    reports = load_reports([load(5.0, cpu_fraction=1.0), load(10.0, cpu_fraction=1.0)])
    assert use_within(reports, 10.0, 100.0).cpu_fraction is None


CALM_CHECK: dict[str, Any] = {"rates_per_s": (4.0, 8.0), "stage_s": 40.0, "question": "check"}


def setting(retries: str) -> Setting:
    mix = {
        "nightly": {"weight": 1, "operation": "trigger_dag_run"},
        "trigger_dag_run": {"weight": 1, "operation": "health"},
    }
    scenario = {
        "question": {"ask": "check"},
        "traffic": {"mix": mix, "retries": retries},
        "stages": [{"rate_per_s": 1.0, "duration_s": 10.0}],
    }
    return read_setting({"schema_version": 2, "scenario": scenario})


def retried_table(*rows: tuple[str, int, str, int | None]) -> pa.Table:
    names = ("operation", "attempts", "outcome", "airflow_status")
    return pa.Table.from_pylist(
        [
            dict.fromkeys(schema.REQUESTS_SCHEMA.names)
            | {"arrival": i, "stage": 0, "intended_start_s": float(i), "worker": 0}
            | dict(zip(names, row, strict=True))
            for i, row in enumerate(rows)
        ],
        schema=schema.REQUESTS_SCHEMA,
    )


REQUESTS = retried_table(
    ("nightly", 1, "ok", 200),
    ("nightly", 1, "airflow_client_error", 409),  # a conflict, but of the first attempt
    ("nightly", 3, "airflow_client_error", 409),  # taken before
    ("nightly", 2, "ok", 200),
    ("trigger_dag_run", 2, "airflow_client_error", 409),  # a label that only sounds like it
    ("nightly", 4, "throttled", None),
    ("nightly", 0, "unsent", None),
)


def test_counts_of_calls_and_attempts() -> None:
    assert retries_of(setting("standard"), REQUESTS) == RetryResult(
        mode="standard",
        sent=6,
        attempts=13,
        repeated=4,
        repeated_ok=1,
        duplicate_triggers=1,
    )


def test_without_retries_there_is_nothing_to_tell() -> None:
    assert retries_of(setting("off"), REQUESTS) is None
    assert retries_of(setting_of({}), REQUESTS) is None


def retried(directory: Path, **changes: Any) -> RunAnalysis:
    write_synthetic_run(directory, **(CALM_CHECK | changes))
    return Run(read_run(directory)).analysis


@pytest.mark.parametrize(("mode", "warned"), [("legacy", False), ("adaptive", True)])
def test_every_report_tells_of_them(tmp_path: Path, mode: str, warned: bool) -> None:
    analysis = retried(tmp_path / "run", retries=mode, repeated_share=0.2)
    assert analysis.retries is not None
    assert analysis.retries.repeated > analysis.retries.repeated_ok > 0
    assert analysis.retries.attempts == analysis.retries.sent + analysis.retries.repeated
    document = run_document(Run.read(tmp_path / "run"))
    text = render_terminal(document, verbose=True, width=100, colour=False)
    for report in (text, render_html(document, {})):
        told = " ".join(report.split())
        assert f"boto3 transport; {mode} retries" in told
        assert f"Duplicate triggers: {analysis.retries.duplicate_triggers}." in told
        assert "contain the waits between its attempts" in told
        assert ("not the one that was offered" in told) is warned
    assert as_json(analysis)["retries"]["mode"] == mode


def test_retries_that_had_nothing_to_do(tmp_path: Path) -> None:
    analysis = retried(tmp_path / "run", retries="standard")
    document = run_document(Run.read(tmp_path / "run"))
    text = render_terminal(document, verbose=True, width=100, colour=False)
    assert analysis.retries is not None
    assert f"None of {analysis.retries.sent} calls was sent more than once." in text
