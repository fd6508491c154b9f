"""Samples of webservers and database, and publishing them to CloudWatch as MWAA does.

One datum per metric, webserver and period, so that SampleCount counts webservers; the database's
have the dimension DatabaseRole instead of Cluster. Dimensions are always in the order Cluster (or
DatabaseRole), Environment: real CloudWatch does not care, but moto finds a metric only under the
order it was put with. Each datum is dated with the start of its period. Which dimensions
ActiveConnectionCount has on AWS is unverified, hence a setting.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

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
from mwaa_headroom.harness.local.backend import DatabaseUsage, Usage
from mwaa_headroom.harness.local.gateway.signature import Credential
from mwaa_headroom.harness.local.instance import Endpoints
from mwaa_headroom.harness.local.settings import MetricsSettings
from mwaa_headroom.harness.local.webservers import Emit, Member

PUT_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One webserver in one period."""

    webserver: str
    cluster: str  # of its metrics: the first min_webservers are one, the others another
    takes_calls: bool  # false while it starts or drains
    cpu_percent: float  # of the webserver's CPUs
    memory_percent: float
    connections: float  # mean over the time it took calls


@dataclass(frozen=True, slots=True)
class DatabaseSample:
    """The metadata database in one period."""

    cpu_percent: float  # of the CPUs that are 100 %
    connections: float  # at the end of the period


@dataclass
class WebserverSampler:
    """Samples the webservers: differences between readings.

    CPU is spread over the whole period even if a webserver became ready in the middle of it, so
    that percent x period x CPUs adds up to the CPU-seconds used. Starting a webserver costs CPU
    which counts only if the setting `while_starting` says so.
    """

    settings: MetricsSettings
    webserver_cpu: float
    min_webservers: int
    mean_in_flight: Callable[[str], float]
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        self._read_at_s = self.clock()
        self._before: dict[str, Usage] = {}

    def read(self, members: Sequence[Member]) -> list[Sample]:
        """One sample per running webserver since the last reading; `members` oldest first.

        Raises:
            OSError: the machine has no more files to open; the next reading is from the last one.
        """
        while_starting = self.settings.while_starting
        running = [one for one in members if one.state != "starting" or while_starting]
        usages = {one.name: one.webserver.usage() for one in running}
        now_s = self.clock()
        elapsed_s = now_s - self._read_at_s
        self._read_at_s = now_s
        samples = [
            self._sample(rank, member, usages[member.name], elapsed_s)
            for rank, member in enumerate(running)
        ]
        self._before = usages
        return samples

    def _sample(self, rank: int, member: Member, usage: Usage, elapsed_s: float) -> Sample:
        nothing = Usage(cpu_s=0.0, memory_fraction=0.0)
        first = nothing if self.settings.while_starting else member.usage_when_ready
        used_s = usage.cpu_s - self._before.get(member.name, first).cpu_s
        is_primary = rank < self.min_webservers
        return Sample(
            webserver=member.name,
            cluster=PRIMARY_CLUSTER if is_primary else self.settings.additional_cluster,
            takes_calls=member.state == "ready",
            cpu_percent=100.0 * max(0.0, used_s) / elapsed_s / self.webserver_cpu,
            memory_percent=100.0 * usage.memory_fraction,
            connections=self.mean_in_flight(member.name) * self.settings.connections_per_call,
        )


@dataclass
class DatabaseSampler:
    """Samples the database: differences between readings."""

    usage: Callable[[], DatabaseUsage | None]  # so far; None: there is no database
    cpus: float  # that are 100 %
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        self._read_at_s = self.clock()
        self._before: DatabaseUsage | None = None

    def read(self) -> DatabaseSample | None:
        """The time since the last reading; None: nothing can be told of it."""
        now = self.usage()
        before, elapsed_s = self._before, self.clock() - self._read_at_s
        self._read_at_s += elapsed_s
        self._before = now
        if now is None or before is None or elapsed_s <= 0:
            return None
        used_s = max(0.0, now.cpu_s - before.cpu_s)
        return DatabaseSample(100.0 * used_s / elapsed_s / self.cpus, float(now.connections))


def metric_data(
    samples: Sequence[Sample],
    *,
    environment: str,
    settings: MetricsSettings,
    period_start_s: float,
    database: DatabaseSample | None = None,
) -> list[dict[str, Any]]:
    """PutMetricData's MetricData for one period."""
    figures: list[tuple[str, float, str, dict[str, str]]] = []
    for sample in samples:
        cluster = {CLUSTER: sample.cluster}
        of_balancer = cluster if settings.connections_have_cluster else {}
        figures += [
            (CPU, sample.cpu_percent, "Percent", cluster),
            (MEMORY, sample.memory_percent, "Percent", cluster),
            (CONNECTIONS, sample.connections, "Count", of_balancer),
        ]
    if database is not None:
        writer = {DATABASE_ROLE: DATABASE_WRITER}
        figures += [
            (CPU, database.cpu_percent, "Percent", writer),
            (DATABASE_CONNECTIONS, database.connections, "Count", writer),
        ]
    return [
        {
            "MetricName": name,
            "Dimensions": [
                {"Name": key, "Value": word}
                for key, word in {**dimensions, "Environment": environment}.items()
            ],
            "Timestamp": datetime.fromtimestamp(period_start_s, UTC),
            "Value": value,
            "Unit": unit,
            "StorageResolution": 1 if settings.period_s < 60 else 60,
        }
        for name, value, unit, dimensions in figures
    ]


@dataclass
class MetricsPublisher:
    """Puts samples from a thread of its own, in order, so that the event loop never waits."""

    endpoints: Endpoints
    credential: Credential  # which may put data; that of `endpoints` may only read
    settings: MetricsSettings
    emit: Emit

    def __post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="metrics")
        self._client: Any = None

    async def publish(
        self,
        period_start_s: float,
        samples: Sequence[Sample],
        database: DatabaseSample | None = None,
    ) -> None:
        """Put one period; a failure is an event, because the environment works without metrics."""
        data = metric_data(
            samples,
            environment=self.endpoints.environment_name,
            settings=self.settings,
            period_start_s=period_start_s,
            database=database,
        )
        problem = await asyncio.get_running_loop().run_in_executor(self._thread, self._put, data)
        if problem is not None:
            self.emit(
                "metrics_gap",
                from_s=period_start_s,
                to_s=period_start_s + self.settings.period_s,
                reason=problem,
            )

    def close(self) -> None:
        """Give up what is not put yet."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _put(self, data: list[dict[str, Any]]) -> str | None:
        from botocore.exceptions import BotoCoreError, ClientError

        if not data:
            return None
        try:
            if self._client is None:
                self._client = self._new_client()
            self._client.put_metric_data(Namespace=NAMESPACE, MetricData=data)
        except (BotoCoreError, ClientError, OSError) as exc:
            return f"{type(exc).__name__}: {exc}"
        return None

    def _new_client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.session.Session(
            region_name=self.endpoints.region,
            aws_access_key_id=self.credential.access_key_id,
            aws_secret_access_key=self.credential.secret,
        ).client(
            "cloudwatch",
            endpoint_url=self.endpoints.cloudwatch_url,
            config=Config(
                retries={"total_max_attempts": 1},
                connect_timeout=PUT_TIMEOUT_S,
                read_timeout=PUT_TIMEOUT_S,
                # moto before 5.2.5 answers 500 to compressed bodies, that is to those over 10 KiB
                disable_request_compression=True,
                proxies={},
            ),
        )
