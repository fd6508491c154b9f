"""The timeline: everything that happened, on one time axis."""

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.host import host_reports
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.plots.drawing import (
    COLOUR_OF_LAYER,
    FAINT,
    GREEN,
    GRID,
    INK,
    PALETTE,
    SHADE,
    VERMILLION,
    Key,
    Labels,
    heading,
    printable,
    say,
    stacked_panels,
    text_width_px,
    title,
)
from mwaa_headroom.analysis.report.plots.over_time import (
    draw_cpu,
    draw_host,
    draw_latency,
    draw_load,
    draw_stacked,
    draw_webservers,
    share_time_axis,
)
from mwaa_headroom.analysis.report.run_tables import (
    stage_load,
    stage_name,
    stage_verdict,
    trial_verdict,
)
from mwaa_headroom.analysis.report.run_text import scaling_sentence
from mwaa_headroom.analysis.report.windows import Windows, cut, has_metrics, length_s, scaling_marks
from mwaa_headroom.analysis.results import RunAnalysis, StageStats

_LABEL_FONT: Final = 8.5
_ABOVE_HEADING_POINTS: Final = 22
_ROW_POINTS: Final = 13
_MOST_ROWS: Final = 4
_MOST_DOTS: Final = 20_000
_BESIDE_MARK: Final = [
    (side, -7 - _ROW_POINTS * row) for side in (4, -4) for row in range(_MOST_ROWS)
]


def draw_timeline(analysis: RunAnalysis, calls: Calls) -> Figure:
    """Rates, latency, errors, CPU and webserver count over the time of the run."""
    to_s = length_s(calls, analysis)
    slowest_per_s = min((stage.offered_per_s for stage in analysis.stages), default=0.0)
    windows = cut(calls, analysis.started_at_s, from_s=0.0, to_s=to_s, slowest_per_s=slowest_per_s)
    marks = [(at_s, text, PALETTE[colour]) for at_s, text, colour in scaling_marks(analysis)]
    marks_in = _ROW_POINTS * min(len(marks), _MOST_ROWS) / 72
    heights_in = {"rate": 1.25, "latency": 2.2, "errors": 0.9 if windows.errors_per_s else 0.3}
    if has_metrics(analysis):
        heights_in |= {"cpu": 1.2, "webservers": 0.95 + marks_in}
    else:
        heights_in |= {"cpu": 0.3}
    if reports := host_reports(analysis.events):
        heights_in |= {"host": 0.8}
    figure, panels = stacked_panels(heights_in, top_in=1.25)
    draw_load(panels["rate"], windows, "grey: warm-up, not judged")
    draw_latency(panels["latency"], calls, windows, analysis, most_dots=_MOST_DOTS)
    _draw_errors(panels["errors"], windows)
    if "webservers" in panels:
        draw_cpu(panels["cpu"], analysis)
        draw_webservers(panels["webservers"], analysis, above_in=marks_in)
    else:
        heading(panels["cpu"], "Webservers")
        say(panels["cpu"], "no webserver metrics were recorded")
    if reports:
        draw_host(panels["host"], analysis, reports)
    share_time_axis(list(panels.values()), 0.0, to_s)
    _draw_stages(list(panels.values()), analysis)
    _draw_recoveries(list(panels.values()), analysis)
    _draw_scaling(panels, marks)
    _draw_lost_processes(panels, analysis)
    title(figure, _title(calls, analysis))
    return figure


def _draw_errors(axes: Axes, windows: Windows) -> None:
    if not windows.errors_per_s:
        heading(axes, "Errors")
        say(axes, "no errors")
        return
    rates = [(per_s, COLOUR_OF_LAYER[layer]) for layer, per_s in windows.errors_per_s.items()]
    axes.set_ylim(0, draw_stacked(axes, windows, rates) * 1.2)
    axes.set_ylabel("errors/s")
    keys = [Key(layer, "■", COLOUR_OF_LAYER[layer]) for layer in windows.errors_per_s]
    heading(axes, "Errors by layer", *keys)


def _draw_stages(panels: Sequence[Axes], analysis: RunAnalysis) -> None:
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


def _draw_recoveries(panels: Sequence[Axes], analysis: RunAnalysis) -> None:
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


def _draw_scaling(panels: dict[str, Axes], marks: Sequence[tuple[float, str, str]]) -> None:
    """Breach, decision, readiness and recovery as lines, named in the lowest panel."""
    lowest = "webservers" if "webservers" in panels else "latency"
    lined = [panels[name] for name in ("latency", "cpu", "webservers") if name in panels]
    _draw_marks(panels[lowest], lined, marks, (0, (3, 2)))


def _draw_marks(
    named_in: Axes,
    lined: Sequence[Axes],
    marks: Sequence[tuple[float, str, str]],
    dashes: tuple[float, tuple[float, float]],
) -> None:
    labels, top = Labels(named_in), named_in.get_ylim()[1]
    for x, text, colour in marks:
        for axes in lined:
            axes.axvline(x, color=colour, linewidth=1, linestyle=dashes, zorder=1.8)
        labels.add(f"{text} {words.clock(x)}", (x, top), colour, _BESIDE_MARK)


def _draw_lost_processes(panels: dict[str, Axes], analysis: RunAnalysis) -> None:
    """Where a load process was lost: from there on less was sent than was meant to be."""
    marks = [
        (
            time_s - analysis.started_at_s,
            f"load process {event.get('worker', '?')} lost",
            VERMILLION,
        )
        for event in analysis.events
        if event.get("kind") == "worker_lost"
        and isinstance(time_s := event.get("time_s"), int | float)
    ]
    _draw_marks(panels["rate"], [panels["rate"], panels["latency"]], marks, (0, (1, 1)))


def _title(calls: Calls, analysis: RunAnalysis) -> str:
    for event in analysis.scaling:
        if event.to_count > event.from_count:
            return scaling_sentence(event, analysis.started_at_s).rstrip(".")
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
