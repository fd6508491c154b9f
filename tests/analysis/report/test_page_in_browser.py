"""What a reader sees of a report in a real browser, held against the record."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browser import PIXELS, browser, opened  # noqa: F401 - a fixture
from rendered import as_run, page_with_charts
from rich_run import rich
from sample_runs import Plan, made_up_run

from mwaa_headroom.analysis.calls import Calls, Labels, calls_of
from mwaa_headroom.analysis.report.charts.chart import Chart, Panel, packed_calls
from mwaa_headroom.analysis.report.html import render_html
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.results import RunAnalysis

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

MANY = 300_000


@dataclass(frozen=True)
class Written:
    """A report, and what it is a report of."""

    address: str
    analysis: RunAnalysis
    calls: Calls
    timeline: dict[str, Any]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    record, analysis = made_up_run(Plan(rates=(8, 22), duration_s=60, scale_out_at_s=75))
    analysis = rich(analysis)
    html = page_with_charts(run_document(as_run(analysis, record)))
    page = tmp_path_factory.mktemp("run") / "report.html"
    page.write_text(html)
    begin = html.index(">", html.index('id="chart-timeline"')) + 1
    data = json.loads(html[begin : html.index("</script>", begin)])
    return Written(page.as_uri(), analysis, calls_of(record.requests), data)


@pytest.fixture(scope="module")
def report(browser: "Browser", written: Written) -> "Iterator[Page]":  # noqa: F811
    seen = opened(browser, written.address)
    yield seen.page
    assert seen.complaints == []
    assert seen.requests == [written.address], "one offline file"


@pytest.fixture
def page(report: "Page") -> "Page":
    """The report as it is when it has just been opened."""
    report.get_by_role("button", name="Show all").first.click()
    report.mouse.move(1, 1)
    return report


def point_at(page: "Page", panel: str, share_of_width: float) -> tuple[float, float]:
    """Where the mouse is then."""
    over = page.locator(f"[data-panel={panel}] .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box is not None
    at = box["x"] + box["width"] * share_of_width, box["y"] + box["height"] * 0.5
    page.mouse.move(*at)
    return at


def read_out(page: "Page", panel: str) -> dict[str, str]:
    rows = page.locator(f"[data-panel={panel}] .u-series").all()
    return {
        row.locator("th").inner_text(): row.locator("td").inner_text().replace(",", "")
        for row in rows
    }


def in_sight(page: "Page") -> tuple[float, float]:
    chart = page.locator("[data-chart=timeline]")
    return float(chart.get_attribute("data-from") or ""), float(
        chart.get_attribute("data-to") or ""
    )


def test_the_values_under_the_cursor_are_those_of_the_record_in_every_panel(
    page: "Page", written: Written
) -> None:
    calls, started_at_s = written.calls, written.analysis.started_at_s
    from_s, to_s = in_sight(page)
    edges = written.timeline["panels"][0]["series"][0]["x"]
    place = len(edges) // 2
    begin_s, end_s = edges[place], edges[place + 1]
    middle_s = (begin_s + end_s) / 2
    point_at(page, "latency", (middle_s - from_s) / (to_s - from_s))

    since_s = calls.intended_start_s - started_at_s
    inside = (since_s >= begin_s) & (since_s < end_s)
    per_s = inside.sum() / (end_s - begin_s)
    assert read_out(page, "load")["offered"] == f"{per_s:.3g} calls/s"
    p50_s = np.percentile(calls.latency_s[inside & calls.timed], 50, method="inverted_cdf")
    shown = read_out(page, "latency")["p50"]
    shown_s = float(shown.split()[0]) / (1000 if shown.endswith("ms") else 1)
    assert shown_s == pytest.approx(p50_s, rel=0.01)
    period = next(
        each
        for each in written.analysis.periods
        if each.start_s <= middle_s + started_at_s < each.start_s + each.period_s
    )
    assert read_out(page, "cpu")["mean"] == f"{period.cpu_percent:.3g} %"
    ends_s = [each.start_s + each.period_s - started_at_s for each in written.analysis.periods]
    ended = written.analysis.periods[sum(end_s <= middle_s for end_s in ends_s) - 1]
    assert read_out(page, "webservers")["in service"] == str(ended.webservers)
    told = page.locator(".chart-at").first.inner_text().split(" ")[0]
    minutes, seconds = told.split(":")
    assert abs(60 * int(minutes) + int(seconds) - middle_s) <= 1


def test_what_is_drawn_stands_where_the_value_is(page: "Page", written: Written) -> None:
    from_s, to_s = in_sight(page)
    panel = written.timeline["panels"][1]
    low, high = panel["range"]
    p95 = next(each for each in panel["series"] if each["label"] == "p95")
    known = [(x, y) for x, y in zip(p95["x"], p95["values"], strict=True) if y is not None]
    points = [
        (
            (x - from_s) / (to_s - from_s),
            np.log(high / y) / np.log(high / low) if panel["scale"] == "log" else 1 - y / high,
        )
        for x, y in known[1:-1]
    ]
    pixels = page.evaluate(PIXELS, ["latency", points])
    orange = [red - blue > 80 and red > green for red, green, blue in pixels]
    assert sum(orange) > 0.9 * len(points) > 5, "a line of another colour may cross it"


def test_dragging_zooms_all_panels_and_a_double_click_shows_all_again(page: "Page") -> None:
    from_s, to_s = in_sight(page)
    point_at(page, "cpu", 0.25)
    page.mouse.down()
    point_at(page, "cpu", 0.75)
    page.mouse.up()

    length_s = to_s - from_s
    zoomed = in_sight(page)
    assert zoomed == pytest.approx((from_s + 0.25 * length_s, from_s + 0.75 * length_s), rel=0.02)
    point_at(page, "load", 0.5)
    in_the_middle = page.locator(".chart-at").first.inner_text()
    page.mouse.dblclick(*point_at(page, "load", 0.5))
    assert in_sight(page) == (from_s, to_s)
    point_at(page, "load", 0.5)
    assert page.locator(".chart-at").first.inner_text() == in_the_middle, "zoomed about the middle"


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_series_can_be_switched_off_and_on(page: "Page", by: str) -> None:
    name = page.locator("[data-panel=cpu] .u-series th").first
    canvas = page.locator("[data-panel=cpu] canvas")
    before = canvas.evaluate("each => each.toDataURL()")

    def switch() -> None:
        if by == "mouse":
            name.click()
        else:
            name.focus()
            page.keyboard.press("Space")
        page.wait_for_timeout(50)

    switch()
    assert name.get_attribute("aria-checked") == "false"
    assert canvas.evaluate("each => each.toDataURL()") != before
    switch()
    assert name.get_attribute("aria-checked") == "true"
    page.mouse.move(1, 1)
    page.wait_for_timeout(50)
    assert canvas.evaluate("each => each.toDataURL()") == before


def test_a_row_of_the_stage_table_shows_its_part_of_the_timeline(
    page: "Page", written: Written
) -> None:
    stage = written.analysis.stages[1]
    row, canvas = page.locator("tr[data-from]").nth(1), page.locator("[data-panel=load] canvas")
    plain = canvas.evaluate("each => each.toDataURL()")
    row.hover()
    page.wait_for_timeout(50)
    assert canvas.evaluate("each => each.toDataURL()") != plain, "its band is lit"
    row.get_by_role("button").click()
    from_s, to_s = in_sight(page)
    begin_s = stage.started_at_s - written.analysis.started_at_s
    end_s = stage.ended_at_s - written.analysis.started_at_s
    assert begin_s - 10 < from_s < begin_s
    assert to_s >= min(end_s, written.timeline["x"]["to"])


def test_it_can_be_read_by_keyboard_and_screen_reader(page: "Page") -> None:
    whole = in_sight(page)
    chart = page.locator("[data-chart=timeline]")
    chart.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(50)
    spoken = page.locator("[aria-live=polite]").first.text_content() or ""
    assert "Load: offered" in spoken
    assert "Webserver CPU: mean" in spoken
    page.keyboard.press("+")
    assert in_sight(page)[1] - in_sight(page)[0] == pytest.approx(
        (whole[1] - whole[0]) / 2, rel=0.01
    )
    page.keyboard.press("0")
    assert in_sight(page) == whole
    tables = page.locator("details.numbers").first.locator("table")
    assert tables.count() == page.locator("[data-chart=timeline] .chart-panel").count()


def test_the_view_follows_data_that_grow_unless_it_was_zoomed(page: "Page") -> None:
    grow = """length => {
      const data = JSON.parse(document.getElementById("chart-timeline").textContent);
      data.x.to = length;
      charts.timeline.update(data);
    }"""
    _, to_s = in_sight(page)
    page.evaluate(grow, to_s + 60)
    assert in_sight(page)[1] == to_s + 60
    page.get_by_role("button", name="Zoom in").first.click()
    zoomed = in_sight(page)
    page.evaluate(grow, to_s)
    assert in_sight(page)[0] == zoomed[0]
    page.get_by_role("button", name="Show all").first.click()
    assert in_sight(page) == (0, to_s)


def test_a_printed_page_hides_nothing_and_is_light(page: "Page") -> None:
    closed = "document.querySelectorAll('details:not([open], .numbers)').length"
    drawn = "document.querySelector('[data-panel=load] canvas').toDataURL()"
    before = page.evaluate(closed)
    assert before > 0
    page.emulate_media(color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(closed) == 0
    on_paper = page.evaluate(drawn)
    page.emulate_media(color_scheme="light")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(drawn) == on_paper
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(closed) == before


def test_a_narrow_dark_page_fits_and_is_dark(browser: "Browser", written: Written) -> None:  # noqa: F811
    paper = "getComputedStyle(document.body).backgroundColor"
    light = opened(browser, written.address, width=400)
    dark = opened(browser, written.address, width=400, color_scheme="dark")
    for seen in (light, dark):
        assert seen.page.evaluate("document.documentElement.scrollWidth") == 400
        box = seen.page.locator("[data-panel=load] .u-over").bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 400
        assert seen.complaints == []
    assert light.page.evaluate(paper) != dark.page.evaluate(paper)
    ink = "getComputedStyle(document.documentElement).getPropertyValue('--ink')"
    assert light.page.evaluate(ink) != dark.page.evaluate(ink)
    drawn = "document.querySelector('[data-panel=load] canvas').toDataURL()"
    assert light.page.evaluate(drawn) != dark.page.evaluate(drawn)
    light.page.close()
    dark.page.close()


def test_of_very_many_calls_points_are_drawn_when_they_are_asked_for(
    browser: "Browser",  # noqa: F811
    tmp_path: Path,
) -> None:
    generator = np.random.default_rng(1)
    calls = Calls(
        stage=np.zeros(MANY, np.int32),
        operation=Labels(np.zeros(MANY, np.int8), ("read",)),
        outcome=Labels((generator.random(MANY) < 0.001).astype(np.int8), ("ok", "throttled")),
        intended_start_s=np.sort(generator.uniform(0, 600, MANY)),
        lag_s=np.zeros(MANY),
        service_time_s=generator.lognormal(-2, 1, MANY),
    )
    packed = packed_calls(calls, 0.0)
    assert packed is not None
    panel = Panel("latency", "Latency", "s", (), "log", (packed.low_s, packed.high_s), calls=packed)
    chart = Chart("Timeline", "time", 0.0, 600.0, (panel,), x_unit="time")
    _, analysis = made_up_run(Plan(rates=(5,)))
    html = render_html(run_document(as_run(analysis)), {}, {"timeline": chart})
    assert len(html) < 1_500_000
    (tmp_path / "many.html").write_text(html)

    seen = opened(browser, (tmp_path / "many.html").as_uri())
    holder = seen.page.locator("[data-panel=latency]")
    assert holder.get_attribute("data-calls") == "0"
    assert "of 300" in holder.inner_text() or "of 299" in holder.inner_text(), (
        "thinned, and says so"
    )
    seen.page.evaluate("charts.timeline.zoom(100, 104)")
    seen.page.wait_for_timeout(50)
    near = int(holder.get_attribute("data-calls") or "")
    expected = packed.shown * 4 / 600
    assert 0.8 * expected < near < 1.2 * expected
    seen.page.evaluate("charts.timeline.reset()")
    holder.locator("th").last.click()
    seen.page.wait_for_timeout(100)
    assert int(holder.get_attribute("data-calls") or "") > 10_000
    assert seen.complaints == []
    seen.page.close()
