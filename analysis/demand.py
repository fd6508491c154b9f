"""Service demands by the utilisation law: CPU-seconds of the webservers one call costs.

    U_t m_t V = U0 m_t + sum_c X_{c,t} D_c + error,    D_c >= 0, U0 >= 0

U_t mean CPU (0..1) of the m_t webservers with V CPUs each in metric period t, X_{c,t} calls of
operation c per second that reached a webserver in it, D_c demand (CPU-s), U0 background CPUs of one
webserver. Solved by non-negative least squares with columns scaled to length 1.

    D_mix = sum_t (U_t m_t V - U0 m_t) T / sum_t calls_t
    X_1 = (u V - U0) / D_mix

X_1 rate of this mix that holds one webserver at the utilisation u. Its interval comes from the same
replicates as those of D_mix and U0, which are negatively correlated, so it is narrower than theirs.

A call's work is spread evenly over [actual start, end]: across a period's border it counts in both.
Calls refused before a webserver are left out. Periods: wholly inside the measured part of a stage,
webserver count the same in the period before and after, CPU 5..95 % as measured and 20..70 % as
expected from their load (only the former, with a warning, when those are too few).

Intervals: circular block bootstrap over n periods (block 4, 1000 replicates, fixed seed), widened
around the estimate by sqrt(n/(n-k)) t(0.975, n-k) / z(0.975) for k coefficients, because percentile
intervals of few observations are too narrow.
Sources: Zhang, Cherkasova, Smirni, ICAC 2007 (regression); Lazowska et al., Quantitative System
Performance, 1984, ch. 3 (utilisation law); Politis and Romano 1992 (circular block bootstrap);
Hesterberg, Am. Stat. 69 (2015) 371 (widening).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from analysis.calls import Calls, Floats
from analysis.results import DemandResult, Estimate
from analysis.windows import WebserverPeriod

CONDITION_LIMIT = 30.0
USUAL_CPU_PERCENT = (20.0, 70.0)
WIDE_CPU_PERCENT = (5.0, 95.0)
FEWEST_PERIODS = 6
PERIODS_FOR_TRUST = 20  # with fewer, a bootstrap interval is too narrow
REPLICATES = 1000
BLOCK = 4
_SHORTEST_WORK_S = 1e-6
_LEAST_DEMAND_S = 1e-9  # a demand of 0 has no rate


@dataclass(frozen=True, slots=True, eq=False)
class _Observations:
    """One row per metric period used."""

    operations: tuple[str, ...]
    calls_per_s: Floats  # (periods, operations)
    webservers: Floats  # (periods,)
    cpus_used: Floats  # (periods,) over all webservers

    def rows(self, index: NDArray[np.int64]) -> "_Observations":
        return _Observations(
            self.operations, self.calls_per_s[index], self.webservers[index], self.cpus_used[index]
        )

    @property
    def per_operation(self) -> Floats:
        return np.column_stack([self.calls_per_s, self.webservers])

    @property
    def per_mix(self) -> Floats:
        return np.column_stack([self.calls_per_s.sum(axis=1), self.webservers])


def estimate_demand(
    calls: Calls,
    periods: Sequence[WebserverPeriod],
    webserver_cpu: float | None,
    utilisation_target: float,
) -> DemandResult | None:
    """Demands of the mix and, where the periods can tell them apart, of each operation.

    Args:
        calls: all calls of the run.
        periods: those of `steady_periods` inside the measured parts, in the order of time.
        webserver_cpu: CPUs of one webserver.
        utilisation_target: 0..1, for the rate one webserver can serve.

    Returns:
        None when the CPUs per webserver are not known or no call reached a webserver.
    """
    if webserver_cpu is None:
        return None
    unsaturated = [
        p for p in periods if WIDE_CPU_PERCENT[0] <= (p.cpu_percent or 0.0) <= WIDE_CPU_PERCENT[1]
    ]
    if len(unsaturated) < FEWEST_PERIODS:
        return _refused(len(unsaturated))
    observed = _observe(calls, unsaturated, webserver_cpu)
    if not observed.operations:
        return None
    seen, warnings = _in_usual_range(observed, webserver_cpu)
    count = len(seen.webservers)
    condition = _condition(seen.per_operation)
    refusal = _refusal(condition, count, len(seen.operations))
    mix_condition = _condition(seen.per_mix)
    background_known = mix_condition <= CONDITION_LIMIT
    design = "operations" if not refusal else "mix" if background_known else "no background"
    fitted = _fit(seen, design)
    replicates = _bootstrap(seen, design)
    if not background_known and refusal:
        warnings.append(
            "The load hardly varied, so CPU that webservers use without calls is counted into the "
            "demand of calls."
        )
    if count < PERIODS_FOR_TRUST:
        warnings.append(
            f"Only {count} metric periods were usable; with fewer than {PERIODS_FOR_TRUST} the "
            "interval is likely too narrow."
        )
    widening = _widening(count, len(seen.operations) + 1 if not refusal else 2)
    for_calls = utilisation_target * webserver_cpu - np.array([fitted[1], *replicates[:, 1]])
    rates = for_calls.clip(min=0.0) / np.maximum([fitted[0], *replicates[:, 0]], _LEAST_DEMAND_S)
    estimates = [
        _estimate(value, replicates[:, index], widening, count, warnings)
        for index, value in enumerate(fitted)
    ]
    return DemandResult(
        mix_s=estimates[0],
        per_operation_s={} if refusal else dict(zip(seen.operations, estimates[2:], strict=True)),
        refusal=refusal,
        condition_number=condition,
        background_cpu_per_webserver=estimates[1],
        rate_per_webserver_per_s=_estimate(rates[0], rates[1:], widening, count, warnings),
        periods=count,
    )


def steady_periods(periods: Sequence[WebserverPeriod]) -> tuple[WebserverPeriod, ...]:
    """Periods whose webserver count is the same in the period before and after."""
    kept = []
    for index, period in enumerate(periods):
        neighbours = periods[max(index - 1, 0) : index + 2]
        steady = all(other.webservers == period.webservers for other in neighbours)
        if period.webservers and period.cpu_percent is not None and steady:
            kept.append(period)
    return tuple(kept)


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


def _in_usual_range(
    observed: _Observations, webserver_cpu: float
) -> tuple[_Observations, list[str]]:
    """Periods whose load, by a first fit, makes for the usual CPU.

    Choosing by the measured CPU itself would keep the lucky low periods near 70 % and drop their
    high neighbours, and so make every demand too small.
    """
    demand_s, background, *_ = _fit(observed, "mix")
    expected = demand_s * observed.calls_per_s.sum(axis=1) + background * observed.webservers
    percent = 100 * expected / (observed.webservers * webserver_cpu)
    usual = np.flatnonzero((percent >= USUAL_CPU_PERCENT[0]) & (percent <= USUAL_CPU_PERCENT[1]))
    if len(usual) >= PERIODS_FOR_TRUST:
        return observed.rows(usual), []
    if len(usual) == len(percent):
        return observed, []
    low, high = WIDE_CPU_PERCENT
    return observed, [
        f"Only {len(usual)} metric periods had the load for 20 to 70 % CPU, so all from {low:.0f} "
        f"to {high:.0f} % were used; near saturation calls may cost more."
    ]


def _refused(periods: int) -> DemandResult:
    reason = (
        f"A service demand needs at least {FEWEST_PERIODS} whole metric periods with 5 to 95 % CPU "
        f"and a constant webserver count, there are {periods}."
    )
    nothing = Estimate(value=None, n=periods, warnings=(reason,))
    return DemandResult(nothing, {}, reason, None, nothing, nothing, periods)


def _observe(
    calls: Calls, periods: Sequence[WebserverPeriod], webserver_cpu: float
) -> _Observations:
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
    return _Observations(
        operations=tuple(operations),
        calls_per_s=np.column_stack(columns) if columns else np.zeros((len(periods), 0)),
        webservers=webservers,
        cpus_used=fraction * webservers * webserver_cpu,
    )


def _condition(matrix: Floats) -> float:
    """Condition number after scaling every column to length 1."""
    return float(np.linalg.cond(matrix / np.linalg.norm(matrix, axis=0)))


def _refusal(condition: float, periods: int, operations: int) -> str:
    if periods < 2 * (operations + 1):
        return (
            f"Demands of {operations} operations need at least {2 * (operations + 1)} usable "
            f"metric periods, there are {periods}; only the demand of the mix is given."
        )
    if condition > CONDITION_LIMIT:
        return (
            f"The operations varied together (condition number {condition:.0f}, at most "
            f"{CONDITION_LIMIT:.0f} is usable), so only the demand of the mix can be told; run "
            "stages with one operation each to tell them apart."
        )
    return ""


def _fit(seen: _Observations, design: str) -> Floats:
    """D_mix, U0, then (design "operations" only) D_c of each operation."""
    match design:
        case "operations":
            solution = _nnls(seen.per_operation, seen.cpus_used)
            demands, background = solution[:-1], solution[-1]
        case "mix":
            demands, background = np.array([]), _nnls(seen.per_mix, seen.cpus_used)[-1]
        case _:
            demands, background = np.array([]), 0.0
    for_calls = (seen.cpus_used - background * seen.webservers).sum()
    calls = max(float(seen.calls_per_s.sum()), 1e-12)
    return np.concatenate([[max(for_calls, 0.0) / calls, background], demands])


def _nnls(matrix: Floats, target: Floats) -> Floats:
    lengths = np.linalg.norm(matrix, axis=0)
    lengths = np.where(lengths > 0, lengths, 1.0)  # a replicate may miss an operation
    solution, _ = optimize.nnls(matrix / lengths, target)
    return np.asarray(solution / lengths, dtype=np.float64)


def _bootstrap(seen: _Observations, design: str) -> Floats:
    random = np.random.default_rng(0)
    count = len(seen.webservers)
    block = min(BLOCK, count)
    blocks = -(-count // block)
    replicates = []
    for _ in range(REPLICATES):
        starts = random.integers(0, count, blocks)
        index = ((starts[:, None] + np.arange(block)) % count).ravel()[:count]
        replicates.append(_fit(seen.rows(index), design))
    return np.array(replicates)


def _widening(periods: int, coefficients: int) -> float:
    freedom = periods - coefficients
    ratio = stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)
    return float(np.sqrt(periods / freedom) * ratio)


def _estimate(
    value: float, replicates: Floats, widening: float, periods: int, warnings: Sequence[str]
) -> Estimate:
    low, high = value + widening * (np.percentile(replicates, [2.5, 97.5]) - value)
    own = list(warnings)
    if value == 0:
        own.append("Only the upper limit is known: the estimate is at its bound of 0.")
    return Estimate(
        value=float(value),
        low=float(np.clip(low, 0.0, value)),
        high=float(max(high, value)),
        n=periods,
        warnings=tuple(own),
    )
