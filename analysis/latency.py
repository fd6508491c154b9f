"""Percentiles by nearest rank with distribution-free intervals.

    value     x_(r), the r-th smallest of n values, r = ceil(p n)
    interval  [x_(l), x_(u)] with l the largest and u the smallest rank for which
              P(B < l) <= alpha/2 and P(B >= u) <= alpha/2, B ~ Binomial(n, p)

The interval exists from n = ln(alpha/2) / ln(max(p, 1-p)) on: 72 values for p95, 368 for p99, 3688
for p99.9 at 95 %. A value is given from n = 1/(1-p) on; below, its rank is merely the largest.

Source: order statistics, e.g. David and Nagaraja, Order Statistics, 7.1. Assumes that calls are
independent; within a run they are correlated, so intervals are somewhat too narrow.
"""

import math

import numpy as np
from scipy import stats

from analysis.calls import Floats
from analysis.results import Estimate

CONFIDENCE = 0.95
LOWER_BOUND = "is a lower bound"  # in the warning of a percentile among calls that were cut
_ROUNDING = 1e-9  # 0.07 * 100 is a little more than 7 in binary


def percentile(values: Floats, percent: float, *, censored: int = 0) -> Estimate:
    """The `percent`-th percentile of `values`, in their unit.

    Args:
        values: finite numbers in any order.
        percent: between 0 and 100, both excluded.
        censored: how many of the values were cut at a time limit, hence are too small.
    """
    count = len(values)
    needed = values_for_percentile(percent)
    if count < needed:
        return Estimate(
            value=None,
            n=count,
            warnings=(f"p{percent:g} needs at least {needed} calls, there are {count}.",),
        )
    ordered = np.sort(values)
    rank = nearest_rank(count, percent)
    warnings = []
    if censored > count - rank:
        warnings.append(
            f"p{percent:g} {LOWER_BOUND}: {censored} calls were cut at their time limit."
        )
    ranks = interval_ranks(count, percent)
    if ranks is None:
        warnings.append(
            f"An interval for p{percent:g} needs {values_for_interval(percent)} calls, "
            f"there are {count}."
        )
    return Estimate(
        value=float(ordered[rank - 1]),
        low=float(ordered[ranks[0] - 1]) if ranks else None,
        high=float(ordered[ranks[1] - 1]) if ranks else None,
        n=count,
        confidence=CONFIDENCE,
        warnings=tuple(warnings),
    )


def nearest_rank(count: int, percent: float) -> int:
    """The rank, from 1, of a percentile among `count` ordered values."""
    return min(count, max(1, math.ceil(percent / 100 * count - _ROUNDING)))


def interval_ranks(count: int, percent: float) -> tuple[int, int] | None:
    """Ranks, from 1, of the interval's ends; None: too few values for one."""
    tail = (1 - CONFIDENCE) / 2
    low = int(stats.binom.ppf(tail, count, percent / 100))
    high = int(stats.binom.ppf(1 - tail, count, percent / 100)) + 1
    return (low, high) if low >= 1 and high <= count else None


def values_for_percentile(percent: float) -> int:
    """How many values make the rank of a percentile more than an extreme."""
    rarer = min(percent, 100 - percent) / 100
    return math.ceil(1 / rarer - _ROUNDING)


def values_for_interval(percent: float) -> int:
    """How many values an interval needs."""
    commoner = max(percent, 100 - percent) / 100
    return math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(commoner) - _ROUNDING)
