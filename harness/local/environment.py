"""Puts one environment together, keeps it going, and takes it apart again in reverse order."""

import asyncio
import secrets
import string
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from mwaa_headroom.analysis.policy.scaling_rule import ScalingRule
from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.autoscaler import Autoscaler
from mwaa_headroom.harness.local.backend import Backend
from mwaa_headroom.harness.local.certificates import make_certificate
from mwaa_headroom.harness.local.gateway.balancer import Balancer
from mwaa_headroom.harness.local.gateway.server import Gateway
from mwaa_headroom.harness.local.gateway.signature import Credential
from mwaa_headroom.harness.local.instance import Endpoints, Instance, write_json
from mwaa_headroom.harness.local.metrics import DatabaseSampler, MetricsPublisher, WebserverSampler
from mwaa_headroom.harness.local.metrics_server import Access, start_metrics_server
from mwaa_headroom.harness.local.processes import Children
from mwaa_headroom.harness.local.settings import LocalSettings, SimulatedSettings
from mwaa_headroom.harness.local.webservers import Event, EventLog, WebserverPool

STATUS_INTERVAL_S: Final = 1.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Running:
    """An environment that takes calls."""

    endpoints: Endpoints
    facts: dict[str, object]
    pool: WebserverPool
    autoscaler: Autoscaler
    gateway: Gateway
    instance: Instance
    events: EventLog

    async def keep_going(self) -> None:
        """Watch the webservers, measure, scale and report the status until cancelled."""
        await _together(self.pool.watch(), self.autoscaler.run(), self._write_status())

    async def _write_status(self) -> None:
        was_written = True
        while True:
            try:
                write_json(self.instance.status_path, self._status())
            except EnvironmentStartError as exc:
                # Calls are still answered: the last status stays, until another can be written.
                if was_written:
                    self.events.emit("note", message=str(exc))
                was_written = False
            else:
                was_written = True
            await asyncio.sleep(STATUS_INTERVAL_S)

    def _status(self) -> dict[str, object]:
        samples = {sample.webserver: sample for sample in self.autoscaler.latest}
        shown = ("cluster", "cpu_percent", "memory_percent", "connections")
        webservers = [
            {"name": member.name, "state": member.state}
            | {name: getattr(samples.get(member.name), name, None) for name in shown}
            for member in self.pool.members()
        ]
        return {
            "time_s": time.time(),
            "count": self.pool.count("ready"),
            "webservers": webservers,
            "calls_handled": self.gateway.calls_handled,
            "gateway_cpu_s": time.process_time(),
        }


@asynccontextmanager
async def running_environment(
    settings: LocalSettings | SimulatedSettings,
    instance: Instance,
    *,
    progress: Progress,
    unwritten: Callable[[Event], None],
) -> AsyncIterator[Running]:
    """Everything of one environment, up on entering and gone on leaving.

    Args:
        settings: of the environment.
        instance: its folder, locked by the caller.
        progress: told what takes time.
        unwritten: told the events that could not be written, as on a full disk.

    Raises:
        EnvironmentStartError: something did not come up; nothing is left running.
    """
    async with AsyncExitStack() as cleanup:
        events = EventLog(instance.events_path, unwritten)
        cleanup.callback(events.close)
        children = Children(instance.processes_path)
        cleanup.push_async_callback(asyncio.to_thread, children.stop_all)
        backend = _new_backend(settings, instance, children, progress)
        cleanup.push_async_callback(backend.stop)
        balancer = Balancer()
        pool = WebserverPool(backend, balancer, events.emit)
        cleanup.push_async_callback(pool.stop)
        credential, feed = _new_credential(settings), _new_credential(settings)
        gateway = Gateway(
            settings=settings,
            airflow_version=backend.airflow_version,
            balancer=balancer,
            credentials=[credential],
            authorization=backend.authorization,
            cloudtrail_path=instance.cloudtrail_path,
            tls=make_certificate(instance.ca_path) if settings.https else None,
        )
        cleanup.push_async_callback(gateway.stop)

        addresses = await gateway.start()  # first: a port in use is known before the long wait
        metrics_server = start_metrics_server(
            instance.directory,
            children,
            Access(
                region=settings.region,
                max_clock_skew_s=settings.gateway.max_clock_skew_s,
                reader=(credential.access_key_id, credential.secret),
                feed=(feed.access_key_id, feed.secret),
            ),
        )
        await _together(
            metrics_server.wait_until_ready(),
            _start_webservers(settings.min_webservers, backend, pool, progress),
        )
        endpoints = Endpoints(
            mwaa_url=addresses.mwaa_url,
            webserver_url=addresses.webserver_url,
            cloudwatch_url=await metrics_server.wait_until_ready(),
            region=settings.region,
            environment_name=settings.name,
            access_key_id=credential.access_key_id,
            secret_access_key=credential.secret,
            ca_file=str(instance.ca_path) if settings.https else "",
        )
        publisher = MetricsPublisher(endpoints, feed, settings.metrics, events.emit)
        cleanup.callback(publisher.close)
        autoscaler = Autoscaler(
            pool=pool,
            webserver_sampler=WebserverSampler(
                settings.metrics,
                webserver_cpu=backend.webserver_cpu,
                min_webservers=settings.min_webservers,
                mean_in_flight=balancer.take_mean_in_flight,
                clock=time.monotonic,
            ),
            database_sampler=DatabaseSampler(
                backend.database_usage, cpus=settings.metrics.database_cpu, clock=time.monotonic
            ),
            publisher=publisher,
            rule=ScalingRule(
                settings.autoscaler,
                min_webservers=settings.min_webservers,
                max_webservers=settings.max_webservers,
            ),
            period_s=settings.metrics.period_s,
            emit=events.emit,
        )
        yield Running(endpoints, backend.facts(), pool, autoscaler, gateway, instance, events)


def _new_backend(
    settings: LocalSettings | SimulatedSettings,
    instance: Instance,
    children: Children,
    progress: Progress,
) -> Backend:
    # Imported as needed: a simulated environment must be there in two seconds.
    if isinstance(settings, SimulatedSettings):
        from mwaa_headroom.harness.local.simulated_webserver import SimulatedBackend

        return SimulatedBackend(settings)
    from mwaa_headroom.harness.local.airflow.backend import AirflowBackend

    return AirflowBackend(
        settings, directory=instance.airflow_path, children=children, progress=progress
    )


def _new_credential(settings: LocalSettings | SimulatedSettings) -> Credential:
    alphabet = string.ascii_uppercase + "234567"
    return Credential(
        access_key_id="AKIA" + "".join(secrets.choice(alphabet) for _ in range(16)),
        secret=secrets.token_urlsafe(30),
        user_name="headroom",
        account=settings.account,
        airflow_role=settings.airflow_role,
    )


async def _start_webservers(
    count: int, backend: Backend, pool: WebserverPool, progress: Progress
) -> None:
    await backend.start()
    progress(f"Starting {count} webserver{'s' if count > 1 else ''}")
    await pool.start(count)
    await backend.wait_for_dags()


async def _together(*works: Coroutine[Any, Any, object]) -> None:
    """Wait for all; if one fails, cancel the others and raise its exception, not a group's."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except ExceptionGroup as exc:
        raise exc.exceptions[0] from exc
