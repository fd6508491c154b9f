import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.findings import note, refusal
from mwaa_headroom.analysis.results import DemandResult, PeriodPoint
from mwaa_headroom.analysis.scaling.cost import elasticity, provisioning
from mwaa_headroom.analysis.statistics import Estimate

counts = st.integers(1, 5)


def demand(rate_per_webserver_per_s: float | None) -> DemandResult:
    nothing = Estimate(None)
    rate = Estimate(rate_per_webserver_per_s)
    return DemandResult(nothing, {}, None, None, nothing, rate, 20)


def points(webservers: list[int | None], offered_per_s: list[float]) -> list[PeriodPoint]:
    return [
        PeriodPoint(
            start_s=1000.0 + 60 * index,
            period_s=60.0,
            webservers=count,
            cpu_percent=None,
            cpu_max_percent=None,
            memory_percent=None,
            connections=None,
            offered_per_s=offered,
            achieved_per_s=offered,
            goodput_per_s=offered,
            errors_per_s=0.0,
        )
        for index, (count, offered) in enumerate(zip(webservers, offered_per_s, strict=True))
    ]


def test_two_step_functions_by_hand() -> None:
    """Ten steps of 60 s, worked out on paper after N. Herbst et al., arXiv:1604.03470.

    Lacking: steps 3 and 4, 2 of 4 each -> 2 * 0.5 / 10. Too many: 1 of 3, 1 of 3, 2 of 2, 1 of 2
    -> 2.1667 / 10.
    """
    needed = np.array([2, 2, 4, 4, 4, 3, 3, 2, 2, 2], dtype=float)
    had = np.array([2, 2, 2, 2, 4, 4, 4, 4, 3, 2], dtype=float)
    found = provisioning(needed, had, 60.0)
    assert found.under_provisioned == pytest.approx(0.10)
    assert found.over_provisioned == pytest.approx(0.21667, abs=1e-5)
    assert found.under_time == pytest.approx(0.2)
    assert found.over_time == pytest.approx(0.4)
    assert found.duration_s == 600.0


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=60))
def test_laws_of_the_metrics(pairs: list[tuple[int, int]]) -> None:
    needed, had = np.array(pairs, dtype=float).T
    found = provisioning(needed, had, 5.0)
    swapped = provisioning(had, needed, 5.0)
    assert found.under_time is not None
    assert found.over_time is not None
    assert found.under_provisioned is not None
    assert 0 <= found.under_provisioned <= found.under_time <= 1
    assert found.under_time + found.over_time <= 1 + 1e-12
    assert found.under_time == swapped.over_time


@given(st.lists(counts, min_size=1, max_size=60))
def test_who_always_has_what_is_needed_is_perfect(wanted: list[int]) -> None:
    needed = np.array(wanted, dtype=float)
    found = provisioning(needed, needed, 5.0)
    assert found.under_provisioned == found.over_provisioned == 0
    assert found.under_time == found.over_time == 0


def test_the_need_is_the_load_over_what_one_webserver_takes() -> None:
    # 10 per webserver: needed are 2 (at least), 3 (30 exactly), 4, 6 (more than the most)
    found = elasticity(
        points([2, 2, 4, 5], [5.0, 30.0, 31.0, 60.0]),
        demand(10.0),
        min_webservers=2,
        max_webservers=5,
    )
    assert found is not None
    assert found.under_time == pytest.approx(2 / 4)
    assert found.under_provisioned == pytest.approx((1 / 3 + 1 / 6) / 4)
    assert found.over_time == 0
    assert found.refusal is None
    assert found.needed_by == note(
        "scaling.needed_by_demand",
        rate_per_webserver_per_s=10.0,
        least_webservers=2,
        most_webservers=5,
        above_most_fraction=0.25,
    )


def test_time_without_load_or_without_a_count_says_nothing() -> None:
    found = elasticity(
        points([5, 2, None, 2], [0.0, 5.0, 50.0, 5.0]),
        demand(10.0),
        min_webservers=1,
        max_webservers=5,
    )
    assert found is not None
    assert found.duration_s == 120.0
    assert found.over_time == 1.0


@pytest.mark.parametrize("known", [None, demand(None), demand(0.0)])
def test_without_a_demand_the_need_is_not_known(known: DemandResult | None) -> None:
    found = elasticity(points([2, 2], [5.0, 5.0]), known, min_webservers=1, max_webservers=5)
    assert found is not None
    assert found.under_provisioned is None
    assert found.refusal == refusal("scaling.no_demand")


def test_no_metrics_no_elasticity() -> None:
    assert elasticity([], demand(10.0), min_webservers=1, max_webservers=5) is None
    idle = points([2, None], [0.0, 5.0])
    assert elasticity(idle, demand(10.0), min_webservers=1, max_webservers=5) is None
