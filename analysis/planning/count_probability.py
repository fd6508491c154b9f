"""With which probability a webserver count is enough for a load, by all runs together.

    P(n) = sum_i w_i P(n C >= rate_i)    rates of the load with their weights

C is the rate per webserver at which the SLO breaks where a run measured it, scaled to another class
like X_1 (`sizing.rate_uncertainty`), and else X_1 itself: then P is the probability that the
utilisation stays at or below its target. Where the interval of C has no lower end,
P(n X_1 >= rate_i) decides too, and P is at most what is known of C. Where a run met a limit that
more webservers are not known to move (anything but their CPU), P is at most the probability that
the rate stays below that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mwaa_headroom.analysis.planning.runs import (
    SizedRun,
    capacity_of_one,
    fixed_capacity,
    rate_of_one,
)
from mwaa_headroom.analysis.sizing.rate_uncertainty import UncertainRate
from mwaa_headroom.analysis.statistics import Estimate, Floats


@dataclass(frozen=True, slots=True)
class CountChance:
    """How probable it is that so many webservers are enough for the load."""

    webservers: int
    probability: float  # over the load: a range evenly, a trace by its time
    probability_at_peak: float  # at the highest rate of the load


@dataclass(frozen=True, slots=True)
class RatesPerWebserver:
    """What all runs together say of webservers with so many CPUs."""

    rate_of_one: UncertainRate  # at the utilisation target
    capacity_of_one: UncertainRate  # where the SLO breaks
    fixed_capacity: UncertainRate  # whatever the number of webservers

    @property
    def by_slo(self) -> bool:
        """Whether the rate at which the SLO breaks decides alone: it has a lower end."""
        return self.capacity_of_one.is_known and bool(self.capacity_of_one.estimate.low)

    @property
    def judging_per_s(self) -> float | None:
        """The rate of one webserver that decides whether it has enough to do with."""
        if self.by_slo:
            return self.capacity_of_one.estimate.value
        both = (self.capacity_of_one, self.rate_of_one)
        return min((each.estimate.value or 0.0 for each in both if each.is_known), default=None)

    def enough(self, webservers: ArrayLike, rates_per_s: ArrayLike) -> Floats:
        """Probability that so many webservers meet the SLO at each rate."""
        rates = np.asarray(rates_per_s, dtype=np.float64)
        of_one = rates / np.asarray(webservers, dtype=np.float64)
        capacity, fixed = self.capacity_of_one, self.fixed_capacity
        if self.by_slo:
            chances = capacity.at_least(of_one)
        elif not self.rate_of_one.is_known:
            return np.zeros(of_one.shape)
        else:
            chances = self.rate_of_one.at_least(of_one)
            if capacity.is_known:
                chances = np.minimum(chances, capacity.at_least_at_most(of_one))
        return np.minimum(chances, fixed.at_least_at_most(rates)) if fixed.is_known else chances


def evidence_for(
    runs: Sequence[SizedRun], webserver_cpu: float, utilisation: float
) -> RatesPerWebserver:
    """Scale what the runs say to webservers with so many CPUs.

    Args:
        runs: alike.
        webserver_cpu: CPUs of one webserver.
        utilisation: not to be exceeded, 0..1.
    """
    one = rate_of_one(runs, webserver_cpu, utilisation)
    measured = rate_of_one(runs, runs[0].webserver_cpu, utilisation)
    capacity = UncertainRate(Estimate(value=None), 0)
    if one.is_known and measured.is_known:
        grown = (one.estimate.value or 0.0) / (measured.estimate.value or 1.0)
        capacity = capacity_of_one(runs).times(grown)
    return RatesPerWebserver(one, capacity, fixed_capacity(runs))


def count_chance(
    evidence: RatesPerWebserver, rates: Floats, weights: Floats, peak_per_s: float, webservers: int
) -> CountChance:
    """For so many webservers: over the rates (1/s) of a load by their weights, and at its peak."""
    return CountChance(
        webservers=webservers,
        probability=float((weights * evidence.enough(webservers, rates)).sum()),
        probability_at_peak=float(evidence.enough(webservers, peak_per_s)),
    )
