"""What would come of a load, with the range of everything that is not known better.

The load is simulated once with what is known best, and again with each end of what is not: every
rule at an end of those that explain the recorded runs as well (`analysis.policy.alternatives`), the
least and longest start time, both ends of the demand's interval, and where else within a metric
period the load may begin. A figure's range is the least and the most of all these simulations. It
holds what is not known of the rule and of the calls, one at a time; for chance and what the fluid
leaves out, the ranges of lost calls are widened afterwards (`analysis.policy.lost`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite

import numpy as np
from numpy.typing import NDArray

from analysis.policy.costs import with_demand
from analysis.policy.overloads import longest_s, overloads_of, provisioning
from analysis.policy.results import Figure, FittedRule, LoadPoint, Overload, SimulatedLoad
from analysis.policy.simulate import Simulated, simulate
from analysis.policy.workload import Workload

Floats = NDArray[np.float64]

_POINTS = 600


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
    best = _outcome(load, workload, rule, load.phase_s)
    every = [
        best,
        *(_outcome(load, workload, other, load.phase_s) for other in others),
        *(
            _outcome(load, with_demand(workload, end_s), rule, load.phase_s)
            for end_s in demand_ends_s
        ),
        *(_outcome(load, workload, rule, phase_s) for phase_s in _phases_s(load)),
    ]

    def figure(of: Callable[[_Outcome], float | None]) -> Figure:
        return _figure([of(each) for each in every])

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
        slow_calls=figure(lambda each: each.simulated.slow_calls),
        failed_calls=figure(lambda each: each.simulated.failed_calls),
        slow_share=figure(lambda each: each.simulated.slow_calls / calls if calls else None),
        failed_share=figure(lambda each: each.simulated.failed_calls / calls if calls else None),
        webserver_hours=figure(lambda each: each.simulated.webserver_hours),
        most_webservers=figure(lambda each: float(each.simulated.webservers.max())),
        overload_s=figure(lambda each: sum(spell.to_s - spell.from_s for spell in each.overloads)),
        caught_up_after_s=figure(lambda each: longest_s(each.overloads)),
        under_provisioned_time=figure(lambda each: each.under),
        over_provisioned_time=figure(lambda each: each.over),
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
    under, over = provisioning(
        simulated,
        load.rate_per_s,
        workload,
        period_s=load.period_s,
        min_webservers=load.min_webservers,
        utilisation_target=load.utilisation_target,
    )
    overloads = overloads_of(simulated, load.rate_per_s, workload)
    return _Outcome(simulated, overloads, under, over)


def _figure(values: Sequence[float | None]) -> Figure:
    """The first value, and the range of all; an end that is infinite is not told."""
    known = [value for value in values if value is not None]
    first = values[0]
    return Figure(
        value=first if first is not None and isfinite(first) else None,
        low=_finite(min(known, default=inf)),
        high=_finite(max(known, default=inf)),
    )


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


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
