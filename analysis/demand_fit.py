"""The fit of service demands: CPU against calls, where errors may last and lines may bend.

    y_t = sum_j x_tj b_j + error_t,    b_j >= 0 but for the last ones,    weights 1 / expected y_t

The spread of the CPU used by n calls grows like sqrt(n), hence the weights w_t. They need not be
right: standard errors are from the residuals themselves (HC2), of the fit without the bounds,

    var(l'b) = sum_t a_t^2 r_t^2 / (1 - h_t),    a = the estimate's weights of y_t, h = leverages

and t has the Satterthwaite degrees of freedom of that variance (Bell and McCaffrey 2002), which are
few where few observations decide. The bounds only move the estimate: the fit without them has no
bias, so its interval covers the truth at a bound too.

What else a machine does, and how fast it is, changes slowly, and then periods that follow each
other err alike. How slowly nobody knows, so the fit is made for each of several covariances of the
weighted errors, with all rows multiplied by the inverse of its Cholesky factor:

    V = (1 - s) I + s K,    K_ij = a_i a_j exp(-|t_i - t_j| / m)

s 0, or 0.15, 0.4, 0.7, 0.9; m 1/20, 1/8, 1/3, 4/5 of the time observed; a_i proportional to
sqrt(w_i) (background) or its inverse (cost of a call), with mean square 1. s = 0 has a prior
probability of 0.8, the rest share theirs evenly. Their weights are prior x restricted likelihood,

    |V|^-1/2 |X'V^-1 X|^-1/2 RSS^-(n - p)/2

and an interval is that of the mixture of their t distributions. In the same way two shapes are
weighed, a straight line (prior 0.8) and one with the last column: n^-p/2 |V|^-1/2 RSS^-n/2 (BIC).
The coefficient of that column is taken as normal around 0 with a given standard deviation, as one
more observation, so that far beyond the observations it widens an interval but does not open it.

A ratio (c - b_0) / d, the x at which b_0 + d x reaches c, has Fieller's interval: all x for which
b_0 + d x = c is not refuted; the same of a line that bends. It is open when d itself may be 0.

Sources: MacKinnon and White, J. Econometrics 29 (1985) 305 (HC2); Bell and McCaffrey, Survey
Methodology 28 (2002) 169; Imbens and Kolesar, Rev. Econ. Stat. 98 (2016) 701 (how well it covers);
Fieller, J. R. Stat. Soc. B 16 (1954) 175; Patterson and Thompson, Biometrika 58 (1971) 545
(restricted likelihood); Raftery, Sociol. Methodology 25 (1995) 111 (averaging models by BIC).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, optimize, special

from mwaa_headroom.analysis.statistics import Floats, t_quantile

_LEAST_EXPECTED = 0.1  # of the mean: no period counts more than ten times a usual one
_HIGHEST_LEVERAGE = 1 - 1e-9  # an observation that alone decides a coefficient has no residual
_SHARES = (0.15, 0.4, 0.7, 0.9)
_MEMORIES = (1 / 20, 1 / 8, 1 / 3, 4 / 5)
_UNCORRELATED = 0.8  # prior probability
_STRAIGHT = 0.8
_NEGLIGIBLE = 1e-3  # weight of a fit in the mixture
_MOST_ROWS = 240  # more are taken together: the time goes with their cube
_NORMAL = 1e6  # degrees of freedom
_TAIL = 0.025
_HALVINGS = 26
_NO_ERROR = 1e-300


@dataclass(frozen=True, slots=True, eq=False)
class LeastSquares:
    """The fit of n observations under one covariance; arrays of (coefficients,) or (n, ...)."""

    bounded: Floats  # as `free` until `within_bounds`
    free: Floats
    _rows: tuple[Floats, Floats]  # weighted observations: columns and what was seen
    _inverse: Floats  # of the triangular factor: maps factors to the columns of _basis
    _basis: Floats  # orthonormal, of the weighted and scaled columns
    _scales: Floats
    _squares: Floats  # of the weighted residuals, each over 1 - its leverage
    _leverages: Floats

    @property
    def rows(self) -> int:
        """How many observations, of which one may be what is known of a bend beforehand."""
        return len(self._leverages)

    @property
    def highest_leverage(self) -> float:
        """0..1; near 1 a coefficient follows a single observation."""
        return float(self._leverages.max())

    def covariance(self, one: Floats, other: Floats) -> float:
        """Of two combinations."""
        return float((self._pull(one) * self._pull(other)) @ self._squares)

    def covariances(self) -> Floats:
        """Of all coefficients, (coefficients, coefficients)."""
        pulls = self._basis @ (self._inverse.T / self._scales)
        return np.asarray(pulls.T @ (self._squares[:, None] * pulls))

    def freedom(self, factors: Floats) -> float:
        """Degrees of freedom of a combination's variance; a million where nothing has a say."""
        pull = self._pull(factors)
        scaled = pull**2 / (1 - self._leverages)
        if not scaled.any():
            return _NORMAL
        crossed = self._basis.T @ (scaled[:, None] * self._basis)
        square = float(scaled**2 @ (1 - 2 * self._leverages) + (crossed**2).sum())
        return min(max(float(pull @ pull) ** 2 / max(square, 1e-300), 1.0), _NORMAL)

    def quantile(self, factors: Floats) -> float:
        """Of t, for the interval of a combination."""
        return t_quantile(self.freedom(factors))

    def within_bounds(self, unbounded: int) -> "LeastSquares":
        """The same with coefficients >= 0 in `bounded`, but for so many of the last."""
        matrix, target = self._rows
        both_signs = np.column_stack([matrix, -matrix[:, matrix.shape[1] - unbounded :]])
        bounded = bounded_fit(both_signs, target)
        if unbounded:
            bounded[-2 * unbounded : -unbounded] -= bounded[-unbounded:]
            bounded = bounded[:-unbounded]
        return replace(self, bounded=bounded)

    def squares_left(self) -> float:
        """Sum of the squares of the weighted residuals."""
        matrix, target = self._rows
        left = target - matrix @ self.free
        return float(left @ left)

    def half_information(self) -> float:
        """Half the logarithm of the determinant of the weighted columns' squares."""
        return float(np.log(self._scales).sum() - np.linalg.slogdet(self._inverse)[1])

    def widened(self, columns: int) -> "LeastSquares":
        """The same with coefficients of 0 for the columns that it does not have."""
        missing = columns - len(self.free)
        return replace(
            self,
            bounded=np.pad(self.bounded, (0, missing)),
            free=np.pad(self.free, (0, missing)),
            _inverse=np.pad(self._inverse, ((0, missing), (0, 0))),
            _scales=np.pad(self._scales, (0, missing), constant_values=1.0),
        )

    def largest_part(self, factors: Floats) -> tuple[int, float]:
        """The observation that most of a combination's variance is from, and its share, 0..1."""
        parts = self._pull(factors) ** 2 * self._squares
        at = int(parts.argmax())
        return at, float(parts[at] / max(float(parts.sum()), 1e-300))

    def _pull(self, factors: Floats) -> Floats:
        """How the combination changes with each weighted observation."""
        return np.asarray(self._basis @ (self._inverse.T @ (factors / self._scales)))


def least_squares(matrix: Floats, target: Floats) -> LeastSquares:
    """Fit twice with errors that do not last: the first time only to learn the weights.

    Args:
        matrix: (n, coefficients), of full column rank.
        target: (n,).
    """
    root = _roots(matrix, target)
    return _solved(matrix * root[:, None], target * root).within_bounds(0)


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The mixture of all fits that the observations do not speak against.

    Attributes:
        parts: with their weights, whose sum is 1; the heaviest first.
        correlated: probability that errors last over periods, 0..1.
        bent: probability that the line bends, 0..1.
    """

    parts: tuple[LeastSquares, ...]
    weights: Floats
    correlated: float
    bent: float

    @property
    def bounded(self) -> Floats:
        """The coefficients within their bounds."""
        return np.asarray(self.weights @ np.array([part.bounded for part in self.parts]))

    def interval(self, factors: Floats) -> tuple[float, float, float]:
        """The sum of the coefficients times `factors`, and the ends of its 95 % interval.

        Only the sum keeps to the bounds: the interval may go below 0, and may not hold the sum.
        """
        middles = np.array([factors @ part.free for part in self.parts])
        errors = np.sqrt([part.covariance(factors, factors) for part in self.parts])
        freedoms = np.array([part.freedom(factors) for part in self.parts])
        reach = float((special.stdtrit(freedoms, 1 - _TAIL / 10) * errors).max())
        span = float(middles.min()) - reach, float(middles.max()) + reach

        def below(x: float) -> float:
            return self._below(x - middles, errors, freedoms)

        low, high = (_risen(below, *span, chance) for chance in (_TAIL, 1 - _TAIL))
        return float(factors @ self.bounded), low, high

    def crossing(
        self, line: Callable[[float], Floats], level: float, near: float
    ) -> tuple[float, float, float | None]:
        """The x >= 0 at which a line reaches `level`, with its 95 % interval.

        Args:
            line: factors of the coefficients that make its height at x.
            level: to be reached.
            near: some x of the same order of magnitude.

        Returns:
            Estimate, low end and high end; None where no upper limit can be told. The estimate is
            infinite when the line never reaches the level.
        """
        steps = near * np.concatenate([[0.0], np.geomspace(1e-2, 1e2, 40)])
        bounded = self.bounded
        value = _crossed(lambda x: float(bounded @ line(x)), steps, level)
        at = line(value if np.isfinite(value) else float(steps[-1]))
        freedoms = np.array([part.freedom(at) for part in self.parts])
        free = np.array([part.free for part in self.parts])
        covariances = np.array([part.covariances() for part in self.parts])

        def reached(x: float) -> float:
            """Probability that the line is at the level or above."""
            factors = line(x)
            variances = np.einsum("j,ijk,k->i", factors, covariances, factors)
            return self._below(free @ factors - level, np.sqrt(np.maximum(variances, 0)), freedoms)

        low = _crossed(reached, steps, _TAIL)
        high = _crossed(reached, steps, 1 - _TAIL)
        low = min(low, value) if np.isfinite(low) else 0.0
        return value, low, max(high, value) if np.isfinite(high) else None

    def _below(self, distances: Floats, errors: Floats, freedoms: Floats) -> float:
        """Probability of what lies so far below."""
        scaled = distances / np.maximum(errors, _NO_ERROR)
        return float(self.weights @ special.stdtr(freedoms, scaled))


def fit(
    matrix: Floats,
    target: Floats,
    start_s: Floats,
    *,
    unbounded: int = 0,
    bend_deviation: float | None = None,
) -> Fit:
    """Fit under every covariance, and with and without a bend.

    Args:
        matrix: (n, coefficients), of full column rank.
        target: (n,).
        start_s: of the observations, in the order of time.
        unbounded: how many of the last columns may have coefficients below 0.
        bend_deviation: standard deviation that the last column's coefficient has beforehand; None:
            it is no bend but a column as the others.
    """
    matrix, target, start_s = _few(matrix, target, start_s)
    bends, columns = bend_deviation is not None, matrix.shape[1]
    root = _roots(matrix[:, : columns - unbounded], target)
    weighted, wanted = matrix * root[:, None], target * root
    straight = _solved(weighted[:, : columns - bends], wanted)
    noise = float(np.sqrt(straight.squares_left() / len(wanted)))
    found = []
    for share, prior, factor in _correlations(start_s, root):
        rows = linalg.solve_triangular(factor, np.column_stack([weighted, wanted]), lower=True)
        determinant = float(np.log(np.diag(factor)).sum())
        part = _solved(rows[:, : columns - bends], rows[:, -1])
        found.append(_Candidate(share, prior, determinant, len(wanted), part))
        if bend_deviation:
            beforehand = np.zeros((1, columns + 1))
            beforehand[0, -2] = noise / bend_deviation
            rows = np.vstack([rows, beforehand])
            part = _solved(rows[:, :-1], rows[:, -1], noise)
            found.append(_Candidate(share, prior, determinant, len(wanted), part))
    return _mixed(found, columns, unbounded)


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """One covariance with one shape of the line."""

    share: float  # of the errors that lasts
    prior: float  # of the covariance
    determinant: float  # logarithm of the square root of V's
    count: int  # of true observations
    part: LeastSquares

    @property
    def columns(self) -> int:
        return len(self.part.free)

    def evidence(self, lost: int, penalty: float) -> float:
        """Logarithm of what the observations say for it."""
        left = max(self.part.squares_left(), 1e-300)
        fit = self.determinant + (self.count - lost) / 2 * np.log(left) + penalty
        return float(np.log(self.prior) - fit)

    @property
    def restricted_likelihood(self) -> float:
        return self.evidence(self.columns, self.part.half_information())

    @property
    def by_bic(self) -> float:
        return self.evidence(0, self.columns / 2 * np.log(self.count))


def _mixed(found: list[_Candidate], columns: int, unbounded: int) -> Fit:
    weights = np.zeros(len(found))
    widths = np.array([each.columns for each in found])
    of_errors = np.array([each.restricted_likelihood for each in found])
    of_shapes = np.array([each.by_bic for each in found])
    both = len(set(widths)) > 1
    for width in set(widths):
        mine = widths == width
        prior = 1.0 if not both else _STRAIGHT if width < columns else 1 - _STRAIGHT
        own = np.exp(of_errors[mine] - of_errors[mine].max())
        shape = prior * np.exp(of_shapes[mine] - of_shapes.max()).sum()
        weights[mine] = shape * own / own.sum()
    weights /= weights.sum()
    lasts = np.array([each.share > 0 for each in found])
    kept = [int(at) for at in np.argsort(-weights) if weights[at] >= _NEGLIGIBLE]
    bounded = [
        found[at].part.within_bounds(unbounded - (columns - found[at].columns)) for at in kept
    ]
    return Fit(
        parts=tuple(part.widened(columns) for part in bounded),
        weights=weights[kept] / weights[kept].sum(),
        correlated=float(weights[lasts].sum()),
        bent=float(weights[widths == columns].sum()) if both else 0.0,
    )


def _correlations(start_s: Floats, root: Floats) -> Iterator[tuple[float, float, Floats]]:
    """Share of the errors that lasts, prior probability, and triangular factor of V."""
    same = np.eye(len(start_s))
    yield 0.0, _UNCORRELATED, same
    lag = np.abs(start_s[:, None] - start_s[None, :])
    lag /= max(float(lag.max()), 1e-9)
    prior = (1 - _UNCORRELATED) / (2 * len(_MEMORIES) * len(_SHARES))
    for amplitude in (root, 1 / root):
        scaled = amplitude / np.sqrt((amplitude**2).mean())
        for memory in _MEMORIES:
            lasting = scaled[:, None] * scaled[None, :] * np.exp(-lag / memory)
            for share in _SHARES:
                yield share, prior, np.linalg.cholesky((1 - share) * same + share * lasting)


def _solved(weighted: Floats, wanted: Floats, noise: float | None = None) -> LeastSquares:
    """Rows that are weighted; with `noise`, that of the last row is known beforehand."""
    scales = _lengths(weighted)
    basis, triangle = np.linalg.qr(weighted / scales)
    inverse = np.linalg.inv(triangle)
    free = inverse @ (basis.T @ wanted) / scales
    leverages = np.minimum((basis**2).sum(axis=1), _HIGHEST_LEVERAGE)
    squares = (wanted - weighted @ free) ** 2 / (1 - leverages)
    if noise is not None:
        squares[-1] = noise**2
    return LeastSquares(
        bounded=free,
        free=free,
        _rows=(weighted, wanted),
        _inverse=inverse,
        _basis=basis,
        _scales=scales,
        _squares=squares,
        _leverages=leverages,
    )


def _roots(matrix: Floats, target: Floats) -> Floats:
    """Square roots of the weights."""
    expected = matrix @ bounded_fit(matrix, target)
    floor = max(_LEAST_EXPECTED * float(expected.mean()), 1e-12)
    return np.asarray(1 / np.sqrt(np.maximum(expected, floor)))


def _few(matrix: Floats, target: Floats, start_s: Floats) -> tuple[Floats, Floats, Floats]:
    """Means of neighbours where rows are many."""
    together = -(-len(target) // _MOST_ROWS)
    if together == 1:
        return matrix, target, start_s
    first = np.arange(0, len(target), together)
    counts = np.diff([*first, len(target)])
    means = np.add.reduceat(np.column_stack([matrix, target, start_s]), first) / counts[:, None]
    return means[:, :-2], means[:, -2], means[:, -1]


def _risen(function: Callable[[float], float], low: float, high: float, level: float) -> float:
    """Where a function that rises reaches a level, between two points."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if function(middle) >= level else (middle, high)
    return high


def _crossed(function: Callable[[float], float], steps: Floats, level: float) -> float:
    """Where it first reaches the level; infinite: at none of the steps."""
    before = 0.0
    for step in steps.tolist():
        if function(step) >= level:
            return _risen(function, before, step, level) if step else 0.0
        before = step
    return np.inf


def bounded_fit(matrix: Floats, target: Floats) -> Floats:
    """Coefficients >= 0 by least squares, all weights alike; for any columns."""
    lengths = _lengths(matrix)
    solution, _ = optimize.nnls(matrix / lengths, target)
    return np.asarray(solution / lengths, dtype=np.float64)


def condition_number(matrix: Floats) -> float:
    """After scaling every column to length 1."""
    return float(np.linalg.cond(matrix / _lengths(matrix)))


def _lengths(matrix: Floats) -> Floats:
    lengths = np.linalg.norm(matrix, axis=0)
    return np.where(lengths > 0, lengths, 1.0)
