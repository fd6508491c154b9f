"""All windows of one length over the arrivals of a recovery phase, and which of them hold.

Counts of calls over windows are differences of running sums, so all windows together cost as much
as one. r-th smallest < threshold  <=>  at least r values < threshold.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.calls import Calls, Floats
from analysis.judge import concerned_by, errors_of
from analysis.labels import Mask
from analysis.latency import nearest_rank, values_for_percentile
from analysis.slo import Slo

Counts = NDArray[np.int64]
_COMPARED: Final[Mapping[str, Callable[[Floats, float], Mask]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


@dataclass(frozen=True, slots=True, eq=False)
class Phase:
    """The arrivals of one recovery phase in the order of time."""

    calls: Calls
    good: Mask
    rate_per_s: float
    watched_until_s: float


class Windows:
    """All windows of one length that begin at an arrival.

    Attributes:
        whole: which of them end before the end of watching.
        unsent: which of those have arrivals that were not sent.
    """

    def __init__(self, phase: Phase, hold_s: float) -> None:
        self._phase = phase
        self._starts_s = phase.calls.intended_start_s
        self._first = np.searchsorted(self._starts_s, self._starts_s, side="left")
        self._beyond = np.searchsorted(self._starts_s, self._starts_s + hold_s, side="left")
        self.whole: Mask = self._starts_s + hold_s <= phase.watched_until_s
        self.unsent = self.whole & (self._count(~phase.calls.sent) > 0)

    def first_that_holds_s(self, slos: Sequence[Slo]) -> float | None:
        """When the first whole window begins over which all lines hold; None: there is none."""
        if not slos:
            return None
        held = self.whole & ~self.unsent
        for slo in slos:
            held &= self._holds(slo)
        return float(self._starts_s[np.argmax(held)]) if held.any() else None

    def doubtful(self, slos: Sequence[Slo]) -> Mask:
        """Whole windows with unsent arrivals in which the sent ones broke no line.

        Had those been sent, all lines might have held.
        """
        broken = np.full(len(self.whole), fill_value=False)
        for slo in slos:
            broken |= self._can_tell(slo) & ~self._holds(slo)
        return np.asarray(self.unsent & ~broken)

    def most_arrivals(self, slo: Slo) -> int:
        """The most arrivals that a line is about in any window."""
        return int(self._count(concerned_by(slo, self._phase.calls)).max(initial=0))

    def _can_tell(self, slo: Slo) -> Mask:
        """In which windows enough calls were sent to say whether a line holds."""
        calls = self._phase.calls
        concerned = concerned_by(slo, calls)
        sent = self._count(calls.sent & concerned)
        if slo.metric not in ("latency", "service_time"):
            return np.asarray(sent > 0)
        timed = self._count(calls.timed & concerned)
        needed = values_for_percentile(slo.percentile) if slo.percentile is not None else 1
        return np.asarray((timed >= needed) | ((timed == 0) & (sent > 0)))

    def _holds(self, slo: Slo) -> Mask:
        """Over which windows a line holds, by the calls that were sent."""
        calls = self._phase.calls
        concerned = concerned_by(slo, calls)
        if slo.metric in ("latency", "service_time"):
            return self._times_hold(slo, calls.timed & concerned)
        whole = calls.sent & concerned
        part = errors_of(slo, calls, whole) if slo.metric == "errors" else self._phase.good & whole
        number = self._count(whole)
        share = self._count(part) / np.maximum(number, 1)
        return np.asarray(_COMPARED[slo.comparison](share, slo.threshold) & (number > 0))

    def _times_hold(self, slo: Slo, timed: Mask) -> Mask:
        calls = self._phase.calls
        times_s = np.where(timed, calls.times_s(slo.metric, np.full(len(calls), True)), 0.0)
        number, cut = self._count(timed), self._count(timed & calls.censored)
        meeting = timed & _COMPARED[slo.comparison](times_s, slo.threshold)
        is_upper_limit = slo.comparison in ("<", "<=")
        if slo.function == "mean":
            mean_s = self._sum(times_s) / np.maximum(number, 1)
            met = _COMPARED[slo.comparison](mean_s, slo.threshold)
            return np.asarray(met & (number > 0) & (cut == 0 if is_upper_limit else True))
        ranks, needed = number, 1
        if slo.percentile is not None:
            ranks, needed = _ranks(number, slo.percentile), values_for_percentile(slo.percentile)
        if is_upper_limit:
            met = self._count(meeting & ~calls.censored) >= ranks
        else:
            met = self._count(timed & ~meeting) < ranks
        return np.asarray(met & (number >= needed))

    def _count(self, chosen: Mask) -> Counts:
        """How many of the chosen calls each window has."""
        running = np.concatenate([[0], np.cumsum(chosen)])
        return np.asarray(running[self._beyond] - running[self._first], dtype=np.int64)

    def _sum(self, values: Floats) -> Floats:
        running = np.concatenate([[0.0], np.cumsum(values)])
        return np.asarray(running[self._beyond] - running[self._first], dtype=np.float64)


def _ranks(numbers: Counts, percent: float) -> Counts:
    distinct, places = np.unique(numbers, return_inverse=True)
    ranks = np.array([nearest_rank(int(n), percent) for n in distinct], dtype=np.int64)
    return np.asarray(ranks[places])
