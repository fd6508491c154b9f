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

import numpy as np

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
    size = len(distances)
    # sums[i, j]: of the distances of the first i values to the first j
    sums = np.zeros((size + 1, size + 1))
    sums[1:, 1:] = distances.cumsum(axis=0).cumsum(axis=1)
    tau = np.arange(FEWEST_ON_A_SIDE, size - FEWEST_ON_A_SIDE + 1)[:, None]
    k = np.arange(2 * FEWEST_ON_A_SIDE, size + 1)[None, :]
    m, n = tau, np.maximum(k - tau, FEWEST_ON_A_SIDE)
    own, ends, across = sums[tau, tau], sums[k, k], sums[tau, k]
    between = 2 * (across - own) / (m * n)
    within_x = own / (m * (m - 1))
    within_y = (ends - 2 * across + own) / (n * (n - 1))
    q = np.where(k - tau >= FEWEST_ON_A_SIDE, m * n / (m + n) * (between - within_x - within_y), 0)
    row, column = np.unravel_index(int(q.argmax()), q.shape)
    return int(tau[row, 0]), float(q[row, column])
