"""Orders to a terminal, markup and links in names and messages: shown in every form, not obeyed."""

import json
import re
import shutil
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from html_page import parsed
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaa_headroom.analysis.report.controls import escape_controls
from mwaa_headroom.analysis.report.document import (
    Bullets,
    Case,
    Column,
    Document,
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
from mwaa_headroom.harness.run.answers import report_run

FROZEN = Path(__file__).parents[2] / "frozen_runs"
ORDERS = "\x1b[31m\x1b]0;owned\x07\x9b2J\r\n\u202e\u2028\ufffe\ud800"
MARKUP = "[bold]x[/] | `y` [a](http://b.example) www.c.example <img src=x> $\\frac$ &amp; *z* #1"


@dataclass(frozen=True)
class Result:
    word: str


def document_of(word: str) -> Document:
    blocks = (
        Text(word),
        Terms(((word, word),)),
        Bullets((word,)),
        Ticks(((True, word, word),)),
        Table((Column(word), Column("n", word)), ((word, "1"),), caption=word),
    )
    return Document(
        kind="report",
        title=word,
        headline=word,
        about=word,
        sentence=word,
        status="good",
        sections=(Section(word, blocks, brief=True),),
        result=Result(word),
        cases=(Case("SLO", word, "failure", word), Case("SLO", word, "passed", word)),
        properties={word: word},
        facts={"name": word, "list": [word], "inner": {"name": word}},
    )


FORMS: dict[str, Callable[[Document], str]] = {
    "terminal": lambda d: render_terminal(d, verbose=True, width=100, colour=False),
    "Markdown": render_markdown,
    "JUnit": render_junit,
    "HTML": lambda d: render_html(d, {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_no_form_gives_orders_to_what_shows_it(form: str) -> None:
    shown = FORMS[form](document_of(f"a{ORDERS}b"))

    shown.encode()
    assert "\\x1b" in shown
    for order in "\x1b\x07\x9b\r\u202e\u2028\ud800":
        assert order not in shown, (form, order)


@settings(max_examples=30)
@given(st.text(max_size=20))
def test_no_text_can_break_the_xml_or_a_line_of_it(word: str) -> None:
    document = document_of(word)
    suite = ET.fromstring(render_junit(document))  # noqa: S314 - our own

    name = suite.find(".//testcase").get("name")
    assert name == re.sub("[\ufffe\uffff]", "?", escape_controls(word))
    assert len(FORMS["terminal"](document).splitlines()) == len(
        FORMS["terminal"](document_of(escape_controls(word))).splitlines()
    )


def test_markup_is_text_in_every_form() -> None:
    document = document_of(MARKUP)

    assert MARKUP in " ".join(FORMS["terminal"](document).split())
    markdown = FORMS["Markdown"](document)
    assert re.search(r"(?<!\\)[`\[<]|://|www\.", markdown.replace("<details>", "")) is None
    assert "<img" not in FORMS["HTML"](document)
    assert MARKUP in " ".join(" ".join(parsed(FORMS["HTML"](document)).text).split())


def test_a_foreign_record_full_of_orders_is_reported_without_a_warning(tmp_path: Path) -> None:
    run = Path(shutil.copytree(FROZEN / "simulated_check", tmp_path / "run"))
    manifest = json.loads((run / "manifest.json").read_text())
    word = f"{ORDERS[:-1]} 負荷 {MARKUP}"
    manifest["scenario"]["name"] = manifest["environment"]["name"] = word
    for stage in manifest["scenario"]["stages"]:
        stage["name"] = word
    (run / "manifest.json").write_text(json.dumps(manifest))
    with (run / "events.jsonl").open("a") as events:
        note = {"kind": "note", "source": "harness", "message": f"{word}\ud800"}
        events.write(json.dumps({"time_s": manifest["started_at_s"], **note}) + "\n")

    with warnings.catch_warnings(action="error"):  # a glyph that the font lacks is one
        page = report_run(run).page

    for file in (page, run / "summary.txt", run / "summary.md", run / "junit.xml"):
        assert "\x1b" not in file.read_text(), file
        assert "\u202e" not in file.read_text(), file
    json.loads((run / "report.json").read_text())


@pytest.mark.parametrize("text", ["$\\frac$", "a\x1b\x9b\u00ad\u202e", "負荷 \U0001f600", "a\nb"])
def test_a_picture_takes_any_name(text: str) -> None:
    from mwaa_headroom.analysis.report.plots.drawing import as_png, printable, style

    with warnings.catch_warnings(action="error"), style():
        figure, axes = single_axes(4, 3)
        axes.set_title(printable(text))
        as_png(figure)
