"""What `answer_size` says, as plain frozen values.

Probabilities and shares are fractions; calls are counts; money is in the table's currency.
"""

from dataclasses import dataclass

from mwaa_headroom.analysis.planning.classes import Money
from mwaa_headroom.analysis.statistics import Estimate


@dataclass(frozen=True, slots=True)
class Span:
    """A value with the least and the most of several simulations; None: not while watched."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class SizedRun:
    """What one run says that sizing needs."""

    run_id: str
    directory: str
    webserver_cpu: float  # CPUs
    periods: int  # metric periods behind the demand
    demand_s: Estimate  # CPU-seconds per call of the mix
    background_cpu: Estimate  # CPUs of a webserver without calls
    rate_of_one_per_s: Estimate  # at the utilisation target
    capacity_per_s: Estimate | None  # where the SLO breaks; None: not found
    capacity_webservers: int | None  # in service then
    bottleneck: str  # as in `CapacityResult`; "": the run asked for none


@dataclass(frozen=True, slots=True)
class CountChance:
    """How probable it is that so many webservers are enough for the load."""

    webservers: int
    probability: float  # over the load: a range evenly, a trace by its time
    probability_at_peak: float  # at the highest rate of the load


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
    deciding: str  # the measurement that would tell between two counts; "": none needed


@dataclass(frozen=True, slots=True)
class BurstCost:
    """What callers pay when the load jumps while MinWebservers are in service."""

    from_per_s: float
    to_per_s: float
    enough_after_s: Span  # until webservers for the load are in service; 0: they already are
    over_after_s: Span  # until no more calls are slow or fail than the SLO allows
    slow_calls: Span  # answered, but later than the SLO's limit, until both are the case
    failed_calls: Span  # cut by the service's time limit, until both are the case


@dataclass(frozen=True, slots=True)
class TraceCost:
    """What the trace comes to when it is played against the scaling rule."""

    simulated_s: float
    slow_share: float  # of all calls, failed ones included
    failed_share: float
    webserver_hours: float
    most_webservers: int  # in service at any time


@dataclass(frozen=True, slots=True)
class SizeOption:
    """One setting of an environment."""

    environment_class: str
    min_webservers: int
    max_webservers: int
    probability: float  # SLO met under the load: with the minimum, of a trace with those in service
    probability_at_peak: float  # with the maximum, at the highest rate
    meets: bool
    shortcoming: str  # one sentence; "" when it meets
    burst: BurstCost
    trace: TraceCost | None  # None: the load is no trace
    monthly: Money | None  # with the minimum all the time; None: not known
    monthly_at_most: Money | None  # with the maximum all the time


@dataclass(frozen=True, slots=True)
class PriceNote:
    """Which prices were used."""

    region: str
    as_of: str
    source: str
    currency: str
    region_given: bool = True  # or known from the runs; else the first table's was taken


@dataclass(frozen=True, slots=True)
class SizingAnswer:
    """How many webservers of which class a load needs."""

    load: str
    low_per_s: float
    high_per_s: float
    mean_per_s: float
    slo: tuple[str, ...]
    utilisation_target: float
    judged_by: str  # slo_capacity | utilisation: what `probability` is about
    runs: tuple[SizedRun, ...]
    classes: tuple[ClassSize, ...]
    options: tuple[SizeOption, ...]
    recommended: int | None  # index in options
    deciding: str  # of the recommended class; "": nothing is open
    prices: PriceNote | None
    price_refusal: str  # one sentence: why there are none; "": there are
    autoscaling: str  # one sentence: where its times come from
    sentence: str
    exit_code: int  # 0, or 5 without a recommendation
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
