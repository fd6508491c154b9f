"""Axes of time and of latency, and the limits they need."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from analysis.errors import SloSyntaxError
from analysis.report import words
from analysis.report.plots.drawing import INK
from analysis.results import RunAnalysis
from analysis.slo import Slo, parse_slo

_TICK_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400)
_LOG_FROM_RATIO: Final = 15.0


def latency_slo(analysis: RunAnalysis) -> Slo | None:
    """The objective that is drawn as a line: the first on a latency percentile of all calls."""
    for result in (*analysis.slo, *(line for stage in analysis.stages for line in stage.slo)):
        try:
            slo = parse_slo(result.slo)
        except SloSyntaxError:
            continue
        if slo.metric == "latency" and slo.percentile and slo.selector_key is None:
            return slo
    return None


def draw_slo_line(axes: Axes, slo: Slo | None) -> None:
    """A dashed line at the objective."""
    if slo is None:
        return
    axes.axhline(slo.threshold, color=INK, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1.5)


def time_axis(axes: Axes, length_s: float, *, ticks: int = 11) -> None:
    """The horizontal axis: minutes and seconds since the start of the run."""
    step = next((s for s in _TICK_STEPS_S if length_s / s <= ticks), _TICK_STEPS_S[-1])
    axes.xaxis.set_major_locator(FixedLocator(list(np.arange(0, length_s + step * 0.01, step))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: words.clock(x)))
    axes.set_xlim(0, max(length_s, 1.0))


def latency_axis(axes: Axes, values_s: Iterable[float]) -> None:
    """The vertical axis: logarithmic when the values span more than a factor of fifteen."""
    known = np.array([v for v in values_s if words.is_known(v) and v > 0])
    if known.size == 0:
        axes.set_ylim(0, 1)
        return
    low, high = float(known.min()), float(known.max())
    if high / low < _LOG_FROM_RATIO:
        axes.set_ylim(0, high * 1.2)
        axes.yaxis.set_major_locator(MaxNLocator(6))
    else:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.4, high * 1.6)
        subs = (1.0, 2.0, 5.0) if high / low < 300 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _tick(y)))


def _tick(seconds: float) -> str:
    if seconds == 0:
        return "0"
    if seconds < 0.9995:
        return f"{words.trimmed(seconds * 1000)} ms"
    return f"{words.trimmed(seconds)} s"
