"""Pictures of what a call costs and how many webservers a load needs."""

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mwaa_headroom.analysis.mwaa import MOST_WEBSERVERS
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.plots.drawing import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    VERMILLION,
    Key,
    Labels,
    heading,
    known_ends,
    single_axes,
    title,
)
from mwaa_headroom.analysis.report.plots.needed import draw_needed
from mwaa_headroom.analysis.report.run_tables import stage_verdict
from mwaa_headroom.analysis.results import DemandResult, RunAnalysis, SizingResult
from mwaa_headroom.analysis.statistics import Estimate

CURVE_POINTS: Final = 1000


def draw_sizing(sizing: SizingResult, analysis: RunAnalysis) -> Figure | None:
    """Webservers needed against rate, as steps with their interval; None without any row."""
    rows = sorted(
        (row for row in sizing.rows if words.is_known(row.webservers)),
        key=lambda row: row.rate_per_s,
    )
    demand = analysis.demand
    if not rows or demand is None or not words.is_known(demand.rate_per_webserver_per_s.value):
        return None
    figure, axes = single_axes(8.6, 4.2)
    title(figure, _sizing_title(sizing))
    highest = max(rows[-1].rate_per_s, *(stage.achieved_per_s for stage in analysis.stages), 0.0)
    rates = np.linspace(0.0, highest * 1.03, CURVE_POINTS)[1:]
    counts = [row.webservers for row in rows]
    counts += [stage.webservers_max for stage in analysis.stages]
    also = [MOST_WEBSERVERS, *(count for count in counts if words.is_known(count))]
    keys = draw_needed(axes, rates, demand.rate_per_webserver_per_s, also=also)
    axes.axhline(MOST_WEBSERVERS, color=INK, linewidth=1, linestyle=(0, (5, 3)))
    axes.set_xlim(0, rates[-1])
    axes.set_xlabel("rate of this mix (calls/s)")
    axes.set_ylabel("webservers")
    _mark_target(axes, sizing)
    keys.append(Key(f"service limit ({MOST_WEBSERVERS})", "╌╌", INK))
    heading(axes, "Webservers", *keys, *_draw_measured(axes, analysis))
    return figure


def draw_demand(demand: DemandResult) -> Figure | None:
    """CPU time per call with intervals, the dearest operation on top.

    None when fewer than two different times are known: one needs no picture.
    """
    known = [
        (name, estimate)
        for name, estimate in demand.per_operation_s.items()
        if words.is_known(estimate.value)
    ]
    known.sort(key=lambda item: item[1].value or 0.0)
    lines = [*known]
    if words.is_known(demand.mix_s.value):
        lines.insert(0, ("the mix", demand.mix_s))
    if len({estimate.value for _, estimate in lines}) < 2:
        return None
    longest = max(len(name) for name, _ in lines)
    figure, axes = single_axes(8.6, 1.75 + 0.38 * len(lines), left_in=min(0.5 + longest / 13, 3.2))
    title(figure, _demand_title(known))
    axes.grid(axis="x")
    axes.grid(visible=False, axis="y")
    ends_ms = [[end * 1000 for end in known_ends(estimate)] for _, estimate in lines]
    rightmost = max(high for _, high in ends_ms)
    beside: dict[str, Any] = {
        "xytext": (8, 0),
        "textcoords": "offset points",
        "va": "center",
        "fontsize": 8.5,
    }
    for y, ((name, estimate), (low, high)) in enumerate(zip(lines, ends_ms, strict=True)):
        colour = FAINT if name == "the mix" else BLUE
        axes.hlines(y, low, high, color=colour, linewidth=2.2)
        axes.plot((estimate.value or 0.0) * 1000, y, "o", color=colour, markersize=7)
        axes.annotate(words.duration_estimate(estimate), (high, y), **beside)
    axes.set_yticks(range(len(lines)), [_short(name) for name, _ in lines])
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.set_xlim(0, rightmost * 1.35)
    axes.set_xlabel("webserver CPU time per call (ms)")
    heading(axes, "Service demand", Key("estimate and interval", "●", BLUE))
    return figure


def _sizing_title(sizing: SizingResult) -> str:
    target = sizing.target
    if target is None or not words.is_known(target.webservers):
        return "Webservers needed for this mix"
    interval = words.span(target.webservers_low, target.webservers_high)
    between = (
        "" if interval in (words.UNKNOWN, words.count(target.webservers)) else f" ({interval})"
    )
    verb = "needs" if target.rate_per_s == 1 else "need"
    needed = words.webservers(target.webservers)
    excess = "" if target.within_limits else ": more than the service allows"
    return f"{words.calls_per_s(target.rate_per_s)} {verb} {needed}{between}{excess}"


def _mark_target(axes: Axes, sizing: SizingResult) -> None:
    target = sizing.target
    if target is None or not words.is_known(target.webservers):
        return
    point = (target.rate_per_s, float(target.webservers))
    axes.vlines(target.rate_per_s, 0, target.webservers, color=GREEN, linewidth=1.4, zorder=2)
    axes.plot(*point, "o", color=GREEN, markersize=10, zorder=3)
    likely = words.is_known(target.probability) and target.probability < 0.995
    odds = f", {words.share(target.probability)} likely enough" if likely else ""
    text = f"target: {words.webservers(target.webservers)}{odds}"
    Labels(axes).add(text, point, INK, ((-10, 12), (10, -12), (-10, -12), (10, 12)))


def _draw_measured(axes: Axes, analysis: RunAnalysis) -> list[Key]:
    """A mark at the webserver count of each stage, a bar where no one count served it all."""
    keys = []
    changed = False
    for met, marker, colour, key in (
        (True, "o", INK, Key("SLO met", "○", INK)),
        (False, "X", VERMILLION, Key("not met", "✗", VERMILLION)),
    ):
        stages = [
            (stage.achieved_per_s, stage.webservers_min, stage.webservers_max)
            for stage in analysis.stages
            if stage_verdict(stage) is met
            and words.is_known(stage.webservers_min)
            and words.is_known(stage.webservers_max)
        ]
        style: dict[str, Any] = {"color": colour, "markersize": 7, "zorder": 2.6}
        fixed = [(rate, count) for rate, count, most in stages if count == most]
        if fixed:
            face = "none" if met else colour
            axes.plot(*zip(*fixed, strict=True), marker, markerfacecolor=face, **style)
        changing = [stage for stage in stages if stage[1] < stage[2]]
        for rate, least, most in changing:
            axes.plot((rate, rate), (least, most), "_-", **style)
        keys += [key] if stages else []
        changed = changed or bool(changing)
    return [*keys, Key("bar: count changed", "|", FAINT)] if changed else keys


def _demand_title(known: list[tuple[str, Estimate]]) -> str:
    if len(known) > 1:
        (cheapest, least), (dearest, most) = known[0], known[-1]
        if least.value and most.value:
            times = words.significant(most.value / least.value, 2)
            return f"{_short(dearest)} costs {times} times the CPU of {_short(cheapest)}"
    return f"One {_short(known[0][0])} costs {words.duration(known[0][1].value)} of CPU"


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:31]}…"
