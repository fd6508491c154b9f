"""Charts as values: what reaches the page, and that single calls survive their packing."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.calls import Calls, Labels
from mwaa_headroom.analysis.report.charts.chart import (
    Chart,
    PackedCalls,
    Panel,
    Series,
    chart_data,
    extremes,
    limits,
    packed_calls,
)
from mwaa_headroom.analysis.report.charts.tables import chart_tables

STARTED_AT_S = 1_790_000_000.0


def calls(since_s: Any, took_s: Any, failed: Any = ()) -> Calls:
    number = len(since_s)
    outcome = np.zeros(number, np.int8)
    outcome[list(failed)] = 1
    return Calls(
        stage=np.zeros(number, np.int32),
        operation=Labels(np.zeros(number, np.int8), ("read",)),
        outcome=Labels(outcome, ("ok", "throttled")),
        intended_start_s=STARTED_AT_S + np.asarray(since_s, float),
        lag_s=np.zeros(number),
        service_time_s=np.asarray(took_s, float),
    )


def unpacked(packed: PackedCalls) -> tuple[Any, Any, Any]:
    """Times, latencies and failures, as the docstring of the packing says."""
    pairs = np.frombuffer(packed.words, "<u2").astype(float).reshape(-1, 2)
    times_s = np.cumsum(pairs[:, 0]) * packed.unit_s
    codes = pairs[:, 1] % 32768
    latencies_s = packed.low_s * (packed.high_s / packed.low_s) ** (codes / 32767)
    return times_s, latencies_s, pairs[:, 1] >= 32768


@given(
    st.lists(
        st.tuples(st.floats(0, 500_000), st.floats(1e-4, 1e3), st.booleans()),
        min_size=1,
        max_size=30,
    )
)
def test_packed_calls_are_the_calls(rows: list[tuple[float, float, bool]]) -> None:
    rows.sort(key=lambda row: row[0])
    since_s, took_s, failed = zip(*rows, strict=True)
    packed = packed_calls(calls(since_s, took_s, np.flatnonzero(failed)), STARTED_AT_S)
    assert packed is not None
    times_s, latencies_s, marked = unpacked(packed)
    longest_pause_s = max(np.diff(since_s, prepend=0.0))
    assert times_s == pytest.approx(since_s, abs=max(0.001, longest_pause_s / 60_000))
    assert latencies_s == pytest.approx(took_s, rel=0.0005)
    assert sorted(zip(marked, took_s, strict=True)) == sorted(zip(failed, took_s, strict=True))
    assert (packed.count, packed.shown, packed.note) == (len(rows), len(rows), "")


def test_of_a_million_calls_some_are_left_out_and_the_page_says_how_many() -> None:
    number = 1_000_000
    since_s = np.linspace(0, 3600, number)
    packed = packed_calls(calls(since_s, np.full(number, 0.2), range(100)), STARTED_AT_S)
    assert packed is not None
    assert packed.count == number
    assert packed.shown <= 120_000
    assert len(packed.words) == 4 * packed.shown
    assert unpacked(packed)[2].sum() == 100, "failed ones are not thinned out with the others"
    assert "of 999,900 calls that ended ok" in packed.note
    assert "failed" not in packed.note


def test_many_failed_calls_are_thinned_out_as_the_others_are() -> None:
    number, failed = 1_000_000, 100_000
    since_s = np.linspace(0, 3600, number)
    every_tenth = range(0, number, number // failed)
    packed = packed_calls(calls(since_s, np.full(number, 0.2), every_tenth), STARTED_AT_S)
    assert packed is not None
    assert unpacked(packed)[2].mean() == pytest.approx(failed / number, rel=0.01)
    assert f"of {failed:,} failed calls" in packed.note


def test_calls_that_were_not_sent_have_no_point() -> None:
    assert packed_calls(calls([1.0], [math.nan]), STARTED_AT_S) is None


CHART = Chart(
    title="One\u202e",
    x_label="time",
    x_unit="time",
    from_x=0.0,
    to_x=20.0,
    panels=(
        Panel(
            "load",
            "Load",
            "s",
            (
                Series("held", "blue", [0.0, 10.0, 20.0], [0.5, math.nan, math.nan], "step"),
                Series("seen", "ink", [5.0], [1.23456789], "points", texts=["first"]),
            ),
        ),
    ),
)


def test_a_chart_is_strict_json_and_harmless() -> None:
    data = chart_data(CHART)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    held, seen = data["panels"][0]["series"]
    assert (held["x"], held["values"]) == ([0, 10, 20], [0.5, None, None])
    assert (seen["values"], seen["texts"]) == ([1.23457], ["first"])
    assert "\u202e" not in data["title"]


def test_the_table_behind_a_chart_has_a_row_for_each_x() -> None:
    (table,) = chart_tables(CHART)
    assert [column.heading for column in table.columns] == ["time", "held", "seen"]
    assert table.rows == (
        ("00:00", "500 ms", ""),
        ("00:05", "", "1.23 s (first)"),
        ("00:10", "-", ""),
    )


@pytest.mark.parametrize(
    ("values", "scale", "ends"),
    [
        ((0.1, 2.0), "log", (0.1 / 1.4, 3.2)),
        ((1.0, 2.0, None, math.nan), "linear", (0.0, 2.4)),
        ((), "linear", (0.0, 1.2)),
    ],
)
def test_an_axis_is_logarithmic_where_values_span_much(
    values: tuple[float | None, ...], scale: str, ends: tuple[float, float]
) -> None:
    found, limits_found = limits(values)
    assert found == scale
    assert limits_found == pytest.approx(ends)


@pytest.mark.parametrize("lowest", [0.0136, 0.0139, 0.9521, 95.9])
def test_a_logarithmic_axis_does_not_begin_where_uplot_would_list_ticks_for_ever(
    lowest: float,
) -> None:
    scale, (low, _) = limits([lowest, 100 * lowest])
    assert scale == "log"
    assert lowest / 1.6 < low <= lowest / 1.4
    assert float(f"{low:e}".split("e")[0]) <= 9.0


def test_of_very_many_steps_the_highest_or_lowest_of_neighbours_stay() -> None:
    values = np.arange(17_280.0)
    values[6:12] = np.nan
    edges = 5 * np.arange(17_281.0)
    x, highest, width = extremes(edges, [*values, 0.0])
    lowest = extremes(edges, [*values, 0.0], lowest=True)[1]
    assert width == 6
    assert x[[0, 1, -1]].tolist() == [0, 30, 86_400]
    assert highest[[0, 2, -2]].tolist() == [5, 17, 17_279]
    assert lowest[[0, 2]].tolist() == [0, 12]
    assert np.isnan([highest[1], lowest[1]]).all(), "nothing is known of a gap"
    few = extremes(edges[:4], [1.0, None, 3.0, 3.0])
    assert (few[0].tolist(), few[2]) == ([0, 5, 10, 15], 1)
    assert few[1][[0, 2, 3]].tolist() == [1, 3, 3]
