"""The timeline: everything that happened, on one time axis."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.calls import Calls, calls_of
from analysis.report import story, words
from analysis.report.plots import scales
from analysis.report.plots.drawing import (
    BLUE,
    COLOUR_OF_LAYER,
    FAINT,
    GRID,
    INK,
    ORANGE,
    SKY,
    VERMILLION,
    Key,
    heading,
    new_figure,
    say,
    title,
)
from analysis.report.plots.timeline_marks import (
    draw_recoveries,
    draw_scaling,
    draw_stages,
    scaling_rows_in,
)
from analysis.report.plots.windows import Array, Windows, cut
from analysis.report.tables import stage_name, stage_verdict
from analysis.results import PeriodPoint, RunAnalysis
from analysis.setting import CPU_ABOVE_PERCENT

_WIDTH_IN: Final = 11.0
_MOST_DOTS: Final = 20_000
_GAP_IN: Final = 0.42
_TOP_IN: Final = 1.25
_BOTTOM_IN: Final = 0.6
_LEFT_IN, _RIGHT_IN = 0.85, 0.3


def draw_timeline(requests: pa.Table, analysis: RunAnalysis) -> Figure:
    """Rates, latency, errors, CPU and webserver count over the time of the run.

    Args:
        requests: The record's requests table (`analysis.records.schema.REQUESTS_SCHEMA`).
        analysis: What was found in it.
    """
    calls = calls_of(requests)
    length_s = _length_s(calls, analysis)
    slowest_per_s = min((stage.offered_per_s for stage in analysis.stages), default=0.0)
    windows = cut(
        calls,
        started_at_s=analysis.started_at_s,
        length_s=length_s,
        slowest_per_s=slowest_per_s,
    )
    has_metrics = any(_has_metrics(point) for point in analysis.periods)
    heights_in = {
        "rate": 1.25,
        "latency": 2.2,
        "errors": 0.9 if windows.errors_per_s else 0.3,
        "cpu": 1.2 if has_metrics else 0.3,
        "webservers": 0.95 + scaling_rows_in(analysis) if has_metrics else 0.0,
    }
    figure, panels = _panels({name: h for name, h in heights_in.items() if h})
    _draw_rates(panels["rate"], windows)
    _draw_latency(panels["latency"], calls, windows, analysis)
    _draw_errors(panels["errors"], windows)
    if has_metrics:
        _draw_cpu(panels["cpu"], analysis)
        _draw_webservers(panels["webservers"], analysis)
    else:
        heading(panels["cpu"], "Webservers")
        say(panels["cpu"], "no webserver metrics were recorded")
    *upper, lowest = panels.values()
    scales.time_axis(lowest, length_s)
    lowest.set_xlabel("time since the start of the run (min:s)")
    for axes in upper:
        axes.tick_params(labelbottom=False)
    draw_stages(list(panels.values()), analysis)
    draw_recoveries(list(panels.values()), analysis)
    draw_scaling(panels, analysis)
    title(figure, _title(calls, analysis))
    return figure


def _length_s(calls: Calls, analysis: RunAnalysis) -> float:
    ends = [analysis.ended_at_s - analysis.started_at_s]
    ends += [stage.ended_at_s - analysis.started_at_s for stage in analysis.stages]
    ends += [float(calls.intended_start_s.max()) - analysis.started_at_s] if len(calls) else []
    return max((end for end in ends if words.is_known(end)), default=1.0)


def _panels(heights_in: dict[str, float]) -> tuple[Figure, dict[str, Axes]]:
    total_in = _TOP_IN + _BOTTOM_IN + sum(heights_in.values()) + _GAP_IN * (len(heights_in) - 1)
    figure = new_figure(_WIDTH_IN, total_in)
    panels: dict[str, Axes] = {}
    top_in = total_in - _TOP_IN
    for name, height_in in heights_in.items():
        top_in -= height_in
        frame = (
            _LEFT_IN / _WIDTH_IN,
            top_in / total_in,
            1 - (_LEFT_IN + _RIGHT_IN) / _WIDTH_IN,
            height_in / total_in,
        )
        first = next(iter(panels.values()), None)
        panels[name] = figure.add_axes(frame, sharex=first, facecolor="none")
        top_in -= _GAP_IN
    return figure, panels


def _draw_rates(axes: Axes, windows: Windows) -> None:
    x, offered, achieved = windows.edges_s, windows.offered_per_s, windows.achieved_per_s
    axes.stairs(offered, x, color=BLUE, alpha=0.35, linewidth=3.4, baseline=None)
    axes.stairs(achieved, x, color=INK, linewidth=1.1, baseline=None)
    axes.set_ylim(0, max(float(offered.max(initial=0.0)) * 1.15, 1.0))
    axes.set_ylabel("calls/s")
    heading(
        axes,
        "Load",
        Key("offered", "━", SKY),
        Key("achieved", "━", INK),
        Key("grey: warm-up, not judged", colour=FAINT),
    )


def _draw_latency(axes: Axes, calls: Calls, windows: Windows, analysis: RunAnalysis) -> None:
    slo = scales.latency_slo(analysis)
    sent = np.flatnonzero(calls.sent)
    shown = calls.where(sent[:: max(1, len(sent) // _MOST_DOTS)])
    good, bad = shown.where(shown.ok), shown.where(~shown.ok)
    faintness = float(np.clip(600 / max(len(shown), 1), 0.06, 0.45))
    for chosen, colour, marker, alpha in (
        (good, FAINT, "o", faintness),
        (bad, VERMILLION, "x", min(1.0, faintness * 4)),
    ):
        axes.plot(
            chosen.intended_start_s - analysis.started_at_s,
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
    for values, colour, width in ((windows.p50_s, BLUE, 1.6), (windows.p95_s, ORANGE, 2.0)):
        axes.plot(windows.centres_s, values, color=colour, linewidth=width, marker=".", zorder=2.5)
    scales.draw_slo_line(axes, slo)
    took_s = calls.times_s("latency", calls.sent)
    took_s = took_s[took_s > 0]
    ends_s = [float(took_s.min()), float(took_s.max())] if len(took_s) else []
    scales.latency_axis(axes, [*ends_s, slo.threshold if slo else np.nan])
    axes.set_ylabel("latency")
    keys = [Key("p50", "━", BLUE)]
    if np.isfinite(windows.p95_s).any():
        keys.append(Key("p95", "━", ORANGE))
    keys.append(Key(f"(in windows of {words.delay(windows.width_s)})", colour=FAINT))
    keys.append(Key("one call", "●", FAINT))
    if len(bad):
        keys.append(Key("failed call", "×", VERMILLION))  # noqa: RUF001 - the marker's shape
    if slo:
        keys.append(Key(f"SLO {slo.text}", "╌╌", INK))
    heading(axes, "Latency", *keys)


def _draw_errors(axes: Axes, windows: Windows) -> None:
    if not windows.errors_per_s:
        heading(axes, "Errors")
        say(axes, "no errors")
        return
    below = np.zeros(len(windows.centres_s))
    for layer, per_s in windows.errors_per_s.items():
        axes.bar(
            windows.edges_s[:-1],
            per_s,
            np.diff(windows.edges_s),
            bottom=below,
            align="edge",
            color=COLOUR_OF_LAYER[layer],
            linewidth=0,
        )
        below = below + per_s
    axes.set_ylim(0, float(below.max()) * 1.2)
    axes.set_ylabel("errors/s")
    keys = [Key(layer, "■", COLOUR_OF_LAYER[layer]) for layer in windows.errors_per_s]
    heading(axes, "Errors by layer", *keys)


def _draw_cpu(axes: Axes, analysis: RunAnalysis) -> None:
    edges, mean = _steps(analysis, [point.cpu_percent for point in analysis.periods])
    _, highest = _steps(analysis, [point.cpu_max_percent for point in analysis.periods])
    if np.isfinite(highest).any():
        axes.fill_between(edges, mean, highest, step="post", color=SKY, alpha=0.35, linewidth=0)
    axes.step(edges, mean, where="post", color=BLUE, linewidth=1.8)
    threshold = _scale_out_cpu_percent(analysis)
    axes.axhline(threshold, color=INK, linewidth=1.1, linestyle=(0, (1, 2)))
    # Where nothing limits it, a webserver may use more than its 100 %.
    top = np.nanmax([100.0, *mean, *highest])
    axes.set_ylim(0, 1.05 * top)
    axes.set_yticks(np.arange(0, top + 1, 50 if top < 200 else 100))
    axes.set_ylabel("CPU (%)")
    heading(
        axes,
        "Webserver CPU",
        Key("mean", "━", BLUE),
        Key("up to the busiest webserver", "■", SKY),
        Key(f"scale-out above {threshold:g} %", "···", INK),
    )


def _scale_out_cpu_percent(analysis: RunAnalysis) -> float:
    facts = analysis.environment.get("facts")
    stated = facts.get("scale_out_cpu_percent") if isinstance(facts, dict) else None
    return float(stated) if isinstance(stated, int | float) else CPU_ABOVE_PERCENT


def _draw_webservers(axes: Axes, analysis: RunAnalysis) -> None:
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


def _has_metrics(point: PeriodPoint) -> bool:
    return words.is_known(point.cpu_percent) or words.is_known(point.webservers)


def _title(calls: Calls, analysis: RunAnalysis) -> str:
    for event in analysis.scaling:
        if event.to_count > event.from_count:
            return story.scaling_sentence(event, analysis.started_at_s).rstrip(".")
    sent = int(calls.sent.sum())
    if not sent:
        return "No call was sent"
    failed = int((calls.sent & ~calls.ok).sum())
    errors = {0: "none failed", sent: "all of them failed"}.get(
        failed, f"{words.share(failed / sent)} of them failed"
    )
    unsent = len(calls) - sent
    errors += f", {unsent} arrivals were not sent" if unsent else ""
    length = words.delay(analysis.ended_at_s - analysis.started_at_s)
    broke = [stage_name(stage) for stage in analysis.stages if stage_verdict(stage) is False]
    finding = f"; the SLO broke first in stage {broke[0]}" if broke else ""
    return f"{sent} calls in {length}, {errors}{finding}"
