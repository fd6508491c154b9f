"""What would come of a load, with the range of everything that is not known better.

The load is simulated once with what is known best, and again with each end of what is not: every
rule at an end of those that explain the recorded runs as well (`fit`), the least and longest start
time, both ends of the demand's interval, and where else within a metric period the load may begin.
A number's range is the least and the most of all these simulations. It holds what is not known of
the rule and of the calls, one at a time.

For chance and what the fluid leaves out, the ranges of failed and slow calls are widened
afterwards, by the ratio seen where runs were replayed:

    f = max over runs of max((r + c) / (s + c), (s + c) / (r + c)), at least 2, at most 10

r recorded, s simulated calls, c = 20 so that a handful of calls makes no ratio. The ranges reach
from a fth of their least to f times their most, in two digits. At least 2: runs that differ only by
chance differ as much near saturation.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, inf, isfinite, log10
from statistics import fmean
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mwaa_headroom.analysis.findings import Finding, warning
from mwaa_headroom.analysis.policy.recorded import RecordedScaling
from mwaa_headroom.analysis.policy.replay import FittedRule, LostCalls, Replay, rule_decisions
from mwaa_headroom.analysis.policy.simulate import Simulated, SimulatedEvent, simulate
from mwaa_headroom.analysis.policy.workload import Workload
from mwaa_headroom.analysis.statistics import Floats

WAIT_S: Final = 1.0  # of work before a call: less is the unevenness of arrivals
LEAST_FACTOR: Final = 2.0
MOST_FACTOR: Final = 10.0
_SAME_STEP_PERCENT: Final = 15.0  # half the way from the threshold to all of the CPU
_HANDFUL: Final = 20.0  # calls
_APART_S: Final = 60
_POINTS: Final = 600


@dataclass(frozen=True, slots=True)
class WithRange:
    """A number, with the least and the largest over everything that is not known better."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Overload:
    """A time in which more work came than was done; neighbours less than a minute apart are one."""

    from_s: float
    to_s: float
    caught_up: bool  # False: the load ended before
    slow_calls: float
    failed_calls: float


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """Some seconds of a simulated load; means where nothing else is said."""

    at_s: float  # the middle
    rate_per_s: float
    webservers: int  # in the middle
    fewest_webservers: int  # of all simulations
    most_webservers: int
    cpu_percent: float
    connections: float  # per webserver
    slow_share: float
    failed_share: float
    least_lost_share: float  # slow or failed, of all simulations
    most_lost_share: float


@dataclass(frozen=True, slots=True)
class SimulatedLoad:
    """What would come of a load."""

    name: str
    duration_s: float
    mean_rate_per_s: float
    peak_rate_per_s: float
    min_webservers: int
    max_webservers: int
    period_s: float
    calls: float
    slow_after_s: float | None  # None: the SLO has no latency limit, so no call is slow
    slow_calls: WithRange
    failed_calls: WithRange
    slow_share: WithRange
    failed_share: WithRange
    webserver_hours: WithRange
    most_webservers: WithRange
    overload_s: WithRange  # time in which calls piled up
    caught_up_after_s: (
        WithRange  # of the longest overload, from its beginning; None: it did not end
    )
    under_provisioned_time: WithRange  # share of the time with fewer webservers than the load needs
    over_provisioned_time: WithRange  # ... with more, by the utilisation target
    overloads: tuple[Overload, ...]
    changes: tuple[SimulatedEvent, ...]
    points: tuple[LoadPoint, ...]
    simulations: int  # behind the ranges
    load_of: str  # run that recorded the load; "": none did
    calls_of: str  # run whose mix and demand the calls have
    demand_s: float  # CPU-seconds of a call


@dataclass(frozen=True, slots=True, eq=False)
class LoadToSimulate:
    """A load, and the environment it meets."""

    name: str
    rate_per_s: Floats  # of each second
    min_webservers: int
    max_webservers: int
    period_s: float
    utilisation_target: float
    load_of: str  # run that recorded it; "": none did
    calls_of: str  # run whose mix and demand the calls have
    phase_s: float = 0.0  # when the first whole metric period begins


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    simulated: Simulated
    overloads: tuple[Overload, ...]
    under: float | None
    over: float | None


def simulate_load(
    load: LoadToSimulate,
    workload: Workload,
    demand_ends_s: Sequence[float],
    rule: FittedRule,
    others: Sequence[FittedRule],
) -> SimulatedLoad:
    """Simulate a load.

    Args:
        load: what comes, and to how many webservers.
        workload: what a call costs, as far as it is known best.
        demand_ends_s: the ends of the demand's interval; empty: it has none.
        rule: the one known best.
        others: those that explain the recorded runs as well.
    """
    plays = [
        (workload, rule, load.phase_s),
        *((workload, other, load.phase_s) for other in others),
        *((replace(workload, demand_s=end_s), rule, load.phase_s) for end_s in demand_ends_s),
        *((workload, rule, phase_s) for phase_s in _phases_s(load)),
    ]
    every = [_outcome(load, *play) for play in plays]
    best = every[0]

    def ranged(of: Callable[[_Outcome], float | None]) -> WithRange:
        return _ranged([of(each) for each in every])

    rates, simulated = load.rate_per_s, best.simulated
    calls = simulated.calls
    return SimulatedLoad(
        name=load.name,
        duration_s=float(len(rates)),
        mean_rate_per_s=float(rates.mean()),
        peak_rate_per_s=float(rates.max()),
        min_webservers=load.min_webservers,
        max_webservers=load.max_webservers,
        period_s=load.period_s,
        calls=calls,
        slow_after_s=workload.slow_after_s,
        slow_calls=ranged(lambda each: each.simulated.slow_calls),
        failed_calls=ranged(lambda each: each.simulated.failed_calls),
        slow_share=ranged(lambda each: each.simulated.slow_calls / calls if calls else None),
        failed_share=ranged(lambda each: each.simulated.failed_calls / calls if calls else None),
        webserver_hours=ranged(lambda each: each.simulated.webserver_hours),
        most_webservers=ranged(lambda each: float(each.simulated.webservers.max())),
        overload_s=ranged(lambda each: sum(spell.to_s - spell.from_s for spell in each.overloads)),
        caught_up_after_s=ranged(lambda each: _longest_s(each.overloads)),
        under_provisioned_time=ranged(lambda each: each.under),
        over_provisioned_time=ranged(lambda each: each.over),
        overloads=best.overloads,
        changes=simulated.events,
        points=_points(load, [each.simulated for each in every]),
        simulations=len(every),
        load_of=load.load_of,
        calls_of=load.calls_of,
        demand_s=workload.demand_s,
    )


def _phases_s(load: LoadToSimulate) -> list[int]:
    """Where else a load may begin within a metric period."""
    period = round(load.period_s)
    found = {round(load.phase_s + period * quarter / 4) % period for quarter in (1, 2, 3)}
    return sorted(found - {round(load.phase_s) % period})


def _outcome(
    load: LoadToSimulate, workload: Workload, rule: FittedRule, phase_s: float
) -> _Outcome:
    simulated = simulate(
        load.rate_per_s,
        workload,
        rule.policy,
        period_s=load.period_s,
        start_s=rule.start_s,
        min_webservers=load.min_webservers,
        max_webservers=load.max_webservers,
        phase_s=phase_s,
    )
    under, over = _provisioning(simulated, load, workload)
    overloads = overloads_of(simulated, load.rate_per_s, workload)
    return _Outcome(simulated, overloads, under, over)


def _ranged(values: Sequence[float | None]) -> WithRange:
    """The first value, and the range of all; what is infinite is not told."""
    known = [value for value in values if value is not None]
    ends = (values[0], min(known, default=None), max(known, default=None))
    return WithRange(*(end if end is not None and isfinite(end) else None for end in ends))


def _points(load: LoadToSimulate, every: Sequence[Simulated]) -> tuple[LoadPoint, ...]:
    """The course of the first simulation, within the least and the most of all."""
    rates, simulated = load.rate_per_s, every[0]
    length = -(-len(rates) // _POINTS)
    starts = np.arange(0, len(rates), length)
    lengths = np.diff(np.append(starts, len(rates)))
    offered = np.add.reduceat(rates, starts)
    counts = np.array([each.webservers[starts + lengths // 2] for each in every])
    failed = np.array([_shares(each.failed_per_s, offered, starts) for each in every])
    slow = np.array([_shares(each.slow_share * rates, offered, starts) for each in every])
    lost = np.minimum(1.0, failed + slow)
    columns = zip(
        (starts + lengths / 2).tolist(),
        (offered / lengths).tolist(),
        counts[0].tolist(),
        counts.min(axis=0).tolist(),
        counts.max(axis=0).tolist(),
        (np.add.reduceat(simulated.cpu_percent, starts) / lengths).tolist(),
        (np.add.reduceat(simulated.connections / simulated.webservers, starts) / lengths).tolist(),
        slow[0].tolist(),
        failed[0].tolist(),
        lost.min(axis=0).tolist(),
        lost.max(axis=0).tolist(),
        strict=True,
    )
    return tuple(LoadPoint(*values) for values in columns)


def _shares(calls: Floats, offered: Floats, starts: NDArray[np.int64]) -> Floats:
    of_points = np.add.reduceat(calls, starts)
    shares = np.divide(of_points, offered, out=np.zeros_like(offered), where=offered > 0)
    return np.asarray(np.minimum(1.0, shares))


def overloads_of(
    simulated: Simulated, rate_per_s: Floats, workload: Workload
) -> tuple[Overload, ...]:
    """The times in which calls waited for more than a second of work before them."""
    capacity_s = simulated.webservers * workload.cpu_for_calls
    late = np.flatnonzero(simulated.backlog_s > WAIT_S * capacity_s)
    if not len(late):
        return ()
    borders = np.flatnonzero(np.diff(late) >= _APART_S) + 1
    slow = rate_per_s * simulated.slow_share
    found = []
    for seconds in np.split(late, borders):
        # Calls began to pile up before the first of them waited for a second.
        first = _last_without(simulated.backlog_s, int(seconds[0]))
        last = int(seconds[-1]) + 1
        found.append(
            Overload(
                from_s=float(first),
                to_s=float(last),
                caught_up=last < len(rate_per_s),
                slow_calls=float(slow[first:last].sum()),
                failed_calls=float(simulated.failed_per_s[first:last].sum()),
            )
        )
    return tuple(found)


def _provisioning(
    simulated: Simulated, load: LoadToSimulate, workload: Workload
) -> tuple[float | None, float | None]:
    """Shares of the time with fewer and with more webservers than a period's mean rate needs.

    Needed are those that keep the mean CPU at the target, ceil(X D / (u V - U0)), and at least
    the minimum. None when the background work alone is past the target.
    """
    each = load.utilisation_target * workload.webserver_cpu - workload.background_cpu
    period = round(load.period_s)
    whole = len(load.rate_per_s) // period * period
    if each <= 0 or not whole:
        return None, None
    mean_rate = load.rate_per_s[:whole].reshape(-1, period).mean(axis=1)
    had = simulated.webservers[:whole].reshape(-1, period).mean(axis=1)
    needed = np.ceil(mean_rate * workload.demand_s / each - 1e-9).clip(min=load.min_webservers)
    return float((had < needed).mean()), float((had > needed).mean())


def _longest_s(overloads: tuple[Overload, ...]) -> float | None:
    """Length of the longest overload; None: none; infinite: it did not end with the load."""
    if not overloads:
        return None
    longest = max(overloads, key=lambda each: each.to_s - each.from_s)
    return longest.to_s - longest.from_s if longest.caught_up else inf


def _last_without(backlog_s: Floats, second: int) -> int:
    before = np.flatnonzero(backlog_s[:second] <= 0.0)
    return int(before[-1]) + 1 if len(before) else 0


def step_unseen(
    load: SimulatedLoad, runs: Sequence[RecordedScaling], rule: FittedRule
) -> Finding | None:
    """That webservers are added at a higher CPU than ever in the records; None: they are not.

    A rule may add more at once the higher the CPU of the last period is, as step scaling does.
    Where the maximum was reached, neither the record nor the rule tells how many it would be.

    Args:
        load: as the rule makes it.
        runs: that the rule is fitted to.
        rule: tells when it decided where decisions are not recorded.
    """
    seen = [
        fmean(period.cpu_percent)
        for run in runs
        for change in (run.changes if run.decisions_known else rule_decisions(run, rule.policy))
        for period in run.periods
        if change.from_count < change.to_count < run.max_webservers
        and period.cpu_percent
        and 0 <= change.to_s - period.end_s < run.period_s
    ]
    asked = [
        fmean(
            point.cpu_percent
            for point in load.points
            if 0 < change.decided_s - point.at_s <= load.period_s
        )
        for change in load.changes
        if change.from_count < change.to_count < load.max_webservers
    ]
    seen_percent, asked_percent = max(seen, default=0.0), max(asked, default=0.0)
    if asked_percent <= seen_percent + _SAME_STEP_PERCENT:
        return None
    return warning("policy.step_unseen", seen_percent=seen_percent, asked_percent=asked_percent)


def factors(replays: Sequence[Replay]) -> tuple[float, float]:
    """By which to widen ranges of failed calls, and of slow ones."""
    return _factor(each.failed for each in replays), _factor(each.slow for each in replays)


def widened(load: SimulatedLoad, failed: float, slow: float) -> SimulatedLoad:
    """The load with ranges as wide as these factors say."""
    return replace(
        load,
        failed_calls=_widened(load.failed_calls, failed, load.calls),
        failed_share=_widened(load.failed_share, failed, 1.0),
        slow_calls=_widened(load.slow_calls, slow, load.calls),
        slow_share=_widened(load.slow_share, slow, 1.0),
    )


def _factor(seen: Iterable[LostCalls | None]) -> float:
    ratios = [
        (each.simulated + _HANDFUL) / (each.recorded + _HANDFUL)
        for each in seen
        if each is not None
    ]
    largest = max((max(ratio, 1.0 / ratio) for ratio in ratios), default=LEAST_FACTOR)
    return min(MOST_FACTOR, max(LEAST_FACTOR, largest))


def _widened(number: WithRange, factor: float, most: float) -> WithRange:
    if number.low is None or number.high is None:
        return number
    return replace(
        number,
        low=_two_digits(number.low / factor, up=False),
        high=min(most, _two_digits(number.high * factor, up=True)),
    )


def _two_digits(value: float, *, up: bool) -> float:
    if value <= 0:
        return 0.0
    unit = 10.0 ** (floor(log10(value)) - 1)
    return (ceil if up else floor)(value / unit) * unit
