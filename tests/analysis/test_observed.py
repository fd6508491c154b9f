"""Days of webserver metrics without a run: peaks, busiest hours, and webservers needed."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.metric_periods import WebserverPeriod
from mwaa_headroom.analysis.observed import CallsOverTime, Observed, Watched, observe

DAY_S = 86_400.0
MONDAY_S = 20_416 * DAY_S  # a whole day
SMALL = Watched("prod", "mw1.small", 1.0, 2, 5)


def periods(
    of: Callable[[int], tuple[int, float, float | None]], number: int, period_s: float = 60.0
) -> list[WebserverPeriod]:
    """By number: webservers, CPU in per cent, connections; samples come once a minute."""
    minutes = round(period_s / 60)
    found = []
    for index in range(number):
        count, cpu, connections = of(index)
        tcp = None if connections is None else connections * minutes
        start_s = MONDAY_S + index * period_s
        found.append(
            WebserverPeriod(
                start_s, period_s, count * minutes, cpu, cpu, 40.0, tcp, cpu_min_percent=cpu
            )
        )
    return found


def day(
    observed_periods: list[WebserverPeriod], environment: Watched = SMALL, growth: float = 1.0
) -> Observed:
    return observe(
        observed_periods, environment, from_s=MONDAY_S, to_s=MONDAY_S + DAY_S, growth=growth
    )


def working_day(minute: int) -> tuple[int, float, float | None]:
    """Two webservers at 20 %, at eleven for half an hour three at 80 % and 18 connections."""
    return (3, 80.0, 18.0) if 660 <= minute < 690 else (2, 20.0, 3.0)


def test_a_day_with_one_peak() -> None:
    seen = day(periods(working_day, 1440))
    assert (seen.exit_code, seen.known_fraction, seen.period_s) == (0, 1.0, 60.0)
    assert seen.above_cpu_fraction == seen.above_connections_fraction == 30 / 1440
    assert seen.at_most_fraction == 0.0
    assert seen.cpu_percent is not None
    assert seen.connections is not None
    assert (seen.cpu_percent.highest, seen.cpu_percent.p95) == (80.0, 20.0)
    assert seen.cpu_percent.highest_at_s == MONDAY_S + 660 * 60
    assert seen.connections.highest == 18.0
    assert [(c.at_s - MONDAY_S, c.from_count, c.to_count) for c in seen.changes] == [
        (660 * 60, 2, 3),
        (690 * 60, 3, 2),
    ]
    assert len(seen.hours) == 24
    busiest = seen.busiest_hours[0]
    assert busiest.start_s == MONDAY_S + 11 * 3600
    assert busiest.busy_webservers == pytest.approx((2.4 + 0.4) / 2)
    assert (busiest.webservers, busiest.connections_highest) == (2.5, 18.0)


def test_calls_of_a_file_are_told_beside_it_where_it_has_them() -> None:
    """1/s to eleven, 3/s for half an hour, and then the file ends."""
    until_s = MONDAY_S + np.array([0.0, 660 * 60, 690 * 60])
    calls = CallsOverTime(until_s, np.array([0.0, 39_600.0, 39_600.0 + 5_400.0]))
    seen = observe(
        periods(working_day, 1440), SMALL, from_s=MONDAY_S, to_s=MONDAY_S + DAY_S, calls=calls
    )
    assert seen.calls_per_s is not None
    assert seen.calls_per_s.highest == pytest.approx(3.0)
    assert seen.calls_per_s.mean == pytest.approx(45_000 / (690 * 60))
    assert [hour.calls_per_s for hour in seen.hours[10:13]] == [
        pytest.approx(1.0),
        pytest.approx(3.0),
        None,
    ]
    (missing,) = (f for f in seen.findings if f.code == "observed.calls_missing")
    assert missing.values["fraction"] == pytest.approx(1 - 690 / 1440)


def test_what_the_peak_needs_and_what_growth_makes_of_it() -> None:
    """2.4 webservers fully busy are 3.43 at 70 %."""
    seen = day(periods(working_day, 1440))
    assert seen.busy_peak == pytest.approx(2.4)
    small, large = seen.needed[0], seen.needed[1]
    assert (small.environment_class, small.in_busiest_window, small.in_99_percent) == (
        "mw1.small",
        4,
        4,
    )
    # Half as many of twice the CPU: 1.71.
    assert (large.environment_class, large.in_busiest_window) == ("mw1.large", 2)
    grown = day(periods(working_day, 1440), growth=1.5)  # 3.6 busy: 5.14
    assert [n.in_busiest_window for n in grown.needed] == [6, 3, 2, 2]
    assert grown.enough is not None
    assert grown.enough.environment_class == "mw1.large"  # five of the small class are not enough


def test_a_peak_of_a_minute_is_no_reason_for_a_webserver() -> None:
    seen = day(periods(lambda minute: (2, 95.0 if minute == 602 else 20.0, None), 1440))
    assert seen.busy_peak == pytest.approx((4 * 0.4 + 1.9) / 5)
    assert seen.connections is None
    assert "observed.saturated" in {each.code for each in seen.findings}


@pytest.mark.parametrize("period_s", [60.0, 300.0, 3600.0])
def test_longer_periods_count_webservers_and_connections_alike(period_s: float) -> None:
    number = round(DAY_S / period_s)
    seen = day(periods(lambda _: (3, 50.0, 9.0), number, period_s))
    assert seen.webservers is not None
    assert seen.connections is not None
    assert (seen.webservers.mean, seen.connections.mean) == (3.0, 9.0)
    assert seen.busy_peak == pytest.approx(1.5)
    assert ("observed.coarse" in {each.code for each in seen.findings}) == (period_s == 3600)


def test_without_metrics_there_is_nothing_to_tell() -> None:
    seen = day([])
    assert seen.exit_code == 5
    assert [each.code for each in seen.findings] == ["observed.no_metrics"]


def test_what_is_missing_or_does_not_follow_from_cpu_is_said() -> None:
    seen = day(periods(lambda _: (2, 20.0, 40.0), 700))
    codes = {each.code for each in seen.findings}
    assert {"observed.incomplete", "observed.by_connections", "observed.cpu_only"} <= codes
    unknown = day(periods(lambda _: (2, 20.0, 4.0), 1440), Watched("gone"))
    assert "observed.environment_unknown" in {each.code for each in unknown.findings}
    assert unknown.at_most_fraction is None
    assert unknown.needed[0].in_busiest_window == 1
    too_much = day(periods(lambda _: (5, 90.0, 4.0), 1440), growth=20.0)
    assert too_much.enough is None
    assert "observed.too_much" in {each.code for each in too_much.findings}


@given(
    count=st.integers(1, 5),
    cpu=st.floats(0.5, 100.0),
    growth=st.floats(0.1, 10.0),
)
def test_the_count_needed_is_the_fewest_that_keeps_cpu_low_enough(
    count: int, cpu: float, growth: float
) -> None:
    seen = day(periods(lambda _: (count, cpu, None), 10), Watched("x"), growth)
    needed = seen.needed[0].in_busiest_window
    busy = growth * count * cpu / 100
    assert 100 * busy / needed <= 70.0 * (1 + 1e-6)
    assert needed == 1 or 100 * busy / (needed - 1) > 70.0 * (1 - 1e-6)
    assert math.isfinite(needed)
