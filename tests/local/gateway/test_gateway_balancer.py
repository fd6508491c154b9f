"""The balancer and the throttle, with clocks that stand still unless told."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.harness.local.gateway.answers import ApiError
from mwaa_headroom.harness.local.gateway.balancer import Balancer, NoWebserverError, Target
from mwaa_headroom.harness.local.gateway.operations import Throttle
from mwaa_headroom.harness.local.settings import ThrottleSettings


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def balancer_of(count: int, clock: Clock | None = None) -> Balancer:
    balancer = Balancer(clock or Clock())
    for n in range(count):
        balancer.add(f"w{n + 1}", f"http://127.0.0.1:{9001 + n}/")
    return balancer


def test_ties_take_turns() -> None:
    balancer = balancer_of(3)
    order = []
    for _ in range(6):
        with balancer.choose() as target:
            order.append(target.name)
    assert order == ["w1", "w2", "w3", "w1", "w2", "w3"]


def test_the_fewest_calls_in_flight_win() -> None:
    balancer = balancer_of(2)
    with balancer.choose() as first, balancer.choose() as second:
        assert {first.name, second.name} == {"w1", "w2"}
        with balancer.choose() as third:
            assert balancer.in_flight(third.name) == 2
            with balancer.choose() as fourth:
                assert fourth.name != third.name
    assert balancer.in_flight("w1") == balancer.in_flight("w2") == 0


def test_a_new_webserver_gets_the_next_calls_until_it_has_as_many() -> None:
    balancer = balancer_of(1)
    with balancer.choose(), balancer.choose():
        balancer.add("w2", "http://127.0.0.1:9002")
        with balancer.choose() as third, balancer.choose() as fourth:
            assert (third.name, fourth.name) == ("w2", "w2")


def test_the_address_has_no_slash_at_its_end() -> None:
    assert balancer_of(1).choose().base_url == "http://127.0.0.1:9001"


def test_a_name_is_used_once() -> None:
    with pytest.raises(ValueError, match="w1 is already"):
        balancer_of(1).add("w1", "http://127.0.0.1:1")


def test_webservers_that_are_down_draining_or_excluded_get_nothing() -> None:
    balancer = balancer_of(3)
    balancer.mark_down("w1")
    balancer.mark_down("unknown")  # it was removed while a call to it failed
    assert asyncio.run(balancer.drain("w2", timeout_s=1))
    assert balancer.ready_names() == ("w3",)
    assert balancer.names() == ("w1", "w2", "w3")
    assert balancer.choose().name == "w3"
    with pytest.raises(NoWebserverError):
        balancer.choose(but_not="w3")
    balancer.remove("w3")
    with pytest.raises(NoWebserverError):
        balancer.choose()


def test_draining_waits_for_the_last_call() -> None:
    async def scenario() -> tuple[bool, bool]:
        balancer = balancer_of(1)
        target = balancer.choose()
        target.__enter__()
        too_early = await balancer.drain("w1", timeout_s=0.01)
        draining = asyncio.create_task(balancer.drain("w1", timeout_s=60))
        await asyncio.sleep(0)
        assert not draining.done()
        target.__exit__(None, None, None)
        return too_early, await draining

    assert asyncio.run(scenario()) == (False, True)


def test_a_call_may_end_after_its_webserver_was_removed() -> None:
    balancer = balancer_of(1)
    with balancer.choose():
        balancer.remove("w1")
    assert balancer.names() == ()


def test_the_mean_in_flight_is_an_average_over_time() -> None:
    clock = Clock()
    balancer = balancer_of(1, clock)
    clock.now_s += 2.0  # 2 s with none
    with balancer.choose():
        clock.now_s += 1.0  # 1 s with one
        with balancer.choose():
            clock.now_s += 1.0  # 1 s with two
    assert balancer.take_mean_in_flight("w1") == pytest.approx(3.0 / 4.0)
    clock.now_s += 5.0
    assert balancer.take_mean_in_flight("w1") == 0.0
    with balancer.choose():
        clock.now_s += 5.0
        assert balancer.take_mean_in_flight("w1") == 1.0
        assert balancer.take_mean_in_flight("w1") == 1.0  # no time has passed: what it is now
    balancer.remove("w1")
    assert balancer.take_mean_in_flight("w1") == 0.0  # it may still run, but has no calls


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["start", "end", "wait"]), st.integers(1, 8)), max_size=60
    )
)
def test_mean_in_flight_times_time_is_the_sum_of_the_calls_durations(
    steps: list[tuple[str, int]],
) -> None:
    """Little's law over any history, on one webserver."""
    clock = Clock()
    balancer = balancer_of(1, clock)
    started: list[tuple[float, Target]] = []
    durations_s = 0.0
    for what, amount in steps:
        if what == "start":
            started.append((clock.now_s, balancer.choose().__enter__()))
        elif what == "end" and started:
            began_s, target = started.pop()
            durations_s += clock.now_s - began_s
            target.__exit__(None, None, None)
        else:
            clock.now_s += amount
    durations_s += sum(clock.now_s - began_s for began_s, _ in started)
    elapsed_s = clock.now_s - 1000.0
    if elapsed_s > 0:
        assert balancer.take_mean_in_flight("w1") * elapsed_s == pytest.approx(durations_s)


def admitted(throttle: Throttle, calls: int) -> int:
    count = 0
    for _ in range(calls):
        try:
            throttle.admit()
            count += 1
        except ApiError:
            pass
    return count


def test_the_bucket_empties_and_fills_again() -> None:
    clock = Clock()
    throttle = Throttle(ThrottleSettings(rate_per_s=8, burst=5), clock)
    assert admitted(throttle, 8) == 5
    clock.now_s += 0.3125
    assert admitted(throttle, 8) == 2
    clock.now_s += 0.0625  # with the half token left over
    assert admitted(throttle, 8) == 1
    clock.now_s += 3600
    assert admitted(throttle, 8) == 5


def test_no_rate_means_no_throttle() -> None:
    assert admitted(Throttle(ThrottleSettings(burst=1), Clock()), 100) == 100


@given(
    rate_per_s=st.floats(0.5, 50),
    burst=st.integers(1, 20),
    gaps_s=st.lists(st.floats(0, 1), min_size=1, max_size=50),
)
def test_never_more_than_burst_and_rate_allow(
    rate_per_s: float, burst: int, gaps_s: list[float]
) -> None:
    clock = Clock()
    throttle = Throttle(ThrottleSettings(rate_per_s=rate_per_s, burst=burst), clock)
    count = 0
    for gap_s in gaps_s:
        clock.now_s += gap_s
        count += admitted(throttle, 3)
        assert count <= burst + rate_per_s * (clock.now_s - 1000.0) + 1e-6
