"""With which probability a webserver count is enough: beliefs, pooling, what would decide.

How probable it is that an estimated quantity is at least so large.

The estimate's interval is read as that of a distribution on the logarithm, with its median at the
value and on either side the spread that puts its end where the interval ends:

    P(X >= x) = 1 - F( q ln(x / v) / |ln(e / v)| ),   e = low for x < v, else high

v value, q = F^-1(0.975), F the normal distribution, or Student's t for an interval over few runs.
So the probability is 97.5 % at the lower end and 2.5 % at the upper one, whatever F. An end that is
not known (a lower one of 0 says as little) leaves everything beyond the value at one half.

One estimate from those of several like runs, all on the logarithm.

    1 run       its own interval
    k runs      mean +- t(0.975, k - 1) s / sqrt(k),  s the spread of the runs' values
    2 runs      the wider of that, 12.7 |l_1 - l_2| / 2, and of z sqrt(s_1^2 + s_2^2) / 2

l_i logarithm of a run's value, s_i half of its interval on the logarithm / z, z = 1.96. The spread
has everything in it that differs from run to run, which the interval of a single run cannot know.
Two runs can agree by chance, so they are never surer than their own intervals; a third one narrows
the interval much, because t(0.975, 2) is 4.3.
Source: Student's t; for two runs the idea of R. Birge, Phys. Rev. 40 (1932) 207: never less than
the observed disagreement.

When an interval spans two webserver counts: the measurement that would tell which it is.

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
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mwaa_headroom.analysis.demand import PERIODS_FOR_TRUST
from mwaa_headroom.analysis.findings import Finding, note
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.statistics import Z95, Estimate, Floats, t_quantile


@dataclass(frozen=True, slots=True)
class Belief:
    """A positive quantity as it is known.

    Attributes:
        value: the median.
        low: of the 95 % interval; None or 0: not known.
        high: of the 95 % interval; None: not known.
        freedom: degrees of freedom; infinite: normal.
    """

    value: float
    low: float | None
    high: float | None
    freedom: float = math.inf

    def at_least(self, amount: ArrayLike) -> Floats:
        """Probability that the quantity is no smaller, for each amount (0 or above)."""
        x = np.asarray(amount, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.log(x / self.value)
            below, above = self._width(self.low), self._width(self.high)
            widths = np.where(distance < 0, below, above)
            # A width of 0 is certainty, except at the value itself, which is reached.
            scaled = np.where(distance == 0, -0.0 if below else -np.inf, distance / widths)
        q = float(_quantile(self.freedom))
        survival = stats.norm.sf if math.isinf(self.freedom) else stats.t(self.freedom).sf
        return np.where(x <= 0, 1.0, survival(q * scaled))

    def at_least_at_most(self, amount: ArrayLike) -> Floats:
        """The highest that probability can be: 1 below the value when the low end is not known."""
        x = np.asarray(amount, dtype=np.float64)
        silent = (x < self.value) & (not self.low)
        return np.where(silent, 1.0, self.at_least(x))

    def times(self, factor: float) -> "Belief":
        """The same of a multiple of the quantity."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Belief(self.value * factor, low, high, self.freedom)

    def _width(self, end: float | None) -> float:
        if end is None or end <= 0:
            return math.inf
        return abs(math.log(end / self.value))


def belief_of(estimate: Estimate | None, freedom: float = math.inf) -> Belief | None:
    """What a 95 % interval says; None when there is no value above 0."""
    if estimate is None or not estimate.value or estimate.value <= 0:
        return None
    return Belief(estimate.value, estimate.low, estimate.high, freedom)


def _quantile(freedom: float) -> float:
    if math.isinf(freedom):
        return Z95
    return t_quantile(freedom)


FEWEST_FOR_SPREAD = 3


@dataclass(frozen=True, slots=True)
class Pooled:
    """An estimate with the number of runs it rests on.

    Attributes:
        estimate: with its interval.
        runs: behind it.
        freedom: of the t distribution behind an interval by the runs' spread; infinite: it is by
            their own errors, and normal.
    """

    estimate: Estimate
    runs: int
    freedom: float = math.inf

    @property
    def by_spread(self) -> bool:
        """Whether the interval is by how runs differ."""
        return math.isfinite(self.freedom)

    @property
    def belief(self) -> Belief | None:
        """None when there is no estimate."""
        return belief_of(self.estimate, self.freedom)

    def times(self, factor: float) -> "Pooled":
        """The same of a multiple of the quantity."""
        return replace(self, estimate=estimate_times(self.estimate, factor))


def pool(estimates: Sequence[Estimate]) -> Pooled:
    """Combine the estimates of runs; those without a value do not count.

    Returns:
        Without a value when none has one, or when one is 0, which has no logarithm.
    """
    known = [each for each in estimates if each.value is not None]
    if not known or any((each.value or 0.0) <= 0 for each in known):
        reasons = tuple(dict.fromkeys(text for each in estimates for text in each.warnings))
        return Pooled(Estimate(value=None, warnings=reasons), len(known))
    if len(known) == 1:
        return Pooled(known[0], 1)
    logs = np.log([each.value or 0.0 for each in known])
    freedom = len(known) - 1.0
    error = float(logs.std(ddof=1)) / math.sqrt(len(known))
    half_width = t_quantile(freedom) * error
    if len(known) < FEWEST_FOR_SPREAD:
        own = Z95 * math.hypot(*(_own_error(each) for each in known)) / 2
        if own >= half_width:
            freedom, half_width = math.inf, own
    middle, told = float(logs.mean()), math.isfinite(half_width)
    return Pooled(
        Estimate(
            value=math.exp(middle),
            low=math.exp(middle - half_width) if told else None,
            high=math.exp(middle + half_width) if told else None,
            n=sum(each.n for each in known),
            warnings=tuple(dict.fromkeys(text for each in known for text in each.warnings)),
        ),
        len(known),
        freedom,
    )


def estimate_times(estimate: Estimate, factor: float) -> Estimate:
    """The estimate of a multiple of the quantity."""
    value, low, high = (
        None if each is None else each * factor
        for each in (estimate.value, estimate.low, estimate.high)
    )
    return replace(estimate, value=value, low=low, high=high)


def _own_error(estimate: Estimate) -> float:
    """Standard error of the logarithm; infinite when an end is not known."""
    low, high = estimate.low, estimate.high
    if low is None or high is None or low <= 0:
        return math.inf
    return math.log(high / low) / (2 * Z95)


MOST_PERIODS = 1440  # a day of minutes
MOST_RUNS = 50


@dataclass(frozen=True, slots=True)
class Question:
    """Whether `webservers` are enough, or one more is needed."""

    webservers: int
    distance: float  # |ln(v / b)|
    half_width: float  # of the interval on the logarithm, on the side of b


def open_question(
    rate_per_s: float, rate_of_one: Estimate, *, fewest: int, most: int
) -> Question | None:
    """What the interval leaves open within the counts one may set; None: nothing.

    Args:
        rate_per_s: to be served.
        rate_of_one: calls per second that one webserver serves.
        fewest: webservers that can be set; whether one less is enough does not matter.
        most: webservers that can be set; whether they are enough does matter.
    """
    value, low, high = rate_of_one.value, rate_of_one.low, rate_of_one.high
    if not value or not low or high is None:
        return None
    within = range(fewest, most + 1)
    asked = [k for k in within if low * k < rate_per_s * (1 - 1e-9) and rate_per_s <= high * k]
    questions = [_question(k, rate_per_s / k, value, low, high) for k in asked]
    return min(questions, key=lambda each: each.distance, default=None)


def is_open(rate_per_s: float, rate_of_one: Estimate, *, fewest: int, most: int) -> bool:
    """Whether an end that is not known leaves a count in question; arguments as `open_question`."""
    low, high = rate_of_one.low, rate_of_one.high
    if not rate_of_one.value:
        return False
    if not low:
        return high is None or rate_per_s <= high * most
    return high is None and low * fewest < rate_per_s


def calls_per_s(rate_per_s: float) -> str:
    """A rate inside a sentence, with three digits: "25 calls/s"."""
    return f"{float(f'{rate_per_s:.3g}'):.12g} calls/s"


def missing_stage(capacity: Estimate) -> str:
    """What to measure where the interval of the rate at which the SLO breaks is open."""
    return " ".join(
        (
            "The rate at which the SLO breaks is not known well enough.",
            *map(told, capacity.warnings),
        )
    )


def whether_webservers_help(rate_per_s: float, most: int) -> str:
    """What to measure where the SLO broke, and not for want of CPU."""
    return (
        "The SLO broke for something other than CPU, so nobody knows whether more webservers help: "
        f"to decide, hold {calls_per_s(rate_per_s)} with MinWebservers = MaxWebservers = {most}, "
        "and size from that run."
    )


def how_long_a_start_takes(rate_per_s: float, fewest: int) -> str:
    """What to measure where bursts outrun the simulated scaling rule."""
    return (
        "Whether the bursts of the trace outrun autoscaling depends on how long a webserver takes "
        f"to start: to decide, measure it in a run with MinWebservers {fewest} and a larger "
        f"MaxWebservers, whose load steps to {calls_per_s(rate_per_s)} at once."
    )


def deciding_measurement(
    rate_per_s: float,
    question: Question,
    *,
    periods: int,
    utilisation_target: float | None,
    runs: int = 1,
    of: str = "webservers",
    period_s: float | None = None,
) -> Finding:
    """What is not certain, and what to measure.

    Args:
        rate_per_s: to be served.
        question: of `open_question`.
        periods: metric periods behind the interval, of all runs.
        utilisation_target: that enough webservers keep; None: they meet the SLO.
        runs: whose spread the interval is of; 1: it is of their own errors.
        of: what is counted, such as "mw1.small webservers".
        period_s: of the metrics; None: not known, so no time is given.
    """
    asked: dict[str, Any] = {
        "rate_per_s": rate_per_s,
        "webservers": question.webservers,
        "of": of,
        "utilisation_target": utilisation_target,
    }
    more = 0
    if runs > 1:
        each = max(math.ceil(periods / runs), PERIODS_FOR_TRUST)
        more = _runs_needed(question, runs) - runs
    else:
        each = _periods_needed(question, periods)
    if runs + more > MOST_RUNS or each > MOST_PERIODS:
        return note("sizing.too_close", **asked)
    return note("sizing.close", more_runs=more, periods=each, period_s=period_s, **asked)


def _question(count: int, border: float, value: float, low: float, high: float) -> Question:
    end = low if border < value else high
    return Question(count, abs(math.log(value / border)), abs(math.log(end / value)))


def _periods_needed(question: Question, periods: int) -> int:
    if question.distance * math.sqrt(MOST_PERIODS + 1) <= question.half_width:
        return MOST_PERIODS + 1
    needed = math.ceil(periods * (question.half_width / question.distance) ** 2)
    return max(needed, PERIODS_FOR_TRUST)


def _runs_needed(question: Question, runs: int) -> int:
    spread = question.half_width * math.sqrt(runs) / t_quantile(runs - 1)
    for more in range(runs + 1, MOST_RUNS + 1):
        if t_quantile(more - 1) * spread / math.sqrt(more) <= question.distance:
            return more
    return MOST_RUNS + 1
