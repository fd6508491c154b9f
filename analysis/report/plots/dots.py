"""Single calls as dots: what percentiles leave out."""

import numpy as np
from matplotlib.axes import Axes

from analysis.calls import Calls
from analysis.report.plots.drawing import FAINT, VERMILLION


def draw_calls(axes: Axes, calls: Calls, started_at_s: float, *, faintest: float) -> None:
    """Latency against intended start, good calls as dots and failed ones as crosses.

    Args:
        axes: time in seconds since `started_at_s`, latency in seconds.
        calls: few enough to be drawn; the more, the fainter.
        started_at_s: epoch seconds.
        faintest: opacity of very many.
    """
    faintness = float(np.clip(600 / max(len(calls), 1), faintest, 0.45))
    for chosen, colour, marker, alpha in (
        (calls.where(calls.ok), FAINT, "o", faintness),
        (calls.where(~calls.ok), VERMILLION, "x", min(1.0, faintness * 4)),
    ):
        axes.plot(
            chosen.intended_start_s - started_at_s,
            chosen.latency_s,
            linestyle="none",
            marker=marker,
            markersize=3.0,
            markeredgewidth=0.9 if marker == "x" else 0.0,
            color=colour,
            alpha=alpha,
            rasterized=True,
            zorder=1.2,
        )
