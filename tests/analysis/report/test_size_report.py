"""The document of `headroom size` as it is read."""

import html
import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from golden_files import golden
from sizing_by_hand import PRICES, recorded, recorded_runs, with_capacity

from mwaa_headroom.analysis.planning.loads import load_between
from mwaa_headroom.analysis.planning.size import SizingAnswer, answer_size
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.document import Document, Table
from mwaa_headroom.analysis.report.html import render_html
from mwaa_headroom.analysis.report.markdown import render_markdown
from mwaa_headroom.analysis.report.size_report import size_document
from mwaa_headroom.analysis.report.terminal import render_terminal
from mwaa_headroom.analysis.report.write import write_document


@cache
def answer() -> SizingAnswer:
    """Of runs that show where the SLO breaks, for a range of rates."""
    runs = with_capacity(recorded_runs(2), 20.0, webservers=2, bottleneck="webserver_cpu")
    return answer_size(runs, load_between(20, 37), (PRICES,))


def text(document: Document, *, verbose: bool = True, width: int = 100) -> str:
    return render_terminal(document, verbose=verbose, width=width, colour=False)


@pytest.mark.parametrize("verbose", [True, False], ids=["all", "brief"])
def test_a_size_reads_like_the_golden_text(verbose: bool) -> None:
    shown = text(size_document(answer()), verbose=verbose)

    assert shown == golden("size.txt" if verbose else "size_brief.txt", shown)


def test_the_headline_says_class_and_webservers() -> None:
    document = size_document(answer())

    assert (document.headline, document.status) == ("mw1.small, 2-4 webservers", "good")
    assert [(case.name, case.result) for case in document.cases] == [("20-37 calls/s", "passed")]


def test_what_sets_the_size_can_be_copied_from_every_form() -> None:
    document = size_document(replace(answer(), environment_name="etl"))
    commands = (
        "aws mwaa update-environment --name etl",
        "--min-webservers 2 --max-webservers 4",
        "--alarm-name etl-web-CPUUtilization",
        "--alarm-name etl-web-MemoryUtilization",
        "Name=Environment,Value=etl",
        "min_webservers    = 2",
        "MaxWebservers: 4",
        'environment_class = "mw1.small"',
    )
    page = html.unescape(render_html(document, {}))
    for shown in (text(document), render_markdown(document), page):
        assert all(command in shown for command in commands)
    assert "update-environment" not in text(document, verbose=False)
    command = text(document).partition("AWS CLI:")[2].partition("Alarms")[0]
    assert shlex.split(command.replace("\\\n", " ")) == [
        *("aws", "mwaa", "update-environment", "--name", "etl"),
        *("--environment-class", "mw1.small", "--min-webservers", "2", "--max-webservers", "4"),
    ]


def test_a_refusal_says_why_and_draws_nothing(tmp_path: Path) -> None:
    refused = answer_size(
        [recorded(1), recorded(2, webserver_cpu=0.25)], load_between(20, 20), (PRICES,)
    )
    document = size_document(refused)
    write_document(document, tmp_path)

    assert (document.headline, document.status) == ("No size", "unclear")
    assert document.sentence == (
        "No size can be given: the runs differ in CPUs per webserver: 0.5 (run-1); 0.25 (run-2)."
    )
    assert document.cases[0].result == "error"
    assert {path.name for path in tmp_path.rglob("*.*")} == {
        *("size.html", "size.json", "summary.txt", "summary.md", "junit.xml")
    }


def test_runs_are_named_by_the_end_that_tells_them_apart() -> None:
    long = tuple(
        replace(run, run_id=f"20261122T151{number}00-quickstart-{number}a5e")
        for number, run in enumerate(answer().runs)
    )
    sections = size_document(replace(answer(), runs=long)).sections
    tables = [block for each in sections for block in each.blocks if isinstance(block, Table)]
    table = next(each for each in tables if each.columns[0].heading == "run")

    assert [row[0] for row in table.rows] == ["…art-0a5e", "…art-1a5e"]


def test_tables_and_sentences_round_probabilities_alike() -> None:
    assert [words.short_chance(p) for p in (0.992, 0.985, 0.004)] == ["> 99 %", "98 %", "< 1 %"]
    assert [words.chance(p) for p in (0.992, 0.985)] == ["more than 99 %", "98 %"]


@pytest.mark.parametrize("width", [72, 80, 100])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, text(size_document(answer()), width=width).splitlines())) <= width
