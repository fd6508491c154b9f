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

from analysis.estimate import Estimate
from analysis.sizing.loads import calls_per_s
from analysis.sizing.pooling import FEWEST_FOR_SPREAD

FEWEST_PERIODS = 20  # with fewer, an interval of a demand is too narrow
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


def deciding_measurement(
    rate_per_s: float,
    question: Question,
    *,
    periods: int,
    criterion: str,
    runs: int = 1,
    of: str = "webservers",
) -> str:
    """One sentence or two: what is not certain, and what to measure.

    Args:
        rate_per_s: to be served.
        question: of `open_question`.
        periods: metric periods behind the interval, of all runs.
        criterion: what enough webservers do, such as "meet the SLO".
        runs: behind the interval.
        of: what is counted, such as "mw1.small webservers".
    """
    count, rate = question.webservers, calls_per_s(rate_per_s)
    doubt = (
        f"Whether {count} {of} {criterion} at {rate} or {count + 1} are needed is within the "
        "uncertainty."
    )
    needed = _runs_needed(question, runs) if runs >= FEWEST_FOR_SPREAD else 1
    each = max(math.ceil(periods / runs), FEWEST_PERIODS)
    if needed == 1:
        each = _periods_needed(question, periods)
    if needed > MOST_RUNS or each > MOST_PERIODS:
        return f"{doubt} It is too close to be decided by measuring: take {count + 1}."
    how_often = "" if runs < FEWEST_FOR_SPREAD else f" in {needed - runs} more runs"
    long = f"{each} metric periods" + (" each" if how_often else "")
    return (
        f"{doubt} To decide, hold {rate} with MinWebservers = MaxWebservers = "
        f"{count}{how_often} for {long}."
    )


def _question(count: int, border: float, value: float, low: float, high: float) -> Question:
    end = low if border < value else high
    return Question(count, abs(math.log(value / border)), abs(math.log(end / value)))


def _periods_needed(question: Question, periods: int) -> int:
    if question.distance * math.sqrt(MOST_PERIODS + 1) <= question.half_width:
        return MOST_PERIODS + 1
    needed = math.ceil(periods * (question.half_width / question.distance) ** 2)
    return max(needed, FEWEST_PERIODS)


def _runs_needed(question: Question, runs: int) -> int:
    spread = question.half_width * math.sqrt(runs) / float(stats.t.ppf(0.975, runs - 1))
    for more in range(runs + 1, MOST_RUNS + 1):
        if float(stats.t.ppf(0.975, more - 1)) * spread / math.sqrt(more) <= question.distance:
            return more
    return MOST_RUNS + 1
