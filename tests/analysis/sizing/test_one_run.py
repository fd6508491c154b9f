"""Webservers needed by the utilisation law, from one run."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from calls_by_hand import setting_of
from hypothesis import given
from hypothesis import strategies as st
from sizing_by_hand import HALF_CPU, recorded
from stages_by_hand import stage_by_hand
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.results import CapacityResult, DemandResult
from mwaa_headroom.analysis.setting import Setting, StagePlan, read_setting
from mwaa_headroom.analysis.sizing.one_run import contradictions, size
from mwaa_headroom.analysis.statistics import Estimate

SETTING = replace(
    setting_of(
        {},
        facts={"webserver_cpu": 0.5},
        ask="capacity",
        target_rate_per_s=30.0,
        utilisation_target=0.7,
    ),
    environment={"kind": "simulated"},
)
VARIED = refusal("demand.operations_varied_together", condition_number=99.0, limit=30.0)


def demand(
    mix: tuple[float, float, float],
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    usable_cpu: float = 0.7 * 0.5,
) -> DemandResult:
    """Value, low and high of the mix's demand and of the background, both low or both high."""
    value, most, least = (
        max(usable_cpu - own, 0.0) / cost for cost, own in zip(mix, background, strict=True)
    )
    return DemandResult(
        mix_s=Estimate(mix[0], mix[1], mix[2], 30),
        per_operation_s={},
        refusal=None,
        condition_number=1.0,
        background_cpu_per_webserver=Estimate(background[0], background[1], background[2], 30),
        rate_per_webserver_per_s=Estimate(value, least, most, 30),
        periods=30,
    )


@pytest.mark.parametrize(
    ("mix", "background", "expected", "within"),
    [
        # 30 calls/s of 20 ms are 0.6 CPU; a webserver gives 0.7 * 0.5 = 0.35
        ((0.02, 0.018, 0.024), (0.0, 0.0, 0.0), (2, 2, 3), True),
        # exactly two webservers' worth is two
        ((0.7 / 30, 0.7 / 30, 0.7 / 30), (0.0, 0.0, 0.0), (2, 2, 2), True),
        # with 0.1 CPU of its own a webserver gives 0.25
        ((0.02, 0.02, 0.02), (0.1, 0.05, 0.15), (3, 2, 3), True),
        ((0.07, 0.06, 0.08), (0.0, 0.0, 0.0), (6, 6, 7), False),
        # background alone uses a webserver up
        ((0.02, 0.02, 0.02), (0.36, 0.3, 0.4), (None, 12, None), False),
    ],
)
def test_webservers_for_the_target(
    mix: tuple[float, float, float],
    background: tuple[float, float, float],
    expected: tuple[int | None, int | None, int | None],
    within: bool,
) -> None:
    found = size(SETTING, demand(mix, background))
    assert found.target is not None
    row = found.target
    assert (row.webservers, row.webservers_low, row.webservers_high) == expected
    assert row.within_limits is within
    assert [r.rate_per_s for r in found.rows] == [1.0, 30.0]


@given(
    st.floats(0.001, 0.2), st.floats(0, 0.1), st.floats(0.1, 200), st.floats(0.1, 0.95),
)  # fmt: skip
def test_the_webservers_found_are_the_fewest_that_stay_below_the_target(
    demand_s: float, background: float, rate: float, target: float
) -> None:
    setting = setting_of(
        {}, facts={"webserver_cpu": 1.0}, target_rate_per_s=rate, utilisation_target=target
    )
    found = size(setting, demand((demand_s,) * 3, (background,) * 3, usable_cpu=target)).target
    assert found is not None
    count = found.webservers
    if count is None:
        assert background >= target
        return

    def utilisation(webservers: int) -> float:
        return rate * demand_s / webservers + background

    assert utilisation(count) <= target * (1 + 1e-6)
    assert count == 1 or utilisation(count - 1) > target * (1 - 1e-6)


@pytest.mark.parametrize(
    ("setting", "result", "why"),
    [
        (setting_of({}), demand((0.02,) * 3), refusal("sizing.cpu_not_known")),
        (SETTING, None, refusal("sizing.no_call_reached_a_webserver")),
        (SETTING, replace(demand((0.02,) * 3), mix_s=Estimate(None), refusal=VARIED), VARIED),
    ],
)
def test_without_a_demand_the_refusal_is_explained(
    setting: Setting, result: DemandResult | None, why: Finding
) -> None:
    found = size(setting, result)
    assert found.target is None
    assert found.explanation == refusal("sizing.no_count", reason=why)


def test_the_law_and_the_stages_are_held_against_each_other() -> None:
    stages = [
        stage_by_hand(index, rate_per_s=rate, service_time_mean_s=None)
        for index, rate in enumerate((20.0, 30.0))
    ]
    capacity = CapacityResult(0, 20.0, 2, 1, "unknown", note("bottleneck.nothing_stands_out"))

    def warnings(demand_s: float) -> tuple[Finding, ...]:
        return contradictions(SETTING, demand((demand_s,) * 3), capacity, stages)

    # 2 webservers with 0.5 CPU: 20 calls/s of 40 ms are 80 %, 30 calls/s 120 %
    assert warnings(0.04) == ()
    first, second = (each.label for each in stages)
    (too_high,), (not_cpu,) = warnings(0.08), warnings(0.01)
    assert too_high == warning(
        "sizing.demand_too_high", stage=first, at_least_cpu_fraction=pytest.approx(1.6)
    )
    assert not_cpu == warning(
        "sizing.not_for_want_of_cpu", stage=second, at_most_cpu_fraction=pytest.approx(0.3)
    )


def test_stages_of_one_operation_are_no_rates_of_the_mix() -> None:
    setting = planned(StagePlan(0, "calibration", 3.0, 30.0, 5.0, operation="health"))
    demand = recorded(1).demand

    assert [row.rate_per_s for row in size(setting, demand).rows] == [30.0]


def test_few_webservers_come_with_the_fewest_that_the_service_runs() -> None:
    demand = recorded(1).demand
    found = size(planned(StagePlan(0, "low", 2.0, 30.0, 5.0)), demand)

    assert (found.rows[0].webservers, (found.target or found.rows[0]).webservers) == (1, 4)
    assert found.explanation.values["fewest_webservers"] == 2


def test_a_demand_without_refusal_tells_its_warning() -> None:
    demand = recorded(1).demand
    assert demand is not None
    why = refusal("demand.few_periods")
    unknown = replace(demand, refusal=None, mix_s=Estimate(None, warnings=(why,)))

    assert size(planned(), unknown).explanation == refusal("sizing.no_count", reason=why)


def planned(*stages: StagePlan) -> Setting:
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
