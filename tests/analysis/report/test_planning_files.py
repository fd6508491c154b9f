"""Answers about several runs as text, page, JSON and pictures."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from mwaa_headroom.analysis.report.document import Column, Table
from mwaa_headroom.analysis.report.planning.answer import Answer, Section
from mwaa_headroom.analysis.report.planning.terminal import render_answer
from mwaa_headroom.analysis.report.planning.write import write_answer
from mwaa_headroom.analysis.report.plots.drawing import single_axes, style
from mwaa_headroom.analysis.statistics import Estimate


@dataclass(frozen=True)
class Result:
    rate_per_s: Estimate
    sentence: str


RESULT = Result(Estimate(24.0, 22.0, float("inf"), 6), "A <b>sentence</b>.")
TABLE = Table(
    (Column("web", "servers"), Column("capacity", "calls/s"), Column("limit", right=False)),
    (("1", "24", "CPU"), ("2", "47", "throttle")),
)
ANSWER = Answer(
    kind="capacity",
    headline="24 calls/s & more",
    sentence="One webserver takes 24 calls/s.",
    tone="good",
    sections=(
        Section("Capacity by count", ("Two sentences.", "Here they are."), TABLE, "curve"),
        Section("Only drawn", picture="curve"),
        Section("Nothing at all", picture="missing"),
    ),
    refusals=("With 3 webservers nothing broke.",),
    notes=("Runs differ in their names.",),
)


def a_figure() -> Figure:
    with style():
        figure, axes = single_axes(5.0, 3.0)
        axes.plot([1, 2], [24, 47], color="#0072b2")
    return figure


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("answer") / "not there yet"
    assert write_answer(ANSWER, RESULT, {"curve": a_figure()}, directory).name == "capacity.html"
    return directory


def test_text_leads_up_to_the_answer() -> None:
    text = render_answer(ANSWER, colour=False, width=80)

    lines = text.splitlines()
    assert lines[0] == "Capacity"
    assert lines[-1] == "One webserver takes 24 calls/s."
    assert text.index("Cannot be told") < text.index("Capacity by count") < text.index("Notes")
    assert "Only drawn" not in text
    assert "Nothing at all" not in text


def test_colour_is_only_added() -> None:
    coloured = render_answer(ANSWER, colour=True, width=80)

    assert "\x1b[1;32mOne webserver" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == render_answer(ANSWER, colour=False, width=80)


def test_every_file_is_written(directory: Path) -> None:
    files = {path.relative_to(directory).as_posix() for path in directory.rglob("*.*")}

    assert files == {"capacity.html", "capacity.json", "summary.txt", "plots/curve.png"}
    found = json.loads((directory / "capacity.json").read_text())
    assert found["schema_version"] == 1
    assert found["rate_per_s"]["value"] == 24.0
    assert found["rate_per_s"]["high"] is None  # infinity is not JSON
    text = (directory / "summary.txt").read_text()
    assert text == render_answer(ANSWER, colour=False, width=100) + "\n"


def test_page_needs_nothing_but_itself(directory: Path) -> None:
    page = (directory / "capacity.html").read_text()

    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert page.count("<svg") == 2
    assert 'download="curve.png" href="data:image/png;base64,' in page
    assert "var(--blue)" in page  # drawn in the page's own, light or dark, colours
    assert "Only drawn" in page
    assert "Nothing at all" not in page


def test_page_embeds_the_result_safely(directory: Path) -> None:
    page = (directory / "capacity.html").read_text()

    assert "<h1>24 calls/s &amp; more</h1>" in page
    embedded = re.search(
        r'<script type="application/json" id="capacity">(.*?)</script>', page, re.S
    )
    assert embedded
    assert json.loads(embedded[1])["sentence"] == RESULT.sentence
    assert "<b>sentence" not in page
