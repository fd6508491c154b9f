import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.findings import note
from mwaa_headroom.analysis.planning.loads import (
    DAY_S,
    busiest_day,
    load_between,
    load_of_arrivals,
    load_of_rates,
)


def test_one_rate_is_certain() -> None:
    load = load_between(25, 25)
    rates, weights = load.rates()

    assert load.description.values == {"low_per_s": 25, "high_per_s": 25}
    assert (rates.tolist(), weights.tolist()) == ([25.0], [1.0])


@given(st.floats(0.1, 50), st.floats(0, 50))
def test_the_rates_of_a_range_are_inside_it_and_weigh_alike(low: float, width: float) -> None:
    load = load_between(low, low + width)
    rates, weights = load.rates()

    assert rates.min() >= low
    assert rates.max() <= low + width
    assert weights.sum() == pytest.approx(1)
    assert (rates * weights).sum() == pytest.approx(load.mean_per_s)


@pytest.mark.parametrize(("low", "high"), [(0, 5), (10, 5), (5, float("inf")), (-1, 2)])
def test_no_load_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="a rate above 0"):
        load_between(low, high)


def test_a_trace_of_calls_is_counted_by_the_second() -> None:
    # 60 s with two calls each, then a minute with one
    calls = np.concatenate([np.repeat(np.arange(60.0), 2), np.arange(60.0, 120.0)])
    load = load_of_arrivals(calls, "calls.csv")

    assert load.trace_per_s is not None
    assert len(load.trace_per_s) == 120
    assert (load.low_per_s, load.high_per_s, load.mean_per_s) == (1.0, 2.0, 1.5)
    assert load.description == note(
        "size.load_of_trace",
        name="calls.csv",
        length_s=120,
        mean_per_s=1.5,
        busiest_per_s=2.0,
        window_s=12,
    )


def test_rates_hold_until_the_next_and_the_last_as_long_as_the_one_before() -> None:
    load = load_of_rates(np.array([0.0, 120.0, 240.0]), np.array([5.0, 30.0, 10.0]), "day.csv")

    assert load.trace_per_s is not None
    assert len(load.trace_per_s) == 360
    assert (load.low_per_s, load.high_per_s, load.mean_per_s) == (5.0, 30.0, 15.0)


def test_a_change_inside_a_second_is_shared_out() -> None:
    load = load_of_rates(np.array([0.0, 1.5, 3.0]), np.array([4.0, 0.0, 0.0]), "x")

    assert load.trace_per_s is not None
    assert load.trace_per_s.tolist() == [4.0, 2.0, 0.0, 0.0, 0.0]


def test_a_second_of_a_burst_is_not_the_peak() -> None:
    """The peak is that of a minute: calls of one second vary by chance."""
    rate = np.zeros(600)
    rate[30] = 60.0
    load = load_of_rates(np.arange(600.0), rate, "spike")

    assert load.high_per_s == pytest.approx(1.0)


def test_the_rest_of_a_trace_joins_the_window_before_it() -> None:
    load = load_of_rates(np.array([0.0, 620.0, 640.0]), np.array([6.0, 0.0, 0.0]), "x")
    rates, weights = load.rates()

    assert len(rates) == 11
    assert rates[-1] == pytest.approx(6.0 * 20 / 60)
    assert weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("seconds", "high", "window"), [(24, 20.0, 5), (300, 10.0, 30), (600, 5.0, 60)]
)
def test_a_short_trace_has_a_peak_of_its_own(seconds: int, high: float, window: int) -> None:
    """The mean over a minute would hide the burst of a trace that is not much longer."""
    rate = np.zeros(seconds)
    rate[:15] = 20.0
    load = load_of_rates(np.arange(float(seconds)), rate, "x")

    assert load.high_per_s == pytest.approx(high)
    assert load.description.values["window_s"] == window


@pytest.mark.parametrize(
    ("time_s", "says"), [(np.array([0.0, 40.0 * DAY_S]), "longer than 31 days")]
)
def test_an_endless_trace_is_refused(time_s: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load_of_arrivals(time_s, "x")


def test_a_trace_without_calls_is_refused() -> None:
    with pytest.raises(ValueError, match="no calls"):
        load_of_rates(np.array([0.0, 60.0]), np.zeros(2), "x")


def test_the_busiest_day_of_a_longer_trace() -> None:
    trace = np.ones(3 * DAY_S)
    trace[DAY_S + 7 : 2 * DAY_S + 7] = 2.0

    assert busiest_day(trace).tolist() == [2.0] * DAY_S
    assert len(busiest_day(np.ones(60))) == 60
