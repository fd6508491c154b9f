"""Schedules of open workloads and users of closed ones: reproducible, shared without loss."""

import tracemalloc
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mwaa_headroom.analysis.schema import RECOVERY_ARRIVALS_FROM
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.traffic import arrivals
from mwaa_headroom.harness.traffic.arrivals import BLOCK
from mwaa_headroom.harness.traffic.schedule import (
    WHOLE,
    MixDraws,
    Share,
    recovery_schedule,
    schedule_of,
    user_cycles,
    users_of,
)
from mwaa_headroom.harness.traffic.trace_files import parse_trace

SCENARIO = {
    "name": "s",
    "slo": ["p95(latency) < 1s"],
    "question": {"ask": "check"},
    "environment": {"kind": "simulated"},
    "traffic": {"mix": {"list_dags": 1, "runs": {"operation": "list_dag_runs", "weight": 3}}},
    "stages": [
        {"name": "low", "rate_per_s": 5, "duration_s": 20},
        {"name": "up", "rate_per_s": 5, "ramp_to_rate_per_s": 50, "duration_s": 10},
    ],
    "limits": {"max_rate_per_s": 500},
}


def scenario_of(*, stages=None, recovery=None, **traffic):
    tree = SCENARIO | {"traffic": SCENARIO["traffic"] | traffic, "recovery": recovery or {}}
    return check_scenario(tree | ({"stages": stages} if stages else {}), origin="test")


def replayed(text, duration_s):
    """A scenario of one stage that replays the trace, and its schedule."""
    stage = {
        "trace_file": "t.csv",
        "rate_per_s": 1,
        "peak_rate_per_s": 1,
        "duration_s": duration_s,
    }
    (schedule,) = schedule_of(
        scenario_of(stages=[stage], arrivals="trace"), {0: parse_trace(text, "t.csv")}
    )
    return schedule


def columns(schedule, share=WHOLE):
    blocks = list(schedule.blocks(share))
    return tuple(
        np.concatenate([np.empty(0, int), *(getattr(block, name) for block in blocks)])
        for name in ("arrival", "offset_s", "label")
    )


def test_the_mix_follows_its_weights_and_its_seed():
    def draw(seed):
        return MixDraws([1, 2.5, 0.5], np.random.default_rng(seed)).take(40_000)

    shares = np.bincount(draw(1)) / 40_000
    assert shares == pytest.approx([0.25, 0.625, 0.125], abs=5 * 0.5 / 200)
    assert np.array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))


def test_it_does_not_matter_how_many_entries_are_taken_at_a_time():
    whole = MixDraws([1, 1], np.random.default_rng(1)).take(100)
    draws = MixDraws([1, 1], np.random.default_rng(1))
    assert np.array_equal(np.concatenate([draws.take(37), draws.take(63)]), whole)


def test_arrivals_are_numbered_through_the_stages():
    low, up = schedule_of(scenario_of(), {})
    assert (low.stage, low.name, low.duration_s) == (0, "low", 20)
    assert (up.stage, up.name, up.duration_s) == (1, "up", 10)
    assert (low.first, up.first) == (0, low.count)
    for stage in (low, up):
        arrival, offset_s, label = columns(stage)
        assert len(arrival) == len(offset_s) == len(label) == stage.count > 50
        assert np.array_equal(arrival, np.arange(stage.first, stage.first + stage.count))
        assert stage.labels == ("list_dags", "runs")
        assert set(label.tolist()) == {0, 1}


def test_a_stage_of_one_operation_sends_nothing_else_and_recovery_the_whole_mix():
    single = scenario_of(stages=[{"rate_per_s": 5, "duration_s": 60, "operation": "runs"}])
    (schedule,) = schedule_of(single, {})
    assert schedule.labels == ("list_dags", "runs")
    assert schedule.count > 200
    assert set(columns(schedule)[2].tolist()) == {1}
    assert set(columns(recovery_schedule(single, 0))[2].tolist()) == {0, 1}


@given(
    workers=st.integers(1, 7),
    kind=st.sampled_from(["poisson", "constant", "bursts", "rates"]),
    block=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
def test_the_shares_of_all_workers_are_the_whole_schedule(workers, kind, block, seed):
    """Same seed, same arrivals, whatever the number of workers."""
    texts = {"bursts": "time_s\n0\n0\n0\n1\n1.5\n8\n", "rates": "time_s,rate_per_s\n0,3\n2,20\n"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrivals, "BLOCK", block)
        if kind in texts:
            schedules = [replayed(texts[kind], 10)]
        else:
            schedules = list(schedule_of(scenario_of(arrivals=kind, seed=seed), {}))
        for schedule in schedules:
            shares = [columns(schedule, Share(worker, workers)) for worker in range(workers)]
            for worker, (arrival, offset_s, _) in enumerate(shares):
                assert np.all(arrival % workers == worker)
                assert np.all(np.diff(offset_s) >= 0)
            order = np.argsort(np.concatenate([share[0] for share in shares]))
            for position, column in enumerate(columns(schedule)):
                together = np.concatenate([share[position] for share in shares])[order]
                assert np.array_equal(together, column)


def test_blocks_are_full_and_none_is_empty():
    (schedule,) = schedule_of(scenario_of(stages=[{"rate_per_s": 500, "duration_s": 300}]), {})
    sizes = [len(block.arrival) for block in schedule.blocks()]
    assert sizes == [BLOCK, BLOCK, schedule.count - 2 * BLOCK]
    few = replayed("time_s\n0\n", 5)
    assert list(few.blocks(Share(1, 2))) == []


def test_the_effective_scenario_gives_the_same_schedule():
    scenario = scenario_of()
    saved = check_scenario(scenario.model_dump(mode="json"), origin="test")
    for one, other in zip(schedule_of(scenario, {}), schedule_of(saved, {}), strict=True):
        for column, again in zip(columns(one), columns(other), strict=True):
            assert np.array_equal(column, again)
        assert one.labels == other.labels


def test_a_trace_of_calls_is_played_exactly_and_cut_at_the_end_of_the_stage():
    schedule = replayed("time_s\n100\n100.5\n100.5\n107\n109\n", 8)
    assert schedule.count == 4
    assert columns(schedule)[1].tolist() == [0, 0.5, 0.5, 7]


def test_a_trace_of_rates_is_a_poisson_process_with_them():
    schedule = replayed("time_s,rate_per_s\n5,100\n15,0\n25,400\n35,0\n", 100)
    offset_s = columns(schedule)[1]
    counts = np.histogram(offset_s, [0, 10, 20, 30, 100])[0]
    assert counts == pytest.approx([1000, 0, 4000, 0], abs=5 * np.sqrt(4000))
    assert (counts[1], counts[3]) == (0, 0)


def test_a_stage_without_its_trace_and_a_closed_workload_have_no_schedule():
    stage = {"trace_file": "t.csv", "rate_per_s": 1, "peak_rate_per_s": 1, "duration_s": 1}
    with pytest.raises(ValueError, match="the trace of stage 'stage 1' is missing"):
        list(schedule_of(scenario_of(stages=[stage], arrivals="trace"), {}))

    closed = scenario_of(
        stages=[{"users": 2, "duration_s": 9}], arrivals="closed", think_time_s=1.0
    )
    with pytest.raises(ValueError, match="closed workload has no schedule"):
        list(schedule_of(closed, {}))
    with pytest.raises(ValueError, match="no recovery phases"):
        recovery_schedule(closed, 0)


def test_a_recovery_phase_is_light_and_numbered_apart():
    scenario = scenario_of(recovery={"longest_s": 200.0})
    first, second = recovery_schedule(scenario, 0), recovery_schedule(scenario, 1)
    assert (first.stage, second.stage) == (-1, -2)
    assert first.name == "recovery after low"
    assert first.first == RECOVERY_ARRIVALS_FROM
    assert second.first == 2 * RECOVERY_ARRIVALS_FROM
    assert first.duration_s == 200
    assert first.count == pytest.approx(5 * 200, abs=5 * np.sqrt(1000))  # the lowest rate
    assert not np.array_equal(columns(first)[1][:9], columns(second)[1][:9])
    (whole, _) = schedule_of(scenario, {})
    assert not np.array_equal(columns(first)[1][:9], columns(whole)[1][:9])


def test_a_recovery_phase_is_evenly_spaced_where_the_scenario_is():
    recovery = {"rate_per_s": 8, "longest_s": 20}
    schedule = recovery_schedule(scenario_of(arrivals="constant", recovery=recovery), 1)
    assert schedule.count == 160
    assert np.diff(columns(schedule)[1]) == pytest.approx(1 / 8)


@pytest.mark.slow
def test_a_day_of_500_calls_per_second_fits_into_a_few_megabytes():
    (schedule,) = schedule_of(scenario_of(stages=[{"rate_per_s": 500, "duration_s": 86400}]), {})
    tracemalloc.start()
    try:
        count = sum(len(block.arrival) for block in schedule.blocks())
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == schedule.count == pytest.approx(43.2e6, rel=0.001)
    assert peak_bytes < 8e6  # at once they would be a gigabyte


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


def test_a_trace_that_names_operations_calls_them_whoever_sends_them():
    rows = "".join(f"{n / 10},{('list_dags', 'runs')[n % 3 == 0]}\n" for n in range(90))
    schedule = replayed("time_s,operation\n" + rows, 10)

    _, offset_s, label = columns(schedule)
    assert label.tolist() == [int(n % 3 == 0) for n in range(90)]
    for worker in range(3):
        _, own_s, own = columns(schedule, Share(worker, 3))
        assert own.tolist() == label[np.isin(offset_s, own_s)].tolist()


def test_operations_of_rates_are_drawn_by_their_shares():
    text = "time_s,rate_per_s,operation\n0,300,list_dags\n0,100,runs\n50,0,list_dags\n"
    _, offset_s, label = columns(replayed(text, 100))

    assert label[offset_s < 50].mean() == pytest.approx(0.25, abs=5 * 0.5 / 141)
    assert (label[offset_s >= 50] == 1).all()
    assert np.count_nonzero(offset_s >= 50) == pytest.approx(5000, abs=5 * 71)
