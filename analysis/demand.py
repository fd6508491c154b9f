"""Service demands by the utilisation law: CPU-seconds of the webservers one call costs.

    U_t m_t V = U0 m_t + sum_c X_{c,t} D_c + error,    D_c >= 0, U0 >= 0

U_t mean CPU (0..1) of the m_t webservers with V CPUs each in metric period t, X_{c,t} calls of
operation c per second that reached a webserver in it, D_c demand (CPU-s), U0 background CPUs of one
webserver.

    D_mix = sum_c w_c D_c,    w_c shares of the scenario's mix
    X_1 = (u V - U0) / D_mix

X_1 rate of this mix that holds one webserver at the utilisation u. Where operations can be told
apart, the mix is made of them, whatever shares the run sent. Where they cannot, a run that sent the
mix as it is still tells D_mix by one column of all calls,
D_mix = sum_t (U_t m_t V - U0 m_t) T / sum_t calls_t, and one that sent other shares does not.

Sources: Zhang, Cherkasova, Smirni, ICAC 2007 (regression); Lazowska et al., Quantitative System
Performance, 1984, ch. 3 (utilisation law).

The fit is weighted, with coefficients >= 0 and intervals that hold for few observations.

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

A call's work is spread evenly over [actual start, end]: across a period's border it counts in both.
Calls refused before a webserver are left out. Periods have a webserver count that is the same in
the period before and after, and a load that makes for at most 70 % CPU, as expected by a first fit:
near saturation calls cost more. Choosing by the measured CPU itself would keep the lucky low
periods at the border and drop their high neighbours, and so make every demand too small. Where too
few are left, those expected to have up to 90 % are used too, with a warning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.metric_periods import WebserverPeriod
from mwaa_headroom.analysis.results import DemandResult
from mwaa_headroom.analysis.statistics import Z95, Estimate, Floats, t_quantile

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
            return Z95
        crossed = self._basis.T @ (scaled[:, None] * self._basis)
        square = float(scaled**2 @ (1 - 2 * self._leverages) + (crossed**2).sum())
        freedom = float(pull @ pull) ** 2 / max(square, 1e-300)
        return t_quantile(max(freedom, 1.0))

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


USUAL_CPU_PERCENT = 70.0  # at most, as expected
HIGHEST_CPU_PERCENT = 90.0
SATURATED_PERCENT = 95.0  # as measured: such periods may not even help to know what to expect
IDLE_PERCENT = 5.0
FEWEST_PERIODS = 6
PERIODS_FOR_TRUST = 10  # with fewer, an interval covers less often than it promises
_SHORTEST_WORK_S = 1e-6
_CHANCE = 4.0  # standard deviations
_UNLIKE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """One row per metric period used."""

    operations: tuple[str, ...]  # those with calls
    calls_per_s: Floats  # (periods, operations)
    webservers: Floats  # (periods,)
    cpus_used: Floats  # (periods,) over all webservers
    period_s: float

    def __len__(self) -> int:
        return len(self.webservers)

    def rows(self, chosen: NDArray[np.bool_]) -> "Observations":
        """Those chosen, without the operations that they have no calls of."""
        calls_per_s = self.calls_per_s[chosen]
        seen = calls_per_s.any(axis=0)
        return Observations(
            operations=tuple(np.array(self.operations, dtype=object)[seen]),
            calls_per_s=calls_per_s[:, seen],
            webservers=self.webservers[chosen],
            cpus_used=self.cpus_used[chosen],
            period_s=self.period_s,
        )

    @property
    def per_operation(self) -> Floats:
        """A column for each operation, and the last for the background."""
        return np.column_stack([self.calls_per_s, self.webservers])

    @property
    def per_mix(self) -> Floats:
        """The calls of all operations, and the background."""
        return np.column_stack([self.calls_per_s.sum(axis=1), self.webservers])

    def is_of(self, mix: Mapping[str, float]) -> bool:
        """Whether the calls came in the shares of the mix, but for chance."""
        work = self.calls_per_s.sum(axis=0) * self.period_s
        came = dict(zip(self.operations, work, strict=True))
        total = max(float(work.sum()), 1.0)
        for label in {*mix, *came}:
            share = mix.get(label, 0.0)
            chance = np.sqrt(share * (1 - share) / total)
            if abs(came.get(label, 0.0) / total - share) > _UNLIKE + _CHANCE * chance:
                return False
        return True


def steady_periods(periods: Sequence[WebserverPeriod]) -> tuple[WebserverPeriod, ...]:
    """Periods whose webserver count is the same in the period before and after."""
    kept = []
    for index, period in enumerate(periods):
        neighbours = periods[max(index - 1, 0) : index + 2]
        steady = all(other.webservers == period.webservers for other in neighbours)
        if period.webservers and period.cpu_percent is not None and steady:
            kept.append(period)
    return tuple(kept)


def usable_periods(periods: Sequence[WebserverPeriod]) -> int:
    """How many of the periods are neither idle nor saturated."""
    return sum(IDLE_PERCENT <= (p.cpu_percent or 0.0) <= SATURATED_PERCENT for p in periods)


def observe(calls: Calls, periods: Sequence[WebserverPeriod], webserver_cpu: float) -> Observations:
    """One row for each period; the operations in alphabetical order."""
    working = calls.reached_webserver
    webservers = np.array([float(p.webservers or 0) for p in periods])
    fraction = np.array([(p.cpu_percent or 0.0) / 100 for p in periods])
    columns, operations = [], []
    for operation in calls.operation.counts():
        own = calls.where(working & calls.operation.are(operation))
        work = calls_in_periods(own, periods)
        if work.any():
            operations.append(operation)
            columns.append(work / periods[0].period_s)
    return Observations(
        operations=tuple(operations),
        calls_per_s=np.column_stack(columns) if columns else np.zeros((len(periods), 0)),
        webservers=webservers,
        cpus_used=fraction * webservers * webserver_cpu,
        period_s=periods[0].period_s,
    )


def in_usual_range(
    observed: Observations, webserver_cpu: float, *, by_operation: bool
) -> tuple[Observations, list[Finding]]:
    """The periods whose load, by a first fit, makes for the usual CPU, and warnings."""
    matrix = observed.per_operation if by_operation else observed.per_mix
    capacity = observed.webservers * webserver_cpu
    clear = observed.cpus_used <= SATURATED_PERCENT / 100 * capacity
    expected = matrix @ bounded_fit(matrix[clear], observed.cpus_used[clear])
    of_unseen = observed.calls_per_s[:, ~observed.calls_per_s[clear].any(axis=0)].any(axis=1)
    percent = np.where(of_unseen, np.inf, 100 * expected / capacity)
    usual = percent <= USUAL_CPU_PERCENT
    count = int(np.count_nonzero(usual))
    if count >= PERIODS_FOR_TRUST or usual.all():
        return observed.rows(usual), []
    high = percent <= HIGHEST_CPU_PERCENT
    near_saturation = warning(
        "demand.near_saturation",
        periods=count,
        usual_percent=USUAL_CPU_PERCENT,
        highest_percent=HIGHEST_CPU_PERCENT,
    )
    return observed.rows(high), [near_saturation]


def calls_in_periods(calls: Calls, periods: Sequence[WebserverPeriod]) -> Floats:
    """How many calls' worth of work fell into each period, fractions for calls across borders.

    Args:
        calls: calls that were sent.
        periods: of one length, on one grid, not necessarily without gaps.
    """
    length_s = periods[0].period_s
    origin_s = periods[0].start_s
    index_of = {round((p.start_s - origin_s) / length_s): i for i, p in enumerate(periods)}
    size = max(index_of) + 1
    start = (calls.start_s - origin_s) / length_s
    end = np.maximum((calls.end_s - origin_s) / length_s, start + _SHORTEST_WORK_S / length_s)
    inside = (end > 0) & (start < size)
    start, end = start[inside], end[inside]
    work = np.zeros(size)
    first, last = np.floor(start).astype(int), np.floor(end).astype(int)
    for step in range(int((last - first).max(initial=-1)) + 1):
        cell = first + step
        mine = (cell <= last) & (cell >= 0) & (cell < size)
        overlap = np.minimum(end, cell + 1) - np.maximum(start, cell)
        share = overlap / (end - start)
        work += np.bincount(cell[mine], weights=share[mine], minlength=size)
    return work[list(index_of)]


CONDITION_LIMIT = 30.0
_DECIDED_BY_ONE = 0.99  # leverage above which one period alone decides a coefficient


@dataclass(frozen=True, slots=True, eq=False)
class _Mix:
    """A fit, and the factors that make demand and background of its coefficients."""

    found: Fit
    demand: Floats
    background: Floats | None  # None: not told apart from the demand


def estimate_demand(
    calls: Calls,
    periods: Sequence[WebserverPeriod],
    webserver_cpu: float | None,
    utilisation_target: float,
    mix: Mapping[str, float],
) -> DemandResult | None:
    """Demands of the mix and, where the periods can tell them apart, of each operation.

    Args:
        calls: all calls of the run.
        periods: those of `steady_periods` inside the measured parts, in the order of time.
        webserver_cpu: CPUs of one webserver.
        utilisation_target: 0..1, for the rate one webserver can serve.
        mix: label -> share, of the scenario; the run may have sent other shares.

    Returns:
        None when the CPUs per webserver are not known or no call reached a webserver.
    """
    if webserver_cpu is None:
        return None
    usable = usable_periods(periods)
    if usable < FEWEST_PERIODS:
        return _too_few(usable)
    observed = observe(calls, periods, webserver_cpu)
    if not observed.operations:
        return None
    is_the_mix = observed.is_of(mix)
    seen, warnings = in_usual_range(observed, webserver_cpu, by_operation=not is_the_mix)
    if len(seen) < FEWEST_PERIODS or not seen.operations:
        return _too_few(len(seen))
    if len(seen) < PERIODS_FOR_TRUST:
        warnings.append(
            warning("demand.few_for_trust", periods=len(seen), needed=PERIODS_FOR_TRUST)
        )
    apart = _told_apart(seen)
    each, why_not = (None, apart) if isinstance(apart, Finding) else (apart, None)
    whole = _by_shares(seen, each, mix) or (_as_sent(seen) if is_the_mix else None)
    if whole is None:
        result = refused_demand(_not_of_the_mix(seen, why_not, mix), len(seen))
    else:
        result = _of_mix(whole, utilisation_target * webserver_cpu, len(seen), warnings)
    is_single = len(seen.operations) == 1 and whole is not None
    per_operation_s = _of_each(each, seen, warnings)
    return replace(
        result,
        per_operation_s={seen.operations[0]: result.mix_s} if is_single else per_operation_s,
        refusal=None if is_single else why_not,
        condition_number=condition_number(seen.per_operation),
    )


def _as_sent(seen: Observations) -> _Mix:
    """All calls are one column; without the background where its column says the same."""
    if condition_number(seen.per_mix) > CONDITION_LIMIT:
        return _Mix(fit(seen.per_mix[:, :1], seen.cpus_used), np.ones(1), None)
    found = fit(seen.per_mix, seen.cpus_used)
    return _Mix(found, np.array([1.0, 0.0]), np.array([0.0, 1.0]))


def _by_shares(seen: Observations, each: Fit | None, mix: Mapping[str, float]) -> _Mix | None:
    """The demands of the operations, weighted; None: not all of them are known."""
    if each is None or not set(mix) <= set(seen.operations):
        return None
    shares = np.array([mix.get(operation, 0.0) for operation in seen.operations])
    background = np.append(np.zeros(len(shares)), 1.0)
    return _Mix(each, np.append(shares / shares.sum(), 0.0), background)


def _of_mix(whole: _Mix, limit: float, count: int, warnings: list[Finding]) -> DemandResult:
    """What is known of the mix; `limit` are the CPUs of one webserver that may be used."""
    if whole.background is None:
        warnings.append(warning("demand.background_unknown"))
        background = Estimate(value=0.0, n=count, warnings=tuple(warnings))
    else:
        if whole.found.interval(whole.background)[2] < 0:
            warnings.append(warning("demand.costlier_under_load"))
        background = _estimate(whole.found, whole.background, count, warnings)
    offset = np.zeros_like(whole.demand) if whole.background is None else whole.background
    rate, low, high = crossing(whole.found, whole.demand, offset, limit)
    open_end = () if high is not None else (warning("demand.no_upper_limit"),)
    known = np.isfinite(rate)
    return DemandResult(
        mix_s=_estimate(whole.found, whole.demand, count, warnings),
        per_operation_s={},
        refusal=None,
        condition_number=None,
        background_cpu_per_webserver=background,
        rate_per_webserver_per_s=Estimate(
            value=rate if known else None,
            low=low if known else None,
            high=high,
            n=count,
            warnings=(*warnings, *open_end),
        ),
        periods=count,
    )


def _of_each(
    each: Fit | None, seen: Observations, warnings: Sequence[Finding]
) -> dict[str, Estimate]:
    if each is None:
        return {}
    factors = np.eye(len(seen.operations) + 1)
    return {
        operation: _estimate(each, factors[index], len(seen), warnings)
        for index, operation in enumerate(seen.operations)
    }


def _estimate(found: Fit, factors: Floats, count: int, warnings: Sequence[Finding]) -> Estimate:
    value, low, high = found.interval(factors)
    at_bound = (warning("demand.at_bound"),) if value == 0 else ()
    return Estimate(
        value=value,
        low=min(max(low, 0.0), value),
        high=max(high, value),
        n=count,
        warnings=(*warnings, *at_bound),
    )


def _told_apart(seen: Observations) -> Fit | Finding:
    """A fit with a coefficient for each operation, or why there is none."""
    count, operations = len(seen), len(seen.operations)
    needed = 2 * (operations + 1)
    if count < needed:
        return refusal(
            "demand.few_periods_per_operation", operations=operations, needed=needed, periods=count
        )
    if (own := condition_number(seen.calls_per_s)) > CONDITION_LIMIT:
        return refusal(
            "demand.operations_varied_together", condition_number=own, limit=CONDITION_LIMIT
        )
    if (condition := condition_number(seen.per_operation)) > CONDITION_LIMIT:
        return refusal(
            "demand.rates_varied_little", condition_number=condition, limit=CONDITION_LIMIT
        )
    found = fit(seen.per_operation, seen.cpus_used)
    if found.highest_leverage > _DECIDED_BY_ONE:
        return refusal("demand.one_period_decides")
    return found


def refused_demand(reason: Finding, periods: int) -> DemandResult:
    """No demand, and why."""
    nothing = Estimate(value=None, n=periods, warnings=(reason,))
    return DemandResult(nothing, {}, reason, None, nothing, nothing, periods)


def _too_few(periods: int) -> DemandResult:
    why = refusal(
        "demand.few_periods",
        needed=FEWEST_PERIODS,
        idle_percent=IDLE_PERCENT,
        saturated_percent=SATURATED_PERCENT,
        periods=periods,
    )
    return refused_demand(why, periods)


def _not_of_the_mix(
    seen: Observations, why_not_apart: Finding | None, mix: Mapping[str, float]
) -> Finding:
    """Why there is no demand of the mix."""
    if why_not_apart is not None:
        return refusal("demand.other_shares", reason=why_not_apart)
    missing = tuple(label for label in mix if label not in seen.operations)
    return refusal("demand.operations_missing", operations=missing, usual_percent=USUAL_CPU_PERCENT)
