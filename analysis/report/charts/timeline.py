"""The timeline of a run as a chart: load, latency, errors, CPU, webservers, host."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.host import TAKEN_LIMIT, HostReport, host_reports, speeds
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.charts.chart import (
    Band,
    Chart,
    Mark,
    Panel,
    Series,
    Style,
    extremes,
    limits,
    packed_calls,
)
from mwaa_headroom.analysis.report.run_tables import stage_load, stage_name, trial_verdict
from mwaa_headroom.analysis.report.windows import (
    Array,
    Windows,
    count_steps,
    cut,
    has_metrics,
    latency_slo,
    length_s,
    scale_out_cpu_percent,
    scaling_marks,
    steps,
)
from mwaa_headroom.analysis.results import RunAnalysis

COLOUR_NAME_OF_LAYER: Final = {
    "caller": "purple",
    "service": "orange",
    "airflow": "vermillion",
    "network": "sky",
    "generator": "faint",
}
VERDICT_OF_TRIAL: Final = {True: "pass", False: "fail", None: "undecided"}


def timeline(analysis: RunAnalysis, calls: Calls) -> Chart:
    """What happened in a run, also in one that goes on: as far as its record goes.

    Args:
        analysis: of the record so far: its times, stages, periods, scaling, SLO and events.
        calls: the record's, or some of them.
    """
    started_at_s, to_s = analysis.started_at_s, max(length_s(calls, analysis), 1.0)
    slowest_per_s = min((stage.offered_per_s for stage in analysis.stages), default=0.0)
    windows = cut(calls, started_at_s, from_s=0.0, to_s=to_s, slowest_per_s=slowest_per_s)
    panels = [_load(windows), _latency(analysis, calls, windows)]
    if windows.errors_per_s:
        panels.append(_errors(windows))
    if has_metrics(analysis):
        panels += [_cpu(analysis), _webservers(analysis)]
    if reports := host_reports(analysis.events):
        panels.append(_host(reports, started_at_s))
    return Chart(
        title="Timeline",
        x_label="time since the start of the run (min:s)",
        x_unit="time",
        start_s=started_at_s,
        from_x=0.0,
        to_x=to_s,
        panels=tuple(panels),
        stages=tuple(_bands(analysis)),
        events=tuple(_marks(analysis)),
    )


def _load(windows: Windows) -> Panel:
    return Panel(
        "load",
        "Load",
        "calls/s",
        (
            _windowed(windows, "offered", "sky", windows.offered_per_s),
            _windowed(windows, "achieved", "ink", windows.achieved_per_s),
        ),
    )


def _windowed(
    windows: Windows, label: str, colour: str, per_s: Array, style: Style = "step"
) -> Series:
    """A rate that holds from one edge to the next."""
    values = [*per_s, per_s[-1] if len(per_s) else None]
    return Series(label, colour, windows.edges_s, values, style)


def _latency(analysis: RunAnalysis, calls: Calls, windows: Windows) -> Panel:
    slo, packed = latency_slo(analysis), packed_calls(calls, analysis.started_at_s)
    ends = [packed.low_s, packed.high_s] if packed else []
    scale, range_s = limits([*ends, slo.threshold if slo else None])
    series = [Series("p50", "blue", windows.centres_s, windows.p50_s)]
    if np.isfinite(windows.p95_s).any():
        series.append(Series("p95", "orange", windows.centres_s, windows.p95_s))
    return Panel(
        "latency",
        f"Latency in windows of {words.delay(windows.width_s)}",
        "s",
        tuple(series),
        scale=scale,
        range=range_s,
        lines=((slo.threshold, f"SLO {slo.text}"),) if slo else (),
        calls=packed,
    )


def _errors(windows: Windows) -> Panel:
    return Panel(
        "errors",
        "Errors by layer",
        "errors/s",
        tuple(
            _windowed(windows, layer, COLOUR_NAME_OF_LAYER[layer], per_s, "area")
            for layer, per_s in windows.errors_per_s.items()
        ),
    )


def _cpu(analysis: RunAnalysis) -> Panel:
    columns = (
        ("mean", "blue", [point.cpu_percent for point in analysis.periods]),
        ("busiest webserver", "sky", [point.cpu_max_percent for point in analysis.periods]),
        ("database", "purple", [point.database_cpu_percent for point in analysis.periods]),
    )
    threshold = scale_out_cpu_percent(analysis)
    width, series = 1, []
    for label, colour, values in columns:
        if any(words.is_known(value) for value in values):
            edges, shown, width = extremes(*steps(analysis, values))
            series.append(Series(label, colour, edges, shown, "step"))
    return Panel(
        "cpu",
        f"Webserver CPU{_of_periods('highest', width)}",
        "%",
        tuple(series),
        lines=((threshold, f"scale-out above {threshold:g} %"),),
    )


def _of_periods(which: str, width: int) -> str:
    return f", {which} of {width} periods" if width > 1 else ""


def _webservers(analysis: RunAnalysis) -> Panel:
    edges, values = count_steps(analysis)
    changes = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)  # NaN is a change, too
    corners = np.union1d(changes, len(values) - 1)
    counts = Series("in service", "ink", edges[corners], values[corners], "area")
    return Panel("webservers", "Webservers", "", (counts,))


def _host(reports: Sequence[HostReport], started_at_s: float) -> Panel:
    edges = np.array([*(each.from_s for each in reports), reports[-1].to_s]) - started_at_s
    taken = [100 * report.taken_fraction for report in reports]
    x, highest, width = extremes(edges, [*taken, taken[-1]])
    series = [Series("CPU that others took", "vermillion", x, highest, "step")]
    speed = 100 * speeds(reports)
    if np.isfinite(speed).any():
        label = "speed, of the fastest in this run"
        _, slowest, _ = extremes(edges, [*speed, speed[-1]], lowest=True)
        series.append(Series(label, "blue", x, slowest, "step"))
    limit = 100 * TAKEN_LIMIT
    title = f"This host{_of_periods('worst', width)}"
    return Panel("host", title, "%", tuple(series), lines=((limit, f"limit {limit:g} %"),))


def _bands(analysis: RunAnalysis) -> Iterator[Band]:
    for stage in analysis.stages:
        from_s, judged_from_s, to_s = (
            at_s - analysis.started_at_s
            for at_s in (stage.started_at_s, stage.measured_from_s, stage.ended_at_s)
        )
        verdict = VERDICT_OF_TRIAL[trial_verdict(stage)]
        name = f"{stage_name(stage)}, {stage_load(stage)}"
        yield Band(name, from_s, judged_from_s, to_s, verdict)


def _marks(analysis: RunAnalysis) -> Iterator[Mark]:
    for at_s, text, colour in scaling_marks(analysis):
        yield Mark(at_s, text, colour)
    for result in analysis.recoveries:
        from_s = result.load_ended_at_s - analysis.started_at_s
        yield Mark(from_s, "light load", "faint")
        if (again_s := result.recovered_after_s) is not None:
            yield Mark(from_s + again_s, f"recovery after {words.delay(again_s)}", "green")
    for event in analysis.events:
        time_s = event.get("time_s")
        if event.get("kind") == "worker_lost" and isinstance(time_s, int | float):
            lost = f"load process {event.get('worker', '?')} lost"
            yield Mark(time_s - analysis.started_at_s, lost, "vermillion")
