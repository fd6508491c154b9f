"""Where the level of a series of runs changed: E-divisive means.

    Q(tau, k) = m n / (m + n)
                [ 2/(m n) sum |X - Y| - sum |X - X'| / C(m,2) - sum |Y - Y'| / C(n,2) ]

X the m values before tau, Y the n values from tau up to k, sums over pairs; X' another value of X.
The tau of the largest Q splits the series when fewer than `level` of its random orders have a
Q as large; then both halves are looked at by themselves, until nothing splits. Random orders
come from a fixed seed: the same series has the same change points. They make the test exact
without any assumption about the distribution, which a t test after choosing the best tau is not.

A change is seen from 3 runs on either side. Below 15 runs nothing is said: compare two sets then.
Sources: Matteson and James, J. Am. Stat. Assoc. 109 (2014) 334; Daly et al., ICPE 2020 (its use for
performance tests); Besag and Clifford, Biometrika 78 (1991) 301 (stopping early). Assumes that the
runs between two changes are independent and alike; a slow drift becomes a stair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from analysis.calls import Floats

FEWEST_VALUES = 15
FEWEST_ON_A_SIDE = 3
ORDERS = 1999


@dataclass(frozen=True, slots=True)
class Split:
    """The level is another from `index` on."""

    index: int
    p: float


def change_points(values: Sequence[float], level: float) -> tuple[Split, ...]:
    """Where the level of `values`, in the order of time, changed; nothing below 15 of them.

    Args:
        values: finite, one a run; logarithms where ratios matter.
        level: 0..1, the share of series without any change in which one is found.
    """
    if len(values) < FEWEST_VALUES:
        return ()
    found: list[Split] = []
    segments = [(0, len(values))]
    while segments:
        begin, end = segments.pop()
        split = _best_split(np.asarray(values[begin:end], dtype=np.float64), level)
        if split is not None:
            at = begin + split.index
            found.append(Split(at, split.p))
            segments += [(begin, at), (at, end)]
    return tuple(sorted(found, key=lambda each: each.index))


def _best_split(values: Floats, level: float) -> Split | None:
    if len(values) < 2 * FEWEST_ON_A_SIDE:
        return None
    distances = np.abs(np.subtract.outer(values, values))
    index, q = _largest_q(distances)
    if q <= 0:
        return None
    p = _share_as_large(distances, q, level)
    return Split(index, p) if p <= level else None


def _share_as_large(distances: Floats, q: float, level: float) -> float:
    """The p value; stops as soon as it is sure to be above `level`."""
    random = np.random.default_rng(0)
    as_large = 0
    for _ in range(ORDERS):
        order = random.permutation(len(distances))
        as_large += _largest_q(distances[np.ix_(order, order)])[1] >= q * (1 - 1e-12)
        if as_large + 1 > level * (ORDERS + 1):
            break
    return (as_large + 1) / (ORDERS + 1)


def _largest_q(distances: Floats) -> tuple[int, float]:
    """The tau of the largest Q over all tau and k, and that Q."""
    grid = _grid(len(distances))
    # sums[i, j]: of the distances of the first i values to the first j
    sums = np.zeros((len(distances) + 1, len(distances) + 1))
    sums[1:, 1:] = distances.cumsum(axis=0).cumsum(axis=1)
    own, across, ends = sums[grid.tau, grid.tau], sums[grid.tau, grid.k], sums[grid.k, grid.k]
    between = 2 * (across - own) * grid.per_pair
    within = own * grid.per_x + (ends - 2 * across + own) * grid.per_y
    q = grid.weight * (between - within)
    best = int(q.argmax())
    return int(grid.tau[best]), float(q[best])


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Every tau and k of a series of one length, with the factors that depend on them alone."""

    tau: NDArray[np.int64]
    k: NDArray[np.int64]
    per_pair: Floats
    per_x: Floats
    per_y: Floats
    weight: Floats


@lru_cache(maxsize=64)
def _grid(size: int) -> _Grid:
    tau, k = np.array(
        [
            (tau, k)
            for tau in range(FEWEST_ON_A_SIDE, size - FEWEST_ON_A_SIDE + 1)
            for k in range(tau + FEWEST_ON_A_SIDE, size + 1)
        ]
    ).T
    m, n = tau, k - tau
    return _Grid(tau, k, 1 / (m * n), 1 / (m * (m - 1)), 1 / (n * (n - 1)), m * n / (m + n))
