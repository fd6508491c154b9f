"""Estimates beside what simulated webservers were set to; figures worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest

from mwaa_headroom.analysis.results import DemandResult, SizingResult, SizingRow
from mwaa_headroom.analysis.setting import read_setting
from mwaa_headroom.analysis.statistics import Estimate
from mwaa_headroom.analysis.truth import truth_checks

MANIFEST: dict[str, Any] = {
    "schema_version": 2,
    "scenario": {
        "question": {"ask": "capacity", "target_rate_per_s": 25, "utilisation_target": 0.7},
        "traffic": {
            "mix": {
                "health": {"operation": "health", "weight": 3},
                "many": {"operation": "list_dags", "weight": 1},
            }
        },
        "stages": [{"rate_per_s": 5, "duration_s": 60}],
        "environment": {"kind": "simulated"},
    },
    "environment": {
        "kind": "simulated",
        "facts": {
            "webserver_cpu": 1.0,
            "background_cpu": 0.1,
            "demand_s": {"health": 0.02, "list_dags": 0.06},
        },
    },
}
# D_mix = 0.75 * 0.02 + 0.25 * 0.06 = 0.03; X_1 = (0.7 - 0.1) / 0.03 = 20; 25 calls/s need 2
DEMAND = DemandResult(
    mix_s=Estimate(0.031, 0.029, 0.033),
    per_operation_s={"many": Estimate(0.07, 0.065, 0.075)},
    refusal=None,
    condition_number=3.0,
    background_cpu_per_webserver=Estimate(0.1),
    rate_per_webserver_per_s=Estimate(19.0, 17.0, None),
    periods=30,
)
ROW = SizingRow(25.0, 2, 2, 3, within_limits=True)
SIZING = SizingResult(25.0, ROW, (ROW,), 0.7, 1.0, "")


def test_each_estimate_is_held_against_the_truth() -> None:
    checks = truth_checks(read_setting(MANIFEST), DEMAND, SIZING)
    assert [(c.what, pytest.approx(c.truth), c.within) for c in checks] == [
        ("service demand of the mix", 0.03, True),
        ("service demand of many", 0.06, False),
        ("rate of one webserver", 20.0, True),  # its upper end is open
        ("webservers for 25 calls/s", 2, True),
    ]


def test_without_an_interval_nothing_is_said() -> None:
    vague = replace(DEMAND, mix_s=Estimate(0.03), per_operation_s={})
    first, *_ = truth_checks(read_setting(MANIFEST), vague, None)
    assert first.within is None


@pytest.mark.parametrize("facts", [{"demand_s": None}, {"contention": 0.01}, {"demand_s": {}}])
def test_where_there_is_no_single_truth_nothing_is_compared(facts: dict[str, Any]) -> None:
    environment = MANIFEST["environment"]
    unknown = {**environment, "facts": {**environment["facts"], **facts}}
    setting = read_setting({**MANIFEST, "environment": unknown})
    assert truth_checks(setting, DEMAND, SIZING) == ()
