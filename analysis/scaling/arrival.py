"""When a new webserver took traffic, as far as metric periods and calls tell.

Many webservers are counted while they start up, which costs CPU without any calls. Over the periods
away from changes of the count, the CPU of all webservers together is

    C_t = a m_t + r n_t,    a, r >= 0 by least squares,

m webservers, n calls per second that ended having reached one: a is what an idle webserver uses,
r what a call adds. Of a period in which a webserver came, what is more than this by the larger of
10 % of a webserver and three standard deviations of the residuals is the CPU of starting up, and
the webserver took traffic after it: not before so much of the period as that CPU takes.

In a period without it, the least busy webserver (Minimum) has the share of a fair share of calls

    f = (Minimum - a) / (r k / m),    k calls per second sent; without a and r, Minimum / mean,

so it took traffic when about f of the period was left, known to within a fifth of a period. The
earliest comes from periods with f < 0.8, the latest from the first with f >= 0.2. Once there are
more webservers, Minimum is of another one and tells only the latest. Without Minimum it is taken to
have taken traffic when it had started up: health checks that take long are not seen.

Where calls are cut at their time limit their work goes on, and n says nothing of it. In such
periods, and when there are too few to tell a and r, starting up cannot be told from traffic.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mwaa_headroom.analysis.calls import Calls, Mask
from mwaa_headroom.analysis.demand_fit import bounded_fit
from mwaa_headroom.analysis.metric_periods import WebserverPeriod, rates_of_calls
from mwaa_headroom.analysis.statistics import Floats

_START_UP_PERCENT = 10.0  # of a webserver
_START_UP_DEVIATIONS = 3.0
_TOO_VAGUE_PERCENT = 50.0  # more than that could hide half a period of starting up
_WITHIN = 0.2  # of a period
STARTING_PERIODS = 3  # in which a webserver may be starting up
_FEWEST_PERIODS = 5
_MOST_CUT = 0.02  # share of the calls that ended


@dataclass(frozen=True, slots=True)
class CountChange:
    """A change of SampleCount: after the last period without it, at the first that shows it."""

    from_count: int
    to_count: int
    after_s: float  # end of the last period with the old count
    seen_s: float  # end of the first period with the new one


@dataclass(frozen=True, slots=True)
class Arrival:
    """A new webserver took traffic between two times; None: it is not known when.

    `start_up`: whether it burnt CPU before; None: that cannot be told, so it may be later.
    """

    after_s: float | None
    by_s: float | None
    start_up: bool | None


@dataclass(frozen=True, slots=True, eq=False)
class CpuOfCalls:
    """What the CPU of each period says, in percent of one webserver; NaN where nothing is known."""

    idle_percent: float
    fair_percent: Floats  # (periods,), of its calls
    start_up_percent: Floats  # (periods,), 0: none
    surely_percent: Floats  # (periods,), at least so much of it


def cpu_of_calls(
    periods: Sequence[WebserverPeriod], calls: Calls, changes: Sequence[CountChange]
) -> CpuOfCalls | None:
    """None when the periods do not tell what calls cost."""
    if not periods or not len(calls):
        return None
    sent, ended, cut = rates_of_calls(periods, calls)
    counts = np.array([period.webservers or np.nan for period in periods], dtype=np.float64)
    mean = np.array([period.cpu_percent for period in periods], dtype=np.float64)
    known = np.isfinite(counts * mean) & (cut <= _MOST_CUT * ended)
    usual = known & ~_changing(periods, changes)
    if usual.sum() < _FEWEST_PERIODS:
        return None
    terms, total = np.stack([counts, ended], axis=1), counts * mean
    idle, of_call = bounded_fit(terms[usual], total[usual])
    left = total[usual] - terms[usual] @ np.array([idle, of_call])
    deviation = np.linalg.norm(left) / np.sqrt(usual.sum() - 2)
    least = max(_START_UP_PERCENT, _START_UP_DEVIATIONS * float(deviation))
    if of_call == 0 or least > _TOO_VAGUE_PERCENT:
        return None
    more = np.where(known, total - terms @ np.array([idle, of_call]), np.nan)
    return CpuOfCalls(
        idle_percent=float(idle),
        fair_percent=of_call * sent / counts,
        start_up_percent=np.where(more < least, 0.0, more),
        surely_percent=np.maximum(more - least, 0.0),
    )


def _changing(periods: Sequence[WebserverPeriod], changes: Sequence[CountChange]) -> Mask:
    found = np.zeros(len(periods), dtype=bool)
    for change in changes:
        for place, period in enumerate(periods):
            until_s = change.seen_s + STARTING_PERIODS * period.period_s
            found[place] |= change.after_s <= period.start_s < until_s
    return found


def arrival(
    periods: Sequence[WebserverPeriod],
    cpu: CpuOfCalls | None,
    change: CountChange,
    *,
    alone: bool,
) -> Arrival:
    """When the webservers of a rise took traffic.

    Args:
        periods: in the order of time.
        cpu: of these; None: it is not known what calls cost.
        change: the rise.
        alone: whether no other rise just before it may still be starting up.
    """
    start_up: bool | None = False if cpu else None
    earliest_s = change.after_s
    there = list(_periods_with_it(periods, change))
    burnt = [float(cpu.start_up_percent[place]) if cpu else 0.0 for place in there]
    for place, own_burnt, next_burnt in zip(there, burnt, [*burnt[1:], 0.0], strict=True):
        period = periods[place]
        own = alone and period.webservers == change.to_count
        share = None if own_burnt > 0 else _share_of_calls(period, cpu, place)
        if own_burnt > 0:
            start_up = True
        if math.isnan(own_burnt):
            start_up = None
        if own:
            earliest_s = max(earliest_s, _not_before_s(period, cpu, place, share))
        if next_burnt > 0 or own_burnt > 0:
            continue
        if share is None and start_up:
            by_s = _started_up_by_s(periods, cpu, place - 1)
            return Arrival(earliest_s, max(by_s, earliest_s), None)
        if share is not None and share >= _WITHIN:
            by_s = period.end_s - (share - _WITHIN) * period.period_s
            return Arrival(earliest_s, max(by_s, earliest_s), start_up)
    return Arrival(None, None, start_up)


def _periods_with_it(periods: Sequence[WebserverPeriod], change: CountChange) -> Iterator[int]:
    for place, period in enumerate(periods):
        if period.end_s < change.seen_s or period.webservers is None:
            continue
        if period.webservers < change.to_count:
            return
        yield place


def _started_up_by_s(
    periods: Sequence[WebserverPeriod], cpu: CpuOfCalls | None, last: int
) -> float:
    """By its last period: from the start of that on, if it goes on from the one before."""
    period = periods[last]
    if cpu is None or last == 0:
        return period.end_s
    burnt_percent = float(cpu.start_up_percent[last])
    unseen_percent = burnt_percent - float(cpu.surely_percent[last])
    if not cpu.start_up_percent[last - 1] > 0:
        return period.end_s + unseen_percent / 100 * period.period_s
    return period.start_s + min(burnt_percent + unseen_percent, 100.0) / 100 * period.period_s


def _not_before_s(
    period: WebserverPeriod, cpu: CpuOfCalls | None, place: int, share: float | None
) -> float:
    if share is not None:
        least_s = period.end_s - (share + _WITHIN) * period.period_s
        return least_s if share < 1 - _WITHIN else -math.inf
    if cpu and cpu.start_up_percent[place] > 0:
        return period.start_s + float(cpu.surely_percent[place]) / 100 * period.period_s
    return -math.inf


def _share_of_calls(period: WebserverPeriod, cpu: CpuOfCalls | None, place: int) -> float | None:
    """How much of a fair share of the calls the least busy webserver had, at most 1."""
    least, mean = period.cpu_min_percent, period.cpu_percent
    if least is None or not mean:
        return None
    if cpu is None:
        return min(least / mean, 1.0)
    fair = min(float(cpu.fair_percent[place]), 100 - cpu.idle_percent)
    return float(np.clip((least - cpu.idle_percent) / fair, 0.0, 1.0)) if fair > 0 else None
