"""The tables of comparisons and histories as plain strings."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from mwaa_headroom.analysis.comparison.results import (
    ComparedRun,
    Comparison,
    History,
    Metric,
    MetricComparison,
    MetricHistory,
)
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.tables import Column, Table
from mwaa_headroom.analysis.results import Difference
from mwaa_headroom.analysis.statistics import Estimate

_FINE_INTERVAL: Final = 0.02  # of a ratio: below, two decimals do not show it
MOST_VALUES: Final = 3  # of a difference; seeds and hosts may be as many as runs


def gate_table(comparison: Comparison) -> Table:
    """One row per metric of the gate."""
    return _comparison_table(comparison.gate, "verdict")


def informational_table(metrics: Sequence[MetricComparison]) -> Table:
    """One row per metric beside the gate."""
    return _comparison_table(metrics, "change")


def difference_table(differences: Sequence[Difference]) -> Table:
    """What differs, and who has which value."""
    columns = (Column("", right=False), Column("value", right=False), Column("runs", right=False))
    rows = [
        (difference.what if place == 0 else "", value, who)
        for difference in differences
        for place, (value, who) in enumerate(_few(difference.values))
    ]
    return Table(columns, tuple(rows))


def change_point_table(history: History) -> Table:
    """One row per change point, in the order of the metrics."""
    points = [point for metric in history.metrics for point in metric.change_points]
    upgraded = any(p.run_before.airflow_version != p.first_run.airflow_version for p in points)
    columns = (
        Column("metric", right=False),
        Column("before"),
        Column("since"),
        Column("change"),
        Column("", right=False),
        Column("p", dropped=2),
        Column("first run", right=False),
        Column("Airflow", right=False, dropped=0 if upgraded else 1),
    )
    rows = (
        (
            metric.metric.name,
            metric_value(metric.metric, point.before),
            metric_value(metric.metric, point.after),
            change(metric.metric, point.change),
            "worse" if point.is_worse else "better",
            p_value(point.p),
            point.first_run.run_id,
            _versions(point.run_before.airflow_version, point.first_run.airflow_version),
        )
        for metric in history.metrics
        for point in metric.change_points
    )
    return Table(columns, tuple(rows))


def series_table(history: History) -> Table:
    """One row per metric: how many runs know it, its range, how often it changed."""
    columns = (
        Column("metric", right=False),
        Column("runs"),
        Column("least"),
        Column("median"),
        Column("most"),
        Column("changes"),
    )
    return Table(columns, tuple(map(_series_row, history.metrics)))


def run_table(**sides: Sequence[ComparedRun]) -> Table:
    """One row per run, by side."""
    columns = (
        Column("run", right=False),
        Column("side", right=False),
        Column("began", "UTC", right=False),
        Column("Airflow", right=False),
    )
    rows = (
        (run.run_id, name, moment(run), run.airflow_version or words.UNKNOWN)
        for name, runs in sides.items()
        for run in runs
    )
    return Table(columns, tuple(rows))


def moment(run: ComparedRun) -> str:
    """When a run began, UTC."""
    return datetime.fromtimestamp(run.started_at_s, UTC).strftime("%Y-%m-%d %H:%M")


def metric_value(metric: Metric, value: float | None) -> str:
    """A value with its unit."""
    match metric.unit:
        case "s":
            return words.duration(value)
        case "fraction":
            return words.share(value)
        case _:
            return f"{words.rate(value)}/s" if words.is_known(value) else words.UNKNOWN


def change(metric: Metric, estimate: Estimate) -> str:
    """A ratio, or a difference in points, with its interval: "1.15 (1.12-1.18)"."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if not words.is_known(value):
        return words.UNKNOWN
    ends, decimals = "", 2
    if words.is_known(low) and words.is_known(high):
        joint = " to " if metric.is_share else "-"
        decimals = 2 if metric.is_share or high - low > _FINE_INTERVAL else 3
        ends = f" ({_change(metric, low, decimals)}{joint}{_change(metric, high, decimals)})"
    unit = " pt" if metric.is_share else ""
    return f"{_change(metric, value, decimals)}{unit}{ends}"


def detectable(metric: Metric, value: float | None) -> str:
    """The smallest change that so many runs find: "1.10", "+0.8 pt"."""
    if not words.is_known(value):
        return words.UNKNOWN
    return f"{_change(metric, value)}{' pt' if metric.is_share else ''}"


def p_value(p: float | None) -> str:
    """A probability: "0.031", "<0.001"."""
    if not words.is_known(p):
        return words.UNKNOWN
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _comparison_table(metrics: Sequence[MetricComparison], last: str) -> Table:
    columns = (
        Column("metric", right=False),
        Column("baseline"),
        Column("contender"),
        Column("change", "95 % interval"),
        Column("p", "adjusted", dropped=3),
        Column("n", dropped=2),
        Column("finds", "from", dropped=1),
        Column(last, right=False),
    )
    rows = (
        (
            each.metric.name,
            _with_interval(each.metric, each.baseline),
            _with_interval(each.metric, each.contender),
            change(each.metric, each.change),
            p_value(each.p_adjusted),
            f"{len(each.baseline_values)}+{len(each.contender_values)}",
            detectable(each.metric, each.detectable),
            each.verdict,
        )
        for each in metrics
    )
    return Table(columns, tuple(rows))


def _with_interval(metric: Metric, estimate: Estimate) -> str:
    """The median, and how far the farther end of its interval is: "172 ms ±2%", as benchstat."""
    value, low, high = estimate.value, estimate.low, estimate.high
    text = metric_value(metric, value)
    if not (words.is_known(value) and words.is_known(low) and words.is_known(high)):
        return text
    farther = max(high - value, value - low)
    if metric.is_share:
        return f"{text} ±{100 * farther:.2g}"
    return f"{text} ±{100 * farther / value:.0f}%" if value else text


def _change(metric: Metric, value: float, decimals: int = 2) -> str:
    if metric.is_share:
        points = round(100 * value, decimals)
        return f"{points:+g}" if points else "0"
    return f"{value:.{decimals}f}"


def _series_row(metric: MetricHistory) -> tuple[str, ...]:
    ordered = sorted(metric.values)
    places = (0, len(ordered) // 2, -1)
    values = [metric_value(metric.metric, ordered[i] if ordered else None) for i in places]
    changes = "too few" if metric.refusal else words.count(len(metric.change_points))
    return (metric.metric.name, words.count(len(ordered)), *values, changes)


def _versions(before: str, since: str) -> str:
    if not (before or since):
        return words.UNKNOWN
    return before if before == since else f"{before or '?'} → {since or '?'}"


def _few(values: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    if len(values) <= MOST_VALUES:
        return values
    return (*values[: MOST_VALUES - 1], (f"and {len(values) - MOST_VALUES + 1} others", ""))
