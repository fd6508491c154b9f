"""When a new webserver took traffic, by CPU and calls."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from calls_by_hand import calls_by_hand, periods_by_hand

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.metric_periods import WebserverPeriod
from mwaa_headroom.analysis.scaling.arrival import Arrival, arrival, cpu_of_calls
from mwaa_headroom.analysis.scaling.events import count_changes

PERIOD_S = 60.0
IDLE, OF_CALL = 4.0, 10.0  # percent of a webserver; of the latter for each call per second
RATES = (6, 6, 6, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17)
COUNTS = (2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3)  # one more is counted from 360 to 420


@cache
def calls(outcome: str = "ok") -> Calls:
    """With the rate of each period, evenly."""
    starts = [
        place * PERIOD_S + (np.arange(PERIOD_S * rate) + 0.5) / rate
        for place, rate in enumerate(RATES)
    ]
    times_s = np.concatenate(starts).tolist()
    outcomes = ["ok" if at_s < 300 else outcome for at_s in times_s]
    return calls_by_hand(outcomes=outcomes, starts_s=times_s, service_times_s=0.001)


def periods(
    ready_s: float, burnt_from_s: float, burnt_to_s: float, *, minimum: bool = True
) -> tuple[WebserverPeriod, ...]:
    """Calls go to the new webserver once it is ready; it burns a CPU between two times."""
    found = []
    for period, rate in zip(
        periods_by_hand(webservers=COUNTS, period_s=PERIOD_S), RATES, strict=True
    ):
        with_it = np.clip((period.end_s - ready_s) / PERIOD_S, 0, 1)
        burnt_s = min(burnt_to_s, period.end_s) - max(burnt_from_s, period.start_s)
        new = IDLE + OF_CALL * rate / 3 * with_it + 100 * max(burnt_s, 0.0) / PERIOD_S
        old = IDLE + OF_CALL * rate * (with_it / 3 + (1 - with_it) / 2)
        each = [old, old, new][: period.webservers]
        least = min(each) if minimum else None
        found.append(replace(period, cpu_percent=float(np.mean(each)), cpu_min_percent=least))
    return tuple(found)


def arrived(seen: tuple[WebserverPeriod, ...], sent: Calls) -> Arrival:
    (change,) = changes = count_changes(seen)
    return arrival(seen, cpu_of_calls(seen, sent, changes), change, alone=True)


def test_periods_away_from_changes_tell_what_calls_cost() -> None:
    seen = periods(380.0, 0.0, 0.0)
    found = cpu_of_calls(seen, calls(), count_changes(seen))
    assert found is not None
    assert found.idle_percent == pytest.approx(IDLE)
    assert found.fair_percent[-1] == pytest.approx(OF_CALL * 17 / 3)
    assert not found.start_up_percent.any()


@pytest.mark.parametrize("took_s", [20.0, 45.0, 70.0, 90.0])
@pytest.mark.parametrize("counted_s", [365.0, 380.0, 400.0, 419.0])
@pytest.mark.parametrize("health_s", [0.0, 30.0])
@pytest.mark.parametrize("minimum", [True, False])
def test_cpu_of_starting_up_is_no_traffic(
    counted_s: float, took_s: float, health_s: float, minimum: bool
) -> None:
    started_s = counted_s + took_s
    ready_s = started_s + (health_s if minimum else 0.0)
    found = arrived(periods(ready_s, counted_s, started_s, minimum=minimum), calls())
    assert found.start_up is (True if minimum else None)  # a health check is seen by Minimum alone
    assert found.after_s is not None
    assert found.by_s is not None
    assert found.after_s < ready_s <= found.by_s
    assert found.by_s - found.after_s <= 1.6 * PERIOD_S


@pytest.mark.parametrize("ready_s", [361.0, 380.0, 400.0, 419.0, 470.0])
def test_without_it_traffic_is_known_to_less_than_a_period(ready_s: float) -> None:
    found = arrived(periods(ready_s, 0.0, 0.0), calls())
    assert found.start_up is False
    assert found.after_s is not None
    assert found.by_s is not None
    assert found.after_s < ready_s <= found.by_s
    assert found.by_s - found.after_s <= 0.8 * PERIOD_S


def test_cut_calls_go_on_using_cpu_so_starting_up_cannot_be_told() -> None:
    found = arrived(periods(440.0, 380.0, 440.0), calls("service_timeout"))
    assert found.start_up is None
