"""The anatomy of one scale-out: its steps and gaps above what callers and webservers felt."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from mwaa_headroom.analysis.calls import Calls, calls_of, good_calls
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.plots import drawing
from mwaa_headroom.analysis.report.plots.drawing import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PAPER,
    PURPLE,
    SHADE,
    SKY,
    VERMILLION,
    Key,
    Windows,
    cut,
    draw_calls,
    heading,
    printable,
    stacked_panels,
    text_width_px,
    title,
)
from mwaa_headroom.analysis.report.plots.timeline import draw_cpu, draw_webservers, has_metrics
from mwaa_headroom.analysis.results import RunAnalysis, ScalingEvent, TransientCost
from mwaa_headroom.analysis.scaling.events import Step, steps_of

ROW_IN: Final = 0.23
_LABEL_FONT: Final = 9.0
_COLOUR_OF_STEP: Final = {
    "load step": FAINT,
    "threshold passed": VERMILLION,
    "decision": PURPLE,
    "count rises": BLUE,
    "takes traffic": GREEN,
    "SLO restored": INK,
}


def draw_steps(panels: dict[str, Axes], steps: Sequence[Step], started_at_s: float) -> None:
    """A row for each step in the panel "steps", and its line through every other panel.

    A row is a bar for the gap before the step, then its name, time and gap.
    """
    axes = panels["steps"]
    axes.set_ylim(len(steps) - 0.4, -0.6)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(bottom=False)
    before: float | None = None
    for row, step in enumerate(steps):
        x, colour = step.at_s - started_at_s, _COLOUR_OF_STEP.get(step.name, INK)
        if before is not None:
            axes.plot([before, x], [row, row], color=colour, linewidth=5, alpha=0.35)
        axes.plot([x], [row], marker="o", markersize=6, color=colour)
        _name_step(axes, step, x, x if before is None else min(before, x), row)
        for name, panel in panels.items():
            top = 1.0 if name != "steps" else 1 - (row + 0.6) / len(steps)
            panel.axvline(
                x, ymax=top, color=colour, linewidth=1.1, linestyle=(0, (3, 2)), zorder=1.8
            )
        before = x
    heading(axes, "Steps", Key("each bar: the gap since the step before", colour=FAINT))


def _name_step(axes: Axes, step: Step, x: float, bar_from: float, row: int) -> None:
    """Right of the point, or left of its bar where there is no room."""
    text = _row_text(step, x)
    room_px = axes.get_window_extent().x1 - axes.transData.transform((x, row))[0]
    is_left = text_width_px(axes, text, fontsize=_LABEL_FONT) > room_px
    axes.annotate(
        printable(text),
        (bar_from if is_left else x, row),
        xytext=(-9 if is_left else 9, 0),
        textcoords="offset points",
        ha="right" if is_left else "left",
        va="center",
        fontsize=_LABEL_FONT,
        color=INK,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
        zorder=3,
    )


def _row_text(step: Step, since_start_s: float) -> str:
    text = f"{step.name} {words.clock(since_start_s)}"
    if step.gap_s is not None:
        text += f", after {words.delay(step.gap_s)}"
    if step.resolution_s:
        text += f" (known to {words.delay(step.resolution_s)})"
    return text


_MOST_DOTS: Final = 8_000
_LEAST_SHOWN_S: Final = 20.0
_TICKS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


def draw_scale_out(requests: pa.Table, analysis: RunAnalysis) -> Figure | None:
    """The scale-out that cost callers most, from before its load step until the SLO held again.

    Args:
        requests: The record's requests table (`analysis.schema.REQUESTS_SCHEMA`).
        analysis: What was found in it.

    Returns:
        None when there was no scale-out whose load step is known.
    """
    event = _worth_drawing(analysis.scaling)
    if event is None:
        return None
    steps = steps_of(event)
    from_s, to_s = _extent(event, steps, analysis)
    calls = _between(calls_of(requests), from_s, to_s)
    windows = cut(
        calls,
        started_at_s=from_s,
        length_s=to_s - from_s,
        slowest_per_s=len(calls) / (to_s - from_s),
    )
    offset_s = from_s - analysis.started_at_s  # pictures count from the start of the run
    heights_in = {"steps": ROW_IN * len(steps), "load": 1.1, "bad": 1.0, "latency": 1.7}
    if has_metrics(analysis):
        heights_in |= {"cpu": 1.1, "webservers": 0.8}
    figure, panels = stacked_panels(heights_in, top_in=0.85)
    panels["steps"].set_xlim(offset_s, to_s - analysis.started_at_s)
    _draw_load(panels["load"], windows, offset_s)
    _draw_bad_calls(panels["bad"], calls, windows, event.cost, analysis, offset_s)
    _draw_latency(panels["latency"], calls, windows, analysis, offset_s)
    if "cpu" in panels:
        draw_cpu(panels["cpu"], analysis)
        draw_webservers(panels["webservers"], analysis)
        most = max((p.webservers or 0 for p in analysis.periods), default=0)
        panels["webservers"].set_ylim(0, 1.2 * max(most, 1))
    draw_steps(panels, steps, analysis.started_at_s)
    _mark_cost(panels, event.cost, analysis.started_at_s)
    _time_axis(list(panels.values()), offset_s, to_s - analysis.started_at_s)
    title(figure, _title(event))
    return figure


def _worth_drawing(events: Sequence[ScalingEvent]) -> ScalingEvent | None:
    rising = [e for e in events if e.to_count > e.from_count and e.load_step_s is not None]
    return max(rising, key=lambda event: _excess(event.cost), default=None)


def _excess(cost: TransientCost | None) -> float:
    return cost.excess_errors + cost.excess_slow_calls if cost else -1.0


def _extent(
    event: ScalingEvent, steps: Sequence[Step], analysis: RunAnalysis
) -> tuple[float, float]:
    first_s, last_s = steps[0].at_s, steps[-1].at_s
    length_s = max(last_s - first_s, _LEAST_SHOWN_S)
    # Where the SLO never held again, the time until the load fell may be hours.
    end_s = min(event.cost.to_s, last_s + length_s) if event.cost else last_s
    margin_s = max(0.15 * length_s, 2 * (event.period_s or 0.0))
    ended_at_s = max(analysis.ended_at_s, last_s)
    return (
        max(first_s - margin_s, min(analysis.started_at_s, first_s)),
        max(min(max(end_s, last_s) + margin_s, ended_at_s), first_s + 1.0),
    )


def _between(calls: Calls, from_s: float, to_s: float) -> Calls:
    starts_s = calls.intended_start_s
    return calls.where((starts_s >= from_s) & (starts_s < to_s))


def _draw_load(axes: Axes, windows: Windows, offset_s: float) -> None:
    x = windows.edges_s + offset_s
    axes.stairs(windows.offered_per_s, x, color=BLUE, alpha=0.35, linewidth=3.4, baseline=None)
    axes.stairs(windows.achieved_per_s, x, color=INK, linewidth=1.1, baseline=None)
    axes.set_ylim(0, max(float(windows.offered_per_s.max(initial=0.0)) * 1.15, 1.0))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylabel("calls/s")
    width = words.delay(windows.width_s)
    heading(
        axes,
        "Load",
        Key("offered", "━", SKY),
        Key("achieved", "━", INK),
        Key(f"(in windows of {width})", colour=FAINT),
    )


def _draw_bad_calls(
    axes: Axes,
    calls: Calls,
    windows: Windows,
    cost: TransientCost | None,
    analysis: RunAnalysis,
    offset_s: float,
) -> None:
    edges = windows.edges_s
    starts_s = calls.intended_start_s - (analysis.started_at_s + offset_s)
    failed = calls.sent & ~calls.ok
    slow = calls.ok & ~good_calls(calls, analysis.slos)
    below = np.zeros(len(edges) - 1)
    keys = []
    for chosen, colour, text in ((failed, VERMILLION, "failed"), (slow, ORANGE, "slow")):
        per_s = np.histogram(starts_s[chosen], edges)[0] / np.diff(edges)
        axes.bar(
            edges[:-1] + offset_s,
            per_s,
            np.diff(edges),
            bottom=below,
            align="edge",
            color=colour,
            linewidth=0,
        )
        below = below + per_s
        keys.append(Key(text, "■", colour))
    if cost and cost.calls:
        counted = cost.errors + cost.slow_calls
        usual = (counted - cost.excess_errors - cost.excess_slow_calls) / cost.calls
        usual_per_s = usual * windows.achieved_per_s
        axes.stairs(usual_per_s, edges + offset_s, color=INK, linewidth=1.0, linestyle="--")
        keys.append(Key("usual share, as before the load step", "╌╌", INK))
    axes.set_ylim(0, max(float(below.max(initial=0.0)) * 1.2, 1.0))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylabel("calls/s")
    heading(axes, "Failed and slow calls", *keys)


def _draw_latency(
    axes: Axes, calls: Calls, windows: Windows, analysis: RunAnalysis, offset_s: float
) -> None:
    slo = drawing.latency_slo(analysis)
    sent = np.flatnonzero(calls.sent)
    shown = calls.where(sent[:: max(1, len(sent) // _MOST_DOTS)])
    draw_calls(axes, shown, analysis.started_at_s, faintest=0.08)
    x = windows.centres_s + offset_s
    axes.plot(x, windows.p50_s, color=BLUE, linewidth=1.6, marker=".", zorder=2.5)
    axes.plot(x, windows.p95_s, color=ORANGE, linewidth=2.0, marker=".", zorder=2.5)
    drawing.draw_slo_line(axes, slo)
    took_s = calls.times_s("latency", calls.sent)
    took_s = took_s[took_s > 0]
    ends_s = [float(took_s.min()), float(took_s.max())] if len(took_s) else []
    drawing.latency_axis(axes, [*ends_s, slo.threshold if slo else np.nan])
    axes.set_ylabel("latency")
    keys = [Key("p50", "━", BLUE), Key("p95", "━", ORANGE), Key("one call", "●", FAINT)]
    if not calls.ok[sent].all():
        keys.append(Key("failed call", "×", VERMILLION))  # noqa: RUF001 - the marker's shape
    if slo:
        keys.append(Key(f"SLO {slo.text}", "╌╌", INK))
    heading(axes, "Latency", *keys)


def _mark_cost(panels: dict[str, Axes], cost: TransientCost | None, started_at_s: float) -> None:
    """The time whose excess is counted, shaded."""
    if cost is None:
        return
    for name in panels.keys() & {"load", "bad", "latency"}:
        left, right = panels[name].get_xlim()
        panels[name].axvspan(
            max(cost.from_s - started_at_s, left),
            min(cost.to_s - started_at_s, right),
            color=SHADE,
            linewidth=0,
            zorder=0.4,
        )


def _time_axis(panels: Sequence[Axes], from_s: float, to_s: float) -> None:
    step = next((s for s in _TICKS_S if (to_s - from_s) / s <= 12), _TICKS_S[-1])
    *upper, lowest = panels
    first = np.ceil(from_s / step) * step
    lowest.xaxis.set_major_locator(FixedLocator(list(np.arange(first, to_s, step))))
    lowest.xaxis.set_major_formatter(FuncFormatter(lambda x, _: words.clock(x)))
    lowest.set_xlim(from_s, to_s)
    lowest.set_xlabel("time since the start of the run (min:s)")
    for axes in upper:
        axes.tick_params(labelbottom=False)


def _title(event: ScalingEvent) -> str:
    text = f"Scaling out from {event.from_count} to {words.webservers(event.to_count)}"
    came_s = event.takes_traffic_s or event.count_changed_s
    if came_s is not None and event.load_step_s is not None:
        text += f" took {words.delay(came_s - event.load_step_s)} from the load step"
    if event.cost is None or not event.cost.calls:
        return text
    excess = max(round(_excess(event.cost)), 0)
    whole = words.share(max(_excess(event.cost), 0.0) / event.cost.calls)
    calls, were = ("call", "was") if excess == 1 else ("calls", "were")
    text += f"; {excess} {calls} ({whole}) more than usual failed or {were} slow"
    return text if event.cost.ended else f"{text}, and the SLO did not hold again"
