"""What models say of a run, beside what was measured; part of `analysis.results`."""

from dataclasses import dataclass

from analysis.estimate import Estimate


@dataclass(frozen=True, slots=True)
class ScalabilityPoint:
    """One stage at a fixed webserver count."""

    stage: int
    concurrency: float  # calls in service: rate times mean service time (Little)
    ok_per_s: float  # calls that ended ok, however slow


@dataclass(frozen=True, slots=True)
class ScalabilityResult:
    """The Universal Scalability Law over the concurrency at one webserver count."""

    webservers: int
    points: tuple[ScalabilityPoint, ...]
    rate_of_one_per_s: Estimate  # lambda: goodput per call in service, were there one
    contention: Estimate  # sigma
    coherency: Estimate  # kappa
    leave_one_out: dict[str, tuple[float, float]]  # least and most of each when a point is left out
    peak_concurrency: float | None  # None: no peak within 1.5 times what was measured
    peak_rate_per_s: float | None
    believed_to_concurrency: float  # 1.5 times the largest measured
    farthest_rate_per_s: float | None = None  # the rate there
    ceiling_per_s: float | None = None  # lambda / sigma, were there no coherency; None: none
    knee_concurrency: float | None = None  # 1 / sigma; None: no contention
    refusal: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """What queueing theory expects of a stage, beside what was measured; never in its place.

    Of a closed workload all limits are its asymptotic bounds.
    """

    stage: int
    webservers: int
    utilisation: float  # 0..1, by the service demand
    measured_s: float | None  # mean service time
    low_s: float | None  # the bracket of the models or the bounds; None: none is stable
    high_s: float | None
    bound_per_s: float | None  # asymptotic bound of the rate
    agrees: bool | None  # within half to twice the bracket; None: cannot be said
    explanation: str


@dataclass(frozen=True, slots=True)
class TruthCheck:
    """An estimate beside what a simulated environment was set to."""

    what: str
    unit: str  # s | 1/s | webservers
    estimate: Estimate
    truth: float
    within: bool | None  # whether the interval holds the truth; None: there is no interval
