"""The anatomy of one scale-out: its steps and gaps above what callers and webservers felt."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mwaa_headroom.analysis.calls import Calls, Mask
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.plots.drawing import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    PAPER,
    PURPLE,
    SHADE,
    VERMILLION,
    Key,
    bare,
    heading,
    printable,
    stacked_panels,
    text_width_px,
    title,
)
from mwaa_headroom.analysis.report.plots.over_time import (
    draw_cpu,
    draw_latency,
    draw_load,
    draw_stacked,
    draw_webservers,
    share_time_axis,
)
from mwaa_headroom.analysis.report.windows import Array, Windows, cut, has_metrics
from mwaa_headroom.analysis.results import RunAnalysis, ScalingEvent, TransientCost
from mwaa_headroom.analysis.scaling.events import Step, steps_of

_ROW_IN: Final = 0.23
_LABEL_FONT: Final = 9.0
_MOST_DOTS: Final = 8_000
_LEAST_SHOWN_S: Final = 20.0
_COLOUR_OF_STEP: Final = {
    "load step": FAINT,
    "threshold passed": VERMILLION,
    "decision": PURPLE,
    "count rises": BLUE,
    "takes traffic": GREEN,
    "SLO restored": INK,
}


def draw_scale_out(analysis: RunAnalysis, calls: Calls, good: Mask) -> Figure | None:
    """The scale-out that cost callers most, from before its load step until the SLO held again.

    Args:
        analysis: What was found in the run.
        calls: All of it.
        good: Which of them ended ok and within the SLO's latency limits.

    Returns:
        None when there was no scale-out whose load step is known.
    """
    event = _worth_drawing(analysis.scaling)
    if event is None:
        return None
    steps = steps_of(event)
    from_s, to_s = _extent(event, steps, analysis)
    starts_s = calls.intended_start_s - analysis.started_at_s
    shown = (starts_s >= from_s) & (starts_s < to_s)
    calls, good, starts_s = calls.where(shown), good[shown], starts_s[shown]
    slowest_per_s = len(calls) / (to_s - from_s)
    windows = cut(
        calls, analysis.started_at_s, from_s=from_s, to_s=to_s, slowest_per_s=slowest_per_s
    )
    heights_in = {"steps": _ROW_IN * len(steps), "load": 1.1, "bad": 1.0, "latency": 1.7}
    if has_metrics(analysis):
        heights_in |= {"cpu": 1.1, "webservers": 0.8}
    figure, panels = stacked_panels(heights_in, top_in=0.85)
    panels["steps"].set_xlim(from_s, to_s)
    draw_load(panels["load"], windows, f"(in windows of {words.delay(windows.width_s)})")
    bad = (
        ("failed", VERMILLION, starts_s[calls.sent & ~calls.ok]),
        ("slow", ORANGE, starts_s[calls.ok & ~good]),
    )
    _draw_bad_calls(panels["bad"], windows, event.cost, bad)
    draw_latency(panels["latency"], calls, windows, analysis, most_dots=_MOST_DOTS)
    if "cpu" in panels:
        draw_cpu(panels["cpu"], analysis)
        draw_webservers(panels["webservers"], analysis)
    _draw_steps(panels, steps, analysis.started_at_s)
    _mark_cost(panels, event.cost, analysis.started_at_s)
    share_time_axis(list(panels.values()), from_s, to_s)
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
    """From when to when, since the start of the run."""
    first_s, last_s = (step.at_s - analysis.started_at_s for step in (steps[0], steps[-1]))
    length_s = max(last_s - first_s, _LEAST_SHOWN_S)
    # Where the SLO never held again, the time until the load fell may be hours.
    watched_s = event.cost.to_s - analysis.started_at_s if event.cost else last_s
    end_s = max(min(watched_s, last_s + length_s), last_s)
    margin_s = max(0.15 * length_s, 2 * (event.period_s or 0.0))
    run_s = max(analysis.ended_at_s - analysis.started_at_s, last_s)
    return (
        max(first_s - margin_s, min(0.0, first_s)),
        max(min(end_s + margin_s, run_s), first_s + 1.0),
    )


def _draw_bad_calls(
    axes: Axes, windows: Windows, cost: TransientCost | None, bad: Sequence[tuple[str, str, Array]]
) -> None:
    """Failed and slow calls per second, and what would have been usual."""
    rates = [
        (np.histogram(starts_s, windows.edges_s)[0] / np.diff(windows.edges_s), colour)
        for _, colour, starts_s in bad
    ]
    keys = [Key(name, "■", colour) for name, colour, _ in bad]
    highest = draw_stacked(axes, windows, rates)
    if cost and cost.calls:
        counted = cost.errors + cost.slow_calls
        usual = (counted - cost.excess_errors - cost.excess_slow_calls) / cost.calls
        usual_per_s = usual * windows.achieved_per_s
        axes.stairs(usual_per_s, windows.edges_s, color=INK, linewidth=1.0, linestyle="--")
        keys.append(Key("usual share, as before the load step", "╌╌", INK))
    axes.set_ylim(0, max(highest * 1.2, 1.0))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_ylabel("calls/s")
    heading(axes, "Failed and slow calls", *keys)


def _draw_steps(panels: dict[str, Axes], steps: Sequence[Step], started_at_s: float) -> None:
    """A row for each step in the panel "steps", and its line through every other panel.

    A row is a bar for the gap before the step, then its name, time and gap.
    """
    axes = panels["steps"]
    axes.set_ylim(len(steps) - 0.4, -0.6)
    bare(axes)
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
