"""Sleeps on a real gevent hub: never too short, ended early by `wake`, with and without timerfd."""

import time
from collections.abc import Callable, Iterator

import gevent
import pytest

from mwaa_headroom.locustfiles import dispatcher as timer_module
from mwaa_headroom.locustfiles.dispatcher import Timer

GENEROUS_S = 5.0  # so late may a busy machine wake anybody


@pytest.fixture(params=["timerfd", "polling"])
def timer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Timer]:
    if request.param == "polling":
        monkeypatch.setattr(timer_module, "_timer_descriptor", lambda _: None)
    made = Timer()
    yield made
    made.close()


def took_s(sleep: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    sleep()
    return time.perf_counter() - began_s


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.0004, 0.0123, 0.1])
def test_it_sleeps_for_as_long_as_asked(timer: Timer, seconds: float) -> None:
    for _ in range(5):
        time.sleep(0.002)  # what the loop last took for now is not now
        assert seconds - 1e-5 <= took_s(lambda: timer.sleep(seconds)) < seconds + GENEROUS_S


def test_others_run_meanwhile(timer: Timer) -> None:
    seen = []
    gevent.spawn(lambda: seen.append(1))
    timer.sleep(0.005)
    assert seen == [1]


def test_a_wake_ends_the_sleep(timer: Timer) -> None:
    gevent.spawn_later(0.01, timer.wake)
    assert took_s(lambda: timer.sleep(60.0)) < GENEROUS_S


def test_a_wake_before_the_sleep_is_forgotten(timer: Timer) -> None:
    timer.wake()
    gevent.sleep(0.005)
    assert took_s(lambda: timer.sleep(0.05)) >= 0.04999


def test_one_sleep_after_the_other(timer: Timer) -> None:
    def sleep_50_times() -> None:
        for _ in range(50):
            timer.sleep(0.001)

    assert took_s(sleep_50_times) >= 0.0499


def test_it_may_be_closed_twice_and_a_closed_one_can_be_woken() -> None:
    closed = Timer()
    closed.close()
    closed.close()
    closed.wake()
