"""Values and changes of metrics in words."""

import pytest

from mwaa_headroom.analysis.comparison.metrics import Metric
from mwaa_headroom.analysis.report.metric_words import change, change_alone, change_told, median
from mwaa_headroom.analysis.statistics import Estimate

RATIO, SHARE = Metric("latency", "s"), Metric("errors", "fraction")


@pytest.mark.parametrize(
    ("metric", "estimate", "text"),
    [
        (RATIO, Estimate(1.147, 1.112, 1.183), "1.15 (1.11-1.18)"),
        (RATIO, Estimate(1.0012, 0.9953, 1.0071), "1.001 (0.995-1.007)"),
        (SHARE, Estimate(0.004, -0.0012, 0.01), "+0.4 pt (-0.12 to +1)"),
        (SHARE, Estimate(0.0, 0.0, 0.0), "0 pt (0 to 0)"),
        (RATIO, Estimate(1.2), "1.20"),
        (RATIO, Estimate(None), "-"),
    ],
)
def test_changes_in_tables(metric: Metric, estimate: Estimate, text: str) -> None:
    assert change(metric, estimate) == text


def test_changes_in_sentences() -> None:
    assert change_told(RATIO, Estimate(1.21, 1.15, 1.28)) == (
        "1.21 times the baseline (95 % interval 1.15-1.28)"
    )
    assert change_told(SHARE, Estimate(0.012, 0.005, 0.02)) == (
        "+1.2 points off the baseline (95 % interval +0.5 to +2)"
    )
    assert change_alone(SHARE, 0.008) == "+0.8 pt"


@pytest.mark.parametrize(
    ("metric", "estimate", "text"),
    [
        (RATIO, Estimate(0.172, 0.170, 0.1754), "172 ms ±2%"),
        (RATIO, Estimate(0.172), "172 ms"),
        (SHARE, Estimate(0.0, 0.0, 0.0), "0 % ±0"),
    ],
)
def test_medians_as_benchstat_shows_them(metric: Metric, estimate: Estimate, text: str) -> None:
    assert median(metric, estimate) == text
