"""The settings one can choose between for a class: MinWebservers, MaxWebservers, what they come to.

MaxWebservers is what the peak needs at the upper end of the interval. MinWebservers goes from the
fewest one may set up to it: fewer cost less and let a burst hurt more. An option meets the SLO when

- with the minimum the SLO is met under the load with a probability of at least 95 %; of a trace:
  with the webservers that the simulated rule had in service at each time;
- with the maximum it is met at the highest rate with at least 95 %;
- of a trace: no more of its calls are slow or fail, as simulated, than the SLO allows. Where bursts
  outrun the rule, so that this needs more than the busiest minute does, both settings go up.

How many webservers of each environment class a load needs, and how sure that is.

    n = ceil(rate / X_1)                 at the highest rate; its interval from that of X_1
    P(n) = sum_i w_i P(n C >= rate_i)    rates of the load with their weights

C is the rate per webserver at which the SLO breaks where a run measured it, scaled to another class
like X_1, and else X_1 itself: then P is the probability that the utilisation stays at or below its
target. Where the interval of C has no lower end, P(n X_1 >= rate_i) decides too, and P is at most
what is known of C. Where a run met a limit that more webservers are not known to move (anything but
their CPU), P is at most the probability that the rate stays below that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mwaa_headroom.analysis.findings import note
from mwaa_headroom.analysis.planning.bursts import Allowance, Autoscaling, burst_cost, trace_cost
from mwaa_headroom.analysis.planning.classes import EnvironmentClass, PriceTable
from mwaa_headroom.analysis.planning.loads import LoadWanted, window_means, window_s
from mwaa_headroom.analysis.planning.results import (
    ClassSize,
    CountChance,
    SizedRun,
    SizeOption,
    TraceCost,
)
from mwaa_headroom.analysis.planning.runs import capacity_of_one, fixed_capacity, rate_of_one
from mwaa_headroom.analysis.policy.simulate import Workload
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.sizing.one_run import webservers_for
from mwaa_headroom.analysis.sizing.probability import (
    Belief,
    Pooled,
    calls_per_s,
    deciding_measurement,
    is_open,
    missing_stage,
    open_question,
)
from mwaa_headroom.analysis.statistics import Estimate, Floats

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
        return told(note("sizing.more_periods"))
    question = open_question(rate_per_s, judging.estimate, fewest=fewest, most=most)
    if question is None:
        return ""
    found = deciding_measurement(
        rate_per_s,
        question,
        periods=periods,
        utilisation_target=None if by_slo else utilisation,
        runs=judging.runs if judging.by_spread else 1,
        of=f"{environment_class.name} webservers",
        period_s=period_s,
    )
    return told(found)


def _chance(evidence: Evidence, load: LoadWanted, webservers: int) -> CountChance:
    rates, weights = load.rates()
    return CountChance(
        webservers=webservers,
        probability=float((weights * evidence.enough(webservers, rates)).sum()),
        probability_at_peak=float(evidence.enough(webservers, load.high_per_s)),
    )


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What all options of a question have in common."""

    load: LoadWanted
    burst_from_per_s: float
    allowed: Allowance
    autoscaling: Autoscaling
    prices: PriceTable | None


def options_of(
    size: ClassSize, evidence: Evidence, workload: Workload, given: Circumstances
) -> Iterator[SizeOption]:
    """Every MinWebservers of a class up to its MaxWebservers, fewest first.

    Args:
        size: the class against the load.
        evidence: for its webservers.
        workload: what a call costs on one of them.
        given: the rest.
    """
    most = most_needed(size)
    found = [
        _option(size, evidence, workload, given, fewest, most)
        for fewest in range(size.fewest_webservers, most + 1)
    ]
    yield from found
    outrun = given.load.trace_per_s is not None and not any(option.meets for option in found)
    while outrun and most < size.most_webservers:
        most += 1
        option = _option(size, evidence, workload, given, most, most)
        outrun = not option.meets
        yield option


def outrun_by_bursts(trace: TraceCost | None, allowed: Allowance) -> str:
    """How the calls of a trace break the SLO when it is played; "": they do not, or no trace."""
    if trace is not None and allowed.slow is not None and trace.slow_share > allowed.slow:
        return (
            f"{_percent(trace.slow_share)} of the calls would be slow or fail, the SLO allows "
            f"{_percent(allowed.slow)}."
        )
    if trace is not None and allowed.failed is not None and trace.failed_share > allowed.failed:
        return (
            f"{_percent(trace.failed_share)} of the calls would fail, the SLO allows "
            f"{_percent(allowed.failed)}."
        )
    return ""


def _option(
    size: ClassSize,
    evidence: Evidence,
    workload: Workload,
    given: Circumstances,
    fewest: int,
    most: int,
) -> SizeOption:
    chances = {chance.webservers: chance for chance in size.chances}
    probability, at_peak = chances[fewest].probability, chances[most].probability_at_peak
    trace = None
    if given.load.trace_per_s is not None:
        trace, rates, webservers = trace_cost(
            given.load.trace_per_s,
            workload,
            given.autoscaling,
            min_webservers=fewest,
            max_webservers=most,
        )
        probability = _over_time(evidence, rates, webservers)
    shortcoming = _shortcoming(probability, at_peak, trace, given, fewest, most)
    judging = evidence.judging
    needed = webservers_for(given.load.high_per_s, judging.value if judging else None)
    prices = given.prices
    return SizeOption(
        environment_class=size.environment_class,
        min_webservers=fewest,
        max_webservers=most,
        probability=probability,
        probability_at_peak=at_peak,
        meets=not shortcoming,
        shortcoming=shortcoming,
        burst=burst_cost(
            workload,
            given.autoscaling,
            from_per_s=given.burst_from_per_s,
            to_per_s=given.load.high_per_s,
            min_webservers=fewest,
            max_webservers=most,
            needed=min(needed or most, most),
            allowed=given.allowed,
        ),
        trace=trace,
        monthly=prices.month(size.environment_class, fewest) if prices else None,
        monthly_at_most=prices.month(size.environment_class, most) if prices else None,
    )


def _over_time(evidence: Evidence, rates_per_s: Floats, webservers: Floats) -> float:
    """Mean over the windows of the load of the probability that those in service are enough."""
    window = window_s(rates_per_s)
    rates, lengths = window_means(rates_per_s, window)
    counts, _ = window_means(webservers, window)
    return float((evidence.enough(counts, rates) * lengths).sum() / lengths.sum())


def _shortcoming(
    probability: float,
    at_peak: float,
    trace: TraceCost | None,
    given: Circumstances,
    fewest: int,
    most: int,
) -> str:
    if at_peak < SURE_ENOUGH:
        return (
            f"At {calls_per_s(given.load.high_per_s)}, {most} are enough with a probability of "
            f"{_percent(at_peak)} only."
        )
    outrun = outrun_by_bursts(trace, given.allowed)
    if outrun:
        return outrun
    if probability < SURE_ENOUGH:
        who = "those in service" if trace is not None else str(fewest)
        return f"Under the load, {who} are enough with a probability of {_percent(probability)}."
    return ""


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"
