"""The order of runs: which sides take turns, and which drift is more than chance."""

import numpy as np
import pytest
from scipy import stats

from mwaa_headroom.analysis.comparison.run_order import (
    Order,
    drift_per_place,
    drifts_per_place,
    order_of,
)


def order(sides: str) -> Order:
    baseline, contender = ([p for p, side in enumerate(sides) if side == s] for s in "AB")
    return order_of(baseline, contender)


@pytest.mark.parametrize(
    ("sides", "takes_turns", "one_side_first"),
    [
        ("ABABABABAB", True, False),
        ("ABBAABBA", True, False),
        ("AABBAABBAABB", True, False),
        ("AAAAABBBBB", False, True),
        ("BBBBBAAAAA", False, True),
        ("AAABBBAAABBB", False, False),
        ("AAAAABABBBBB", False, False),
    ],
)
def test_turns(sides: str, takes_turns: bool, one_side_first: bool) -> None:
    found = order(sides)

    assert (found.takes_turns, found.one_side_first) == (takes_turns, one_side_first)


def test_places_are_those_of_the_starts_and_gaps_do_not_count() -> None:
    assert order_of([30.0, 10.0], [20.0, 5000.0]) == Order((2, 0), (1, 3))


NOISE = np.random.default_rng(0).normal(0, 0.02, (2, 6))


@pytest.mark.parametrize("sides", ["ABABABABABAB", "AAAAAABBBBBB"])
def test_a_drift_is_told_from_the_difference_of_the_sides(sides: str) -> None:
    places = [np.array(own) for own in (order(sides).baseline, order(sides).contender)]
    still = (NOISE[0], 1.0 + NOISE[1])
    drifting = [own + 0.03 * place for own, place in zip(still, places, strict=True)]

    assert drift_per_place(*still, places) is None
    assert drift_per_place(*drifting, places) == pytest.approx(0.03, abs=0.006)


def test_equal_values_do_not_drift_and_a_line_does() -> None:
    places = [np.array([0, 2, 4]), np.array([1, 3, 5])]

    assert drift_per_place(np.ones(3), np.ones(3), places) is None
    assert drift_per_place(places[0] / 8, places[1] / 8, places) == pytest.approx(1 / 8)


def test_three_values_have_no_drift() -> None:
    assert (
        drift_per_place(np.array([1.0, 2.0]), np.array([9.0]), [np.arange(2), np.array([2])])
        is None
    )


def test_drifts_of_many_sessions_are_those_of_a_regression_with_its_t() -> None:
    own = order("AABABBABAB")
    model = np.column_stack([np.ones(10), np.repeat([0, 1], 5), np.concatenate(own.places)])
    sessions = np.random.default_rng(1).normal(size=(40, 10)) + 0.15 * model[:, 2]
    expected = []
    for values in sessions:
        fitted, (squares,), *_ = np.linalg.lstsq(model, values, rcond=None)
        error = np.sqrt(squares / 7 * np.linalg.inv(model.T @ model)[2, 2])
        is_drift = 2 * stats.t.sf(abs(fitted[2]) / error, 7) < 0.05
        expected.append(fitted[2] if is_drift else np.nan)

    found = drifts_per_place(sessions, own.places)

    assert 0 < np.isnan(found).sum() < 40
    assert found.tolist() == pytest.approx(expected, nan_ok=True)
