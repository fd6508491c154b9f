"""The picture of webservers needed: what the run itself measured is marked in it."""

from dataclasses import replace

import numpy as np
from sample_runs import Plan, made_up_run

from analysis.report.plots.sizing import draw_sizing
from analysis.results import RunAnalysis


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
