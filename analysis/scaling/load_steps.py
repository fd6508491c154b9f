"""When the load rose to what led to a scale-out, and until when its effect can be watched.

A stage that holds one load steps to it at its start, known exactly. A ramp or a trace has no such
step: there the load step is the start of the first of the metric periods on end, up to the one that
breached, whose offered rate was at least that of the breaching period, less one standard deviation
of a Poisson count (sqrt(rate T) / T); it is known to one period T.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from analysis.calls import Calls, Floats
from analysis.stages import StageTimes
from analysis.windows import WebserverPeriod

# Answers are awaited between stages, for at most the time limit of a call.
_LONGEST_PAUSE_S = 20.0


@dataclass(frozen=True, slots=True)
class LoadStep:
    """When the load rose; `within_s` is how well that is known, 0 at the start of a stage."""

    at_s: float
    within_s: float = 0.0


def load_step(
    before_s: float,
    stages: Sequence[StageTimes],
    periods: Sequence[WebserverPeriod],
    offered_per_s: Floats,
) -> LoadStep | None:
    """The last rise of the load before a time; None: no stage had begun.

    Args:
        before_s: the end of the first period past a threshold, or else the scale-out itself.
        stages: in the order of time.
        periods: in the order of time.
        offered_per_s: of each period; looked at in ramps and traces only.
    """
    begun = [stage for stage in stages if stage.started_at_s < before_s]
    if not begun:
        return None
    if begun[-1].plan.varies:
        return _rise_within(begun[-1], before_s, periods, offered_per_s)
    rises = [begun[0], *(after for before, after in pairwise(begun) if is_rise(before, after))]
    return LoadStep(rises[-1].started_at_s)


def is_rise(before: StageTimes, after: StageTimes) -> bool:
    """Whether a stage has more load than the one before it."""
    return load_of(after) > load_of(before)


def load_of(stage: StageTimes) -> float:
    """Calls per second; of a closed workload, users."""
    return float(stage.plan.rate_per_s or stage.plan.users or 0.0)


def watched_until_s(stages: Sequence[StageTimes], calls: Calls, from_s: float) -> float:
    """The next fall of the load after a time: a lighter stage, a pause, a recovery phase, the end.

    A service that does well under less load proves nothing of its webservers.
    """
    recovered = {-1 - int(stage) for stage in np.unique(calls.stage[calls.stage < 0])}
    later = [stage for stage in stages if stage.ended_at_s > from_s]
    for stage, after in pairwise(later):
        goes_on = after.started_at_s - stage.ended_at_s <= _LONGEST_PAUSE_S
        is_lighter = load_of(after) < load_of(stage)
        if stage.plan.index in recovered or is_lighter or not goes_on:
            return stage.ended_at_s
    return later[-1].ended_at_s if later else from_s


def _rise_within(
    stage: StageTimes,
    before_s: float,
    periods: Sequence[WebserverPeriod],
    offered_per_s: Floats,
) -> LoadStep:
    leading = [
        (period, float(rate))
        for period, rate in zip(periods, offered_per_s, strict=True)
        if stage.started_at_s < period.end_s <= before_s
    ]
    if not leading:
        return LoadStep(stage.started_at_s)
    period, rate = leading[-1]
    enough_per_s = rate - math.sqrt(rate / period.period_s)
    for earlier, its_rate in reversed(leading[:-1]):
        if its_rate < enough_per_s:
            break
        period = earlier
    if period.start_s <= stage.started_at_s:
        return LoadStep(stage.started_at_s)
    return LoadStep(period.start_s, within_s=period.period_s)
