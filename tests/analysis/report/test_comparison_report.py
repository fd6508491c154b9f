"""What people, pages and CI servers read of comparisons and histories."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from compared_runs import imagined_manifest, imagined_run, imagined_runs
from golden_files import golden
from html_page import parsed

from mwaa_headroom.analysis.comparison.compare import Comparison, compare_runs
from mwaa_headroom.analysis.comparison.history import History, trace_history
from mwaa_headroom.analysis.findings import warning
from mwaa_headroom.analysis.report.comparison_report import (
    comparison_document,
    comparison_sentence,
    history_document,
    history_sentence,
)
from mwaa_headroom.analysis.report.document import Document
from mwaa_headroom.analysis.report.junit import render_junit
from mwaa_headroom.analysis.report.plots.comparison import draw_history
from mwaa_headroom.analysis.report.terminal import render_terminal
from mwaa_headroom.analysis.report.write import write_document
from mwaa_headroom.analysis.statistics import Estimate


@cache
def compared(factor: float = 1.3, count: int = 6) -> Comparison:
    return compare_runs(
        imagined_runs("old", count),
        imagined_runs("new", count, factor=factor, airflow="3.3.1", first_day=1),
        margin=0.1,
    )


@cache
def refused() -> Comparison:
    manifest = imagined_manifest(scenario__traffic__retries="standard")
    return compare_runs(
        imagined_runs("old", 6), [imagined_run("<new>", manifest=manifest)], margin=0.1
    )


@cache
def traced() -> History:
    return trace_history(
        [
            *imagined_runs("old", 9),
            *imagined_runs("new", 9, factor=1.3, airflow="3.3.1", first_day=50),
        ]
    )


def text(document: Document, *, verbose: bool = True, width: int = 100) -> str:
    return render_terminal(document, verbose=verbose, width=width, colour=False)


def test_a_regression_reads_like_the_golden_text() -> None:
    document = comparison_document(compared())
    everything, brief = text(document), text(document, verbose=False)

    assert everything == golden("comparison.txt", everything)
    assert brief == golden("comparison_brief.txt", brief)
    assert len(brief.splitlines()) <= 40


def test_a_history_reads_like_the_golden_text() -> None:
    shown = text(history_document(traced()))

    assert shown == golden("history.txt", shown)


@pytest.mark.parametrize(
    ("made", "status", "begins"),
    [
        (compared, "bad", "Regression: "),
        (lambda: compared(1.0), "good", "Pass: no gate metric is worse by more than 10 %"),
        (lambda: compared(1.1), "unclear", "Inconclusive: "),
        (refused, "unclear", "Not compared: the runs differ in retries: off (baseline)"),
    ],
)
def test_the_verdict_is_the_sentence(
    made: Callable[[], Comparison], status: str, begins: str
) -> None:
    comparison = made()
    assert comparison_document(comparison).status == status
    assert comparison_sentence(comparison).startswith(begins)


def test_a_narrow_terminal_keeps_names_changes_and_verdicts() -> None:
    lines = text(comparison_document(compared()), width=80).splitlines()

    assert all(len(line) <= 80 for line in lines)
    assert sum(line.endswith("regression") for line in lines) == 3


def test_many_seeds_are_not_listed_one_by_one() -> None:
    contender = [
        imagined_run(f"new-{seed}", manifest=imagined_manifest(scenario__traffic__seed=seed))
        for seed in range(10, 16)
    ]
    comparison = compare_runs(imagined_runs("old", 6), contender, margin=0.1)

    assert "and 5 others" in text(comparison_document(comparison))


def test_a_metric_without_a_change_is_drawn_and_told(tmp_path: Path) -> None:
    """A reason without numbers: the picture and the tables leave the numbers out."""
    found = compared(1.0)
    unknown = replace(
        found.gate[0],
        change=Estimate(None),
        verdict="inconclusive",
        reason=warning("comparison.lower_bound", side="baseline", runs=3),
    )
    document = comparison_document(replace(found, gate=(unknown, *found.gate[1:])))

    html = write_document(document, tmp_path).read_text()

    assert "p95 latency, stage 1, 4/s: In 3 baseline runs it is only a lower bound." in html


@pytest.mark.parametrize(
    ("made", "failures", "errors"),
    [(compared, 4, 0), (lambda: compared(1.0), 0, 0), (refused, 0, 1)],
)
def test_junit_is_red_exactly_when_the_command_is(
    made: Callable[[], Comparison], failures: int, errors: int
) -> None:
    comparison = made()
    suites = ET.fromstring(render_junit(comparison_document(comparison)))  # noqa: S314 - our own

    assert (suites.get("failures"), suites.get("errors")) == (str(failures), str(errors))
    assert len(suites.findall(".//failure")) == failures
    assert len(suites.findall(".//error")) == errors
    assert (failures + errors > 0) == (comparison.exit_code != 0)
    assert len(suites.findall(".//testcase")) == len(comparison.gate) + 1


@pytest.mark.parametrize("made", [compared, refused])
def test_the_files_of_a_comparison(made: Callable[[], Comparison], tmp_path: Path) -> None:
    comparison = made()
    html = write_document(comparison_document(comparison), tmp_path / "out").read_text()

    data = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert (data["schema_version"], data["exit_code"]) == (1, comparison.exit_code)
    assert len(data["baseline"]) == 6
    assert json.loads(parsed(html).data) == data
    assert "<new>" not in html
    assert ("plots/" in html) == bool(comparison.gate)
    expected = {"comparison.html", "comparison.json", "junit.xml", "summary.txt", "summary.md"}
    expected |= {"plots"} if comparison.gate else set()
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected


@pytest.mark.parametrize("made", [traced, lambda: trace_history(imagined_runs("old", 3))])
def test_the_files_of_a_history(made: Callable[[], History], tmp_path: Path) -> None:
    history = made()
    html = write_document(history_document(history), tmp_path).read_text()

    assert all(each.startswith(("data:", "#", "plots/")) for each in parsed(html).references)
    assert (tmp_path / "plots" / "history.png").exists() == (not history.refusals)
    assert not (tmp_path / "junit.xml").exists()


def test_a_history_says_how_often_something_changed_and_when_last() -> None:
    assert "new-00 (Airflow 3.2.1 before, 3.3.1 since)" in history_sentence(traced())
    assert history_sentence(trace_history(imagined_runs("old", 16))) == (
        "No change in 4 metrics of 16 runs."
    )
    assert "at least 15 valid runs, there are 3" in history_sentence(
        trace_history(imagined_runs("old", 3))
    )


def test_every_change_names_its_metric_in_full() -> None:
    history = traced()
    run = replace(history.runs[0], run_id="20261122T152215-known-truth-6e50")
    metrics = tuple(
        replace(
            metric, change_points=tuple(replace(p, first_run=run) for p in metric.change_points)
        )
        for metric in history.metrics
    )

    changes = text(history_document(replace(history, metrics=metrics))).split("\nChanges\n")[1]

    assert all(len(line) <= 100 for line in changes.splitlines())
    assert "…" not in changes
    assert all(f"stage {number}, " in changes for number in (1, 2))
    assert run.run_id in changes


def test_no_axis_of_a_history_goes_below_zero() -> None:
    figure = draw_history(traced(), "")

    assert figure is not None
    assert all(axes.get_ylim()[0] >= 0 for axes in figure.axes)
