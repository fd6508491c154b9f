"""Settings of the stand-in: what is refused, and what is filled in."""

import pytest
from pydantic import ValidationError

from mwaa_headroom.analysis.policy.scaling_rule import PolicyParameters
from mwaa_headroom.harness.local.settings import (
    LocalSettings,
    SimulatedSettings,
    StandInSettings,
    known_versions,
)


def test_demands_are_merged_over_the_defaults() -> None:
    defaults = SimulatedSettings().demand_s
    changed = SimulatedSettings(demand_s={"list_dags": 0.5}).demand_s
    assert changed == {**defaults, "list_dags": 0.5}


def test_an_unknown_demand_names_the_known_ones() -> None:
    with pytest.raises(ValidationError, match=r"unknown operation 'list_dgas'; known are health, "):
        SimulatedSettings(demand_s={"list_dgas": 0.5})


@pytest.mark.parametrize("version", ["", "3", "3.3", "latest", "3.3.1rc1", "../3.3.1"])
@pytest.mark.parametrize("kind", [LocalSettings, SimulatedSettings])
def test_an_airflow_version_has_three_numbers(
    kind: type[LocalSettings | SimulatedSettings], version: str
) -> None:
    with pytest.raises(ValidationError, match="airflow_version"):
        kind.model_validate({"airflow_version": version})


def test_real_airflow_must_be_a_version_with_pinned_packages() -> None:
    assert LocalSettings().airflow_version in known_versions()
    with pytest.raises(
        ValidationError, match=r"9\.9\.9 cannot be run locally; known are .*3\.3\.1"
    ):
        LocalSettings(airflow_version="9.9.9")
    assert SimulatedSettings(airflow_version="9.9.9").airflow_version == "9.9.9"


def test_airflow_2_has_one_auth_manager_and_says_so_in_what_runs_are_compared_by() -> None:
    assert LocalSettings(airflow_version="2.11.2").auth_manager == "fab"
    assert LocalSettings(airflow_version="3.3.1").auth_manager == "simple"
    with pytest.raises(ValidationError, match='Airflow 2 knows only auth_manager = "fab"'):
        LocalSettings(airflow_version="2.11.2", auth_manager="simple")


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"scale_out_steps": 1}, "scale_out_steps"),
        ({"cpu_above_percent": "70"}, "valid number"),
        ({"cpu_above_percent": float("inf")}, "finite number"),
        ({"cpu_above_percent": 0}, "cpu_above_percent must be above 0"),
        ({"scale_out_cooldown_s": -1}, "scale_out_cooldown_s must be at least 0"),
        ({"scale_in_periods": 0}, "scale_in_periods must be at least 1"),
        ({"datapoints_to_alarm": 3}, "must not exceed evaluation_periods"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(table: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        StandInSettings.model_validate({"autoscaler": table})


def test_whole_numbers_do_in_the_rule() -> None:
    settings = StandInSettings.model_validate({"autoscaler": {"cpu_above_percent": 50}})
    assert settings.autoscaler == PolicyParameters(cpu_above_percent=50.0)


@pytest.mark.parametrize(
    "settings",
    [
        *(LocalSettings(), LocalSettings(airflow_version="2.11.2")),
        *(SimulatedSettings(), StandInSettings()),
    ],
)
def test_settings_read_back_as_themselves(settings: StandInSettings) -> None:
    assert type(settings).model_validate(settings.model_dump(mode="json")) == settings
    assert type(settings).model_validate_json(settings.model_dump_json()) == settings
