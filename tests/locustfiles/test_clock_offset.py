"""How far a worker's clock is ahead: Cristian's bound holds whatever the network does."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaa_headroom.locustfiles.master import KEPT, ClockOffset

seconds = st.floats(0, 10)
delays = st.lists(st.tuples(seconds, seconds), min_size=1, max_size=2 * KEPT)
truths = st.floats(-1e5, 1e5)
ROUNDING_S = 1e-5  # of epoch seconds as floats, many times over


def after(pings: list[tuple[float, float]], ahead_s: float) -> ClockOffset:
    """Pings, one a second, each so long on its way there and back."""
    offset = ClockOffset()
    for number, (there_s, back_s) in enumerate(pings):
        sent_s = 1.7e9 + number
        arrived_s = sent_s + there_s
        offset.add(sent_s=sent_s, answered_s=arrived_s + ahead_s, received_s=arrived_s + back_s)
    return offset


@settings(deadline=None)
@given(pings=delays, ahead_s=truths)
def test_the_truth_is_within_the_uncertainty(pings, ahead_s):
    offset = after(pings, ahead_s)
    assert abs(offset.ahead_s - ahead_s) <= offset.uncertainty_s + ROUNDING_S


@settings(deadline=None)
@given(ways_s=st.lists(seconds, min_size=1, max_size=50), ahead_s=truths)
def test_with_equal_ways_the_estimate_is_exact(ways_s, ahead_s):
    offset = after([(way_s, way_s) for way_s in ways_s], ahead_s)
    assert offset.ahead_s == pytest.approx(ahead_s, abs=ROUNDING_S)


@settings(deadline=None)
@given(pings=delays, ahead_s=truths)
def test_the_shortest_way_of_the_last_answers_counts(pings, ahead_s):
    offset = after(pings, ahead_s)
    shortest_s = min(there_s + back_s for there_s, back_s in pings[-KEPT:])
    assert offset.uncertainty_s == pytest.approx(shortest_s / 2, abs=ROUNDING_S)
    assert offset.count == min(len(pings), KEPT)


def test_a_clock_that_drifts_is_followed():
    offset = after([(0.001, 0.001)], ahead_s=0.0)
    for number in range(KEPT):
        sent_s = 1.7e9 + 100 + number
        offset.add(sent_s=sent_s, answered_s=sent_s + 0.002 + 5.0, received_s=sent_s + 0.004)
    assert offset.ahead_s == pytest.approx(5.0, abs=ROUNDING_S)


def test_nothing_is_known_without_an_answer():
    nothing = ClockOffset()
    assert (nothing.count, nothing.ahead_s, nothing.uncertainty_s) == (0, 0.0, math.inf)
