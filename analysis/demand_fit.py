"""A weighted linear fit with coefficients >= 0, and intervals that hold for few observations.

    y_t = sum_j x_tj b_j + error_t,    b_j >= 0,    weights w_t = 1 / expected y_t

The spread of the CPU used by n calls grows like sqrt(n), hence the weights. They need not be right:
standard errors are from the residuals themselves (HC2), of the fit without the bounds,

    var(l'b) = sum_t a_t^2 r_t^2 / (1 - h_t),    a = the estimate's weights of y_t, h = leverages

and t has the Satterthwaite degrees of freedom of that variance (Bell and McCaffrey 2002), which are
few where few observations decide. The bounds only move the estimate: the fit without them has no
bias, so its interval covers the truth at a bound too.

A ratio (c - b_0) / d, the x at which b_0 + d x reaches c, has Fieller's interval: all x for which
b_0 + d x = c is not refuted. It is open when d itself may be 0.

Sources: MacKinnon and White, J. Econometrics 29 (1985) 305 (HC2); Bell and McCaffrey, Survey
Methodology 28 (2002) 169; Imbens and Kolesar, Rev. Econ. Stat. 98 (2016) 701 (how well it covers);
Fieller, J. R. Stat. Soc. B 16 (1954) 175.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from analysis.calls import Floats

CONFIDENCE = 0.95
_LEAST_EXPECTED = 0.1  # of the mean: no period counts more than ten times a usual one
_HIGHEST_LEVERAGE = 1 - 1e-9  # an observation that alone decides a coefficient has no residual


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The fit of n observations; arrays of (coefficients,) or (n, coefficients)."""

    bounded: Floats
    free: Floats
    _inverse: Floats  # of the triangular factor: maps factors to the columns of _basis
    _basis: Floats  # orthonormal, of the weighted and scaled columns
    _scales: Floats
    _residuals: Floats  # weighted
    _leverages: Floats

    @property
    def highest_leverage(self) -> float:
        """0..1; near 1 a coefficient follows a single observation."""
        return float(self._leverages.max())

    def interval(self, factors: Floats) -> tuple[float, float, float]:
        """The sum of the coefficients times `factors`, and the ends of its 95 % interval.

        Only the sum keeps to the bounds: the interval may go below 0, and may not hold the sum.
        """
        middle = float(factors @ self.free)
        reach = self.quantile(factors) * float(np.sqrt(self.covariance(factors, factors)))
        return float(factors @ self.bounded), middle - reach, middle + reach

    def covariance(self, one: Floats, other: Floats) -> float:
        """Of two combinations."""
        spread = self._residuals**2 / (1 - self._leverages)
        return float((self._pull(one) * self._pull(other)) @ spread)

    def quantile(self, factors: Floats) -> float:
        """Of t, for the interval of a combination."""
        pull = self._pull(factors)
        scaled = pull**2 / (1 - self._leverages)
        if not scaled.any():
            return float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
        crossed = self._basis.T @ (scaled[:, None] * self._basis)
        square = float(scaled**2 @ (1 - 2 * self._leverages) + (crossed**2).sum())
        freedom = float(pull @ pull) ** 2 / max(square, 1e-300)
        return float(stats.t.ppf(0.5 + CONFIDENCE / 2, max(freedom, 1.0)))

    def _pull(self, factors: Floats) -> Floats:
        """How the combination changes with each weighted observation."""
        return np.asarray(self._basis @ (self._inverse.T @ (factors / self._scales)))


def fit(matrix: Floats, target: Floats) -> Fit:
    """Fit twice: the first time only to learn the weights.

    Args:
        matrix: (n, coefficients), of full column rank.
        target: (n,).
    """
    expected = matrix @ bounded_fit(matrix, target)
    floor = max(_LEAST_EXPECTED * float(expected.mean()), 1e-12)
    root = 1 / np.sqrt(np.maximum(expected, floor))
    weighted, wanted = matrix * root[:, None], target * root
    scales = _lengths(weighted)
    basis, triangle = np.linalg.qr(weighted / scales)
    inverse = np.linalg.inv(triangle)
    free = inverse @ (basis.T @ wanted) / scales
    return Fit(
        bounded=bounded_fit(weighted, wanted),
        free=free,
        _inverse=inverse,
        _basis=basis,
        _scales=scales,
        _residuals=wanted - weighted @ free,
        _leverages=np.minimum((basis**2).sum(axis=1), _HIGHEST_LEVERAGE),
    )


def bounded_fit(matrix: Floats, target: Floats) -> Floats:
    """Coefficients >= 0 by least squares, all weights alike; for any columns."""
    lengths = _lengths(matrix)
    solution, _ = optimize.nnls(matrix / lengths, target)
    return np.asarray(solution / lengths, dtype=np.float64)


def condition_number(matrix: Floats) -> float:
    """After scaling every column to length 1."""
    return float(np.linalg.cond(matrix / _lengths(matrix)))


def crossing(
    found: Fit, slope: Floats, offset: Floats, level: float
) -> tuple[float, float, float | None]:
    """The x >= 0 at which `offset` + `slope` x reaches `level`, with its 95 % interval.

    Args:
        found: the fit both are combinations of.
        slope: factors of the coefficients that make the slope.
        offset: and those that make the value at x = 0.
        level: to be reached.

    Returns:
        Estimate, low end and high end; None where no upper limit can be told. The estimate is
        infinite when the slope is 0.
    """
    rise, start = float(slope @ found.bounded), float(offset @ found.bounded)
    value = max(level - start, 0.0) / rise if rise > 0 else np.inf
    at_estimate = slope * value + offset if np.isfinite(value) else slope
    square_t = found.quantile(at_estimate) ** 2
    free_rise, missing = float(slope @ found.free), level - float(offset @ found.free)
    # All x with (rise x - missing)^2 <= t^2 var(rise x + start): a x^2 - 2 b x + c <= 0.
    a = free_rise**2 - square_t * found.covariance(slope, slope)
    b = free_rise * missing + square_t * found.covariance(slope, offset)
    c = missing**2 - square_t * found.covariance(offset, offset)
    if b**2 < a * c:  # every x will do
        return value, 0.0, None
    roots = sorted(np.roots([a, -2 * b, c]).real) if a else [c / (2 * b)] if b else []
    if a > 0:
        return value, float(min(max(roots[0], 0.0), value)), float(max(roots[-1], value))
    low = max((root for root in roots if 0 < root <= value), default=0.0)
    return value, float(low), None


def _lengths(matrix: Floats) -> Floats:
    lengths = np.linalg.norm(matrix, axis=0)
    return np.where(lengths > 0, lengths, 1.0)
