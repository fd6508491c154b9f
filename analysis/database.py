"""Metric periods of the metadata database: the writer that every webserver waits for.

Amazon MWAA reports CPUUtilization and DatabaseConnections of its database under the dimension
DatabaseRole (WRITER, READER) instead of a cluster. Taken are the averages of the writer; a sample
that was read twice counts as it was read last. Environments that report none have no periods.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

CPU = "CPUUtilization"
CONNECTIONS = "DatabaseConnections"
ROLE = "DatabaseRole"
WRITER = "WRITER"


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
            pc.match_substring(_text(metrics, "dimensions"), f'"{ROLE}"'),
        )
    )
    periods: dict[tuple[float, float], dict[str, float]] = {}
    for row in samples.sort_by("read_at_s").to_pylist():
        known = row["metric"] in (CPU, CONNECTIONS) and math.isfinite(row["value"])
        if known and _is_writer(row["dimensions"]):
            own = periods.setdefault((row["period_start_s"], row["period_s"]), {})
            own[row["metric"]] = row["value"]
    shortest_s = min((length_s for _, length_s in periods), default=0.0)
    return tuple(
        DatabasePeriod(start_s, length_s, values.get(CPU), values.get(CONNECTIONS))
        for (start_s, length_s), values in sorted(periods.items())
        if length_s == shortest_s
    )


def database_within(
    periods: Iterable[DatabasePeriod], from_s: float, to_s: float
) -> tuple[DatabasePeriod, ...]:
    """The periods that lie wholly between two times."""
    slack_s = 0.001  # stamps are whole seconds, stages begin anywhere
    return tuple(
        period
        for period in periods
        if period.start_s >= from_s - slack_s and period.end_s <= to_s + slack_s
    )


def _text(metrics: pa.Table, column: str) -> pa.ChunkedArray:
    return metrics.column(column).cast(pa.string())  # readers hand out dictionaries


def _is_writer(dimensions: str) -> bool:
    try:
        return str(json.loads(dimensions).get(ROLE, "")).upper() == WRITER
    except (ValueError, AttributeError):
        return False
