"""How probable it is that so many webservers are enough, and what to measure where that is open.

An estimate's interval is read as that of a distribution on the logarithm, with its median at the
value and on either side the spread that puts its end where the interval ends:

    P(X >= x) = 1 - F( q ln(x / v) / |ln(e / v)| ),   e = low for x < v, else high

v value, q = F^-1(0.975), F the normal distribution, or Student's t for an interval over few runs.
So the probability is 97.5 % at the lower end and 2.5 % at the upper one, whatever F. An end that is
not known (a lower one of 0 says as little) leaves everything beyond the value at one half.

The estimates of several like runs are pooled on the logarithm:

    1 run       z sqrt(s_1^2 + b^2)
    k runs      mean +- t(0.975, k - 1) s / sqrt(k),  s the spread of the runs' values
    2 runs      the wider of that, 12.7 |l_1 - l_2| / 2, and of z sqrt(s_1^2 + s_2^2 + 2 b^2) / 2

l_i logarithm of a run's value, s_i half of its interval on the logarithm / z, z = 1.96. The spread
has everything in it that differs from run to run, which the interval of a single run cannot know.
Until three runs tell it, b stands for it, the standard deviation that like runs are taken to have:
0.15 where real webservers share a host with other work. Quiet runs of one scenario on one kind of
machine cost 14-20 ms a call, a standard deviation of 0.12-0.15 for 5 to 10 runs; of AWS no figure
is known, and the same is taken. (With much other work beside it, a run cost 31 ms: no spread, but a
disturbed host.) Simulated webservers have clocks of their own: 0. Two runs can agree by chance, so
they are never surer than their own intervals; a third one narrows the interval much, because
t(0.975, 2) is 4.3.
Source: Student's t; for two runs the idea of R. Birge, Phys. Rev. 40 (1932) 207: never less than
the observed disagreement.

Where an interval spans two webserver counts, this many metric periods would tell which it is:

    k  the count in question,  b = rate / k  the rate of one webserver at which k are just enough
    periods  N = n (h / |ln(v / b)|)^2,   h = |ln(e / v)|, e the interval's end on the side of b

v estimated rate of one webserver from n metric periods: an interval's width on the logarithm goes
with 1 / sqrt(n), and b has to come to lie outside. Of several counts in question it is the one
whose b is nearest to v, the hardest to tell. With an interval over runs it is runs that are needed:
the fewest m with t(0.975, m - 1) s / sqrt(m) <= |ln(v / b)|.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import ArrayLike

from mwaa_headroom.analysis.demand import PERIODS_FOR_TRUST
from mwaa_headroom.analysis.findings import Finding, note
from mwaa_headroom.analysis.statistics import Z95, Estimate, Floats, t_quantile

FEWEST_FOR_SPREAD = 3  # runs
SPREAD_BETWEEN_RUNS = 0.15  # standard deviation of the logarithm, until the runs themselves tell
MOST_PERIODS = 1440  # a day of minutes
MOST_RUNS = 50


@dataclass(frozen=True, slots=True)
class UncertainRate:
    """A positive quantity as it is known.

    Attributes:
        estimate: the median with its 95 % interval.
        runs: behind it.
        freedom: degrees of freedom of an interval by how the runs differ; infinite: it is by their
            own errors, and normal.
        between: standard deviation between runs, of the logarithm, that is taken meanwhile.
    """

    estimate: Estimate
    runs: int = 1
    freedom: float = math.inf
    between: float = 0.0

    @property
    def is_known(self) -> bool:
        """Whether there is a value above 0."""
        return (self.estimate.value or 0.0) > 0

    @property
    def by_spread(self) -> bool:
        """Whether the interval is by how runs differ."""
        return math.isfinite(self.freedom)

    def at_least(self, amount: ArrayLike) -> Floats:
        """Probability that the quantity, which is known, is no smaller than each amount (>= 0)."""
        x = np.asarray(amount, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.log(x / (self.estimate.value or 0.0))
            below, above = self._width(self.estimate.low), self._width(self.estimate.high)
            widths = np.where(distance < 0, below, above)
            # A width of 0 is certainty, except at the value itself, which is reached.
            scaled = np.where(distance == 0, -0.0 if below else -np.inf, distance / widths)
        q = t_quantile(self.freedom) if self.by_spread else Z95
        beyond = -q * scaled
        survival = (
            scipy.special.stdtr(self.freedom, beyond)
            if self.by_spread
            else scipy.special.ndtr(beyond)
        )
        return np.where(x <= 0, 1.0, survival)

    def at_least_at_most(self, amount: ArrayLike) -> Floats:
        """The highest that probability can be: 1 below the value when the low end is not known."""
        x = np.asarray(amount, dtype=np.float64)
        silent = (x < (self.estimate.value or 0.0)) & (not self.estimate.low)
        return np.where(silent, 1.0, self.at_least(x))

    def times(self, factor: float) -> "UncertainRate":
        """The same of a multiple of the quantity."""
        return replace(self, estimate=estimate_times(self.estimate, factor))

    def _width(self, end: float | None) -> float:
        if end is None or end <= 0:
            return math.inf
        return abs(math.log(end / (self.estimate.value or 0.0)))


def spread_between_runs(environment_kind: object) -> float:
    """Standard deviation of the logarithm that like runs are taken to have."""
    return 0.0 if environment_kind == "simulated" else SPREAD_BETWEEN_RUNS


def pool(estimates: Sequence[Estimate], between: float = 0.0) -> UncertainRate:
    """Combine the estimates of runs; those without a value do not count.

    Args:
        estimates: one of each run.
        between: by `spread_between_runs`.

    Returns:
        Not known when none has a value, or when one is 0, which has no logarithm.
    """
    known = [each for each in estimates if each.value is not None]
    if not known or any((each.value or 0.0) <= 0 for each in known):
        return UncertainRate(Estimate(value=None, warnings=_warnings(estimates)), len(known))
    if len(known) == 1:
        return of_one_run(known[0], between)
    logs = np.log([each.value or 0.0 for each in known])
    freedom = len(known) - 1.0
    error = float(logs.std(ddof=1)) / math.sqrt(len(known))
    half_width = t_quantile(freedom) * error
    if len(known) < FEWEST_FOR_SPREAD:
        errors = [math.hypot(_own_error(each), between) for each in known]
        own = Z95 * math.hypot(*errors) / 2
        if own >= half_width:
            freedom, half_width = math.inf, own
    middle, told = float(logs.mean()), math.isfinite(half_width)
    pooled = Estimate(
        value=math.exp(middle),
        low=math.exp(middle - half_width) if told else None,
        high=math.exp(middle + half_width) if told else None,
        n=sum(each.n for each in known),
        warnings=_warnings(known),
    )
    return UncertainRate(pooled, len(known), freedom, between if freedom == math.inf else 0.0)


def of_one_run(estimate: Estimate, between: float) -> UncertainRate:
    """What one run's estimate, with a value or without, says of other runs too."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value and between:
        reach = Z95 * between
        low = low and value * math.exp(-math.hypot(math.log(value / low), reach))
        high = high and value * math.exp(math.hypot(math.log(high / value), reach))
        estimate = replace(estimate, low=low, high=high)
    return UncertainRate(estimate, between=between)


def estimate_times(estimate: Estimate, factor: float) -> Estimate:
    """The estimate of a multiple of the quantity."""
    value, low, high = (
        None if each is None else each * factor
        for each in (estimate.value, estimate.low, estimate.high)
    )
    return replace(estimate, value=value, low=low, high=high)


def _warnings(estimates: Sequence[Estimate]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(each for estimate in estimates for each in estimate.warnings))


def _own_error(estimate: Estimate) -> float:
    """Standard error of the logarithm; infinite when an end is not known."""
    low, high = estimate.low, estimate.high
    if low is None or high is None or low <= 0:
        return math.inf
    return math.log(high / low) / (2 * Z95)


@dataclass(frozen=True, slots=True)
class Question:
    """Whether `webservers` are enough, or one more is needed."""

    webservers: int
    distance: float  # |ln(v / b)|
    half_width: float  # of the interval on the logarithm, on the side of b


def open_question(rate_per_s: float, rate_of_one: Estimate, counts: range) -> Question | None:
    """What the interval leaves open within the counts one may set; None: nothing.

    Args:
        rate_per_s: to be served.
        rate_of_one: calls per second that one webserver serves.
        counts: of webservers that can be set. Whether one less than the fewest is enough does not
            matter; whether the most are enough does.
    """
    value, low, high = rate_of_one.value, rate_of_one.low, rate_of_one.high
    if not value or not low or high is None:
        return None
    asked = [k for k in counts if low * k < rate_per_s * (1 - 1e-9) and rate_per_s <= high * k]
    questions = [_question(k, rate_per_s / k, value, low, high) for k in asked]
    return min(questions, key=lambda each: each.distance, default=None)


def _question(count: int, border: float, value: float, low: float, high: float) -> Question:
    end = low if border < value else high
    return Question(count, abs(math.log(value / border)), abs(math.log(end / value)))


def is_open(rate_per_s: float, rate_of_one: Estimate, counts: range) -> bool:
    """Whether an end that is not known leaves a count in question; arguments as `open_question`."""
    low, high = rate_of_one.low, rate_of_one.high
    if not rate_of_one.value:
        return False
    if not low:
        return high is None or rate_per_s <= high * counts[-1]
    return high is None and low * counts[0] < rate_per_s


def what_would_decide(
    rate_per_s: float,
    rate_of_one: UncertainRate,
    counts: range,
    *,
    periods: int,
    utilisation_target: float | None,
    environment_class: str = "",
    period_s: float | None = None,
) -> Finding | None:
    """What to measure when the interval leaves the count open; None: it does not.

    Args:
        rate_per_s: to be served.
        rate_of_one: calls per second that one webserver serves.
        counts: of webservers that can be set.
        periods: metric periods behind the interval, of all runs.
        utilisation_target: that enough webservers keep; None: they meet the SLO.
        environment_class: of the webservers; "": that of the run.
        period_s: of the metrics; None: not known.
    """
    if is_open(rate_per_s, rate_of_one.estimate, counts):
        return note("sizing.more_periods")
    question = open_question(rate_per_s, rate_of_one.estimate, counts)
    if question is None:
        return None
    more_runs = 0
    if rate_of_one.by_spread or rate_of_one.between:
        each = max(math.ceil(periods / rate_of_one.runs), PERIODS_FOR_TRUST)
        more_runs = _runs_needed(question, rate_of_one) - rate_of_one.runs
    else:
        each = _periods_needed(question, periods)
    doubt = {
        "webservers": question.webservers,
        "environment_class": environment_class,
        "rate_per_s": rate_per_s,
        "utilisation_target": utilisation_target,
    }
    if rate_of_one.runs + more_runs > MOST_RUNS or each > MOST_PERIODS:
        return note("sizing.too_close", **doubt)
    return note("sizing.close", **doubt, more_runs=more_runs, periods=each, period_s=period_s)


def _periods_needed(question: Question, periods: int) -> int:
    if question.distance * math.sqrt(MOST_PERIODS + 1) <= question.half_width:
        return MOST_PERIODS + 1
    needed = math.ceil(periods * (question.half_width / question.distance) ** 2)
    return max(needed, PERIODS_FOR_TRUST)


def _runs_needed(question: Question, rate_of_one: UncertainRate) -> int:
    runs = rate_of_one.runs
    quantile = t_quantile(runs - 1) if rate_of_one.by_spread else Z95
    spread = question.half_width * math.sqrt(runs) / quantile
    for more in range(max(runs + 1, FEWEST_FOR_SPREAD), MOST_RUNS + 1):
        if t_quantile(more - 1) * spread / math.sqrt(more) <= question.distance:
            return more
    return MOST_RUNS + 1
