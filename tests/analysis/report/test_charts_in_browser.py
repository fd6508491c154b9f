"""The charts of every kind of answer in a real browser, held against the answers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import PIXELS, browser, opened  # noqa: F401 - a fixture
from compared_runs import imagined_runs
from rendered import as_run, page_with_charts
from rich_run import rich
from sample_runs import Plan, made_up_run
from sizing_by_hand import PRICES, recorded_runs, with_capacity
from trials_by_hand import trials

from mwaa_headroom.analysis.comparison.compare import Comparison, compare_runs
from mwaa_headroom.analysis.comparison.history import trace_history
from mwaa_headroom.analysis.metric_periods import WebserverPeriod
from mwaa_headroom.analysis.observed import Watched, observe
from mwaa_headroom.analysis.planning.capacity_curve import capacity_curve
from mwaa_headroom.analysis.planning.loads import load_between
from mwaa_headroom.analysis.planning.size import answer_size
from mwaa_headroom.analysis.report.capacity_report import capacity_document
from mwaa_headroom.analysis.report.charts.rows import change_of_metrics
from mwaa_headroom.analysis.report.comparison_report import (
    comparison_document,
    history_document,
)
from mwaa_headroom.analysis.report.document import Document
from mwaa_headroom.analysis.report.metric_words import change
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


def compared() -> Comparison:
    slower = imagined_runs("new", 6, factor=1.3, airflow="3.3.1", first_day=1)
    return compare_runs(imagined_runs("old", 6), slower, margin=0.1)


def shown(
    browser: "Browser",  # noqa: F811
    document: Document,
    folder: Path,
    **options: Any,
) -> "Page":
    page = folder / "page.html"
    page.write_text(page_with_charts(document))
    seen = opened(browser, page.as_uri(), width=400, **options)
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


def test_every_metric_of_a_comparison_tells_its_change_and_stands_where_it_is(
    browser: "Browser",  # noqa: F811
    tmp_path: Path,
) -> None:
    comparison = compared()
    page = shown(browser, comparison_document(comparison), tmp_path, color_scheme="dark")
    panel = page.locator("[data-panel=change]")
    panel.scroll_into_view_if_needed()
    box = panel.locator(".u-over").bounding_box()
    chart = change_of_metrics(comparison)
    assert box is not None
    assert chart is not None
    rows = len(comparison.gate)
    for row, each in enumerate(comparison.gate):
        # under the margin: what is read is the row's, wherever its point is
        at = (1.0 - chart.from_x) / (chart.to_x - chart.from_x)
        page.mouse.move(box["x"] + at * box["width"], box["y"] + box["height"] * (row + 0.5) / rows)
        told = page.locator(".chart-at").inner_text()
        assert told == each.metric.name
        label = panel.locator(".u-series", has=page.get_by_text(f"{each.verdict}", exact=True))
        assert label.locator("td").inner_text() == change(each.metric, each.change)
        span = next(s for s in chart.panels[0].series if s.label == each.verdict)
        place = list(span.values).index(row)
        margin = comparison.share_margin if each.metric.is_share else comparison.margin
        nothing = 0.0 if each.metric.is_share else 1.0
        ends = (span.low[place], span.x[place], span.high[place])
        expected = (each.change.low, each.change.value, each.change.high)
        assert [nothing + margin * (x or 0.0) for x in ends] == pytest.approx(expected)
        x = (span.x[place] - chart.from_x) / (chart.to_x - chart.from_x)
        (pixel,) = page.evaluate(PIXELS, ["change", [[x, (row + 0.5) / rows]]])
        is_red = pixel[0] > pixel[1] + 60
        assert is_red == (each.verdict == "regression"), pixel
    table = page.locator("details.numbers table").first
    assert [cell.text_content() for cell in table.locator("tbody th").all()] == [
        each.metric.name for each in comparison.gate
    ]
    page.locator("[data-chart=forest]").focus()
    page.mouse.move(1, 1)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(50)
    spoken = page.locator("[aria-live=polite]").first.text_content() or ""
    assert spoken.startswith(comparison.gate[1].metric.name)
    page.close()


def test_fingers_zoom_a_chart_and_still_scroll_the_page(
    browser: "Browser",  # noqa: F811
    tmp_path: Path,
) -> None:
    page = shown(browser, observed(), tmp_path, has_touch=True, is_mobile=True)
    touched = page.context.new_cdp_session(page)
    chart = page.locator("[data-chart=observed]")
    over = page.locator("[data-panel=cpu] .u-over")
    box = over.bounding_box()
    assert box is not None

    def at(share: float, down: float = 0.5, finger: int = 0) -> dict[str, float]:
        assert box is not None
        return {
            "x": box["x"] + share * box["width"],
            "y": box["y"] + down * box["height"],
            "id": finger,
        }

    def touch(*moves: list[dict[str, float]]) -> None:
        kinds = ["touchStart", *["touchMove"] * (len(moves) - 1), "touchEnd"]
        for kind, points in zip(kinds, [*moves, []], strict=True):
            touched.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def view() -> tuple[float, float]:
        return float(chart.get_attribute("data-from") or ""), float(
            chart.get_attribute("data-to") or ""
        )

    from_s, to_s = view()
    length_s = to_s - from_s
    touch(*([at(share)] for share in (0.25, 0.3, 0.4, 0.6, 0.75)))
    page.wait_for_timeout(50)
    zoomed = view()
    assert zoomed == pytest.approx((from_s + length_s / 4, to_s - length_s / 4), abs=length_s / 15)
    page.get_by_role("button", name="Show all").first.click()
    assert view() == (from_s, to_s)

    pinch = (((0.4, 0.6)), (0.35, 0.65), (0.2, 0.8))
    touch(*([at(left), at(right, finger=1)] for left, right in pinch))
    page.wait_for_timeout(50)
    # what was 0.2 apart is now 0.6 apart, about the same middle
    zoomed = view()
    assert zoomed[1] - zoomed[0] == pytest.approx(length_s / 3, rel=0.1)
    assert sum(zoomed) / 2 == pytest.approx(from_s + length_s / 2, rel=0.05)

    touch(*([at(0.5, down)] for down in (0.5, 0.2, -0.5, -1.5, -2.5)))
    page.wait_for_timeout(300)
    assert page.evaluate("scrollY") > 50
    assert view() == zoomed
    page.close()
