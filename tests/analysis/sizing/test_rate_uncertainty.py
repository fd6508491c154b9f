"""Probabilities of counts, pooled runs, and what to measure where a count is open."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sizing_by_hand import estimate

from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.sizing.one_run import webservers_for
from mwaa_headroom.analysis.sizing.rate_uncertainty import (
    UncertainRate,
    is_open,
    of_one_run,
    open_question,
    pool,
    spread_between_runs,
    what_would_decide,
)
from mwaa_headroom.analysis.statistics import Estimate

COUNTS = range(2, 6)


def known(
    value: float, low: float | None, high: float | None, freedom: float = math.inf
) -> UncertainRate:
    return UncertainRate(Estimate(value, low, high), freedom=freedom)


values = st.floats(0.1, 100)
widths = st.floats(1.001, 3)
freedoms = st.sampled_from([1.0, 2.0, 9.0, math.inf])


@given(values, widths, widths, freedoms)
def test_the_ends_of_the_interval_have_their_probabilities(
    value: float, below: float, above: float, freedom: float
) -> None:
    belief = known(value, value / below, value * above, freedom)
    chances = belief.at_least([value / below, value, value * above])

    assert chances == pytest.approx([0.975, 0.5, 0.025], abs=1e-6)


@given(values, widths, freedoms, st.lists(st.floats(0, 300), min_size=2, max_size=9))
def test_more_is_never_more_probable(
    value: float, width: float, freedom: float, amounts: list[float]
) -> None:
    chances = known(value, value / width, value * width, freedom).at_least(sorted(amounts))

    assert (np.diff(chances) <= 1e-12).all()
    assert ((chances >= 0) & (chances <= 1)).all()


@given(values, widths, st.floats(0.1, 300), st.floats(0.1, 10))
def test_a_multiple_is_as_probable(value: float, width: float, amount: float, k: float) -> None:
    belief = known(value, value / width, value * width)

    assert belief.times(k).at_least(amount * k) == pytest.approx(float(belief.at_least(amount)))


def test_it_is_a_normal_distribution_on_the_logarithm() -> None:
    belief = known(10.0, 10 / math.exp(0.196), 10 * math.exp(0.196))
    z = math.log(11 / 10) / (0.196 / stats.norm.ppf(0.975))

    assert float(belief.at_least(11)) == pytest.approx(1 - stats.norm.cdf(z))


def test_an_interval_without_width_is_certainty() -> None:
    assert known(10, 10, 10).at_least([0, 9.99, 10, 10.01]).tolist() == [1, 1, 1, 0]


def test_an_unknown_end_leaves_one_half() -> None:
    assert known(10, 9, None).at_least([9, 20, 1000]) == pytest.approx([0.975, 0.5, 0.5])
    assert known(10, 0.0, 11).at_least([0.1, 11]) == pytest.approx([0.5, 0.025])


def test_everything_is_at_least_nothing() -> None:
    """A minute of a trace without calls."""
    assert float(known(10, 0.0, 12).at_least(0)) == 1
    assert known(10, None, 12).at_least([0, 5]).tolist() == [1, 0.5]


def test_below_an_open_end_nothing_speaks_against_it() -> None:
    found = known(10, 0.0, 11).at_least_at_most([0.1, 9.9, 10, 11])

    assert found == pytest.approx([1, 1, 0.5, 0.025])
    assert known(10, 9, 11).at_least_at_most([9, 11]) == pytest.approx([0.975, 0.025])


@pytest.mark.parametrize("nothing", [Estimate(None), Estimate(0.0, 0.0, 1.0)])
def test_without_a_value_above_zero_nothing_is_known(nothing: Estimate) -> None:
    assert not UncertainRate(nothing).is_known


def test_one_run_speaks_for_itself() -> None:
    own = estimate(10)

    assert pool([own]).estimate is own
    assert math.isinf(pool([own]).freedom)


def test_until_three_runs_are_there_like_runs_are_taken_to_differ() -> None:
    own = estimate(10, 0.03)
    one, two, three = (pool([own] * count, 0.15) for count in (1, 2, 3))
    z = stats.norm.ppf(0.975)
    assert one.estimate.high == pytest.approx(10 * math.exp(z * math.hypot(0.03, 0.15)), rel=0.01)
    assert one.estimate.low == pytest.approx(100 / (one.estimate.high or 0.0), rel=0.01)
    expected = 10 * math.exp(z * math.hypot(0.03, 0.15) / 2**0.5)
    assert two.estimate.high == pytest.approx(expected, rel=0.01)
    assert three.estimate.high == pytest.approx(10)  # they told: they do not differ
    assert (one.between, two.between, three.between) == (0.15, 0.15, 0.0)


def test_only_more_runs_decide_what_is_open_because_runs_may_differ() -> None:
    found = what_would_decide(
        25, of_one_run(estimate(10, 0.01), 0.15), COUNTS, periods=40, utilisation_target=0.7
    )
    assert found is not None
    assert found.values["more_runs"] >= 2


def test_webservers_of_a_simulation_do_not_differ_from_run_to_run() -> None:
    assert spread_between_runs("simulated") == 0 < spread_between_runs("aws")
    assert spread_between_runs("local") == spread_between_runs("aws")


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
    why = refusal("demand.few_periods")
    nothing = Estimate(None, warnings=(why,))

    assert pool([nothing, estimate(10)]).runs == 1
    assert pool([nothing]).estimate.warnings == (why,)
    assert pool([]).estimate.value is None


def test_a_value_of_nothing_cannot_be_pooled() -> None:
    assert pool([Estimate(0.0, 0.0, 1.0), estimate(10)]).is_known is False


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


def test_one_count_leaves_nothing_open() -> None:
    assert open_question(25, Estimate(10, 9.5, 10.5), COUNTS) is None


def test_two_counts_leave_the_smaller_in_question() -> None:
    found = open_question(20, Estimate(9.8, 9.0, 10.5), COUNTS)

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
    assert open_question(rate_per_s, Estimate(9.9, 9.5, 10.3), COUNTS) is None, why


def test_of_several_the_hardest_to_tell_is_in_question() -> None:
    # 30 calls/s need 3 at 10.2 each; the interval goes from 2 (at 15) to 4 (at 9)
    found = open_question(30, Estimate(10.2, 9.0, 15.0), COUNTS)

    assert found is not None
    assert found.webservers == 3


@given(st.floats(1, 100), st.floats(2, 30), st.floats(0.001, 0.3))
def test_it_is_open_exactly_when_the_counts_differ(
    rate_per_s: float, one_per_s: float, error: float
) -> None:
    one = estimate(one_per_s, error)
    low, high = (webservers_for(rate_per_s, end) for end in (one.high, one.low))
    found = open_question(rate_per_s, one, range(1, 1001))

    assert (found is not None) == (low != high)


def decided(
    one: Estimate, *, periods: int, runs: int = 1, period_s: float | None = None
) -> Finding:
    """What would decide at 20 calls/s."""
    belief = UncertainRate(one, runs, runs - 1.0 if runs > 1 else math.inf)
    found = what_would_decide(
        20, belief, COUNTS, periods=periods, utilisation_target=0.7, period_s=period_s
    )
    assert found is not None
    return found


def test_periods_needed_go_with_the_square_of_the_width() -> None:
    needed = math.ceil(40 * (math.log(10.5 / 9.8) / math.log(10 / 9.8)) ** 2)

    found = decided(Estimate(9.8, 9.0, 10.5), periods=40)

    assert found.code == "sizing.close"
    assert (found.values["webservers"], found.values["periods"]) == (2, needed)


def test_a_clear_case_still_needs_enough_periods_for_an_interval() -> None:
    assert decided(Estimate(8.0, 7.5, 10.5), periods=6).values["periods"] == 10


@pytest.mark.parametrize(
    ("period_s", "says"),
    [
        (None, "for 10 metric periods."),
        (60, "for about 10 min (10 metric periods)."),
        (1, "for about 10 s (10 metric periods)."),
        (1800, "for about 5 h (10 metric periods)."),
    ],
)
def test_periods_are_told_as_time(period_s: float | None, says: str) -> None:
    assert told(decided(Estimate(8.0, 7.5, 10.5), periods=6, period_s=period_s)).endswith(says)


def test_a_border_cannot_be_measured() -> None:
    found = decided(Estimate(10.0001, 9.0, 11.0), periods=40)

    assert (found.code, found.values["webservers"]) == ("sizing.too_close", 2)


@pytest.mark.parametrize(
    ("one", "runs", "periods", "more"),
    [
        pytest.param(Estimate(10.3, 9.7, 11.0), 3, 120, 3, id="three runs that differ"),
        pytest.param(Estimate(11.5, 8.0, 16.5), 2, 80, 1, id="two runs that differ"),
    ],
)
def test_where_runs_differ_more_runs_are_needed(
    one: Estimate, runs: int, periods: int, more: int
) -> None:
    found = decided(one, runs=runs, periods=periods)

    assert (found.values["more_runs"], found.values["periods"]) == (more, 40)


def test_an_open_interval_needs_more_periods() -> None:
    assert decided(Estimate(10, None, None), periods=40).code == "sizing.more_periods"


def test_when_the_count_is_clear_nothing_needs_to_be_measured() -> None:
    one = UncertainRate(Estimate(10, 9.5, 10.5))
    assert what_would_decide(25, one, COUNTS, periods=40, utilisation_target=0.7) is None


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
    assert is_open(rate_per_s, one, COUNTS) is open_
