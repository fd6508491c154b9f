"""The files a run directory gets: page, JSON, JUnit and pictures, also for ugly runs."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
from hand_built import HEALTHY, hand_built
from rich_run import rich
from sample_runs import Plan, made_up_run

from mwaa_headroom.analysis.report.as_json import analysis_as_json
from mwaa_headroom.analysis.report.html import render_html
from mwaa_headroom.analysis.report.junit import junit_xml
from mwaa_headroom.analysis.report.plots.gallery import as_inline_svg, as_png, draw_pictures
from mwaa_headroom.analysis.report.plots.timeline import draw_timeline
from mwaa_headroom.analysis.report.write import write_reports
from mwaa_headroom.analysis.results import RecoveryResult, SloResult, Verdict
from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA

VOID = {"meta", "br", "hr", "img", "link", "input", "path", "use", "rect", "image", "circle"}
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


class Page(HTMLParser):
    """Collects what a browser would see, and complains about tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.data = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("href", "src", "xlink:href", "action", "srcset"):
                self.references.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.data += data
        elif not self.open or self.open[-1] != "style":
            self.text.append(data)


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    record, analysis = made_up_run(Plan(rates=(8, 22), duration_s=60, scale_out_at_s=75))
    write_reports(record, rich(analysis), directory)
    return directory


def test_every_file_is_there_and_nothing_half_written(written: Path) -> None:
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    assert names == {
        "report.html",
        "report.json",
        "junit.xml",
        "summary.txt",
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
    assert "3 webservers (3-3) are needed for 25 calls/s." in text
    assert "time since the start of the run (min:s)" in text, "pictures keep their text"
    assert all(ref.startswith(("#", "data:image/png;base64,")) for ref in page.references)
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert len(page.ids) == len(set(page.ids))
    local = {ref[1:] for ref in page.references if ref.startswith("#")}
    local |= set(re.findall(r"url\(#([^)]*)\)", html))
    assert local <= set(page.ids)


def test_the_page_carries_the_data(written: Path) -> None:
    page = parsed((written / "report.html").read_text(encoding="utf-8"))
    assert json.loads(page.data) == json.loads((written / "report.json").read_text("utf-8"))


def test_names_from_outside_stay_text() -> None:
    evil = "</script><script>alert(1)</script><b>"
    html = render_html(replace(hand_built(), scenario_name=evil, notes=(evil,)), {})
    page = parsed(html)
    assert "alert(1)" in "".join(page.text)
    assert html.count("<script") == 1
    assert json.loads(page.data)["scenario_name"] == evil


def test_json_is_strict_and_says_what_is_unknown() -> None:
    whole = hand_built()
    holed = replace(whole, ended_at_s=float("nan"), environment={"facts": {"x": float("inf")}})
    answer = analysis_as_json(holed)
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
    suite = junit_suite(junit_xml(hand_built()))
    assert suite.attrib["tests"] == "5", "two stages, one expectation, generator and verdict"
    assert suite.attrib["failures"] == suite.attrib["errors"] == "0"
    (skipped,) = suite.findall("testcase/skipped")
    assert skipped.attrib["message"] == "observed 1250 ms, wanted p95(latency) < 800ms"


def test_junit_of_a_failed_check_is_red_with_what_was_observed() -> None:
    run = SloResult("rate(errors) < 1%", 0.02, "2 %", False)
    analysis = replace(
        hand_built(),
        question="check",
        slo=(run,),
        verdict=Verdict("check", True, False, 3, "The SLO was not met."),
    )
    suite = junit_suite(junit_xml(analysis))
    assert suite.attrib["tests"] == "6"
    messages = [failure.attrib["message"] for failure in suite.findall("testcase/failure")]
    assert messages == [
        "observed 2 %, wanted rate(errors) < 1%",
        "observed 1250 ms, wanted p95(latency) < 800ms",
        "The SLO was not met.",
    ]


@pytest.mark.parametrize("exit_code", [5, 130])
def test_junit_of_an_unanswered_question_is_an_error(exit_code: int) -> None:
    verdict = Verdict("capacity", False, None, exit_code, "Not\x00answered.")
    suite = junit_suite(junit_xml(replace(hand_built(), verdict=verdict)))
    (error,) = suite.findall("testcase/error")
    assert error.attrib["message"] == "Not?answered."


@pytest.mark.parametrize(("exit_code", "result"), [(5, "error"), (0, "skipped"), (3, "skipped")])
def test_junit_of_a_spoilt_generator(exit_code: int, result: str) -> None:
    """An error where it left the question open; with a green or red verdict, it decided nothing."""
    analysis = replace(
        hand_built(),
        verdict=Verdict("check", exit_code != 5, None, exit_code, "Said."),
        generator=replace(HEALTHY, ok=False, reasons=("In stage 1: Calls were late.",)),
    )
    suite = junit_suite(junit_xml(analysis))
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
        explanation="",
    )
    seen = draw_timeline(record.requests, replace(analysis, recoveries=(recovery,)))
    never = replace(recovery, recovered_after_s=None)
    unseen = draw_timeline(record.requests, replace(analysis, recoveries=(never,)))
    for figure, said, marks in ((seen, "recovery after 12 s", 1), (unseen, "no recovery seen", 0)):
        rate = figure.axes[0]
        assert any(said in text.get_text() for text in rate.texts)
        at_s = recovery.load_ended_at_s + 12.4 - analysis.started_at_s
        near = pytest.approx([at_s, at_s])
        assert sum(list(line.get_xdata()) == near for line in rate.lines) == marks


@pytest.mark.slow
@pytest.mark.parametrize("name", UGLY)
def test_pictures_of_ugly_runs(name: str) -> None:
    record, analysis = made_up_run(UGLY[name])
    pictures = draw_pictures(record.requests, analysis)
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
    paths = write_reports(empty, nothing, tmp_path)
    assert [path.name for path in paths.plots] == ["timeline.png"]
    assert "No stage was measured." in paths.summary.read_text(encoding="utf-8")


def test_unsent_arrivals_are_in_the_timeline() -> None:
    record, analysis = made_up_run(Plan(rates=(10,)))
    rows = record.requests.to_pylist()
    for row in rows[::3]:
        row.update(outcome="unsent", lag_s=None, service_time_s=None, attempts=0)
    requests = pa.Table.from_pylist(rows, schema=REQUESTS_SCHEMA)
    svg = as_inline_svg(draw_pictures(requests, analysis)["timeline"], "timeline")
    assert f"{len(rows[::3])} arrivals were not sent" in " ".join(svg.split())
    assert ">generator<" in svg


@pytest.mark.slow
def test_a_picture_that_is_no_longer_drawn_is_removed(tmp_path: Path) -> None:
    record, analysis = made_up_run(Plan(rates=(5,)))
    write_reports(record, analysis, tmp_path)
    assert (tmp_path / "plots" / "demand.png").exists()
    write_reports(record, replace(analysis, demand=None), tmp_path)
    assert not (tmp_path / "plots" / "demand.png").exists()


def test_text_reports_do_not_load_matplotlib() -> None:
    code = (
        "import sys, analysis.report.terminal, analysis.report.as_json, analysis.report.junit;"
        "sys.exit('matplotlib' in sys.modules or 'jinja2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_webserver_count_steps_at_the_end_of_the_period_that_first_shows_it() -> None:
    record, analysis = made_up_run(Plan(rates=(8, 22), duration_s=60, scale_out_at_s=75))
    shown = next(point for point in analysis.periods if point.webservers == 3)
    figure = draw_timeline(record.requests, analysis)
    (panel,) = (axes for axes in figure.axes if axes.get_ylabel() == "webservers")
    x, counts = panel.lines[0].get_data()
    stepped_at_s = next(at for at, count in zip(x, counts, strict=True) if count == 3)
    assert stepped_at_s == shown.start_s + shown.period_s - analysis.started_at_s
