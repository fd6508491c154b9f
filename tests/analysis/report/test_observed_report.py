"""The document of `headroom observe` as it is read."""

import json

import pytest
from golden_files import golden

from mwaa_headroom.analysis.metric_periods import WebserverPeriod
from mwaa_headroom.analysis.observed import Observed, Watched, observe
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.observed_report import observed_document
from mwaa_headroom.analysis.report.plots.drawing import as_inline_svg, style
from mwaa_headroom.analysis.report.plots.observed import draw_observed
from mwaa_headroom.analysis.report.terminal import render_terminal

MONDAY_S = 20_416 * 86_400.0


def month(growth: float = 1.5) -> Observed:
    """Five-minute periods of working days with one burst a day, of two webservers and a third."""

    def period(index: int) -> WebserverPeriod:
        day, place = divmod(index, 288)
        is_burst = day % 7 < 5 and 132 <= place < 141
        count, cpu, connections = (3, 82.0 + day % 3, 19.0) if is_burst else (2, 24.0, 4.0)
        start_s = MONDAY_S + index * 300.0
        return WebserverPeriod(start_s, 300.0, count * 5, cpu, cpu + 5, 40.0, connections * 5)

    every = [period(index) for index in range(30 * 288)]
    environment = Watched("prod", "mw1.small", 1.0, 2, 4)
    to_s = MONDAY_S + 30 * 86_400
    return observe(every, environment, from_s=MONDAY_S, to_s=to_s, growth=growth)


NOTHING = observe([], Watched("prod"), from_s=MONDAY_S, to_s=MONDAY_S + 3600)


@pytest.mark.parametrize("verbose", [True, False], ids=["all", "brief"])
def test_a_month_reads_like_the_golden_text(verbose: bool) -> None:
    document = observed_document(month())
    shown = render_terminal(document, verbose=verbose, colour=False, width=100)
    assert shown == golden("observed.txt" if verbose else "observed_brief.txt", shown)


@pytest.mark.parametrize(
    ("growth", "headline"),
    [
        (1.0, "CPU up to 84 %, 4 mw1.small webservers needed"),
        (1.5, "CPU up to 84 %, 3 mw1.large webservers needed for 1.5 times as much"),
        (100.0, "CPU up to 84 %, too much for any class"),
    ],
)
def test_the_headline_says_how_many(growth: float, headline: str) -> None:
    assert observed_document(month(growth)).headline == headline


def test_json_has_every_hour_but_not_every_period() -> None:
    tree = as_json(observed_document(month()).result)
    assert len(tree["hours"]) == 30 * 24
    assert "series" not in tree
    json.dumps(tree, allow_nan=False)


def test_a_month_is_a_picture_of_bearable_size() -> None:
    with style():
        figure = draw_observed(month(), "A month")
        assert figure is not None
        picture = as_inline_svg(figure, "observed")
    assert 10_000 < len(picture) < 500_000
    assert "scale-out above 70" in picture
    assert draw_observed(NOTHING, "Nothing") is None


def test_without_metrics_the_reason_is_the_answer() -> None:
    document = observed_document(NOTHING)
    assert (document.headline, document.status) == ("No metrics", "unclear")
    assert [case.result for case in document.cases] == ["error"]
    assert "prod" in document.sentence
