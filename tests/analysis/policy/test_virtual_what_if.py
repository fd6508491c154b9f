"""The simulator beside the virtual environment: the same rule, with every call played out."""

import tomllib

import numpy as np
import pytest

from mwaa_headroom.analysis.policy.replay import Replay
from mwaa_headroom.analysis.policy.what_if import AskedLoad, WhatIf, answer_what_if
from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.virtual.run import run_virtually

SCENARIO = """
name = "steps"
slo = ["p95(latency) < 800ms", "rate(errors) < 1%"]
question = { ask = "capacity" }
limits = { max_rate_per_s = 100, max_in_flight = 5000 }
recovery = { longest_s = 0 }
[environment]
kind = "simulated"
cores = 0.5
min_webservers = 2
max_webservers = 4
start_s = 12.0
demand_cv = 1.0
demand_s = { health = 0.02, list_dags = 0.04 }
background_cpu = 0.02
autoscaler = { scale_out_cooldown_s = 20.0, scale_in_periods = 8 }
[traffic]
mix = { health = 1, list_dags = 1 }
[[stages]]
rate_per_s = 8
duration_s = 100
[[stages]]
rate_per_s = 18
duration_s = 100
[[stages]]
rate_per_s = 45
duration_s = 300
[[stages]]
rate_per_s = 8
duration_s = 250
"""


def answered(record: RunRecord) -> WhatIf:
    run = Run(record).analysis
    return answer_what_if([run], AskedLoad("as recorded", None))


@pytest.mark.slow
def test_the_simulator_tells_what_calls_played_one_by_one_do() -> None:
    scenario = check_scenario(tomllib.loads(SCENARIO), origin="the test")
    record = run_virtually(scenario, seed=3, started_at_s=1_790_000_003.0)
    answer = answered(record)

    assert answer.fit.mismatch_periods == 0
    told = {each.name: each for each in answer.fit.parameters}
    assert told["datapoints_to_alarm"].values[0] == "2 of 2"
    assert told["scale_out_step"].values == ("1",)
    assert told["scale_out_cooldown_s"].values == ("over 15 s, up to 20 s",)
    # Ten quiet periods would have ended at the same time as the cooldown that was waited for.
    assert told["scale_in_periods"].values[0].startswith("8")
    assert told["start_s"].used == "12 s"

    by_rule, by_load = answer.replays
    assert by_rule.agrees
    assert not lost(by_load)
    for event in by_load.changes:
        assert abs(event.difference_s or 0.0) <= 2 * by_load.period_s
    assert by_load.cpu_off_percent is not None
    assert by_load.cpu_off_percent < 6.0

    outcomes = np.array(record.requests.column("outcome").to_pylist())
    times_s = np.array(record.requests.column("service_time_s").to_pylist(), dtype=float)
    slow_or_failed = np.mean((outcomes != "ok") | (times_s > 0.8))
    load = answer.load
    assert load is not None
    assert load.slow_share.value is not None
    assert load.failed_share.value is not None
    assert load.slow_share.value + load.failed_share.value == pytest.approx(
        slow_or_failed, rel=0.35
    )


def lost(replay: Replay) -> list[str]:
    return [event.verdict for event in replay.changes if event.verdict in ("missed", "extra")]
