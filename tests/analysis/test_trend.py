"""Growth over a run, of values that depend on those before them."""

import dataclasses

import numpy as np
import pytest
from calls_by_hand import calls_by_hand, periods_by_hand

from mwaa_headroom.analysis.errors import SloSyntaxError
from mwaa_headroom.analysis.memory import memory_warnings
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.slo_judgement import Window, judge
from mwaa_headroom.analysis.statistics import Floats
from mwaa_headroom.analysis.trend import HOUR_S, trend_per_h

MINUTE_S = 60.0


def noise(count: int, correlation: float, seed: int) -> Floats:
    """AR(1), in balance from the beginning, with standard deviation 1."""
    random = np.random.default_rng(seed)
    values = np.empty(count)
    values[0] = random.standard_normal()
    shocks = random.standard_normal(count) * np.sqrt(1 - correlation**2)
    for place in range(1, count):
        values[place] = correlation * values[place - 1] + shocks[place]
    return values


@pytest.mark.parametrize(
    ("count", "correlation", "at_least"),
    [(60, 0.0, 0.92), (60, 0.5, 0.89), (120, 0.8, 0.9), (360, 0.0, 0.93), (360, 0.9, 0.9)],
)
def test_the_interval_holds_the_leak_in_noise_that_remembers(
    count: int, correlation: float, at_least: float
) -> None:
    """300 series of minutes; least squares over single values hold it in 30 % at 0.9."""
    times_s = MINUTE_S * np.arange(count)
    leak_per_h = 0.4
    held = 0
    for seed in range(300):
        found = trend_per_h(
            times_s, noise(count, correlation, seed) + leak_per_h * times_s / HOUR_S
        )
        assert found.low is not None
        assert found.high is not None
        held += found.low <= leak_per_h <= found.high
    assert held >= at_least * 300


def test_a_straight_line_is_its_slope_and_few_values_are_refused() -> None:
    times_s = MINUTE_S * np.arange(100)
    found = trend_per_h(times_s, 3 + 2 * times_s / HOUR_S)
    assert found.value == pytest.approx(2.0)
    assert (found.low, found.high) == (pytest.approx(2.0), pytest.approx(2.0))
    refused = trend_per_h(times_s[:59], times_s[:59])
    assert (refused.value, refused.warnings[0].code) == (None, "trend.few_values")


def soaked(hours: float, percent_per_h: float, memory: bool = True) -> Window:
    """One-minute periods of two webservers, with memory that wavers by a point."""
    count = round(60 * hours)
    wavering = noise(count, 0.8, 1)
    periods = tuple(
        dataclasses.replace(
            each,
            memory_percent=40 + percent_per_h * place / 60 + wavering[place] if memory else None,
        )
        for place, each in enumerate(periods_by_hand(webservers=[2] * count, period_s=MINUTE_S))
    )
    calls = calls_by_hand(outcomes=["ok"])
    return Window(calls, calls.ok, periods)


@pytest.mark.parametrize(
    ("window", "met", "reason"),
    [
        (soaked(6, 0.0), True, None),
        (soaked(6, 5.0), False, None),
        (soaked(6, 1.0), None, "judge.trend_open"),
        (soaked(0.5, 5.0), None, "trend.few_values"),
        (soaked(6, 5.0, memory=False), None, "trend.few_values"),
    ],
    ids=["flat", "leaks", "cannot be told", "too short", "not reported"],
)
def test_a_line_about_a_trend_is_judged_by_its_interval(
    window: Window, met: bool | None, reason: str | None
) -> None:
    line = judge(parse_slo("trend(webserver.memory) < 1%/h"), window)
    assert (line.met, line.reason.code if line.reason else None) == (met, reason)


def test_only_growth_that_matters_is_told() -> None:
    assert memory_warnings(soaked(6, 0.0).periods, ()) == []
    assert memory_warnings(soaked(6, 0.5).periods, ()) == []  # 3 points of memory in 6 h
    assert [each.code for each in memory_warnings(soaked(6, 5.0).periods, ())] == [
        "memory.webservers_grew"
    ]
    events = [
        {"kind": "generator_load", "time_s": 5.0 * at, "worker": worker, "memory_bytes": used}
        for at in range(2000)
        for worker, used in ((0, 100e6), (1, 100e6 + 50e3 * at))
    ]
    (grew,) = memory_warnings((), events)
    assert (grew.code, grew.values["worker"]) == ("memory.load_process_grew", 1)
    assert grew.values["per_h"].value == pytest.approx(36e6)


@pytest.mark.parametrize(
    "text",
    [
        "trend(webserver.memory) < 1%",
        "max(webserver.memory) < 1%/h",
        "trend(webserver.cpu) < 1%/h",
        "trend(latency) < 1 s",
    ],
)
def test_a_trend_has_its_own_unit_and_metric(text: str) -> None:
    with pytest.raises(SloSyntaxError):
        parse_slo(text)


def test_a_trend_is_written_as_it_is_read() -> None:
    slo = parse_slo("trend( webserver.memory )  <= 0.5 %/h")
    assert str(slo) == "trend(webserver.memory) <= 0.5%/h"
    assert slo.threshold == pytest.approx(0.005)
    assert parse_slo(str(slo)) == slo
