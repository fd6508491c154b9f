"""Metric periods of webservers and of the database, and lines of the SLO about them."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from calls_by_hand import calls_by_hand, periods_by_hand
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis import metric_periods, schema
from mwaa_headroom.analysis.findings import refusal
from mwaa_headroom.analysis.metric_periods import (
    DatabasePeriod,
    database_periods,
    period_points,
    periods_within,
    webserver_periods,
)
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.slo_judgement import Window, judge


def sample(
    metric: str, cluster: str, statistic: str, value: float, **changes: Any
) -> dict[str, Any]:
    return {
        "metric": metric,
        "cluster": cluster,
        "dimensions": json.dumps({"Cluster": cluster}),
        "statistic": statistic,
        "unit": None,
        "period_s": 60.0,
        "period_start_s": 0.0,
        "value": value,
        "read_at_s": 100.0,
    } | changes


def cluster(name: str, count: int, cpu: float, busiest: float) -> list[dict[str, Any]]:
    return [
        sample("CPUUtilization", name, "SampleCount", count),
        sample("CPUUtilization", name, "Average", cpu),
        sample("CPUUtilization", name, "Maximum", busiest),
    ]


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=schema.METRICS_SCHEMA)


def test_the_least_busy_webserver_is_that_of_all_clusters() -> None:
    base = [*cluster("WebServer", 2, 60.0, 70.0), minimum("WebServer", 50.0)]
    more = [*cluster("AdditionalWebservers", 1, 20.0, 20.0), minimum("AdditionalWebservers", 20.0)]
    (both,) = webserver_periods(table(*base, *more))
    assert both.cpu_min_percent == 20
    # A cluster that does not tell may have had the least busy one.
    (one,) = webserver_periods(table(*base, *more[:-1]))
    assert one.cpu_min_percent is None
    (none,) = webserver_periods(table(*cluster("WebServer", 2, 60.0, 70.0)))
    assert none.cpu_min_percent is None


def minimum(name: str, cpu: float) -> dict[str, Any]:
    return sample("CPUUtilization", name, "Minimum", cpu)


def test_clusters_are_combined_by_their_number_of_webservers() -> None:
    (period,) = webserver_periods(
        table(
            *cluster("WebServer", 2, 60.0, 70.0),
            *cluster("AdditionalWebservers", 1, 90.0, 90.0),
            *cluster("Worker", 5, 99.0, 99.0),
        )
    )
    assert period.webservers == 3
    assert period.cpu_percent == pytest.approx((2 * 60 + 90) / 3)
    assert period.cpu_max_percent == 90
    assert period.memory_percent is None
    assert period.connections is None


@pytest.mark.parametrize("name", ["AdditionalWebservers", "additionalwebserver", "WEBSERVER"])
def test_the_undocumented_case_of_a_cluster_does_not_matter(name: str) -> None:
    (period,) = webserver_periods(table(*cluster(name, 1, 50.0, 50.0)))
    assert period.webservers == 1


@pytest.mark.parametrize(
    ("rows", "total"),
    [
        # average and count of two clusters
        (
            [
                sample("ActiveConnectionCount", "WebServer", "Average", 6.0),
                sample("ActiveConnectionCount", "WebServer", "SampleCount", 2),
                sample("ActiveConnectionCount", "AdditionalWebservers", "Average", 4.0),
                sample("ActiveConnectionCount", "AdditionalWebservers", "SampleCount", 1),
            ],
            16.0,
        ),
        # only a sum, of the load balancer, without a cluster
        ([sample("ActiveConnectionCount", "", "Sum", 20.0)], 20.0),
        # the load balancer's own series does not count twice beside the clusters'
        (
            [
                sample("ActiveConnectionCount", "", "Sum", 20.0),
                sample("ActiveConnectionCount", "WebServer", "Sum", 18.0),
            ],
            18.0,
        ),
        # a maximum alone says nothing of the total
        ([sample("ActiveConnectionCount", "WebServer", "Maximum", 18.0)], None),
    ],
)
def test_connections_are_the_total_over_webservers(
    rows: list[dict[str, Any]], total: float | None
) -> None:
    (period,) = webserver_periods(table(*rows))
    assert period.connections == total


def test_a_sample_counts_as_it_was_read_last() -> None:
    late = sample("CPUUtilization", "WebServer", "Average", 55.0, read_at_s=200.0)
    early = cluster("WebServer", 2, 50.0, 50.0)
    for rows in ([late, *early], [*early, late]):
        (period,) = webserver_periods(table(*rows))
        assert period.cpu_percent == 55


def test_no_metrics_no_periods() -> None:
    assert webserver_periods(schema.METRICS_SCHEMA.empty_table()) == ()


def test_of_several_period_lengths_the_shortest_is_used() -> None:
    short = sample("CPUUtilization", "WebServer", "Average", 40.0, period_s=5.0)
    long = sample("CPUUtilization", "WebServer", "Average", 50.0)
    assert [period.period_s for period in webserver_periods(table(short, long))] == [5.0]


def test_calls_stand_beside_the_period_of_their_seconds() -> None:
    periods = periods_by_hand(webservers=[2, 2])
    calls = calls_by_hand(
        outcomes=["ok", "ok", "throttled", "unsent"],
        starts_s=[0.0, 4.9, 5.0, 6.0],
        lags_s=[0.0, 0.2, 0.0, 0.0],
    )
    first, second = period_points(periods, calls, calls.ok)
    # intended in the first period but sent in the second
    assert (first.offered_per_s, first.achieved_per_s) == (pytest.approx(0.4), pytest.approx(0.2))
    assert (second.offered_per_s, second.achieved_per_s) == (
        pytest.approx(0.4),
        pytest.approx(0.4),
    )
    assert second.errors_per_s == pytest.approx(0.2)
    assert second.goodput_per_s == pytest.approx(0.2)


def test_every_call_is_in_exactly_one_period() -> None:
    starts = np.random.default_rng(3).uniform(0, 50, 500)
    periods = periods_by_hand(webservers=[1] * 10)
    calls = calls_by_hand(outcomes=["ok"] * 500, starts_s=starts.tolist())
    points = period_points(periods, calls, calls.ok)
    assert sum(point.achieved_per_s * point.period_s for point in points) == pytest.approx(500)


def test_latency_of_a_period_is_that_of_the_calls_that_should_have_started_in_it() -> None:
    periods = periods_by_hand(webservers=[1] * 4)
    starts = (
        [0.2 * n for n in range(25)] + [5.1, 5.2] + [10.5] + [15.0 + 0.2 * n for n in range(20)]
    )
    times = [0.1 * (n + 1) for n in range(25)] + [0.3, 0.4] + [1.0] + [10.0] * 20
    outcomes = ["ok"] * 26 + ["throttled", "ok"] + ["service_timeout"] * 20
    calls = calls_by_hand(
        outcomes=outcomes, starts_s=starts, service_times_s=times, lags_s=[0.0] * 25 + [4.9] * 23
    )
    first, few, one, cut = period_points(periods, calls, calls.ok)
    # nearest rank: the 13th and the 24th of 25
    assert (first.latency_p50_s, first.latency_p95_s) == (pytest.approx(1.3), pytest.approx(2.4))
    # one ok and one throttled: a single time is no median
    assert (few.latency_p50_s, few.latency_p95_s) == (None, None)
    assert one.latency_p50_s is None
    # calls that were cut count with what they took
    assert (cut.latency_p50_s, cut.latency_p95_s) == (pytest.approx(14.9), pytest.approx(14.9))


def test_the_database_stands_beside_the_period_of_the_same_start() -> None:
    periods = periods_by_hand(webservers=[1, 1])
    calls = calls_by_hand(outcomes=[])
    database = [DatabasePeriod(start_s=5.0, period_s=5.0, cpu_percent=30.0, connections=12.0)]
    first, second = period_points(periods, calls, calls.ok, database)
    assert (first.database_cpu_percent, first.database_connections) == (None, None)
    assert (second.database_cpu_percent, second.database_connections) == (30.0, 12.0)


@given(
    starts_s=st.lists(st.integers(0, 60), min_size=1, max_size=8, unique=True).map(sorted),
    times_s=st.lists(st.floats(-10, 80) | st.integers(0, 80), max_size=40),
    lag_s=st.sampled_from([0.0, 0.5, 5.0]),
)
def test_rates_are_counts_from_start_to_end_however_periods_lie(
    starts_s: list[int], times_s: list[float], lag_s: float
) -> None:
    """Periods with gaps between them or overlapping, calls on their borders and outside."""
    periods = [
        replace(period, start_s=float(start_s))
        for period, start_s in zip(
            periods_by_hand(webservers=[1] * len(starts_s)), starts_s, strict=True
        )
    ]
    outcomes = [("ok", "throttled", "unsent")[n % 3] for n in range(len(times_s))]
    calls = calls_by_hand(outcomes=outcomes, starts_s=times_s, lags_s=lag_s)
    rows = list(zip(times_s, outcomes, strict=True))
    for point, period in zip(period_points(periods, calls, calls.ok), periods, strict=True):
        started = [o for t, o in rows if period.start_s <= t + lag_s < period.end_s]
        offered = sum(period.start_s <= t < period.end_s for t, _ in rows)
        assert point.offered_per_s == offered / 5
        assert point.achieved_per_s == sum(o != "unsent" for o in started) / 5
        assert point.goodput_per_s == started.count("ok") / 5
        assert point.errors_per_s == started.count("throttled") / 5
        inside = sum(period.start_s <= t < period.end_s and o == "ok" for t, o in rows)
        assert (point.latency_p50_s is None) == (inside < 2)


def test_a_run_of_many_calls_is_counted_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    periods = periods_by_hand(webservers=[1] * 4)
    calls = calls_by_hand(outcomes=["ok", "throttled"] * 10)
    at_once = period_points(periods, calls, calls.ok)
    monkeypatch.setattr(metric_periods, "_BLOCK", 3)
    assert period_points(periods, calls, calls.ok) == at_once


def test_only_whole_periods_are_inside() -> None:
    periods = periods_by_hand(webservers=[1] * 4)
    assert [p.start_s for p in periods_within(periods, 4.0, 16.0)] == [5.0, 10.0]


CPU, CONNECTIONS = "CPUUtilization", "DatabaseConnections"


def database_sample(metric: str, start_s: float, value: float, **changes: Any) -> dict[str, Any]:
    dimensions = changes.pop("dimensions", {"DatabaseRole": "WRITER", "Environment": "e"})
    row = {
        "metric": metric,
        "cluster": dimensions.get("Cluster", ""),
        "dimensions": json.dumps(dimensions),
        "statistic": "Average",
        "unit": None,
        "period_s": 60.0,
        "period_start_s": start_s,
        "value": value,
        "read_at_s": start_s + 90.0,
    }
    return row | changes


def periods_of(*rows: dict[str, Any]) -> list[tuple[float, float | None, float | None]]:
    table = pa.Table.from_pylist(list(rows), schema=schema.METRICS_SCHEMA)
    return [(p.start_s, p.cpu_percent, p.connections) for p in database_periods(table)]


def test_both_metrics_of_a_period_stand_beside_each_other_in_the_order_of_time() -> None:
    assert periods_of(
        database_sample(CPU, 120, 50),
        database_sample(CONNECTIONS, 60, 11),
        database_sample(CPU, 60, 40),
    ) == [(60, 40, 11), (120, 50, None)]


@pytest.mark.parametrize(
    "other",
    [
        database_sample(CPU, 60, 99, dimensions={"DatabaseRole": "READER", "Environment": "e"}),
        database_sample(CPU, 60, 99, dimensions={"Cluster": "WebServer", "Environment": "e"}),
        database_sample(CPU, 60, 99, statistic="Maximum"),
        database_sample("FreeableMemory", 60, 99),
        database_sample(CPU, 60, float("nan"), read_at_s=999.0),
        database_sample(CPU, 60, 99, read_at_s=80.0),
        database_sample(CPU, 60, 99, dimensions={"Name": "DatabaseRole"}),
    ],
    ids=["reader", "webserver", "statistic", "metric", "no number", "read before", "a mere word"],
)
def test_nothing_else_is_taken_for_the_writer(other: dict[str, Any]) -> None:
    assert periods_of(other, database_sample(CPU, 60, 40)) == [(60, 40, None)]


def test_a_sample_read_again_counts_as_it_was_read_last() -> None:
    again = database_sample(CPU, 60, 45, read_at_s=300.0)
    assert periods_of(again, database_sample(CPU, 60, 40)) == [(60, 45, None)]


def test_dictionaries_as_readers_hand_them_out_will_do() -> None:
    table = pa.Table.from_pylist([database_sample(CPU, 60, 40)], schema=schema.METRICS_SCHEMA)
    encoded = pa.table(
        {
            name: column.dictionary_encode() if pa.types.is_string(column.type) else column
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )
    assert database_periods(encoded) == database_periods(table) != ()


def test_an_old_record_has_no_database() -> None:
    assert periods_of() == []
    assert periods_of(database_sample(CPU, 60, 9, dimensions={"Cluster": "WebServer"})) == []


def test_the_cpu_of_the_database_is_not_a_webservers() -> None:
    table = pa.Table.from_pylist([database_sample(CPU, 60, 40)], schema=schema.METRICS_SCHEMA)
    assert webserver_periods(table) == ()


def test_periods_count_only_if_they_lie_wholly_inside() -> None:
    periods = [DatabasePeriod(start, 60.0, 1.0, 1.0) for start in (0.0, 60.0, 120.0)]
    assert periods_within(periods, 30.0, 180.0) == tuple(periods[1:])


@pytest.mark.parametrize(
    ("line", "observed", "met"),
    [
        ("mean(database.cpu) < 80%", 0.6, True),
        ("max(database.cpu) < 80%", 0.9, False),
        ("mean(database.connections) <= 12", 12.0, True),
        ("max(database.connections) < 12", 14.0, False),
    ],
)
def test_lines_about_the_database_are_judged(line: str, observed: float, met: bool) -> None:
    calls = calls_by_hand(outcomes=["ok"])
    periods = (DatabasePeriod(0.0, 60.0, 30.0, 10.0), DatabasePeriod(60.0, 60.0, 90.0, 14.0))
    result = judge(parse_slo(line), Window(calls, calls.ok, (), database=periods))
    assert (result.observed, result.met) == (pytest.approx(observed), met)


@pytest.mark.parametrize(
    ("periods", "code"),
    [
        ((), "judge.no_periods"),
        ((DatabasePeriod(0.0, 60.0, None, 3.0),), "judge.not_reported"),
    ],
)
def test_where_the_database_is_not_reported_a_line_about_it_cannot_be_judged(
    periods: tuple[DatabasePeriod, ...], code: str
) -> None:
    calls = calls_by_hand(outcomes=["ok"])
    window = Window(calls, calls.ok, (), database=periods)
    result = judge(parse_slo("mean(database.cpu) < 80%"), window)
    assert result.met is None
    assert result.reason == refusal(code, metric="database.cpu")
