"""What the order of stages in time says about a capacity: collapse, change, and stages too short.

In the wake of an overload are the stages that follow, without a pause, one that broke the SLO.

    working off   latency falls through such a stage by at least 2 % of the time that goes by: what
                  waited before it is being worked off, so it is no trial of its rate
    may collapse  such a stage broke the SLO without working anything off, at a rate that had met it
                  on fresh webservers, and calls took 3 times as long: what held before an overload
                  need not hold after it (metastable failure), so there is no capacity to tell

Stages of one rate are compared by their mean latency, whatever the SLO is about. With s_ij the mean
of the logarithm of the block means of visit j to rate i, v_ij its variance by its blocks and their
correlation,

    Q = sum_ij (s_ij - s_i)^2 / v_ij   ~ chi2(visits - rates),   s_i weighted by 1 / v_ij

Beyond its 95 % quantile something else changed with time, a host's speed for example.

How long ups and downs last is told from all stages at 80 to 102 % of the capacity together: their
blocks are worth BLOCKS (1 - phi) / (1 + phi) independent ones, phi the correlation of neighbouring
blocks' logarithms. Below 12 a stage is too short for them. A single stage cannot tell: bursts that
last as long as it does look calm from within. Calls whose slowest fall off like a power with an
exponent below 2 have no variance that could be told from any stage.

Sources: Bronson et al., HotOS 2021 (metastable failures); Cochran, Biometrics 10 (1954) 101 (Q);
Hill, Ann. Stat. 3 (1975) 1163 (exponent).
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import scipy

from mwaa_headroom.analysis.capacity.evidence import BLOCKS, StageEvidence
from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.statistics import Floats, inflation

WORKING_OFF: Final = 0.02  # s of latency a second
SLOWED: Final = 3.0
PAUSE_S: Final = 1.0  # between two stages: the light load of a recovery phase was there
CHANGED: Final = 0.05  # probability of such a Q where nothing changed
FEWEST_INDEPENDENT: Final = 12.0  # blocks of a stage
HEAVY: Final = 2.0  # exponent of a tail
_FEWEST_BLOCKS = 8
_FEWEST_SLOW_CALLS = 50
_NEAR = (0.8, 1.02)  # of the capacity


def trials_of(stages: Sequence[StageEvidence]) -> list[StageEvidence]:
    """Those that do not work off an overload before them."""
    wake = _in_the_wake(stages)
    return [stage for stage in stages if not (stage in wake and _works_off(stage))]


def collapse(stages: Sequence[StageEvidence]) -> Finding | None:
    """Why what met the SLO may not do so after an overload; None: nothing says so."""
    wake = _in_the_wake(stages)
    fresh = [stage for stage in stages if stage not in wake and stage.verdict == "pass"]
    for stage in wake:
        before = [each for each in fresh if each.rate_per_s >= stage.rate_per_s]
        if stage.verdict != "fail" or not before or _works_off(stage):
            continue
        nearest = min(before, key=lambda each: each.rate_per_s)
        if _mean_s(stage) >= SLOWED * _mean_s(nearest):
            return refusal(
                "capacity.may_collapse",
                rate_per_s=stage.rate_per_s,
                before_s=_mean_s(nearest),
                after_s=_mean_s(stage),
            )
    return None


def change(stages: Sequence[StageEvidence]) -> Finding | None:
    """That stages of one rate differ more than chance makes them; None: they do not."""
    by_rate: dict[float, list[StageEvidence]] = {}
    for stage in stages:
        if len(stage.latency_s) >= _FEWEST_BLOCKS:
            by_rate.setdefault(stage.rate_per_s, []).append(stage)
    repeated = [visits for visits in by_rate.values() if len(visits) > 1]
    differences = [_difference(visits) for visits in repeated]
    freedom = sum(len(visits) - 1 for visits in repeated)
    if not freedom or scipy.special.chdtrc(freedom, sum(differences)) >= CHANGED:
        return None
    worst = repeated[int(np.argmax(differences))]
    fastest, slowest = min(worst, key=_mean_s), max(worst, key=_mean_s)
    return warning(
        "capacity.changed",
        rate_per_s=worst[0].rate_per_s,
        least_s=_mean_s(fastest),
        most_s=_mean_s(slowest),
        verdicts=tuple(stage.verdict for stage in (fastest, slowest)),
    )


def too_short(stages: Sequence[StageEvidence], capacity_per_s: float) -> Iterator[Finding]:
    """That the stages are short against the ups and downs of their calls, or always would be."""
    low, high = (share * capacity_per_s for share in _NEAR)
    near = [stage for stage in stages if low <= stage.rate_per_s <= high and _tells_blocks(stage)]
    if near:
        logarithms = [np.log(stage.latency_s) for stage in near]
        more = inflation(*(each - each.mean() for each in logarithms))
        if BLOCKS / more < FEWEST_INDEPENDENT:
            shortest_s = min(stage.measured_s for stage in near)
            needed_s = shortest_s * FEWEST_INDEPENDENT * more / BLOCKS
            yield warning("capacity.short_stages", measured_s=shortest_s, needed_s=needed_s)
    excess, calls = (
        sum(each) for each in zip(*(s.tail for s in stages if s.verdict == "pass"), strict=True)
    )
    if calls >= _FEWEST_SLOW_CALLS and excess > 0 and calls / excess < HEAVY:
        yield warning("capacity.heavy_tail", exponent=calls / excess)


def _in_the_wake(stages: Sequence[StageEvidence]) -> list[StageEvidence]:
    ordered = sorted(stages, key=lambda stage: stage.started_at_s)
    return [
        stage
        for before, stage in pairwise(ordered)
        if before.verdict == "fail" and 0 <= stage.started_at_s - before.ended_at_s < PAUSE_S
    ]


def _works_off(stage: StageEvidence) -> bool:
    quarter = len(stage.latency_s) // 4
    if not quarter or stage.measured_s <= 0:
        return False
    fallen_s = stage.latency_s[:quarter].mean() - stage.latency_s[-quarter:].mean()
    return bool(fallen_s / (0.75 * stage.measured_s) >= WORKING_OFF)


def _tells_blocks(stage: StageEvidence) -> bool:
    return len(stage.latency_s) >= _FEWEST_BLOCKS


def _mean_s(stage: StageEvidence) -> float:
    return float(stage.latency_s.mean()) if len(stage.latency_s) else 0.0


def _difference(visits: Sequence[StageEvidence]) -> float:
    """The part of Q of one rate."""
    logarithms = [np.log(stage.latency_s) for stage in visits]
    means = np.array([each.mean() for each in logarithms])
    variances = np.array([_variance(each) for each in logarithms])
    weights = 1 / np.maximum(variances, 1e-12)
    return float(weights @ (means - weights @ means / weights.sum()) ** 2)


def _variance(logarithms: Floats) -> float:
    more = inflation(logarithms - logarithms.mean())
    return float(logarithms.var(ddof=1)) / len(logarithms) * more
