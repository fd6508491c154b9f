"""What so many runs can tell: the smallest change they would find, and how many would do.

    found when   lower end of the interval > margin, or upper end < margin for "no regression"
    lower end    = true shift + s L,  L that of m and n standard normal values without any shift
    detectable   = margin + s c,  c = -(20th percentile of L), so that 80 % of comparisons find it
    needed       smallest n with s c(n, n) <= margin: 80 % of comparisons without any change pass,
                 and so many changes of twice the margin are found

s is the run-to-run standard deviation, taken from the runs at hand and hence itself uncertain (by
a third with 5 on each side). L is simulated with a fixed seed, once for each m and n, because for
few values the interval goes in large steps that no formula for many values knows. Assumes that
runs vary normally (on the logarithm, for ratios).
Source: shift equivariance of the Hodges-Lehmann interval; Lehmann, Nonparametrics, 1975, 2.3.
"""

import math
from functools import lru_cache

import numpy as np

from analysis.calls import Floats
from analysis.comparison.rank_tests import interval_rank

POWER = 0.8
MOST_RUNS = 50  # per side; above, nobody runs them
_REPLICATES = 1000
_FEWEST = 3


def spread(x: Floats, y: Floats) -> float:
    """Pooled standard deviation within the sides, in their unit; needs two values on one side."""
    freedom = len(x) + len(y) - 2
    squares = sum(float(((side - side.mean()) ** 2).sum()) for side in (x, y))
    return math.sqrt(squares / freedom)


def detectable_shift(m: int, n: int, spread_: float, margin: float, tail: float) -> float | None:
    """The smallest true shift that is found to be above `margin` 4 times out of 5.

    Args:
        m: values on one side.
        n: values on the other.
        spread_: standard deviation of either side.
        margin: in the same unit.
        tail: left out by the interval at its lower end.

    Returns:
        None when m and n values can find none.
    """
    factor = _spreads_below(m, n, tail)
    return None if factor is None else margin + spread_ * factor


def runs_needed(spread_: float, margin: float, tail: float) -> int | None:
    """Values per side with which no shift passes 4 times out of 5; None: more than `MOST_RUNS`."""
    low, high = _FEWEST, MOST_RUNS
    if not _is_enough(high, spread_, margin, tail):
        return None
    while low < high:
        middle = (low + high) // 2
        if _is_enough(middle, spread_, margin, tail):
            high = middle
        else:
            low = middle + 1
    return low


def _is_enough(count: int, spread_: float, margin: float, tail: float) -> bool:
    factor = _spreads_below(count, count, tail)
    return factor is not None and spread_ * factor <= margin


@lru_cache
def _spreads_below(m: int, n: int, tail: float) -> float | None:
    """The c of the module's docstring; None: no interval."""
    k = interval_rank(m, n, tail)
    if not k:
        return None
    random = np.random.default_rng(0)
    x = random.standard_normal((_REPLICATES, m, 1))
    y = random.standard_normal((_REPLICATES, 1, n))
    differences = (y - x).reshape(_REPLICATES, m * n)
    lower_ends = np.partition(differences, k - 1, axis=1)[:, k - 1]
    return float(-np.quantile(lower_ends, 1 - POWER))
