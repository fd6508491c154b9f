"""Pictures of a comparison and of a history.

A comparison: every gate metric's change with its interval, against the margin. A history: every
metric over the runs, its levels, and where they changed.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from mwaa_headroom.analysis.comparison.compare import ComparedRun, Comparison
from mwaa_headroom.analysis.comparison.history import ChangePoint, History, MetricHistory
from mwaa_headroom.analysis.comparison.regression import MetricComparison
from mwaa_headroom.analysis.report import metric_words, words
from mwaa_headroom.analysis.report.plots.drawing import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    SHADE,
    VERMILLION,
    Key,
    Labels,
    heading,
    printable,
    stacked_panels,
    title,
)
from mwaa_headroom.analysis.statistics import Floats

_COLOURS: Final = {"pass": GREEN, "regression": VERMILLION, "inconclusive": ORANGE}
_MARKERS: Final = {"pass": "o", "regression": "X", "inconclusive": "D"}
_KEYS: Final = (
    Key("pass", "●", GREEN),
    Key("regression", "✗", VERMILLION),
    Key("inconclusive", "◆", ORANGE),
    Key("single contender run", "○", FAINT),
    Key("worse than the margin", "■", SHADE),
)
_ROW_IN: Final = 0.42
_COARSE_TICKS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
_TICK_STEPS: Final = (0.01, 0.02, 0.05, 0.1, 0.2)
_MOST_TICKS: Final = 9


def draw_forest(comparison: Comparison, caption: str) -> Figure | None:
    """Ratios above, on a logarithmic axis; differences of shares below; `caption` over all.

    None when no change is known.
    """
    known = [each for each in comparison.gate if words.is_known(each.change.value)]
    if not known:
        return None
    kinds = {
        "ratios": [each for each in known if not each.metric.is_share],
        "shares": [each for each in known if each.metric.is_share],
    }
    figure, panels = stacked_panels(
        {name: _ROW_IN * (len(rows) + 0.4) for name, rows in kinds.items() if rows},
        top_in=0.95,
        width_in=9.4,
        sides_in=(2.75, 1.75),
        gap_in=0.75,
        share_x=False,
    )
    title(figure, caption)
    for name, axes in panels.items():
        _draw_panel(axes, kinds[name], comparison)
    verdicts = {each.verdict for each in known}
    keys = (key for key in _KEYS if key.text not in _COLOURS.keys() - verdicts)
    heading(next(iter(panels.values())), "", *keys)
    return figure


def _draw_panel(axes: Axes, rows: Sequence[MetricComparison], comparison: Comparison) -> None:
    is_share = rows[0].metric.is_share
    nothing = 0.0 if is_share else 1.0
    margin = comparison.share_margin if is_share else 1 + comparison.margin
    shown = [v for each in rows for v in (each.change.low, each.change.high, each.change.value)]
    dots = [_run_changes(each) for each in rows]
    shown += [margin, nothing, *np.concatenate(dots).tolist()]
    _limits(axes, [v for v in shown if words.is_known(v)], is_share=is_share)
    axes.axvspan(margin, axes.get_xlim()[1], color=SHADE, zorder=0)
    axes.axvline(nothing, color=INK, linewidth=1)
    axes.axvline(margin, color=INK, linewidth=1, linestyle=(0, (5, 3)))
    for y, (each, runs) in enumerate(zip(reversed(rows), reversed(dots), strict=True)):
        _draw_row(axes, y, each, runs)
    axes.set_yticks(range(len(rows)), [printable(each.metric.name) for each in reversed(rows)])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.grid(visible=True, axis="x")
    axes.set_xlabel(
        "contender minus baseline (percentage points)" if is_share else "contender / baseline"
    )


def _draw_row(axes: Axes, y: int, each: MetricComparison, runs: Floats) -> None:
    colour = _COLOURS.get(each.verdict, FAINT)
    change = each.change
    axes.plot(runs, np.full(len(runs), y - 0.26), "o", mfc="none", color=FAINT, ms=3, lw=0)
    if words.is_known(change.low) and words.is_known(change.high):
        axes.hlines(y, change.low, change.high, color=colour, linewidth=2.4)
    axes.plot(change.value or 0.0, y, _MARKERS.get(each.verdict, "o"), color=colour, ms=8)
    axes.annotate(
        metric_words.change(each.metric, change),
        (1, y),
        (8, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        annotation_clip=False,
    )


def _run_changes(each: MetricComparison) -> Floats:
    """Every contender run against the baseline's median."""
    centre, values = each.baseline.value or 0.0, np.array(each.contender_values)
    return values - centre if each.metric.is_share else values[values > 0] / centre


def _limits(axes: Axes, values: Sequence[float], *, is_share: bool) -> None:
    low, high = min(values), max(values)
    if is_share:
        room = (high - low) * 0.08
        axes.set_xlim(low - room, high + room)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:+.3g}" if x else "0"))
        return
    room = (high / low) ** 0.08
    axes.set_xscale("log")
    axes.set_xlim(low / room, high * room)
    axes.xaxis.set_major_locator(FixedLocator(_ratio_ticks(low / room, high * room)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def _ratio_ticks(low: float, high: float) -> list[float]:
    """Round ratios between the ends, 1 among them if it is there."""
    fine = [step for step in _TICK_STEPS if (high - low) / step <= _MOST_TICKS]
    if not fine:
        return [tick for tick in _COARSE_TICKS if low <= tick <= high]
    first, last = int(np.ceil(low / fine[0])), int(np.floor(high / fine[0]))
    return [round(number * fine[0], 2) for number in range(first, last + 1)]


_SCALES: Final = {"s": (1000.0, "ms"), "fraction": (100.0, "%"), "1/s": (1.0, "1/s")}
_LEAST_SHARE_PERCENT: Final = 0.1  # a panel of no errors still needs an axis
_FIRST_KEYS: Final = (Key("one run", "●", BLUE), Key("level", "━", INK))
_CHANGE_KEYS: Final = {
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
        axes,
        metric.metric.name,
        *keys,
        *(_CHANGE_KEYS[kind] for kind in (True, False) if kind in kinds),
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
