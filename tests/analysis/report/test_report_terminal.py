"""The summary: a golden text, what it may never show, and how wide it may be."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from golden_files import golden
from hand_built import HEALTHY, hand_built, said, stage
from hypothesis import given, settings
from hypothesis import strategies as st
from rendered import junit, page, summary
from rich_run import ELASTICITY, count_row, rich
from sample_runs import Plan, made_up_run

from mwaa_headroom.analysis.findings import Finding, warning
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.run_notes import findings
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.report.sentences.verdict import verdict_sentence
from mwaa_headroom.analysis.report.terminal import render_terminal
from mwaa_headroom.analysis.results import (
    GeneratorHealth,
    RecoveryResult,
    RunAnalysis,
    SloResult,
    SteadyState,
    Verdict,
    WorkerHealth,
)
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.statistics import Estimate

PLANS = {
    "capacity": Plan(),
    "scale-out in the middle": Plan(rates=(8, 22), duration_s=60, scale_out_at_s=75),
    "no metrics": Plan(metrics=False),
    "every call fails": Plan(all_errors=True),
    "one stage": Plan(rates=(12,), question="check"),
    "twelve stages": Plan(rates=tuple(range(4, 28, 2)), names=["a rather long name"] * 12),
    "interrupted": Plan(interrupted=True),
}

maybe = st.none() | st.sampled_from([float("nan"), float("inf"), 0.0, 1e-7, 0.5, 12.0, 1e6])
estimates = st.builds(
    Estimate, value=maybe, low=maybe, high=maybe, warnings=st.sampled_from([(), (said("why"),)])
)
counts = st.none() | st.integers(0, 9)
verdicts = st.sampled_from(["steady", "rising", "unsteady", "not_checked"])


@st.composite
def holed_analyses(draw: st.DrawFn) -> RunAnalysis:
    """An analysis in which anything that may be unknown is unknown, in any combination."""
    whole = rich(hand_built())
    stages = tuple(
        replace(
            each,
            steady=draw(st.none() | st.builds(SteadyState, verdicts, maybe, estimates)),
            trial=draw(st.sampled_from(["pass", "fail", "undecided"])),
            database_cpu_percent=draw(maybe),
            database_connections_max=draw(maybe),
            latency_s={"p50": draw(estimates), "p95": draw(estimates)},
            service_time_s=draw(st.dictionaries(st.sampled_from(["p50", "p95"]), estimates)),
            lag_p99_s=draw(maybe),
            error_rate=draw(estimates),
            error_rate_by_layer={"airflow": draw(estimates)},
            webservers_min=draw(counts),
            webservers_max=draw(counts),
            webserver_cpu_percent=draw(maybe),
            webserver_cpu_max_percent=draw(maybe),
            connections_max=draw(maybe),
            slo=(SloResult(parse_slo("p95(latency) < 1s"), draw(maybe), None, said("too few.")),),
            met_slo=draw(st.none() | st.booleans()),
        )
        for each in whole.stages
    )
    assert whole.demand
    assert whole.sizing
    assert whole.capacity
    row = replace(
        whole.sizing.rows[1],
        webservers=draw(counts),
        webservers_low=draw(counts),
        webservers_high=draw(counts),
        probability=draw(maybe),
    )
    return replace(
        whole,
        stages=stages,
        slo=draw(st.sampled_from([(), stages[0].slo])),
        demand=draw(
            st.none()
            | st.builds(
                replace,
                st.just(whole.demand),
                mix_s=estimates,
                per_operation_s=st.dictionaries(st.just("health"), estimates),
                background_cpu_per_webserver=estimates,
                condition_number=maybe,
            )
        ),
        sizing=draw(
            st.none()
            | st.just(replace(whole.sizing, target=row, rows=(row,), target_rate_per_s=25.0))
        ),
        capacity=replace(
            whole.capacity,
            highest_stage=draw(st.sampled_from([None, 0])),
            highest_rate_per_s=draw(maybe),
            webservers=draw(counts),
            stopped_by_stage=draw(st.sampled_from([None, 1])),
            rate_per_s=draw(st.none() | estimates),
        ),
        elasticity=replace(
            ELASTICITY,
            under_time=draw(maybe),
            under_provisioned=draw(maybe),
            over_time=draw(maybe),
            over_provisioned=draw(maybe),
        ),
        by_webservers=tuple(
            replace(
                count_row(number, 60.0),
                cpu_percent=draw(maybe),
                latency_p50_s=draw(estimates),
                latency_p95_s=draw(estimates),
                error_rate=draw(estimates),
            )
            for number in (2, 3)
        ),
        truth=tuple(replace(check, estimate=draw(estimates)) for check in whole.truth),
        scaling=(
            replace(
                whole.scaling[0],
                takes_traffic_s=draw(maybe),
                period_s=draw(maybe),
                load_step_s=draw(maybe),
                breach_s=draw(maybe),
                decision_s=draw(maybe),
                count_changed_s=draw(maybe),
                ready_s=draw(maybe),
            ),
        ),
        environment={"name": "demo", "kind": None, "facts": {"region": None, "cpu": draw(maybe)}},
        generator=draw(holed_health()),
    )


def holed_health() -> st.SearchStrategy[GeneratorHealth]:
    worker = st.builds(
        WorkerHealth,
        worker=st.integers(0, 9),
        rows=st.just(5),
        cpu_fraction_max=maybe,
        longest_stall_s=maybe,
        clock_offset_s=maybe,
        clock_uncertainty_s=maybe,
        lost=st.sampled_from([None, said("it is gone")]),
    )
    return st.builds(
        replace,
        st.just(HEALTHY),
        ok=st.booleans(),
        lag_p99_s=maybe,
        longest_stall_s=maybe,
        cpu_fraction_max=maybe,
        workers=st.lists(worker, max_size=3).map(tuple),
    )


@pytest.mark.parametrize(("name", "verbose"), [("run.txt", True), ("run_brief.txt", False)])
def test_a_small_run_reads_like_this(name: str, verbose: bool) -> None:
    text = summary(hand_built(), verbose=verbose) + "\n"
    assert text == golden(name, text)


@pytest.mark.parametrize("width", [72, 80, 100])
@pytest.mark.parametrize("name", PLANS)
def test_it_fits_the_width(name: str, width: int) -> None:
    _, analysis = made_up_run(PLANS[name])
    for verbose in (True, False):
        lines = summary(analysis, verbose=verbose, width=width).splitlines()
        assert max(map(len, lines)) <= width
        assert verdict_sentence(analysis).startswith(lines[1][:20])


def test_the_brief_form_of_a_real_run_is_one_screen() -> None:
    run = Run.read(Path(__file__).parents[2] / "frozen_runs" / "quickstart")
    text = render_terminal(run_document(run), verbose=False, width=100, colour=False)
    assert len(text.splitlines()) + 2 <= 40, "with the path of the report"
    for shown in ("SLO (stage 4 target", "5 limit ", "Webservers needed", "more: --verbose"):
        assert shown in text


@settings(max_examples=60, deadline=None)
@given(holed_analyses())
def test_what_is_unknown_is_a_dash_everywhere(analysis: RunAnalysis) -> None:
    unwanted = re.compile(r"\b(None|nan|NaN|inf|Infinity)\b")
    html = page(analysis)
    for text in (
        summary(analysis),
        html[: html.index("<script")],
        junit(analysis),
    ):
        assert not unwanted.search(text)
    assert as_json(analysis)["schema_version"] == 1


def test_a_broken_expectation_is_told_first() -> None:
    analysis = hand_built()
    missing = replace(analysis.expectations[0], met=False, detail="not there")
    text = summary(replace(analysis, expectations=(missing,)))
    assert "✗ DAG headroom_noop  not there" in text
    assert text.index("✗ DAG") < text.index("Stages")


def test_a_stage_spoilt_by_the_generator_is_not_called_a_pass() -> None:
    analysis = hand_built()
    late = replace(
        stage(0, p95_s=0.1, met=True),
        generator_ok=False,
        generator_reason=said("Calls were late."),
        trial="undecided",
    )
    health = replace(HEALTHY, ok=False, reasons=(said("In stage 1 'calm': Calls were late."),))
    spoilt = replace(analysis, stages=(late,), generator=health)
    text = summary(spoilt)
    assert re.search(r"1 calm .* undecided$", text, re.MULTILINE)
    assert "Load generator\n  Past its limits (lag p99 2.00 ms" in text
    assert "  - In stage 1 'calm': Calls were late." in text


@pytest.mark.parametrize(
    ("verdict", "status", "headline"),
    [
        (Verdict("check", True, True, 0), "finished", "SLO met"),
        (Verdict("check", True, False, 3), "finished", "SLO not met"),
        (Verdict("check", False, None, 5), "finished", "Inconclusive"),
        (Verdict("check", False, None, 130), "interrupted", "Interrupted"),
    ],
)
def test_the_page_opens_with_the_answer(verdict: Verdict, status: str, headline: str) -> None:
    analysis = replace(hand_built(), question="check", verdict=verdict, status=status)
    assert f"<h1>{headline}</h1>" in page(analysis)


@pytest.mark.parametrize(
    ("environment", "headline", "identity"),
    [
        (
            {"name": "demo", "kind": "local", "facts": {"webserver_cpu": 0.25}},
            "3 webservers with 0.25 CPU for 25 calls/s",
            "demo, local, webservers of 0.25 CPU, finished",
        ),
        (
            {"name": "demo", "kind": "aws", "environment_class": "mw1.small", "facts": {}},
            "3 mw1.small webservers (0.25 vCPU) for 25 calls/s",
            "demo, aws, mw1.small, finished",
        ),
    ],
)
def test_the_answer_names_the_size_of_the_webservers(
    environment: dict[str, object], headline: str, identity: str
) -> None:
    analysis = replace(hand_built(), environment=environment)
    assert f"<h1>{headline}</h1>" in page(analysis)
    assert identity in summary(analysis)


def lower_bound(percent: float, cut_calls: int) -> Finding:
    return warning("percentile.lower_bound", percent=percent, cut_calls=cut_calls)


def test_calls_that_were_cut_take_one_note_and_a_shown_value_takes_none() -> None:
    latency_s = {
        "p50": Estimate(4.2, 4.0, 4.4, 300),
        "p95": Estimate(10.0, 10.0, 10.0, 300, warnings=(lower_bound(95.0, 268),)),
        "p99": Estimate(
            10.0,
            n=300,
            warnings=(
                lower_bound(99.0, 268),
                warning("percentile.no_interval", percent=99.0, needed=368, calls=300),
            ),
        ),
    }
    slow = replace(
        stage(1, p95_s=1.0, met=False), latency_s=latency_s, service_time_s=latency_s, censored=268
    )
    analysis = replace(hand_built(), stages=(slow,), warnings=(), notes=())
    assert findings(analysis) == (
        (),
        ("Stage 2 burst: 268 calls were cut at a time limit, so p95 and p99 are lower bounds.",),
    )


def test_the_page_has_latency_and_service_time_of_every_stage() -> None:
    html = page(hand_built())
    details = html[html.index("<details>") : html.index("</details>")]
    for text in ("1 calm", "2 burst", "service time", "1.25 s (1.22-1.29)"):
        assert text in details


RECOVERED = RecoveryResult(
    after_stage=1,
    load_ended_at_s=hand_built().stages[1].ended_at_s,
    watched_s=60.0,
    rate_per_s=4.0,
    calls=240,
    hold_s=10.0,
    recovered_after_s=12.4,
    explanation=said("After stage 2 'burst' the SLO held again 12.4 s after the load had ended."),
)


def test_recovery_is_told_in_every_report() -> None:
    analysis = replace(hand_built(), recoveries=(RECOVERED,))
    text = summary(analysis)
    assert f"Recovery\n  {told(RECOVERED.explanation)}\n" in text
    assert "<h2>Recovery</h2>" in page(analysis)
    assert 'name="recovery_2"' in junit(analysis)
    assert as_json(analysis)["recoveries"][0]["recovered_after_s"] == 12.4


def test_several_load_processes_have_a_table() -> None:
    workers = (
        WorkerHealth(1, 600, 0.41, 0.052, 0.0013, 0.0002),
        WorkerHealth(2, 400, None, None, None, None, lost=said("lost: it is no longer connected")),
    )
    analysis = replace(hand_built(), generator=replace(HEALTHY, workers=workers))
    text = summary(analysis)
    assert "1   600         41 %  52.0 ms  1.30 ms ± 0.200 ms" in text
    assert "lost: it is no longer connected" in text
    assert "2 load processes)" in " ".join(text.split())
    assert "lost: it is no longer connected" in page(analysis)


def test_a_percentile_among_cut_calls_is_marked_in_the_tables() -> None:
    bound = Estimate(10.0, 9.9, 10.0, 300, warnings=(lower_bound(95.0, 20),))
    slow = replace(stage(1, p95_s=1.0, met=False), latency_s={"p95": bound}, censored=20)
    analysis = replace(hand_built(), stages=(stage(0, p95_s=0.6, met=True), slow))
    assert " ≥10.0 s " in summary(analysis)
    assert "≥10.0 s (9.9-10.0)" in page(analysis)
