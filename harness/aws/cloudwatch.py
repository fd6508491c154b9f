"""Reads the metrics of webservers and database from CloudWatch: which there are, and their samples.

AWS documents neither the dimensions of ActiveConnectionCount nor the exact name of the additional
webservers' cluster, so both are discovered. Queries keep the order of dimensions that ListMetrics
tells: AWS does not care, but a stand-in may find a metric only under the order it was put with.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness.aws.translate import aws_call, member
from harness.errors import EnvironmentAccessError

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.client import CloudWatchClient

NAMESPACE = "AWS/MWAA"
CPU = "CPUUtilization"
MEMORY = "MemoryUtilization"
CONNECTIONS = "ActiveConnectionCount"
DATABASE_CONNECTIONS = "DatabaseConnections"
STATISTICS: Mapping[str, tuple[str, ...]] = {  # of the webservers
    CPU: ("Average", "Maximum", "Minimum", "SampleCount"),  # SampleCount counts the webservers
    MEMORY: ("Average", "Maximum"),
    CONNECTIONS: ("Average", "Maximum", "Sum", "SampleCount"),
}
DATABASE_STATISTICS: Mapping[str, tuple[str, ...]] = {
    CPU: ("Average",),
    DATABASE_CONNECTIONS: ("Average",),
}
QUERIES_PER_CALL = 500  # GetMetricData's limit
PERIODS_PER_CALL = 60  # keeps a call far below the limit of points, and a stand-in quick

_UNITS = {
    CPU: "Percent",
    MEMORY: "Percent",
    CONNECTIONS: "Count",
    DATABASE_CONNECTIONS: "Count",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; its dimensions as (name, value), in the order in which they were discovered."""

    name: str
    dimensions: tuple[tuple[str, str], ...]

    @property
    def cluster(self) -> str:
        """WebServer, AdditionalWebservers, or "" where there is no such dimension."""
        return dict(self.dimensions).get("Cluster", "")

    @property
    def is_of_database(self) -> bool:
        """Whether it is of the metadata database's writer, on which every webserver depends."""
        return dict(self.dimensions).get("DatabaseRole", "").upper() == "WRITER"

    @property
    def statistics(self) -> tuple[str, ...]:
        """What is read of it."""
        return (DATABASE_STATISTICS if self.is_of_database else STATISTICS)[self.name]


@dataclass(frozen=True, slots=True)
class Sample:
    """One statistic of one metric over one period."""

    metric: Metric
    statistic: str
    period_s: float
    period_start_s: float
    value: float

    def row(self, read_at_s: float) -> tuple[object, ...]:
        """Its row in `METRICS_SCHEMA`."""
        return (
            self.metric.name,
            self.metric.cluster,
            json.dumps(dict(self.metric.dimensions)),
            self.statistic,
            "Count" if self.statistic == "SampleCount" else _UNITS[self.metric.name],
            self.period_s,
            self.period_start_s,
            self.value,
            read_at_s,
        )


class MetricsReader:
    """Reads the metrics of one environment's webservers and database."""

    def __init__(self, cloudwatch: "CloudWatchClient", environment: str) -> None:
        self._cloudwatch = cloudwatch
        self._environment = environment

    def discover(self) -> tuple[Metric, ...]:
        """The metrics there are now; additional webservers appear with their first sample.

        An environment that does not report its database has no metrics of it.

        Raises:
            EnvironmentAccessError: CloudWatch refused or could not be reached.
        """
        found: dict[frozenset[tuple[str, str]], Metric] = {}
        for name in dict.fromkeys((*STATISTICS, *DATABASE_STATISTICS)):
            for metric in self._relevant(name, self._list(name)):
                found.setdefault(frozenset({("MetricName", name), *metric.dimensions}), metric)
        return tuple(found.values())

    def read(
        self, metrics: Sequence[Metric], *, from_s: float, to_s: float, period_s: int
    ) -> list[Sample]:
        """All samples of the periods that lie between two moments, widened to whole periods.

        Raises:
            EnvironmentAccessError: CloudWatch refused or could not be reached.
        """
        queries = {
            f"q{index}": (metric, statistic)
            for index, (metric, statistic) in enumerate(
                (metric, statistic) for metric in metrics for statistic in metric.statistics
            )
        }
        first, last = math.floor(from_s / period_s), math.ceil(to_s / period_s)
        samples = []
        for start in range(first, last, PERIODS_PER_CALL):
            end = min(start + PERIODS_PER_CALL, last)
            for some in _chunks(queries):
                samples += self._read_once(some, start * period_s, end * period_s, period_s)
        return samples

    def _list(self, name: str) -> Iterator[Metric]:
        with aws_call("cloudwatch:ListMetrics", environment=self._environment):
            pages = self._cloudwatch.get_paginator("list_metrics").paginate(
                Namespace=NAMESPACE, MetricName=name
            )
            for page in pages:
                for metric in member(page, "Metrics"):
                    dimensions = metric.get("Dimensions", [])
                    yield Metric(name, tuple((item["Name"], item["Value"]) for item in dimensions))

    def _relevant(self, name: str, metrics: Iterator[Metric]) -> list[Metric]:
        listed = list(dict.fromkeys(metrics))
        environment = ("Environment", self._environment)
        ours = [metric for metric in listed if environment in metric.dimensions]
        if name == CONNECTIONS:
            nameless = [metric for metric in listed if "Environment" not in dict(metric.dimensions)]
            # Without the environment's name it can be told to be ours only if there is just one.
            return ours or (nameless if len(nameless) == 1 else [])
        return [
            metric
            for metric in ours
            if (is_webserver(metric.cluster) and name in STATISTICS)
            or (metric.is_of_database and name in DATABASE_STATISTICS)
        ]

    def _read_once(
        self, queries: Mapping[str, tuple[Metric, str]], start_s: int, end_s: int, period_s: int
    ) -> list[Sample]:
        with aws_call("cloudwatch:GetMetricData", environment=self._environment):
            pages = self._cloudwatch.get_paginator("get_metric_data").paginate(
                MetricDataQueries=[
                    _query(query_id, metric, statistic, period_s)
                    for query_id, (metric, statistic) in queries.items()
                ],
                StartTime=datetime.fromtimestamp(start_s, UTC),
                EndTime=datetime.fromtimestamp(end_s, UTC),
                ScanBy="TimestampAscending",
            )
            results = [result for page in pages for result in member(page, "MetricDataResults")]
        samples = []
        for result in results:
            if result.get("StatusCode") in ("Forbidden", "InternalError"):
                raise EnvironmentAccessError(
                    f"cloudwatch:GetMetricData on environment '{self._environment}': "
                    f"CloudWatch answered {result['StatusCode']} for a metric."
                )
            metric, statistic = queries[result["Id"]]
            samples += [
                Sample(metric, statistic, float(period_s), moment.timestamp(), value)
                for moment, value in zip(result["Timestamps"], result["Values"], strict=True)
                # a stand-in may answer with the period that begins at EndTime
                if moment.timestamp() < end_s
            ]
        return samples


def is_primary(cluster: str) -> bool:
    """Whether a Cluster dimension means the webservers that are always there."""
    return cluster.lower() == "webserver"


def is_webserver(cluster: str) -> bool:
    """Whether a Cluster dimension means webservers; the additional ones' spelling is unverified."""
    return is_primary(cluster) or cluster.lower().startswith("additionalwebserver")


def _query(query_id: str, metric: Metric, statistic: str, period_s: int) -> Any:
    return {
        "Id": query_id,
        "MetricStat": {
            "Metric": {
                "Namespace": NAMESPACE,
                "MetricName": metric.name,
                "Dimensions": [{"Name": key, "Value": value} for key, value in metric.dimensions],
            },
            "Period": period_s,
            "Stat": statistic,
        },
    }


def _chunks(
    queries: dict[str, tuple[Metric, str]],
) -> Iterator[dict[str, tuple[Metric, str]]]:
    items = list(queries.items())
    for start in range(0, len(items), QUERIES_PER_CALL):
        yield dict(items[start : start + QUERIES_PER_CALL])
