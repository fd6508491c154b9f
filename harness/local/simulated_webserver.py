"""Webservers whose service demands are known: real HTTP in front of a virtual processor.

Each webserver listens on a loopback port of its own inside the daemon's event loop. A call is
recognised, waits for its CPU on the webserver's `SharedProcessor`, then is answered from the state
all webservers share. CPU-seconds are exact, so tests can check what an estimator makes of them;
answering itself costs this machine under a millisecond a call, which is part of no truth.
"""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote

from aiohttp import web

from mwaa_headroom.harness.local.backend import Usage
from mwaa_headroom.harness.local.bounded_json import read_json
from mwaa_headroom.harness.local.gateway.listener import Listener, Recognised, read_body
from mwaa_headroom.harness.local.loopback import FOREIGN, LOOPBACK
from mwaa_headroom.harness.local.settings import SimulatedSettings
from mwaa_headroom.harness.local.simulated import (
    DemandDraws,
    SharedProcessor,
    memory_fraction,
    simulated_facts,
    start_delay_s,
)
from mwaa_headroom.harness.local.simulated_api import Request, SimulatedAirflow

MOST_REQUEST_BYTES = 100 * 1024 * 1024  # the gateway has its own limits


class VirtualCpu:
    """A `SharedProcessor` that callers can wait for."""

    def __init__(self, settings: SimulatedSettings, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._processor = SharedProcessor(
            cores=settings.cores,
            contention=settings.contention,
            now_s=clock(),
            background=settings.background_cpu,
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
        processor = self._processor
        return Usage(cpu_s=processor.cpu_s, memory_fraction=memory_fraction(processor.in_service))

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
        self._demands = DemandDraws(settings, name)
        self._start_s = start_delay_s(settings, name)
        self._is_alive = True
        self._began_s = self._loop.time()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((LOOPBACK, 0))
        self.base_url = f"http://{LOOPBACK}:{self._socket.getsockname()[1]}"
        self._listener = Listener(self._handle, lambda: web.Response(status=403, text=FOREIGN))

    async def wait_until_ready(self) -> None:
        """Start to listen once its share of `start_s` has passed since the beginning."""
        await asyncio.sleep(self._began_s + self._start_s - self._loop.time())
        await self._listener.start(self._socket)

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
        await self._listener.stop()
        self._socket.close()

    async def _handle(self, request: web.BaseRequest, recognised: Recognised) -> web.StreamResponse:
        recognised()  # it asks nobody who they are
        call = self._airflow.recognise(await self._read(request))
        spent_s = await self._cpu.spend(self._demands.take(call.operation))
        # Counted from the exact end of the CPU work: makes up for timers that are a little late.
        await asyncio.sleep(max(0.0, spent_s + self._settings.latency_s - self._loop.time()))
        answer = call.answer(time.time())
        if answer.body is None:
            return web.Response(status=answer.status)
        return web.Response(
            status=answer.status,
            body=json.dumps(answer.body).encode(),
            content_type="application/json",
        )

    async def _read(self, request: web.BaseRequest) -> Request:
        prefix = self._airflow.prefix
        raw_path, _, query = request.raw_path.partition("?")
        # Decoded before routes are looked for, as Airflow's server does: "%2F" is a slash to it.
        path = unquote(raw_path)
        return Request(
            request.method,
            path.removeprefix(prefix) if path.startswith(f"{prefix}/") else "",
            parse_qs(query, keep_blank_values=True),
            _json(await read_body(request, MOST_REQUEST_BYTES)),
        )


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

    def database_usage(self) -> None:
        """There is no database."""

    def facts(self) -> dict[str, object]:
        """The truth, for whoever wants to compare an estimate with it."""
        return simulated_facts(self._settings)

    async def stop(self) -> None:
        """Nothing to take down."""


def _json(raw: bytes) -> Any:
    try:
        return read_json(raw)
    except (ValueError, RecursionError):
        return None
