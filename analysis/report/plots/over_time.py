"""Panels over the time of a run that several pictures have: load, latency, CPU, webservers.

All times on their axes are seconds since the start of the run.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.host import TAKEN_LIMIT, HostReport, speeds
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
    time_axis,
)
from mwaa_headroom.analysis.report.windows import (
    Windows,
    count_steps,
    latency_slo,
    scale_out_cpu_percent,
    steps,
)
from mwaa_headroom.analysis.results import RunAnalysis

Array = NDArray[Any]


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


def draw_cpu(axes: Axes, analysis: RunAnalysis) -> None:
    """CPU of the webservers, mean and busiest, and thinly that of the database."""
    edges, mean = steps(analysis, [point.cpu_percent for point in analysis.periods])
    _, highest = steps(analysis, [point.cpu_max_percent for point in analysis.periods])
    _, database = steps(analysis, [point.database_cpu_percent for point in analysis.periods])
    if np.isfinite(highest).any():
        axes.fill_between(edges, mean, highest, step="post", color=SKY, alpha=0.35, linewidth=0)
    axes.step(edges, mean, where="post", color=BLUE, linewidth=1.8)
    threshold = scale_out_cpu_percent(analysis)
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
    edges, counts = count_steps(analysis)
    axes.step(edges, counts, where="post", color=INK, linewidth=2.0)
    axes.fill_between(edges, counts, step="post", color=GRID, alpha=0.6, linewidth=0)
    known = counts[np.isfinite(counts)]
    most = int(known.max()) if known.size else 1
    panel_in = axes.get_window_extent().height / axes.figure.dpi
    axes.set_ylim(0, (most + 0.4) * panel_in / (panel_in - above_in))
    axes.set_yticks(range(0, most + 1, max(1, most // 4)))
    axes.set_ylabel("webservers")
    heading(axes, "Webservers in service")


def share_time_axis(panels: Sequence[Axes], from_s: float, to_s: float) -> None:
    """The time below the lowest of some panels on one axis."""
    *upper, lowest = panels
    time_axis(lowest, to_s, from_s=from_s)
    lowest.set_xlabel("time since the start of the run (min:s)")
    for axes in upper:
        axes.tick_params(labelbottom=False)
