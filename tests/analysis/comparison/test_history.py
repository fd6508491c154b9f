"""Histories, and their change points: the published series, planted changes, false alarms."""

import numpy as np
import pytest
from compared_runs import imagined_manifest, imagined_run, imagined_runs
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaa_headroom.analysis.comparison.history import FEWEST_VALUES, change_points, trace_history
from mwaa_headroom.analysis.comparison.metrics import MIX_DEMAND
from mwaa_headroom.analysis.findings import refusal

# apache/otava@1ceb153, tests: the series in which a change begins at index 10.
OTAVA = [
    *(1.02, 0.95, 0.99, 1.00, 1.12, 1.00, 1.01, 0.98, 1.01, 0.96),
    *(0.50, 0.51, 0.48, 0.48, 0.55, 0.50, 0.49, 0.51, 0.50, 0.49),
]


def found(values: list[float], level: float = 0.01) -> list[int]:
    return [split.index for split in change_points(values, level)]


def test_otavas_series() -> None:
    """apache/otava@1ceb153 finds [10] in it, with a window of 10 and p 1e-4."""
    assert found(OTAVA) == [10]


def test_two_changes_are_both_found() -> None:
    random = np.random.default_rng(1)
    levels = np.repeat([0.0, 5.0, 1.0], [12, 10, 14])

    assert found((levels + random.normal(0, 1, 36)).tolist()) == [12, 22]


def test_a_single_outlier_is_no_change() -> None:
    random = np.random.default_rng(2)
    values = random.normal(0, 1, 30)
    values[14] = 30.0

    assert found(values.tolist()) == []


def test_equal_values_have_no_change() -> None:
    assert found([0.0] * 30) == []


def test_fourteen_values_are_too_few() -> None:
    values = [0.0] * 7 + [100.0] * (FEWEST_VALUES - 8)

    assert len(values) == 14
    assert found(values) == []
    assert found([*values, 100.0]) == [7]


def test_false_alarms_are_as_rare_as_asked() -> None:
    """5 % of 100 series: 5, and more than 13 in one of 2000 cases."""
    random = np.random.default_rng(3)
    alarms = sum(bool(found(random.normal(0, 1, 20).tolist(), 0.05)) for _ in range(100))

    assert alarms <= 13


def test_runs_that_remember_the_one_before_are_no_change() -> None:
    """Random orders alone call a change in three of these."""
    random = np.random.default_rng(7)
    alarms = 0
    for _ in range(4):
        values = random.normal(0, 1, 30)
        for place in range(1, 30):
            values[place] = 0.6 * values[place - 1] + 0.8 * values[place]
        alarms += bool(found(values.tolist(), 0.02))

    assert alarms <= 1


@settings(max_examples=5, deadline=None)
@given(st.floats(0.1, 10), st.floats(-5, 5))
def test_unit_and_origin_do_not_matter(factor: float, origin: float) -> None:
    assert found([origin + factor * value for value in OTAVA]) == [10]


@pytest.mark.parametrize("at", [3, 8, 17])
def test_the_first_value_of_the_new_level_is_named(at: int) -> None:
    random = np.random.default_rng(at)
    values = random.normal(0, 0.1, 20) + np.where(np.arange(20) >= at, 3.0, 0.0)

    assert found(values.tolist()) == [at]


def test_a_change_of_airflow_shows_in_the_history() -> None:
    runs = [
        *imagined_runs("old", 10),
        *imagined_runs("new", 10, factor=1.3, airflow="3.3.1", first_day=50),
    ]

    found = trace_history(runs[::-1])

    assert (found.exit_code, found.refusals) == (0, ())
    demand = next(each for each in found.metrics if each.metric == MIX_DEMAND)
    (point,) = demand.change_points
    assert (point.index, point.is_worse) == (10, True)
    assert (point.run_before.airflow_version, point.first_run.airflow_version) == ("3.2.1", "3.3.1")
    assert point.first_run.run_id == "new-00"
    assert point.change.value == pytest.approx(1.3, rel=0.03)
    assert point.change.low is not None
    assert point.change.low <= point.change.value


def test_a_history_without_a_change() -> None:
    found = trace_history(imagined_runs("old", 16))

    assert len(found.metrics) == 4
    assert [each.change_points for each in found.metrics] == [()] * 4
    assert found.exit_code == 0


def test_a_history_leaves_invalid_runs_out_by_name_and_needs_fifteen() -> None:
    runs = imagined_runs("old", 15)
    bad = imagined_run("bad", day=3, status="aborted")

    enough = trace_history([*runs, bad])
    too_few = trace_history([*runs[:14], bad])

    assert enough.exit_code == 0
    assert [note.code for note in enough.notes] == ["history.left_out"]
    assert enough.notes[0].values["why"].values["run_id"] == "bad"
    assert too_few.exit_code == 5
    assert too_few.refusals == (refusal("history.few_runs", runs=14, needed=15),)


def test_a_history_of_unlike_runs_is_refused() -> None:
    other = imagined_run("other", manifest=imagined_manifest(scenario__traffic__retries="legacy"))

    found = trace_history([*imagined_runs("old", 15), other])

    assert found.exit_code == 5
    assert [each.what for each in found.differences] == ["retries"]
