"""The webservers that rates need, as steps with their interval; nothing is cut off unsaid."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.plots.drawing import BLUE, INK, PAPER, SKY, Key
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
