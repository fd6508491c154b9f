"""How probable it is that an estimated quantity is at least so large.

The estimate's interval is read as that of a distribution on the logarithm, with its median at the
value and on either side the spread that puts its end where the interval ends:

    P(X >= x) = 1 - F( q ln(x / v) / |ln(e / v)| ),   e = low for x < v, else high

v value, q = F^-1(0.975), F the normal distribution, or Student's t for an interval over few runs.
So the probability is 97.5 % at the lower end and 2.5 % at the upper one, whatever F. An end that is
not known (a lower one of 0 says as little) leaves everything beyond the value at one half.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.estimate import Estimate

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Belief:
    """A positive quantity as it is known.

    Attributes:
        value: the median.
        low: of the 95 % interval; None or 0: not known.
        high: of the 95 % interval; None: not known.
        freedom: degrees of freedom; infinite: normal.
    """

    value: float
    low: float | None
    high: float | None
    freedom: float = math.inf

    def at_least(self, amount: ArrayLike) -> Floats:
        """Probability that the quantity is no smaller, for each amount (0 or above)."""
        x = np.asarray(amount, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.log(x / self.value)
            below, above = self._width(self.low), self._width(self.high)
            widths = np.where(distance < 0, below, above)
            # A width of 0 is certainty, except at the value itself, which is reached.
            scaled = np.where(distance == 0, -0.0 if below else -np.inf, distance / widths)
        q = float(_quantile(self.freedom))
        survival = stats.norm.sf if math.isinf(self.freedom) else stats.t(self.freedom).sf
        return np.where(x <= 0, 1.0, survival(q * scaled))

    def at_least_at_most(self, amount: ArrayLike) -> Floats:
        """The highest that probability can be: 1 below the value when the low end is not known."""
        x = np.asarray(amount, dtype=np.float64)
        silent = (x < self.value) & (not self.low)
        return np.where(silent, 1.0, self.at_least(x))

    def times(self, factor: float) -> "Belief":
        """The same of a multiple of the quantity."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Belief(self.value * factor, low, high, self.freedom)

    def _width(self, end: float | None) -> float:
        if end is None or end <= 0:
            return math.inf
        return abs(math.log(end / self.value))


def belief_of(estimate: Estimate | None, freedom: float = math.inf) -> Belief | None:
    """What a 95 % interval says; None when there is no value above 0."""
    if estimate is None or not estimate.value or estimate.value <= 0:
        return None
    return Belief(estimate.value, estimate.low, estimate.high, freedom)


def _quantile(freedom: float) -> float:
    if math.isinf(freedom):
        return float(stats.norm.ppf(0.975))
    return float(stats.t.ppf(0.975, freedom))
