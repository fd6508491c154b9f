"""Simulated webservers over real HTTP."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from yarl import URL

from mwaa_headroom.harness.local.settings import SimulatedSettings
from mwaa_headroom.harness.local.simulated import start_delay_s
from mwaa_headroom.harness.local.simulated_webserver import SimulatedBackend, SimulatedWebserver

Test = Callable[[SimulatedWebserver, aiohttp.ClientSession], Awaitable[None]]


def with_webserver(test: Test, **settings: Any) -> None:
    async def run() -> None:
        backend = SimulatedBackend(SimulatedSettings(**{"start_s": 0.0, **settings}))
        webserver = backend.new_webserver("webserver-1")
        await webserver.wait_until_ready()
        try:
            async with aiohttp.ClientSession(base_url=webserver.base_url) as session:
                await test(webserver, session)
        finally:
            await webserver.stop()

    asyncio.run(run())


async def status_of(session: aiohttp.ClientSession, path: str) -> int:
    async with session.get(path) as response:
        await response.read()
        return response.status


def test_cpu_is_the_sum_of_the_demands_of_the_calls() -> None:
    async def test(webserver: SimulatedWebserver, session: aiohttp.ClientSession) -> None:
        calls = [status_of(session, "/api/v2/dags") for _ in range(20)]
        calls += [status_of(session, "/api/v2/monitor/health") for _ in range(30)]
        assert set(await asyncio.gather(*calls)) == {200}
        assert webserver.usage().cpu_s == pytest.approx(20 * 0.004 + 30 * 0.001)
        assert 0 < webserver.usage().memory_fraction < 1

    with_webserver(test, demand_s={"list_dags": 0.004, "health": 0.001})


def test_what_a_web_page_sends_costs_no_cpu() -> None:
    async def test(webserver: SimulatedWebserver, session: aiohttp.ClientSession) -> None:
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            async with session.get("/api/v2/dags", headers=headers) as response:
                assert response.status == 403
        assert webserver.usage().cpu_s == 0.0

    with_webserver(test)


@pytest.mark.parametrize(
    ("run_id", "path", "status"),
    [
        ("pct%41", "pct%2541", 200),
        ("pct%41", "pct%41", 404),  # decoded once, it is pctA
        ("q?x", "q%3Fx", 200),
        ("..", "%2E%2E", 200),
        ("ordini_più", "ordini_pi%C3%B9", 200),
        ("path/to/file", "path%2Fto%2Ffile", 404),  # a slash to Airflow, which looks for a route
        ("a+b", "a+b", 200),
    ],
)
def test_paths_are_decoded_once(run_id: str, path: str, status: int) -> None:
    async def test(webserver: SimulatedWebserver, session: aiohttp.ClientSession) -> None:
        runs = f"{webserver.base_url}/api/v2/dags/headroom_example/dagRuns"
        body = {"dag_run_id": run_id, "logical_date": None}
        async with session.post(runs, json=body) as triggered:
            assert (await triggered.json())["dag_run_id"] == run_id
        async with session.get(URL(f"{runs}/{path}", encoded=True)) as found:
            assert found.status == status

    with_webserver(test, latency_s=0.0)


def test_a_call_takes_its_demand_and_the_latency_at_least() -> None:
    async def test(_: SimulatedWebserver, session: aiohttp.ClientSession) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        assert await status_of(session, "/api/v2/pools") == 200
        assert loop.time() - began_s >= 0.05 / 0.5 + 0.05 - 0.001

    with_webserver(test, demand_s={"list_pools": 0.05}, cores=0.5, latency_s=0.05)


def test_random_demands_have_the_mean_asked_for_and_repeat_with_the_seed() -> None:
    used = []

    async def test(webserver: SimulatedWebserver, session: aiohttp.ClientSession) -> None:
        await asyncio.gather(*(status_of(session, "/api/v2/pools") for _ in range(400)))
        used.append(webserver.usage().cpu_s)

    settings = {"demand_s": {"list_pools": 0.0002}, "demand_cv": 0.5, "latency_s": 0.0}
    for seed in (5, 5, 6):
        with_webserver(test, seed=seed, **settings)
    assert used[0] == pytest.approx(400 * 0.0002, rel=0.15)  # six standard errors
    assert used[0] == pytest.approx(used[1])
    assert used[0] != pytest.approx(used[2])


def test_webservers_share_their_state() -> None:
    async def run() -> None:
        backend = SimulatedBackend(SimulatedSettings(start_s=0.0))
        one, other = backend.new_webserver("webserver-1"), backend.new_webserver("webserver-2")
        await asyncio.gather(one.wait_until_ready(), other.wait_until_ready())
        try:
            async with aiohttp.ClientSession() as session:
                body = {"key": "shared", "value": "1"}
                async with session.post(f"{one.base_url}/api/v2/variables", json=body) as posted:
                    assert posted.status == 201
                assert await status_of(session, f"{other.base_url}/api/v2/variables/shared") == 200
                async with session.delete(f"{other.base_url}/api/v2/variables/shared") as deleted:
                    assert (deleted.status, await deleted.read()) == (204, b"")
        finally:
            await asyncio.gather(one.stop(), other.stop())

    asyncio.run(run())


def test_only_the_prefix_of_its_version_is_served() -> None:
    async def test(_: SimulatedWebserver, session: aiohttp.ClientSession) -> None:
        assert await status_of(session, "/api/v1/health") == 200
        assert await status_of(session, "/api/v2/version") == 404
        assert await status_of(session, "/version") == 404

    with_webserver(test, airflow_version="2.11.2")


def test_stopping_does_not_wait_for_calls_in_service() -> None:
    async def test(webserver: SimulatedWebserver, session: aiohttp.ClientSession) -> None:
        call = asyncio.create_task(status_of(session, "/api/v2/pools"))
        while webserver.usage().cpu_s == 0:
            await asyncio.sleep(0.01)
        assert webserver.is_alive()
        await webserver.stop()
        assert not webserver.is_alive()
        with pytest.raises(aiohttp.ClientError):
            await call

    with_webserver(test, demand_s={"list_pools": 1000.0})


def test_a_real_simulated_webserver_takes_its_own_time_to_start() -> None:
    settings = SimulatedSettings(start_s=0.05, start_cv=1.0)

    async def start() -> float:
        began_s = time.monotonic()
        webserver = SimulatedBackend(settings).new_webserver("webserver-3")
        await webserver.wait_until_ready()
        took_s = time.monotonic() - began_s
        await webserver.stop()
        return took_s

    assert asyncio.run(start()) >= start_delay_s(settings, "webserver-3") - 0.001
