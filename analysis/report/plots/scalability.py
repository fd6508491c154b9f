"""The picture of the Universal Scalability Law: calls answered ok against calls in service."""

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.models.usl import Usl
from analysis.report import words
from analysis.report.plots.drawing import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    SHADE,
    Key,
    Labels,
    heading,
    single_axes,
    title,
)
from analysis.report.story_models import peaks
from analysis.results import RunAnalysis, ScalabilityResult

_CURVE_POINTS: Final = 300
_OFFSETS: Final = ((0, -13), (8, -9), (-8, -9), (0, 13), (-8, 9), (8, 9))


def draw_scalability(analysis: RunAnalysis) -> Figure | None:
    """Measured stages and the fitted law as far as it is believed; None when it was refused."""
    law = analysis.scalability
    if law is None or law.refusal or not law.points:
        return None
    curve = _curve(law)
    if curve is None:
        return None
    figure, axes = single_axes(8.6, 4.6)
    title(figure, _title(law))
    concurrency = np.linspace(0.0, law.believed_to_concurrency, _CURVE_POINTS)
    goodput = np.array([curve.rate_per_s(at) for at in concurrency])
    measured_to = max(point.concurrency for point in law.points)
    axes.axvspan(measured_to, law.believed_to_concurrency, color=SHADE, linewidth=0, zorder=0.5)
    alone = curve.rate_of_one_per_s * concurrency
    axes.plot(concurrency, alone, color=FAINT, linewidth=1, linestyle=(0, (5, 3)))
    axes.plot(concurrency, goodput, color=BLUE, linewidth=2)
    axes.set_xlim(0, law.believed_to_concurrency * 1.02)
    highest = max(float(goodput.max()), *(point.ok_per_s for point in law.points))
    axes.set_ylim(0, highest * 1.25)
    axes.set_xlabel("calls in service (rate x mean service time)")
    axes.set_ylabel("answered ok (calls/s)")
    _draw_points(axes, law)
    _write_parameters(axes, law)
    keys = [
        Key("stages", "●", INK),
        Key("law", "━", BLUE),
        Key("no contention at all", "╌╌", FAINT),
        Key("grey: beyond what was measured", colour=FAINT),
    ]
    heading(axes, "Scalability", *keys)
    return figure


def _curve(law: ScalabilityResult) -> Usl | None:
    parameters = [law.rate_of_one_per_s.value, law.contention.value, law.coherency.value]
    known = [value for value in parameters if words.is_known(value)]
    return Usl(*known) if len(known) == len(parameters) else None


def _title(law: ScalabilityResult) -> str:
    servers = words.webservers(law.webservers)
    if words.is_known(law.peak_rate_per_s) and words.is_known(law.peak_concurrency):
        peak = words.calls_per_s(law.peak_rate_per_s)
        at = words.trimmed(law.peak_concurrency)
        return f"With {servers} the rate {peaks(law)} at {peak}, {at} calls in service"
    return f"With {servers} no peak is in sight up to 1.5 times what was measured"


def _draw_points(axes: Axes, law: ScalabilityResult) -> None:
    labels = Labels(axes)
    points = [(point.concurrency, point.ok_per_s) for point in law.points]
    labels.keep_clear(points)
    for place, point in zip(points, law.points, strict=True):
        axes.plot(*place, "o", color=INK, markersize=6.5, zorder=3)
        labels.add(str(point.stage + 1), place, INK, _OFFSETS)
    if words.is_known(law.peak_concurrency) and words.is_known(law.peak_rate_per_s):
        peak = (law.peak_concurrency, law.peak_rate_per_s)
        axes.plot(*peak, "D", color=GREEN, markersize=8, zorder=2.8)
        labels.add("peak", peak, GREEN, ((0, 13), (8, 9), (-8, 9), (0, -13)))


def _write_parameters(axes: Axes, law: ScalabilityResult) -> None:
    lines = (
        f"rate of one call in service: {words.rate_estimate(law.rate_of_one_per_s)}",
        f"contention: {words.number_estimate(law.contention)}",
        f"coherency: {words.number_estimate(law.coherency)}",
    )
    axes.text(
        0.985,
        0.04,
        "\n".join(lines),
        transform=axes.transAxes,
        ha="right",
        va="bottom",
        fontsize=8.5,
        linespacing=1.5,
    )
