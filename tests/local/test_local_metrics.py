"""From counters to samples to CloudWatch data."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.policy.scaling_rule import PolicyParameters, ScalingRule
from mwaa_headroom.harness.epoch_clock import EpochClock
from mwaa_headroom.harness.local.autoscaler import Autoscaler, period_end_s
from mwaa_headroom.harness.local.backend import DatabaseUsage, Usage
from mwaa_headroom.harness.local.metrics import (
    DatabaseSample,
    DatabaseSampler,
    Sample,
    WebserverSampler,
    metric_data,
)
from mwaa_headroom.harness.local.settings import MetricsSettings
from mwaa_headroom.harness.local.webservers import Member, State


class Counter:
    """A webserver that is nothing but its usage."""

    base_url = ""

    def __init__(self, name: str, cpu_s: float = 0.0) -> None:
        self.name = name
        self.cpu_s = cpu_s

    async def wait_until_ready(self) -> None: ...

    def is_alive(self) -> bool:
        return True

    def usage(self) -> Usage:
        return Usage(cpu_s=self.cpu_s, memory_fraction=0.25)

    async def stop(self) -> None: ...


class Setup:
    """A sampler with a clock to turn and calls in flight to set."""

    def __init__(self, **settings: object) -> None:
        self.now_s = 100.0
        self.in_flight: dict[str, float] = {}
        self.sampler = WebserverSampler(
            MetricsSettings.model_validate(settings),
            webserver_cpu=0.5,
            min_webservers=2,
            mean_in_flight=lambda name: self.in_flight.get(name, 0.0),
            clock=lambda: self.now_s,
        )

    def read(self, *members: Member, after_s: float = 5.0) -> list[Sample]:
        self.now_s += after_s
        return self.sampler.read(members)


def member(number: int, *, state: State = "ready", cpu_s: float = 0.0) -> tuple[Member, Counter]:
    counter = Counter(f"webserver-{number}", cpu_s)
    return Member(counter, state, usage_when_ready=Usage(cpu_s, 0.2)), counter


def test_cpu_is_relative_to_the_webservers_cpus_and_the_period() -> None:
    setup, (one, counter) = Setup(), member(1)
    setup.read(one)
    counter.cpu_s += 2.0  # of 5 s x 0.5 CPUs
    (sample,) = setup.read(one)
    assert sample.cpu_percent == pytest.approx(80.0)
    assert sample.memory_percent == pytest.approx(25.0)


def test_what_starting_cost_is_not_counted() -> None:
    setup, (one, counter) = Setup(), member(1, cpu_s=9.0)
    counter.cpu_s += 0.5
    (sample,) = setup.read(one)
    assert sample.cpu_percent == pytest.approx(100 * 0.5 / 5 / 0.5)


def test_starting_webservers_count_only_if_asked_for() -> None:
    starting, counter = member(2, state="starting")
    counter.cpu_s = 1.0
    assert Setup().read(starting) == []
    (sample,) = Setup(while_starting=True).read(starting)
    assert sample.cpu_percent == pytest.approx(40.0)
    assert not sample.takes_calls


def test_the_oldest_are_the_webserver_cluster_whatever_their_numbers() -> None:
    members = [member(number)[0] for number in (3, 4, 7)]
    clusters = [sample.cluster for sample in Setup().read(*members)]
    assert clusters == ["WebServer", "WebServer", "AdditionalWebservers"]
    samples = Setup(additional_cluster="AdditionalWebserver").read(*members)
    assert samples[2].cluster == "AdditionalWebserver"


def test_draining_webservers_still_run_but_take_no_calls() -> None:
    samples = Setup().read(member(1)[0], member(2, state="draining")[0])
    assert [sample.takes_calls for sample in samples] == [True, False]


def test_connections_are_calls_in_flight_times_connections_per_call() -> None:
    setup, (one, _) = Setup(connections_per_call=2), member(1)
    setup.in_flight = {"webserver-1": 3.5}
    assert setup.read(one)[0].connections == 7.0


@given(
    st.lists(st.tuples(st.floats(0.1, 60), st.floats(0, 10)), min_size=1, max_size=20),
)
def test_cpu_seconds_add_up(periods: list[tuple[float, float]]) -> None:
    """Sum of percent x period x CPUs = CPU-seconds since ready, however long the periods."""
    setup, (one, counter) = Setup(), member(1, cpu_s=3.0)
    total_s = 0.0
    for elapsed_s, used_s in periods:
        counter.cpu_s += used_s
        (sample,) = setup.read(one, after_s=elapsed_s)
        total_s += sample.cpu_percent / 100 * elapsed_s * 0.5
    assert total_s == pytest.approx(counter.cpu_s - 3.0, abs=1e-6)


@pytest.mark.parametrize(("period_s", "resolution"), [(5, 1), (30, 1), (60, 60)])
def test_one_datum_per_metric_and_webserver_dated_with_the_start(
    period_s: int, resolution: int
) -> None:
    samples = [
        Sample("webserver-1", "WebServer", True, 50.0, 25.0, 3.0),
        Sample("webserver-2", "AdditionalWebservers", True, 60.0, 25.0, 4.0),
    ]
    settings = MetricsSettings.model_validate({"period_s": period_s})
    data = metric_data(samples, environment="e", settings=settings, period_start_s=1_700_000_000.0)
    assert len(data) == 6
    assert data[0] == {
        "MetricName": "CPUUtilization",
        "Dimensions": [
            {"Name": "Cluster", "Value": "WebServer"},
            {"Name": "Environment", "Value": "e"},
        ],
        "Timestamp": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        "Value": 50.0,
        "Unit": "Percent",
        "StorageResolution": resolution,
    }
    assert data[5]["MetricName"] == "ActiveConnectionCount"
    assert data[5]["Unit"] == "Count"
    assert [one["Name"] for one in data[5]["Dimensions"]] == ["Environment"]


@pytest.mark.parametrize("have", [True, False])
def test_connections_may_come_with_or_without_a_cluster(have: bool) -> None:
    data = metric_data(
        [Sample("webserver-1", "WebServer", True, 50.0, 25.0, 3.0)],
        environment="e",
        settings=MetricsSettings(connections_have_cluster=have),
        period_start_s=0.0,
    )
    dimensions = {one["MetricName"]: [d["Name"] for d in one["Dimensions"]] for one in data}
    assert dimensions == {
        "CPUUtilization": ["Cluster", "Environment"],
        "MemoryUtilization": ["Cluster", "Environment"],
        "ActiveConnectionCount": ["Cluster", "Environment"] if have else ["Environment"],
    }


def test_the_database_has_its_role_in_place_of_a_cluster() -> None:
    data = metric_data(
        [],
        environment="e",
        settings=MetricsSettings(),
        period_start_s=0.0,
        database=DatabaseSample(cpu_percent=30.0, connections=12.0),
    )
    assert [(one["MetricName"], one["Value"], one["Unit"]) for one in data] == [
        ("CPUUtilization", 30.0, "Percent"),
        ("DatabaseConnections", 12.0, "Count"),
    ]
    writer = [
        {"Name": "DatabaseRole", "Value": "WRITER"},
        {"Name": "Environment", "Value": "e"},
    ]
    assert [one["Dimensions"] for one in data] == [writer, writer]


def test_the_database_is_measured_between_two_readings_of_one_server() -> None:
    now_s = 100.0
    used: DatabaseUsage | None = None
    sampler = DatabaseSampler(lambda: used, cpus=2.0, clock=lambda: now_s)
    assert sampler.read() is None  # no database
    used = DatabaseUsage(cpu_s=7.0, connections=3)
    assert sampler.read() is None  # it may have run for long
    now_s, used = 105.0, DatabaseUsage(cpu_s=10.0, connections=5)
    assert sampler.read() == DatabaseSample(cpu_percent=30.0, connections=5.0)  # of 5 s x 2 CPUs
    now_s, used = 110.0, None
    assert sampler.read() is None


@pytest.mark.parametrize(
    ("now_s", "period", "end_s"),
    [(0.0, 5, 5.0), (4.999, 5, 5.0), (5.0, 5, 10.0), (61.0, 60, 120.0)],
)
def test_periods_are_aligned_to_their_length(now_s: float, period: int, end_s: float) -> None:
    assert period_end_s(now_s, period) == end_s


class Nothing:
    """A pool without webservers, and a publisher that keeps the periods' starts."""

    def __init__(self) -> None:
        self.starts_s: list[float] = []

    def members(self) -> tuple[Member, ...]:
        return ()

    def count(self, state: State) -> int:
        return 0

    async def publish(self, start_s: float, samples: object, database: object) -> None:
        self.starts_s.append(start_s)


@pytest.mark.slow
def test_a_clock_that_is_set_back_neither_stops_the_metrics_nor_goes_unnoticed() -> None:
    nothing, events, step_s = Nothing(), [], 0.0
    anything: Any = nothing
    settings = MetricsSettings(period_s=1)
    autoscaler = Autoscaler(
        pool=anything,
        webserver_sampler=WebserverSampler(settings, 1.0, 1, lambda _: 0.0, time.monotonic),
        database_sampler=DatabaseSampler(lambda: None, 1.0, time.monotonic),
        publisher=anything,
        rule=ScalingRule(PolicyParameters(), min_webservers=1, max_webservers=1),
        period_s=1,
        emit=lambda kind, **keys: events.append((kind, keys)),
        clock=EpochClock(time.monotonic, lambda: time.time() + step_s),
    )

    async def periods(count: int) -> None:
        while len(nothing.starts_s) < count:
            await asyncio.sleep(0.01)

    async def run() -> None:
        nonlocal step_s
        running = asyncio.create_task(autoscaler.run())
        await asyncio.wait_for(periods(1), 10)
        step_s = -200.0
        await asyncio.wait_for(periods(3), 10)  # the one that was running, one of the new time
        running.cancel()

    asyncio.run(run())
    assert nothing.starts_s[2] == pytest.approx(time.time() - 200, abs=5)
    ((kind, keys),) = events
    assert kind == "clock_stepped"
    assert keys["step_s"] == pytest.approx(-200, abs=0.5)
