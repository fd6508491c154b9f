"""The Universal Scalability Law: how much more work is done when more of it goes on at once.

    X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))
    N_max = sqrt((1 - sigma) / kappa), X_max = X(N_max)                   (none when kappa = 0)
    X_roof = lambda / sigma (were kappa 0),  N_opt = 1 / sigma

X work per second, N concurrency, lambda X of a concurrency of 1, sigma contention, kappa coherency
(what being coherent costs each pair).

Fit: non-linear least squares, lambda >= 0, 0 <= sigma, kappa <= 1. It starts from non-negative
least squares in 1 / lambda, sigma / lambda, kappa / lambda, in which N / X is linear. Intervals:
estimate +- t(0.975, n - 3) SE, SE from RSS / (n - 3) (J'J)^-1, cut at the bounds. With an estimate
on its bound that is no interval: then from 400 bootstrap fits (residuals drawn anew, each fit one
Gauss-Newton step by that linear form), widened around the estimate by
sqrt(n / (n - 3)) t(0.975, n - 3) / z(0.975). The R package's own intervals use qt(0.95, n - 1).

Sources: Gunther, Guerrilla Capacity Planning, 2007, ch. 4 to 6; Schwartz, Practical Scalability
Analysis with the Universal Scalability Law, 2015; R package usl (bounds); Hesterberg, Am.
Stat. 69 (2015) 371 (widening).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from analysis.calls import Floats
from analysis.errors import AnalysisError
from analysis.results import Estimate

FEWEST_POINTS = 6
FARTHEST = 1.5  # times the largest concurrency measured: nothing is predicted beyond
PARAMETERS = ("rate_of_one_per_s", "contention", "coherency")  # in the order of the fits
REPLICATES = 400
_USUAL = (1e-9, 0.01, 1e-4)  # steps of the fit are measured by these when it starts at 0
_TOLERANCE = 1e-10  # of the fit: the default of 1e-8 leaves three digits of it
_LEAST_PART = 1e-3  # of the shortest N / X: a coefficient of 0 would be an endless rate


@dataclass(frozen=True, slots=True)
class Usl:
    """One curve; concurrency in calls."""

    rate_of_one_per_s: float  # lambda
    contention: float  # sigma
    coherency: float  # kappa

    def rate_per_s(self, concurrency: float) -> float:
        """X(N)."""
        more = concurrency - 1
        slowdown = 1 + self.contention * more + self.coherency * concurrency * more
        return self.rate_of_one_per_s * concurrency / slowdown

    @property
    def peak_concurrency(self) -> float | None:
        """N_max; None: the rate only ever grows."""
        return math.sqrt((1 - self.contention) / self.coherency) if self.coherency > 0 else None

    @property
    def peak_rate_per_s(self) -> float | None:
        """X_max; None: the rate only ever grows."""
        peak = self.peak_concurrency
        return None if peak is None else self.rate_per_s(peak)

    @property
    def ceiling_per_s(self) -> float | None:
        """X_roof, Amdahl's limit; None: no contention, no limit."""
        return self.rate_of_one_per_s / self.contention if self.contention > 0 else None

    @property
    def knee_concurrency(self) -> float | None:
        """N_opt, where a line of slope lambda reaches the ceiling; None: no contention."""
        return 1 / self.contention if self.contention > 0 else None


@dataclass(frozen=True, slots=True)
class UslFit:
    """A curve through measured points, and how sure it is; tuples in the order of PARAMETERS."""

    curve: Usl
    estimates: tuple[Estimate, ...]
    standard_errors: tuple[float, ...] | None  # None: an estimate is on its bound
    residual_se_per_s: float  # sqrt(RSS / (n - 3))
    leave_one_out: tuple[tuple[float, float], ...]  # least and most when a point is left out
    believed_to_concurrency: float

    def predict_per_s(self, concurrency: float) -> float | None:
        """X(N); None beyond `believed_to_concurrency`."""
        if concurrency > self.believed_to_concurrency:
            return None
        return self.curve.rate_per_s(concurrency)


def fit_usl(concurrency: Floats, rate_per_s: Floats) -> UslFit:
    """Fit the three parameters to points of positive concurrency and rate.

    Raises:
        AnalysisError: there are fewer than 6 points.
    """
    count = len(concurrency)
    if count < FEWEST_POINTS:
        raise AnalysisError(
            f"The Universal Scalability Law needs at least {FEWEST_POINTS} stages at different "
            f"loads, there {'is' if count == 1 else 'are'} {count}."
        )
    fitted = _fit(concurrency, rate_per_s)
    curve = Usl(*fitted.tolist())
    residuals = rate_per_s - _rates(concurrency, *fitted)
    residual_se = math.sqrt(float(residuals @ residuals) / (count - len(fitted)))
    left_out = [np.arange(count) != one for one in range(count)]
    others = np.array([_fit(concurrency[rest], rate_per_s[rest]) for rest in left_out])
    on_bound = bool(np.any(fitted <= 0) or np.any(fitted[1:] >= 1))
    if on_bound:
        errors = None
        ends = _bootstrap_ends(concurrency, fitted, residuals)
    else:
        errors = _standard_errors(concurrency, fitted, residual_se)
        half = stats.t.ppf(0.975, count - len(fitted)) * errors
        ends = np.array([fitted - half, fitted + half])
    low = np.minimum(ends[0].clip(min=0.0), fitted)
    high = np.maximum(ends[1].clip(max=[np.inf, 1.0, 1.0]), fitted)
    return UslFit(
        curve=curve,
        estimates=tuple(
            Estimate(float(value), float(least), float(most), count)
            for value, least, most in zip(fitted, low, high, strict=True)
        ),
        standard_errors=None if errors is None else tuple(errors.tolist()),
        residual_se_per_s=residual_se,
        leave_one_out=tuple(
            (float(least), float(most))
            for least, most in zip(others.min(axis=0), others.max(axis=0), strict=True)
        ),
        believed_to_concurrency=FARTHEST * float(concurrency.max()),
    )


def _rates(concurrency: Floats, rate_of_one: float, sigma: float, kappa: float) -> Floats:
    more = concurrency - 1
    return rate_of_one * concurrency / (1 + sigma * more + kappa * concurrency * more)


def _slopes(concurrency: Floats, rate_of_one: float, sigma: float, kappa: float) -> Floats:
    """By how much the rates change with each parameter: one column each."""
    more = concurrency - 1
    slowdown = 1 + sigma * more + kappa * concurrency * more
    of_one = concurrency / slowdown
    change = -rate_of_one * of_one / slowdown
    return np.column_stack([of_one, change * more, change * more * concurrency])


def _fit(concurrency: Floats, rate_per_s: Floats) -> Floats:
    start = _linear_step(concurrency, rate_per_s, rate_per_s)
    start[1:] = start[1:].clip(max=1.0)

    def residuals(parameters: Floats) -> Floats:
        return _rates(concurrency, *parameters) - rate_per_s

    def slopes(parameters: Floats) -> Floats:
        return _slopes(concurrency, *parameters)

    found = optimize.least_squares(
        residuals,
        start,
        jac=slopes,
        bounds=([0.0, 0.0, 0.0], [np.inf, 1.0, 1.0]),
        method="dogbox",  # ends exactly on a bound, where the default only comes near
        x_scale=np.maximum(start, _USUAL),
        xtol=_TOLERANCE,
        ftol=_TOLERANCE,
        gtol=_TOLERANCE,
    )
    return np.asarray(found.x, dtype=np.float64)


def _linear_step(concurrency: Floats, around_per_s: Floats, rate_per_s: Floats) -> Floats:
    """Parameters for which the curve, made linear around some rates, is nearest to others.

    N / X = (1 + sigma (N - 1) + kappa N (N - 1)) / lambda is linear in its coefficients.
    """
    more = concurrency - 1
    design = np.column_stack([np.ones(len(more)), more, concurrency * more])
    weights = around_per_s**2 / concurrency
    solution, _ = optimize.nnls(design * weights[:, None], 2 * around_per_s - rate_per_s)
    shortest_s = float((concurrency / around_per_s).min())
    of_one_s = max(float(solution[0]), _LEAST_PART * shortest_s)
    return np.array([1.0, solution[1], solution[2]]) / of_one_s


def _standard_errors(concurrency: Floats, fitted: Floats, residual_se: float) -> Floats:
    slopes = _slopes(concurrency, *fitted)
    lengths = np.linalg.norm(slopes, axis=0)
    inverse = np.linalg.pinv((slopes / lengths).T @ (slopes / lengths))
    return np.asarray(residual_se * np.sqrt(np.diag(inverse)) / lengths, dtype=np.float64)


def _bootstrap_ends(concurrency: Floats, fitted: Floats, residuals: Floats) -> Floats:
    """Both ends of the intervals of all parameters, bounds not yet considered."""
    count, freedom = len(concurrency), len(concurrency) - len(fitted)
    random = np.random.default_rng(0)
    rates = _rates(concurrency, *fitted)
    centred = residuals - residuals.mean()
    replicates = np.array(
        [
            _linear_step(concurrency, rates, rates + random.choice(centred, count))
            for _ in range(REPLICATES)
        ]
    )
    widening = math.sqrt(count / freedom) * stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)
    quantiles = np.percentile(replicates, [2.5, 97.5], axis=0)
    return np.asarray(fitted + widening * (quantiles - fitted), dtype=np.float64)
