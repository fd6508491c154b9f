"""Collects the CloudWatch metrics of webservers and database beside the load, into the record.

Metrics arrive late and change afterwards, so every poll looks back over several periods and records
only samples that are new or have another value; each is a row with the moment it was read.
CloudWatch failing never stops a run: the gap is an event, and is read again afterwards.

AWS documents neither the dimensions of ActiveConnectionCount nor the exact name of the additional
webservers' cluster, so both are discovered. Queries keep the order of dimensions that ListMetrics
tells: AWS does not care, but a stand-in may find a metric only under the order it was put with.
"""

import json
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mwaa_headroom.analysis.mwaa import (
    CLUSTER,
    CONNECTIONS,
    CPU,
    DATABASE_CONNECTIONS,
    DATABASE_ROLE,
    DATABASE_WRITER,
    MEMORY,
    NAMESPACE,
    PRIMARY_CLUSTER,
)
from mwaa_headroom.harness.aws.translate import aws_call, member
from mwaa_headroom.harness.errors import EnvironmentAccessError, HeadroomError
from mwaa_headroom.harness.record.directory import EventLog
from mwaa_headroom.harness.record.stream import StreamWriter

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.client import CloudWatchClient

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
LOOK_BACK_PERIODS = 10
DISCOVERY_PAUSE = 20  # times what a discovery took: a stand-in's costs CPU beside the load
FINAL_ATTEMPTS = 3
FINAL_RETRY_S = 5.0
LOOK_EVERY_S = 30.0  # while the last samples are waited for
SETTLED_AFTER_S = 30.0  # without a new or changed sample

DAY_S = 86_400
# How long CloudWatch keeps periods of a length; older ones only as means over the next longer.
KEPT_FOR_S: Mapping[int, int] = {60: 15 * DAY_S, 300: 63 * DAY_S, 3600: 455 * DAY_S}
# Of the additional webservers' cluster: as the user guide prints it, and as healthchecks name it.
SPELLINGS = ("AdditionalWebservers", "AdditionalWebserver", "AdditionalWebServer")

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
        return dict(self.dimensions).get(CLUSTER, "")

    @property
    def is_of_database(self) -> bool:
        """Whether it is of the metadata database's writer, on which every webserver depends."""
        return dict(self.dimensions).get(DATABASE_ROLE, "").upper() == DATABASE_WRITER

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

    def discover_past(self, recorded: Iterable[Metric] = ()) -> tuple[Metric, ...]:
        """The metrics there may have been: ListMetrics forgets one two weeks after its last sample.

        Args:
            recorded: of a run, which knows them.

        Raises:
            EnvironmentAccessError: CloudWatch refused or could not be reached.
        """
        ours = ("Environment", self._environment)
        likely = [Metric(CONNECTIONS, (ours,))]
        for cluster in (PRIMARY_CLUSTER, *SPELLINGS):
            likely += [Metric(name, ((CLUSTER, cluster), ours)) for name in (CPU, MEMORY)]
        found: dict[tuple[str, frozenset[tuple[str, str]]], Metric] = {}
        for metric in (*self.discover(), *filter(_is_read, recorded), *likely):
            found.setdefault((metric.name, frozenset(metric.dimensions)), metric)
        return tuple(found.values())

    def read(
        self,
        metrics: Sequence[Metric],
        *,
        from_s: float,
        to_s: float,
        period_s: int,
        periods_per_call: int | None = None,
    ) -> list[Sample]:
        """All samples of the periods that lie between two moments, widened to whole periods.

        Raises:
            EnvironmentAccessError: CloudWatch refused or could not be reached.
        """
        wanted = [(metric, statistic) for metric in metrics for statistic in metric.statistics]
        first, last = math.floor(from_s / period_s), math.ceil(to_s / period_s)
        samples = []
        step = periods_per_call or PERIODS_PER_CALL
        for start in range(first, last, step):
            end = min(start + step, last)
            for begin in range(0, len(wanted), QUERIES_PER_CALL):
                some = wanted[begin : begin + QUERIES_PER_CALL]
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
        return [metric for metric in ours if _is_read(metric)]

    def _read_once(
        self, wanted: Sequence[tuple[Metric, str]], start_s: int, end_s: int, period_s: int
    ) -> list[Sample]:
        with aws_call("cloudwatch:GetMetricData", environment=self._environment):
            pages = self._cloudwatch.get_paginator("get_metric_data").paginate(
                MetricDataQueries=[
                    _query(f"q{index}", metric, statistic, period_s)
                    for index, (metric, statistic) in enumerate(wanted)
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
            metric, statistic = wanted[int(result["Id"][1:])]
            samples += [
                Sample(metric, statistic, float(period_s), moment.timestamp(), value)
                for moment, value in zip(result["Timestamps"], result["Values"], strict=True)
                # a stand-in may answer with the period that begins at EndTime
                if moment.timestamp() < end_s
            ]
        return samples


def finest_period_s(from_s: float, now_s: float) -> int | None:
    """The shortest period that CloudWatch still has of a moment; None: it keeps none so long."""
    ages = (period_s for period_s, kept_s in KEPT_FOR_S.items() if now_s - from_s < kept_s)
    return next(ages, None)


def is_primary(cluster: str) -> bool:
    """Whether a Cluster dimension means the webservers that are always there."""
    return cluster.lower() == PRIMARY_CLUSTER.lower()


def is_webserver(cluster: str) -> bool:
    """Whether a Cluster dimension means webservers; the additional ones' spelling is unverified."""
    return is_primary(cluster) or cluster.lower().startswith("additionalwebserver")


def _is_read(metric: Metric) -> bool:
    if metric.is_of_database:
        return metric.name in DATABASE_STATISTICS
    is_of_balancer = metric.name == CONNECTIONS and not metric.cluster
    return metric.name in STATISTICS and (is_of_balancer or is_webserver(metric.cluster))


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


@dataclass(frozen=True, slots=True)
class LatestMetrics:
    """The newest whole period of which the webservers' count is known."""

    webservers: int
    cpu_percent: float | None  # mean over the webservers
    until_s: float  # its end


class Collector:
    """Polls a reader each period; `latest` may be asked from any thread."""

    def __init__(
        self,
        reader: MetricsReader,
        writer: StreamWriter,
        events: EventLog,
        *,
        period_s: int,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        """Collect nothing yet.

        Args:
            reader: of the environment's metrics.
            writer: with `METRICS_SCHEMA`.
            events: of the run.
            period_s: of the metrics; also the time between polls.
            clock: seconds since the epoch.
            sleep: used only by `final_read`.
        """
        self._reader = reader
        self._writer = writer
        self._events = events
        self._period_s = period_s
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._metrics: tuple[Metric, ...] = ()
        self._discovered_s = -math.inf
        self._discovery_pause_s = 0.0
        self._known: dict[tuple[Metric, str, float], float] = {}
        self._read_until_s: float | None = None
        self._gap_from_s: float | None = None
        self._gap_reason = ""
        self._latest: LatestMetrics | None = None
        self._changed_at_s = -math.inf  # when a sample was last new, or had another value
        self.failure: HeadroomError | None = None  # why the thread ended before its time

    def latest(self) -> LatestMetrics | None:
        """The newest values; None: nothing was read yet."""
        return self._latest

    def poll(self, now_s: float) -> bool:
        """Read whole periods up to `now_s`, and whatever an earlier gap left out.

        Returns:
            Whether CloudWatch answered.

        Raises:
            HeadroomError: the disk is full or read-only.
        """
        look_back_s = now_s - LOOK_BACK_PERIODS * self._period_s
        from_s = look_back_s if self._gap_from_s is None else min(look_back_s, self._gap_from_s)
        return self._read(from_s, now_s, now_s)

    def run_in_thread(self, stop: threading.Event) -> threading.Thread:
        """Poll each period until `stop` is set; a full disk ends the thread and is in `failure`."""

        def poll() -> None:
            try:
                while not stop.is_set():
                    self.poll(self._clock())
                    stop.wait(self._period_s)
            except HeadroomError as exc:
                self.failure = exc

        thread = threading.Thread(target=poll, name="metrics-collector", daemon=True)
        thread.start()
        return thread

    def final_read(
        self,
        from_s: float,
        to_s: float,
        settle_s: float,
        tell: Callable[[float], None] = lambda _: None,
    ) -> bool:
        """After the run: wait until late metrics have settled, then read all of it again.

        Args:
            from_s: where the run began.
            to_s: where it ended.
            settle_s: how long after `to_s` metrics may still arrive or change; the wait ends
                earlier if the last period is there and nothing changes any more.
            tell: is told, after every look, how many seconds more the wait may last.

        Returns:
            Whether CloudWatch answered; if not, the record has the event of a gap.

        Raises:
            HeadroomError: the disk is full or read-only, now or earlier.
        """
        if self.failure is not None:
            raise self.failure
        self._discovery_pause_s = 0.0
        whole_to_s = math.ceil(to_s / self._period_s) * self._period_s
        self._wait_for_late(whole_to_s, to_s + settle_s, settle_s, tell)
        for attempt in range(FINAL_ATTEMPTS):
            if attempt:
                self._sleep(FINAL_RETRY_S)
            if self._read(from_s, whole_to_s, self._clock()):
                return True
        self._close_gap(self._clock())
        return False

    def _wait_for_late(
        self, until_s: float, deadline_s: float, longest_s: float, tell: Callable[[float], None]
    ) -> None:
        for _ in range(math.ceil(longest_s / LOOK_EVERY_S)):  # whatever the clock does
            left_s = deadline_s - self._clock()
            self._sleep(min(max(left_s, 0.0), LOOK_EVERY_S))
            if left_s <= LOOK_EVERY_S:
                return
            now_s = self._clock()
            self._read(until_s - LOOK_BACK_PERIODS * self._period_s, now_s, now_s)
            tell(deadline_s - now_s)
            is_there = self._latest is not None and self._latest.until_s >= until_s
            if is_there and now_s - self._changed_at_s >= SETTLED_AFTER_S:
                return

    def _read(self, from_s: float, to_s: float, now_s: float) -> bool:
        """Read whole periods only: a period that still runs has only a part of its samples."""
        until_s = math.floor(min(to_s, now_s) / self._period_s) * self._period_s
        with self._lock:
            try:
                self._discover(now_s)
                samples = self._reader.read(
                    self._metrics, from_s=from_s, to_s=until_s, period_s=self._period_s
                )
            except EnvironmentAccessError as exc:
                self._open_gap(now_s, str(exc))
                return False
            self._record(samples, now_s)
            self._close_gap(now_s)
            self._read_until_s = now_s
            return True

    def _discover(self, now_s: float) -> None:
        """Look for metrics until nothing more can appear, but not all the time."""
        # A clock that was set back must not prolong the pause.
        if _is_complete(self._metrics) or 0 <= now_s - self._discovered_s < self._discovery_pause_s:
            return
        began_s = self._clock()
        self._metrics = tuple(self._reader.discover())
        if self._metrics:  # while there are none, a pause would cost samples
            self._discovered_s = now_s
            self._discovery_pause_s = DISCOVERY_PAUSE * (self._clock() - began_s)

    def _record(self, samples: Sequence[Sample], now_s: float) -> None:
        for sample in samples:
            key = (sample.metric, sample.statistic, sample.period_start_s)
            if self._known.get(key) != sample.value:
                self._known[key] = sample.value
                self._changed_at_s = now_s
                self._writer.append(sample.row(now_s))
        self._writer.flush()
        self._latest = _latest_of(samples) or self._latest

    def _open_gap(self, now_s: float, reason: str) -> None:
        if self._gap_from_s is None:
            self._gap_from_s = now_s if self._read_until_s is None else self._read_until_s
            self._gap_reason = reason
            message = f"The metrics cannot be read for now, the run goes on: {reason}"
            self._events.write("note", source="collector", time_s=now_s, message=message)

    def _close_gap(self, now_s: float) -> None:
        if self._gap_from_s is not None:
            self._events.write(
                "metrics_gap",
                source="collector",
                time_s=now_s,
                from_s=self._gap_from_s,
                to_s=now_s,
                reason=self._gap_reason,
            )
            self._gap_from_s = None


def _is_complete(metrics: Sequence[Metric]) -> bool:
    """Whether nothing more can appear: every metric for both kinds of webservers.

    Not every environment reports its database; one that does, does so from the beginning.
    """
    for name in STATISTICS:
        found = [metric for metric in metrics if metric.name == name]
        clusters = {metric.cluster for metric in found if not metric.is_of_database}
        if name == CONNECTIONS and "" in clusters:  # counted at the load balancer, for all
            continue
        if {is_primary(cluster) for cluster in clusters} != {True, False}:
            return False
    return True


def _latest_of(samples: Sequence[Sample]) -> LatestMetrics | None:
    counts = [sample for sample in samples if _is(sample, CPU, "SampleCount")]
    # The additional webservers may all be gone; the others are always there.
    newest_s = max(
        (count.period_start_s for count in counts if is_primary(count.metric.cluster)), default=None
    )
    if newest_s is None:
        return None
    newest = [sample for sample in samples if sample.period_start_s == newest_s]
    count = {s.metric: s.value for s in newest if _is(s, CPU, "SampleCount")}
    cpu = [s.value * count.get(s.metric, 0.0) for s in newest if _is(s, CPU, "Average")]
    webservers = sum(count.values())
    return LatestMetrics(
        webservers=round(webservers),
        cpu_percent=sum(cpu) / webservers if cpu and webservers else None,
        until_s=newest_s + newest[0].period_s,
    )


def _is(sample: Sample, metric: str, statistic: str) -> bool:
    return sample.metric.name == metric and sample.statistic == statistic
