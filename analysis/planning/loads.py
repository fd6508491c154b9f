"""The load somebody wants an environment to serve: one rate, a range of rates, or a trace.

A range is one rate that is not known better: every rate in it is as likely as any other. A trace is
a course of time; it is kept as calls per second for each of its seconds, and its lowest and highest
rate are those of its quietest and busiest minute, because the calls of a single second vary by
chance, and no metric of the service is finer than a minute. A trace shorter than ten minutes has
windows of a tenth of it instead, 5 s at least: its mean would hide its bursts.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mwaa_headroom.analysis.findings import Finding, note
from mwaa_headroom.analysis.statistics import Floats

MINUTE_S: Final = 60
DAY_S: Final = 86_400
LONGEST_TRACE_S: Final = 31 * DAY_S
_RATES_OF_A_RANGE: Final = 101
_SHORTEST_WINDOW_S: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class LoadWanted:
    """What is to be served.

    Attributes:
        low_per_s: of a trace, the mean of its quietest window.
        high_per_s: of a trace, the mean of its busiest window.
        description: which rates, or which trace.
        trace_per_s: calls per second, one value for each second; None: not a trace.
    """

    low_per_s: float
    high_per_s: float
    description: Finding
    trace_per_s: Floats | None = None

    @property
    def mean_per_s(self) -> float:
        """Over the range, or over the time."""
        if self.trace_per_s is not None:
            return float(self.trace_per_s.mean())
        return (self.low_per_s + self.high_per_s) / 2

    def rates(self) -> tuple[Floats, Floats]:
        """Rates with their weights, which sum to 1: of a trace, its windows and their shares."""
        if self.trace_per_s is not None:
            means, lengths = window_means(self.trace_per_s, window_s(self.trace_per_s))
            return means, lengths / float(len(self.trace_per_s))
        if self.low_per_s == self.high_per_s:
            return np.array([self.high_per_s]), np.array([1.0])
        places = (np.arange(_RATES_OF_A_RANGE) + 0.5) / _RATES_OF_A_RANGE
        middles = np.interp(places, [0.0, 1.0], [self.low_per_s, self.high_per_s])
        return middles, np.full(_RATES_OF_A_RANGE, 1.0 / _RATES_OF_A_RANGE)


def load_between(low_per_s: float, high_per_s: float) -> LoadWanted:
    """One rate, or a range of rates when the two differ.

    Raises:
        ValueError: one sentence; the rates are not above 0 and in order.
    """
    if not 0 < low_per_s <= high_per_s < np.inf:
        raise ValueError("A load is a rate above 0, or a range from a lower to a higher one.")
    rates = note("size.load_of_rates", low_per_s=low_per_s, high_per_s=high_per_s)
    return LoadWanted(low_per_s, high_per_s, rates)


def load_of_arrivals(time_s: Floats, name: str) -> LoadWanted:
    """A trace of single calls.

    Args:
        time_s: when each was due, ascending from 0.
        name: of the trace.

    Raises:
        ValueError: one sentence; there are no calls, or over too long a time.
    """
    _check_length(float(time_s[-1]) if len(time_s) else 0.0, name)
    return _load_of_seconds(np.bincount(time_s.astype(np.int64)).astype(np.float64), name)


def load_of_rates(time_s: Floats, rate_per_s: Floats, name: str) -> LoadWanted:
    """A trace of rates, each of which holds until the next.

    Args:
        time_s: when each began, strictly ascending from 0.
        rate_per_s: calls per second. The last one holds as long as the one before it, a single one
            for a minute.
        name: of the trace.

    Raises:
        ValueError: one sentence; there are no calls, or over too long a time.
    """
    last_s = float(time_s[-1] - time_s[-2]) if len(time_s) > 1 else float(MINUTE_S)
    end_s = float(np.ceil(time_s[-1] + last_s))
    _check_length(end_s, name)
    edges = np.append(time_s, end_s)
    calls_before = np.concatenate([[0.0], np.cumsum(rate_per_s * np.diff(edges))])
    return _load_of_seconds(np.diff(np.interp(np.arange(end_s + 1), edges, calls_before)), name)


def busiest_day(trace_per_s: Floats) -> Floats:
    """The 24 hours with the most calls, or the whole of a shorter trace."""
    if len(trace_per_s) <= DAY_S:
        return trace_per_s
    before = np.concatenate([[0.0], np.cumsum(trace_per_s)])
    first = int(np.argmax(before[DAY_S:] - before[:-DAY_S]))
    return trace_per_s[first : first + DAY_S]


def window_s(trace_per_s: Floats) -> int:
    """Seconds over which the rates of a trace are means: a minute, or a tenth of a short trace."""
    return min(MINUTE_S, max(_SHORTEST_WINDOW_S, len(trace_per_s) // 10))


def window_means(per_s: Floats, length_s: int) -> tuple[Floats, Floats]:
    """Mean and length in seconds of each window; a rest at the end joins the one before it."""
    starts = np.arange(max(len(per_s) // length_s, 1)) * length_s
    lengths = np.diff(np.append(starts, len(per_s))).astype(np.float64)
    means: Floats = np.add.reduceat(per_s, starts) / lengths
    return means, lengths


def _load_of_seconds(trace_per_s: Floats, name: str) -> LoadWanted:
    if not trace_per_s.any():
        raise ValueError(f"{name} has no calls: give a trace with some.")
    window = window_s(trace_per_s)
    means, _ = window_means(trace_per_s, window)
    low, high = float(means.min()), float(means.max())
    trace = note(
        "size.load_of_trace",
        name=name,
        length_s=len(trace_per_s),
        mean_per_s=float(trace_per_s.mean()),
        busiest_per_s=high,
        window_s=window,
    )
    return LoadWanted(low, high, trace, trace_per_s)


def _check_length(length_s: float, name: str) -> None:
    if length_s > LONGEST_TRACE_S:
        raise ValueError(
            f"{name} is longer than {LONGEST_TRACE_S // DAY_S} days: cut out what matters."
        )
