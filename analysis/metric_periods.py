"""Metric samples as periods of all webservers and of the database, beside the calls.

Amazon MWAA reports the webservers as two clusters (WebServer and the additional ones), each with
averages over its containers. Over the clusters k with SampleCount c_k:

    webservers  = sum c_k
    CPU, memory = sum c_k Average_k / sum c_k       busiest CPU    = max Maximum_k
    connections = sum c_k Average_k                 least busy CPU = min Minimum_k
                  (Sum where nothing else is known)

It reports its metadata database under the dimension DatabaseRole (WRITER, READER) instead of a
cluster; taken are the averages of the writer, that every webserver waits for. Environments that
report none have no periods.

A sample that was read twice counts as it was read last. A period's stamp is its start.

Latency of a period: nearest rank among its timed calls by intended start (`analysis.statistics`),
without an interval; cut calls count with what they took.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mwaa_headroom.analysis.calls import Calls, Mask
from mwaa_headroom.analysis.mwaa import (
    CONNECTIONS,
    CPU,
    DATABASE_CONNECTIONS,
    DATABASE_ROLE,
    DATABASE_WRITER,
    MEMORY,
)
from mwaa_headroom.analysis.results import PeriodPoint
from mwaa_headroom.analysis.statistics import Floats, value_at_rank, values_for_percentile


@dataclass(frozen=True, slots=True)
class DatabasePeriod:
    """One metric period of the database's writer; None where a metric was not reported."""

    start_s: float
    period_s: float
    cpu_percent: float | None
    connections: float | None

    @property
    def end_s(self) -> float:
        """When the period ends."""
        return self.start_s + self.period_s


def database_periods(metrics: pa.Table) -> tuple[DatabasePeriod, ...]:
    """The database's metric periods of a record's metrics table, in the order of time.

    When the table has periods of several lengths, the shortest are used.
    """
    samples = metrics.filter(
        pc.and_(
            pc.equal(_text(metrics, "statistic"), "Average"),
            pc.match_substring(_text(metrics, "dimensions"), f'"{DATABASE_ROLE}"'),
        )
    )
    periods: dict[tuple[float, float], dict[str, float]] = {}
    for row in samples.sort_by("read_at_s").to_pylist():
        known = row["metric"] in (CPU, DATABASE_CONNECTIONS) and math.isfinite(row["value"])
        if known and _is_writer(row["dimensions"]):
            own = periods.setdefault((row["period_start_s"], row["period_s"]), {})
            own[row["metric"]] = row["value"]
    shortest_s = min((length_s for _, length_s in periods), default=0.0)
    return tuple(
        DatabasePeriod(start_s, length_s, values.get(CPU), values.get(DATABASE_CONNECTIONS))
        for (start_s, length_s), values in sorted(periods.items())
        if length_s == shortest_s
    )


def _text(metrics: pa.Table, column: str) -> pa.ChunkedArray:
    return metrics.column(column).cast(pa.string())  # readers hand out dictionaries


def _is_writer(dimensions: str) -> bool:
    try:
        return str(json.loads(dimensions).get(DATABASE_ROLE, "")).upper() == DATABASE_WRITER
    except (ValueError, AttributeError):
        return False


_BLOCK = 1 << 20  # calls looked at together: bounds the memory beside them

_Group = tuple[str, str]  # cluster in lower case, dimensions
_Statistics = dict[str, float]  # statistic -> value
_Metrics = dict[str, dict[_Group, _Statistics]]  # by metric
_Places = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class WebserverPeriod:
    """One metric period over all webservers; None where a metric was not reported."""

    start_s: float
    period_s: float
    webservers: int | None
    cpu_percent: float | None
    cpu_max_percent: float | None
    memory_percent: float | None
    connections: float | None
    cpu_min_percent: float | None = None  # of the least busy webserver

    @property
    def end_s(self) -> float:
        """When the period ends."""
        return self.start_s + self.period_s

    @property
    def connections_per_webserver(self) -> float | None:
        """The mean over the webservers; None when the connections or the count are not known."""
        if self.connections is None or not self.webservers:
            return None
        return self.connections / self.webservers


Period = TypeVar("Period", DatabasePeriod, WebserverPeriod)


def webserver_periods(metrics: pa.Table) -> tuple[WebserverPeriod, ...]:
    """The webservers' metric periods of a record's metrics table, in the order of time.

    When the table has periods of several lengths, the shortest are used.
    """
    latest = _latest_readings(metrics.to_pylist())
    if not latest:
        return ()
    period_s = min(length for _, length in latest)
    return tuple(
        _combined(start_s, period_s, by_metric)
        for (start_s, length), by_metric in sorted(latest.items())
        if length == period_s
    )


def period_points(
    periods: Sequence[WebserverPeriod],
    calls: Calls,
    good: Mask,
    database: Sequence[DatabasePeriod] = (),
) -> tuple[PeriodPoint, ...]:
    """Metric periods beside calls: offered and latency by intended start, the rest by actual start.

    Args:
        periods: of the webservers.
        calls: of the whole run.
        good: which of them met the SLO's limits of a call.
        database: its periods; those that start when a webserver period does are shown beside it.
    """
    sent = calls.sent
    started = {
        "achieved_per_s": sent,
        "goodput_per_s": good,
        "errors_per_s": sent & ~calls.outcome.are("ok"),
    }
    rates = {"offered_per_s": offered_per_s(periods, calls)}
    rates |= _rates(periods, calls.start_s, started)
    latencies = _latencies(periods, calls)
    database_at = {period.start_s: period for period in database}
    points = []
    for index, (period, (p50_s, p95_s)) in enumerate(zip(periods, latencies, strict=True)):
        beside = database_at.get(period.start_s)
        points.append(
            PeriodPoint(
                start_s=period.start_s,
                period_s=period.period_s,
                webservers=period.webservers,
                cpu_percent=period.cpu_percent,
                cpu_max_percent=period.cpu_max_percent,
                memory_percent=period.memory_percent,
                connections=period.connections,
                latency_p50_s=p50_s,
                latency_p95_s=p95_s,
                database_cpu_percent=beside.cpu_percent if beside else None,
                database_connections=beside.connections if beside else None,
                **{name: float(values[index]) for name, values in rates.items()},
            )
        )
    return tuple(points)


def offered_per_s(periods: Sequence[WebserverPeriod], calls: Calls) -> Floats:
    """Arrivals per second in each period."""
    everyone = np.full(len(calls), fill_value=True)
    return _rates(periods, calls.intended_start_s, {"offered": everyone})["offered"]


def rates_of_calls(
    periods: Sequence[WebserverPeriod], calls: Calls
) -> tuple[Floats, Floats, Floats]:
    """Per second of each period: calls sent to a webserver, those that ended, and those cut."""
    reached = calls.reached_webserver
    sent = _rates(periods, calls.start_s, {"sent": reached})
    ended = _rates(periods, calls.end_s, {"ended": reached, "cut": reached & calls.censored})
    return sent["sent"], ended["ended"], ended["cut"]


def periods_within(periods: Iterable[Period], from_s: float, to_s: float) -> tuple[Period, ...]:
    """The periods that lie wholly between two times."""
    slack_s = 0.001  # stamps are whole seconds, stages begin anywhere
    return tuple(
        period
        for period in periods
        if period.start_s >= from_s - slack_s and period.end_s <= to_s + slack_s
    )


def _latest_readings(rows: list[dict[str, Any]]) -> dict[tuple[float, float], _Metrics]:
    periods: dict[tuple[float, float], _Metrics] = {}
    for row in sorted(rows, key=lambda row: float(row["read_at_s"])):
        cluster = row["cluster"].lower()
        if not _concerns_webservers(row["metric"], cluster) or not math.isfinite(row["value"]):
            continue
        by_metric = periods.setdefault((row["period_start_s"], row["period_s"]), {})
        groups = by_metric.setdefault(row["metric"], {})
        groups.setdefault((cluster, row["dimensions"]), {})[row["statistic"]] = row["value"]
    return periods


def _concerns_webservers(metric: str, cluster: str) -> bool:
    # AWS does not document the dimensions of ActiveConnectionCount: it may come without a cluster.
    if metric == CONNECTIONS and not cluster:
        return True
    is_webserver = cluster.startswith(("webserver", "additionalwebserver"))
    return is_webserver and metric in (CPU, MEMORY, CONNECTIONS)


def _combined(start_s: float, period_s: float, by_metric: _Metrics) -> WebserverPeriod:
    cpu = list(by_metric.get(CPU, {}).values())
    memory = list(by_metric.get(MEMORY, {}).values())
    counts = [sample["SampleCount"] for sample in cpu or memory if "SampleCount" in sample]
    busiest = [sample["Maximum"] for sample in cpu if "Maximum" in sample]
    least_busy = [sample["Minimum"] for sample in cpu if "Minimum" in sample]
    return WebserverPeriod(
        start_s=start_s,
        period_s=period_s,
        webservers=round(sum(counts)) if counts else None,
        cpu_percent=_weighted_mean(cpu),
        cpu_max_percent=max(busiest, default=None),
        memory_percent=_weighted_mean(memory),
        connections=_total(by_metric.get(CONNECTIONS, {})),
        # A cluster that does not tell its least busy webserver may have the least busy of all.
        cpu_min_percent=min(least_busy) if cpu and len(least_busy) == len(cpu) else None,
    )


def _weighted_mean(samples: list[_Statistics]) -> float | None:
    pairs = [
        (sample["Average"], sample.get("SampleCount", 1.0))
        for sample in samples
        if "Average" in sample
    ]
    weight = sum(count for _, count in pairs)
    return sum(value * count for value, count in pairs) / weight if weight else None


def _total(groups: dict[_Group, _Statistics]) -> float | None:
    of_clusters = {group: sample for group, sample in groups.items() if group[0]}
    totals = []
    for sample in (of_clusters or groups).values():
        if "Average" in sample and "SampleCount" in sample:
            totals.append(sample["Average"] * sample["SampleCount"])
        elif "Sum" in sample:
            totals.append(sample["Sum"])
    return sum(totals) if totals else None


def _rates(
    periods: Sequence[WebserverPeriod], times_s: Floats, choices: Mapping[str, Mask]
) -> dict[str, Floats]:
    """For each choice among the times, how many there are per second in each period."""
    borders = _Borders.of(periods)
    counts = {name: np.zeros(len(borders.at_s) + 1, dtype=np.int64) for name in choices}
    for block, place in borders.places(times_s):
        for name, chosen in choices.items():
            counts[name] += np.bincount(place[chosen[block]], minlength=len(borders.at_s) + 1)
    lengths_s = borders.at_s[borders.last] - borders.at_s[borders.first]
    before = {name: np.cumsum(count) for name, count in counts.items()}  # a border: times before it
    return {
        name: (below[borders.last] - below[borders.first]) / np.maximum(lengths_s, 1e-9)
        for name, below in before.items()
    }


def _latencies(
    periods: Sequence[WebserverPeriod], calls: Calls
) -> list[tuple[float | None, float | None]]:
    """p50 and p95 of the latency of each period's calls; None where they are too few."""
    borders = _Borders.of(periods)
    timed = calls.timed
    # Sorting small integers takes a tenth of the time, and few runs have more borders.
    kind = np.int16 if len(borders.at_s) < np.iinfo(np.int16).max else np.int32
    place = np.empty(len(calls), dtype=kind)
    for block, own in borders.places(calls.intended_start_s):
        place[block] = np.where(timed[block], own, 0)  # 0: before all borders, in no period
    counts = np.bincount(place, minlength=len(borders.at_s) + 1)
    in_order = np.argsort(place, kind="stable")
    before = np.cumsum(counts)
    found = []
    for first, last in zip(borders.first, borders.last, strict=True):
        chosen = in_order[before[first] : before[last]]
        took_s = calls.lag_s[chosen] + calls.service_time_s[chosen]
        found.append((_percentile(took_s, 50.0), _percentile(took_s, 95.0)))
    return found


def _percentile(times_s: Floats, percent: float) -> float | None:
    enough = len(times_s) >= values_for_percentile(percent)
    return value_at_rank(times_s, percent) if enough else None


@dataclass(frozen=True, slots=True, eq=False)
class _Borders:
    """Starts and ends of periods, which may have gaps between them or overlap."""

    at_s: Floats  # in order, each once
    first: _Places  # of each period's start among them
    last: _Places  # of its end

    @classmethod
    def of(cls, periods: Sequence[WebserverPeriod]) -> "_Borders":
        starts = np.array([period.start_s for period in periods], dtype=np.float64)
        ends = np.array([period.end_s for period in periods], dtype=np.float64)
        at_s = np.unique(np.concatenate([starts, ends]))
        return cls(at_s, np.searchsorted(at_s, starts), np.searchsorted(at_s, ends))

    def places(self, times_s: Floats) -> Iterator[tuple[slice, _Places]]:
        """How many borders are not after each time, block by block.

        There are few borders and many times, which are not sorted.
        """
        for first in range(0, len(times_s), _BLOCK):
            block = slice(first, first + _BLOCK)
            yield block, np.searchsorted(self.at_s, times_s[block], side="right")
