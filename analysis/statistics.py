"""Estimates with intervals: percentiles, and means of durations known only within bounds.

Percentiles are by nearest rank with distribution-free intervals.

    value     x_(r), the r-th smallest of n values, r = ceil(p n)
    interval  [x_(l), x_(u)] with l the largest and u the smallest rank for which
              P(B < l) <= alpha/2 and P(B >= u) <= alpha/2, B ~ Binomial(n, p)

The interval exists from n = ln(alpha/2) / ln(max(p, 1-p)) on: 72 values for p95, 368 for p99, 3688
for p99.9 at 95 %. A value is given from n = 1/(1-p) on; below, its rank is merely the largest.

Source: order statistics, e.g. David and Nagaraja, Order Statistics, 7.1. Assumes that calls are
independent; within a run they are correlated, so intervals are somewhat too narrow.

The mean of a few durations of which each is known only to lie between two times.

Durations are taken as normal with mean mu and standard deviation sigma. With l_i < x_i <= h_i

    L(mu, sigma) = prod_i [Phi((h_i - mu)/sigma) - Phi((l_i - mu)/sigma)]

and the posterior of mu is L summed over sigma with weight 1/sigma, from a twentieth of the mean
width of the bounds (less cannot be told) to twenty times all that was seen; flat in mu. Durations
that all lie between the same bounds leave mu anywhere between them, however many they are: the
midpoints would feign a precision that is not there. Durations that spread over several bounds give
nearly Student's interval of their midpoints.

Source: interval censoring as in J. F. Lawless, Statistical Models and Methods for Lifetime Data,
2003, chapter 2; with weight 1/sigma and exact values the interval is Student's.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import scipy  # its parts load when used: every load process would pay for them
from numpy.typing import NDArray

from mwaa_headroom.analysis.findings import Finding, refusal, warning

Floats = NDArray[np.float64]
Known = TypeVar("Known")

CONFIDENCE: Final = 0.95
Z95: Final = 1.959963984540054  # of the normal distribution, at (1 + CONFIDENCE) / 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its confidence interval, or a refusal (value None, reason in warnings)."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    confidence: float = CONFIDENCE
    warnings: tuple[Finding, ...] = ()


def known(values: Iterable[Known | None]) -> list[Known]:
    """Those that are not None."""
    return [value for value in values if value is not None]


def mean_of(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return sum(values) / len(values) if values else None


def is_lower_bound(estimate: Estimate) -> bool:
    """Whether calls were cut at a time limit, so that it may be more."""
    return any(each.code == "percentile.lower_bound" for each in estimate.warnings)


def t_quantile(freedom: float, confidence: float = CONFIDENCE) -> float:
    """Half the width, in standard errors, of a two-sided interval by Student's t."""
    return float(scipy.special.stdtrit(freedom, (1 + confidence) / 2))


_MOST_CORRELATED = 0.9
_FEWEST_FOR_CORRELATION = 5


def inflation(*series: Floats) -> float:
    """(1 + phi) / (1 - phi) of residuals: how much more their sum varies than independent ones."""
    spread = sum(float(each @ each) for each in series)
    count = float(np.mean([len(each) for each in series]))
    if count < _FEWEST_FOR_CORRELATION or spread <= 0:
        return 1.0
    phi = sum(float(each[1:] @ each[:-1]) for each in series) / spread
    phi = min(max((count * phi + 1) / (count - 3), 0.0), _MOST_CORRELATED)
    return (1 + phi) / (1 - phi)


_ROUNDING = 1e-9  # 0.07 * 100 is a little more than 7 in binary


def percentile(values: Floats, percent: float, *, censored: int = 0) -> Estimate:
    """The `percent`-th percentile of `values`, in their unit; see `percentiles`."""
    return percentiles(values, (percent,), censored=censored)[percent]


def percentiles(
    values: Floats, percents: Sequence[float], *, censored: int = 0
) -> dict[float, Estimate]:
    """Several percentiles of the same values, in their unit.

    Args:
        values: finite numbers in any order.
        percents: each between 0 and 100, both excluded.
        censored: how many of the values were cut at a time limit, hence are too small.
    """
    count = len(values)
    ranks = {
        percent: _ranks(count, percent)
        for percent in percents
        if count >= values_for_percentile(percent)
    }
    at_rank = _values_at({rank for found in ranks.values() for rank in found}, values)
    return {
        percent: _estimate(percent, count, [at_rank[rank] for rank in ranks[percent]], censored)
        if percent in ranks
        else _refused(percent, count)
        for percent in percents
    }


def value_at_rank(values: Floats, percent: float) -> float:
    """The `percent`-th percentile alone, of at least one value, however few they are."""
    rank = nearest_rank(len(values), percent)
    return _values_at({rank}, values)[rank]


def nearest_rank(count: int, percent: float) -> int:
    """The rank, from 1, of a percentile among `count` ordered values."""
    return min(count, max(1, math.ceil(percent / 100 * count - _ROUNDING)))


def interval_ranks(count: int, percent: float) -> tuple[int, int] | None:
    """Ranks, from 1, of the interval's ends; None: too few values for one."""
    tail = (1 - CONFIDENCE) / 2
    low = _binomial_quantile(tail, count, percent / 100)
    high = _binomial_quantile(1 - tail, count, percent / 100) + 1
    return (low, high) if low >= 1 and high <= count else None


def _binomial_quantile(share: float, count: int, chance: float) -> int:
    """The least number of successes that at least this share of trials does not exceed."""
    found = math.ceil(scipy.special.bdtrik(share, count, chance))
    before = max(found - 1, 0)  # where the inverse is a little too large
    return before if scipy.special.bdtr(before, count, chance) >= share else found


def values_for_percentile(percent: float) -> int:
    """How many values make the rank of a percentile more than an extreme."""
    rarer = min(percent, 100 - percent) / 100
    return math.ceil(1 / rarer - _ROUNDING)


def values_for_interval(percent: float) -> int:
    """How many values an interval needs."""
    commoner = max(percent, 100 - percent) / 100
    return math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(commoner) - _ROUNDING)


def _ranks(count: int, percent: float) -> tuple[int, ...]:
    """Of the value, then of the interval's ends where there is one."""
    return (nearest_rank(count, percent), *(interval_ranks(count, percent) or ()))


def _values_at(ranks: Iterable[int], values: Floats) -> dict[int, float]:
    # Of millions of values, putting a few into their place is much faster than sorting all.
    places = sorted(rank - 1 for rank in ranks)
    ordered = np.partition(values, places) if places else values
    return {place + 1: float(ordered[place]) for place in places}


def _estimate(percent: float, count: int, found: Sequence[float], censored: int) -> Estimate:
    value, *ends = found
    warnings = []
    if censored > count - nearest_rank(count, percent):
        warnings.append(warning("percentile.lower_bound", percent=percent, cut_calls=censored))
    if not ends:
        needed = values_for_interval(percent)
        warnings.append(
            warning("percentile.no_interval", percent=percent, needed=needed, calls=count)
        )
    return Estimate(
        value=value,
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        n=count,
        confidence=CONFIDENCE,
        warnings=tuple(warnings),
    )


def _refused(percent: float, count: int) -> Estimate:
    needed = values_for_percentile(percent)
    why = refusal("percentile.few_calls", percent=percent, needed=needed, calls=count)
    return Estimate(value=None, n=count, warnings=(why,))


_MEANS = 401
_SPREADS = 40
_REACH = np.arcsinh(75.0)  # of the means looked at, around the midpoints, in half ranges
_LEAST_LIKELIHOOD = 1e-300
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class MeanWithin:
    """What is known of a mean: candidates in order, and how probable each is."""

    candidates: Floats
    weights: Floats

    def quantiles(self, levels: Floats, *, added: Floats | None = None) -> Floats:
        """Quantiles of the mean, or of its sum with the mean of values that are known exactly.

        Args:
            levels: each between 0 and 1.
            added: at least two independent values; the error of their mean is Student's.
        """
        if added is None:
            return np.interp(levels, _middle_sums(self.weights), self.candidates)
        mean = float(added.mean())
        error = float(added.std(ddof=1)) / np.sqrt(len(added))
        if error == 0:
            return mean + self.quantiles(levels)
        likely = self.weights > _NEGLIGIBLE
        candidates, weights = mean + self.candidates[likely], self.weights[likely]

        def below(total: float, level: float) -> float:
            share = scipy.special.stdtr(len(added) - 1, (total - candidates) / error) @ weights
            return float(share / weights.sum()) - level

        # At these ends every candidate is past the outermost levels.
        reach = error * scipy.special.stdtrit(
            len(added) - 1, 1 - min(levels.min(), 1 - levels.max())
        )
        ends = candidates[0] - reach, candidates[-1] + reach
        return np.array([scipy.optimize.brentq(below, *ends, args=(level,)) for level in levels])


def mean_within(low: Floats, high: Floats) -> MeanWithin:
    """The mean of the distribution that durations come from.

    Args:
        low: each duration is above this.
        high: and not above this, which is more than `low`.
    """
    bounds, times = np.unique(np.stack([low, high]), axis=1, return_counts=True)
    half_range = (high.max() - low.min()) / 2
    middle = float((low + high).mean() / 2)
    means = middle + half_range * np.sinh(np.linspace(-_REACH, _REACH, _MEANS))
    spreads = np.geomspace((high - low).mean() / 20, 40 * half_range, _SPREADS)[:, None]
    likelihood = np.zeros((_SPREADS, _MEANS))
    for (from_s, to_s), count in zip(bounds.T, times, strict=True):
        inside = scipy.special.ndtr((to_s - means) / spreads) - scipy.special.ndtr(
            (from_s - means) / spreads
        )
        likelihood += count * np.log(np.maximum(inside, _LEAST_LIKELIHOOD))
    # Steps of sigma are alike on the logarithm, which is the weight 1/sigma.
    density = np.exp(likelihood - likelihood.max()).sum(axis=0)
    weights = density * np.gradient(means)
    return MeanWithin(means, weights / weights.sum())


def _middle_sums(weights: Floats) -> Floats:
    """Probability below each candidate, counting half of its own."""
    return np.cumsum(weights) - weights / 2
