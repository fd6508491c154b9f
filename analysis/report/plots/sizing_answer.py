"""A picture of a size: webservers needed against load, and how sure each count is enough."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mwaa_headroom.analysis.planning.options import SURE_ENOUGH, ClassSize, SizeOption
from mwaa_headroom.analysis.planning.size import SizingAnswer
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.plots.drawing import (
    FAINT,
    GREEN,
    INK,
    ORANGE,
    VERMILLION,
    Key,
    heading,
    new_figure,
    title,
)
from mwaa_headroom.analysis.report.plots.needed import draw_needed

_WIDTH_IN: Final = 9.4
_HEIGHT_IN: Final = 4.6
_LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN, _GAP_IN = 0.75, 0.85, 0.95, 0.6, 0.85
_SECOND_IN: Final = 2.4
_POINTS: Final = 1000


def draw_sizing_answer(answer: SizingAnswer) -> Figure | None:
    """The class that is recommended, or else the last one tried; None when nothing is known."""
    shown = _shown(answer)
    if shown is None:
        return None
    size, option = shown
    figure = new_figure(_WIDTH_IN, _HEIGHT_IN)
    title(figure, _title(answer, size, option))
    first_in = _WIDTH_IN - _LEFT_IN - _RIGHT_IN
    if len(size.chances) > 1:  # a single one is in the table
        first_in -= _GAP_IN + _SECOND_IN
        _draw_chances(_axes(figure, _LEFT_IN + first_in + _GAP_IN, _SECOND_IN), size, option)
    _draw_needed(_axes(figure, _LEFT_IN, first_in), answer, size, option)
    return figure


def _shown(answer: SizingAnswer) -> tuple[ClassSize, SizeOption | None] | None:
    if (option := answer.chosen) is not None:
        sizes = {size.environment_class: size for size in answer.classes}
        return sizes[option.environment_class], option
    known = [size for size in answer.classes if words.is_known(size.rate_of_one_per_s.value)]
    return (known[-1], None) if known else None


def _axes(figure: Figure, left_in: float, width_in: float) -> Axes:
    return figure.add_axes(
        (
            left_in / _WIDTH_IN,
            _BOTTOM_IN / _HEIGHT_IN,
            width_in / _WIDTH_IN,
            1 - (_BOTTOM_IN + _TOP_IN) / _HEIGHT_IN,
        ),
        facecolor="none",
    )


def _title(answer: SizingAnswer, size: ClassSize, option: SizeOption | None) -> str:
    peak = words.calls_per_s(answer.high_per_s)
    verb = "needs" if answer.high_per_s == 1 else "need"
    count = words.count(size.webservers)
    between = words.span(size.webservers_low, size.webservers_high)
    interval = "" if between == count else f" ({between})"
    if size.webservers is None:
        return f"{size.environment_class} webservers have no CPU left for calls"
    needed = f"{peak} {verb} {count}{interval} {size.environment_class} webservers"
    if option is None:
        too_many = size.webservers > size.most_webservers
        return f"{needed}: {'more than one may set' if too_many else 'not sure enough'}"
    return f"{needed}; recommended: min {option.min_webservers}, max {option.max_webservers}"


def _draw_needed(
    axes: Axes, answer: SizingAnswer, size: ClassSize, option: SizeOption | None
) -> None:
    capacities = [
        (run.capacity_per_s.value, run.capacity_webservers)
        for run in answer.runs
        if run.webserver_cpu == size.webserver_cpu
        and run.capacity_per_s
        and run.capacity_per_s.value
        and run.capacity_webservers
    ]
    rightmost = max([answer.high_per_s * 1.25, *(rate * 1.05 for rate, _ in capacities)])
    rates = np.linspace(0.0, rightmost, _POINTS)[1:]
    also = (size.most_webservers, *(count for _, count in capacities))
    keys = draw_needed(axes, rates, size.rate_of_one_per_s, also=also)
    axes.axhline(size.most_webservers, color=INK, linewidth=1, linestyle=(0, (5, 3)))
    axes.axvspan(answer.low_per_s, answer.high_per_s, color=GREEN, alpha=0.13, linewidth=0)
    axes.axvline(answer.high_per_s, color=GREEN, linewidth=1.6)
    axes.set_xlim(0, rightmost)
    axes.set_xlabel("rate of this mix (calls/s)")
    axes.set_ylabel(f"{size.environment_class} webservers")
    keys.append(Key("load", "■", GREEN))
    if capacities:
        axes.plot(*zip(*capacities, strict=True), "D", color=VERMILLION, markersize=7, zorder=4)
        keys.append(Key("SLO broke", "◆", VERMILLION))
    keys.append(Key(f"limit {size.most_webservers}", "╌╌", INK))
    if option is not None:
        ends = (option.min_webservers, option.max_webservers)
        axes.plot((answer.high_per_s,) * 2, ends, "o-", color=GREEN, ms=8, lw=5, zorder=5)
        keys.append(Key("min, max", "●", GREEN))
    heading(axes, "", *keys)


def _draw_chances(axes: Axes, size: ClassSize, option: SizeOption | None) -> None:
    counts = [each.webservers for each in size.chances]
    for y, each in enumerate(size.chances):
        probability = each.probability
        chosen = option is not None and option.min_webservers == each.webservers
        colour = GREEN if probability >= SURE_ENOUGH else ORANGE
        axes.barh(y, probability, height=0.55, color=colour, alpha=1.0 if chosen else 0.55)
        axes.annotate(
            words.short_chance(probability),
            (1, y),
            (8, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            fontweight="bold" if chosen else "normal",
            annotation_clip=False,
        )
    axes.axvline(SURE_ENOUGH, color=INK, linewidth=1, linestyle=(0, (5, 3)))
    axes.set_yticks(range(len(counts)), [str(count) for count in counts])
    axes.set_ylim(len(counts) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.0f}"))
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("probability (%)")
    axes.set_ylabel("webservers in service")
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["bottom"].set_color(FAINT)
    heading(axes, "Enough?", Key("sure enough (95 %)", "╌╌", INK))
