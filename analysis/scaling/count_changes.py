"""Changes of the webserver count as the metrics show them, and when a new webserver took traffic.

A change seen only in SampleCount counts when the next period confirms it: a late sample of one
cluster looks like a lost webserver. It happened after the end of the last period with the old count
and not after the end of the first period with the new one.

A new webserver that takes its share of the calls for half of a period has about half of the mean
CPU in it. So the first period, from the one with the new count on, whose least busy webserver
(statistic Minimum) has at least that is the one in which it took traffic, and its end is an upper
bound. A webserver that is busy starting up, before it takes calls, looks the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from analysis.windows import WebserverPeriod

_SHARE_OF_MEAN_CPU = 0.5


@dataclass(frozen=True, slots=True)
class CountChange:
    """A change of SampleCount: after the last period without it, at the first that shows it."""

    from_count: int
    to_count: int
    after_s: float  # end of the last period with the old count
    seen_s: float  # end of the first period with the new one


def count_changes(periods: Sequence[WebserverPeriod]) -> tuple[CountChange, ...]:
    """Every confirmed change, in the order of time."""
    counted = [period for period in periods if period.webservers is not None]
    changes: list[CountChange] = []
    current = counted[0].webservers or 0 if counted else 0
    last_of_current_s = counted[0].end_s if counted else 0.0
    for period, following in pairwise(counted):
        count = period.webservers or 0
        if count != current and following.webservers == count:
            changes.append(CountChange(current, count, last_of_current_s, period.end_s))
            current = count
        if count == current:
            last_of_current_s = period.end_s
    return tuple(changes)


def took_traffic_by_s(
    periods: Sequence[WebserverPeriod], seen_s: float, to_count: int
) -> float | None:
    """When a webserver whose count was seen at a time took traffic at the latest.

    None when Minimum was not recorded, or it took none while there were so many webservers.
    """
    for period in periods:
        if period.end_s < seen_s or period.webservers is None:
            continue
        if period.webservers < to_count:
            return None
        least, mean = period.cpu_min_percent, period.cpu_percent
        if least is not None and mean and least >= _SHARE_OF_MEAN_CPU * mean:
            return period.end_s
    return None
