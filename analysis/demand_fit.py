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
weighed, a straight line (prior 0.7) and one with the last column: n^-p/2 |V|^-1/2 RSS^-n/2 (BIC).
The coefficient of that column is taken as normal around 0 with a given standard deviation, as one
more observation, so that far beyond the observations it widens an interval but does not open it.

A ratio (c - b_0) / d, the x at which b_0 + d x reaches c, has Fieller's interval: all x for which
b_0 + d x = c is not refuted; the same of a line that bends. It is open when d itself may be 0.

Sources: MacKinnon and White, J. Econometrics 29 (1985) 305 (HC2); Bell and McCaffrey, Survey
Methodology 28 (2002) 169; Imbens and Kolesar, Rev. Econ. Stat. 98 (2016) 701 (how well it covers);
Fieller, J. R. Stat. Soc. B 16 (1954) 175; Patterson and Thompson, Biometrika 58 (1971) 545
(restricted likelihood); Raftery, Sociol. Methodology 25 (1995) 111 (averaging models by BIC).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from mwaa_headroom.analysis.statistics import Floats

_LEAST_EXPECTED = 0.1  # of the mean: no period counts more than ten times a usual one
_HIGHEST_LEVERAGE = 1 - 1e-9  # an observation that alone decides a coefficient has no residual
LASTING, BENT = 0.2, 0.3  # prior probabilities: of errors that last, and of a bend
_SHARES = (0.15, 0.4, 0.7, 0.9)
_MEMORIES = (1 / 20, 1 / 8, 1 / 3, 4 / 5)
_NEGLIGIBLE = 1e-3  # weight of a fit in the mixture
_MOST_ROWS = 240  # more are taken together: the time goes with their cube
_NORMAL = 1e6  # degrees of freedom
_TAIL = 0.025
_HALVINGS = 26
_NO_ERROR = 1e-300


@dataclass(frozen=True, slots=True, eq=False)
class LeastSquares:
    """The same n observations fitted under each of several covariances; arrays (fits, ...).

    Attributes:
        free: (fits, coefficients), without bounds.
        squares_left: (fits,), sums of the squares of the weighted residuals.
        information: (fits,), half the logarithms of the determinants of X'V^-1 X.
        leverages: (fits, n), 0..1.
    """

    free: Floats
    squares_left: Floats
    information: Floats
    leverages: Floats
    _rows: Floats  # (fits, n, coefficients + 1), weighted: columns and what was seen
    _basis: Floats  # (fits, n, coefficients), orthonormal, of the weighted columns
    _pulls: Floats  # (fits, n, coefficients): how coefficients change with the observations
    _squares: Floats  # (fits, n) of the weighted residuals, each over 1 - its leverage

    def chosen(self, which: NDArray[np.intp]) -> "LeastSquares":
        """Some of the fits."""
        return LeastSquares(*(getattr(self, name)[which] for name in self.__slots__))

    def variances(self, factors: Floats) -> Floats:
        """Of a combination of the coefficients, (fits,)."""
        return np.asarray(((self._pulls @ factors) ** 2 * self._squares).sum(axis=1))

    def covariances(self) -> Floats:
        """Of all coefficients, (fits, coefficients, coefficients)."""
        return np.asarray(_turned(self._pulls) @ (self._squares[..., None] * self._pulls))

    def freedoms(self, factors: Floats) -> Floats:
        """Degrees of freedom of a combination's variance; a million where nothing has a say."""
        squared = (self._pulls @ factors) ** 2
        scaled = squared / (1 - self.leverages)
        crossed = _turned(self._basis) @ (scaled[..., None] * self._basis)
        square = (scaled**2 * (1 - 2 * self.leverages)).sum(axis=1)
        square += (crossed**2).sum(axis=(1, 2))
        freedoms = squared.sum(axis=1) ** 2 / np.maximum(square, 1e-300)
        return np.where(scaled.any(axis=1), np.clip(freedoms, 1.0, _NORMAL), _NORMAL)

    def bounded(self, unbounded: int) -> Floats:
        """Coefficients >= 0, but for so many of the last, (fits, coefficients)."""
        found = self.free.copy()
        count = found.shape[1]
        for at in np.flatnonzero((self.free[:, : count - unbounded] < 0).any(axis=1)):
            matrix = self._rows[at, :, :-1]
            both_signs = np.column_stack([matrix, -matrix[:, count - unbounded :]])
            solution = bounded_fit(both_signs, self._rows[at, :, -1])
            found[at] = solution[:count]
            found[at, count - unbounded :] -= solution[count:]
        return found

    def parts(self, factors: Floats) -> Floats:
        """What each observation adds to the variance of a combination, (fits, n)."""
        return np.asarray((self._pulls @ factors) ** 2 * self._squares)


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The mixture of all fits that the observations do not speak against.

    Attributes:
        bounded: (coefficients,), within their bounds.
        fits: the heaviest first.
        weights: of the fits; their sum is 1.
        rows: how many observations, neighbours taken together.
        correlated: probability that errors last over periods, 0..1.
        bent: probability that the line bends, 0..1.
    """

    bounded: Floats
    fits: LeastSquares
    weights: Floats
    rows: int
    correlated: float = 0.0
    bent: float = 0.0

    def interval(self, factors: Floats) -> tuple[float, float, float]:
        """The sum of the coefficients times `factors`, and the ends of its 95 % interval.

        Only the sum keeps to the bounds: the interval may go below 0, and may not hold the sum.
        """
        middles, freedoms = self.fits.free @ factors, self.fits.freedoms(factors)
        errors = np.sqrt(self.fits.variances(factors))
        reach = float((scipy.special.stdtrit(freedoms, 1 - _TAIL / 10) * errors).max())
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
        steps = (near * np.concatenate([[0.0], np.geomspace(1e-2, 1e2, 40)])).tolist()
        (value,) = _crossed(lambda x: float(self.bounded @ line(x)), steps, level)
        freedoms = self.fits.freedoms(line(value if np.isfinite(value) else steps[-1]))
        covariances = self.fits.covariances()

        def reached(x: float) -> float:
            """Probability that the line is at the level or above."""
            factors = line(x)
            errors = np.sqrt(np.maximum(covariances @ factors @ factors, 0.0))
            return self._below(self.fits.free @ factors - level, errors, freedoms)

        low, high = _crossed(reached, steps, _TAIL, 1 - _TAIL)
        low = min(low, value) if np.isfinite(low) else 0.0
        return value, low, max(high, value) if np.isfinite(high) else None

    def largest_part(self, factors: Floats) -> tuple[int, float]:
        """The observation that most of a combination's variance is from, and its share, 0..1."""
        parts = self.fits.parts(factors)[0]
        at = int(parts.argmax())
        return at, float(parts[at] / max(float(parts.sum()), 1e-300))

    def _below(self, distances: Floats, errors: Floats, freedoms: Floats) -> float:
        """Probability of what lies so far below."""
        scaled = distances / np.maximum(errors, _NO_ERROR)
        return float(self.weights @ scipy.special.stdtr(freedoms, scaled))


def least_squares(matrix: Floats, target: Floats) -> Fit:
    """Fit twice with errors that do not last: the first time only to learn the weights.

    Args:
        matrix: (n, coefficients), of full column rank.
        target: (n,).
    """
    rows = np.column_stack([matrix, target]) * _roots(matrix, target)[:, None]
    fits = _solved(rows[None])
    return Fit(fits.bounded(0)[0], fits, np.ones(1), len(target))


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
    count, columns = matrix.shape
    root = _roots(matrix[:, : columns - unbounded], target)
    shares, priors, factors = _correlations(start_s, root)
    weighted = np.column_stack([matrix, target]) * root[:, None]
    rows = np.asarray(np.linalg.solve(factors, weighted), dtype=np.float64)
    before = np.log(priors) - np.log(np.einsum("kii->ki", factors)).sum(axis=1)
    if bend_deviation is None:
        fits = _solved(rows)
        weights = _shares_of(before + _evidence(fits, count - columns) - fits.information)
        return _mixed(fits, weights, shares, unbounded, count)
    straight = _solved(np.delete(rows, -2, axis=2))
    noise = float(np.sqrt(straight.squares_left[0] / count))
    beforehand = np.zeros((len(rows), 1, columns + 1))
    beforehand[..., -2] = noise / bend_deviation
    bent = _solved(np.concatenate([rows, beforehand], axis=1), noise)
    shapes = ((straight, columns - 1, 1 - BENT), (bent, columns, BENT))
    by_bic = [
        np.logaddexp.reduce(before + _evidence(fits, count) - width / 2 * np.log(count))
        + np.log(prior)
        for fits, width, prior in shapes
    ]
    weights = np.concatenate(
        [
            shape * _shares_of(before + _evidence(fits, count - width) - fits.information)
            for (fits, width, _), shape in zip(shapes, _shares_of(np.array(by_bic)), strict=True)
        ]
    )
    both = _joined(straight, bent)
    bends = float(weights[len(rows) :].sum())
    return replace(_mixed(both, weights, np.tile(shares, 2), unbounded, count), bent=bends)


def _evidence(fits: LeastSquares, freedom: int) -> Floats:
    """Logarithm of what the residuals say for each fit, but for a constant."""
    return np.asarray(-freedom / 2 * np.log(np.maximum(fits.squares_left, 1e-300)))


def _shares_of(logarithms: Floats) -> Floats:
    return np.asarray(scipy.special.softmax(logarithms))


def _mixed(fits: LeastSquares, weights: Floats, shares: Floats, unbounded: int, count: int) -> Fit:
    order = np.argsort(-weights)
    kept = order[weights[order] >= _NEGLIGIBLE]
    chosen, mine = fits.chosen(kept), weights[kept] / weights[kept].sum()
    return Fit(
        bounded=np.asarray(mine @ chosen.bounded(unbounded)),
        fits=chosen,
        weights=mine,
        rows=count,
        correlated=float(weights[shares > 0].sum()),
    )


def _joined(straight: LeastSquares, bent: LeastSquares) -> LeastSquares:
    """Those without a bend have a coefficient of 0 for it, and nothing known beforehand."""
    column, row = (0, 1), (0, 1)
    padding = {
        "free": ((0, 0), column),
        "leverages": ((0, 0), row),
        "_squares": ((0, 0), row),
        "_basis": ((0, 0), row, column),
        "_pulls": ((0, 0), row, column),
    }
    widened = {name: np.pad(getattr(straight, name), pads) for name, pads in padding.items()}
    rows = np.pad(np.insert(straight._rows, -1, 0.0, axis=2), ((0, 0), row, (0, 0)))
    padded = replace(straight, _rows=rows, **widened)
    return LeastSquares(
        *(
            np.concatenate([getattr(padded, name), getattr(bent, name)])
            for name in LeastSquares.__slots__
        )
    )


def _correlations(start_s: Floats, root: Floats) -> tuple[Floats, Floats, Floats]:
    """Shares of the errors that last, prior probabilities, and triangular factors of V."""
    same = np.eye(len(start_s))
    lag = np.abs(start_s[:, None] - start_s[None, :])
    lag /= max(float(lag.max()), 1e-9)
    amplitudes = np.array([root, 1 / root])
    amplitudes /= np.sqrt((amplitudes**2).mean(axis=1, keepdims=True))
    alike = amplitudes[:, :, None] * amplitudes[:, None, :]
    lasting = alike[:, None] * np.exp(-lag / np.array(_MEMORIES)[:, None, None])
    share = np.array(_SHARES)[:, None, None]
    covariances = (1 - share) * same + share * lasting[:, :, None]
    factors = np.linalg.cholesky(covariances.reshape(-1, *same.shape))
    shares = np.tile(_SHARES, len(factors) // len(_SHARES))
    priors = np.full(len(factors), LASTING / len(factors))
    return (
        np.concatenate([[0.0], shares]),
        np.concatenate([[1 - LASTING], priors]),
        np.concatenate([same[None], factors]),
    )


def _solved(rows: Floats, noise: float | None = None) -> LeastSquares:
    """Rows that are weighted; with `noise`, that of the last row is known beforehand."""
    weighted, wanted = rows[..., :-1], rows[..., -1]
    lengths = np.linalg.norm(weighted, axis=1, keepdims=True)
    scales = np.where(lengths > 0, lengths, 1.0)
    basis, triangle = np.linalg.qr(weighted / scales)
    pulls = basis @ _turned(np.linalg.inv(triangle)) / scales
    free = (wanted[:, None] @ pulls)[:, 0]
    leverages = np.minimum((basis**2).sum(axis=2), _HIGHEST_LEVERAGE)
    residuals = wanted - (weighted @ free[..., None])[..., 0]
    squares = residuals**2 / (1 - leverages)
    if noise is not None:
        squares[:, -1] = noise**2
    diagonal = np.abs(np.einsum("kii->ki", triangle)) * scales[:, 0]
    return LeastSquares(
        free=free,
        squares_left=(residuals**2).sum(axis=1),
        information=np.log(diagonal).sum(axis=1),
        leverages=leverages,
        _rows=rows,
        _basis=basis,
        _pulls=pulls,
        _squares=squares,
    )


def _turned(matrices: Floats) -> Floats:
    return np.swapaxes(matrices, 1, 2)


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


def _crossed(
    function: Callable[[float], float], steps: Sequence[float], *levels: float
) -> Iterator[float]:
    """Where it first reaches each level; infinite: at none of the steps."""
    heights = [function(step) for step in steps]
    for level in levels:
        at = next((i for i, height in enumerate(heights) if height >= level), None)
        if at is None:
            yield np.inf
        else:
            yield _risen(function, steps[at - 1], steps[at], level) if at else 0.0


def bounded_fit(matrix: Floats, target: Floats) -> Floats:
    """Coefficients >= 0 by least squares, all weights alike; for any columns."""
    lengths = _lengths(matrix)
    scaled = matrix / lengths
    solution, _, rank, _ = np.linalg.lstsq(scaled, target, rcond=None)
    if rank < scaled.shape[1] or solution.min() < 0:
        solution, _ = scipy.optimize.nnls(scaled, target)
    return np.asarray(solution / lengths, dtype=np.float64)


def condition_number(matrix: Floats) -> float:
    """After scaling every column to length 1."""
    return float(np.linalg.cond(matrix / _lengths(matrix)))


def _lengths(matrix: Floats) -> Floats:
    lengths = np.linalg.norm(matrix, axis=0)
    return np.where(lengths > 0, lengths, 1.0)
