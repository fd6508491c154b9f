"""What people, pages and CI servers read of comparisons and histories."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from compared_runs import imagined_manifest, imagined_run, imagined_runs

from mwaa_headroom.analysis.comparison.compare import compare_runs
from mwaa_headroom.analysis.comparison.history import trace_history
from mwaa_headroom.analysis.comparison.results import Comparison, History, Metric
from mwaa_headroom.analysis.report.comparison import tables
from mwaa_headroom.analysis.report.comparison.junit import comparison_junit_xml
from mwaa_headroom.analysis.report.comparison.terminal import render_comparison, render_history
from mwaa_headroom.analysis.report.comparison.write import write_comparison, write_history
from mwaa_headroom.analysis.report.plots.history import draw_history
from mwaa_headroom.analysis.statistics import Estimate

RATIO, SHARE = Metric("latency", "s"), Metric("errors", "fraction")


def compared(factor: float = 1.3, count: int = 6) -> Comparison:
    return compare_runs(
        imagined_runs("old", count),
        imagined_runs("new", count, factor=factor, airflow="3.3.1", first_day=1),
        margin=0.1,
    )


def refused() -> Comparison:
    manifest = imagined_manifest(scenario__traffic__retries="standard")
    return compare_runs(
        imagined_runs("old", 6), [imagined_run("<new>", manifest=manifest)], margin=0.1
    )


def traced() -> History:
    return trace_history(
        [
            *imagined_runs("old", 9),
            *imagined_runs("new", 9, factor=1.3, airflow="3.3.1", first_day=50),
        ]
    )


class _Balanced(HTMLParser):
    """Notes elements that are never closed, and everything loaded from elsewhere."""

    VOID = ("meta", "link", "br", "path", "use", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href") and value and not value.startswith(("data:", "#")):
                self.foreign.append(value)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("metric", "estimate", "text"),
    [
        (RATIO, Estimate(1.147, 1.112, 1.183), "1.15 (1.11-1.18)"),
        (RATIO, Estimate(1.0012, 0.9953, 1.0071), "1.001 (0.995-1.007)"),
        (SHARE, Estimate(0.004, -0.0012, 0.01), "+0.4 pt (-0.12 to +1)"),
        (SHARE, Estimate(0.0, 0.0, 0.0), "0 pt (0 to 0)"),
        (RATIO, Estimate(1.2), "1.20"),
        (RATIO, Estimate(None), "-"),
    ],
)
def test_changes_in_words(metric: Metric, estimate: Estimate, text: str) -> None:
    assert tables.change(metric, estimate) == text


def test_the_summary_reads_like_benchstat_and_ends_with_the_verdict() -> None:
    lines = render_comparison(compared(), colour=False, width=100).splitlines()

    assert all(len(line) <= 100 for line in lines)
    assert lines[1] == "  baseline: 6 runs of Airflow 3.2.1, 2026-09-21 to 2026-10-01"
    (row,) = [line for line in lines if line.lstrip().startswith("service demand of the mix")]
    assert re.search(
        r"mix +[\d.]+ ms ±\d+% +[\d.]+ ms ±\d+% +1\.\d\d \(1\.\d\d-1\.\d\d\) .*1\.\d\d +"
        r"regression$",
        row,
    )
    assert "Regression: " in lines[-1] + lines[-2]


def test_a_change_is_said_to_be_no_ratio_of_the_medians(tmp_path: Path) -> None:
    told = "the median over all pairs of a baseline and a contender run, not the ratio"

    assert told in " ".join(render_comparison(compared(), colour=False, width=100).split())
    assert told in write_comparison(compared(), tmp_path).read_text()


def test_a_narrow_terminal_keeps_names_changes_and_verdicts() -> None:
    lines = render_comparison(compared(), colour=False, width=80).splitlines()

    assert all(len(line) <= 80 for line in lines)
    assert sum(line.endswith("regression") for line in lines) == 3


def test_colour_marks_the_verdict() -> None:
    assert "\x1b[31mregression" in render_comparison(compared(), colour=True, width=100)
    assert "\x1b[1;32mPass" in render_comparison(compared(1.0), colour=True, width=100)


def test_a_refusal_lists_what_differs() -> None:
    text = render_comparison(refused(), colour=False, width=100)

    assert "The runs differ in retries: off (baseline); standard (contender)." in text
    assert text.splitlines()[-1].startswith("Not compared: the runs differ in retries")
    assert "Gate" not in text


def test_many_seeds_are_not_listed_one_by_one() -> None:
    contender = [
        imagined_run(f"new-{seed}", manifest=imagined_manifest(scenario__traffic__seed=seed))
        for seed in range(10, 16)
    ]
    text = render_comparison(
        compare_runs(imagined_runs("old", 6), contender, margin=0.1), colour=False, width=100
    )

    assert "and 5 others" in text


@pytest.mark.parametrize(
    ("comparison", "failures", "errors"),
    [(compared(1.3), 4, 0), (compared(1.0), 0, 0), (refused(), 0, 1)],
)
def test_junit_is_red_exactly_when_the_command_is(
    comparison: Comparison, failures: int, errors: int
) -> None:
    suites = ET.fromstring(comparison_junit_xml(comparison))  # noqa: S314 - our own

    assert (suites.get("failures"), suites.get("errors")) == (str(failures), str(errors))
    assert len(suites.findall(".//failure")) == failures
    assert len(suites.findall(".//error")) == errors
    assert (failures + errors > 0) == (comparison.exit_code != 0)
    assert len(suites.findall(".//testcase")) == len(comparison.gate) + 1


@pytest.mark.parametrize("comparison", [compared(), compared(1.0), refused()])
def test_the_page_stands_alone(comparison: Comparison, tmp_path: Path) -> None:
    page = write_comparison(comparison, tmp_path / "out")

    html = page.read_text()
    parser = _Balanced()
    parser.feed(html)
    assert (parser.open, parser.foreign) == ([], [])
    assert "<new>" not in html
    (data,) = re.findall(r'<script type="application/json" id="comparison">(.*?)</script>', html)
    assert json.loads(data) == json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert ("data:image/png;base64,iVBOR" in html) == bool(comparison.gate)
    assert (tmp_path / "out" / "plots" / "forest.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("comparison.html", "comparison.json", "junit.xml", "summary.txt", "plots")
    }


def test_json_has_a_version_and_every_run(tmp_path: Path) -> None:
    write_comparison(compared(), tmp_path)

    data = json.loads((tmp_path / "comparison.json").read_text())

    assert data["schema_version"] == 1
    assert (data["verdict"], data["exit_code"]) == ("regression", 4)
    assert len(data["gate"][0]["baseline_values"]) == len(data["baseline"]) == 6


def test_a_history_names_the_run_that_began_it() -> None:
    text = render_history(traced(), colour=False, width=100)

    assert re.search(r"service demand of the mix .* worse .*new-00 +3\.2\.1 → 3\.3\.1", text)
    assert "new-00" in text.splitlines()[-1] + text.splitlines()[-2]


def test_every_change_names_its_metric_in_full() -> None:
    history = traced()
    run = replace(history.runs[0], run_id="20261122T152215-known-truth-6e50")
    points = [
        replace(
            metric, change_points=tuple(replace(p, first_run=run) for p in metric.change_points)
        )
        for metric in history.metrics
    ]

    text = render_history(replace(history, metrics=tuple(points)), colour=False, width=100)

    changes = text.split("\nChanges\n")[1]
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "…" not in changes
    assert all(f"stage {number}, " in changes for number in (1, 2))
    assert run.run_id in changes


def test_no_axis_of_a_history_goes_below_zero() -> None:
    assert all(axes.get_ylim()[0] >= 0 for axes in draw_history(traced()).axes)


@pytest.mark.parametrize("history", [traced(), trace_history(imagined_runs("old", 3))])
def test_the_page_of_a_history_stands_alone(history: History, tmp_path: Path) -> None:
    html = write_history(history, tmp_path).read_text()

    parser = _Balanced()
    parser.feed(html)
    assert (parser.open, parser.foreign) == ([], [])
    assert "data:image/png;base64," in html or history.refusals
    assert (tmp_path / "plots" / "history.png").read_bytes().startswith(b"\x89PNG")


def test_a_metric_without_a_change_is_drawn_and_told(tmp_path: Path) -> None:
    """A reason without numbers: the picture and the tables leave the numbers out."""
    found = compared(1.0)
    unknown = replace(found.gate[0], change=Estimate(None), verdict="inconclusive", reason="Why.")

    html = write_comparison(replace(found, gate=(unknown, *found.gate[1:])), tmp_path).read_text()

    assert "p95 latency, stage 1, 4/s: Why." in html
