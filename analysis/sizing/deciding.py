"""When an interval spans two webserver counts: the measurement that would tell which it is.

    k  the count in question,  b = rate / k  the rate of one webserver at which k are just enough
    periods  N = n (h / |ln(v / b)|)^2,   h = |ln(e / v)|, e the interval's end on the side of b

v estimated rate of one webserver from n metric periods: an interval's width on the logarithm goes
with 1 / sqrt(n), and b has to come to lie outside. Of several counts in question it is the one
whose b is nearest to v, the hardest to tell. With an interval over runs it is runs that are needed:
the fewest m with t(0.975, m - 1) s / sqrt(m) <= |ln(v / b)|.
"""

import math
from dataclasses import dataclass

from scipy import stats

from analysis.demand_observations import PERIODS_FOR_TRUST
from analysis.estimate import Estimate
from analysis.sizing.loads import calls_per_s

MOST_PERIODS = 1440  # a day of minutes
MOST_RUNS = 50
MORE_PERIODS = (
    "The interval of what one webserver serves is open: to decide, run stages at more rates that "
    "keep it between 5 and 70 % CPU, for more metric periods."
)


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


def missing_stage(capacity: Estimate) -> str:
    """What to measure where the interval of the rate at which the SLO breaks is open."""
    return " ".join(
        ("The rate at which the SLO breaks is not known well enough.", *capacity.warnings)
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
    criterion: str,
    runs: int = 1,
    of: str = "webservers",
    period_s: float | None = None,
) -> str:
    """One sentence or two: what is not certain, and what to measure.

    Args:
        rate_per_s: to be served.
        question: of `open_question`.
        periods: metric periods behind the interval, of all runs.
        criterion: what enough webservers do, such as "meet the SLO".
        runs: whose spread the interval is of; 1: it is of their own errors.
        of: what is counted, such as "mw1.small webservers".
        period_s: of the metrics; None: not known, so no time is given.
    """
    count, rate = question.webservers, calls_per_s(rate_per_s)
    doubt = (
        f"Whether {count} {of} {criterion} at {rate} or {count + 1} are needed is within the "
        "uncertainty."
    )
    more, how_often, ending = 0, "", ""
    if runs > 1:
        each = max(math.ceil(periods / runs), PERIODS_FOR_TRUST)
        more = _runs_needed(question, runs) - runs
        how_often, ending = (
            (" in a further run", "") if more == 1 else (f" in {more} more runs", " each")
        )
    else:
        each = _periods_needed(question, periods)
    if runs + more > MOST_RUNS or each > MOST_PERIODS:
        return f"{doubt} It is too close to be decided by measuring: take {count + 1}."
    long = f"{_about(each, period_s)}{ending}"
    return (
        f"{doubt} To decide, hold {rate} with MinWebservers = MaxWebservers = "
        f"{count}{how_often} for {long}."
    )


def _about(periods: int, period_s: float | None) -> str:
    """How long so many take: "about 12 min (710 metric periods)"."""
    if period_s is None:
        return f"{periods} metric periods"
    length_s = periods * period_s
    for unit, unit_s in (("h", 3600.0), ("min", 60.0)):
        if length_s >= 2 * unit_s:
            return f"about {math.ceil(length_s / unit_s)} {unit} ({periods} metric periods)"
    return f"about {math.ceil(length_s)} s ({periods} metric periods)"


def _question(count: int, border: float, value: float, low: float, high: float) -> Question:
    end = low if border < value else high
    return Question(count, abs(math.log(value / border)), abs(math.log(end / value)))


def _periods_needed(question: Question, periods: int) -> int:
    if question.distance * math.sqrt(MOST_PERIODS + 1) <= question.half_width:
        return MOST_PERIODS + 1
    needed = math.ceil(periods * (question.half_width / question.distance) ** 2)
    return max(needed, PERIODS_FOR_TRUST)


def _runs_needed(question: Question, runs: int) -> int:
    spread = question.half_width * math.sqrt(runs) / float(stats.t.ppf(0.975, runs - 1))
    for more in range(runs + 1, MOST_RUNS + 1):
        if float(stats.t.ppf(0.975, more - 1)) * spread / math.sqrt(more) <= question.distance:
            return more
    return MOST_RUNS + 1
