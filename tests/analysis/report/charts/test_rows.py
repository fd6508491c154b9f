"""Charts whose y axis lists things by name."""

import pytest
from compared_runs import imagined_runs

from mwaa_headroom.analysis.comparison.compare import compare_runs
from mwaa_headroom.analysis.report.charts.rows import change_of_metrics, demand_of_operations
from mwaa_headroom.analysis.report.charts.tables import chart_tables


def test_changes_are_told_in_margins_and_each_once() -> None:
    slower = imagined_runs("new", 6, factor=1.3, airflow="3.3.1", first_day=1)
    comparison = compare_runs(imagined_runs("old", 6), slower, margin=0.1)
    chart = change_of_metrics(comparison)
    assert chart is not None
    (panel,) = chart.panels
    spans = {s.label: s for s in panel.series if s.style == "span"}
    assert sorted(row for s in spans.values() for row in s.values) == [0, 1, 2, 3]
    assert spans["pass"].x == [0.0]
    worst = max(each.change.value or 0.0 for each in comparison.gate)
    assert max(spans["regression"].x) == pytest.approx((worst - 1) / 0.1)
    runs = next(s for s in panel.series if s.style == "points")
    assert len(runs.x) == 6 * len(comparison.gate)
    assert list(runs.x) == sorted(runs.x)
    (table,) = chart_tables(chart)
    verdicts = [(each.metric.name, each.verdict) for each in comparison.gate]
    assert [(row[0], row[2]) for row in table.rows] == verdicts


def test_the_dearest_operation_is_on_top_and_the_mix_below() -> None:
    (analysis,) = imagined_runs("one", 1)
    assert analysis.demand is not None
    chart = demand_of_operations(analysis.demand)
    assert chart is not None
    names = [name for name, _ in chart.panels[0].rows]
    costs_s = [analysis.demand.per_operation_s[name].value or 0.0 for name in names[:-1]]
    assert costs_s == sorted(costs_s, reverse=True)
    assert names[-1] == "the mix"
    per_call = next(s for s in chart.panels[0].series if s.label == "one operation")
    assert max(per_call.x) == pytest.approx(1000 * costs_s[0])
