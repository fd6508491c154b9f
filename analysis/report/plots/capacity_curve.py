"""A picture of the capacity against the webserver count, with the trials it was drawn from."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mwaa_headroom.analysis.planning.capacity_curve import (
    CapacityCurve,
    CountCapacity,
    amdahl_capacity,
)
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.plots.drawing import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    VERMILLION,
    Key,
    Labels,
    heading,
    single_axes,
    title,
)

_MARKERS: Final = {
    "pass": ("o", GREEN, "held", "●"),
    "fail": ("X", VERMILLION, "broke", "✗"),
    "undecided": ("D", ORANGE, "undecided", "◆"),
}
_ASIDE: Final = 0.16  # trials stand left of the capacity they led to
_WIDTH_IN, _HEIGHT_IN = 8.4, 4.6
_OFFSETS: Final = ((9, 0), (9, 11), (9, -11), (9, 20))


def draw_capacity_curve(curve: CapacityCurve, headline: str) -> Figure | None:
    """None when there are fewer than two trials to show."""
    if sum(len(each.trials) for each in curve.counts) < 2:
        return None
    figure, axes = single_axes(_WIDTH_IN, _HEIGHT_IN)
    title(figure, headline)
    known = curve.known
    _limits(axes, curve)
    keys = _draw_lines(axes, curve, known)
    keys += _draw_trials(axes, curve)
    _draw_capacities(axes, known)
    if known:
        keys.insert(0, Key("capacity, 95 % interval", "●", BLUE))
    heading(axes, "", *keys)
    return figure


def _limits(axes: Axes, curve: CapacityCurve) -> None:
    counts = [each.webservers for each in curve.counts]
    rates = [trial.rate_per_s for each in curve.counts for trial in each.trials]
    highs = [each.capacity_per_s.high or 0.0 for each in curve.counts]
    axes.set_xlim(min(counts) - 0.6, max(counts) + 0.9)
    axes.set_ylim(0, 1.1 * max([*rates, *highs]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("webservers")
    axes.set_ylabel("calls/s")


def _draw_lines(axes: Axes, curve: CapacityCurve, known: Sequence[CountCapacity]) -> list[Key]:
    """What each webserver would add if it added as much as the first ones, and Amdahl's law."""
    if len(known) < 2:
        return []
    first = known[0]
    start = first.capacity_per_s.value or 0.0
    counts = np.linspace(first.webservers, curve.counts[-1].webservers + 0.5, 100)
    axes.plot(
        counts, start * counts / first.webservers, color=FAINT, lw=1.2, ls=(0, (5, 3)), zorder=1
    )
    keys = [Key("proportional", "╌╌", FAINT)]
    fit = curve.amdahl
    if fit is None or fit.contention.value is None:
        return keys
    drawn = amdahl_capacity(fit, counts)
    axes.plot(counts, drawn, color=PURPLE, lw=1.6, zorder=1)
    return [*keys, Key("Amdahl", "━", PURPLE)]


def _draw_trials(axes: Axes, curve: CapacityCurve) -> list[Key]:
    keys = []
    for verdict, (marker, colour, name, symbol) in _MARKERS.items():
        points = [
            (each.webservers - _ASIDE, trial.rate_per_s)
            for each in curve.counts
            for trial in each.trials
            if trial.verdict == verdict
        ]
        if points:
            axes.plot(
                *zip(*points, strict=True), marker, color=colour, ms=6, mew=0, zorder=3, alpha=0.9
            )
            keys.append(Key(name, symbol, colour))
    return keys


def _draw_capacities(axes: Axes, known: Sequence[CountCapacity]) -> None:
    labels = Labels(axes)
    top = axes.get_ylim()[1]
    for each in known:
        value, low = each.capacity_per_s.value or 0.0, each.capacity_per_s.low or 0.0
        high = each.capacity_per_s.high
        axes.vlines(
            each.webservers, low, value if high is None else high, color=BLUE, lw=3, zorder=4
        )
        if high is None:
            axes.annotate(
                "",
                (each.webservers, top),
                (each.webservers, value),
                arrowprops={"arrowstyle": "->", "color": BLUE, "lw": 1.6, "ls": (0, (3, 2))},
            )
        axes.plot(each.webservers, value, "o", color=BLUE, ms=8, zorder=5)
        labels.add(
            words.number_estimate(each.capacity_per_s), (each.webservers, value), INK, _OFFSETS
        )
