"""The timeline: everything that happened, on one time axis."""

from typing import Final

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.calls import Calls, calls_of
from analysis.report import story_scaling, words
from analysis.report.plots import scales
from analysis.report.plots.dots import draw_calls
from analysis.report.plots.drawing import (
    BLUE,
    COLOUR_OF_LAYER,
    FAINT,
    INK,
    ORANGE,
    SKY,
    VERMILLION,
    Key,
    heading,
    say,
    stacked_panels,
    title,
)
from analysis.report.plots.timeline_marks import (
    draw_lost_processes,
    draw_recoveries,
    draw_scaling,
    draw_stages,
    scaling_rows_in,
)
from analysis.report.plots.timeline_webservers import draw_cpu, draw_webservers, has_metrics
from analysis.report.plots.windows import Windows, cut
from analysis.report.tables import stage_name, stage_verdict
from analysis.results import RunAnalysis

_MOST_DOTS: Final = 20_000


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
    shown = has_metrics(analysis)
    heights_in = {
        "rate": 1.25,
        "latency": 2.2,
        "errors": 0.9 if windows.errors_per_s else 0.3,
        "cpu": 1.2 if shown else 0.3,
        "webservers": 0.95 + scaling_rows_in(analysis) if shown else 0.0,
    }
    figure, panels = stacked_panels({name: h for name, h in heights_in.items() if h}, top_in=1.25)
    _draw_rates(panels["rate"], windows)
    _draw_latency(panels["latency"], calls, windows, analysis)
    _draw_errors(panels["errors"], windows)
    if shown:
        draw_cpu(panels["cpu"], analysis)
        draw_webservers(panels["webservers"], analysis)
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
    draw_lost_processes(panels, analysis)
    title(figure, _title(calls, analysis))
    return figure


def _length_s(calls: Calls, analysis: RunAnalysis) -> float:
    ends = [analysis.ended_at_s - analysis.started_at_s]
    ends += [stage.ended_at_s - analysis.started_at_s for stage in analysis.stages]
    ends += [float(calls.intended_start_s.max()) - analysis.started_at_s] if len(calls) else []
    return max((end for end in ends if words.is_known(end)), default=1.0)


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
    draw_calls(axes, shown, analysis.started_at_s, faintest=0.06)
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
    if not shown.ok.all():
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


def _title(calls: Calls, analysis: RunAnalysis) -> str:
    for event in analysis.scaling:
        if event.to_count > event.from_count:
            return story_scaling.scaling_sentence(event, analysis.started_at_s).rstrip(".")
    sent = int(calls.sent.sum())
    if not sent:
        return "No call was sent"
    failed = int((calls.sent & ~calls.ok).sum())
    all_failed = "it failed" if sent == 1 else "all of them failed"
    errors = {0: "none failed", sent: all_failed}.get(
        failed, f"{words.share(failed / sent)} of them failed"
    )
    unsent = len(calls) - sent
    if unsent:
        errors += f", {unsent} {'arrival was' if unsent == 1 else 'arrivals were'} not sent"
    length = words.delay(analysis.ended_at_s - analysis.started_at_s)
    broke = [stage_name(stage) for stage in analysis.stages if stage_verdict(stage) is False]
    finding = f"; the SLO broke first in stage {broke[0]}" if broke else ""
    return f"{sent} call{'' if sent == 1 else 's'} in {length}, {errors}{finding}"
