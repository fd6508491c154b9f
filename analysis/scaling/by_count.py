"""Throughput, latency and errors at each webserver count.

Counted are the metric periods wholly inside measured parts of stages whose webserver count is the
same in the period before and after, so that it did not change within them, and the calls that
should have started in these periods. Rates are over the time of these periods together.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.calls import Calls
from analysis.demand_observations import steady_periods
from analysis.labels import Mask
from analysis.latency import percentiles
from analysis.outcomes import share
from analysis.results import CountRow
from analysis.stages import StageTimes
from analysis.windows import WebserverPeriod, periods_within

_BLOCK = 1 << 20  # calls looked at together: bounds the memory beside them


def by_webservers(
    stages: Sequence[StageTimes],
    periods: Sequence[WebserverPeriod],
    calls: Calls,
    good: Mask,
) -> tuple[CountRow, ...]:
    """One row for each webserver count that was seen for a whole period, the fewest first.

    Args:
        stages: of the run.
        periods: of the run, in the order of time.
        calls: of the whole run.
        good: which of them ended ok within the SLO's limits of a call.
    """
    inside = {
        period.start_s
        for stage in stages
        for period in periods_within(periods, stage.measured_from_s, stage.ended_at_s)
    }
    chosen = [period for period in steady_periods(periods) if period.start_s in inside]
    count_of_call = _counts_at(calls, chosen)
    sent, ok, timed, cut = calls.sent, calls.ok, calls.timed, calls.censored
    rows = []
    for webservers in sorted({period.webservers for period in chosen if period.webservers}):
        own = [period for period in chosen if period.webservers == webservers]
        mine = count_of_call == webservers
        time_s = sum(period.period_s for period in own)
        cpu = [period.cpu_percent for period in own if period.cpu_percent is not None]
        goodput_per_s = int(np.count_nonzero(mine & good)) / time_s
        latency_s = percentiles(
            calls.times_s("latency", mine & timed),
            (50.0, 95.0),
            censored=int(np.count_nonzero(mine & cut)),
        )
        own_sent = int(np.count_nonzero(mine & sent))
        rows.append(
            CountRow(
                webservers=webservers,
                time_s=time_s,
                calls=own_sent,
                offered_per_s=int(np.count_nonzero(mine)) / time_s,
                goodput_per_s=goodput_per_s,
                goodput_per_webserver_per_s=goodput_per_s / webservers,
                cpu_percent=sum(cpu) / len(cpu) if cpu else None,
                latency_p50_s=latency_s[50.0],
                latency_p95_s=latency_s[95.0],
                error_rate=share(own_sent - int(np.count_nonzero(mine & ok)), own_sent),
            )
        )
    return tuple(rows)


def _counts_at(calls: Calls, periods: Sequence[WebserverPeriod]) -> NDArray[np.int32]:
    """The webserver count when each call should have started; 0: in none of the periods."""
    starts_s = np.array([period.start_s for period in periods])
    ends_s = np.array([period.end_s for period in periods])
    counts = np.array([period.webservers for period in periods], dtype=np.int32)
    found = np.zeros(len(calls), dtype=np.int32)
    if not len(periods):
        return found
    for first in range(0, len(calls), _BLOCK):
        block = slice(first, first + _BLOCK)
        times_s = calls.intended_start_s[block]
        place = np.maximum(np.searchsorted(starts_s, times_s, side="right") - 1, 0)
        inside = (times_s >= starts_s[place]) & (times_s < ends_s[place])
        found[block] = np.where(inside, counts[place], 0)
    return found
