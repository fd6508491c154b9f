"""The fit of service demands: standard errors by hand, coverage, and errors that last."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mwaa_headroom.analysis.demand_fit import Fit, condition_number, fit, least_squares

SLOPE, OFFSET = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def two_groups(one: list[float], other: list[float]) -> tuple[NDArray[np.float64], ...]:
    """A column for each; shifted to the same mean, so that all weights are equal."""
    first, second = np.array(one, dtype=float), np.array(other, dtype=float)
    second += first.mean() - second.mean()
    matrix = np.zeros((len(one) + len(other), 2))
    matrix[: len(one), 0] = 1
    matrix[len(one) :, 1] = 1
    return matrix, np.concatenate([first, second])


def test_the_difference_of_two_groups_has_welchs_standard_error() -> None:
    """HC2 is unbiased there: s1^2/n1 + s2^2/n2 (MacKinnon and White 1985)."""
    matrix, target = two_groups([10, 12, 9, 14], [3, 8, 13, 4, 5, 9, 7])
    found = least_squares(matrix, target)
    difference = np.array([1.0, -1.0])
    expected = target[:4].var(ddof=1) / 4 + target[4:].var(ddof=1) / 7
    assert found.fits.variances(difference) == pytest.approx(expected)


@pytest.mark.parametrize(("one", "other"), [(4, 7), (3, 27), (10, 10)])
def test_degrees_of_freedom_are_those_of_bell_and_mccaffrey(one: int, other: int) -> None:
    """Imbens and Kolesar 2016, section 2: for two groups in closed form."""
    random = np.random.default_rng(1)
    matrix, target = two_groups(
        random.normal(50, 1, one).tolist(), random.normal(50, 1, other).tolist()
    )
    freedom = (
        (one + other) ** 2 * (one - 1) * (other - 1) / (one**2 * (one - 1) + other**2 * (other - 1))
    )
    found = least_squares(matrix, target).fits.freedoms(np.array([1.0, -1.0]))
    assert found == pytest.approx(freedom)


def test_a_period_with_more_calls_counts_less_than_its_square() -> None:
    """With weights 1 / expected the fit through 0 is the ratio of the sums."""
    calls = np.array([1.0, 2.0, 30.0])
    cpu = np.array([0.5, 0.1, 4.0])
    assert least_squares(calls[:, None], cpu).bounded[0] == pytest.approx(
        cpu.sum() / calls.sum(), rel=0.1
    )


def test_columns_may_be_of_very_different_size() -> None:
    matrix = np.array([[1.0, 2e6], [3.0, 1e6], [5.0, 4e6], [2.0, 2e6]])
    assert least_squares(matrix, matrix @ [0.5, 1e-7]).bounded == pytest.approx([0.5, 1e-7])
    assert condition_number(matrix) == pytest.approx(condition_number(matrix * [1.0, 1e-6]))


def noisy(seed: int, *, background: float = 0.3) -> tuple[NDArray[np.float64], ...]:
    random = np.random.default_rng(seed)
    rates = random.uniform(2, 20, 12)
    matrix = np.column_stack([rates, np.ones(12)])
    return matrix, matrix @ [0.05, background] + 0.03 * np.sqrt(rates) * random.normal(size=12)


def line(x: float) -> NDArray[np.float64]:
    return x * SLOPE + OFFSET


def fitted(matrix: NDArray[np.float64], target: NDArray[np.float64]) -> Fit:
    return fit(matrix, target, 60.0 * np.arange(len(target)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 1.5))
def test_the_ends_of_a_crossing_are_where_the_line_may_just_reach_the_level(
    seed: int, level: float
) -> None:
    found = fitted(*noisy(seed))
    value, low, high = found.crossing(line, level, 20.0)
    assert low <= value
    assert high is None or value <= high
    if high is None or not 0 < low < value < high < 60:
        return  # at a bound
    assert found.interval(line(low))[2] == pytest.approx(level, rel=0.05)
    assert found.interval(line(high))[1] == pytest.approx(level, rel=0.05)


def test_a_slope_that_may_be_nothing_has_no_upper_crossing() -> None:
    random = np.random.default_rng(3)
    matrix = np.column_stack([random.uniform(9, 11, 12), np.ones(12)])
    value, low, high = fitted(matrix, random.normal(1, 0.3, 12)).crossing(line, 1.5, 10.0)
    assert high is None
    assert 0 <= low <= value


def test_what_costs_nothing_never_reaches_the_level() -> None:
    matrix = np.column_stack([np.arange(12.0), np.ones(12)])
    value, _, high = fitted(matrix, 2.0 - 0.1 * np.arange(12.0)).crossing(line, 3.0, 10.0)
    assert value == np.inf
    assert high is None


def test_many_rows_are_taken_together_and_say_the_same() -> None:
    random = np.random.default_rng(1)
    rates = np.repeat(random.uniform(2, 20, 100), 10)
    matrix = np.column_stack([rates, np.ones(1000)])
    target = matrix @ [0.05, 0.3] + 0.03 * np.sqrt(rates) * random.normal(size=1000)
    found = fitted(matrix, target)
    assert found.bounded == pytest.approx(least_squares(matrix, target).bounded, rel=0.05)
    assert found.rows <= 240


def test_errors_that_last_make_an_interval_wider() -> None:
    random = np.random.default_rng(2)
    rates = np.tile([4.0, 8.0, 12.0, 16.0, 20.0, 20.0, 16.0, 12.0, 8.0, 4.0], 4)
    matrix = np.column_stack([np.sort(rates), np.ones(40)])
    noise = 0.05 * random.normal(size=40)
    lasting = np.cumsum(noise) / 2
    assert fitted(matrix, matrix @ [0.05, 0.3] + noise).correlated < 0.5
    target = matrix @ [0.05, 0.3] + lasting
    found, blind = fitted(matrix, target), least_squares(matrix, target)
    assert found.correlated > 0.5
    _, low, high = found.interval(SLOPE)
    _, blind_low, blind_high = blind.interval(SLOPE)
    assert high - low > 1.5 * (blind_high - blind_low)


@pytest.mark.parametrize("background", [0.0, 0.3], ids=["at the bound", "inside"])
def test_intervals_cover_as_often_as_they_promise(background: float) -> None:
    """200 seeded fits; at a true 95 % a count outside 90.5-98.5 % has a chance of .01.

    The background's may cover more often: below 0 there is nothing to miss.
    """
    truths = {"slope": 0.05, "offset": background, "crossing": (1.2 - background) / 0.05}
    covered = dict.fromkeys(truths, 0)
    for seed in range(200):
        found = fitted(*noisy(seed, background=background))
        _, low, high = found.crossing(line, 1.2, 20.0)
        ends = {
            "slope": found.interval(SLOPE)[1:],
            "offset": found.interval(OFFSET)[1:],
            "crossing": (low, np.inf if high is None else high),
        }
        for name, truth in truths.items():
            covered[name] += ends[name][0] <= truth <= ends[name][1]
    assert min(covered.values()) >= 181, covered
    assert max(covered["slope"], covered["crossing"]) <= 197, covered
