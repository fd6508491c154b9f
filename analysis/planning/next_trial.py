"""Which load to try next, so that few trials find the highest load that meets the SLO.

A load is classified from all its trials as MLRsearch does (RFC 9971, appendix "Load Classification
Code"), with e the exceed ratio, a low-loss trial being one that met the SLO:

    eff_high    = full_high + max(0, short_high - short_low e / (1 - e))
    whole       = max(full_low + eff_high, duration sum)
    lower bound   whole - full_low <= e whole       even if what is missing were all bad
    upper bound   eff_high > e whole                even if what is missing were all good
    undecided     otherwise: try this load again

full_* are summed durations of trials that lasted at least the goal's final duration, short_* of the
others: a short trial can show that a load is too high, but not that it can be sustained.

The relevant upper bound is the smallest load that is an upper bound, the relevant lower bound the
largest lower bound below it: a load that passed above one that failed was luck. Between them the
next load is the geometric mean, until they are within the width. A load that is still undecided
after three trials is given up and bounds the search like one that is too high, for nobody could
rely on it; it is not said to have failed.

The ends of the range are tried before anything between them, the lowest first, so that a range in
which nothing, or everything, passes is told as such and no end is ever taken for granted.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

MOST_REPEATS = 3
_SAME_LOAD = 1e-9

Class = Literal["lower", "upper", "undecided"]


@dataclass(frozen=True, slots=True)
class Goal:
    """When a load counts as sustained; RFC 9971's search goal without its loss ratio."""

    final_duration_s: float  # from this on a trial is of full length
    duration_sum_s: float  # of full-length trials that a load needs
    exceed_ratio: float = 0.5  # share of that time that may be in trials with high loss


@dataclass(frozen=True, slots=True)
class Trial:
    """One load, held for some time."""

    rate_per_s: float
    duration_s: float
    low_loss: bool | None  # met the SLO; None: undecided
    loss_ratio: float = 0.0  # share of the arrivals that were not good


@dataclass(frozen=True, slots=True)
class Step:
    """What is known so far, and what to try next."""

    lower_per_s: float | None  # relevant lower bound
    upper_per_s: float | None  # relevant upper bound, or a load that was given up
    next_per_s: float | None  # None: done
    repeats: bool = False  # whether the next one was tried before
    failed_per_s: float | None = None  # relevant upper bound; no load that was given up


def classify(goal: Goal, trials: Iterable[Trial]) -> Class:
    """What the trials of one load, taken together, say about it; undecided ones say nothing."""
    told = [trial for trial in trials if trial.low_loss is not None]
    full = [trial for trial in told if trial.duration_s >= goal.final_duration_s]
    short = [trial for trial in told if trial.duration_s < goal.final_duration_s]
    balanced_s = _sum_s(short, low_loss=True) * goal.exceed_ratio / (1 - goal.exceed_ratio)
    full_low_s = _sum_s(full, low_loss=True)
    high_s = _sum_s(full, low_loss=False)
    high_s += max(0.0, _sum_s(short, low_loss=False) - balanced_s)
    whole_s = max(full_low_s + high_s, goal.duration_sum_s)
    tolerated_s = goal.exceed_ratio * whole_s
    if whole_s - full_low_s <= tolerated_s:
        return "lower"
    return "undecided" if high_s <= tolerated_s else "upper"


def conditional_throughput(goal: Goal, rate_per_s: float, trials: Iterable[Trial]) -> float:
    """The rate that came through well at a lower bound, in 1/s; RFC 9971, appendix of that name.

    rate (1 - q), q the loss ratio that full-length trials exceed for at most a share e of the time.
    """
    full = [trial for trial in trials if trial.duration_s >= goal.final_duration_s]
    whole_s = max(goal.duration_sum_s, sum(trial.duration_s for trial in full))
    remaining_s = whole_s * (1 - goal.exceed_ratio)
    quantile = None
    for trial in sorted(full, key=lambda trial: trial.loss_ratio):
        if quantile is not None and remaining_s <= 0:
            break
        quantile = trial.loss_ratio
        remaining_s -= trial.duration_s
    if quantile is None or remaining_s > 0:
        return 0.0
    return rate_per_s * (1 - quantile)


def next_step(
    goal: Goal, trials: Sequence[Trial], *, low_per_s: float, high_per_s: float, width: float
) -> Step:
    """The search decision: a pure function of the trials so far.

    Args:
        goal: when a load counts as sustained.
        trials: all so far, in any order.
        low_per_s: the lowest load worth trying.
        high_per_s: the highest.
        width: relative; done when upper / lower <= 1 + width.
    """
    by_rate: dict[float, list[Trial]] = {}
    for trial in trials:
        by_rate.setdefault(trial.rate_per_s, []).append(trial)
    judged = {rate: classify(goal, tried) for rate, tried in by_rate.items()}
    classes = {rate: _settled(found, by_rate[rate]) for rate, found in judged.items()}
    failed = min((rate for rate, each in judged.items() if each == "upper"), default=None)
    upper = min((rate for rate, each in classes.items() if each == "upper"), default=None)
    below = math.inf if upper is None else upper
    passed = [rate for rate, each in classes.items() if each == "lower" and rate < below]
    lower = max(passed, default=None)
    known = Step(lower, upper, None, failed_per_s=failed)
    if _is_done(lower, upper, low_per_s, high_per_s, width):
        return known
    between = [
        rate
        for rate, each in classes.items()
        if each == "undecided" and (lower or 0.0) < rate < below
    ]
    if between:
        middle = _middle(lower or low_per_s, upper or high_per_s)
        again = min(between, key=lambda rate: abs(math.log(rate / middle)))
        return replace(known, next_per_s=again, repeats=True)
    if lower is None:
        return replace(known, next_per_s=low_per_s)
    if upper is None:
        return replace(known, next_per_s=high_per_s)
    return replace(known, next_per_s=_middle(lower, upper))


def _settled(found: Class, trials: Sequence[Trial]) -> Class:
    return "upper" if found == "undecided" and len(trials) >= MOST_REPEATS else found


def _is_done(
    lower: float | None, upper: float | None, low_per_s: float, high_per_s: float, width: float
) -> bool:
    if lower is not None and lower >= high_per_s * (1 - _SAME_LOAD):
        return True
    if lower is None:
        return upper is not None and upper <= low_per_s * (1 + _SAME_LOAD)
    return upper is not None and upper <= lower * (1 + width)


def _middle(lower: float, upper: float) -> float:
    return math.sqrt(lower * upper)


def _sum_s(trials: Iterable[Trial], *, low_loss: bool) -> float:
    return sum(trial.duration_s for trial in trials if trial.low_loss is low_loss)
