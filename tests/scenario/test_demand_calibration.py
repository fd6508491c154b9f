"""The shipped calibration scenario, with webservers whose demands are known in place of Airflow."""

import tomllib
from pathlib import Path

import pytest

from mwaa_headroom.analysis.run import Run
from mwaa_headroom.harness.local.settings import SIMULATED_DEMANDS_S
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.virtual.run import run_virtually

SCENARIO = Path(__file__).parents[2] / "scenarios" / "demand_calibration.toml"
LIKE_AIRFLOW = 0.5  # of the defaults: what Airflow's calls cost on a machine the rates are made for


@pytest.mark.parametrize("seed", range(5))
def test_each_demand_is_told_within_a_tenth_in_less_than_ten_minutes(seed: int) -> None:
    tree = tomllib.loads(SCENARIO.read_text())
    truth_s = {name: LIKE_AIRFLOW * SIMULATED_DEMANDS_S[name] for name in tree["traffic"]["mix"]}
    tree["environment"] = {
        "kind": "simulated",
        "cores": tree["environment"]["webserver_cpu"],
        "min_webservers": 1,
        "max_webservers": 1,
        "background_cpu": 0.01,
        "demand_cv": 0.5,
        "demand_s": truth_s,
    }
    assert sum(stage["duration_s"] for stage in tree["stages"]) < 500  # bringing up comes on top

    scenario = check_scenario(tree, origin=SCENARIO.name)
    demand = Run(run_virtually(scenario, seed=seed, started_at_s=1.79e9 + seed)).analysis.demand

    assert demand is not None
    assert set(demand.per_operation_s) == set(truth_s)
    for operation, estimate in demand.per_operation_s.items():
        assert estimate.value == pytest.approx(truth_s[operation], rel=0.1), operation
