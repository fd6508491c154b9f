"""How capacity grows with webservers: the gain of each, and one number for what they share.

    gain            d = (c_b - c_a) / (n_b - n_a)
    its interval    d - sqrt((c_b - l_b)^2 + (u_a - c_a)^2) / (n_b - n_a) and likewise upwards
    Amdahl          c(n) = c_1 S(n),   S(n) = n / (1 + sigma (n - 1))

c, l, u capacity and its interval's ends at n webservers. c_1 and sigma are the least squares fit on
the logarithm, weighted by the intervals; the interval of sigma comes from 1000 draws (fixed seed)
of all capacities, log-normal with those intervals. Amdahl's sigma is a share, 0 to 1; a negative
one is let in, down to -1 / (2 (n - 1)) for the most webservers n, and means that capacity grows
faster than their number: a call more often finds an idle webserver the more there are.

Sources: Zou and Donner, Stat. Med. 27 (2008) 1693 (interval of a difference); Amdahl, AFIPS 1967.
"""

import math
from collections.abc import Mapping

import numpy as np

from analysis.calls import Floats
from analysis.capacity.results import AmdahlFit
from analysis.estimate import Estimate

FEWEST_COUNTS = 3
_DRAWS = 1000
_GRID = 1001
_Z = 1.959964


def gain(fewer: int, of_fewer: Estimate, more: int, of_more: Estimate) -> Estimate | None:
    """Capacity that each webserver adds between two counts; None when one has no capacity."""
    if of_fewer.value is None or of_more.value is None:
        return None
    added = of_more.value - of_fewer.value
    low = _end(of_more.value, of_more.low, of_fewer.value, of_fewer.high)
    high = _end(of_more.value, of_more.high, of_fewer.value, of_fewer.low)
    steps = more - fewer
    return Estimate(
        value=added / steps,
        low=None if low is None else (added - low) / steps,
        high=None if high is None else (added + high) / steps,
        n=of_fewer.n + of_more.n,
    )


def fit_amdahl(capacities: Mapping[int, Estimate]) -> AmdahlFit | None:
    """The contention between webservers; None when fewer than three counts have an interval.

    Args:
        capacities: by webserver count.
    """
    known = {
        count: each
        for count, each in sorted(capacities.items())
        if each.value is not None and each.low and each.high is not None
    }
    if len(known) < FEWEST_COUNTS:
        return None
    counts = np.array(list(known), dtype=np.float64)
    logs = np.log([each.value or 0.0 for each in known.values()])
    errors = np.array(
        [math.log((each.high or 0.0) / (each.low or 1.0)) / (2 * _Z) for each in known.values()]
    )
    errors = np.maximum(errors, 1e-6)
    draws = logs + errors * np.random.default_rng(0).standard_normal((_DRAWS, len(logs)))
    scales, contentions = _fit(counts, np.vstack([logs, draws]), errors)
    sigma = float(contentions[0])
    low, high = np.percentile(contentions[1:], [2.5, 97.5])
    contention = Estimate(
        value=sigma, low=min(float(low), sigma), high=max(float(high), sigma), n=len(known)
    )
    return AmdahlFit(float(np.exp(scales[0])), contention, _explained(contention))


def amdahl_capacity(fit: AmdahlFit, webservers: Floats) -> Floats:
    """c(n) by the fit."""
    return fit.rate_of_one_per_s * _growth(webservers, fit.contention.value or 0.0)


def _end(more: float, end: float | None, fewer: float, other: float | None) -> float | None:
    return None if end is None or other is None else math.hypot(end - more, other - fewer)


def _growth(webservers: Floats | float, sigma: Floats | float) -> Floats:
    return np.asarray(webservers / (1 + sigma * (np.asarray(webservers) - 1)), dtype=np.float64)


def _fit(counts: Floats, logs: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Logarithm of c_1 and the best contention on a grid for every row of logarithms."""
    contentions = np.linspace(-0.5 / (counts[-1] - 1), 1.0, _GRID)
    growth = np.log(_growth(counts[:, None], contentions))  # (counts, contentions)
    weights = 1 / errors**2
    weights /= weights.sum()
    # For a given contention the best ln c_1 is the mean of what is left; what is left beside it:
    level, mean = weights @ growth, logs @ weights
    varied = growth - level
    misfit = weights @ varied**2 - 2 * ((logs - mean[:, None]) * weights) @ varied
    best = misfit.argmin(axis=1)
    return mean - level[best], contentions[best]


def _explained(contention: Estimate) -> str:
    value, low, high = contention.value or 0.0, contention.low or 0.0, contention.high or 0.0
    if low <= 0 <= high:
        return (
            "Every webserver adds as much as the first, as far as can be told: contention is at "
            f"most {high:.2g}."
        )
    if high < 0:
        return (
            "Capacity grows faster than the webservers, for a call finds an idle one more often "
            "the more there are."
        )
    return f"A share of {value:.2g} of the work of a call does not get faster by more webservers."
