import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sizing_by_hand import estimate

from mwaa_headroom.analysis.sizing.one_run import webservers_for
from mwaa_headroom.analysis.sizing.probability import (
    deciding_measurement,
    is_open,
    missing_stage,
    open_question,
)
from mwaa_headroom.analysis.statistics import Estimate

CPU = "stay below 70 % CPU"


def test_one_count_leaves_nothing_open() -> None:
    assert open_question(25, Estimate(10, 9.5, 10.5), fewest=2, most=5) is None


def test_two_counts_leave_the_smaller_in_question() -> None:
    found = open_question(20, Estimate(9.8, 9.0, 10.5), fewest=2, most=5)

    assert found is not None
    assert found.webservers == 2
    assert found.distance == pytest.approx(math.log(10 / 9.8))
    assert found.half_width == pytest.approx(math.log(10.5 / 9.8))


@pytest.mark.parametrize(
    ("rate_per_s", "why"),
    [
        pytest.param(10, "one or two: two is the fewest one may set anyway", id="below"),
        pytest.param(60, "six or seven: neither may be set", id="above"),
    ],
)
def test_what_cannot_be_set_is_not_in_question(rate_per_s: float, why: str) -> None:
    assert open_question(rate_per_s, Estimate(9.9, 9.5, 10.3), fewest=2, most=5) is None, why


def test_of_several_the_hardest_to_tell_is_in_question() -> None:
    # 30 calls/s need 3 at 10.2 each; the interval goes from 2 (at 15) to 4 (at 9)
    found = open_question(30, Estimate(10.2, 9.0, 15.0), fewest=2, most=5)

    assert found is not None
    assert found.webservers == 3


@given(st.floats(1, 100), st.floats(2, 30), st.floats(0.001, 0.3))
def test_it_is_open_exactly_when_the_counts_differ(
    rate_per_s: float, one_per_s: float, error: float
) -> None:
    one = estimate(one_per_s, error)
    low, high = (webservers_for(rate_per_s, end) for end in (one.high, one.low))
    found = open_question(rate_per_s, one, fewest=1, most=1000)

    assert (found is not None) == (low != high)


def test_periods_needed_go_with_the_square_of_the_width() -> None:
    question = open_question(20, Estimate(9.8, 9.0, 10.5), fewest=2, most=5)
    assert question is not None
    needed = math.ceil(40 * (math.log(10.5 / 9.8) / math.log(10 / 9.8)) ** 2)

    said = deciding_measurement(20, question, periods=40, criterion=CPU)

    assert "Whether 2 webservers stay below 70 % CPU at 20 calls/s or 3 are needed" in said
    assert "MinWebservers = MaxWebservers = 2" in said
    assert f"for {needed} metric periods" in said


def test_a_clear_case_still_needs_enough_periods_for_an_interval() -> None:
    question = open_question(20, Estimate(8.0, 7.5, 10.5), fewest=2, most=5)
    assert question is not None

    assert "for 10 metric periods" in deciding_measurement(20, question, periods=6, criterion=CPU)


@pytest.mark.parametrize(("period_s", "says"), [(60, "10 min"), (1, "10 s"), (1800, "5 h")])
def test_periods_are_told_as_time(period_s: float, says: str) -> None:
    question = open_question(20, Estimate(8.0, 7.5, 10.5), fewest=2, most=5)
    assert question is not None

    said = deciding_measurement(20, question, periods=6, criterion=CPU, period_s=period_s)

    assert f"for about {says} (10 metric periods)" in said


def test_a_border_cannot_be_measured() -> None:
    question = open_question(20, Estimate(10.0001, 9.0, 11.0), fewest=2, most=5)
    assert question is not None

    said = deciding_measurement(20, question, periods=40, criterion=CPU)

    assert "too close to be decided by measuring: take 3" in said


def test_where_runs_differ_more_runs_are_needed() -> None:
    question = open_question(20, Estimate(10.3, 9.7, 11.0), fewest=2, most=5)
    assert question is not None

    said = deciding_measurement(20, question, periods=120, runs=3, criterion=CPU)

    assert "in 3 more runs for 40 metric periods each" in said


@pytest.mark.parametrize(
    ("one", "rate_per_s", "open_"),
    [
        pytest.param(Estimate(10, 0.0, 12), 20, True, id="two may be too few"),
        pytest.param(Estimate(10, 0.0, 12), 61, False, id="five are too few anyway"),
        pytest.param(Estimate(10, 8, None), 20, True, id="two may be enough"),
        pytest.param(Estimate(10, 8, None), 15, False, id="two are enough anyway"),
        pytest.param(Estimate(10, None, None), 1, True, id="nothing is known"),
        pytest.param(Estimate(10, 8, 12), 20, False, id="both ends are known"),
        pytest.param(Estimate(None), 20, False, id="no value"),
    ],
)
def test_an_end_that_is_not_known_leaves_counts_open(
    one: Estimate, rate_per_s: float, open_: bool
) -> None:
    assert is_open(rate_per_s, one, fewest=2, most=5) is open_


def test_the_missing_stage_decides() -> None:
    said = missing_stage(Estimate(15.5, 0.0, 18, warnings=("Add a stage at about 10 calls/s.",)))

    assert said.endswith("not known well enough. Add a stage at about 10 calls/s.")


def test_two_runs_that_differ_need_a_third() -> None:
    question = open_question(20, Estimate(11.5, 8.0, 16.5), fewest=2, most=5)
    assert question is not None

    said = deciding_measurement(20, question, periods=80, runs=2, criterion=CPU)

    assert "in a further run for 40 metric periods." in said
