"""The settings one can choose between for a class: MinWebservers, MaxWebservers, what they come to.

MaxWebservers is what the peak needs at the upper end of the interval. MinWebservers goes from the
fewest one may set up to it: fewer cost less and let a burst hurt more. An option meets the SLO when

- with the minimum the SLO is met under the load with a probability of at least 95 %; of a trace:
  with the webservers that the simulated rule had in service at each time;
- with the maximum it is met at the highest rate with at least 95 %;
- of a trace: no more of its calls are slow or fail, as simulated, than the SLO allows. Where bursts
  outrun the rule, so that this needs more than the busiest minute does, both settings go up.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from analysis.policy.workload import Workload
from analysis.sizing.bursts import Allowance, Autoscaling, burst_cost, trace_cost
from analysis.sizing.class_sizes import SURE_ENOUGH, Evidence, most_needed
from analysis.sizing.loads import Floats, LoadWanted, calls_per_s, window_means, window_s
from analysis.sizing.one_run import webservers_for
from analysis.sizing.pricing import PriceTable
from analysis.sizing.results import ClassSize, SizeOption, TraceCost


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
