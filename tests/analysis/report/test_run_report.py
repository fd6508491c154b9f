"""The report of one run as a document: its forms, files and test cases."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from golden_files import golden
from hand_built import HEALTHY, START_S, hand_built, said, stage
from html_page import parsed
from hypothesis import given, settings
from hypothesis import strategies as st
from rendered import as_run, every_finding, junit, page, page_with_charts, summary
from rich_run import ELASTICITY, NEED, RISING, count_row, rich
from sample_runs import Plan, made_up_run

from mwaa_headroom.analysis.findings import note, refusal
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.report.sentences.run import verdict_sentence
from mwaa_headroom.analysis.report.terminal import render_terminal
from mwaa_headroom.analysis.report.words import lowered
from mwaa_headroom.analysis.report.write import write_document
from mwaa_headroom.analysis.results import (
    GeneratorHealth,
    RecoveryResult,
    RunAnalysis,
    ScalingEvent,
    SloResult,
    SteadyState,
    Verdict,
    WorkerHealth,
)
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.statistics import Estimate

SCALE_OUT = hand_built().scaling[0]

SCALE_IN = ScalingEvent(
    3,
    2,
    load_step_s=None,
    breach_s=None,
    decision_s=START_S + 90,
    count_changed_s=START_S + 95,
    ready_s=None,
    slo_restored_s=None,
    reason=note("scaling.quiet", cpu_below_percent=30.0, connections_below=5.0, periods=6),
    slo_broke=True,
)


def with_stage(analysis: RunAnalysis, **changes: Any) -> RunAnalysis:
    """The same run, with its first stage changed."""
    first, *others = analysis.stages
    return replace(analysis, stages=(replace(first, **changes), *others))


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


@pytest.mark.parametrize("name", PLANS)
def test_it_fits_the_width(name: str) -> None:
    _, analysis = made_up_run(PLANS[name])
    for width, verbose in product((72, 80, 100), (True, False)):
        lines = summary(analysis, verbose=verbose, width=width).splitlines()
        assert max(map(len, lines)) <= width
        assert verdict_sentence(analysis).startswith(lines[1][:20])


def test_where_no_finding_concerns_the_answer_the_brief_form_counts_them() -> None:
    calm = replace(hand_built(), warnings=(), capacity=None, demand=None, sizing=None)
    calm = replace(calm, verdict=replace(calm.verdict, reasons=()), generator=HEALTHY)
    brief = summary(calm, verbose=False)
    assert re.search(r"Findings\n  - \d notes?: --verbose", brief)


def test_the_brief_form_of_a_real_run_is_one_screen() -> None:
    run = Run.read(Path(__file__).parents[2] / "frozen_runs" / "quickstart")
    text = render_terminal(run_document(run), verbose=False, width=100, colour=False)
    assert len(text.splitlines()) + 2 <= 40, "with the path of the report"
    for shown in ("SLO (stage 5 again", "6 limit ", "Webservers needed", "more: --verbose"):
        assert shown in text


@settings(max_examples=20)
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


def test_the_page_has_latency_and_service_time_of_every_stage() -> None:
    html = page(hand_built())
    begin = html.index("<summary>Latency and service time of every stage")
    details = html[begin : html.index("</details>", begin)]
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


def test_a_stage_that_met_the_slo_but_still_rises_says_so() -> None:
    analysis = with_stage(
        hand_built(), trial="undecided", trial_reason=RISING.reason, steady=RISING
    )
    remark = f"Stage 1 calm met the SLO but is undecided: {lowered(told(RISING.reason))}"
    html = page(analysis)
    for text in (summary(analysis), summary(analysis, verbose=False), html):
        assert remark in " ".join(text.split())
    assert '<td class="number unsure">undecided</td>' in html
    assert '<td class="number">rising</td>' in html
    assert not any(told(RISING.reason) in each for each in every_finding(analysis)), (
        "it is told above"
    )


def test_a_need_that_is_not_known_is_said() -> None:
    unknown = replace(
        ELASTICITY,
        under_provisioned=None,
        over_provisioned=None,
        under_time=None,
        over_time=None,
        refusal=said("How many were needed is not known: there is no service demand."),
    )
    analysis = replace(rich(hand_built()), elasticity=unknown)
    assert told(unknown.refusal) in page(analysis)
    text = summary(analysis)
    assert told(unknown.refusal) in text
    assert "Too few" not in text


def test_scaling_is_told_in_sentences_and_tables() -> None:
    analysis = rich(hand_built())
    for text in (" ".join(summary(analysis).split()), page(analysis)):
        for shown in (
            "212 of 1870 calls were slow and 13 failed",
            "Too few webservers 18 % of the time with load",
            told(NEED),
            "By webserver count",
            "threshold passed",
            "910 ms (850-980)",
        ):
            assert shown in text


def test_the_steps_of_many_changes_are_folded() -> None:
    few, many = hand_built(), replace(hand_built(), scaling=(SCALE_OUT, SCALE_IN) * 10)
    assert page(many).count("2 to 3 webservers: ") == 10
    assert page(many).count("<summary>Steps from 2 to 3 webservers") == 10
    assert page(few).count("<summary>Steps from") == 0


def test_virtual_time_is_said() -> None:
    told = "Simulated in virtual time: no call was really sent."
    assert told in summary(rich(hand_built()))
    assert told in page(rich(hand_built()))
    assert told not in summary(hand_built())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    record, analysis = made_up_run(Plan(rates=(8, 22), duration_s=60, scale_out_at_s=75))
    write_document(run_document(as_run(rich(analysis), record)), directory)
    return directory


def test_every_file_is_there_and_nothing_half_written(written: Path) -> None:
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    assert names == {
        "report.html",
        "report.json",
        "junit.xml",
        "summary.txt",
        "summary.md",
        *(
            f"plots/{name}.png"
            for name in (
                *("timeline", "throughput_latency", "errors", "sizing", "demand"),
                "scale_out",
            )
        ),
    }


def test_the_page_is_whole_and_asks_nobody_for_anything(written: Path) -> None:
    html = (written / "report.html").read_text(encoding="utf-8")
    page = parsed(html)
    text = " ".join(" ".join(page.text).split())
    assert "3 webservers with 1 CPU for 25 calls/s" in text
    assert "25 calls/s of this mix need 3 webservers with 1 CPU" in text
    assert "time since the start of the run (min:s)" in text, "a table behind every chart"
    assert all(ref.startswith(("#", "data:image/png;base64,", "plots/")) for ref in page.references)
    assert "://" not in html
    assert len(page.ids) == len(set(page.ids))


def test_the_page_of_a_day_of_periods_of_five_seconds_stays_small_and_says_so() -> None:
    record, analysis = made_up_run(Plan(rates=(8, 22), duration_s=60))
    first = analysis.periods[0]
    periods = tuple(
        replace(first, start_s=first.start_s + 5 * place, cpu_percent=place * 0.00123, period_s=5.0)
        for place in range(24 * 720)
    )
    document = run_document(as_run(rich(replace(analysis, periods=periods)), record))
    html = page_with_charts(document)
    assert len(html) < 500_000
    assert "Webserver CPU, highest of 6 periods" in html
    assert "every 8th row" in html
    assert "The data behind this page is in" in html


def test_a_run_without_calls_or_stages_still_has_a_report(tmp_path: Path) -> None:
    record, analysis = made_up_run(Plan(rates=(5,)))
    nothing = replace(
        analysis, stages=(), periods=(), slo=(), demand=None, sizing=None, capacity=None, mix={}
    )
    empty = replace(record, requests=REQUESTS_SCHEMA.empty_table())
    write_document(run_document(as_run(nothing, empty)), tmp_path)
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["timeline.png"]
    assert "No stage was measured." in (tmp_path / "summary.txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_picture_that_is_no_longer_drawn_is_removed(tmp_path: Path) -> None:
    record, analysis = made_up_run(Plan(rates=(5,)))
    write_document(run_document(as_run(analysis, record)), tmp_path)
    assert (tmp_path / "plots" / "demand.png").exists()
    without = replace(analysis, demand=None)
    write_document(run_document(as_run(without, record)), tmp_path)
    assert not (tmp_path / "plots" / "demand.png").exists()


def test_json_is_strict_and_says_what_is_unknown() -> None:
    whole = hand_built()
    holed = replace(whole, ended_at_s=float("nan"), environment={"facts": {"x": float("inf")}})
    answer = as_json(holed)
    text = json.dumps(answer, allow_nan=False)
    assert json.loads(text) == answer
    assert answer["schema_version"] == 1
    assert answer["ended_at_s"] is None
    assert answer["environment"]["facts"]["x"] is None
    assert answer["stages"][0]["latency_s"]["p95"]["value"] == 0.612
    assert answer["mix_fraction"] == {"health": 1.0}
    assert "events" not in answer


def test_the_json_has_all_of_it() -> None:
    answer = as_json(rich(hand_built()))
    assert answer["elasticity"]["under_time_fraction"] == 0.18
    assert answer["scaling"][0]["cost"]["slow_calls"] == 212
    assert answer["by_webservers"][1]["webservers"] == 3
    assert answer["truth"][1]["within"] is False
    assert answer["capacity"]["rate_per_s"]["low"] == 22.8
    assert answer["stages"][0]["steady"]["trend_fraction_per_min"]["value"] == 0.01
    assert answer["stages"][0]["trial"] == "pass"


def junit_suite(text: str) -> ET.Element:
    root = ET.fromstring(text)  # noqa: S314 - our own document
    (suite,) = root
    cases = suite.findall("testcase")
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        found = sum(case.find(tag) is not None for case in cases)
        assert suite.attrib[key] == root.attrib.get(key, str(found)) == str(found)
    assert root.attrib["tests"] == suite.attrib["tests"] == str(len(cases))
    assert all({"name", "classname", "time"} <= case.attrib.keys() for case in cases)
    return suite


def test_junit_of_a_capacity_run_is_green_though_a_stage_broke() -> None:
    suite = junit_suite(junit(hand_built()))
    assert suite.attrib["tests"] == "5", "two stages, one expectation, generator and verdict"
    assert suite.attrib["failures"] == suite.attrib["errors"] == "0"
    (skipped,) = suite.findall("testcase/skipped")
    assert skipped.attrib["message"] == "observed 1.25 s, wanted p95(latency) < 800ms"


def test_junit_of_a_failed_check_is_red_with_what_was_observed() -> None:
    run = SloResult(parse_slo("rate(errors) < 1%"), 0.02, False)
    analysis = replace(
        hand_built(),
        question="check",
        slo=(run,),
        verdict=Verdict(
            "check", True, False, 3, (note("verdict.slo_broken", result=run, stage=None),)
        ),
    )
    suite = junit_suite(junit(analysis))
    assert suite.attrib["tests"] == "6"
    messages = [failure.attrib["message"] for failure in suite.findall("testcase/failure")]
    assert messages == [
        "observed 2 %, wanted rate(errors) < 1%",
        "observed 1.25 s, wanted p95(latency) < 800ms",
        "Not met: rate(errors) < 1%: 2 %. rate(errors) < 1%: 2 %",
    ]


@pytest.mark.parametrize("exit_code", [5, 130])
def test_junit_of_an_unanswered_question_is_an_error(exit_code: int) -> None:
    verdict = Verdict(
        "capacity", False, None, exit_code, (refusal("run.note", message="Not\x00known."),)
    )
    suite = junit_suite(junit(replace(hand_built(), verdict=verdict)))
    (error,) = suite.findall("testcase/error")
    assert "not\\x00known" in error.attrib["message"]


@pytest.mark.parametrize(("exit_code", "result"), [(5, "error"), (0, "skipped"), (3, "skipped")])
def test_junit_of_a_spoilt_generator(exit_code: int, result: str) -> None:
    """An error where it left the question open; with a green or red verdict, it decided nothing."""
    analysis = replace(
        hand_built(),
        verdict=Verdict("check", exit_code != 5, None, exit_code),
        generator=replace(HEALTHY, ok=False, reasons=(said("In stage 1: Calls were late."),)),
    )
    suite = junit_suite(junit(analysis))
    (case,) = (case for case in suite if case.attrib.get("name") == "limits")
    (found,) = case
    assert found.tag == result
    assert "In stage 1: Calls were late." in found.attrib["message"]
    about = {each.attrib["name"]: each.attrib["value"] for each in suite.iter("property")}
    assert about["workload"] == "open: Poisson arrivals"
    assert about["transport"] == "lean"
    assert about["load_generator"].startswith("past its limits (lag p99 2.00 ms")


def test_a_check_that_was_cut_short_says_what_its_lines_were_judged_on() -> None:
    whole = hand_built()
    cut = replace(whole, status="interrupted")

    titles = [
        next(s.title for s in run_document(as_run(each)).sections if s.title.startswith("SLO ("))
        for each in (replace(whole, question="check"), replace(cut, question="check"))
    ]

    assert titles == ["SLO (whole run)", "SLO (what was sent before the run was cut short)"]
