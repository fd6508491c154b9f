from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sizing_by_hand import estimate, figures

from mwaa_headroom.analysis.findings import note, warning
from mwaa_headroom.analysis.planning.classes import CLASSES, EnvironmentClass
from mwaa_headroom.analysis.planning.count_probability import evidence_for
from mwaa_headroom.analysis.planning.loads import LoadWanted, load_between
from mwaa_headroom.analysis.planning.options import ClassSize, class_size, most_needed
from mwaa_headroom.analysis.planning.runs import SizedRun, rate_of_one
from mwaa_headroom.analysis.statistics import Estimate

SMALL, LARGE = CLASSES[1], CLASSES[3]
OPEN_BELOW = warning("capacity.open_below", lowest_per_s=15.5, next_per_s=10.0)


def size(
    load: LoadWanted, *runs: SizedRun, of: EnvironmentClass = SMALL, target: float = 0.7
) -> ClassSize:
    evidence = evidence_for(runs, of.webserver_cpu, target)
    return class_size(of, evidence, load, utilisation=target, periods=40)


def test_the_count_and_its_probability() -> None:
    # 40 ms a call: 17.5 calls/s at 70 %, so that 35 calls/s are just two
    found = size(load_between(34, 34), figures("a"))

    assert (found.webservers, found.webservers_low, found.webservers_high) == (2, 2, 3)
    assert found.chances[0].webservers == 2
    assert found.chances[0].probability == pytest.approx(0.926, abs=0.001)  # Phi(ln(35/34)/0.02)
    assert found.chances[1].probability > 0.999999
    assert found.deciding is not None
    assert (found.deciding.code, found.deciding.values["webservers"]) == ("sizing.close", 2)
    assert most_needed(found) == 3


def test_a_range_is_as_probable_as_its_rates_on_average() -> None:
    found = size(load_between(30, 40), figures("a", error=1e-6))

    assert found.chances[0].probability == pytest.approx(0.5, abs=0.01)  # up to 35 of 30 to 40
    assert found.chances[0].probability_at_peak < 1e-6


def test_twice_the_cpu_serves_twice_as_much() -> None:
    small, large = (size(load_between(60, 60), figures("a"), of=each) for each in (SMALL, LARGE))

    assert (small.webservers, large.webservers) == (4, 2)
    assert large.rate_of_one_per_s.value == pytest.approx(35)
    assert large.rate_of_one_per_s.low == pytest.approx(2 * (small.rate_of_one_per_s.low or 0))


def test_a_webservers_own_work_is_paid_once_per_webserver() -> None:
    """X_1 = (u V - U0) / D: (0.7 - 0.1) / 0.04 = 15, (1.4 - 0.1) / 0.04 = 32.5."""
    run = replace(
        figures("a"),
        background_cpu=Estimate(0.1, 0.09, 0.11),
        rate_of_one_per_s=estimate(15.0, 0.02),
    )

    assert rate_of_one([run], 1.0, 0.7).estimate.value == 15.0
    assert rate_of_one([run], 2.0, 0.7).estimate.value == pytest.approx(32.5)


def test_where_background_and_demand_err_against_each_other_a_larger_class_knows_less() -> None:
    """At V the errors cancel, so that X_1 is surer than D; far from V only D's error is left."""
    run = replace(
        figures("a", error=0.05),
        background_cpu=Estimate(0.1, 0.05, 0.15),
        rate_of_one_per_s=estimate(15.0, 0.015),
    )

    def width(cpu: float) -> float:
        found = rate_of_one([run], cpu, 0.7).estimate
        assert found.low is not None
        assert found.high is not None
        return found.high / found.low

    assert width(1.0) < width(2.0) < width(8.0) < run.demand_s.high / run.demand_s.low  # type: ignore[operator]


def test_the_slo_decides_where_it_was_measured() -> None:
    # CPU at 70 % allows 17.5 a webserver, the SLO broke at 24 on 2
    run = replace(
        figures("a"),
        capacity_per_s=estimate(24, 0.01),
        capacity_webservers=2,
        bottleneck="webserver_cpu",
    )
    found = size(load_between(30, 30), run)

    assert (found.webservers, found.webservers_high) == (2, 2)
    assert found.chances[0].probability < 1e-6
    assert found.chances[1].probability > 0.999
    assert most_needed(found) == 3


def test_a_larger_class_scales_the_slos_rate_too() -> None:
    run = replace(
        figures("a"),
        capacity_per_s=estimate(24, 0.01),
        capacity_webservers=2,
        bottleneck="webserver_cpu",
    )
    found = size(load_between(30, 30), run, of=LARGE)

    assert found.capacity_of_one_per_s is not None
    assert found.capacity_of_one_per_s.value == pytest.approx(24)


@pytest.mark.parametrize("bottleneck", ["throttle", "database", "connections", "unknown"])
def test_what_is_not_for_want_of_cpu_does_not_move(bottleneck: str) -> None:
    run = replace(
        figures("a"),
        capacity_per_s=estimate(10, 0.01),
        capacity_webservers=2,
        bottleneck=bottleneck,
    )
    found = size(load_between(12, 12), run)

    assert found.webservers == 1
    assert max(chance.probability for chance in found.chances) < 1e-6
    assert not found.suffices


def test_a_capacity_without_a_lower_end_leaves_the_cpu_to_decide() -> None:
    """Two webservers broke the SLO at 15.5 (0-18.3) calls/s, their CPU allows 35."""
    run = replace(
        figures("a"),
        capacity_per_s=Estimate(15.5, 0.0, 18.3, warnings=(OPEN_BELOW,)),
        capacity_webservers=2,
        bottleneck="webserver_cpu",
    )
    low, high = (size(load_between(rate, rate), run) for rate in (2, 18.3))

    assert all(chance.probability > 0.999 for chance in low.chances)
    assert low.suffices
    assert high.chances[0].probability == pytest.approx(0.025)
    assert low.deciding == note("size.slo_rate_open", reasons=(OPEN_BELOW,))


def test_a_throttle_without_a_lower_end_forbids_nothing_below_it() -> None:
    run = replace(
        figures("a"),
        capacity_per_s=Estimate(10.0, 0.0, 12.0, warnings=(OPEN_BELOW,)),
        capacity_webservers=2,
        bottleneck="throttle",
    )
    below, above = (size(load_between(rate, rate), run) for rate in (5, 12))

    assert below.suffices
    assert above.chances[-1].probability == pytest.approx(0.025)
    assert below.deciding == note("size.slo_rate_open", reasons=(OPEN_BELOW,))


def test_a_demand_without_an_end_asks_for_more_periods() -> None:
    run = replace(figures("a"), rate_of_one_per_s=Estimate(17.5, 0.0, None))

    assert size(load_between(30, 30), run).deciding == note("sizing.more_periods")


def test_two_runs_that_differ_ask_for_more_runs() -> None:
    found = size(load_between(30, 30), figures("a", 0.04), figures("b", 0.044))

    assert found.deciding is not None
    assert found.deciding.values["more_runs"] > 0


def test_more_than_one_may_set_does_not_suffice() -> None:
    assert not size(load_between(100, 100), figures("a")).suffices
    assert size(load_between(80, 80), figures("a")).suffices


rates = st.floats(0.5, 200)
demands = st.floats(0.005, 0.2)
errors = st.floats(0.001, 0.2)


@given(rates, rates, demands, errors)
def test_more_load_never_needs_fewer(one: float, other: float, demand: float, error: float) -> None:
    run = figures("a", demand, error=error)
    less, more = (size(load_between(rate, rate), run) for rate in sorted((one, other)))

    assert (less.webservers or 0) <= (more.webservers or 0)
    assert (less.webservers_low or 0) <= (more.webservers_low or 0)
    assert (less.webservers_high or 0) <= (more.webservers_high or 0)
    assert most_needed(less) <= most_needed(more)
    for few, many in zip(less.chances, more.chances, strict=True):
        assert few.probability >= many.probability


@given(rates, demands, errors, st.floats(0, 0.3))
def test_more_vcpu_never_needs_more(
    rate: float, demand: float, error: float, background: float
) -> None:
    run = replace(
        figures("a", demand, error=error),
        background_cpu=Estimate(background, 0.9 * background, 1.1 * background),
        rate_of_one_per_s=estimate((0.7 - background) / demand, error),
    )
    found = [size(load_between(rate, rate), run, of=each) for each in CLASSES[1:]]

    for smaller, larger in pairwise(found):
        assert (larger.webservers or 0) <= (smaller.webservers or 0)
        assert (larger.webservers_high or 0) <= (smaller.webservers_high or 0)


@given(rates, demands, errors)
def test_each_webserver_more_is_surer(rate: float, demand: float, error: float) -> None:
    found = size(load_between(rate / 2, rate), figures("a", demand, error=error))
    chances = [chance.probability for chance in found.chances]

    assert chances == sorted(chances)
    assert all(each.probability >= each.probability_at_peak - 1e-12 for each in found.chances)


@given(rates, demands, errors)
def test_the_interval_holds_the_count(rate: float, demand: float, error: float) -> None:
    found = size(load_between(rate, rate), figures("a", demand, error=error))

    assert found.webservers_low is not None
    assert found.webservers is not None
    assert found.webservers_high is not None
    assert found.webservers_low <= found.webservers <= found.webservers_high
