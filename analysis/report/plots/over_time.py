"""Panels over the time of a run that several pictures have: load, latency, CPU, webservers.

All times on their axes are seconds since the start of the run.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mwaa_headroom.analysis.calls import Calls, Mask
from mwaa_headroom.analysis.host import TAKEN_LIMIT, HostReport, speeds
from mwaa_headroom.analysis.mwaa import CPU_ABOVE_PERCENT
from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME, LAYERS
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.plots.drawing import (
    BLUE,
    FAINT,
    GRID,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    Key,
    draw_slo_line,
    heading,
    latency_axis,
    latency_slo,
    time_axis,
)
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.statistics import value_at_rank, values_for_percentile

Array = NDArray[Any]

_WIDTHS_S: Final = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
_MOST_WINDOWS: Final = 120
_FEWEST_WINDOWS: Final = 8
_LEAST_FOR_P50: Final = 5


@dataclass(frozen=True, slots=True)
class Windows:
    """Per window: rates per second and latency percentiles (NaN where calls are too few)."""

    width_s: float
    edges_s: Array
    offered_per_s: Array
    achieved_per_s: Array
    errors_per_s: dict[str, Array]  # by layer, only layers with errors
    p50_s: Array
    p95_s: Array

    @property
    def centres_s(self) -> Array:
        """The middle of every window."""
        return (self.edges_s[:-1] + self.edges_s[1:]) / 2


def cut(
    calls: Calls, started_at_s: float, *, from_s: float, to_s: float, slowest_per_s: float
) -> Windows:
    """Cut a part of a run into windows of one width.

    The width is the least that keeps windows below 120 and still has a 95th percentile in the
    stage with the lowest rate, `slowest_per_s`.

    Args:
        calls: arrivals, none before `from_s`.
        started_at_s: the run's start, epoch seconds.
        from_s: start of the part, since the run's start.
        to_s: its end.
        slowest_per_s: arrivals per second where they are fewest.
    """
    length_s = to_s - from_s
    width_s = _width(length_s, slowest_per_s)
    since_s = calls.intended_start_s - started_at_s - from_s
    # After the last arrival there is no load to show, only waiting for answers.
    edges = _edges(min(length_s, since_s.max(initial=0.0)), width_s)
    number = len(edges) - 1
    place = np.searchsorted(edges[:-1], since_s, side="right").astype(np.int16) - 1

    def per_s(chosen: Mask) -> Array:
        return np.bincount(place[chosen & (place >= 0)], minlength=number) / np.diff(edges)

    enough = {50.0: _LEAST_FOR_P50, 95.0: values_for_percentile(95.0)}
    p50_s, p95_s = _percentiles(calls, place, number, enough)
    of_layer = {
        layer: calls.outcome.are(*(name for name, by in LAYER_OF_OUTCOME.items() if by == layer))
        for layer in LAYERS
    }
    return Windows(
        width_s=width_s,
        edges_s=edges + from_s,
        offered_per_s=per_s(np.full(len(place), fill_value=True)),
        achieved_per_s=per_s(calls.sent),
        errors_per_s={layer: per_s(mask) for layer, mask in of_layer.items() if mask.any()},
        p50_s=p50_s,
        p95_s=p95_s,
    )


def _width(length_s: float, slowest_per_s: float) -> float:
    enough_calls_s = values_for_percentile(95.0) * 1.2 / max(slowest_per_s, 1e-9)
    wanted = max(length_s / _MOST_WINDOWS, enough_calls_s)
    most = max(length_s / _FEWEST_WINDOWS, 1.0)
    allowed = [width for width in _WIDTHS_S if width <= most]
    return next((width for width in allowed if width >= wanted), allowed[-1])


def _edges(length_s: float, width_s: float) -> Array:
    """Whole windows; a rest shorter than half a window belongs to the last one."""
    whole = np.arange(0.0, length_s, width_s)
    if len(whole) > 1 and length_s - whole[-1] < width_s / 2:
        whole = whole[:-1]
    return np.append(whole, max(length_s, width_s if len(whole) == 1 else 0.0))


def _percentiles(
    calls: Calls, place: Array, windows: int, percents: Mapping[float, int]
) -> list[Array]:
    """Percentiles of the latency of each window's timed calls, of each percent the least number."""
    timed = calls.timed & (place >= 0)
    own = place[timed]
    # One stable order for all windows: looking through all calls for each would take much longer.
    ordered_s = calls.times_s("latency", timed)[np.argsort(own, kind="stable")]
    latencies = np.split(ordered_s, np.cumsum(np.bincount(own, minlength=windows)))[:windows]
    return [
        np.array([value_at_rank(v, percent) if len(v) >= least else np.nan for v in latencies])
        for percent, least in percents.items()
    ]


def draw_load(axes: Axes, windows: Windows, note: str) -> None:
    """Offered and achieved rates, with a faint note behind the keys."""
    offered = windows.offered_per_s
    axes.stairs(offered, windows.edges_s, color=BLUE, alpha=0.35, linewidth=3.4, baseline=None)
    axes.stairs(windows.achieved_per_s, windows.edges_s, color=INK, linewidth=1.1, baseline=None)
    axes.set_ylim(0, max(float(offered.max(initial=0.0)) * 1.15, 1.0))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylabel("calls/s")
    keys = (Key("offered", "━", SKY), Key("achieved", "━", INK), Key(note, colour=FAINT))
    heading(axes, "Load", *keys)


def draw_latency(
    axes: Axes, calls: Calls, windows: Windows, analysis: RunAnalysis, *, most_dots: int
) -> None:
    """Every call as a dot, or every n-th of very many, and the percentiles of the windows."""
    slo = latency_slo(analysis)
    sent = np.flatnonzero(calls.sent)
    shown = calls.where(sent[:: max(1, len(sent) // most_dots)])
    _draw_calls(axes, shown, analysis.started_at_s)
    for values, colour, width in ((windows.p50_s, BLUE, 1.6), (windows.p95_s, ORANGE, 2.0)):
        axes.plot(windows.centres_s, values, color=colour, linewidth=width, marker=".", zorder=2.5)
    draw_slo_line(axes, slo)
    took_s = calls.times_s("latency", calls.sent)
    took_s = took_s[took_s > 0]
    ends_s = [float(took_s.min()), float(took_s.max())] if len(took_s) else []
    latency_axis(axes, [*ends_s, slo.threshold if slo else np.nan])
    axes.set_ylabel("latency")
    keys = [Key("p50", "━", BLUE)]
    if np.isfinite(windows.p95_s).any():
        keys.append(Key("p95", "━", ORANGE))
    keys.append(Key(f"(in windows of {words.delay(windows.width_s)})", colour=FAINT))
    keys.append(Key("one call", "●", FAINT))
    if not shown.ok.all():
        keys.append(Key("failed call", "×", VERMILLION))  # noqa: RUF001 - the marker's shape
    if slo:
        keys.append(Key(f"SLO {slo.text}", "╌╌", INK))
    heading(axes, "Latency", *keys)


def _draw_calls(axes: Axes, calls: Calls, started_at_s: float) -> None:
    """Good calls as dots and failed ones as crosses; the more, the fainter."""
    faintness = float(np.clip(600 / max(len(calls), 1), 0.06, 0.45))
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


def draw_stacked(axes: Axes, windows: Windows, rates: Sequence[tuple[Array, str]]) -> float:
    """Bars of rates per second on top of each other, in colours; returns the highest."""
    below = np.zeros(len(windows.centres_s))
    for per_s, colour in rates:
        axes.bar(
            windows.edges_s[:-1],
            per_s,
            np.diff(windows.edges_s),
            bottom=below,
            align="edge",
            color=colour,
            linewidth=0,
        )
        below = below + per_s
    return float(below.max(initial=0.0))


def has_metrics(analysis: RunAnalysis) -> bool:
    """Whether anything is known of the webservers."""
    return any(
        words.is_known(point.cpu_percent) or words.is_known(point.webservers)
        for point in analysis.periods
    )


def draw_cpu(axes: Axes, analysis: RunAnalysis) -> None:
    """CPU of the webservers, mean and busiest, and thinly that of the database."""
    edges, mean = _steps(analysis, [point.cpu_percent for point in analysis.periods])
    _, highest = _steps(analysis, [point.cpu_max_percent for point in analysis.periods])
    _, database = _steps(analysis, [point.database_cpu_percent for point in analysis.periods])
    if np.isfinite(highest).any():
        axes.fill_between(edges, mean, highest, step="post", color=SKY, alpha=0.35, linewidth=0)
    axes.step(edges, mean, where="post", color=BLUE, linewidth=1.8)
    threshold = _scale_out_cpu_percent(analysis)
    axes.axhline(threshold, color=INK, linewidth=1.1, linestyle=(0, (1, 2)))
    # Where nothing limits it, a webserver may use more than its 100 %.
    top = np.nanmax([100.0, *mean, *highest, *database])
    axes.set_ylim(0, 1.05 * top)
    axes.set_yticks(np.arange(0, top + 1, 50 if top < 200 else 100))
    axes.set_ylabel("CPU (%)")
    keys = [
        Key("mean", "━", BLUE),
        Key("up to the busiest webserver", "■", SKY),
        Key(f"scale-out above {threshold:g} %", "···", INK),
    ]
    if np.isfinite(database).any():
        axes.step(edges, database, where="post", color=PURPLE, linewidth=1.0)
        keys.append(Key("database", "━", PURPLE))
    heading(axes, "Webserver CPU", *keys)


def _scale_out_cpu_percent(analysis: RunAnalysis) -> float:
    facts = analysis.environment.get("facts")
    stated = facts.get("scale_out_cpu_percent") if isinstance(facts, dict) else None
    return float(stated) if isinstance(stated, int | float) else CPU_ABOVE_PERCENT


def draw_host(axes: Axes, analysis: RunAnalysis, reports: Sequence[HostReport]) -> None:
    """What others took of this host's CPUs, and how fast it was."""
    taken, speed = np.array([report.taken_fraction for report in reports]), speeds(reports)
    for values, colour in ((100 * taken, VERMILLION), (100 * speed, BLUE)):
        corners = [
            (at_s - analysis.started_at_s, value)
            for report, value in zip(reports, values, strict=True)
            for at_s in (report.from_s, report.to_s)
        ]
        axes.plot(*np.transpose(corners), color=colour, linewidth=1.6)
    axes.axhline(100 * TAKEN_LIMIT, color=INK, linewidth=1.1, linestyle=(0, (1, 2)))
    axes.set_ylim(0, 105)
    axes.set_yticks((0, 50, 100))
    axes.set_ylabel("host (%)")
    keys = [
        Key("CPU that others took", "━", VERMILLION),
        Key(f"limit {100 * TAKEN_LIMIT:g} %", "···", INK),
    ]
    if np.isfinite(speed).any():
        keys.append(Key("speed, of the fastest in this run", "━", BLUE))
    heading(axes, "This host", *keys)


def draw_webservers(axes: Axes, analysis: RunAnalysis, *, above_in: float = 0.0) -> None:
    """The webservers in service as a step line, with some inches of room above it."""
    edges, counts = _count_steps(analysis)
    axes.step(edges, counts, where="post", color=INK, linewidth=2.0)
    axes.fill_between(edges, counts, step="post", color=GRID, alpha=0.6, linewidth=0)
    known = counts[np.isfinite(counts)]
    most = int(known.max()) if known.size else 1
    panel_in = axes.get_window_extent().height / axes.figure.dpi
    axes.set_ylim(0, (most + 0.4) * panel_in / (panel_in - above_in))
    axes.set_yticks(range(0, most + 1, max(1, most // 4)))
    axes.set_ylabel("webservers")
    heading(axes, "Webservers in service")


def _steps(analysis: RunAnalysis, values: Sequence[float | None]) -> tuple[Array, Array]:
    """Corners of a step line over the metric periods, with NaN where periods are missing."""
    corners: list[tuple[float, float]] = []
    previous_end_s = math.nan
    for point, value in zip(analysis.periods, values, strict=True):
        start_s = point.start_s - analysis.started_at_s
        if corners and start_s > previous_end_s + point.period_s * 0.5:
            corners.append((previous_end_s, math.nan))
        previous_end_s = start_s + point.period_s
        corners.append((start_s, value if words.is_known(value) else math.nan))
    corners.append((previous_end_s, corners[-1][1]))
    x, y = np.array(corners).T
    return x, y


def _count_steps(analysis: RunAnalysis) -> tuple[Array, Array]:
    """Corners of the webserver count, which changes at the end of the first period that shows it.

    The count of a period holds from the start only where nothing is known of the time before.
    """
    corners: list[tuple[float, float]] = []
    previous_end_s = -math.inf
    for point in analysis.periods:
        if not words.is_known(point.webservers):
            continue
        start_s = point.start_s - analysis.started_at_s
        if start_s > previous_end_s + point.period_s * 0.5:
            corners += [(previous_end_s, math.nan)] if corners else []
            corners.append((start_s, point.webservers))
        previous_end_s = start_s + point.period_s
        corners.append((previous_end_s, point.webservers))
    x, y = np.array(corners or [(0.0, math.nan)]).T
    return x, y


def share_time_axis(panels: Sequence[Axes], from_s: float, to_s: float) -> None:
    """The time below the lowest of some panels on one axis."""
    *upper, lowest = panels
    time_axis(lowest, to_s, from_s=from_s)
    lowest.set_xlabel("time since the start of the run (min:s)")
    for axes in upper:
        axes.tick_params(labelbottom=False)
