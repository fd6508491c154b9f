"""The timeline: everything that happened, on one time axis."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mwaa_headroom.analysis.calls import Calls, calls_of
from mwaa_headroom.analysis.mwaa import CPU_ABOVE_PERCENT
from mwaa_headroom.analysis.report import story_scaling, words
from mwaa_headroom.analysis.report.plots import drawing
from mwaa_headroom.analysis.report.plots.drawing import (
    BLUE,
    COLOUR_OF_LAYER,
    FAINT,
    GREEN,
    GRID,
    INK,
    ORANGE,
    PURPLE,
    SHADE,
    SKY,
    VERMILLION,
    Array,
    Key,
    Labels,
    Windows,
    cut,
    draw_calls,
    heading,
    printable,
    say,
    stacked_panels,
    text_width_px,
    title,
)
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.report.tables import (
    stage_load,
    stage_name,
    stage_verdict,
    trial_verdict,
)
from mwaa_headroom.analysis.results import RunAnalysis, ScalingEvent, StageStats

_LABEL_FONT = 8.5
_ABOVE_HEADING_POINTS = 22
_ROW_POINTS = 13
_MOST_ROWS = 4
_MOST_CHANGES = 6  # more would hide the panels; the count steps all the same
_BESIDE_MARK = [(side, -7 - _ROW_POINTS * row) for side in (4, -4) for row in range(_MOST_ROWS)]


def draw_stages(panels: Sequence[Axes], analysis: RunAnalysis) -> None:
    """Boundaries through every panel, warm-up shaded, names and rates above the first."""
    for stage in analysis.stages:
        from_s = stage.started_at_s - analysis.started_at_s
        judged_from_s = stage.measured_from_s - analysis.started_at_s
        for axes in panels:
            axes.axvspan(from_s, judged_from_s, color=SHADE, linewidth=0, zorder=0.5)
            if stage.index:
                axes.axvline(from_s, color=FAINT, linewidth=0.8, zorder=1)
        _name_stage(panels[0], stage, from_s, stage.ended_at_s - analysis.started_at_s)


def _name_stage(axes: Axes, stage: StageStats, from_s: float, to_s: float) -> None:
    mark = {True: " ✓", False: " ✗", None: ""}[trial_verdict(stage)]
    number, load = str(stage.index + 1), stage_load(stage)
    short = load.replace(" calls/s", "/s")
    choices = (
        f"{stage_name(stage)}\n{load}{mark}",
        f"{number}\n{load}{mark}",
        f"{number}\n{short}{mark}",
        f"{number}\n{mark.strip()}",
    )
    colour = VERMILLION if stage_verdict(stage) is False else INK
    _write_above(axes, choices, from_s, to_s, colour)


def draw_recoveries(panels: Sequence[Axes], analysis: RunAnalysis) -> None:
    """The light load after an overload: hatched through every panel, its end named on top."""
    for result in analysis.recoveries:
        from_s = result.load_ended_at_s - analysis.started_at_s
        to_s = from_s + result.watched_s
        again_s = result.recovered_after_s
        for axes in panels:
            axes.axvspan(
                from_s, to_s, facecolor="none", edgecolor=GRID, hatch="///", linewidth=0, zorder=0.4
            )
            axes.axvline(from_s, color=FAINT, linewidth=0.8, zorder=1)
            if again_s is not None:
                axes.axvline(from_s + again_s, color=GREEN, linewidth=1.4, zorder=1.8)
        load = words.calls_per_s(result.rate_per_s)
        if again_s is None:
            choices = (f"no recovery seen\n{load} ✗", "no\nrecovery", "✗")
        else:
            after = words.delay(again_s)
            choices = (f"recovery after {after}\n{load} ✓", f"recovery\n{after}", after)
        colour = VERMILLION if again_s is None else GREEN
        _write_above(panels[0], choices, from_s, to_s, colour)


def _write_above(
    axes: Axes, choices: Sequence[str], from_s: float, to_s: float, colour: str
) -> None:
    """The first choice that fits between two times, above the axes; nothing if none does."""
    left, right = (axes.transData.transform((x, 0))[0] for x in (from_s, to_s))
    fitting = [t for t in choices if text_width_px(axes, t, fontsize=_LABEL_FONT) < right - left]
    if fitting:
        axes.annotate(
            printable(fitting[0]),
            ((from_s + to_s) / 2, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, _ABOVE_HEADING_POINTS),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=_LABEL_FONT,
            color=colour,
            annotation_clip=False,
        )


def scaling_rows_in(analysis: RunAnalysis) -> float:
    """Inches that the names of the scaling marks need."""
    return _ROW_POINTS * min(len(_all_marks(analysis)), _MOST_ROWS) / 72


def draw_scaling(panels: dict[str, Axes], analysis: RunAnalysis) -> None:
    """Breach, decision, readiness and recovery as lines, named in the lowest panel."""
    named_in = panels.get("webservers", panels["latency"])
    labels = Labels(named_in)
    top = named_in.get_ylim()[1]
    for x, text, colour in _all_marks(analysis):
        for name in panels.keys() & {"latency", "cpu", "webservers"}:
            panels[name].axvline(x, color=colour, linewidth=1, linestyle=(0, (3, 2)), zorder=1.8)
        labels.add(f"{text} {words.clock(x)}", (x, top), colour, _BESIDE_MARK)


def draw_lost_processes(panels: dict[str, Axes], analysis: RunAnalysis) -> None:
    """Where a load process was lost: from there on less was sent than was meant to be."""
    labels = Labels(panels["rate"])
    top = panels["rate"].get_ylim()[1]
    for event in analysis.events:
        time_s = event.get("time_s")
        if event.get("kind") != "worker_lost" or not isinstance(time_s, int | float):
            continue
        x = time_s - analysis.started_at_s
        for axes in (panels["rate"], panels["latency"]):
            axes.axvline(x, color=VERMILLION, linewidth=1, linestyle=(0, (1, 1)), zorder=1.8)
        text = f"load process {event.get('worker', '?')} lost {words.clock(x)}"
        labels.add(text, (x, top), VERMILLION, _BESIDE_MARK)


def _all_marks(analysis: RunAnalysis) -> list[tuple[float, str, str]]:
    if len(analysis.scaling) > _MOST_CHANGES:
        return []
    return [
        (time_s - analysis.started_at_s, text, colour)
        for event in analysis.scaling
        for time_s, text, colour in _marks(event)
        if words.is_known(time_s)
    ]


def _marks(event: ScalingEvent) -> Iterator[tuple[float | None, str, str]]:
    if event.to_count < event.from_count:
        yield event.count_changed_s or event.decision_s, f"down to {event.to_count}", FAINT
        return
    yield event.breach_s, told(event.reason) or "threshold passed", VERMILLION
    yield event.decision_s, f"decision: {event.from_count} to {event.to_count}", PURPLE
    if event.ready_s is not None:
        yield event.ready_s, f"{event.to_count} ready", GREEN
    else:
        yield event.count_changed_s, f"{event.to_count} in service", GREEN
    yield event.slo_restored_s, "SLO restored", INK


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


_MOST_DOTS: Final = 20_000


def draw_timeline(requests: pa.Table, analysis: RunAnalysis) -> Figure:
    """Rates, latency, errors, CPU and webserver count over the time of the run.

    Args:
        requests: The record's requests table (`analysis.schema.REQUESTS_SCHEMA`).
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
    drawing.time_axis(lowest, length_s)
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
    slo = drawing.latency_slo(analysis)
    sent = np.flatnonzero(calls.sent)
    shown = calls.where(sent[:: max(1, len(sent) // _MOST_DOTS)])
    draw_calls(axes, shown, analysis.started_at_s, faintest=0.06)
    for values, colour, width in ((windows.p50_s, BLUE, 1.6), (windows.p95_s, ORANGE, 2.0)):
        axes.plot(windows.centres_s, values, color=colour, linewidth=width, marker=".", zorder=2.5)
    drawing.draw_slo_line(axes, slo)
    took_s = calls.times_s("latency", calls.sent)
    took_s = took_s[took_s > 0]
    ends_s = [float(took_s.min()), float(took_s.max())] if len(took_s) else []
    drawing.latency_axis(axes, [*ends_s, slo.threshold if slo else np.nan])
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
