"""The files a run directory gets: page, JSON, JUnit and pictures, also for ugly runs."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hand_built import HEALTHY, hand_built, said
from html_page import parsed
from matplotlib.figure import Figure as Drawing
from rendered import as_run, junit
from rich_run import rich
from sample_runs import Plan, made_up_run

from mwaa_headroom.analysis.calls import calls_of
from mwaa_headroom.analysis.findings import note, refusal
from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.document import Figure
from mwaa_headroom.analysis.report.plots.drawing import as_inline_svg, as_png, style
from mwaa_headroom.analysis.report.plots.timeline import draw_timeline
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.report.write import write_document
from mwaa_headroom.analysis.results import RecoveryResult, RunAnalysis, SloResult, Verdict
from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA
from mwaa_headroom.analysis.slo import parse_slo

UGLY = {
    "no metrics": Plan(metrics=False, duration_s=20, warmup_s=2),
    "every call fails": Plan(rates=(5, 10), all_errors=True, duration_s=20, warmup_s=2),
    "one stage": Plan(rates=(12,), question="check"),
    "one slow stage": Plan(rates=(0.3,), duration_s=10, warmup_s=1),
    "twelve stages": Plan(
        rates=tuple(range(4, 28, 2)),
        names=["$a_b$ 長い名前 <b>"] * 12,
        duration_s=6,
        warmup_s=1,
    ),
    "scale-out in the middle": Plan(rates=(8, 22), duration_s=60, scale_out_at_s=75),
    "interrupted": Plan(interrupted=True, duration_s=20, scale_out_at_s=90),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    record, analysis = made_up_run(Plan(rates=(8, 22), duration_s=60, scale_out_at_s=75))
    write_document(run_document(as_run(rich(analysis), record)), directory)
    return directory


def drawn(analysis: RunAnalysis, record: RunRecord) -> dict[str, Drawing]:
    """The pictures of a report, by name."""
    document = run_document(as_run(analysis, record))
    with style():
        found = {
            block.name: block.draw()
            for section in document.sections
            for block in section.blocks
            if isinstance(block, Figure)
        }
    assert found.keys() <= set(document.pictures)
    return {name: figure for name, figure in found.items() if figure is not None}


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
    assert "time since the start of the run (min:s)" in text, "pictures keep their text"
    assert all(ref.startswith(("#", "data:image/png;base64,")) for ref in page.references)
    assert "://" not in html
    assert len(page.ids) == len(set(page.ids))


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


def junit_suite(text: str) -> ET.Element:
    root = ET.fromstring(text)  # noqa: S314 - our own document
    (suite,) = root
    cases = suite.findall("testcase")
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        found = sum(case.find(tag) is not None for case in cases)
        assert root.attrib[key] == suite.attrib[key] == str(found)
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
    assert "not?known" in error.attrib["message"]


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


def test_a_recovery_is_shown_in_the_timeline() -> None:
    record, analysis = made_up_run(Plan(rates=(8, 22), duration_s=60))
    recovery = RecoveryResult(
        after_stage=1,
        load_ended_at_s=analysis.stages[0].ended_at_s,
        watched_s=40.0,
        rate_per_s=4.0,
        calls=160,
        hold_s=10.0,
        recovered_after_s=12.4,
        explanation=said(""),
    )
    calls = calls_of(record.requests)
    seen = draw_timeline(replace(analysis, recoveries=(recovery,)), calls)
    never = replace(recovery, recovered_after_s=None)
    unseen = draw_timeline(replace(analysis, recoveries=(never,)), calls)
    for figure, named, marks in ((seen, "recovery after 12 s", 1), (unseen, "no recovery seen", 0)):
        rate = figure.axes[0]
        assert any(named in text.get_text() for text in rate.texts)
        at_s = recovery.load_ended_at_s + 12.4 - analysis.started_at_s
        near = pytest.approx([at_s, at_s])
        assert sum(list(line.get_xdata()) == near for line in rate.lines) == marks


@pytest.mark.slow
@pytest.mark.parametrize("name", UGLY)
def test_pictures_of_ugly_runs(name: str) -> None:
    record, analysis = made_up_run(UGLY[name])
    pictures = drawn(analysis, record)
    assert "timeline" in pictures
    assert "errors" not in pictures or len(analysis.stages) > 1
    assert ("sizing" in pictures) == (analysis.demand is not None)
    for figure in pictures.values():
        png = as_png(figure)
        assert png.startswith(b"\x89PNG")
        assert len(png) > 5000


def test_a_run_without_calls_or_stages_still_has_a_report(tmp_path: Path) -> None:
    record, analysis = made_up_run(Plan(rates=(5,)))
    nothing = replace(
        analysis, stages=(), periods=(), slo=(), demand=None, sizing=None, capacity=None, mix={}
    )
    empty = replace(record, requests=REQUESTS_SCHEMA.empty_table())
    write_document(run_document(as_run(nothing, empty)), tmp_path)
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["timeline.png"]
    assert "No stage was measured." in (tmp_path / "summary.txt").read_text(encoding="utf-8")


def test_unsent_arrivals_are_in_the_timeline() -> None:
    record, analysis = made_up_run(Plan(rates=(10,)))
    rows = record.requests.to_pylist()
    for row in rows[::3]:
        row.update(outcome="unsent", lag_s=None, service_time_s=None, attempts=0)
    requests = pa.Table.from_pylist(rows, schema=REQUESTS_SCHEMA)
    svg = as_inline_svg(draw_timeline(analysis, calls_of(requests)), "timeline")
    assert f"{len(rows[::3])} arrivals were not sent" in " ".join(svg.split())
    assert ">generator<" in svg


@pytest.mark.slow
def test_a_picture_that_is_no_longer_drawn_is_removed(tmp_path: Path) -> None:
    record, analysis = made_up_run(Plan(rates=(5,)))
    write_document(run_document(as_run(analysis, record)), tmp_path)
    assert (tmp_path / "plots" / "demand.png").exists()
    without = replace(analysis, demand=None)
    write_document(run_document(as_run(without, record)), tmp_path)
    assert not (tmp_path / "plots" / "demand.png").exists()


def test_the_webserver_count_steps_at_the_end_of_the_period_that_first_shows_it() -> None:
    record, analysis = made_up_run(Plan(rates=(8, 22), duration_s=60, scale_out_at_s=75))
    shown = next(point for point in analysis.periods if point.webservers == 3)
    figure = draw_timeline(analysis, calls_of(record.requests))
    (panel,) = (axes for axes in figure.axes if axes.get_ylabel() == "webservers")
    x, counts = panel.lines[0].get_data()
    stepped_at_s = next(at for at, count in zip(x, counts, strict=True) if count == 3)
    assert stepped_at_s == shown.start_s + shown.period_s - analysis.started_at_s
