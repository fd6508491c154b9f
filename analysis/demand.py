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

Besides, the background may have drifted, which one column tells from load where load did not itself
rise with time: m_t times the time from the run's middle in run lengths. And calls of the mix may
cost more, or less, where webservers are busier (contention, caches):

    D(x) = D + Q x D_0 / V,   x calls per second of one webserver, D_0 demand by a first fit

Q CPU-s more for a webserver that is busy than for one that is idle, beforehand 0 +- D_0 / 2. D_mix
is D(X_1), and X_1 where the line, bent or not, reaches u V. Fit and intervals: `demand_fit.py`.

A call's work is spread evenly over [actual start, end]: across a period's border it counts in both.
Calls refused before a webserver are left out, and stages in which many failed before the
environment never come here (`caller_failures.py`). Periods in which more than 3 % of the others
failed are not used: nobody knows what these cost. Periods have a webserver count that is the same
in the period before and after, and a load that makes for at most 70 % CPU, as expected by a first
fit: near saturation calls cost more. Choosing by the measured CPU itself would keep the lucky low
periods at the border and drop their high neighbours, and so make every demand too small. Where too
few are left, those expected to have up to 90 % are used too, with a warning.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.demand_fit import (
    BENT,
    LASTING,
    Fit,
    bounded_fit,
    condition_number,
    fit,
    least_squares,
)
from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.metric_periods import WebserverPeriod
from mwaa_headroom.analysis.results import DemandResult
from mwaa_headroom.analysis.statistics import Estimate, Floats

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
    start_s: Floats  # (periods,)
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
            start_s=self.start_s[chosen],
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

    @property
    def drift(self) -> Floats:
        """A column for a background that changed evenly; its coefficient: by how many CPUs."""
        length_s = max(float(np.ptp(self.start_s)), self.period_s)
        return np.asarray(self.webservers * (self.start_s - self.start_s.mean()) / length_s)

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
        start_s=np.array([p.start_s for p in periods]),
        webservers=webservers,
        cpus_used=fraction * webservers * webserver_cpu,
        period_s=periods[0].period_s,
    )


def failed_shares(calls: Calls, periods: Sequence[WebserverPeriod]) -> Floats:
    """Of the calls that may have cost a webserver work, the share that failed, by period."""
    if not periods:
        return np.zeros(0)
    every = calls_in_periods(calls.where(calls.reached_webserver), periods)
    good = calls_in_periods(calls.where(calls.ok), periods)
    return np.asarray(1 - good / np.maximum(every, good.clip(1e-9)))


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
_MOST_FAILED = 0.03  # of the calls of a period: what failed calls cost is not known
_WORTH_SAYING = 1.5  # times as probable as beforehand
_USUAL_BEND = 0.5  # how much more a call may cost at 100 % than at 0 % CPU: standard deviation
WITH_THE_LOAD = 0.7  # share of the drift's column that the load explains
_HALF = 0.5  # of an estimate's variance


@dataclass(frozen=True, slots=True, eq=False)
class _Mix:
    """A fit, and the factors that make demand and background of its coefficients."""

    found: Fit
    demand: Floats
    background: Floats | None  # None: not told apart from the demand
    plain_s: float  # the demand by a straight line without drift
    bend: Floats | None = None  # what one call/s of one webserver adds to the demand
    drift: Floats | None = None  # CPUs of a webserver, over the run

    def demand_at(self, rate_per_s: float) -> Floats:
        """Factors of what a call costs where one webserver has so many calls per second."""
        return self.demand if self.bend is None else self.demand + rate_per_s * self.bend

    def line(self, rate_per_s: float) -> Floats:
        """Factors of the CPUs that one webserver uses at so many calls per second."""
        used = rate_per_s * self.demand_at(rate_per_s)
        return used if self.background is None else used + self.background


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
    failing = failed_shares(calls, periods)
    if (usable := usable_periods(periods)) < FEWEST_PERIODS:
        return _too_few(usable)
    periods = [
        period for period, share in zip(periods, failing, strict=True) if share <= _MOST_FAILED
    ]
    warnings = []
    if left_out := usable - usable_periods(periods):
        values = {"periods": left_out, "most_failed": _MOST_FAILED}
        if usable - left_out < FEWEST_PERIODS:
            return refused_demand(refusal("demand.calls_failed", **values), usable - left_out)
        warnings.append(warning("demand.calls_failed", **values))
    observed = observe(calls, periods, webserver_cpu)
    if not observed.operations:
        return None
    is_the_mix = observed.is_of(mix)
    seen, near = in_usual_range(observed, webserver_cpu, by_operation=not is_the_mix)
    warnings += near
    if len(seen) < FEWEST_PERIODS or not seen.operations:
        return _too_few(len(seen))
    if len(seen) < PERIODS_FOR_TRUST:
        warnings.append(
            warning("demand.few_for_trust", periods=len(seen), needed=PERIODS_FOR_TRUST)
        )
    apart = _told_apart(seen)
    each, why_not = (None, apart) if isinstance(apart, Finding) else (apart, None)
    whole = _by_shares(seen, each, mix) or (_as_sent(seen, webserver_cpu) if is_the_mix else None)
    if whole is None:
        result = refused_demand(_not_of_the_mix(seen, why_not, mix), len(seen))
    else:
        cpus = utilisation_target * webserver_cpu, webserver_cpu
        result = _of_mix(whole, seen, cpus, warnings)
    is_single = len(seen.operations) == 1 and whole is not None
    per_operation_s = _of_each(each, seen, warnings)
    return replace(
        result,
        per_operation_s={seen.operations[0]: result.mix_s} if is_single else per_operation_s,
        refusal=None if is_single else why_not,
        condition_number=condition_number(seen.per_operation),
    )


def _as_sent(seen: Observations, webserver_cpu: float) -> _Mix:
    """All calls are one column; without the background where its column says the same."""
    matrix, count = seen.per_mix, 2
    if condition_number(matrix) > CONDITION_LIMIT:
        matrix, count = matrix[:, :1], 1
    first = least_squares(matrix, seen.cpus_used).bounded[0]
    columns, drifts = [matrix], _may_have_drifted(matrix, seen)
    if drifts:
        columns.append(seen.drift[:, None])
    bends = count == 2 and first > 0 and len(seen) >= PERIODS_FOR_TRUST
    if bends:
        busy = matrix[:, 0] / seen.webservers * first / webserver_cpu
        columns.append((matrix[:, 0] * busy)[:, None])
    found = fit(
        np.column_stack(columns),
        seen.cpus_used,
        seen.start_s,
        unbounded=drifts + bends,
        bend_deviation=_USUAL_BEND * first if bends else None,
    )
    unit = np.eye(count + drifts + bends)
    return _Mix(
        found,
        unit[0],
        unit[1] if count == 2 else None,
        float(first),
        unit[-1] * first / webserver_cpu if bends else None,
        unit[count] if drifts else None,
    )


def _may_have_drifted(matrix: Floats, seen: Observations) -> bool:
    """Whether a drift can be told from the other columns at all."""
    return condition_number(np.column_stack([matrix, seen.drift])) <= CONDITION_LIMIT


def _by_shares(seen: Observations, each: Fit | None, mix: Mapping[str, float]) -> _Mix | None:
    """The demands of the operations, weighted; None: not all of them are known."""
    if each is None or not set(mix) <= set(seen.operations):
        return None
    unit = np.eye(len(each.bounded))
    count = len(seen.operations)
    shares = np.array([mix.get(operation, 0.0) for operation in seen.operations])
    demand = shares / shares.sum() @ unit[:count]
    plain = least_squares(seen.per_operation, seen.cpus_used).bounded
    return _Mix(
        each,
        demand,
        unit[count],
        float(demand[: count + 1] @ plain),
        drift=unit[count + 1] if len(unit) > count + 1 else None,
    )


def _of_mix(
    whole: _Mix, seen: Observations, cpus: tuple[float, float], warnings: list[Finding]
) -> DemandResult:
    """What is known of the mix; `cpus`: of one webserver, those that may be used and all."""
    limit, webserver_cpu = cpus
    count, found = len(seen), whole.found
    near = limit / max(float(whole.demand @ found.bounded), 1e-9)
    rate, low, high = found.crossing(whole.line, limit, near)
    known = np.isfinite(rate)
    warnings += _checks(whole, seen, webserver_cpu, rate if known else near)
    if whole.background is None:
        warnings.append(warning("demand.background_unknown"))
        background = Estimate(value=0.0, n=count, warnings=tuple(warnings))
    else:
        background = _estimate(found, whole.background, count, warnings)
    open_end = () if high is not None else (warning("demand.no_upper_limit"),)
    return DemandResult(
        mix_s=_estimate(found, whole.demand_at(rate if known else 0.0), count, warnings),
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
        mix_of_plain_fit_s=whole.plain_s,
    )


def _checks(
    whole: _Mix, seen: Observations, webserver_cpu: float, rate_per_s: float
) -> Iterator[Finding]:
    """What the periods say against a constant cost of calls and errors that do not last."""
    found, rates = whole.found, seen.calls_per_s.sum(axis=1) / seen.webservers
    if whole.bend is not None and found.bent > _WORTH_SAYING * BENT:
        ends = tuple(
            (
                float(whole.line(rate) @ found.bounded) / webserver_cpu,
                float(whole.demand_at(rate) @ found.bounded),
            )
            for rate in (float(rates.min()), float(rates.max()))
        )
        yield warning("demand.depends_on_load", at_least=ends[0], at_most=ends[1])
    if found.correlated > _WORTH_SAYING * LASTING:
        yield warning("demand.errors_last", probability=found.correlated)
    if whole.drift is not None:
        value, low, high = found.interval(whole.drift)
        if low > 0 or high < 0:
            yield warning("demand.background_drifted", cpus=value, webserver_cpu=webserver_cpu)
    others = np.column_stack([seen.webservers, rates * seen.webservers])
    straight = others @ np.linalg.lstsq(others, seen.drift, rcond=None)[0]
    with_load = 1 - float(((seen.drift - straight) ** 2).sum() / (seen.drift**2).sum())
    if with_load > WITH_THE_LOAD:
        yield warning("demand.load_rose_with_time", share=with_load)
    at, share = found.largest_part(whole.demand_at(rate_per_s))
    if share > _HALF and at < found.rows == len(seen):
        yield warning("demand.one_period_weighs", start_s=float(seen.start_s[at]), share=share)


def _of_each(
    each: Fit | None, seen: Observations, warnings: Sequence[Finding]
) -> dict[str, Estimate]:
    if each is None:
        return {}
    factors = np.eye(len(each.bounded))
    return {
        operation: _estimate(each, factors[index], len(seen), warnings)
        for index, operation in enumerate(seen.operations)
    }


def _estimate(found: Fit, factors: Floats, count: int, warnings: Sequence[Finding]) -> Estimate:
    value, low, high = found.interval(factors)
    at_bound = (warning("demand.at_bound"),) if value <= 0 else ()
    return Estimate(
        value=max(value, 0.0),
        low=min(max(low, 0.0), max(value, 0.0)),
        high=max(high, value, 0.0),
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
    if least_squares(seen.per_operation, seen.cpus_used).fits.leverages.max() > _DECIDED_BY_ONE:
        return refusal("demand.one_period_decides")
    if not _may_have_drifted(seen.per_operation, seen):
        return fit(seen.per_operation, seen.cpus_used, seen.start_s)
    with_drift = np.column_stack([seen.per_operation, seen.drift])
    return fit(with_drift, seen.cpus_used, seen.start_s, unbounded=1)


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
