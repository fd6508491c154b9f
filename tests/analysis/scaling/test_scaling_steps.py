from mwaa_headroom.analysis.results import ScalingEvent
from mwaa_headroom.analysis.scaling.events import Step, steps_of


def test_every_step_with_its_gap_and_how_well_it_is_known() -> None:
    event = ScalingEvent(
        from_count=2,
        to_count=3,
        load_step_s=100.0,
        breach_s=120.0,
        decision_s=180.5,
        count_changed_s=360.0,
        ready_s=250.0,
        slo_restored_s=400.0,
        count_changed_after_s=240.0,  # one period was missing
        takes_traffic_s=250.0,
        period_s=60.0,
    )
    assert steps_of(event) == (
        Step("load step", 100.0, None, 0.0),
        Step("threshold passed", 120.0, 20.0, 60.0),
        Step("decision", 180.5, 60.5, 0.0),
        # its count was seen only later
        Step("takes traffic", 250.0, 69.5, 0.0),
        Step("count rises", 360.0, 110.0, 120.0),
        Step("SLO restored", 400.0, 40.0, 5.0),
    )


def test_what_only_metrics_tell_is_known_to_a_period() -> None:
    event = ScalingEvent(
        from_count=2,
        to_count=3,
        load_step_s=90.0,
        breach_s=None,
        decision_s=None,
        count_changed_s=360.0,
        ready_s=None,
        slo_restored_s=None,
        count_changed_after_s=300.0,
        takes_traffic_s=420.0,
        load_step_within_s=60.0,
        period_s=60.0,
    )
    assert steps_of(event) == (
        Step("load step", 90.0, None, 60.0),
        Step("count rises", 360.0, 270.0, 60.0),
        Step("takes traffic", 420.0, 60.0, 60.0),
    )


def test_scaling_in_has_a_decision_and_a_falling_count() -> None:
    event = ScalingEvent(3, 2, None, None, 100.0, 120.0, None, None)
    assert [(step.name, step.gap_s) for step in steps_of(event)] == [
        ("decision", None),
        ("count falls", 20.0),
    ]
