"""Webservers needed over the rate: of one run, and of an answer from several."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mwaa_headroom.analysis.mwaa import MOST_WEBSERVERS
from mwaa_headroom.analysis.planning.options import SURE_ENOUGH, ClassSize, SizeOption
from mwaa_headroom.analysis.planning.size import SizingAnswer
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.charts.planning import shown_class
from mwaa_headroom.analysis.report.plots.drawing import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PAPER,
    SKY,
    VERMILLION,
    Key,
    Labels,
    heading,
    known_ends,
    new_figure,
    single_axes,
    title,
)
from mwaa_headroom.analysis.report.run_tables import stage_verdict
from mwaa_headroom.analysis.results import DemandResult, RunAnalysis, SizingResult
from mwaa_headroom.analysis.statistics import Estimate, Floats

_ROUNDING: Final = 1e-9  # a whole multiple of the rate of one needs no webserver more
_FARTHEST: Final = 3.0  # times everything else: an interval beyond would make that flat
_ROOM: Final = 1.12


def draw_needed(
    axes: Axes, rates_per_s: Floats, of_one: Estimate, *, also: Iterable[float] = ()
) -> list[Key]:
    """The steps, their interval, and a vertical axis on which all of it has its place.

    An interval without an end, or with one far beyond all else, leaves the axes, which then say so.

    Args:
        axes: calls per second by webservers.
        rates_per_s: rising, above 0.
        of_one: what one webserver serves.
        also: counts that have to be on the axis as well.
    """
    needed = _needed(rates_per_s, of_one.value)
    known = needed[np.isfinite(needed)]
    most = max([*known.tolist(), *also], default=1.0)
    keys = []
    if known.size:
        axes.step(rates_per_s, needed, where="pre", color=BLUE, linewidth=2.2)
        keys.append(Key("needed", "━", BLUE))
    top = most
    if of_one.low is not None or of_one.high is not None:
        high = _needed(rates_per_s, of_one.low)
        low = np.ones(len(rates_per_s))
        if of_one.high is not None:
            low = _needed(rates_per_s, of_one.high)
        reach = float(high.max())
        is_whole = reach <= _FARTHEST * most
        top = max(most, reach) if is_whole else _FARTHEST * most
        if (low != high).any():
            drawn = high.clip(max=2 * top)  # what is above the axis is not seen
            axes.fill_between(
                rates_per_s, low, drawn, step="pre", color=SKY, alpha=0.35, linewidth=0
            )
            keys.append(Key("interval", "■", SKY))
        if not is_whole:
            _say_beyond(axes, reach, float(rates_per_s[-1]))
    axes.set_ylim(0, top * _ROOM)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    return keys


def _needed(rates_per_s: Floats, rate_of_one_per_s: float | None) -> Floats:
    """By the utilisation law; see `analysis.sizing.one_run`. Endless where one serves nothing."""
    if not rate_of_one_per_s:
        return np.full(len(rates_per_s), np.inf)
    return np.ceil(rates_per_s / rate_of_one_per_s - _ROUNDING).clip(min=1.0)


def _say_beyond(axes: Axes, reach: float, rate_per_s: float) -> None:
    text = "the interval has no upper end"
    if np.isfinite(reach):
        rate = words.calls_per_s(rate_per_s)
        text = f"the interval goes on to {words.count(int(reach))} webservers at {rate}"
    axes.text(
        0.015,
        0.965,
        text,
        transform=axes.transAxes,
        va="top",
        color=INK,
        fontsize=8.5,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
        zorder=3,
    )


CURVE_POINTS: Final = 1000


def draw_sizing(sizing: SizingResult, analysis: RunAnalysis) -> Figure | None:
    """Webservers needed against rate, as steps with their interval; None without any row."""
    rows = sorted(
        (row for row in sizing.rows if words.is_known(row.webservers)),
        key=lambda row: row.rate_per_s,
    )
    one = sizing.rate_of_one_per_s
    if not rows or one is None or not words.is_known(one.value):
        return None
    figure, axes = single_axes(8.6, 4.2)
    title(figure, _sizing_title(sizing))
    highest = max(rows[-1].rate_per_s, *(stage.achieved_per_s for stage in analysis.stages), 0.0)
    rates = np.linspace(0.0, highest * 1.03, CURVE_POINTS)[1:]
    counts = [row.webservers for row in rows]
    counts += [stage.webservers_max for stage in analysis.stages]
    also = [MOST_WEBSERVERS, *(count for count in counts if words.is_known(count))]
    keys = draw_needed(axes, rates, one, also=also)
    axes.axhline(MOST_WEBSERVERS, color=INK, linewidth=1, linestyle=(0, (5, 3)))
    axes.set_xlim(0, rates[-1])
    axes.set_xlabel("rate of this mix (calls/s)")
    axes.set_ylabel("webservers")
    _mark_target(axes, sizing)
    keys.append(Key(f"service limit ({MOST_WEBSERVERS})", "╌╌", INK))
    heading(axes, "Webservers", *keys, *_draw_measured(axes, analysis))
    return figure


def draw_demand(demand: DemandResult) -> Figure | None:
    """CPU time per call with intervals, the dearest operation on top.

    None when fewer than two different times are known: one needs no picture.
    """
    known = [
        (name, estimate)
        for name, estimate in demand.per_operation_s.items()
        if words.is_known(estimate.value)
    ]
    known.sort(key=lambda item: item[1].value or 0.0)
    lines = [*known]
    if words.is_known(demand.mix_s.value):
        lines.insert(0, ("the mix", demand.mix_s))
    if len({estimate.value for _, estimate in lines}) < 2:
        return None
    longest = max(len(name) for name, _ in lines)
    figure, axes = single_axes(8.6, 1.75 + 0.38 * len(lines), left_in=min(0.5 + longest / 13, 3.2))
    title(figure, _demand_title(known))
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    ends_ms = [[end * 1000 for end in known_ends(estimate)] for _, estimate in lines]
    rightmost = max(high for _, high in ends_ms)
    beside: dict[str, Any] = {
        "xytext": (8, 0),
        "textcoords": "offset points",
        "va": "center",
        "fontsize": 8.5,
    }
    for y, ((name, estimate), (low, high)) in enumerate(zip(lines, ends_ms, strict=True)):
        colour = FAINT if name == "the mix" else BLUE
        axes.hlines(y, low, high, color=colour, linewidth=2.2)
        axes.plot((estimate.value or 0.0) * 1000, y, "o", color=colour, markersize=7)
        axes.annotate(words.duration_estimate(estimate), (high, y), **beside)
    axes.set_yticks(range(len(lines)), [_short(name) for name, _ in lines])
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.set_xlim(0, rightmost * 1.35)
    axes.set_xlabel("webserver CPU time per call (ms)")
    heading(axes, "Service demand", Key("estimate and interval", "●", BLUE))
    return figure


def _sizing_title(sizing: SizingResult) -> str:
    target = sizing.target
    if target is None or not words.is_known(target.webservers):
        return "Webservers needed for this mix"
    interval = words.span(target.webservers_low, target.webservers_high)
    between = (
        "" if interval in (words.UNKNOWN, words.count(target.webservers)) else f" ({interval})"
    )
    verb = "needs" if target.rate_per_s == 1 else "need"
    needed = words.webservers(target.webservers)
    excess = "" if target.within_limits else ": more than the service allows"
    return f"{words.calls_per_s(target.rate_per_s)} {verb} {needed}{between}{excess}"


def _mark_target(axes: Axes, sizing: SizingResult) -> None:
    target = sizing.target
    if target is None or not words.is_known(target.webservers):
        return
    point = (target.rate_per_s, float(target.webservers))
    axes.vlines(target.rate_per_s, 0, target.webservers, color=GREEN, linewidth=1.4, zorder=2)
    axes.plot(*point, "o", color=GREEN, markersize=10, zorder=3)
    likely = words.is_known(target.probability) and target.probability < 0.995
    odds = f", {words.share(target.probability)} likely enough" if likely else ""
    text = f"target: {words.webservers(target.webservers)}{odds}"
    Labels(axes).add(text, point, INK, ((-10, 12), (10, -12), (-10, -12), (10, 12)))


def _draw_measured(axes: Axes, analysis: RunAnalysis) -> list[Key]:
    """A mark at the webserver count of each stage, a bar where no one count served it all."""
    keys = []
    changed = False
    for met, marker, colour, key in (
        (True, "o", INK, Key("SLO met", "○", INK)),
        (False, "X", VERMILLION, Key("not met", "✗", VERMILLION)),
    ):
        stages = [
            (stage.achieved_per_s, stage.webservers_min, stage.webservers_max)
            for stage in analysis.stages
            if stage_verdict(stage) is met
            and words.is_known(stage.webservers_min)
            and words.is_known(stage.webservers_max)
        ]
        style: dict[str, Any] = {"color": colour, "markersize": 7, "zorder": 2.6}
        fixed = [(rate, count) for rate, count, most in stages if count == most]
        if fixed:
            face = "none" if met else colour
            axes.plot(*zip(*fixed, strict=True), marker, markerfacecolor=face, **style)
        changing = [stage for stage in stages if stage[1] < stage[2]]
        for rate, least, most in changing:
            axes.plot((rate, rate), (least, most), "_-", **style)
        keys += [key] if stages else []
        changed = changed or bool(changing)
    return [*keys, Key("bar: count changed", "|", FAINT)] if changed else keys


def _demand_title(known: list[tuple[str, Estimate]]) -> str:
    if len(known) > 1:
        (cheapest, least), (dearest, most) = known[0], known[-1]
        if least.value and most.value:
            times = words.significant(most.value / least.value, 2)
            return f"{_short(dearest)} costs {times} times the CPU of {_short(cheapest)}"
    return f"One {_short(known[0][0])} costs {words.duration(known[0][1].value)} of CPU"


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:31]}…"


_WIDTH_IN: Final = 9.4
_HEIGHT_IN: Final = 4.6
_LEFT_IN, _RIGHT_IN, _TOP_IN, _BOTTOM_IN, _GAP_IN = 0.75, 0.85, 0.95, 0.6, 0.85
_SECOND_IN: Final = 2.4
_POINTS: Final = 1000


def draw_sizing_answer(answer: SizingAnswer) -> Figure | None:
    """The class that is recommended, or else the last one tried; None when nothing is known."""
    shown = shown_class(answer)
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
