import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mwaa_headroom.analysis.sizing.probability import Belief, belief_of
from mwaa_headroom.analysis.statistics import Estimate

values = st.floats(0.1, 100)
widths = st.floats(1.001, 3)
freedoms = st.sampled_from([1.0, 2.0, 9.0, math.inf])


@given(values, widths, widths, freedoms)
def test_the_ends_of_the_interval_have_their_probabilities(
    value: float, below: float, above: float, freedom: float
) -> None:
    belief = Belief(value, value / below, value * above, freedom)
    chances = belief.at_least([value / below, value, value * above])

    assert chances == pytest.approx([0.975, 0.5, 0.025], abs=1e-6)


@given(values, widths, freedoms, st.lists(st.floats(0, 300), min_size=2, max_size=9))
def test_more_is_never_more_probable(
    value: float, width: float, freedom: float, amounts: list[float]
) -> None:
    chances = Belief(value, value / width, value * width, freedom).at_least(sorted(amounts))

    assert (np.diff(chances) <= 1e-12).all()
    assert ((chances >= 0) & (chances <= 1)).all()


@given(values, widths, st.floats(0.1, 300), st.floats(0.1, 10))
def test_a_multiple_is_as_probable(value: float, width: float, amount: float, k: float) -> None:
    belief = Belief(value, value / width, value * width)

    assert belief.times(k).at_least(amount * k) == pytest.approx(float(belief.at_least(amount)))


def test_it_is_a_normal_distribution_on_the_logarithm() -> None:
    belief = Belief(10.0, 10 / math.exp(0.196), 10 * math.exp(0.196))
    z = math.log(11 / 10) / (0.196 / stats.norm.ppf(0.975))

    assert float(belief.at_least(11)) == pytest.approx(1 - stats.norm.cdf(z))


def test_an_interval_without_width_is_certainty() -> None:
    assert Belief(10, 10, 10).at_least([0, 9.99, 10, 10.01]).tolist() == [1, 1, 1, 0]


def test_an_unknown_end_leaves_one_half() -> None:
    assert Belief(10, 9, None).at_least([9, 20, 1000]) == pytest.approx([0.975, 0.5, 0.5])
    assert Belief(10, 0.0, 11).at_least([0.1, 11]) == pytest.approx([0.5, 0.025])


def test_everything_is_at_least_nothing() -> None:
    """A minute of a trace without calls."""
    assert float(Belief(10, 0.0, 12).at_least(0)) == 1
    assert Belief(10, None, 12).at_least([0, 5]).tolist() == [1, 0.5]


def test_below_an_open_end_nothing_speaks_against_it() -> None:
    found = Belief(10, 0.0, 11).at_least_at_most([0.1, 9.9, 10, 11])

    assert found == pytest.approx([1, 1, 0.5, 0.025])
    assert Belief(10, 9, 11).at_least_at_most([9, 11]) == pytest.approx([0.975, 0.025])


@pytest.mark.parametrize("nothing", [None, Estimate(None), Estimate(0.0, 0.0, 1.0)])
def test_nothing_is_believed_without_a_value(nothing: Estimate | None) -> None:
    assert belief_of(nothing) is None
