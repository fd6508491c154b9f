"""Latency of each stage against its rate, as a chart."""

from typing import Final

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.charts.chart import Band, Chart, Mark, Panel, Series, limits
from mwaa_headroom.analysis.report.run_tables import stage_found, stage_name
from mwaa_headroom.analysis.report.windows import latency_slo
from mwaa_headroom.analysis.results import RunAnalysis, StageStats

_COLOUR_OF: Final = {
    "met": ("SLO met: p95", "blue"),
    "broke": ("SLO not met: p95", "vermillion"),
    "undecided": ("met, but undecided: p95", "orange"),
    "not judged": ("not judged: p95", "faint"),
}


def throughput_latency(analysis: RunAnalysis) -> Chart | None:
    """Latency (p95 with interval, and p50) against the rate achieved; None of fewer than two."""
    known = [s for s in analysis.stages if "p95" in s.latency_s and "p50" in s.latency_s]
    stages = sorted(
        (s for s in known if words.is_known(s.latency_s["p95"].value)),
        key=lambda stage: stage.achieved_per_s,
    )
    if len(stages) < 2:
        return None
    slo, capacity = latency_slo(analysis), analysis.capacity
    series = [_p95(label, colour, stages, found) for found, (label, colour) in _COLOUR_OF.items()]
    rates = [stage.achieved_per_s for stage in stages]
    p50_s = [stage.latency_s["p50"].value for stage in stages]
    shown = (*(each for each in series if each.x), Series("p50", "faint", rates, p50_s, "points"))
    values = [v for each in shown for v in (*each.values, *each.low, *each.high)]
    scale, ends = limits([*values, slo.threshold if slo else None])
    breaks_at = capacity.rate_per_s if capacity else None
    bands: tuple[Band, ...] = ()
    marks: tuple[Mark, ...] = ()
    if breaks_at and words.is_known(breaks_at.value):
        low, high = breaks_at.low or breaks_at.value, breaks_at.high or breaks_at.value
        bands = (Band("capacity", low, low, high, "capacity"),)
        marks = (Mark(breaks_at.value, f"capacity {words.number_estimate(breaks_at)}", "green"),)
    return Chart(
        title="Latency against rate",
        x_label="achieved rate (calls/s)",
        from_x=0.0,
        to_x=1.12 * max(*rates, *(band.to_x for band in bands)),
        panels=(
            Panel(
                "throughput",
                "Latency from the intended start",
                "s",
                shown,
                scale=scale,
                range=ends,
                lines=((slo.threshold, f"SLO {slo.text}"),) if slo else (),
            ),
        ),
        stages=bands,
        events=marks,
    )


def _p95(label: str, colour: str, stages: list[StageStats], found: str) -> Series:
    own = [stage for stage in stages if stage_found(stage) == found]
    p95_s = [stage.latency_s["p95"] for stage in own]
    return Series(
        label,
        colour,
        [stage.achieved_per_s for stage in own],
        [each.value for each in p95_s],
        "interval",
        low=[each.low for each in p95_s],
        high=[each.high for each in p95_s],
        texts=[f"stage {stage_name(stage)}{_servers(stage)}" for stage in own],
    )


def _servers(stage: StageStats) -> str:
    servers = words.span(stage.webservers_min, stage.webservers_max)
    if servers == words.UNKNOWN:
        return ""
    return f", {servers} webserver{'' if servers == '1' else 's'}"
