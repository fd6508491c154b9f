"""Publishes samples to CloudWatch as MWAA does: namespace, names, dimensions.

One datum per metric, webserver and period, so that SampleCount counts webservers; the database's
have the dimension DatabaseRole instead of Cluster. Dimensions are always in the order Cluster (or
DatabaseRole), Environment: real CloudWatch does not care, but the stand-in's (moto)
finds a metric only under the order it was put with. Each datum is dated with the start of its
period. Which dimensions ActiveConnectionCount has on AWS is unverified, hence a setting.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

from harness.local.events import Emit
from harness.local.meter import DatabaseSample, Sample
from harness.local.settings import MetricsSettings

NAMESPACE: Final = "AWS/MWAA"
PUT_TIMEOUT_S: Final = 5.0


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
        cluster = {"Cluster": sample.cluster}
        of_balancer = cluster if settings.connections_have_cluster else {}
        figures += [
            ("CPUUtilization", sample.cpu_percent, "Percent", cluster),
            ("MemoryUtilization", sample.memory_percent, "Percent", cluster),
            ("ActiveConnectionCount", sample.connections, "Count", of_balancer),
        ]
    if database is not None:
        writer = {"DatabaseRole": "WRITER"}
        figures += [
            ("CPUUtilization", database.cpu_percent, "Percent", writer),
            ("DatabaseConnections", database.connections, "Count", writer),
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


class MetricsPublisher:
    """Puts samples from a thread of its own, in order, so that the event loop never waits."""

    def __init__(
        self,
        *,
        cloudwatch_url: str,
        region: str,
        access_key_id: str,
        secret_access_key: str,
        environment: str,
        settings: MetricsSettings,
        emit: Emit,
    ) -> None:
        self._cloudwatch_url = cloudwatch_url
        self._region = region
        self._access_key_id = access_key_id
        self._secret_access_key = secret_access_key
        self._environment = environment
        self._settings = settings
        self._emit = emit
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
            environment=self._environment,
            settings=self._settings,
            period_start_s=period_start_s,
            database=database,
        )
        problem = await asyncio.get_running_loop().run_in_executor(self._thread, self._put, data)
        if problem is not None:
            self._emit(
                "metrics_gap",
                from_s=period_start_s,
                to_s=period_start_s + self._settings.period_s,
                reason=problem,
            )

    def close(self) -> None:
        """Give up what is not put yet."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _put(self, data: list[dict[str, Any]]) -> str | None:
        from botocore.exceptions import BotoCoreError, ClientError

        if not data:
            return None
        if self._client is None:
            self._client = self._new_client()
        try:
            self._client.put_metric_data(Namespace=NAMESPACE, MetricData=data)
        except (BotoCoreError, ClientError) as exc:
            return f"{type(exc).__name__}: {exc}"
        return None

    def _new_client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.session.Session(
            region_name=self._region,
            aws_access_key_id=self._access_key_id,
            aws_secret_access_key=self._secret_access_key,
        ).client(
            "cloudwatch",
            endpoint_url=self._cloudwatch_url,
            config=Config(
                retries={"total_max_attempts": 1},
                connect_timeout=PUT_TIMEOUT_S,
                read_timeout=PUT_TIMEOUT_S,
                # moto before 5.2.5 answers 500 to compressed bodies, that is to those over 10 KiB
                disable_request_compression=True,
                proxies={},
            ),
        )
