"""The pictures of webservers needed: what was measured is marked, and nothing is cut off unsaid."""

from dataclasses import replace

import numpy as np
import pytest
from hand_built import hand_built
from sample_runs import Plan, made_up_run

from mwaa_headroom.analysis.report.plots.drawing import single_axes
from mwaa_headroom.analysis.report.plots.sizing import draw_demand, draw_needed, draw_sizing
from mwaa_headroom.analysis.report.plots.stages import draw_errors, draw_throughput_latency
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.statistics import Estimate


def drawn(analysis: RunAnalysis) -> tuple[set[str], list[list[float]], str]:
    """The markers used, the counts of every bar, and the key."""
    assert analysis.sizing is not None
    figure = draw_sizing(analysis.sizing, analysis)
    assert figure is not None
    (axes,) = figure.axes
    bars = [
        np.asarray(line.get_ydata()).tolist() for line in axes.lines if line.get_marker() == "_"
    ]
    key = " ".join(text.get_text() for text in (*figure.texts, *axes.texts))
    return {str(line.get_marker()) for line in axes.lines}, bars, key


def counted(least: int, most: int) -> RunAnalysis:
    _, analysis = made_up_run(Plan(rates=(8,)))
    stages = [
        replace(stage, webservers_min=least, webservers_max=most) for stage in analysis.stages
    ]
    assert analysis.sizing is not None
    untargeted = replace(analysis.sizing, target=None)  # a target has a mark of its own
    return replace(analysis, stages=tuple(stages), sizing=untargeted)


def test_a_stage_with_one_count_is_marked_at_it() -> None:
    markers, bars, key = drawn(counted(2, 2))

    assert markers & {"o", "X"}
    assert bars == []
    assert "count changed" not in key


def test_a_stage_whose_count_changed_is_a_bar_and_no_mark() -> None:
    """Neither its least nor its largest count met or missed the SLO alone."""
    markers, bars, key = drawn(counted(2, 4))

    assert not markers & {"o", "X"}
    assert bars == [[2, 4]]
    assert "count changed" in key


@pytest.mark.parametrize(
    ("of_one", "top", "said"),
    [
        (Estimate(2.0), 40, ""),
        (Estimate(2.0, 1.0, 4.0), 80, ""),
        (Estimate(2.0, 0.1, 4.0), 120, "the interval goes on to 800 webservers at 80 calls/s"),
        (Estimate(2.0, 0.0, 4.0), 120, "the interval has no upper end"),
        (Estimate(2.0, None, 4.0), 120, "the interval has no upper end"),
        (Estimate(2.0, 1.0, None), 80, ""),
        (Estimate(0.0), 5, ""),
    ],
)
def test_the_axis_follows_the_need_and_says_what_lies_beyond_it(
    of_one: Estimate, top: int, said: str
) -> None:
    _, axes = single_axes(8.6, 4.2)
    rates = np.linspace(0.0, 80.0, 400)[1:]

    keys = [key.text for key in draw_needed(axes, rates, of_one, also=[5])]

    assert top < axes.get_ylim()[1] < 1.2 * top
    assert [text.get_text() for text in axes.texts] == ([said] if said else [])
    assert ("needed" in keys) == bool(of_one.value)
    assert ("interval" in keys) == (of_one.low is not None or of_one.high is not None)
    for line in axes.lines:
        assert np.asarray(line.get_ydata()).max() == 40


def test_a_rate_without_an_upper_end_needs_one_webserver_at_least() -> None:
    _, axes = single_axes(8.6, 4.2)
    draw_needed(axes, np.linspace(1.0, 80.0, 80), Estimate(2.0, 1.0, None))
    (band,) = axes.collections
    assert band.get_datalim(axes.transData).y0 == 1.0


def test_a_single_number_has_no_picture() -> None:
    analysis = hand_built()
    alone = replace(analysis, stages=analysis.stages[1:])
    assert alone.stages[0].sent > alone.stages[0].outcomes["ok"]
    assert draw_errors(analysis) is not None
    assert draw_errors(alone) is None
    assert draw_throughput_latency(analysis) is not None
    assert draw_throughput_latency(alone) is None
    assert analysis.demand is not None
    mix = Estimate(0.04, 0.03, 0.05)
    for operations in ({}, {"health": mix}):
        assert draw_demand(replace(analysis.demand, mix_s=mix, per_operation_s=operations)) is None
    cheap = {"health": Estimate(0.01)}
    assert draw_demand(replace(analysis.demand, mix_s=mix, per_operation_s=cheap)) is not None
