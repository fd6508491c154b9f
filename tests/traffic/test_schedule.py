"""The mix, and the schedule of a whole scenario."""

import numpy as np
import pytest

from harness.scenario.load import check_scenario
from harness.traffic.mix import choose_entries
from harness.traffic.schedule import schedule_of

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
    "limits": {"max_rate_per_s": 50},
}


def test_the_mix_follows_its_weights_and_its_seed():
    chosen = choose_entries([1, 2.5, 0.5], 40_000, seed=1, stage_index=0)
    shares = np.bincount(chosen) / 40_000
    assert shares == pytest.approx([0.25, 0.625, 0.125], abs=5 * 0.5 / 200)
    assert np.array_equal(chosen, choose_entries([1, 2.5, 0.5], 40_000, seed=1, stage_index=0))
    assert not np.array_equal(chosen, choose_entries([1, 2.5, 0.5], 40_000, seed=1, stage_index=1))


def test_a_longer_draw_begins_like_a_shorter_one():
    long = choose_entries([1, 1], 100, seed=1, stage_index=0)
    assert np.array_equal(long[:40], choose_entries([1, 1], 40, seed=1, stage_index=0))


def test_arrivals_are_numbered_through_the_stages():
    low, up = schedule_of(check_scenario(SCENARIO, origin="test"))
    assert (low.stage, low.name, low.duration_s) == (0, "low", 20)
    assert (up.stage, up.name, up.duration_s) == (1, "up", 10)
    for stage in (low, up):
        assert len(stage.arrival) == len(stage.offset_s) == len(stage.label) > 50
        assert stage.labels == ("list_dags", "runs")
        assert set(stage.label.tolist()) == {0, 1}
    numbers = np.concatenate([low.arrival, up.arrival])
    assert np.array_equal(numbers, np.arange(len(numbers)))


def test_the_effective_scenario_gives_the_same_schedule():
    scenario = check_scenario(SCENARIO, origin="test")
    saved = check_scenario(scenario.model_dump(mode="json"), origin="test")
    for one, other in zip(schedule_of(scenario), schedule_of(saved), strict=True):
        assert np.array_equal(one.offset_s, other.offset_s)
        assert np.array_equal(one.label, other.label)
        assert one.labels == other.labels
