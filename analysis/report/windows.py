"""What pictures and charts over the time of a run show: windows of calls, steps of metric periods.

All times are seconds since the start of the run.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mwaa_headroom.analysis.calls import Calls, Mask
from mwaa_headroom.analysis.mwaa import CPU_ABOVE_PERCENT
from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME, LAYERS
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.results import RunAnalysis, ScalingEvent
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.statistics import value_at_rank, values_for_percentile

Array = NDArray[Any]

_WIDTHS_S: Final = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
_MOST_CHANGES: Final = 6  # more would hide the panels; the count steps all the same
_MOST_WINDOWS: Final = 120
_FEWEST_WINDOWS: Final = 8
_LEAST_FOR_P50: Final = 5


@dataclass(frozen=True, slots=True)
class Windows:
    """Per window: rates per second and latency percentiles (NaN where calls are too few)."""

    width_s: float
    edges_s: Array
    offered_per_s: Array
    achieved_per_s: Array
    errors_per_s: dict[str, Array]  # by layer, only layers with errors
    p50_s: Array
    p95_s: Array

    @property
    def centres_s(self) -> Array:
        """The middle of every window."""
        return (self.edges_s[:-1] + self.edges_s[1:]) / 2


def cut(
    calls: Calls, started_at_s: float, *, from_s: float, to_s: float, slowest_per_s: float
) -> Windows:
    """Cut a part of a run into windows of one width.

    The width is the least that keeps windows below 120 and still has a 95th percentile in the
    stage with the lowest rate, `slowest_per_s`.

    Args:
        calls: arrivals, none before `from_s`.
        started_at_s: the run's start, epoch seconds.
        from_s: start of the part, since the run's start.
        to_s: its end.
        slowest_per_s: arrivals per second where they are fewest.
    """
    length_s = to_s - from_s
    width_s = _width(length_s, slowest_per_s)
    since_s = calls.intended_start_s - started_at_s - from_s
    # After the last arrival there is no load to show, only waiting for answers.
    edges = _edges(min(length_s, since_s.max(initial=0.0)), width_s)
    number = len(edges) - 1
    place = np.searchsorted(edges[:-1], since_s, side="right").astype(np.int16) - 1

    def per_s(chosen: Mask) -> Array:
        return np.bincount(place[chosen & (place >= 0)], minlength=number) / np.diff(edges)

    enough = {50.0: _LEAST_FOR_P50, 95.0: values_for_percentile(95.0)}
    p50_s, p95_s = _percentiles(calls, place, number, enough)
    of_layer = {
        layer: calls.outcome.are(*(name for name, by in LAYER_OF_OUTCOME.items() if by == layer))
        for layer in LAYERS
    }
    return Windows(
        width_s=width_s,
        edges_s=edges + from_s,
        offered_per_s=per_s(np.full(len(place), fill_value=True)),
        achieved_per_s=per_s(calls.sent),
        errors_per_s={layer: per_s(mask) for layer, mask in of_layer.items() if mask.any()},
        p50_s=p50_s,
        p95_s=p95_s,
    )


def _width(length_s: float, slowest_per_s: float) -> float:
    enough_calls_s = values_for_percentile(95.0) * 1.2 / max(slowest_per_s, 1e-9)
    wanted = max(length_s / _MOST_WINDOWS, enough_calls_s)
    most = max(length_s / _FEWEST_WINDOWS, 1.0)
    allowed = [width for width in _WIDTHS_S if width <= most]
    return next((width for width in allowed if width >= wanted), allowed[-1])


def _edges(length_s: float, width_s: float) -> Array:
    """Whole windows; a rest shorter than half a window belongs to the last one."""
    whole = np.arange(0.0, length_s, width_s)
    if len(whole) > 1 and length_s - whole[-1] < width_s / 2:
        whole = whole[:-1]
    return np.append(whole, max(length_s, width_s if len(whole) == 1 else 0.0))


def _percentiles(
    calls: Calls, place: Array, windows: int, percents: Mapping[float, int]
) -> list[Array]:
    """Percentiles of the latency of each window's timed calls, of each percent the least number."""
    timed = calls.timed & (place >= 0)
    own = place[timed]
    # One stable order for all windows: looking through all calls for each would take much longer.
    ordered_s = calls.times_s("latency", timed)[np.argsort(own, kind="stable")]
    latencies = np.split(ordered_s, np.cumsum(np.bincount(own, minlength=windows)))[:windows]
    return [
        np.array([value_at_rank(v, percent) if len(v) >= least else np.nan for v in latencies])
        for percent, least in percents.items()
    ]


def latency_slo(analysis: RunAnalysis) -> Slo | None:
    """The objective that is drawn as a line: the first on a latency percentile of all calls."""
    return next(
        (s for s in analysis.slos if s.metric == "latency" and s.percentile and not s.selector_key),
        None,
    )


def has_metrics(analysis: RunAnalysis) -> bool:
    """Whether anything is known of the webservers."""
    return any(
        words.is_known(point.cpu_percent) or words.is_known(point.webservers)
        for point in analysis.periods
    )


def scale_out_cpu_percent(analysis: RunAnalysis) -> float:
    """The CPU above which webservers are added: as the environment states, else as documented."""
    facts = analysis.environment.get("facts")
    stated = facts.get("scale_out_cpu_percent") if isinstance(facts, dict) else None
    return float(stated) if isinstance(stated, int | float) else CPU_ABOVE_PERCENT


def steps(analysis: RunAnalysis, values: Sequence[float | None]) -> tuple[Array, Array]:
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


def count_steps(analysis: RunAnalysis) -> tuple[Array, Array]:
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


def length_s(calls: Calls, analysis: RunAnalysis) -> float:
    """How long the run was: to the last that is known of it."""
    ends = [analysis.ended_at_s - analysis.started_at_s]
    ends += [stage.ended_at_s - analysis.started_at_s for stage in analysis.stages]
    ends += [float(calls.intended_start_s.max()) - analysis.started_at_s] if len(calls) else []
    return max((end for end in ends if words.is_known(end)), default=1.0)


def scaling_marks(analysis: RunAnalysis) -> list[tuple[float, str, str]]:
    """Breach, decision, readiness and recovery: time, words and colour; none of many changes."""
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
        yield event.count_changed_s or event.decision_s, f"down to {event.to_count}", "faint"
        return
    yield event.breach_s, told(event.reason) or "threshold passed", "vermillion"
    yield event.decision_s, f"decision: {event.from_count} to {event.to_count}", "purple"
    if event.ready_s is not None:
        yield event.ready_s, f"{event.to_count} ready", "green"
    else:
        yield event.count_changed_s, f"{event.to_count} in service", "green"
    yield event.slo_restored_s, "SLO restored", "ink"
