import numpy as np
import pytest

from mwaa_headroom.analysis.findings import note
from mwaa_headroom.analysis.planning.bursts import (
    AllowedShares,
    Autoscaling,
    BurstCost,
    burst_cost,
    trace_cost,
)
from mwaa_headroom.analysis.policy.scaling_rule import PolicyParameters
from mwaa_headroom.analysis.policy.simulate import Workload

# 40 ms a call on 1 CPU: 25 calls/s use up a webserver, 17.5 make for 70 %
CALLS = Workload(0.04, 0.0, 1.0, latency_s=0.02, slow_after_s=0.8)
MINUTES = Autoscaling(PolicyParameters(), 60.0, (120.0,), note("size.start_assumed"))
ALLOWED = AllowedShares(slow=0.05, failed=None)


def burst(
    to_per_s: float, minimum: int, maximum: int, autoscaling: Autoscaling = MINUTES
) -> BurstCost:
    return burst_cost(
        CALLS,
        autoscaling,
        from_per_s=0.0,
        to_per_s=to_per_s,
        min_webservers=minimum,
        max_webservers=maximum,
        needed=-(-to_per_s // 17.5),  # type: ignore[arg-type]
        allowed=ALLOWED,
    )


def test_enough_webservers_need_no_time() -> None:
    found = burst(30, 2, 4)

    assert found.enough_after_s.value == 0
    assert found.slow_calls.high == pytest.approx(0, abs=1)


def test_scaling_out_takes_two_periods_and_a_start() -> None:
    """Two whole minutes above 70 % have to end, then 120 s pass: 240 to 300 s after the step."""
    found = burst(40, 2, 3).enough_after_s

    assert found.low is not None
    assert found.high is not None
    assert 240 <= found.low < found.high <= 301
    assert found.value == pytest.approx((240 + 300) / 2, abs=10)


def test_an_uncertain_start_widens_the_span() -> None:
    vague = Autoscaling(PolicyParameters(), 60.0, (120.0, 60.0, 180.0), MINUTES.source)
    sure, unsure = burst(40, 2, 3), burst(40, 2, 3, vague)

    assert unsure.enough_after_s.value == sure.enough_after_s.value
    assert (unsure.enough_after_s.low or 0) == (sure.enough_after_s.low or 0) - 60
    assert (unsure.enough_after_s.high or 0) == (sure.enough_after_s.high or 0) + 60


def test_a_larger_minimum_hurts_fewer_calls() -> None:
    hurt = [burst(80, minimum, 5) for minimum in (2, 3, 4, 5)]
    late = [(each.slow_calls.value or 0) + (each.failed_calls.value or 0) for each in hurt]

    assert late == sorted(late, reverse=True)
    assert late[0] > 1000
    assert late[-1] < 1


def test_slow_calls_count_until_there_are_enough_however_few_they_are_in_a_second() -> None:
    """No second has more than half of its calls slow, which is allowed; the slow ones are told."""
    lenient = burst_cost(
        CALLS,
        MINUTES,
        from_per_s=0.0,
        to_per_s=49.0,
        min_webservers=2,
        max_webservers=3,
        needed=3,
        allowed=AllowedShares(slow=0.99, failed=None),
    )

    assert lenient.over_after_s.value == 0
    assert (lenient.slow_calls.value or 0) > 10


def test_a_maximum_that_is_too_small_is_never_enough() -> None:
    found = burst(80, 2, 2)

    assert found.enough_after_s.value is None
    assert found.over_after_s.value is None
    assert (found.failed_calls.value or 0) > 0


def test_a_trace_is_played_from_the_minimum() -> None:
    trace = np.concatenate([np.full(600, 5.0), np.full(1200, 60.0), np.full(600, 5.0)])
    cost, rates, webservers = trace_cost(trace, CALLS, MINUTES, min_webservers=2, max_webservers=4)

    assert cost.simulated_s == 2400
    assert rates.tolist() == trace.tolist()
    assert (webservers[0], webservers.max(), cost.most_webservers) == (2, 4, 4)
    assert 0 < cost.failed_share < cost.slow_share < 1
    assert 2 * 2400 / 3600 < cost.webserver_hours < 4 * 2400 / 3600
