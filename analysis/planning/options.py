"""How sure each webserver count of a class is to be enough, and the settings to choose between.

    n = ceil(rate / X_1)                 at the highest rate; its interval from that of X_1
    P(n)                                 that n are enough: `planning.count_probability`

A setting is a MinWebservers and a MaxWebservers. MaxWebservers is what the peak needs at the upper
end of the interval. MinWebservers goes from the fewest one may set up to it: fewer cost less and
let a burst hurt more. An option meets the SLO when

- with the minimum the SLO is met under the load with a probability of at least 95 %; of a trace:
  with the webservers that the simulated rule had in service at each time;
- with the maximum it is met at the highest rate with at least 95 %;
- of a trace: no more of its calls are slow or fail, as simulated, than the SLO allows. Where bursts
  outrun the rule, so that this needs more than the busiest minute does, both settings go up.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mwaa_headroom.analysis.findings import Finding, note, refusal
from mwaa_headroom.analysis.planning.bursts import (
    AllowedShares,
    Autoscaling,
    BurstCost,
    TraceCost,
    burst_cost,
    trace_cost,
)
from mwaa_headroom.analysis.planning.classes import EnvironmentClass, Money, PriceTable
from mwaa_headroom.analysis.planning.count_probability import (
    CountChance,
    RatesPerWebserver,
    count_chance,
)
from mwaa_headroom.analysis.planning.loads import LoadWanted, window_means, window_s
from mwaa_headroom.analysis.policy.workload import Workload
from mwaa_headroom.analysis.sizing.one_run import webservers_for
from mwaa_headroom.analysis.sizing.rate_uncertainty import UncertainRate, is_open, what_would_decide
from mwaa_headroom.analysis.statistics import Estimate, Floats

SURE_ENOUGH = 0.95


@dataclass(frozen=True, slots=True)
class ClassSize:
    """One environment class against the load."""

    environment_class: str
    webserver_cpu: float  # CPUs of one webserver
    fewest_webservers: int  # that one may set
    most_webservers: int
    rate_of_one_per_s: Estimate  # at the utilisation target
    capacity_of_one_per_s: Estimate | None  # of the SLO; None: not measured
    webservers: int | None  # for the highest rate at the target; not bound by what one may set
    webservers_low: int | None
    webservers_high: int | None
    chances: tuple[CountChance, ...]  # for every count that one may set
    suffices: bool  # the most that one may set are probably enough
    deciding: Finding | None  # what would tell between two counts; None: nothing is open


@dataclass(frozen=True, slots=True)
class SizeOption:
    """One setting of an environment."""

    environment_class: str
    min_webservers: int
    max_webservers: int
    probability: float  # SLO met under the load: with the minimum, of a trace with those in service
    probability_at_peak: float  # with the maximum, at the highest rate
    meets: bool
    shortcoming: Finding | None  # None: it meets
    burst: BurstCost
    trace: TraceCost | None  # None: the load is no trace
    monthly: Money | None  # with the minimum all the time; None: not known
    monthly_at_most: Money | None  # with the maximum all the time


def class_size(
    environment_class: EnvironmentClass,
    evidence: RatesPerWebserver,
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
    one, capacity, peak = evidence.rate_of_one, evidence.capacity_of_one, load.high_per_s
    counts, rates_and_weights = environment_class.counts, load.rates()
    chances = tuple(count_chance(evidence, *rates_and_weights, peak, count) for count in counts)
    deciding: Finding | None
    if is_open(peak, capacity.estimate, counts):
        deciding = _missing_stage(capacity)
    elif is_open(peak, evidence.fixed_capacity.estimate, range(1, 2)):
        deciding = _missing_stage(evidence.fixed_capacity)
    else:
        deciding = what_would_decide(
            peak,
            capacity if evidence.by_slo else one,
            counts,
            periods=periods,
            utilisation_target=None if evidence.by_slo else utilisation,
            environment_class=environment_class.name,
            period_s=period_s,
        )
    return ClassSize(
        environment_class=environment_class.name,
        webserver_cpu=environment_class.webserver_cpu,
        fewest_webservers=environment_class.fewest_webservers,
        most_webservers=environment_class.most_webservers,
        rate_of_one_per_s=one.estimate,
        capacity_of_one_per_s=capacity.estimate if capacity.runs else None,
        webservers=webservers_for(peak, one.estimate.value),
        webservers_low=webservers_for(peak, one.estimate.high),
        webservers_high=webservers_for(peak, one.estimate.low),
        chances=chances,
        suffices=chances[-1].probability_at_peak >= SURE_ENOUGH,
        deciding=deciding,
    )


def most_needed(size: ClassSize) -> int:
    """MaxWebservers: enough at the upper end of what is known, as far as one may set it."""
    most = size.most_webservers
    highest = [most if size.webservers_high is None else size.webservers_high]
    if size.capacity_of_one_per_s is not None:  # the fewest that are sure to be enough
        sure = (c.webservers for c in size.chances if c.probability_at_peak >= SURE_ENOUGH)
        highest.append(next(sure, most))
    return min(max(size.fewest_webservers, *highest), most)


def _missing_stage(capacity: UncertainRate) -> Finding:
    return note("size.slo_rate_open", reasons=capacity.estimate.warnings)


@dataclass(frozen=True, slots=True)
class SizingInputs:
    """What all options of a question have in common."""

    load: LoadWanted
    burst_from_per_s: float
    allowed: AllowedShares
    autoscaling: Autoscaling
    prices: PriceTable | None


def options_of(
    size: ClassSize, evidence: RatesPerWebserver, workload: Workload, given: SizingInputs
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


def outrun_by_bursts(trace: TraceCost | None, allowed: AllowedShares) -> Finding | None:
    """How the calls of a trace break the SLO when it is played; None: they do not, or no trace."""
    if trace is None:
        return None
    if allowed.slow is not None and trace.slow_share > allowed.slow:
        return refusal("size.too_many_slow", share=trace.slow_share, allowed=allowed.slow)
    if allowed.failed is not None and trace.failed_share > allowed.failed:
        return refusal("size.too_many_failed", share=trace.failed_share, allowed=allowed.failed)
    return None


def _option(
    size: ClassSize,
    evidence: RatesPerWebserver,
    workload: Workload,
    given: SizingInputs,
    fewest: int,
    most: int,
) -> SizeOption:
    chances = {chance.webservers: chance for chance in size.chances}
    probability, at_peak = chances[fewest].probability, chances[most].probability_at_peak
    peak_per_s, trace = given.load.high_per_s, None
    if given.load.trace_per_s is not None:
        trace, rates, webservers = trace_cost(
            given.load.trace_per_s,
            workload,
            given.autoscaling,
            min_webservers=fewest,
            max_webservers=most,
        )
        probability = _over_time(evidence, rates, webservers)
    shortcoming: Finding | None = None
    if at_peak < SURE_ENOUGH:
        shortcoming = refusal(
            "size.unsure_at_peak", rate_per_s=peak_per_s, webservers=most, probability=at_peak
        )
    elif outrun := outrun_by_bursts(trace, given.allowed):
        shortcoming = outrun
    elif probability < SURE_ENOUGH:
        # None: those that were in service when the trace was played
        count = fewest if trace is None else None
        shortcoming = refusal("size.unsure", webservers=count, probability=probability)
    needed = webservers_for(peak_per_s, evidence.judging_per_s)
    prices = given.prices
    return SizeOption(
        environment_class=size.environment_class,
        min_webservers=fewest,
        max_webservers=most,
        probability=probability,
        probability_at_peak=at_peak,
        meets=shortcoming is None,
        shortcoming=shortcoming,
        burst=burst_cost(
            workload,
            given.autoscaling,
            from_per_s=given.burst_from_per_s,
            to_per_s=peak_per_s,
            min_webservers=fewest,
            max_webservers=most,
            needed=min(needed or most, most),
            allowed=given.allowed,
        ),
        trace=trace,
        monthly=prices.month(size.environment_class, fewest) if prices else None,
        monthly_at_most=prices.month(size.environment_class, most) if prices else None,
    )


def _over_time(evidence: RatesPerWebserver, rates_per_s: Floats, webservers: Floats) -> float:
    """Mean over the windows of the load of the probability that those in service are enough."""
    window = window_s(rates_per_s)
    rates, lengths = window_means(rates_per_s, window)
    counts, _ = window_means(webservers, window)
    return float((evidence.enough(counts, rates) * lengths).sum() / lengths.sum())
