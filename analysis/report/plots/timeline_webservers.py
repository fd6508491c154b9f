"""The timeline's panels about the webservers: their CPU, their number, and the database's CPU."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from analysis.report import words
from analysis.report.plots.drawing import BLUE, GRID, INK, PURPLE, SKY, Key, heading
from analysis.report.plots.timeline_marks import scaling_rows_in
from analysis.report.plots.windows import Array
from analysis.results import RunAnalysis
from analysis.setting import CPU_ABOVE_PERCENT


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


def draw_webservers(axes: Axes, analysis: RunAnalysis) -> None:
    """The webservers in service as a step line, with room above for the scaling marks."""
    edges, counts = _count_steps(analysis)
    axes.step(edges, counts, where="post", color=INK, linewidth=2.0)
    axes.fill_between(edges, counts, step="post", color=GRID, alpha=0.6, linewidth=0)
    known = counts[np.isfinite(counts)]
    most = int(known.max()) if known.size else 1
    panel_in = axes.get_window_extent().height / axes.figure.dpi
    axes.set_ylim(0, (most + 0.4) * panel_in / (panel_in - scaling_rows_in(analysis)))
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
