"""Webservers whose service demands are known: real HTTP in front of a virtual processor.

Each webserver listens on a loopback port of its own inside the daemon's event loop. A call is
recognised, waits for its CPU on the webserver's `SharedProcessor`, then is answered from the state
all webservers share. CPU-seconds are exact, so tests can check what an estimator makes of them;
answering itself costs this machine under a millisecond a call, which is part of no truth.

A virtual CPU that is shared equally by all calls in service, without burning real CPU.

Processor sharing rather than first come, first served, because that is what a Python webserver
does: its calls run interleaved on an event loop and threads that switch every few milliseconds, so
a short call overtakes a long one. It also has the known truth tests need: with Poisson arrivals,
contention 0 and one core the mean time in service is D / (1 - X * D), whatever the distribution of
the demands (M/G/1-PS, Kleinrock 1976, Queueing Systems II, section 4.4).

With n calls in service each gets min(1, cores / n) of a core and moves on at that share divided by
1 + contention * (n - 1); together they use min(n, cores) CPUs. `background` CPUs are used at all
times, by no call: calls have that much less of the cores. Every change is computed for the instant
it happens, however late it is asked about, so the CPU-seconds are exact.

What simulated webservers are set to, drawn from their seed: demands, delays, memory, facts.

Both kinds of them use it, those that answer real HTTP and those in virtual time, so that one seed
means the same in both.
"""

import asyncio
import heapq
import json
import random
import socket
import time
from collections.abc import Callable
from functools import partial
from math import log, sqrt
from typing import Any, Final, NamedTuple

from aiohttp import web

from mwaa_headroom.harness.local.backend import Usage
from mwaa_headroom.harness.local.settings import SimulatedSettings
from mwaa_headroom.harness.local.simulated_api import Request, SimulatedAirflow


class Finished(NamedTuple):
    """One call that got all of its demand; a named tuple, because one is made for every call."""

    ticket: int
    time_s: float  # when it finished, not when somebody asked


class SharedProcessor:
    """Calls by ticket; all times on one clock that never goes back."""

    def __init__(
        self, *, cores: float, contention: float, now_s: float, background: float = 0.0
    ) -> None:
        self._cores_for_calls = cores - background
        self._contention = contention
        self._background = background
        self._now_s = now_s
        self._cpu_s = 0.0
        self._work_s = 0.0  # how far every call in service would be, had it been there always
        self._calls: list[tuple[float, int]] = []  # heap of (work at which it ends, ticket)
        self._next_ticket = 0

    @property
    def cpu_s(self) -> float:
        """CPU-seconds used up to the last `advance`."""
        return self._cpu_s

    @property
    def in_service(self) -> int:
        """Calls in service after the last `advance`."""
        return len(self._calls)

    def add(self, demand_s: float) -> int:
        """Put a call into service at the time of the last `advance`; its ticket."""
        ticket = self._next_ticket
        self._next_ticket += 1
        heapq.heappush(self._calls, (self._work_s + demand_s, ticket))
        return ticket

    def next_finish_s(self) -> float | None:
        """When the next call ends if none comes before; None: nothing is in service."""
        if not self._calls:
            return None
        work_left_s = max(0.0, self._calls[0][0] - self._work_s)
        return self._now_s + work_left_s / self._speed()

    def advance(self, now_s: float) -> list[Finished]:
        """Let time pass up to `now_s`; the calls that ended meanwhile, in order."""
        finished: list[Finished] = []
        while (finish_s := self.next_finish_s()) is not None and finish_s <= now_s:
            self._use_cpu(finish_s - self._now_s)
            self._now_s = finish_s
            self._work_s, ticket = heapq.heappop(self._calls)
            finished.append(Finished(ticket, finish_s))
        elapsed_s = now_s - self._now_s
        if elapsed_s > 0.0:
            self._use_cpu(elapsed_s)
            if self._calls:
                self._work_s += elapsed_s * self._speed()
            self._now_s = now_s
        return finished

    def _use_cpu(self, elapsed_s: float) -> None:
        count, cores = len(self._calls), self._cores_for_calls
        self._cpu_s += elapsed_s * ((count if count < cores else cores) + self._background)

    def _speed(self) -> float:
        """Seconds of demand each call in service gets per second."""
        count, cores = len(self._calls), self._cores_for_calls
        share = 1.0 if count <= cores else cores / count
        return share / (1.0 + self._contention * (count - 1))


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


class DemandDraws:
    """What each call of one webserver costs; `take` gives CPU-seconds, call after call."""

    def __init__(self, settings: SimulatedSettings, webserver: str) -> None:
        self._mean_s = {**OTHER_DEMANDS_S, **settings.demand_s}
        self._factor = _lognormal(f"{settings.seed}:{webserver}", settings.demand_cv)

    def take(self, operation: str) -> float:
        """Of the next call, which is of this operation."""
        return self._mean_s.get(operation, UNKNOWN_DEMAND_S) * self._factor()


def start_delay_s(settings: SimulatedSettings, webserver: str) -> float:
    """How long this webserver takes from the decision until it is ready."""
    # A stream of its own: delays must not change which demands are drawn.
    return settings.start_s * _lognormal(f"{settings.seed}:{webserver}:start", settings.start_cv)()


def memory_fraction(in_service: int) -> float:
    """Memory of a webserver, which grows a little with the calls in service."""
    return min(1.0, IDLE_MEMORY_FRACTION + MEMORY_FRACTION_PER_CALL * in_service)


def simulated_facts(settings: SimulatedSettings) -> dict[str, object]:
    """The truth, for whoever wants to compare an estimate with it."""
    return {
        "airflow_version": settings.airflow_version,
        "webserver_cpu": settings.cores,
        "cpu_limited": True,
        "cpu_limit_reason": "the processor is simulated",
        "database": "none (simulated)",
        "demand_s": dict(settings.demand_s),
        "demand_cv": settings.demand_cv,
        "contention": settings.contention,
        "background_cpu": settings.background_cpu,
        "start_s": settings.start_s,
        "start_cv": settings.start_cv,
    }


def _lognormal(seed: str, cv: float) -> Callable[[], float]:
    """Draws from the lognormal distribution of mean 1 with this coefficient of variation."""
    if cv == 0:
        return lambda: 1.0
    stream = random.Random(seed)  # noqa: S311 - not for secrets
    variance = log(1 + cv**2)
    return partial(stream.lognormvariate, -variance / 2, sqrt(variance))


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
        self._socket.bind(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None), shutdown_timeout=1.0
        )

    async def wait_until_ready(self) -> None:
        """Start to listen once its share of `start_s` has passed since the beginning."""
        await asyncio.sleep(self._began_s + self._start_s - self._loop.time())
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
        spent_s = await self._cpu.spend(self._demands.take(recognised.operation))
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


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw) if raw else {}
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
