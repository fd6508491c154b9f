"""How many calls a second the service's throttle admits, measured where it was at work.

From the first call it refused in a stage to the stage's end the bucket of tokens is empty, and

    admitted = calls sent and not refused / that time

over 20 equal parts, of which at least 18 have refused calls; else the throttle was not always at
work and admits more than was seen. The interval is that of the mean of the parts (Student's t):
parts of a token bucket vary less together than apart, so it is rather too wide. Only of stages
that outlast 5 s of it, and that offered at least 5 % more than was admitted.
"""

import math
from collections.abc import Iterable
from typing import Final

import numpy as np

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.results import StageStats
from mwaa_headroom.analysis.slo_judgement import Window
from mwaa_headroom.analysis.statistics import Estimate, t_quantile

PARTS: Final = 20
FEWEST_AT_WORK: Final = 18
SHORTEST_S: Final = 5.0
_OFFERED_MORE: Final = 1.05


def admitted_per_s(stages: Iterable[tuple[StageStats, Window]]) -> Estimate | None:
    """Calls a second that are admitted, by the stage that offered most; None: never seen."""
    by_offer = sorted(stages, key=lambda each: -each[0].offered_per_s)
    found = (_admitted(stage, window.calls) for stage, window in by_offer if stage.speaks)
    return next((each for each in found if each is not None), None)


def _admitted(stage: StageStats, calls: Calls) -> Estimate | None:
    refused = calls.outcome.are("throttled")
    if not refused.any():
        return None
    from_s = float(calls.start_s[refused].min())
    length_s = stage.ended_at_s - from_s
    if length_s < SHORTEST_S:
        return None
    part_s = length_s / PARTS
    place = np.floor((calls.start_s - from_s) / part_s)
    inside = calls.sent & (place >= 0) & (place < PARTS)
    parts = place[inside].astype(np.int64)
    at_work = np.unique(parts[refused[inside]])
    admitted = np.bincount(parts[~refused[inside]], minlength=PARTS) / part_s
    mean = float(admitted.mean())
    if len(at_work) < FEWEST_AT_WORK or len(parts) / length_s < _OFFERED_MORE * mean:
        return None
    half = t_quantile(PARTS - 1) * float(admitted.std(ddof=1)) / math.sqrt(PARTS)
    return Estimate(value=mean, low=mean - half, high=mean + half, n=len(parts))
