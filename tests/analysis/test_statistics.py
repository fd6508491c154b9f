"""Percentiles with their intervals, exact and from known samples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mwaa_headroom.analysis.findings import refusal, warning
from mwaa_headroom.analysis.statistics import (
    interval_ranks,
    is_lower_bound,
    nearest_rank,
    percentile,
    percentiles,
    value_at_rank,
    values_for_interval,
    values_for_percentile,
)


@pytest.mark.parametrize(("percent", "needed"), [(50, 6), (95, 72), (99, 368), (99.9, 3688)])
def test_smallest_samples_with_an_interval(percent: float, needed: int) -> None:
    """Sample sizes for a distribution-free 95 % interval.

    Source: binomial order statistics; 6 for the median is what golang/perf's benchstat states
    (coverage 1 - 2/2^6 = .96875), 72, 368 and 3688 follow from p^n <= .025.
    """
    assert values_for_interval(percent) == needed
    assert interval_ranks(needed, percent) is not None
    assert interval_ranks(needed - 1, percent) is None


def test_ends_of_the_p99_interval() -> None:
    """At n = 1000 the p99 interval spans sample quantiles .983-.997, at 5000 .9872-.9928."""
    assert interval_ranks(1000, 99) == (983, 997)
    assert interval_ranks(5000, 99) == (4936, 4964)


def test_nearest_rank_of_a_coordinated_omission_example() -> None:
    """449 calls of 10 ms and one of 500 ms: p99 by rank ceil(.99 n) is 10 ms.

    Back-filled for a 10 ms interval the same data has p99 460 and p99.9 500 ms
    (engnotes.dev, "part 4" on coordinated omission).
    """
    seen = np.array([10.0] * 449 + [500.0])
    filled = np.concatenate([seen, np.arange(490.0, 0, -10)])
    assert len(filled) == 499
    assert percentile(seen, 99).value == 10
    assert percentile(filled, 99).value == 460
    assert np.sort(filled)[nearest_rank(499, 99.9) - 1] == 500


@given(st.integers(1, 5000), st.floats(0.1, 99.9))
def test_coverage_is_at_least_what_is_promised(count: int, percent: float) -> None:
    ranks = interval_ranks(count, percent)
    if ranks is None:
        return
    low, high = ranks
    below = stats.binom(count, percent / 100)
    assert 1 <= low <= nearest_rank(count, percent) <= high <= count
    assert below.cdf(high - 1) - below.cdf(low - 1) >= 0.95 - 1e-9


@given(
    st.lists(st.floats(0, 100), min_size=1, max_size=400),
    st.sampled_from([50.0, 90.0, 95.0, 99.0]),
)
def test_value_lies_between_the_ends_and_at_least_that_share_is_not_above_it(
    values: list[float], percent: float
) -> None:
    estimate = percentile(np.array(values), percent)
    assert estimate.n == len(values)
    if estimate.value is None:
        assert len(values) < values_for_percentile(percent)
        assert estimate.warnings == (
            refusal(
                "percentile.few_calls",
                percent=percent,
                needed=values_for_percentile(percent),
                calls=len(values),
            ),
        )
        return
    not_above = sum(value <= estimate.value for value in values)
    assert not_above >= math.floor(percent / 100 * len(values))
    if estimate.low is None or estimate.high is None:
        assert [each.code for each in estimate.warnings] == ["percentile.no_interval"]
    else:
        assert estimate.low <= estimate.value <= estimate.high


def test_a_percentile_among_censored_calls_is_called_a_lower_bound() -> None:
    values = np.array([0.1] * 90 + [10.0] * 10)
    assert not is_lower_bound(percentile(values, 50, censored=10))
    assert percentile(values, 95, censored=10).warnings == (
        warning("percentile.lower_bound", percent=95, cut_calls=10),
    )
    assert is_lower_bound(percentile(values, 95, censored=10))


@given(st.lists(st.floats(0, 100), max_size=600), st.integers(0, 50))
def test_several_percentiles_at_once_are_the_ranks_of_the_sorted_values(
    values: list[float], censored: int
) -> None:
    given_values = np.array(values)
    ordered = sorted(values)
    found = percentiles(given_values, (50.0, 95.0, 99.0), censored=censored)
    assert given_values.tolist() == values  # the order of the calls is not touched
    for percent, estimate in found.items():
        assert estimate == percentile(given_values, percent, censored=censored)
        if estimate.value is None:
            continue
        assert estimate.value == ordered[nearest_rank(len(values), percent) - 1]
        assert estimate.value == value_at_rank(given_values, percent)
        ranks = interval_ranks(len(values), percent)
        expected = (ordered[ranks[0] - 1], ordered[ranks[1] - 1]) if ranks else (None, None)
        assert (estimate.low, estimate.high) == expected


def test_the_rank_of_few_values_is_known_though_no_percentile_of_them_is() -> None:
    assert value_at_rank(np.array([3.0, 1.0, 2.0]), 95) == 3
    assert percentile(np.array([3.0, 1.0, 2.0]), 95).value is None
