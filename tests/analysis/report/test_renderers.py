"""One small document in every form: a golden text each, and what no form may ever do."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from golden_files import golden
from html_page import parsed
from matplotlib.figure import Figure as Drawing

from mwaa_headroom.analysis.report.document import (
    Bullets,
    Case,
    Column,
    Document,
    Figure,
    Hint,
    Section,
    Table,
    Terms,
    Text,
    Ticks,
)
from mwaa_headroom.analysis.report.html import render_html
from mwaa_headroom.analysis.report.junit import render_junit
from mwaa_headroom.analysis.report.markdown import render_markdown
from mwaa_headroom.analysis.report.plots.drawing import single_axes
from mwaa_headroom.analysis.report.terminal import render_terminal
from mwaa_headroom.analysis.report.write import write_document


@dataclass(frozen=True)
class Result:
    error_rate: float
    text: str


def curve() -> Drawing:
    figure, axes = single_axes(6, 4)
    axes.plot([1, 2], [1, 4])
    return figure


STAGES = Table(
    (
        Column("stage", right=False),
        Column("rate", "1/s"),
        Column("goodput", "1/s", dropped=2),
        Column("p50", dropped=1),
        Column("p95"),
        Column("why", right=False),
        Column("trial"),
    ),
    (
        ("1 calm", "10", "10.0", "100 ms", "612 ms", "the latency had settled", "pass"),
        (
            "2 burst",
            "20",
            "12.3",
            "110 ms",
            "1.25 s",
            "the SLO broke: CPU was at 99 % here",
            "fail",
        ),
    ),
)
SMALL = Document(
    kind="report",
    title="nightly",
    headline="3 webservers for 25 calls/s",
    about="0001_nightly, demo, local, finished after 2 min",
    sentence="25 calls/s need 3 webservers (3-4).",
    status="good",
    sections=(
        Section(
            "SLO (whole run)",
            (
                Ticks(
                    (
                        (True, "p95(latency) < 800ms", "612 ms"),
                        (False, "rate(errors) < 1%", "2 %"),
                        (None, "max(webserver.cpu) < 85%", "not judged: no metrics"),
                    )
                ),
            ),
            brief=True,
        ),
        Section("Stages", (Hint("Warm-up is left out."), STAGES), brief=True),
        Section(
            "Notes",
            (Bullets(("Two metric periods are missing.", "a | b <c> * d", "x" * 20 + " y" * 60)),),
            brief=True,
            brief_blocks=(Text("3 notes: --verbose", "unclear"),),
        ),
        Section("Every stage", (replace(STAGES, caption="All of it", folded=True),)),
        Section("Curve", (Figure("curve", "A rising line", curve),)),
        Section("Nothing", (Figure("nothing", "Nothing", lambda: None),)),
        Section("What the words mean", (Terms((("Lag", "How late a call was sent."),)),)),
    ),
    result=Result(float("nan"), "</script><b>"),
    cases=(
        Case("whole run", "p95(latency) < 800ms", "passed", "612 ms", 120.0),
        Case("stage 2", "rate(errors) < 1%", "failure", "observed 2 %", 60.0),
        Case("stage 1", "rate(errors) < 1%", "skipped", "too few calls"),
        Case("verdict", "gate", "error", "Not\x00told.", failure_type="inconclusive"),
    ),
    properties={"workload": "open: Poisson arrivals"},
    started_at_s=1_780_000_000.0,
    length_s=125.4,
    facts={"region": "us-west-2", "facts": {"webserver_cpu": 0.25, "unknown": float("nan")}},
    pictures=("curve", "nothing", "gone"),
)


def terminal(document: Document = SMALL, **changed: object) -> str:
    settings = {"verbose": True, "width": 100, "colour": False} | changed
    return render_terminal(document, **settings) + "\n"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("small.txt", terminal()),
        ("small_brief.txt", terminal(verbose=False, width=72)),
        ("small.md", render_markdown(SMALL)),
        ("small.html", re.sub(r"(?s)<(style|script)>.*?</\1>", "", render_html(SMALL, {}))),
        ("small.xml", render_junit(SMALL)),
    ],
)
def test_a_small_document_reads_like_this(name: str, text: str) -> None:
    assert text == golden(name, text)


def test_colour_changes_nothing_but_colour() -> None:
    coloured = terminal(colour=True)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)

    assert "\x1b[1;32m25 calls/s need 3 webservers" in coloured
    assert "\x1b[31m fail\x1b[0m" in coloured
    assert [line.rstrip() for line in plain.splitlines()] == terminal().splitlines()


def only(table: Table) -> Document:
    return replace(SMALL, sections=(Section("Only", (table,), brief=True),))


def test_a_narrow_terminal_drops_what_may_be_dropped_before_it_wraps_text() -> None:
    headings = {
        width: [
            column.heading
            for column in STAGES.columns
            if column.heading in terminal(only(STAGES), width=width).split("Only")[1]
        ]
        for width in (72, 80, 100)
    }

    assert headings == {
        100: ["stage", "rate", "goodput", "p50", "p95", "why", "trial"],
        80: ["stage", "rate", "p50", "p95", "why", "trial"],
        72: ["stage", "rate", "p95", "why", "trial"],
    }


WORDS = (
    "p95 latency, stage 1, 20/s",
    "12.5 ms",
    "the first of all the runs that were slower than the ones before",
)


@pytest.mark.parametrize("width", range(72, 110))
def test_text_is_wrapped_between_words_and_none_is_lost(width: int) -> None:
    table = Table(
        (Column("metric", right=False), Column("since"), Column("", right=False)), (WORDS,)
    )
    shown = terminal(only(table), width=width).split("Only\n")[1].splitlines()

    assert all(len(line) <= width for line in shown)
    assert sorted(" ".join(shown[1:]).split()) == sorted(" ".join(WORDS).split())


def test_where_nothing_can_be_wrapped_the_first_column_is_clipped_and_no_other() -> None:
    run = "20261122T152215-known-truth-6e50-and-a-very-long-name-of-it"
    table = Table(
        (Column("operation", right=False), Column("run", right=False)),
        (("list_task_instances", run),),
    )

    assert terminal(only(table), width=72).splitlines()[-1] == f"  list_tas…  {run}"


def test_names_from_outside_stay_text() -> None:
    evil = "</script><script>alert(1)</script><b>[bold] & | `x`"
    table = Table((Column(evil),), ((evil,),), caption=evil)
    blocks = (Text(evil), Hint(evil), Bullets((evil,)), Ticks(((True, evil, evil),)), table)
    document = replace(
        SMALL,
        title=evil,
        sentence=evil,
        about=evil,
        headline=evil,
        sections=(Section(evil, blocks),),
        result=Result(0.0, evil),
        cases=(Case(evil, evil, "failure", evil),),
        facts={evil: evil},
    )
    page = render_html(document, {})

    assert json.loads(parsed(page).data)["text"] == evil
    assert page.count("<script") == 2, "the data, and what the page does"
    assert ET.fromstring(render_junit(document)) is not None  # noqa: S314 - our own
    assert "<script" not in render_markdown(document).replace("\\<", "")
    assert evil in terminal(document, width=200)


def test_every_file_is_written_and_a_picture_of_before_is_removed(tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    for name in ("gone", "mine"):
        (tmp_path / "plots" / f"{name}.png").write_bytes(b"old")

    page = write_document(SMALL, tmp_path)

    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert page == tmp_path / "report.html"
    assert names == {
        *("report.html", "report.json", "junit.xml", "summary.txt", "summary.md"),
        *("plots/curve.png", "plots/mine.png"),
    }
    assert (tmp_path / "summary.txt").read_text("utf-8") == terminal()


def test_the_page_is_whole_and_asks_nobody_for_anything(tmp_path: Path) -> None:
    html = write_document(SMALL, tmp_path).read_text("utf-8")
    page = parsed(html)

    assert all(ref.startswith(("#", "data:image/png;base64,", "plots/")) for ref in page.references)
    assert "://" not in html
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert len(page.ids) == len(set(page.ids))
    local = {ref[1:] for ref in page.references if ref.startswith("#")}
    assert local | set(re.findall(r"url\(#([^)]*)\)", html)) <= set(page.ids)
    assert json.loads(page.data) == json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert json.loads(page.data)["error_fraction"] is None


def test_text_reports_load_neither_matplotlib_nor_jinja() -> None:
    code = (
        "import sys;"
        "from mwaa_headroom.analysis.report import terminal, markdown, junit, as_json, document;"
        "sys.exit('matplotlib' in sys.modules or 'jinja2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Of Jenkins's schema for JUnit reports: attributes and children that an element may have.
JUNIT = {
    "testsuites": ("name time tests failures disabled errors", "testsuite"),
    "testsuite": (
        "name tests failures errors time disabled skipped timestamp hostname id package",
        "properties testcase system-out system-err",
    ),
    "properties": ("", "property"),
    "property": ("name value", ""),
    "testcase": ("name assertions time classname status", "skipped error failure system-out"),
    "skipped": ("message type", ""),
    "error": ("message type", ""),
    "failure": ("message type", ""),
    "system-out": ("", ""),
}


def test_junit_is_what_jenkins_and_gitlab_accept() -> None:
    """Also without properties, whose element may not be empty."""
    for document in (SMALL, replace(SMALL, properties={})):
        root = ET.fromstring(render_junit(document))  # noqa: S314 - our own
        assert root.tag == "testsuites"
        for element in root.iter():
            attributes, children = map(str.split, JUNIT[element.tag])
            assert {*element.attrib} <= {*attributes}
            assert {child.tag for child in element} <= {*children}
            assert element.tag != "properties" or len(element)
