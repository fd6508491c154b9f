"""The virtual processor keeps exact accounts; demands and delays are drawn as the settings say."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mwaa_headroom.harness.local.settings import SimulatedSettings
from mwaa_headroom.harness.local.simulated import (
    DemandDraws,
    SharedProcessor,
    simulated_facts,
    start_delay_s,
)


def finish_times(
    processor: SharedProcessor, arrivals: list[tuple[float, float]], end_s: float
) -> dict[int, float]:
    """Ticket -> when it finished, for arrivals of (time, demand) in order."""
    finished = []
    for at_s, demand_s in arrivals:
        finished += processor.advance(at_s)
        processor.add(demand_s)
    finished += processor.advance(end_s)
    return {one.ticket: one.time_s for one in finished}


def test_alone_a_call_takes_its_demand() -> None:
    processor = SharedProcessor(cores=1, contention=0, now_s=10.0)
    assert finish_times(processor, [(10.0, 0.5)], 20.0) == {0: pytest.approx(10.5)}
    assert processor.cpu_s == pytest.approx(0.5)


def test_two_calls_share_one_core_and_the_short_one_overtakes() -> None:
    """Demands 1.0 and 0.2 from 0 s: the short one ends at 0.4 s, the long one at 1.2 s."""
    processor = SharedProcessor(cores=1, contention=0, now_s=0.0)
    times = finish_times(processor, [(0.0, 1.0), (0.0, 0.2)], 9.0)
    assert times == {0: pytest.approx(1.2), 1: pytest.approx(0.4)}


def test_two_cores_serve_two_calls_without_delay() -> None:
    processor = SharedProcessor(cores=2, contention=0, now_s=0.0)
    assert finish_times(processor, [(0.0, 1.0), (0.0, 1.0)], 9.0)[1] == pytest.approx(1.0)
    assert processor.cpu_s == pytest.approx(2.0)


def test_a_quarter_of_a_core_takes_four_times_as_long_and_the_same_cpu() -> None:
    processor = SharedProcessor(cores=0.25, contention=0, now_s=0.0)
    assert finish_times(processor, [(0.0, 0.1)], 9.0) == {0: pytest.approx(0.4)}
    assert processor.cpu_s == pytest.approx(0.1)


def test_contention_makes_calls_dearer_only_while_together() -> None:
    """Two calls of 1 s, contention 0.5: each moves at 1/2/1.5, so both need 3 s."""
    processor = SharedProcessor(cores=1, contention=0.5, now_s=0.0)
    times = finish_times(processor, [(0.0, 1.0), (0.0, 1.0)], 9.0)
    assert times == {0: pytest.approx(3.0), 1: pytest.approx(3.0)}
    assert processor.cpu_s == pytest.approx(3.0)


calls = st.lists(
    st.tuples(st.floats(0, 1), st.floats(1e-4, 0.5)), min_size=1, max_size=40
)  # pause before, demand


@given(calls=calls, cores=st.floats(0.1, 4), looks=st.integers(1, 30))
def test_cpu_is_the_sum_of_the_demands_and_looking_changes_nothing(
    calls: list[tuple[float, float]], cores: float, looks: int
) -> None:
    arrivals, now_s = [], 0.0
    for pause_s, demand_s in calls:
        now_s += pause_s
        arrivals.append((now_s, demand_s))
    end_s = now_s + sum(demand for _, demand in calls) / min(cores, 1.0) + 1.0

    seldom = SharedProcessor(cores=cores, contention=0, now_s=0.0)
    times = finish_times(seldom, arrivals, end_s)
    assert seldom.cpu_s == pytest.approx(sum(demand for _, demand in calls))
    assert seldom.in_service == 0

    often = SharedProcessor(cores=cores, contention=0, now_s=0.0)
    seen, last_s = {}, 0.0
    for at_s, demand_s in [*arrivals, (end_s, 0.0)]:
        for look in range(1, looks + 1):
            for one in often.advance(last_s + (at_s - last_s) * look / looks):
                seen[one.ticket] = one.time_s
        last_s = at_s
        if demand_s:
            often.add(demand_s)
    assert seen == pytest.approx(times)
    assert often.cpu_s == pytest.approx(seldom.cpu_s)


@pytest.mark.parametrize("utilisation", [0.3, 0.6])
def test_mean_time_in_service_is_that_of_processor_sharing(utilisation: float) -> None:
    """M/G/1-PS: D / (1 - rho) (Kleinrock 1976, Queueing Systems II, section 4.4)."""
    demand_s, generator = 0.05, random.Random(7)  # noqa: S311 - not for secrets
    processor = SharedProcessor(cores=1, contention=0, now_s=0.0)
    arrivals, now_s = [], 0.0
    for _ in range(40_000):
        now_s += generator.expovariate(utilisation / demand_s)
        arrivals.append((now_s, demand_s))
    times = finish_times(processor, arrivals, now_s + 100.0)
    mean_s = sum(times[ticket] - at_s for ticket, (at_s, _) in enumerate(arrivals)) / len(arrivals)
    assert mean_s == pytest.approx(demand_s / (1 - utilisation), rel=0.05)


def test_cpu_grows_by_rate_times_demand() -> None:
    """100 calls/s of 4 ms keep 40 % of a core busy, in every single second."""
    processor = SharedProcessor(cores=1, contention=0, now_s=0.0)
    for second in range(5):
        for call in range(100):
            processor.advance(second + call / 100)
            processor.add(0.004)
        processor.advance(second + 1.0)
        assert processor.cpu_s == pytest.approx(0.4 * (second + 1))


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
