"""Webserver metrics that cannot be what they seem."""

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from calls_by_hand import periods_by_hand
from spoilt_records import change_rows
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.metric_plausibility import PlausiblePeriods, plausible_periods
from mwaa_headroom.analysis.run import Run


def counted(
    counts: list[int | None], fewest: int | None, most: int | None, **values: Any
) -> tuple[PlausiblePeriods, list[int | None], list[str]]:
    found = plausible_periods(periods_by_hand(webservers=counts, **values), fewest, most)
    codes = [each.code for each in found.findings]
    return found, [period.webservers for period in found.periods], codes


@pytest.mark.parametrize(
    ("counts", "limits", "expected", "code"),
    [
        ([2, 2, 3, 3], (2, 5), [2, 2, 3, 3], None),
        ([24, 24, 36, 36], (2, 5), [2, 2, 3, 3], "metrics.samples_divided"),
        ([24, 23, 24, 24], (2, 2), [2, 2, 2, 2], "metrics.samples_divided"),
        ([12], (1, 1), [1], "metrics.samples_divided"),
        ([12, 24], (2, 5), [None, None], "metrics.counts_implausible"),  # one: fewer than there are
        ([20, 30, 20], (2, 5), [None, None, None], "metrics.counts_implausible"),
        ([20, 30, 20], (3, 3), [3, 3, 3], "metrics.pinned_count_used"),
        ([2] * 10 + [4], (2, 3), [2] * 10 + [None], "metrics.counts_above_most"),
        ([2] * 10 + [4], (2, 2), [2] * 11, "metrics.counts_above_most"),  # a sample sent twice
        ([2, None, 2], (2, 2), [2, 2, 2], None),
        ([None, None], (2, 2), [2, 2], None),
        ([2, None, 2], (2, 3), [2, None, 2], None),
        ([1, 2, 2], (2, 2), [1, 2, 2], None),  # one died, or was late: as it was read
        ([24, 24], (2, 30), [24, 24], None),  # AWS raised the quota
        ([24, 24], (None, None), [24, 24], None),  # not known
        ([], (2, 5), [], None),
    ],
)
def test_webservers_are_held_against_their_limits(
    counts: list[int | None],
    limits: tuple[int | None, int | None],
    expected: list[int | None],
    code: str | None,
) -> None:
    _, webservers, codes = counted(counts, *limits)
    assert webservers == expected
    assert codes == ([code] if code else [])


@pytest.mark.parametrize(
    ("counts", "limits", "period_s", "expected", "code"),
    [
        # Periods of five minutes have five samples of each container.
        ([10, 15, 10], (2, 5), 300.0, [2, 3, 2], "metrics.samples_divided"),
        ([10, 10], (2, 10), 300.0, [2, 2], "metrics.samples_divided"),
        ([24, 36], (2, 5), 60.0, [2, 3], "metrics.samples_divided"),
        # A container without two readings of its own yet publishes none.
        ([None, 2, 2], (2, 2), 60.0, [2, 2, 2], None),
        # Stamps that waver: two samples of a minute fall into one period, none into the next.
        ([3, 1, 2, 2, 2] * 4, (2, 2), 60.0, [2] * 20, "metrics.pinned_count_used"),
        ([3, 1, 2, 2, 2] * 4, (1, 2), 60.0, [None] * 20, "metrics.counts_implausible"),
        # An agent that sums up 39 or 40 readings.
        ([39, 40, 39], (1, 2), 60.0, [None] * 3, "metrics.counts_implausible"),
    ],
)
def test_samples_as_agents_and_consoles_show_them(
    counts: list[int | None],
    limits: tuple[int, int],
    period_s: float,
    expected: list[int | None],
    code: str | None,
) -> None:
    _, webservers, codes = counted(counts, *limits, period_s=period_s)
    assert webservers == expected
    assert codes == ([code] if code else [])


def test_a_maximum_above_a_whole_webserver_is_no_evidence_that_one_was_busy() -> None:
    """127 % at most, 35 % on average, as one reads of containers with a limit."""
    periods = [
        dataclasses.replace(each, cpu_max_percent=127.0 if place == 3 else 40.0)
        for place, each in enumerate(periods_by_hand(webservers=[2] * 20, cpu_percent=35.0))
    ]
    found = plausible_periods(periods, 2, 2)
    assert [each.code for each in found.findings] == ["metrics.cpu_strays"]
    assert max(each.cpu_max_percent or 0.0 for each in found.periods) == 40.0


def test_connections_follow_the_count() -> None:
    divided, _, _ = counted([24, 24], 2, 5, connections=[48.0, 36.0])
    assert [each.connections for each in divided.periods] == [4.0, 3.0]
    unusable, _, _ = counted([20, 20], 2, 5, connections=[40.0, 40.0])
    assert [each.connections for each in unusable.periods] == [None, None]


def test_cpu_above_a_whole_webserver_is_no_share_of_it() -> None:
    found, _, codes = counted([2] * 20, 2, 2, cpu_percent=[70.0] * 19 + [140.0])
    assert codes == ["metrics.cpu_strays"]
    assert [each.cpu_percent for each in found.periods] == [70.0] * 19 + [None]
    found, _, codes = counted([2] * 20, 2, 2, cpu_percent=[70.0] * 10 + [112.0] * 10)
    assert codes == ["metrics.cpu_implausible"]
    assert {each.cpu_percent for each in found.periods} == {None}
    assert found.objection == found.findings[0]
    assert counted([2] * 3, 2, 2, cpu_percent=100.4)[2] == []


def test_twelve_samples_a_period_change_no_answer(tmp_path: Path) -> None:
    """Before: "24 webservers, need 47", exit code 0."""
    directory = tmp_path / "run"
    write_synthetic_run(directory, rates_per_s=(8.0, 16.0, 36.0))
    before = Run.read(directory)

    def twelve(row: dict[str, Any]) -> dict[str, Any]:
        return row | {"value": row["value"] * (12 if row["statistic"] == "SampleCount" else 1)}

    change_rows(directory, "metrics", twelve)
    after = Run.read(directory)
    assert after.sizing.target == before.sizing.target
    assert after.verdict.exit_code == before.verdict.exit_code == 0
    assert [s.connections_max for s in after.stages] == pytest.approx(
        [s.connections_max for s in before.stages]
    )
    change_rows(
        directory,
        "metrics",
        lambda row: row | {"value": row["value"] * (1.6 if row["statistic"] == "Average" else 1)},
    )
    implausible = Run.read(directory)
    assert implausible.verdict.exit_code == 5
    assert implausible.demand is not None
    assert implausible.demand.mix_s.warnings[0].code == "metrics.cpu_implausible"


def test_a_pinned_count_stands_where_no_metric_came(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    write_synthetic_run(
        directory, rates_per_s=(8.0, 36.0), stage_s=30.0, max_webservers=2, with_metrics=False
    )
    run = Run.read(directory)
    assert {(stage.webservers_min, stage.webservers_max) for stage in run.stages} == {(2, 2)}
    assert run.capacity is not None
    assert run.capacity.rate_webservers == 2
    changed = replace(
        run.setting, environment=run.setting.environment | {"changed": ["MaxWebservers"]}
    )
    assert changed.pinned_webservers is None
