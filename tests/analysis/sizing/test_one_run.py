"""Webservers needed by the utilisation law, from one run."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from sizing_by_hand import HALF_CPU, recorded
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.findings import refusal
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.setting import Setting, StagePlan, read_setting
from mwaa_headroom.analysis.sizing.one_run import size
from mwaa_headroom.analysis.statistics import Estimate


def test_stages_of_one_operation_are_no_rates_of_the_mix() -> None:
    setting = setting_of(StagePlan(0, "calibration", 3.0, 30.0, 5.0, operation="health"))
    demand = recorded(1).demand

    assert [row.rate_per_s for row in size(setting, demand).rows] == [30.0]


def test_few_webservers_come_with_the_fewest_that_the_service_runs() -> None:
    demand = recorded(1).demand
    found = size(setting_of(StagePlan(0, "low", 2.0, 30.0, 5.0)), demand)

    assert (found.rows[0].webservers, (found.target or found.rows[0]).webservers) == (1, 4)
    assert found.explanation.values["fewest_webservers"] == 2


def test_a_demand_without_refusal_tells_its_warning() -> None:
    demand = recorded(1).demand
    assert demand is not None
    why = refusal("demand.few_periods")
    unknown = replace(demand, refusal=None, mix_s=Estimate(None, warnings=(why,)))

    assert size(setting_of(), unknown).explanation == refusal("sizing.no_count", reason=why)


def setting_of(*stages: StagePlan) -> Setting:
    """With a target of 30 calls/s on webservers with 0.5 CPU."""
    with TemporaryDirectory() as directory:
        write_synthetic_run(Path(directory) / "run", HALF_CPU)
        setting = read_setting(read_run(Path(directory) / "run").manifest)
    return replace(setting, stages=stages, target_rate_per_s=30.0)


def test_one_runs_own_sizing_says_how_sure_it_is() -> None:
    sizing = recorded(1).sizing
    assert sizing is not None
    assert sizing.target is not None
    assert sizing.target.webservers is not None

    assert 0.5 <= (sizing.target.probability or 0) <= 1
    spans = sizing.target.webservers_low != sizing.target.webservers_high
    assert bool(sizing.deciding) == spans
