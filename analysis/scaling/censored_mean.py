"""The mean of a few durations of which each is known only to lie between two times.

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

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from analysis.calls import Floats

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
            share = special.stdtr(len(added) - 1, (total - candidates) / error) @ weights
            return float(share / weights.sum()) - level

        # At these ends every candidate is past the outermost levels.
        reach = error * special.stdtrit(len(added) - 1, 1 - min(levels.min(), 1 - levels.max()))
        ends = candidates[0] - reach, candidates[-1] + reach
        return np.array([optimize.brentq(below, *ends, args=(level,)) for level in levels])


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
        inside = special.ndtr((to_s - means) / spreads) - special.ndtr((from_s - means) / spreads)
        likelihood += count * np.log(np.maximum(inside, _LEAST_LIKELIHOOD))
    # Steps of sigma are alike on the logarithm, which is the weight 1/sigma.
    density = np.exp(likelihood - likelihood.max()).sum(axis=0)
    weights = density * np.gradient(means)
    return MeanWithin(means, weights / weights.sum())


def _middle_sums(weights: Floats) -> Floats:
    """Probability below each candidate, counting half of its own."""
    return np.cumsum(weights) - weights / 2
