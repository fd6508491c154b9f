import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sizing_by_hand import estimate

from mwaa_headroom.analysis.sizing.probability import pool
from mwaa_headroom.analysis.statistics import Estimate


def test_one_run_speaks_for_itself() -> None:
    own = estimate(10)

    assert pool([own]).estimate is own
    assert math.isinf(pool([own]).freedom)


def test_two_runs_that_agree_are_surer_than_one() -> None:
    pooled = pool([estimate(10, 0.03), estimate(10, 0.04)]).estimate
    z = math.log((pooled.high or 0) / 10) / stats.norm.ppf(0.975)

    assert pooled.value == pytest.approx(10)
    assert z == pytest.approx(0.025, rel=1e-3)  # sqrt(0.03^2 + 0.04^2) / 2


def test_two_runs_that_disagree_are_no_surer_than_their_difference() -> None:
    pooled = pool([estimate(9, 0.01), estimate(11, 0.01)])
    s = math.log(11 / 9) / 2

    assert pooled.estimate.low == pytest.approx(
        math.sqrt(99) * math.exp(-stats.t.ppf(0.975, 1) * s)
    )
    assert pooled.estimate.n == 80
    assert pooled.freedom == 1
    assert math.isinf(pool([estimate(10, 0.02), estimate(10.001, 0.02)]).freedom)


def test_two_runs_of_which_one_is_open_and_which_agree_are_open() -> None:
    """An interval that knows no end has no error to set against the difference."""
    found = pool([Estimate(10, 0.0, 12), estimate(11)]).estimate

    assert (found.low, found.high) == (None, None)
    assert found.value == pytest.approx(math.sqrt(110))


def test_three_runs_have_a_t_interval() -> None:
    values = [9.0, 10.0, 11.0]
    pooled = pool([estimate(value) for value in values])
    logs = np.log(values)
    low, high = stats.t.interval(0.95, 2, logs.mean(), logs.std(ddof=1) / math.sqrt(3))

    assert pooled.estimate.low == pytest.approx(math.exp(low))
    assert pooled.estimate.high == pytest.approx(math.exp(high))
    assert pooled.freedom == 2


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=6), st.floats(0.1, 10))
def test_the_unit_does_not_matter(values: list[float], factor: float) -> None:
    one = pool([estimate(value) for value in values]).times(factor).estimate
    other = pool([estimate(value * factor) for value in values]).estimate

    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_runs_without_a_value_do_not_count() -> None:
    nothing = Estimate(None, warnings=("Too few periods.",))

    assert pool([nothing, estimate(10)]).runs == 1
    assert pool([nothing]).estimate.warnings == ("Too few periods.",)
    assert pool([]).estimate.value is None


def test_a_value_of_nothing_cannot_be_pooled() -> None:
    assert pool([Estimate(0.0, 0.0, 1.0), estimate(10)]).belief is None


@pytest.mark.parametrize("runs", [2, 3, 6])
@pytest.mark.parametrize("hidden", [0.04, 0.1])
def test_it_covers_what_varies_from_run_to_run(runs: int, hidden: float) -> None:
    """Each run errs by 2 % and knows of it; it also differs by 4 or 10 % that no run knows of."""
    random = np.random.default_rng(7)
    logs = random.normal(0, math.hypot(0.02, hidden), (600, runs))
    covered = 0
    for row in logs:
        found = pool([estimate(math.exp(each), 0.02) for each in row]).estimate
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 1.0 <= found.high

    assert 0.93 <= covered / len(logs) <= 0.98
