"""A picture of a history: every metric over the runs, its levels, and where they changed."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mwaa_headroom.analysis.comparison.compare import ComparedRun
from mwaa_headroom.analysis.comparison.history import ChangePoint, History, MetricHistory
from mwaa_headroom.analysis.report import metric_words
from mwaa_headroom.analysis.report.plots.drawing import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    VERMILLION,
    Key,
    Labels,
    heading,
    stacked_panels,
    title,
)

_SCALES: Final = {"s": (1000.0, "ms"), "fraction": (100.0, "%"), "1/s": (1.0, "1/s")}
_LEAST_SHARE_PERCENT: Final = 0.1  # a panel of no errors still needs an axis
_FIRST_KEYS: Final = (Key("one run", "●", BLUE), Key("level", "━", INK))
_KEYS: Final = {
    True: Key("for the worse", "╌╌", VERMILLION),
    False: Key("for the better", "╌╌", GREEN),
}
_OFFSETS: Final = tuple((x, y) for y in (0, 12, -12, 24, -24) for x in (6, -6))


def draw_history(history: History, caption: str) -> Figure | None:
    """One panel per metric, all over the same runs in the order of time; `caption` over all.

    None when no run knows any.
    """
    metrics = {each.metric.name: each for each in history.metrics if each.values}
    if not metrics:
        return None
    figure, panels = stacked_panels(
        dict.fromkeys(metrics, 1.25), top_in=1.15, width_in=9.4, sides_in=(0.9, 0.35), gap_in=0.5
    )
    title(figure, caption)
    places = {run.run_id: place for place, run in enumerate(history.runs, start=1)}
    first, last = next(iter(panels.values())), next(reversed(panels.values()))
    first.set_xlim(0.4, len(history.runs) + 0.6)
    first.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    for name, axes in panels.items():
        _draw_metric(axes, metrics[name], places, _FIRST_KEYS if axes is first else ())
        axes.tick_params(labelbottom=axes is last)
    _name_versions(first, history.runs)
    last.set_xlabel("run, in the order of time")
    return figure


def _draw_metric(
    axes: Axes, metric: MetricHistory, places: dict[str, int], keys: Sequence[Key]
) -> None:
    scale, unit = _SCALES[metric.metric.unit]
    if metric.metric.unit == "s" and max(metric.values) >= 1:
        scale, unit = 1.0, "s"
    x = np.array([places[run.run_id] for run in metric.runs])
    y = scale * np.array(metric.values)
    axes.plot(x, y, "o", color=BLUE, ms=4.5, lw=0, zorder=2.5, clip_on=False)
    borders = [0, *(point.index for point in metric.change_points), len(x)]
    for begin, end in pairwise(borders):
        axes.hlines(np.median(y[begin:end]), x[begin] - 0.5, x[end - 1] + 0.5, color=INK, lw=1.3)
    room = max(float(np.ptp(y)), 0.02 * float(np.abs(y).max()), _LEAST_SHARE_PERCENT)
    bottom = max(y.min() - 0.15 * room, 0.0)  # times, rates and shares are never below 0
    axes.set_ylim(bottom, y.max() + 0.3 * room)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylabel(unit)
    labels = Labels(axes)
    labels.keep_clear(zip(x.tolist(), y.tolist(), strict=True), radius_px=4)
    for point in metric.change_points:
        _mark(axes, labels, metric, point, x)
    kinds = {point.is_worse for point in metric.change_points}
    heading(
        axes, metric.metric.name, *keys, *(_KEYS[kind] for kind in (True, False) if kind in kinds)
    )


def _mark(
    axes: Axes, labels: Labels, metric: MetricHistory, point: ChangePoint, x: NDArray[np.int64]
) -> None:
    colour = VERMILLION if point.is_worse else GREEN
    at = (x[point.index - 1] + x[point.index]) / 2
    axes.axvline(at, color=colour, linewidth=1.4, linestyle=(0, (5, 3)))
    text = metric_words.change_alone(metric.metric, point.change.value)
    low, high = axes.get_ylim()
    labels.add(
        text if metric.metric.is_share else f"x {text}",
        (at, low + 0.88 * (high - low)),
        colour,
        _OFFSETS,
    )


def _name_versions(axes: Axes, runs: Sequence[ComparedRun]) -> None:
    """Write the Airflow version above the run that is the first to have it."""
    before = None
    for place, run in enumerate(runs, start=1):
        if run.airflow_version != before:
            axes.annotate(
                f"Airflow {run.airflow_version or 'unknown'}",
                (place - 0.5, 1),
                (2, 21),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                color=FAINT,
                fontsize=8.5,
                annotation_clip=False,
            )
            before = run.airflow_version
