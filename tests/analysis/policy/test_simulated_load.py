"""Simulated loads: their overloads, and ranges of lost calls as wide as replays were off."""

import numpy as np
import pytest

from mwaa_headroom.analysis.policy.recorded import Change, RecordedScaling, SeenPeriod
from mwaa_headroom.analysis.policy.replay import (
    FittedRule,
    LostCalls,
    Replay,
)
from mwaa_headroom.analysis.policy.scaling_rule import PolicyParameters
from mwaa_headroom.analysis.policy.simulate import simulate
from mwaa_headroom.analysis.policy.simulated_load import (
    LEAST_FACTOR,
    MOST_FACTOR,
    LoadToSimulate,
    factors,
    overloads_of,
    simulate_load,
    step_unseen,
    widened,
)
from mwaa_headroom.analysis.policy.workload import Workload


def replay(recorded: float, simulated: float) -> Replay:
    return Replay("load", "run", 60.0, (), failed=LostCalls(recorded, simulated))


def test_the_factor_is_the_largest_ratio_seen_either_way() -> None:
    failed, slow = factors([replay(980, 2980), replay(1980, 980)])
    assert failed == pytest.approx(3.0)
    assert slow == LEAST_FACTOR
    assert factors([replay(3980, 980)])[0] == pytest.approx(4.0)
    assert factors([replay(0, 5)])[0] == LEAST_FACTOR  # a handful
    assert factors([replay(0, 5000)])[0] == MOST_FACTOR
    assert factors([]) == (LEAST_FACTOR, LEAST_FACTOR)


def test_widened_ranges_hold_the_simulated_ones_and_no_more_than_all_calls() -> None:
    workload = Workload(0.1, 0.0, 1.0, 0.0, slow_after_s=1.0)
    load = LoadToSimulate("flood", np.full(600, 20.0), 1, 1, 60.0, 0.7, load_of="", calls_of="run")
    plain = simulate_load(load, workload, (), FittedRule(PolicyParameters(), 60.0), ())
    wide = widened(plain, 3.0, 2.0)
    for wider, was in (
        (wide.failed_calls, plain.failed_calls),
        (wide.slow_calls, plain.slow_calls),
    ):
        assert wider.low is not None
        assert wider.high is not None
        assert was.low is not None
        assert was.high is not None
        assert 0 < wider.low <= was.low / 2
        assert was.high <= wider.high <= plain.calls
    assert wide.failed_share.high == 1.0
    assert wide.caught_up_after_s.value is None


@pytest.mark.parametrize(
    ("seen_percent", "most", "is_told"),
    [(82.0, 5, True), (82.0, 3, False), (96.0, 5, False)],
    ids=["above those seen", "but to the maximum", "no more than those seen"],
)
def test_a_step_at_more_cpu_than_any_seen_is_told(
    seen_percent: float, most: int, is_told: bool
) -> None:
    load = LoadToSimulate("flood", np.full(900, 80.0), 2, most, 60.0, 0.7, "", "run")
    rule = FittedRule(PolicyParameters(), 120.0)
    simulated = simulate_load(load, Workload(0.02, 0.02, 0.5, 0.01), (), rule, ())
    record = RecordedScaling(
        run_id="run",
        began_s=0.0,
        started_s=0.0,
        period_s=60.0,
        periods=(
            SeenPeriod(60.0, (99.0,) * 2, (), 2),
            SeenPeriod(120.0, (seen_percent,) * 2, (), 2),
        ),
        changes=(Change(120.0, 120.0, 2, 3),),
        decisions_known=True,
        start_times_s=(),
        waited_s=(),
        min_webservers=2,
        max_webservers=5,
        cpu_above_percent=70.0,
        connections_above=15.0,
    )

    found = step_unseen(simulated, [record], rule)

    assert (found is not None) == is_told
    if found:
        assert found.values == {"seen_percent": 82.0, "asked_percent": pytest.approx(100.0)}


@pytest.mark.slow
def test_a_day_and_500_webservers_are_simulated_whole() -> None:
    """Slowly rising and falling load: the count follows it, and no call fails."""
    seconds = np.arange(86_400)
    rate = 20 + 4000 * np.sin(np.pi * seconds / 86_400) ** 2
    workload = Workload(0.05, 0.02, 1.0, 0.01, slow_after_s=1.0)
    policy = PolicyParameters(
        connections_scope="per_webserver", scale_out_step=3, scale_out_cooldown_s=60.0
    )
    rule = FittedRule(policy, 120.0)
    load = LoadToSimulate("day", rate, 2, 500, 60.0, 0.7, load_of="", calls_of="run")
    answer = simulate_load(load, workload, (), rule, ())
    assert answer.most_webservers.value is not None
    # Those that are starting when the CPU falls below 70 % again come all the same.
    assert 4020 * 0.05 / 0.98 < answer.most_webservers.value <= 4020 * 0.05 / 0.68 + 9
    assert answer.failed_share.value == pytest.approx(0.0, abs=1e-3)
    assert answer.webserver_hours.value is not None
    assert answer.webserver_hours.value < 24 * answer.most_webservers.value


def test_overloads_apart_by_less_than_a_minute_are_one() -> None:
    workload = Workload(0.1, 0.0, 1.0, 0.0)
    rate = np.zeros(400)
    rate[10:20] = rate[60:70] = rate[300:310] = 30.0  # each leaves 20 s of work
    pinned = simulate(
        rate,
        workload,
        PolicyParameters(enabled=False),
        period_s=5,
        start_s=1,
        min_webservers=1,
        max_webservers=1,
    )
    first, second = overloads_of(pinned, rate, workload)
    assert (first.from_s, second.from_s) == (10.0, 300.0)
    assert 88 <= first.to_s <= 90  # calls wait for more than a second of work until 89 s
    assert second.caught_up
