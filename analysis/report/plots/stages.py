"""Pictures with one point or bar per stage: latency against throughput, and errors.

Of a single stage there is none: its numbers are in the tables.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mwaa_headroom.analysis.outcomes import LAYERS
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.plots import drawing
from mwaa_headroom.analysis.report.plots.drawing import (
    BLUE,
    COLOUR_OF_LAYER,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    VERMILLION,
    Key,
    Labels,
    heading,
    known_ends,
    single_axes,
    title,
)
from mwaa_headroom.analysis.report.run_tables import (
    stage_found,
    stage_load,
    stage_name,
    stage_verdict,
)
from mwaa_headroom.analysis.report.run_text import capacity_sentence
from mwaa_headroom.analysis.report.windows import latency_slo
from mwaa_headroom.analysis.results import RunAnalysis, StageStats
from mwaa_headroom.analysis.statistics import Estimate

_LABEL_OFFSETS: Final = (
    *((0, 13), (8, 8), (-8, 8), (0, -13), (8, -8), (-8, -8), (10, 0), (-10, 0)),
    *((side, dy) for dy in (22, -22, 34, -34) for side in (8, -8)),
)
_MOST_NAMED: Final = 8  # more stages than this are labelled by their number alone
_KEYS: Final = {
    "met": Key("SLO met", "●", BLUE),
    "broke": Key("SLO not met", "✗", VERMILLION),
    "undecided": Key("met, but undecided", "■", ORANGE),
    "not judged": Key("not judged", "◆", FAINT),
}
_MARKERS: Final = {"met": "o", "broke": "X", "undecided": "s", "not judged": "D"}


def draw_throughput_latency(analysis: RunAnalysis) -> Figure | None:
    """Latency (p95 with interval, and p50) of every stage against the rate achieved in it.

    None when it is known of fewer than two stages.
    """
    shown = [stage for stage in analysis.stages if _known(stage, "p95") or _known(stage, "p50")]
    if len(shown) < 2:
        return None
    figure, axes = single_axes(8.6, 5.0)
    title(figure, _capacity_title(analysis))
    axes.set_ylabel("latency, from the intended start")
    slo = latency_slo(analysis)
    capacity = analysis.capacity
    breaks_at = capacity.rate_per_s if capacity else None
    fastest = max(*(stage.achieved_per_s for stage in shown), *known_ends(breaks_at))
    axes.set_xlim(0, fastest * 1.12)
    ends = [end for s in shown for n in ("p50", "p95") for end in known_ends(s.latency_s.get(n))]
    drawing.latency_axis(axes, [*ends, slo.threshold] if slo else ends)
    drawing.draw_slo_line(axes, slo)
    if capacity and breaks_at and known_ends(breaks_at):
        _draw_capacity(axes, breaks_at, capacity.rate_webservers)
    for alike in _with_the_same_webservers(shown):
        axes.plot(*_points(alike, "p50"), color=FAINT, marker="o", mfc="none", ms=4.5, lw=0.6)
        axes.plot(*_points(alike, "p95"), color=FAINT, lw=0.6, zorder=1.5)
    for stage in shown:
        _draw_interval(axes, stage)
    closed = ", closed workload" if any(stage.users is not None for stage in shown) else ""
    axes.set_xlabel(f"achieved rate (calls/s){closed}{_label_stages(axes, shown)}")
    found = {stage_found(stage) for stage in shown}
    keys = [key for name, key in _KEYS.items() if name in found]
    keys.append(Key("p50", "○", FAINT))
    if slo:
        keys.append(Key(f"SLO {slo.text}", "╌╌", INK))
    heading(axes, "p95 latency with interval", *keys)
    return figure


def draw_errors(analysis: RunAnalysis) -> Figure | None:
    """The share of calls that failed in every stage, stacked by who is to blame.

    None of a single stage, and when no call failed.
    """
    number = len(analysis.stages)
    shares = {layer: np.array([_share(s, layer) for s in analysis.stages]) for layer in LAYERS}
    present = {layer: values for layer, values in shares.items() if values.any()}
    if not present or number < 2:
        return None
    figure, axes = single_axes(8.6, 3.6)
    title(figure, _errors_title(analysis, present))
    below = np.zeros(number)
    for layer, values in present.items():
        axes.bar(range(number), values, 0.6, bottom=below, color=COLOUR_OF_LAYER[layer])
        below = below + values
    for x, total in enumerate(below):
        text = words.percent(total) if total else "0"
        axes.annotate(text, (x, total), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xlim(-0.6, number - 0.4)
    axes.set_ylim(0, float(below.max()) * 1.15)
    axes.set_xticks(range(number), [_tick_name(stage, number) for stage in analysis.stages])
    axes.set_xlabel("stage, and its load")
    axes.set_ylabel("share of the calls (%)")
    keys = [Key(layer, "■", COLOUR_OF_LAYER[layer]) for layer in present]
    heading(axes, "Failed calls by layer", *keys)
    return figure


def _draw_capacity(axes: Axes, capacity: Estimate, webservers: int | None) -> None:
    rate_per_s = capacity.value or 0.0
    left = rate_per_s < 0.5 * axes.get_xlim()[1]  # the longer side has room for the words
    axes.axvspan(*known_ends(capacity), color=GREEN, alpha=0.14, linewidth=0, zorder=0.6)
    axes.axvline(rate_per_s, color=GREEN, linewidth=1.2, zorder=1.4)
    axes.annotate(
        f"capacity with {words.webservers(webservers)}" if webservers else "capacity",
        (rate_per_s, 0.03),
        (5 if left else -5, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if left else "right",
        color=GREEN,
        fontsize=8.5,
    )


def _capacity_title(analysis: RunAnalysis) -> str:
    if sentence := capacity_sentence(analysis.capacity):
        return f"The SLO breaks at {sentence.rstrip('.')}"
    broken = [stage for stage in analysis.stages if stage_verdict(stage) is False]
    met = [stage for stage in analysis.stages if stage_found(stage) == "met"]
    if not met and any(stage_found(stage) == "undecided" for stage in analysis.stages):
        return "No stage met the SLO for certain"
    if not met:
        return "No stage met the SLO" if broken else "No stage could be judged"
    best = max(met, key=lambda stage: stage.achieved_per_s)
    servers = words.span(best.webservers_min, best.webservers_max)
    with_servers = "" if servers == words.UNKNOWN else f" with {_webserver_words(servers)}"
    held = f"The SLO held at {words.calls_per_s(best.achieved_per_s)}{with_servers}"
    if best.users is not None:
        return f"{held} of a closed workload, which tells no capacity"
    # A lower stage that failed, before webservers were added, did not limit what was reached.
    above = [stage.achieved_per_s for stage in broken if stage.rate_per_s > best.rate_per_s]
    if not above:
        return f"{held}, the highest load that could be judged"
    return f"{held} and broke at {words.calls_per_s(min(above))}"


def _errors_title(analysis: RunAnalysis, layers: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for stage in analysis.stages:
        for outcome, calls in stage.outcomes.items():
            if outcome != "ok":
                counts[outcome] = counts.get(outcome, 0) + calls
    if not counts:
        return f"Errors came from: {', '.join(layers)}"
    commonest = max(counts, key=lambda outcome: counts[outcome])
    total = sum(counts.values())
    if len(counts) == 1:
        if total == 1:
            return f"The one failed call ended as {commonest}"
        return f"All {total} failed calls ended as {commonest}"
    return f"{counts[commonest]} of {total} failed calls ended as {commonest}"


def _draw_interval(axes: Axes, stage: StageStats) -> None:
    ends = known_ends(stage.latency_s.get("p95"))
    if not ends:
        return
    colour, marker = _KEYS[stage_found(stage)].colour, _MARKERS[stage_found(stage)]
    axes.vlines(stage.achieved_per_s, *ends, color=colour, lw=1.6, zorder=2.2)
    p95_s = stage.latency_s["p95"].value or 0.0
    axes.plot(stage.achieved_per_s, p95_s, marker, color=colour, ms=8, zorder=2.5)


def _label_stages(axes: Axes, stages: list[StageStats]) -> str:
    """Name the points; what is the same for all of them is returned for the axis instead."""
    labels = Labels(axes)
    for name in ("p50", "p95"):
        labels.keep_clear(zip(*_points(stages, name), strict=True))
    servers = [words.span(stage.webservers_min, stage.webservers_max) for stage in stages]
    all_same = len(set(servers)) == 1
    for stage, count in zip(stages, servers, strict=True):
        height = stage.latency_s["p95" if _known(stage, "p95") else "p50"].value or 0.0
        number = str(stage.index + 1)
        name = f"stage {stage_name(stage)}" if len(stages) <= _MOST_NAMED else number
        beside = "" if all_same or count == words.UNKNOWN else f": {_webserver_words(count)}"
        for text in (f"{name}{beside}", f"{number}{beside}", number):
            colour = VERMILLION if stage_verdict(stage) is False else INK
            if labels.add(text, (stage.achieved_per_s, height), colour, _LABEL_OFFSETS):
                break
    if not all_same or servers[0] == words.UNKNOWN:
        return ""
    return f", every stage with {_webserver_words(servers[0])}"


def _webserver_words(servers: str) -> str:
    return f"{servers} webserver{'' if servers == '1' else 's'}"


def _points(stages: list[StageStats], name: str) -> tuple[list[float], list[float]]:
    known = [stage for stage in stages if _known(stage, name)]
    return [s.achieved_per_s for s in known], [s.latency_s[name].value or 0.0 for s in known]


def _with_the_same_webservers(stages: list[StageStats]) -> list[list[StageStats]]:
    """Stages that one curve connects, by ascending rate."""
    groups: dict[tuple[int | None, int | None], list[StageStats]] = {}
    for stage in sorted(stages, key=lambda stage: stage.achieved_per_s):
        groups.setdefault((stage.webservers_min, stage.webservers_max), []).append(stage)
    return list(groups.values())


def _known(stage: StageStats, name: str) -> bool:
    return bool(known_ends(stage.latency_s.get(name)))


def _share(stage: StageStats, layer: str) -> float:
    if layer == "generator":
        return stage.unsent / stage.arrivals * 100 if stage.arrivals else 0.0
    estimate = stage.error_rate_by_layer.get(layer)
    return estimate.value * 100 if estimate and words.is_known(estimate.value) else 0.0


def _tick_name(stage: StageStats, stages: int) -> str:
    first = stage_name(stage) if stages <= 8 and len(stage.name) <= 8 else str(stage.index + 1)
    return f"{first}\n{stage_load(stage).replace(' calls/s', '/s')}"
