"""Exact two-sample inference by ranks, for the handful of values that runs give.

    U         pairs (x, y) with y > x, ties count half
    p         of U among all C(m+n, m) equally likely ways to deal the values out to the sides
    estimate  median of the m n differences y - x (Hodges-Lehmann)
    interval  [D_(k), D_(mn+1-k)] of the ordered differences, k the largest with
              P(U <= k-1) <= tail when nothing ties

The dealing out is of mid-ranks, so p is exact with ties too, where `scipy.stats.mannwhitneyu(
method="exact")` is not: it takes the null distribution without ties. The interval is that of the
values the two-sided test does not refuse; ties only make its coverage larger (Noether). On the
logarithms of positive values, differences are ratios (`metrics`).

Sources: Mann and Whitney, Ann. Math. Stat. 18 (1947) 50; Hodges and Lehmann, Ann. Math. Stat. 34
(1963) 598; Noether, J. Am. Stat. Assoc. 62 (1967) 184; Lehmann, Nonparametrics, 1975, 1.4 and 2.6.
Assumes that runs are independent, and that the sides differ by a shift.

What so many runs can tell: the smallest change they would find, and how many would do.

    found when   lower end of the interval > margin, or upper end < margin for "no regression"
    lower end    = true shift + s L,  L that of m and n standard normal values without any shift
    detectable   = margin + s c,  c = 80th percentile of -L / S, so that 80 % of comparisons find it
    needed       smallest n with s c(n, n) <= margin, S = 1: 80 % of comparisons without any change
                 pass, and so many changes of twice the margin are found

s is the run-to-run standard deviation, taken from the runs at hand and hence itself uncertain (by
a third with 5 on each side): S is what it comes out as, in another session, where 1 is true. L and
S are simulated with a fixed seed, once for each order of the runs, because for few values the
interval goes in large steps that no formula for many values knows. The sessions go through all
that decides: a drift that chance makes is taken off where the sides took turns (`run_order`).
Without turns it makes a session inconclusive: c is then that of the sessions in which none is
found. Assumes that runs vary normally (on the logarithm, for ratios), and that the change is in one
metric; one in several is found more often.
Source: shift equivariance of the Hodges-Lehmann interval; Lehmann, Nonparametrics, 1975, 2.3.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mwaa_headroom.analysis.comparison.run_order import Order, drifts_per_place
from mwaa_headroom.analysis.statistics import Floats

POWER = 0.8
MOST_RUNS = 50  # per side; above, nobody runs them
_FEWEST_RUNS = 3
_REPLICATES = 4000
_SESSIONS = 20_000  # so that 80 % is within 0.6 points
_SURELY_FOUND = 100.0  # standard deviations from place to place
_TOGETHER = 500  # of them at a time: bounds the memory
_SAME = 1e-9  # of a tail: sums of probabilities differ in their last digits


@dataclass(frozen=True, slots=True)
class Shift:
    """By how much y lies above x; without ends where the values are too few for an interval."""

    value: float
    low: float | None
    high: float | None


def p_above(x: Floats, y: Floats) -> float:
    """P(U >= observed) when both sides are alike: small when y lies above x."""
    doubled_ranks = _doubled_ranks(x, y)
    null = _rank_sum_null(tuple(sorted(doubled_ranks.tolist())), len(y))
    return float(null[doubled_ranks[len(x) :].sum() :].sum())


def p_different(x: Floats, y: Floats) -> float:
    """Two-sided p: twice the smaller tail."""
    return min(1.0, 2 * min(p_above(x, y), p_above(y, x)))


def shift(x: Floats, y: Floats, tail: float) -> Shift:
    """The Hodges-Lehmann estimate with the interval that leaves out `tail` at either end."""
    differences = np.sort(np.subtract.outer(y, x).ravel())
    k = interval_rank(len(x), len(y), tail)
    return Shift(
        value=float(np.median(differences)),
        low=float(differences[k - 1]) if k else None,
        high=float(differences[-k]) if k else None,
    )


@lru_cache
def interval_rank(m: int, n: int, tail: float) -> int:
    """The k of the module's docstring; 0: m and n values are too few for any interval."""
    null = _rank_sum_null(tuple(range(2, 2 * (m + n) + 1, 2)), n)
    cumulated = np.cumsum(null[n * (n + 1) :: 2])  # U = (doubled rank sum - n(n+1)) / 2
    return int(np.searchsorted(cumulated, tail + _SAME, side="right"))


def smallest_p(m: int, n: int) -> float:
    """The smallest one-sided p that m against n values can have, were they never so far apart."""
    return 1 / math.comb(m + n, m)


def fewest_per_side(tail: float) -> int:
    """How many values on either side can have a one-sided p of `tail`."""
    count = 1
    while smallest_p(count, count) > tail + _SAME:
        count += 1
    return count


def _doubled_ranks(x: Floats, y: Floats) -> NDArray[np.int64]:
    """Mid-ranks of x then y among all values, twice as large so that they are whole."""
    from scipy.stats import rankdata  # here, because it takes long and only comparisons need it

    ranks = rankdata(np.concatenate([x, y]))
    return np.asarray(np.rint(2 * ranks), dtype=np.int64)


@lru_cache(maxsize=256)
def _rank_sum_null(doubled_ranks: tuple[int, ...], chosen: int) -> Floats:
    """Probability of every sum of `chosen` of these whole numbers, each choice equally likely."""
    ways = np.zeros((chosen + 1, sum(doubled_ranks) + 1))
    ways[0, 0] = 1.0
    for rank in doubled_ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    return np.asarray(ways[chosen] / math.comb(len(doubled_ranks), chosen), dtype=np.float64)


def spread(x: Floats, y: Floats) -> float:
    """Pooled standard deviation within the sides, in their unit; needs two values on one side."""
    freedom = len(x) + len(y) - 2
    squares = sum(float(((side - side.mean()) ** 2).sum()) for side in (x, y))
    return math.sqrt(squares / freedom)


def detectable_shift(
    m: int,
    n: int,
    spread_: float,
    margin: float,
    tail: float,
    order: Order | None = None,
    *,
    drifts: bool = False,
) -> float | None:
    """The smallest true shift that is found to be above `margin` 4 times out of 5.

    Args:
        m: values on one side.
        n: values on the other.
        spread_: standard deviation of either side.
        margin: in the same unit.
        tail: left out by the interval at its lower end.
        order: of the runs behind the values; None: not known, so that no drift is looked for.
        drifts: whether there is a drift beyond chance, which is taken off.

    Returns:
        None when m and n values can find none.
    """
    factor = _spreads_found(m, n, tail, order, drifts=drifts)
    return None if factor is None else margin + spread_ * factor


def runs_needed(spread_: float, margin: float, tail: float) -> int | None:
    """Values per side with which no shift passes 4 times out of 5; None: more than `MOST_RUNS`."""
    low, high = _FEWEST_RUNS, MOST_RUNS
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
    factor = _spreads_passing(count, tail)
    return factor is not None and spread_ * factor <= margin


@lru_cache
def _spreads_found(
    m: int, n: int, tail: float, order: Order | None, *, drifts: bool
) -> float | None:
    """The c of the module's docstring; None: no interval."""
    k = interval_rank(m, n, tail)
    if not k:
        return None
    random = np.random.default_rng(0)
    drift = _SURELY_FOUND if drifts else 0.0
    sessions = [_decided(m, n, k, random, order, drift) for _ in range(_SESSIONS // _TOGETHER)]
    lower_ends, spreads = map(np.concatenate, zip(*sessions, strict=True))
    return float(np.quantile(-lower_ends / np.roll(spreads, 1), POWER))


@lru_cache
def _spreads_passing(count: int, tail: float) -> float | None:
    """The same where the true spread is known, so many on either side."""
    k = interval_rank(count, count, tail)
    if not k:
        return None
    random = np.random.default_rng(0)
    lower_ends = [_decided(count, count, k, random)[0] for _ in range(_REPLICATES // _TOGETHER)]
    return float(np.quantile(-np.concatenate(lower_ends), POWER))


def _decided(
    m: int,
    n: int,
    k: int,
    random: np.random.Generator,
    order: Order | None = None,
    drift: float = 0.0,
) -> tuple[Floats, Floats]:
    """Lower ends and spreads of sessions of standard normal values, of those that are decided."""
    values = np.hstack([random.standard_normal((_TOGETHER, count)) for count in (m, n)])
    if order:
        place = np.concatenate(order.places)
        found = drifts_per_place(values + drift * place, order.places)
        if order.takes_turns:
            values = values + np.where(np.isnan(found), 0.0, drift - found)[:, None] * place
        else:
            values = values[np.isnan(found)]
    x, y = values[:, :m], values[:, m:]
    differences = (y[:, :, None] - x[:, None, :]).reshape(len(values), m * n)
    squares = m * x.var(axis=1) + n * y.var(axis=1)
    return np.partition(differences, k - 1)[:, k - 1], np.sqrt(squares / (m + n - 2))
