"""What the load costs a process: CPU since the last question, and stalls of its event loop."""

import time

import gevent
import pytest
from load_parts import Hands

from mwaa_headroom.locustfiles.single_process import SHORTEST_STALL_S, LoadMeter


@pytest.fixture
def clock():
    return Hands(100.0)


@pytest.fixture
def cpu():
    return Hands(7.0)


@pytest.fixture
def meter(clock, cpu):
    return LoadMeter(clock=clock, cpu_clock=cpu)


def test_cpu_is_a_fraction_of_one_core_since_the_last_time(meter, clock, cpu):
    clock.now_s, cpu.now_s = 102.0, 7.5
    assert meter.cpu_fraction() == pytest.approx(0.25)
    clock.now_s, cpu.now_s = 103.0, 8.5
    assert meter.cpu_fraction() == pytest.approx(1.0)
    # Who asks for the one does not disturb the other.
    assert meter.report()["cpu_fraction"] == pytest.approx(0.5)
    clock.now_s = 104.0
    assert meter.report()["cpu_fraction"] == 0


def test_two_questions_at_once_are_no_division_by_zero(meter):
    assert meter.cpu_fraction() == 0
    assert meter.report()["cpu_fraction"] == 0


def test_stalls_are_those_that_are_no_noise(meter):
    for late_s in (0.01, SHORTEST_STALL_S - 1e-6, 0.06, 0.2, 0.0):
        meter.woken_late(late_s)
    figures = meter.report()
    assert figures["stalled_s"] == pytest.approx(0.26)
    assert figures["longest_stall_s"] == pytest.approx(0.2)
    figures = meter.report()
    assert (figures["stalled_s"], figures["longest_stall_s"]) == (0, 0)


def test_a_loop_that_stands_still_is_seen():
    meter = LoadMeter()
    watching = gevent.spawn(meter.watch_stalls)
    gevent.sleep(0.03)
    time.sleep(0.2)  # nobody else can run
    gevent.sleep(0.03)
    watching.kill()
    figures = meter.report()
    assert 0.15 < figures["longest_stall_s"] <= figures["stalled_s"]
