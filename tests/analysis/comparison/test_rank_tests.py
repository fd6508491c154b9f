"""Exact ranks: published examples, laws, and what so many runs can find."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mwaa_headroom.analysis.comparison.rank_tests import (
    MOST_RUNS,
    detectable_shift,
    fewest_per_side,
    interval_rank,
    p_above,
    p_different,
    runs_needed,
    shift,
    smallest_p,
    spread,
)
from mwaa_headroom.analysis.comparison.run_order import Order, drifts_per_place

# golang/perf@712aea8, cmd/benchstat/main.go, the example of its documentation (ns/op).
GOB_OLD = np.array([3069, 3075, 3069, 3067, 3207, 3064, 3064, 3058, 3059, 3062.0])
GOB_NEW = np.array([3075, 3065, 3059, 3065, 3060, 3081, 3186, 3135, 3087, 3062.0])
JSON_OLD = np.array([1726, 1723, 1707, 1707, 1713, 1729, 1736, 1707, 1705, 1774.0])
JSON_NEW = np.array([1423, 1416, 1411, 1413, 1412, 1426, 1422, 1424, 1447, 1425.0])

TAIL = 0.025
MARGIN = math.log(1.05)
values = st.floats(0.01, 100, allow_nan=False)
sides = st.lists(values, min_size=4, max_size=8).map(np.array)
tied_sides = st.lists(st.integers(1, 4), min_size=2, max_size=5).map(
    lambda numbers: np.array(numbers, dtype=float)
)


def test_benchstats_example_with_ties() -> None:
    """benchstat's documentation: gob p=0.446, json p=0.000 and -17.20 % of the medians."""
    assert p_different(GOB_OLD, GOB_NEW) == pytest.approx(0.446, abs=5e-4)
    assert p_different(JSON_OLD, JSON_NEW) == pytest.approx(0.000, abs=5e-4)
    assert np.median(JSON_NEW) / np.median(JSON_OLD) - 1 == pytest.approx(-0.1720, abs=5e-5)


def test_scipys_exact_method_is_not_exact_with_ties() -> None:
    """Why there is a distribution of our own; if this fails, scipy has learned it."""
    claimed = stats.mannwhitneyu(GOB_OLD, GOB_NEW, method="exact").pvalue

    assert abs(claimed - p_different(GOB_OLD, GOB_NEW)) > 0.03


@pytest.mark.parametrize(
    ("count", "two_sided"), [(3, 0.1), (4, 0.02857), (5, 0.00794), (6, 0.00216)]
)
def test_smallest_p(count: int, two_sided: float) -> None:
    """uTestMinP of golang/perf@712aea8, benchmath/anone.go."""
    assert 2 * smallest_p(count, count) == pytest.approx(two_sided, abs=5e-6)


@pytest.mark.parametrize(
    ("tail", "needed"), [(0.025, 4), (0.025 / 2, 5), (0.025 / 6, 5), (0.025 / 7, 6)]
)
def test_fewest_per_side(tail: float, needed: int) -> None:
    assert fewest_per_side(tail) == needed


@pytest.mark.parametrize(
    ("m", "n", "rank"), [(3, 3, 0), (4, 4, 1), (5, 5, 3), (6, 6, 6), (5, 8, 7), (10, 10, 24)]
)
def test_interval_ranks_of_the_usual_tables(m: int, n: int, rank: int) -> None:
    """Critical values of U at two-sided 5 %, plus one: 0, 2, 5, 6, 23 (Mann and Whitney 1947)."""
    assert interval_rank(m, n, TAIL) == rank


@given(tied_sides, tied_sides)
def test_p_is_that_of_dealing_out_all_values(x: np.ndarray, y: np.ndarray) -> None:
    ranks = stats.rankdata(np.concatenate([x, y]))
    observed = ranks[len(x) :].sum()
    deals = [ranks[list(chosen)].sum() for chosen in combinations(range(len(ranks)), len(y))]

    assert p_above(x, y) == pytest.approx(np.mean(np.array(deals) >= observed - 1e-9))


@given(sides, sides, st.floats(0.1, 10))
def test_a_scaled_side_scales_the_ratio(x: np.ndarray, y: np.ndarray, factor: float) -> None:
    plain = shift(np.log(x), np.log(y), TAIL)
    scaled = shift(np.log(x), np.log(factor * y), TAIL)

    assert np.exp(scaled.value) == pytest.approx(factor * np.exp(plain.value))


@given(sides, sides)
def test_swapping_the_sides_gives_the_reciprocal(x: np.ndarray, y: np.ndarray) -> None:
    there, back = (shift(np.log(a), np.log(b), TAIL) for a, b in ((x, y), (y, x)))

    assert there.low is not None
    assert back.high is not None
    assert np.exp(there.value) == pytest.approx(1 / np.exp(back.value))
    assert np.exp(there.low) == pytest.approx(1 / np.exp(back.high))
    assert p_different(x, y) == pytest.approx(p_different(y, x))


@given(sides, sides)
def test_the_interval_contains_the_estimate(x: np.ndarray, y: np.ndarray) -> None:
    found = shift(x, y, TAIL)

    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high


@given(st.integers(0, 10_000), st.integers(4, 8), st.integers(4, 8))
def test_the_interval_ends_where_the_test_begins_to_refuse(seed: int, m: int, n: int) -> None:
    random = np.random.default_rng(seed)
    x, y = random.normal(size=m), random.normal(0.5, size=n)
    low = shift(x, y, TAIL).low
    assert low is not None

    assert p_above(x + low - 1e-9, y) <= TAIL
    assert p_above(x + low + 1e-9, y) > TAIL


def test_too_few_values_have_no_interval() -> None:
    found = shift(np.array([1.0, 2, 3]), np.array([2.0, 3, 4]), TAIL)

    assert (found.value, found.low, found.high) == (1.0, None, None)


ORDERS = {
    "unknown": None,
    "turns": Order((0, 2, 4, 6, 8), (1, 3, 5, 7, 9)),
    "one side first": Order((0, 1, 2, 3, 4), (5, 6, 7, 8, 9)),
}


@pytest.mark.parametrize(
    ("order", "drift"),
    [("unknown", 0.0), ("turns", 0.0), ("turns", 0.03), ("one side first", 0.0)],
)
def test_a_detectable_change_is_found_four_times_out_of_five(order: str, drift: float) -> None:
    """By the spread that other runs of the same kind had; without turns, if no drift is found."""
    known, sessions = ORDERS[order], np.random.default_rng(5).normal(0, 0.03, (2, 3000, 10))
    if known:
        place = np.concatenate(known.places)
        sessions += drift * place
        drifts = drifts_per_place(sessions, known.places)
        if known.takes_turns:
            sessions -= np.nan_to_num(drifts)[..., None] * place
        else:
            sessions = sessions[:, np.isnan(drifts).all(axis=0)]
    found = []
    for earlier, now in zip(*sessions, strict=True):
        own = spread(earlier[:5], earlier[5:])
        change = detectable_shift(5, 5, own, MARGIN, TAIL, known, drifts=drift > 0)
        assert change is not None
        low = shift(now[:5], now[5:] + change, TAIL).low
        found.append(low is not None and low > MARGIN)

    assert np.mean(found) == pytest.approx(0.8, abs=0.02)


def test_the_runs_needed_let_equal_sides_pass_four_times_out_of_five() -> None:
    needed = runs_needed(0.04, MARGIN, TAIL)
    assert needed is not None
    random = np.random.default_rng(7)

    def passing(count: int) -> float:
        highs = [
            shift(random.normal(0, 0.04, count), random.normal(0, 0.04, count), TAIL).high
            for _ in range(1000)
        ]
        return float(np.mean([high is not None and high < MARGIN for high in highs]))

    assert passing(needed) >= 0.76
    assert passing(needed - 2) < 0.8


@pytest.mark.parametrize(
    ("spread_", "needed", "why"),
    [
        (0.0, 4, "even without any spread an interval needs 4 of each"),
        (1.0, None, "a spread of e needs more runs than anybody makes"),
    ],
)
def test_extremes(spread_: float, needed: int | None, why: str) -> None:
    assert runs_needed(spread_, MARGIN, TAIL) == needed, why


def test_a_larger_spread_needs_more_runs() -> None:
    needed = [runs_needed(each, MARGIN, TAIL) or MOST_RUNS + 1 for each in (0.01, 0.03, 0.06, 0.1)]

    assert needed == sorted(needed)
    assert needed[0] < needed[-1]


def test_three_runs_find_nothing() -> None:
    assert detectable_shift(3, 3, 0.03, MARGIN, TAIL) is None


def test_the_spread_is_within_the_sides() -> None:
    """By hand: squares 0.5 and 2, over 2 + 3 - 2 degrees of freedom."""
    x, y = np.array([1.0, 2.0]), np.array([101.0, 102.0, 103.0])

    assert spread(x, y) == pytest.approx(math.sqrt((0.5 + 2.0) / 3))
