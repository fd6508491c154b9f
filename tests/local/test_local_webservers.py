"""The pool of webservers, over fakes and a real balancer."""

import asyncio
import errno
import itertools
from collections.abc import Awaitable, Callable

import pytest

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local import webservers
from mwaa_headroom.harness.local.backend import Usage
from mwaa_headroom.harness.local.gateway.balancer import Balancer
from mwaa_headroom.harness.local.metrics import WebserverSampler
from mwaa_headroom.harness.local.settings import MetricsSettings
from mwaa_headroom.harness.local.webservers import RESTARTS_PER_MINUTE, WebserverPool


class FakeWebserver:
    """Starts, dies and fails when the test says so."""

    def __init__(self, name: str, fails: bool) -> None:
        self.name = name
        self.base_url = f"http://127.0.0.1/{name}"
        self.fails = fails
        self.may_be_ready = asyncio.Event()
        self.may_stop = asyncio.Event()
        self.may_stop.set()
        self.lives = True
        self.stops = 0

    async def wait_until_ready(self) -> None:
        await self.may_be_ready.wait()
        if self.fails:
            raise EnvironmentStartError(f"{self.name} did not start; see its log.")

    def is_alive(self) -> bool:
        return self.lives

    def usage(self) -> Usage:
        return Usage(cpu_s=1.0, memory_fraction=0.5)

    async def stop(self) -> None:
        await self.may_stop.wait()
        self.lives = False
        self.stops += 1


class FakeBackend:
    airflow_version = "3.3.1"
    webserver_cpu = 1.0

    def __init__(self) -> None:
        self.webservers: list[FakeWebserver] = []
        self.new_ones_fail = False
        self.new_ones_wait = False

    async def start(self) -> None: ...

    async def wait_for_dags(self) -> None: ...

    def new_webserver(self, name: str) -> FakeWebserver:
        webserver = FakeWebserver(name, self.new_ones_fail)
        if not self.new_ones_wait:
            webserver.may_be_ready.set()
        self.webservers.append(webserver)
        return webserver

    async def authorization(self, airflow_role: str) -> str | None:
        return None

    def facts(self) -> dict[str, object]:
        return {}

    async def stop(self) -> None: ...


class Setup:
    """A pool, with its events and a clock."""

    def __init__(self) -> None:
        self.backend = FakeBackend()
        self.balancer = Balancer()
        self.events: list[tuple[str, object]] = []
        self.now_s = 0.0
        self.pool = WebserverPool(
            backend=self.backend, balancer=self.balancer, emit=self.emit, clock=lambda: self.now_s
        )

    def emit(self, kind: str, **keys: object) -> None:
        self.events.append((kind, keys.get("webserver", keys.get("message"))))

    def told(self) -> list[tuple[str, object]]:
        events, self.events = self.events, []
        return events


async def settle() -> None:
    """Let everything that needs no time happen."""
    for _ in range(20):
        await asyncio.sleep(0)


def play(test: Callable[[Setup], Awaitable[None]]) -> Setup:
    async def run() -> Setup:
        setup = Setup()
        try:
            await test(setup)
        finally:
            await setup.pool.stop()
        return setup

    return asyncio.run(run())


def test_starts_and_stops_all() -> None:
    async def test(setup: Setup) -> None:
        await setup.pool.start(2)
        assert setup.balancer.ready_names() == ("webserver-1", "webserver-2")
        assert setup.pool.count("ready") == 2
        assert setup.told() == [
            ("webserver_starting", "webserver-1"),
            ("webserver_starting", "webserver-2"),
            ("webserver_ready", "webserver-1"),
            ("webserver_ready", "webserver-2"),
        ]

    assert [one.stops for one in play(test).backend.webservers] == [1, 1]


def test_a_webserver_that_never_starts_fails_the_start_with_its_sentence() -> None:
    async def test(setup: Setup) -> None:
        setup.backend.new_ones_fail = True
        with pytest.raises(EnvironmentStartError, match="webserver-1 did not start; see its log"):
            await setup.pool.start(1)

    assert play(test).backend.webservers[0].stops == 1


def test_scales_out_when_ready_and_in_from_the_youngest() -> None:
    async def test(setup: Setup) -> None:
        await setup.pool.start(1)
        setup.told()
        setup.backend.new_ones_wait = True
        setup.pool.scale_to(3)
        await settle()
        assert (setup.pool.count("ready"), setup.pool.count("starting")) == (1, 2)
        assert setup.balancer.ready_names() == ("webserver-1",)
        for webserver in setup.backend.webservers:
            webserver.may_be_ready.set()
        await settle()
        assert len(setup.balancer.ready_names()) == 3
        setup.told()
        setup.pool.scale_to(2)
        await settle()
        assert setup.balancer.names() == ("webserver-1", "webserver-2")
        assert setup.told() == [
            ("webserver_draining", "webserver-3"),
            ("webserver_stopped", "webserver-3"),
        ]

    play(test)


@pytest.mark.parametrize("was_ready", [True, False])
def test_a_webserver_that_takes_long_to_stop_can_be_sampled(was_ready: bool) -> None:
    async def test(setup: Setup) -> None:
        await setup.pool.start(1)
        setup.backend.new_ones_wait = not was_ready
        setup.pool.scale_to(2)
        await settle()
        slow = setup.backend.webservers[1]
        slow.may_stop.clear()
        setup.pool.scale_to(1)
        await settle()
        assert setup.balancer.names() == ("webserver-1",)
        sampler = WebserverSampler(
            MetricsSettings(),
            webserver_cpu=1.0,
            min_webservers=1,
            mean_in_flight=setup.balancer.take_mean_in_flight,
            clock=itertools.count().__next__,
        )
        samples = sampler.read(setup.pool.members())
        assert [(one.webserver, one.takes_calls) for one in samples] == [
            ("webserver-1", True),
            ("webserver-2", False),
        ]
        slow.may_stop.set()
        await settle()
        assert len(setup.pool.members()) == 1

    play(test)


def test_a_draining_webserver_keeps_its_calls_until_they_end() -> None:
    async def test(setup: Setup) -> None:
        await setup.pool.start(2)
        with setup.balancer.choose(but_not="webserver-1"):
            setup.pool.scale_to(1)
            await settle()
            assert setup.pool.count("draining") == 1
            assert setup.balancer.ready_names() == ("webserver-1",)
            assert setup.backend.webservers[1].stops == 0
            setup.pool.scale_to(1)  # asked again: nothing more to do
        await settle()
        assert setup.backend.webservers[1].stops == 1
        assert [one.name for one in setup.pool.members()] == ["webserver-1"]

    play(test)


def test_scaling_in_gives_up_a_webserver_that_is_still_starting() -> None:
    async def test(setup: Setup) -> None:
        await setup.pool.start(1)
        setup.backend.new_ones_wait = True
        setup.pool.scale_to(2)
        await settle()
        setup.pool.scale_to(1)
        await settle()
        assert [one.stops for one in setup.backend.webservers] == [0, 1]
        assert setup.balancer.names() == ("webserver-1",)

    play(test)


@pytest.mark.parametrize("how", ["ended", "refused a connection"])
def test_a_dead_webserver_is_taken_out_and_replaced_under_a_new_name(how: str) -> None:
    async def test(setup: Setup) -> None:
        await setup.pool.start(2)
        setup.told()
        if how == "ended":
            setup.backend.webservers[0].lives = False
        else:
            setup.balancer.mark_down("webserver-1")
        setup.pool.replace_dead()
        assert setup.balancer.names() == ("webserver-2",)
        await settle()
        assert setup.told() == [
            ("webserver_died", "webserver-1"),
            ("webserver_starting", "webserver-3"),
            ("webserver_ready", "webserver-3"),
            ("webserver_restarted", "webserver-3"),
        ]
        assert setup.backend.webservers[0].stops == 1
        setup.pool.replace_dead()
        assert setup.told() == []

    play(test)


def test_replacing_is_given_up_after_five_within_a_minute_and_taken_up_later() -> None:
    async def test(setup: Setup) -> None:
        await setup.pool.start(2)
        setup.backend.new_ones_fail = True
        setup.backend.webservers[0].lives = False
        setup.pool.replace_dead()
        await settle()
        assert len(setup.backend.webservers) == 2 + RESTARTS_PER_MINUTE
        kind, message = setup.told()[-1]
        assert kind == "note"
        assert "is not replaced" in str(message)
        assert setup.pool.count("ready") == 1

        setup.now_s += 61.0
        setup.backend.new_ones_fail = False
        setup.backend.webservers[1].lives = False
        setup.pool.replace_dead()
        await settle()
        assert setup.pool.count("ready") == 1

    play(test)


def test_no_replacement_for_what_is_not_wanted_any_more() -> None:
    async def test(setup: Setup) -> None:
        await setup.pool.start(2)
        with setup.balancer.choose(but_not="webserver-1"):
            setup.pool.scale_to(1)
            await settle()
            setup.backend.webservers[1].lives = False
            setup.pool.replace_dead()
            await settle()
            assert len(setup.backend.webservers) == 2

    play(test)


def test_a_webserver_for_which_there_are_no_files_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webservers, "RETRY_S", 0.0)
    new_webserver = FakeBackend.new_webserver
    refusals = iter([OSError(errno.EMFILE, "Too many open files")] * 2)

    def refuse_twice(backend: FakeBackend, name: str) -> FakeWebserver:
        if len(backend.webservers) == 1 and (refusal := next(refusals, None)):
            raise refusal
        return new_webserver(backend, name)

    monkeypatch.setattr(FakeBackend, "new_webserver", refuse_twice)

    async def test(setup: Setup) -> None:
        await setup.pool.start(1)
        setup.told()
        setup.pool.scale_to(2)
        await settle()
        assert [kind for kind, _ in setup.told()] == [
            "note",
            "note",
            "webserver_starting",
            "webserver_ready",
        ]
        assert setup.pool.count("ready") == 2

    play(test)
