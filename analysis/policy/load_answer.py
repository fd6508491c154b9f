"""What would come of a load, with the range of everything that is not known better.

The load is simulated once with what is known best, and again with each end of what is not: every
rule at an end of those that explain the recorded runs as well (`analysis.policy.alternatives`), the
least and longest start time, both ends of the demand's interval, and where else within a metric
period the load may begin. A figure's range is the least and the most of all these simulations. It
holds what is not known of the rule and of the calls, one at a time; not chance, and not what the
fluid leaves out.
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
    best = _outcome(load, workload, rule)
    every = [
        best,
        *(_outcome(load, workload, other) for other in others),
        *(_outcome(load, with_demand(workload, end_s), rule) for end_s in demand_ends_s),
        *(_outcome(load, workload, rule, phase_s) for phase_s in _phases_s(load.period_s)),
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
        points=_points(load, simulated),
        simulations=len(every),
        load_of=load.load_of,
        calls_of=load.calls_of,
        demand_s=workload.demand_s,
    )


def _phases_s(period_s: float) -> list[int]:
    """Where else a load may begin within a metric period."""
    return sorted({round(period_s * quarter / 4) for quarter in (1, 2, 3)} - {0, round(period_s)})


def _outcome(
    load: LoadToSimulate, workload: Workload, rule: FittedRule, phase_s: float = 0.0
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


def _points(load: LoadToSimulate, simulated: Simulated) -> tuple[LoadPoint, ...]:
    rates = load.rate_per_s
    length = -(-len(rates) // _POINTS)
    edges = range(0, len(rates), length)
    each = simulated.connections / simulated.webservers
    return tuple(
        LoadPoint(
            at_s=(first + last) / 2,
            rate_per_s=float(rates[first:last].mean()),
            webservers=float(simulated.webservers[first:last].mean()),
            cpu_percent=float(simulated.cpu_percent[first:last].mean()),
            connections=float(each[first:last].mean()),
            slow_share=_share(
                simulated.slow_share[first:last] * rates[first:last], rates[first:last]
            ),
            failed_share=_share(simulated.failed_per_s[first:last], rates[first:last]),
        )
        for first in edges
        for last in (min(first + length, len(rates)),)
    )


def _share(calls: Floats, rates: Floats) -> float:
    offered = float(rates.sum())
    return min(1.0, float(calls.sum()) / offered) if offered else 0.0
