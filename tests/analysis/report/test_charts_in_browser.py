"""The charts of every kind of answer in a real browser, held against the answers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import browser, opened  # noqa: F401 - a fixture
from compared_runs import imagined_runs
from rendered import as_run, page_with_charts
from rich_run import rich
from sample_runs import Plan, made_up_run
from sizing_by_hand import PRICES, recorded_runs, with_capacity
from trials_by_hand import trials

from mwaa_headroom.analysis.comparison.history import trace_history
from mwaa_headroom.analysis.metric_periods import WebserverPeriod
from mwaa_headroom.analysis.observed import Watched, observe
from mwaa_headroom.analysis.planning.capacity_curve import capacity_curve
from mwaa_headroom.analysis.planning.loads import load_between
from mwaa_headroom.analysis.planning.size import answer_size
from mwaa_headroom.analysis.report.capacity_report import capacity_document
from mwaa_headroom.analysis.report.comparison_report import history_document
from mwaa_headroom.analysis.report.document import Document
from mwaa_headroom.analysis.report.observed_report import observed_document
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.report.size_report import size_document

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


def capacity() -> Document:
    return capacity_document(
        capacity_curve(
            [
                trials("one", 1, {10.0: 0.01, 12.0: 0.03, 14.0: 0.09}),
                trials("two", 2, {20.0: 0.01, 22.0: None, 24.0: 0.03, 28.0: 0.09}),
                trials("three", 3, {30.0: 0.01, 36.0: 0.03, 42.0: 0.09}),
            ]
        )
    )


def size() -> Document:
    runs = with_capacity(recorded_runs(2), 20.0, webservers=2, bottleneck="webserver_cpu")
    return size_document(answer_size(runs, load_between(20, 37), (PRICES,)))


def history() -> Document:
    slower = imagined_runs("new", 9, factor=1.3, airflow="3.3.1", first_day=50)
    return history_document(trace_history([*imagined_runs("old", 9), *slower]))


def observed() -> Document:
    periods = [
        WebserverPeriod(86_400.0 * 20_000 + 300 * place, 300.0, 10, 20.0 + place, 90.0, 40.0, 40.0)
        for place in range(60)
    ]
    start_s, end_s = periods[0].start_s, periods[-1].end_s
    watched = Watched("prod", "mw1.small", 1.0, 2, 4)
    return observed_document(observe(periods, watched, from_s=start_s, to_s=end_s, growth=1.0))


def run() -> Document:
    record, analysis = made_up_run(Plan(rates=(8, 22), duration_s=60, scale_out_at_s=75))
    return run_document(as_run(rich(analysis), record))


def shown(browser: "Browser", document: Document, folder: Path) -> "Page":  # noqa: F811
    page = folder / "page.html"
    page.write_text(page_with_charts(document))
    seen = opened(browser, page.as_uri(), width=400)
    assert seen.complaints == []
    assert seen.requests == [page.as_uri()]
    assert seen.page.evaluate("document.documentElement.scrollWidth") == 400
    return seen.page


def read_at(page: "Page", panel: str, share_of_width: float) -> dict[str, str]:
    over = page.locator(f"[data-panel={panel}] .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + share_of_width * box["width"], box["y"] + 0.5 * box["height"])
    rows = page.locator(f"[data-panel={panel}] .u-series").all()
    return {row.locator("th").inner_text(): row.locator("td").inner_text() for row in rows}


CHARTS: tuple[tuple[Callable[[], Document], str, float, dict[str, str]], ...] = (
    # from 0.4 to 3.9 webservers: two of them stand here
    (capacity, "capacity", 1.6 / 3.5, {"trial broke": "28 calls/s, 2 webservers"}),
    (size, "needed", 0.999, {"recommended max": "4", "recommended min": "2"}),
    (history, "metric-0", 0.99, {"one run": "new-08"}),
    (observed, "cpu", 0.5, {"mean": "49 %"}),
    (run, "throughput", 0.99, {"SLO met: p95": "stage 2, 2-3 webservers"}),
)


@pytest.mark.parametrize(
    ("made", "panel", "at", "expected"), CHARTS, ids=[made.__name__ for made, *_ in CHARTS]
)
def test_a_chart_tells_the_values_of_its_answer(
    browser: "Browser",  # noqa: F811
    tmp_path: Path,
    made: Callable[[], Document],
    panel: str,
    at: float,
    expected: dict[str, str],
) -> None:
    page = shown(browser, made(), tmp_path)
    told = read_at(page, panel, at)
    for label, text in expected.items():
        assert text in told[label], told
    page.close()
