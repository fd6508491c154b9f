"""What is written over the timeline's panels: stages, recovery phases and scaling."""

from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes

from analysis.report import words
from analysis.report.plots.drawing import (
    FAINT,
    GREEN,
    GRID,
    INK,
    PURPLE,
    SHADE,
    VERMILLION,
    Labels,
    printable,
    text_width_px,
)
from analysis.report.tables import stage_load, stage_name, stage_verdict, trial_verdict
from analysis.results import RunAnalysis, ScalingEvent, StageStats

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
    yield event.breach_s, words.scaling_reason(event.reason), VERMILLION
    yield event.decision_s, f"decision: {event.from_count} to {event.to_count}", PURPLE
    if event.ready_s is not None:
        yield event.ready_s, f"{event.to_count} ready", GREEN
    else:
        yield event.count_changed_s, f"{event.to_count} in service", GREEN
    yield event.slo_restored_s, "SLO restored", INK
