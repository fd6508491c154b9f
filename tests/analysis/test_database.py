"""The metadata database: its periods, and lines of the SLO about it."""

import json
from typing import Any

import pyarrow as pa
import pytest
from calls_by_hand import calls_by_hand

from mwaa_headroom.analysis import schema
from mwaa_headroom.analysis.findings import refusal
from mwaa_headroom.analysis.judge import Window, judge
from mwaa_headroom.analysis.metrics import (
    DatabasePeriod,
    database_periods,
    periods_within,
    webserver_periods,
)
from mwaa_headroom.analysis.slo import parse_slo

CPU, CONNECTIONS = "CPUUtilization", "DatabaseConnections"


def sample(metric: str, start_s: float, value: float, **changes: Any) -> dict[str, Any]:
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
        sample(CPU, 120, 50),
        sample(CONNECTIONS, 60, 11),
        sample(CPU, 60, 40),
    ) == [(60, 40, 11), (120, 50, None)]


@pytest.mark.parametrize(
    "other",
    [
        sample(CPU, 60, 99, dimensions={"DatabaseRole": "READER", "Environment": "e"}),
        sample(CPU, 60, 99, dimensions={"Cluster": "WebServer", "Environment": "e"}),
        sample(CPU, 60, 99, statistic="Maximum"),
        sample("FreeableMemory", 60, 99),
        sample(CPU, 60, float("nan"), read_at_s=999.0),
        sample(CPU, 60, 99, read_at_s=80.0),
        sample(CPU, 60, 99, dimensions={"Name": "DatabaseRole"}),
    ],
    ids=["reader", "webserver", "statistic", "metric", "no number", "read before", "a mere word"],
)
def test_nothing_else_is_taken_for_the_writer(other: dict[str, Any]) -> None:
    assert periods_of(other, sample(CPU, 60, 40)) == [(60, 40, None)]


def test_a_sample_read_again_counts_as_it_was_read_last() -> None:
    again = sample(CPU, 60, 45, read_at_s=300.0)
    assert periods_of(again, sample(CPU, 60, 40)) == [(60, 45, None)]


def test_dictionaries_as_readers_hand_them_out_will_do() -> None:
    table = pa.Table.from_pylist([sample(CPU, 60, 40)], schema=schema.METRICS_SCHEMA)
    encoded = pa.table(
        {
            name: column.dictionary_encode() if pa.types.is_string(column.type) else column
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    )
    assert database_periods(encoded) == database_periods(table) != ()


def test_an_old_record_has_no_database() -> None:
    assert periods_of() == []
    assert periods_of(sample(CPU, 60, 9, dimensions={"Cluster": "WebServer"})) == []


def test_the_cpu_of_the_database_is_not_a_webservers() -> None:
    table = pa.Table.from_pylist([sample(CPU, 60, 40)], schema=schema.METRICS_SCHEMA)
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
