"""What simulated webservers are set to, the same for real HTTP and virtual time."""

import asyncio
import time

import numpy as np
import pytest
from pydantic import ValidationError

from mwaa_headroom.harness.local.settings import SimulatedSettings
from mwaa_headroom.harness.local.simulated import (
    DemandDraws,
    SharedProcessor,
    SimulatedBackend,
    simulated_facts,
    start_delay_s,
)


def test_demands_have_their_mean_and_coefficient_of_variation() -> None:
    draws = DemandDraws(SimulatedSettings(demand_s={"health": 0.02}, demand_cv=0.5), "webserver-1")
    taken_s = np.array([draws.take("health") for _ in range(20_000)])
    assert taken_s.mean() == pytest.approx(0.02, rel=0.02)  # five standard errors
    assert taken_s.std() / taken_s.mean() == pytest.approx(0.5, rel=0.05)
    assert (taken_s > 0).all()


def test_without_variation_a_call_costs_exactly_its_demand() -> None:
    draws = DemandDraws(SimulatedSettings(demand_s={"health": 0.02}), "webserver-1")
    assert (draws.take("health"), draws.take("get_dag"), draws.take("else")) == (0.02, 0.013, 0.002)


def test_start_delays_vary_by_webserver_and_repeat_with_the_seed() -> None:
    settings = SimulatedSettings(start_s=30.0, start_cv=0.4, seed=5)
    delays_s = np.array([start_delay_s(settings, f"webserver-{n}") for n in range(4000)])
    assert delays_s.mean() == pytest.approx(30.0, rel=0.03)  # five standard errors
    assert delays_s.std() / delays_s.mean() == pytest.approx(0.4, rel=0.1)
    assert start_delay_s(settings, "webserver-7") == delays_s[7]
    assert start_delay_s(settings.model_copy(update={"seed": 6}), "webserver-7") != delays_s[7]
    assert start_delay_s(SimulatedSettings(start_s=30.0), "webserver-7") == 30.0


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


def test_background_is_used_without_calls_and_missing_with_them() -> None:
    """A quarter of one core is taken: 0.3 s of work take 0.4 s, and 0.4 s of CPU."""
    processor = SharedProcessor(cores=1, contention=0, now_s=0.0, background=0.25)
    assert processor.advance(2.0) == []
    assert processor.cpu_s == pytest.approx(0.5)
    processor.add(0.3)
    (finished,) = processor.advance(3.0)
    assert finished.time_s == pytest.approx(2.4)
    assert processor.cpu_s == pytest.approx(0.25 * 3.0 + 0.3)


def test_background_must_leave_something_of_the_cores() -> None:
    with pytest.raises(ValidationError, match="background_cpu must be below cores"):
        SimulatedSettings(cores=0.25, background_cpu=0.25)


def test_facts_tell_all_of_it() -> None:
    facts = simulated_facts(SimulatedSettings(background_cpu=0.1, start_s=2.0, start_cv=0.3))
    assert (facts["background_cpu"], facts["start_s"], facts["start_cv"]) == (0.1, 2.0, 0.3)
