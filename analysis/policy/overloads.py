"""When more work came than was done, and what of the time had too few webservers or too many."""

from math import inf

import numpy as np
from numpy.typing import NDArray

from analysis.policy.results import Overload
from analysis.policy.simulate import Simulated
from analysis.policy.workload import Workload

Floats = NDArray[np.float64]

WAIT_S = 1.0  # of work before a call: less is the unevenness of arrivals
_APART_S = 60


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


def provisioning(
    simulated: Simulated,
    rate_per_s: Floats,
    workload: Workload,
    *,
    period_s: float,
    min_webservers: int,
    utilisation_target: float,
) -> tuple[float | None, float | None]:
    """Shares of the time with fewer and with more webservers than a period's mean rate needs.

    Needed are those that keep the mean CPU at the target, ceil(X D / (u V - U0)), and at least
    the minimum.
    None when the background work alone is past the target.
    """
    each = utilisation_target * workload.webserver_cpu - workload.background_cpu
    period = round(period_s)
    whole = len(rate_per_s) // period * period
    if each <= 0 or not whole:
        return None, None
    mean_rate = rate_per_s[:whole].reshape(-1, period).mean(axis=1)
    had = simulated.webservers[:whole].reshape(-1, period).mean(axis=1)
    needed = np.ceil(mean_rate * workload.demand_s / each - 1e-9).clip(min=min_webservers)
    return float((had < needed).mean()), float((had > needed).mean())


def longest_s(overloads: tuple[Overload, ...]) -> float | None:
    """Length of the longest overload; None: none; infinite: it did not end with the load."""
    if not overloads:
        return None
    longest = max(overloads, key=lambda each: each.to_s - each.from_s)
    return longest.to_s - longest.from_s if longest.caught_up else inf


def _last_without(backlog_s: Floats, second: int) -> int:
    before = np.flatnonzero(backlog_s[:second] <= 0.0)
    return int(before[-1]) + 1 if len(before) else 0
