"""What the fit of service demands is made on: CPU used and calls served, period by period.

A call's work is spread evenly over [actual start, end]: across a period's border it counts in both.
Calls refused before a webserver are left out. Periods have a webserver count that is the same in
the period before and after, and a load that makes for at most 70 % CPU, as expected by a first fit:
near saturation calls cost more. Choosing by the measured CPU itself would keep the lucky low
periods at the border and drop their high neighbours, and so make every demand too small. Where too
few are left, those expected to have up to 90 % are used too, with a warning.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.calls import Calls, Floats
from analysis.demand_fit import bounded_fit
from analysis.windows import WebserverPeriod

USUAL_CPU_PERCENT = 70.0  # at most, as expected
HIGHEST_CPU_PERCENT = 90.0
SATURATED_PERCENT = 95.0  # as measured: such periods may not even help to know what to expect
IDLE_PERCENT = 5.0
FEWEST_PERIODS = 6
PERIODS_FOR_TRUST = 10  # with fewer, an interval covers less often than it promises
_SHORTEST_WORK_S = 1e-6
_CHANCE = 4.0  # standard deviations
_UNLIKE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """One row per metric period used."""

    operations: tuple[str, ...]  # those with calls
    calls_per_s: Floats  # (periods, operations)
    webservers: Floats  # (periods,)
    cpus_used: Floats  # (periods,) over all webservers
    period_s: float

    def __len__(self) -> int:
        return len(self.webservers)

    def rows(self, chosen: NDArray[np.bool_]) -> "Observations":
        """Those chosen, without the operations that they have no calls of."""
        calls_per_s = self.calls_per_s[chosen]
        seen = calls_per_s.any(axis=0)
        return Observations(
            operations=tuple(np.array(self.operations, dtype=object)[seen]),
            calls_per_s=calls_per_s[:, seen],
            webservers=self.webservers[chosen],
            cpus_used=self.cpus_used[chosen],
            period_s=self.period_s,
        )

    @property
    def per_operation(self) -> Floats:
        """A column for each operation, and the last for the background."""
        return np.column_stack([self.calls_per_s, self.webservers])

    @property
    def per_mix(self) -> Floats:
        """The calls of all operations, and the background."""
        return np.column_stack([self.calls_per_s.sum(axis=1), self.webservers])

    def is_of(self, mix: Mapping[str, float]) -> bool:
        """Whether the calls came in the shares of the mix, but for chance."""
        work = self.calls_per_s.sum(axis=0) * self.period_s
        came = dict(zip(self.operations, work, strict=True))
        total = max(float(work.sum()), 1.0)
        for label in {*mix, *came}:
            share = mix.get(label, 0.0)
            chance = np.sqrt(share * (1 - share) / total)
            if abs(came.get(label, 0.0) / total - share) > _UNLIKE + _CHANCE * chance:
                return False
        return True


def steady_periods(periods: Sequence[WebserverPeriod]) -> tuple[WebserverPeriod, ...]:
    """Periods whose webserver count is the same in the period before and after."""
    kept = []
    for index, period in enumerate(periods):
        neighbours = periods[max(index - 1, 0) : index + 2]
        steady = all(other.webservers == period.webservers for other in neighbours)
        if period.webservers and period.cpu_percent is not None and steady:
            kept.append(period)
    return tuple(kept)


def usable_periods(periods: Sequence[WebserverPeriod]) -> int:
    """How many of the periods are neither idle nor saturated."""
    return sum(IDLE_PERCENT <= (p.cpu_percent or 0.0) <= SATURATED_PERCENT for p in periods)


def observe(calls: Calls, periods: Sequence[WebserverPeriod], webserver_cpu: float) -> Observations:
    """One row for each period; the operations in alphabetical order."""
    working = calls.reached_webserver
    webservers = np.array([float(p.webservers or 0) for p in periods])
    fraction = np.array([(p.cpu_percent or 0.0) / 100 for p in periods])
    columns, operations = [], []
    for operation in calls.operation.counts():
        own = calls.where(working & calls.operation.are(operation))
        work = calls_in_periods(own, periods)
        if work.any():
            operations.append(operation)
            columns.append(work / periods[0].period_s)
    return Observations(
        operations=tuple(operations),
        calls_per_s=np.column_stack(columns) if columns else np.zeros((len(periods), 0)),
        webservers=webservers,
        cpus_used=fraction * webservers * webserver_cpu,
        period_s=periods[0].period_s,
    )


def in_usual_range(
    observed: Observations, webserver_cpu: float, *, by_operation: bool
) -> tuple[Observations, list[str]]:
    """The periods whose load, by a first fit, makes for the usual CPU, and warnings."""
    matrix = observed.per_operation if by_operation else observed.per_mix
    capacity = observed.webservers * webserver_cpu
    clear = observed.cpus_used <= SATURATED_PERCENT / 100 * capacity
    expected = matrix @ bounded_fit(matrix[clear], observed.cpus_used[clear])
    of_unseen = observed.calls_per_s[:, ~observed.calls_per_s[clear].any(axis=0)].any(axis=1)
    percent = np.where(of_unseen, np.inf, 100 * expected / capacity)
    usual = percent <= USUAL_CPU_PERCENT
    count = int(np.count_nonzero(usual))
    if count >= PERIODS_FOR_TRUST or usual.all():
        return observed.rows(usual), []
    high = percent <= HIGHEST_CPU_PERCENT
    return observed.rows(high), [
        f"Only {count} metric periods had the load for at most {USUAL_CPU_PERCENT:.0f} % CPU, so "
        f"those with up to {HIGHEST_CPU_PERCENT:.0f} % were used too; near saturation calls may "
        "cost more."
    ]


def calls_in_periods(calls: Calls, periods: Sequence[WebserverPeriod]) -> Floats:
    """How many calls' worth of work fell into each period, fractions for calls across borders.

    Args:
        calls: calls that were sent.
        periods: of one length, on one grid, not necessarily without gaps.
    """
    length_s = periods[0].period_s
    origin_s = periods[0].start_s
    index_of = {round((p.start_s - origin_s) / length_s): i for i, p in enumerate(periods)}
    size = max(index_of) + 1
    start = (calls.start_s - origin_s) / length_s
    end = np.maximum((calls.end_s - origin_s) / length_s, start + _SHORTEST_WORK_S / length_s)
    inside = (end > 0) & (start < size)
    start, end = start[inside], end[inside]
    work = np.zeros(size)
    first, last = np.floor(start).astype(int), np.floor(end).astype(int)
    for step in range(int((last - first).max(initial=-1)) + 1):
        cell = first + step
        mine = (cell <= last) & (cell >= 0) & (cell < size)
        overlap = np.minimum(end, cell + 1) - np.maximum(start, cell)
        share = overlap / (end - start)
        work += np.bincount(cell[mine], weights=share[mine], minlength=size)
    return work[list(index_of)]
