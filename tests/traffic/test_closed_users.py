"""Users of a closed workload: the same whoever plays them, and each with a mind of their own."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.traffic.schedule import Share, user_cycles, users_of


def closed_scenario(*users, seed=1):
    tree = {
        "name": "s",
        "slo": ["p95(latency) < 1s"],
        "question": {"ask": "check"},
        "environment": {"kind": "simulated"},
        "traffic": {
            "arrivals": "closed",
            "think_time_s": 2,
            "seed": seed,
            "mix": {"health": 1, "list_dags": 3},
        },
        "stages": [{"users": number, "duration_s": 100} for number in users],
    }
    return check_scenario(tree, origin="test")


def cycles(scenario, stage, user, count):
    return list(islice(user_cycles(scenario, stage, user), count))


def test_think_times_are_exponential_and_calls_follow_the_mix():
    drawn = cycles(closed_scenario(1), 0, 0, 5000)
    assert stats.kstest([cycle.think_s for cycle in drawn], "expon", args=(0, 2)).pvalue > 0.01
    share = np.mean([cycle.label for cycle in drawn])
    assert share == pytest.approx(0.75, abs=5 * np.sqrt(0.75 * 0.25 / 5000))


def test_no_two_calls_of_a_run_have_the_same_number():
    scenario = closed_scenario(3, 5)
    numbers = [
        cycle.arrival
        for stage, users in ((0, 3), (1, 5))
        for user in range(users)
        for cycle in cycles(scenario, stage, user, 200)
    ]
    assert len(set(numbers)) == 200 * 8
    assert [cycle.arrival for cycle in cycles(scenario, 1, 2, 3)] == [
        100_000_002,
        100_000_007,
        100_000_012,
    ]


def test_a_user_does_the_same_again_and_others_do_something_else():
    scenario = closed_scenario(3, 3)
    assert cycles(scenario, 0, 1, 200) == cycles(scenario, 0, 1, 200)
    thoughts = {
        tuple(cycle.think_s for cycle in cycles(closed_scenario(3, 3, seed=seed), stage, user, 3))
        for seed in (1, 2)
        for stage in (0, 1)
        for user in (0, 1, 2)
    }
    assert len(thoughts) == 12


@given(st.integers(1, 200), st.integers(1, 7))
def test_every_user_belongs_to_exactly_one_worker(users, workers):
    everybody = [user for i in range(workers) for user in users_of(users, Share(i, workers))]
    assert sorted(everybody) == list(range(users))


def test_an_open_workload_has_no_users():
    tree = closed_scenario(1).model_dump(mode="json")
    tree["traffic"] |= {"arrivals": "poisson", "think_time_s": None}
    tree["stages"] = [{"rate_per_s": 1, "duration_s": 1}]
    with pytest.raises(ValueError, match="has no users"):
        next(user_cycles(check_scenario(tree, origin="test"), 0, 0))
