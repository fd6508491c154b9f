"""How many webservers of each environment class a load needs, and how sure that is.

    n = ceil(rate / X_1)                 at the highest rate; its interval from that of X_1
    P(n) = sum_i w_i P(n C >= rate_i)    rates of the load with their weights

C is the rate per webserver at which the SLO breaks where a run measured it, scaled to another class
like X_1, and else X_1 itself: then P is the probability that the utilisation stays at or below its
target. Where the interval of C has no lower end, P(n X_1 >= rate_i) decides too, and P is at most
what is known of C. Where a run met a limit that more webservers are not known to move (anything but
their CPU), P is at most the probability that the rate stays below that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.estimate import Estimate
from analysis.sizing.beliefs import Belief, Floats
from analysis.sizing.classes import EnvironmentClass
from analysis.sizing.deciding import (
    MORE_PERIODS,
    deciding_measurement,
    is_open,
    missing_stage,
    open_question,
)
from analysis.sizing.loads import LoadWanted
from analysis.sizing.one_run import webservers_for
from analysis.sizing.pooling import Pooled
from analysis.sizing.results import ClassSize, CountChance, SizedRun
from analysis.sizing.runs import capacity_of_one, fixed_capacity, rate_of_one

SURE_ENOUGH = 0.95


@dataclass(frozen=True, slots=True)
class Evidence:
    """What all runs together say of webservers with so many CPUs."""

    rate_of_one: Pooled  # at the utilisation target
    capacity_of_one: Pooled  # where the SLO breaks
    fixed_capacity: Pooled  # whatever the number of webservers

    @property
    def by_slo(self) -> bool:
        """Whether the rate at which the SLO breaks decides alone: it has a lower end."""
        return self.capacity_of_one.belief is not None and bool(self.capacity_of_one.estimate.low)

    @property
    def judging(self) -> Belief | None:
        """The rate of one webserver that decides whether it has enough to do with."""
        both = (self.capacity_of_one.belief, self.rate_of_one.belief)
        if self.by_slo:
            return both[0]
        return min(filter(None, both), key=lambda each: each.value, default=None)

    def enough(self, webservers: ArrayLike, rates_per_s: ArrayLike) -> Floats:
        """Probability that so many webservers meet the SLO at each rate."""
        rates = np.asarray(rates_per_s, dtype=np.float64)
        of_one = rates / np.asarray(webservers, dtype=np.float64)
        capacity, by_cpu = self.capacity_of_one.belief, self.rate_of_one.belief
        if capacity is not None and self.by_slo:
            chances = capacity.at_least(of_one)
        elif by_cpu is None:
            return np.zeros(of_one.shape)
        else:
            most = 1.0 if capacity is None else capacity.at_least_at_most(of_one)
            chances = np.minimum(by_cpu.at_least(of_one), most)
        fixed = self.fixed_capacity.belief
        return chances if fixed is None else np.minimum(chances, fixed.at_least_at_most(rates))


def evidence_for(runs: Sequence[SizedRun], webserver_cpu: float, utilisation: float) -> Evidence:
    """Scale what the runs say to webservers with so many CPUs.

    Args:
        runs: alike.
        webserver_cpu: CPUs of one webserver.
        utilisation: not to be exceeded, 0..1.
    """
    one = rate_of_one(runs, webserver_cpu, utilisation)
    measured = rate_of_one(runs, runs[0].webserver_cpu, utilisation).estimate.value
    capacity = capacity_of_one(runs)
    grown = one.estimate.value / measured if one.estimate.value and measured else None
    if grown is None:
        capacity = Pooled(Estimate(value=None), 0)
    return Evidence(one, capacity.times(grown or 1.0), fixed_capacity(runs))


def class_size(
    environment_class: EnvironmentClass,
    evidence: Evidence,
    load: LoadWanted,
    *,
    utilisation: float,
    periods: int,
    period_s: float | None = None,
) -> ClassSize:
    """One class against the load.

    Args:
        environment_class: the class.
        evidence: for its webservers.
        load: what is wanted.
        utilisation: not to be exceeded, 0..1.
        periods: metric periods behind the evidence, of all runs.
        period_s: of these; None: not known.
    """
    one, peak = evidence.rate_of_one, load.high_per_s
    fewest, most = environment_class.fewest_webservers, environment_class.most_webservers
    counts = range(fewest, most + 1)
    chances = tuple(_chance(evidence, load, count) for count in counts)
    return ClassSize(
        environment_class=environment_class.name,
        webserver_cpu=environment_class.webserver_cpu,
        fewest_webservers=fewest,
        most_webservers=most,
        rate_of_one_per_s=one.estimate,
        capacity_of_one_per_s=(
            evidence.capacity_of_one.estimate if evidence.capacity_of_one.runs else None
        ),
        webservers=webservers_for(peak, one.estimate.value),
        webservers_low=webservers_for(peak, one.estimate.high),
        webservers_high=webservers_for(peak, one.estimate.low),
        chances=chances,
        suffices=chances[-1].probability_at_peak >= SURE_ENOUGH,
        deciding=_deciding(environment_class, evidence, peak, utilisation, periods, period_s),
    )


def most_needed(size: ClassSize) -> int:
    """MaxWebservers: enough at the upper end of what is known, as far as one may set it."""
    highest = [size.webservers_high]
    if size.capacity_of_one_per_s is not None:
        highest.append(_needed_for_capacity(size))
    return min(
        max(size.fewest_webservers, *(size.most_webservers if n is None else n for n in highest)),
        size.most_webservers,
    )


def _needed_for_capacity(size: ClassSize) -> int:
    """The fewest that are sure to be enough; else the most one may set."""
    sure = (c.webservers for c in size.chances if c.probability_at_peak >= SURE_ENOUGH)
    return next(sure, size.most_webservers)


def _deciding(
    environment_class: EnvironmentClass,
    evidence: Evidence,
    rate_per_s: float,
    utilisation: float,
    periods: int,
    period_s: float | None,
) -> str:
    """What to measure when what decides leaves the count open; "": it does not."""
    by_slo = evidence.by_slo
    judging = evidence.capacity_of_one if by_slo else evidence.rate_of_one
    fewest, most = environment_class.fewest_webservers, environment_class.most_webservers
    capacity = evidence.capacity_of_one.estimate
    if is_open(rate_per_s, capacity, fewest=fewest, most=most):
        return missing_stage(capacity)
    fixed = evidence.fixed_capacity.estimate
    if is_open(rate_per_s, fixed, fewest=1, most=1):
        return missing_stage(fixed)
    if not by_slo and is_open(rate_per_s, judging.estimate, fewest=fewest, most=most):
        return MORE_PERIODS
    question = open_question(rate_per_s, judging.estimate, fewest=fewest, most=most)
    if question is None:
        return ""
    return deciding_measurement(
        rate_per_s,
        question,
        periods=periods,
        criterion="meet the SLO" if by_slo else f"stay at or below {100 * utilisation:.0f} % CPU",
        runs=judging.runs if judging.by_spread else 1,
        of=f"{environment_class.name} webservers",
        period_s=period_s,
    )


def _chance(evidence: Evidence, load: LoadWanted, webservers: int) -> CountChance:
    rates, weights = load.rates()
    return CountChance(
        webservers=webservers,
        probability=float((weights * evidence.enough(webservers, rates)).sum()),
        probability_at_peak=float(evidence.enough(webservers, load.high_per_s)),
    )
