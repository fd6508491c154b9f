"""Webservers whose service demands are known: real HTTP in front of a virtual processor.

Each webserver listens on a loopback port of its own inside the daemon's event loop. A call is
recognised, waits for its CPU on the webserver's `SharedProcessor`, then is answered from the state
all webservers share. CPU-seconds are exact, so tests can check what an estimator makes of them;
answering itself costs this machine under a millisecond a call, which is part of no truth.
"""

import asyncio
import json
import random
import socket
import time
from collections.abc import Callable
from math import log, sqrt
from typing import Any, Final

from aiohttp import web

from harness.local.backend import Usage
from harness.local.processor import SharedProcessor
from harness.local.settings import SimulatedSettings
from harness.local.simulated_api import Request, SimulatedAirflow

# Operations a scenario cannot load, which preflight and cleaning up still use.
OTHER_DEMANDS_S: Final = {
    "version": 0.002,
    "get_dag": 0.013,
    "delete_dag_run": 0.030,
    "get_variable": 0.010,
    "create_variable": 0.020,
    "delete_variable": 0.015,
}
UNKNOWN_DEMAND_S: Final = 0.002  # a 404 of the router
IDLE_MEMORY_FRACTION: Final = 0.20
MEMORY_FRACTION_PER_CALL: Final = 0.002


class VirtualCpu:
    """A `SharedProcessor` that callers can wait for."""

    def __init__(self, settings: SimulatedSettings, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._processor = SharedProcessor(
            cores=settings.cores, contention=settings.contention, now_s=clock()
        )
        self._waiting: dict[int, asyncio.Future[float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def spend(self, demand_s: float) -> float:
        """Get this much CPU; returns when exactly it was spent, which is a little before now."""
        self._advance()
        ticket = self._processor.add(demand_s)
        spent: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = spent
        self._set_timer()
        return await spent

    def usage(self) -> Usage:
        """CPU-seconds so far, and memory that grows a little with the calls in service."""
        self._advance()
        memory = IDLE_MEMORY_FRACTION + MEMORY_FRACTION_PER_CALL * self._processor.in_service
        return Usage(cpu_s=self._processor.cpu_s, memory_fraction=min(1.0, memory))

    def close(self) -> None:
        """Give up the calls still waiting."""
        if self._timer is not None:
            self._timer.cancel()
        for spent in self._waiting.values():
            spent.cancel()
        self._waiting.clear()

    def _advance(self) -> None:
        for finished in self._processor.advance(self._clock()):
            spent = self._waiting.pop(finished.ticket, None)
            if spent is not None and not spent.done():
                spent.set_result(finished.time_s)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        finish_s = self._processor.next_finish_s()
        loop = asyncio.get_running_loop()
        self._timer = None if finish_s is None else loop.call_at(finish_s, self._on_timer)

    def _on_timer(self) -> None:
        self._advance()
        self._set_timer()


class SimulatedWebserver:
    """One webserver; see the protocol `Webserver`."""

    def __init__(self, name: str, airflow: SimulatedAirflow, settings: SimulatedSettings) -> None:
        self.name = name
        self._airflow = airflow
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._cpu = VirtualCpu(settings, self._loop.time)
        self._random = random.Random(f"{settings.seed}:{name}")  # noqa: S311 - not for secrets
        self._is_alive = True
        self._began_s = self._loop.time()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None), shutdown_timeout=1.0
        )

    async def wait_until_ready(self) -> None:
        """Start to listen once `start_s` has passed since the beginning."""
        await asyncio.sleep(self._began_s + self._settings.start_s - self._loop.time())
        await self._runner.setup()
        await web.SockSite(self._runner, self._socket, backlog=1024).start()

    def is_alive(self) -> bool:
        """False once stopped."""
        return self._is_alive

    def usage(self) -> Usage:
        """See `VirtualCpu.usage`."""
        return self._cpu.usage()

    async def stop(self) -> None:
        """Stop listening and drop what is still connected."""
        self._is_alive = False
        self._cpu.close()
        await self._runner.cleanup()
        self._socket.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        call = await self._read(request)
        recognised = self._airflow.recognise(call)
        spent_s = await self._cpu.spend(self._demand_s(recognised.operation))
        # Counted from the exact end of the CPU work: makes up for timers that are a little late.
        await asyncio.sleep(max(0.0, spent_s + self._settings.latency_s - self._loop.time()))
        answer = recognised.answer(time.time())
        if answer.body is None:
            return web.Response(status=answer.status)
        return web.Response(
            status=answer.status,
            body=json.dumps(answer.body).encode(),
            content_type="application/json",
        )

    async def _read(self, request: web.BaseRequest) -> Request:
        prefix = self._airflow.prefix
        path = request.path.removeprefix(prefix) if request.path.startswith(prefix) else ""
        query: dict[str, list[str]] = {}
        for name, value in request.query.items():
            query.setdefault(name, []).append(value)
        return Request(request.method, path, query, _json_object(await request.read()))

    def _demand_s(self, operation: str) -> float:
        settings = self._settings
        fallback_s = OTHER_DEMANDS_S.get(operation, UNKNOWN_DEMAND_S)
        mean_s = settings.demand_s.get(operation, fallback_s)
        if settings.demand_cv == 0:
            return mean_s
        # a lognormal with this mean and coefficient of variation
        variance = log(1 + settings.demand_cv**2)
        return self._random.lognormvariate(log(mean_s) - variance / 2, sqrt(variance))


class SimulatedBackend:
    """Where simulated webservers come from; see the protocol `Backend`."""

    def __init__(self, settings: SimulatedSettings) -> None:
        self.airflow_version = settings.airflow_version
        self.webserver_cpu = settings.cores
        self._settings = settings
        self._airflow = SimulatedAirflow(settings.airflow_version)

    async def start(self) -> None:
        """Nothing to bring up: the state is in memory."""

    async def wait_for_dags(self) -> None:
        """They are always there."""

    def new_webserver(self, name: str) -> SimulatedWebserver:
        """Start one more; it answers `start_s` later."""
        return SimulatedWebserver(name, self._airflow, self._settings)

    async def authorization(self, airflow_role: str) -> str | None:  # noqa: ARG002 - as the protocol has it
        """No webserver asks for any."""
        return None

    def facts(self) -> dict[str, object]:
        """The truth, for whoever wants to compare an estimate with it."""
        settings = self._settings
        return {
            "airflow_version": self.airflow_version,
            "webserver_cpu": self.webserver_cpu,
            "cpu_limited": True,
            "cpu_limit_reason": "the processor is simulated",
            "database": "none (simulated)",
            "demand_s": dict(settings.demand_s),
            "demand_cv": settings.demand_cv,
            "contention": settings.contention,
        }

    async def stop(self) -> None:
        """Nothing to take down."""


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
