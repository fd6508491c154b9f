"""What so many runs can find, held against simulated comparisons."""

import math

import numpy as np
import pytest

from mwaa_headroom.analysis.comparison.rank_tests import (
    MOST_RUNS,
    detectable_shift,
    runs_needed,
    shift,
    spread,
)

TAIL = 0.025
MARGIN = math.log(1.05)


@pytest.mark.parametrize("count", [4, 5, 8])
def test_a_detectable_change_is_found_four_times_out_of_five(count: int) -> None:
    found = detectable_shift(count, count, 0.03, MARGIN, TAIL)
    assert found is not None
    random = np.random.default_rng(count)
    lows = [
        shift(random.normal(0, 0.03, count), random.normal(found, 0.03, count), TAIL).low
        for _ in range(1500)
    ]

    assert np.mean([low is not None and low > MARGIN for low in lows]) == pytest.approx(
        0.8, abs=0.04
    )


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
