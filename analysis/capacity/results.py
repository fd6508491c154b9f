"""What the capacity of several webserver counts is, as plain frozen values."""

from dataclasses import dataclass

from analysis.comparison.results import Difference
from analysis.estimate import Estimate


@dataclass(frozen=True, slots=True)
class CountTrial:
    """One stage as a trial of its webserver count."""

    run_id: str
    stage: str  # as people call it
    rate_per_s: float
    duration_s: float  # without the warm-up
    verdict: str  # pass | fail | undecided
    reason: str  # why undecided, what broke, or ""


@dataclass(frozen=True, slots=True)
class NextTrial:
    """The measurement that would tell the most."""

    webservers: int
    rate_per_s: float
    duration_s: float
    sentence: str


@dataclass(frozen=True, slots=True)
class CountCapacity:
    """One webserver count: how much it takes, what stops it, and what to try next."""

    webservers: int
    capacity_per_s: Estimate
    highest_pass_per_s: float | None  # below every rate that failed
    lowest_fail_per_s: float | None
    given_up_per_s: float | None  # below it, undecided in three trials: the search goes on below
    throughput_per_s: float | None  # what came through well at the highest pass
    bottleneck: str  # as of `CapacityResult`
    explanation: str
    gain_per_webserver_per_s: Estimate | None  # to the next count measured; None: there is none
    trials: tuple[CountTrial, ...]
    next_trial: NextTrial | None  # None: nothing more is needed


@dataclass(frozen=True, slots=True)
class AmdahlFit:
    """capacity(n) = rate_of_one n / (1 + contention (n - 1))."""

    rate_of_one_per_s: float
    contention: Estimate  # 0: each webserver adds as much as the first; negative: more
    explanation: str


@dataclass(frozen=True, slots=True)
class CapacityCurve:
    """The capacity over webserver counts, from many runs."""

    slo: tuple[str, ...]
    runs: tuple[str, ...]  # used
    counts: tuple[CountCapacity, ...]  # rising
    amdahl: AmdahlFit | None  # None: fewer than three counts have a capacity
    sentence: str
    exit_code: int  # 0: a count has an interval; 5: none has
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    meant_to_differ: tuple[Difference, ...] = ()
