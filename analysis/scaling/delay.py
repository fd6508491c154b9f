"""How long scaling out takes on average: detection, provisioning and both, with 95 % intervals.

    detection     load step t0 -> decision t2; where nobody tells of decisions, as on AWS, -> end t1
                  of the first period past a threshold
    provisioning  from there -> new webserver takes traffic t4
    whole         t0 -> t4

The event is the unit: means over events, of one or many runs, with Student's t for n - 1 degrees of
freedom. Of several scale-outs after one load step the first counts; provisioning after a decision
counts in all of them.

Where the environment does not tell of t4, it lies within metric periods: after the last one with
the old count and not after the first with the new one; where Minimum was recorded, from the middle
of the period before the one in which the webserver was first seen to work to the middle of that.
Decisions come in step with the periods, so t4 may fall into the same part of a period every time,
and midpoints would be off by the same amount every time: such means are those of `mean_within`,
and that of `whole` is the sum with the mean of the detection, which is independent of it.

One event says nothing of how delays vary; its interval is merely how well its own times are known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.results import ScalingEvent
from mwaa_headroom.analysis.statistics import Estimate, Floats, mean_within, t_quantile

_LEVELS = np.array([0.025, 0.5, 0.975])


@dataclass(frozen=True, slots=True)
class ScaleOutDelays:
    """Mean delays of scaling out, in seconds."""

    detection: Estimate
    provisioning: Estimate
    whole: Estimate
    detected_by: str  # "decision", or "breach": the end of the first period past a threshold
    events: int  # first scale-outs after a load step


@dataclass(frozen=True, slots=True)
class _Delay:
    """One scale-out as durations; `low_s` to `high_s`: from the detection to taking traffic."""

    detection_s: float | None  # None: no load step is known
    detection_within_s: tuple[float, float]  # how much shorter and longer it may have been
    low_s: float | None  # None: it was never seen to take traffic
    high_s: float | None

    @property
    def is_exact(self) -> bool:
        """Whether it is known when traffic was taken."""
        return self.low_s == self.high_s


def scale_out_delays(events: Sequence[ScalingEvent]) -> ScaleOutDelays:
    """Means over scale-outs, in the order of time within each run; scaling in is left out."""
    rising = [event for event in events if event.to_count > event.from_count]
    by_decision = all(event.decision_s is not None for event in rising)
    firsts = _first_after_their_step(rising)
    detected = _delays(firsts, by_decision=by_decision)
    arrived = [delay for delay in detected if delay.low_s is not None]
    # What came after an earlier scale-out of the same load step has no breach of its own.
    counted = _delays(rising, by_decision=by_decision) if by_decision else arrived
    provisioned = [delay for delay in counted if delay.low_s is not None]
    vague = _vague_steps(firsts)
    late = _lateness(rising)
    return ScaleOutDelays(
        detection=_with(vague, _detection(detected)),
        provisioning=_with(late, _provisioning(provisioned)),
        whole=_with((*vague, *late), _whole(arrived)),
        detected_by="decision" if by_decision else "breach",
        events=len(firsts),
    )


def _first_after_their_step(rising: Sequence[ScalingEvent]) -> list[ScalingEvent]:
    found: dict[float, ScalingEvent] = {}
    for event in rising:
        if event.load_step_s is not None:
            found.setdefault(event.load_step_s, event)
    return list(found.values())


def _delays(events: Sequence[ScalingEvent], *, by_decision: bool) -> list[_Delay]:
    """Those whose detection is known."""
    found = []
    for event in events:
        seen_s = event.decision_s if by_decision else event.breach_s
        if seen_s is None:
            continue
        within = _took_traffic_within(event)
        period_s = 0.0 if by_decision else event.period_s or 0.0
        step_within_s = event.load_step_within_s
        found.append(
            _Delay(
                detection_s=None if event.load_step_s is None else seen_s - event.load_step_s,
                detection_within_s=(step_within_s + period_s, step_within_s),
                low_s=within[0] - seen_s if within else None,
                high_s=within[1] - seen_s if within else None,
            )
        )
    return found


def _took_traffic_within(event: ScalingEvent) -> tuple[float, float] | None:
    if event.ready_s is not None:
        return event.ready_s, event.ready_s
    if event.count_changed_s is None or event.count_changed_after_s is None:
        return None
    if event.takes_traffic_after_s is None or event.takes_traffic_s is None:
        return event.count_changed_after_s, event.count_changed_s
    return event.takes_traffic_after_s, event.takes_traffic_s


def _detection(delays: Sequence[_Delay]) -> Estimate:
    values = np.array([delay.detection_s for delay in delays], dtype=np.float64)
    if len(values) != 1:
        return _student(values, "detection")
    shorter_s, longer_s = delays[0].detection_within_s
    return _of_one(values[0], values[0] - shorter_s, values[0] + longer_s)


def _provisioning(delays: Sequence[_Delay]) -> Estimate:
    low, high = _bounds(delays)
    if len(low) == 1:
        return _of_one((low[0] + high[0]) / 2, low[0], high[0])
    if all(delay.is_exact for delay in delays):
        return _student(low, "provisioning")
    return _estimate(mean_within(*_widened(low, high)).quantiles(_LEVELS), len(low))


def _whole(delays: Sequence[_Delay]) -> Estimate:
    detection = np.array([delay.detection_s for delay in delays], dtype=np.float64)
    low, high = _bounds(delays)
    if len(low) == 1:
        step_within_s = delays[0].detection_within_s[1]
        ends = detection[0] + low[0] - step_within_s, detection[0] + high[0] + step_within_s
        return _of_one(sum(ends) / 2, *ends)
    if all(delay.is_exact for delay in delays):
        return _student(detection + low, "whole")
    found = mean_within(*_widened(low, high)).quantiles(_LEVELS, added=detection)
    return _estimate(found, len(low))


def _bounds(delays: Sequence[_Delay]) -> tuple[Floats, Floats]:
    low = np.array([delay.low_s for delay in delays], dtype=np.float64)
    high = np.array([delay.high_s for delay in delays], dtype=np.float64)
    return low, high


def _widened(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Durations known exactly beside others that are not: to a thousandth of the others' width."""
    least = float((high - low).max()) / 1000
    return low, np.maximum(high, low + least)


def _student(values: Floats, what: str) -> Estimate:
    count = len(values)
    if count == 0:
        return Estimate(value=None, warnings=(refusal("scaling.no_scale_out", what=what),))
    if count == 1:
        return _of_one(values[0], values[0], values[0])
    mean = float(values.mean())
    half = t_quantile(count - 1) * float(values.std(ddof=1)) / np.sqrt(count)
    return Estimate(value=mean, low=mean - half, high=mean + half, n=count)


def _of_one(value: float, low: float, high: float) -> Estimate:
    one = warning("scaling.one_scale_out")
    return Estimate(float(value), low=float(low), high=float(high), n=1, warnings=(one,))


def _estimate(quantiles: Floats, count: int) -> Estimate:
    low, middle, high = (float(value) for value in quantiles)
    return Estimate(value=middle, low=low, high=high, n=count)


def _with(warnings: Sequence[Finding], estimate: Estimate) -> Estimate:
    return replace(estimate, warnings=(*estimate.warnings, *warnings))


def _vague_steps(firsts: Sequence[ScalingEvent]) -> tuple[Finding, ...]:
    vague = sum(event.load_step_within_s > 0 for event in firsts)
    return (warning("scaling.vague_load_steps", scale_outs=vague),) if vague else ()


def _lateness(rising: Sequence[ScalingEvent]) -> tuple[Finding, ...]:
    by_metrics = [event for event in rising if event.ready_s is None and event.period_s]
    if not by_metrics:
        return ()
    period_s = max(event.period_s or 0.0 for event in by_metrics)
    found = (warning("scaling.traffic_by_metrics", period_s=period_s),)
    vague = sum(event.start_up is None for event in by_metrics)
    return (*found, warning("scaling.start_up_unknown", scale_outs=vague)) if vague else found
