"""A picture of days of an environment: its webservers, their CPU, and connections."""

from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from numpy.typing import NDArray

from mwaa_headroom.analysis.mwaa import CONNECTIONS_ABOVE, CPU_ABOVE_PERCENT
from mwaa_headroom.analysis.observed import Observed
from mwaa_headroom.analysis.report.plots.drawing import (
    BLUE,
    INK,
    SKY,
    Key,
    heading,
    stacked_panels,
    title,
)

_MOST_STEPS: Final = 1000  # more are not to be told apart, and make the page large
_RIGHT_IN: Final = 0.6  # half of the last date
_TICKS_H: Final = (1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 720)
_MOST_TICKS: Final = 12
_Array = NDArray[np.float64]


def draw_observed(observed: Observed, headline: str) -> Figure | None:
    """None when there are fewer than two periods to show."""
    series = observed.series
    if len(series) < 2:
        return None
    start_s, counts, cpu, connections = np.array(series).T
    hours = np.append(start_s, max(observed.to_s, start_s[-1])) / 3600
    figure, panels = stacked_panels(
        {"webservers": 1.1, "cpu": 1.7, "tcp": 1.4}, top_in=0.95, sides_in=(0.85, _RIGHT_IN)
    )
    title(figure, headline)
    _steps(panels["webservers"], hours, counts)
    panels["webservers"].yaxis.set_major_locator(MaxNLocator(4, integer=True))
    heading(panels["webservers"], "Webservers")
    _steps(panels["cpu"], hours, cpu)
    _threshold(panels["cpu"], CPU_ABOVE_PERCENT, "CPU (%)", "Webserver CPU")
    _steps(panels["tcp"], hours, connections)
    _threshold(panels["tcp"], CONNECTIONS_ABOVE, "connections", "Connections")
    for axes in panels.values():
        axes.set_ylim(0, max(axes.get_ylim()[1], 1))
        axes.tick_params(labelbottom=axes is panels["tcp"])
    _time(panels["tcp"], observed)
    return figure


def _steps(axes: Axes, hours: _Array, values: _Array) -> None:
    """The mean of equally many periods each, and up to their highest.

    `hours`: when each period begins, and the end of the last.
    """
    width = -(-len(values) // _MOST_STEPS)
    starts = np.arange(0, len(values), width)
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    numbers: Any = np.add.reduceat(known, starts, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.add.reduceat(filled, starts) / numbers
    highest = np.where(numbers > 0, np.maximum.reduceat(filled, starts), np.nan)
    edges = np.append(hours[starts], hours[-1])
    means, highest = (np.append(each, each[-1]) for each in (means, highest))
    if width > 1:
        axes.fill_between(edges, means, highest, step="post", color=SKY, alpha=0.5, linewidth=0)
    axes.step(edges, means, where="post", color=BLUE, linewidth=1.2)


def _threshold(axes: Axes, limit: float, unit: str, name: str) -> None:
    axes.axhline(limit, color=INK, linewidth=1.1, linestyle=(0, (1, 2)))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylabel(unit)
    heading(axes, name, Key(f"scale-out above {limit:g}", "···", INK))


def _time(axes: Axes, observed: Observed) -> None:
    from_h, to_h = observed.from_s / 3600, observed.to_s / 3600
    step_h = next((h for h in _TICKS_H if to_h - from_h <= _MOST_TICKS * h), _TICKS_H[-1])
    form = "%d %b" if step_h >= 24 else "%d %b %H:%M"
    axes.xaxis.set_major_locator(MultipleLocator(step_h))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda h, _: f"{datetime.fromtimestamp(h * 3600, UTC):{form}}")
    )
    axes.set_xlim(from_h, max(to_h, from_h + 1))
    axes.set_xlabel("time (UTC)")
