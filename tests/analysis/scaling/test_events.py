"""Changes of the webserver count and their steps."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from calls_by_hand import began, calls_by_hand, ended, periods_by_hand, setting_of

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.findings import Finding, note
from mwaa_headroom.analysis.results import ScalingEvent
from mwaa_headroom.analysis.scaling.events import Step, scaling_events, steps_of
from mwaa_headroom.analysis.slo_judgement import Window
from mwaa_headroom.analysis.stages import stage_times

TWO_STAGES = [began(0, 0.0), ended(0, 20.0), began(1, 20.0), ended(1, 80.0)]


def events_of(
    webservers: list[int | None],
    cpu_percent: list[float | None] | float = 50.0,
    *extra: dict[str, Any],
    connections: float | None = None,
    calls: Calls | None = None,
    slo: tuple[str, ...] = (),
    least_percent: list[float | None] | None = None,
    **second_stage: Any,
) -> list[ScalingEvent]:
    setting = setting_of(
        {"duration_s": 20.0}, {"duration_s": 60.0, "rate_per_s": 5.0} | second_stage, slo=slo
    )
    calls = calls or calls_by_hand(outcomes=[])
    events = sorted([*TWO_STAGES, *extra], key=lambda event: event["time_s"])
    periods = periods_by_hand(
        webservers=webservers, cpu_percent=cpu_percent, connections=connections
    )
    if least_percent is not None:
        pairs = zip(periods, least_percent, strict=True)
        periods = tuple(replace(period, cpu_min_percent=least) for period, least in pairs)
    return list(
        scaling_events(
            setting,
            stage_times(setting, events, calls),
            events,
            Window(calls, calls.ok, periods),
        )
    )


def decision(at_s: float, from_count: int, to_count: int) -> dict[str, Any]:
    return {
        "kind": "scaling_decision",
        "time_s": at_s,
        "from_count": from_count,
        "to_count": to_count,
        "reason": "CPU",
    }


def ready(at_s: float) -> dict[str, Any]:
    return {"kind": "webserver_ready", "time_s": at_s, "webserver": "w"}


def test_a_scale_out_is_told_step_by_step() -> None:
    cpu: list[float | None] = [50.0] * 4 + [60.0, 80.0, 90.0, 90.0, 60.0, 60.0, 60.0]
    (event,) = events_of([2] * 8 + [3] * 3, cpu, ready(-3.0), decision(35.5, 2, 3), ready(39.0))
    assert (event.from_count, event.to_count) == (2, 3)
    assert event.load_step_s == 20.0
    assert event.breach_s == 30.0  # the end of the first period past 70 %, 25 to 30
    assert event.decision_s == 35.5
    assert event.ready_s == 39.0
    assert (event.count_changed_after_s, event.count_changed_s) == (40.0, 45.0)
    assert event.takes_traffic_s == 39.0  # the environment tells
    assert event.period_s == 5.0
    assert event.reason == note("scaling.recorded", reason="CPU")


def test_without_events_of_the_environment_the_metrics_tell_what_they_can() -> None:
    cpu: list[float | None] = [50.0] * 4 + [80.0, 80.0, 60.0, 60.0]
    (event,) = events_of([2] * 6 + [4] * 2, cpu)
    assert (event.from_count, event.to_count) == (2, 4)
    assert (event.breach_s, event.count_changed_s) == (25.0, 35.0)
    assert event.count_changed_after_s == 30.0
    assert event.decision_s is None
    assert event.ready_s is None
    assert event.takes_traffic_s is None  # Minimum was not recorded
    assert event.reason == note("scaling.cpu_above", threshold_percent=70.0)


def test_a_period_without_a_count_widens_when_the_count_changed() -> None:
    (event,) = events_of([2] * 5 + [None] + [3] * 2, 80.0)
    assert (event.count_changed_after_s, event.count_changed_s) == (25.0, 35.0)


@pytest.mark.parametrize(
    ("least", "within_s"),
    [
        # counted from 30 to 35 on; busy from the start, and a fifth of a period is not certain
        ([80.0] * 10, (30.0, 31.0)),
        # idle for a period, then busy for half of one
        ([80.0] * 6 + [0.0, 40.0, 80.0, 80.0], (36.5, 38.5)),
        # it never works
        ([80.0] * 6 + [5.0] * 4, (None, None)),
        # a webserver that idles before the count changes says nothing
        ([5.0] * 6 + [80.0] * 4, (30.0, 31.0)),
    ],
)
def test_when_a_new_webserver_took_traffic_by_the_least_busy_one(
    least: list[float | None], within_s: tuple[float | None, float | None]
) -> None:
    (event,) = events_of([2] * 6 + [3] * 4, 80.0, least_percent=least)
    assert (event.takes_traffic_after_s, event.takes_traffic_s) == within_s
    assert event.start_up is None  # without calls nobody knows what their CPU is


def test_a_webserver_that_is_gone_again_took_no_traffic_later() -> None:
    least: list[float | None] = [80.0] * 6 + [1.0] * 2 + [80.0] * 4
    out, _ = events_of([2] * 6 + [3] * 2 + [2] * 4, 80.0, least_percent=least)
    assert out.takes_traffic_s is None


def test_a_stage_with_no_more_load_is_no_load_step() -> None:
    cpu: list[float | None] = [50.0] * 5 + [80.0] * 6
    (event,) = events_of([2] * 8 + [3] * 3, cpu, rate_per_s=1.0)
    assert (event.load_step_s, event.load_step_within_s) == (0.0, 0.0)


def arrivals(*parts: tuple[float, float, float]) -> Calls:
    """So many calls per second from one time to another."""
    starts = [np.arange(from_s, to_s, 1 / rate) for rate, from_s, to_s in parts]
    stages = np.concatenate([np.full(len(own), int(own[0] >= 20)) for own in starts])
    times = np.concatenate(starts).tolist()
    return calls_by_hand(outcomes=["ok"] * len(times), starts_s=times, stages=stages.tolist())


@pytest.mark.parametrize(
    ("parts", "step_s", "within_s"),
    [
        # the rate jumps within the trace at 35, the CPU follows at once
        ([(10, 0, 20), (10, 20, 35), (40, 35, 80)], 35.0, 5.0),
        # it jumped at 25 and the CPU passed its threshold only at 35
        ([(10, 0, 20), (10, 20, 25), (40, 25, 80)], 25.0, 5.0),
        # it never rose within the trace: the trace's own start is the step, known exactly
        ([(10, 0, 20), (40, 20, 80)], 20.0, 0.0),
    ],
)
@pytest.mark.parametrize("varies", ["trace_file", "ramp_to_rate_per_s"])
def test_within_ramps_and_traces_the_offered_rate_tells_the_load_step(
    parts: list[tuple[float, float, float]], step_s: float, within_s: float, varies: str
) -> None:
    second = {varies: {"trace_file": "burst.csv", "ramp_to_rate_per_s": 9.0}[varies]}
    cpu: list[float | None] = [50.0] * 7 + [80.0] * 9
    (event,) = events_of([2] * 10 + [3] * 6, cpu, calls=arrivals(*parts), **second)
    assert (event.breach_s, event.load_step_s) == (40.0, step_s)
    assert event.load_step_within_s == within_s


def test_connections_too_can_be_past_their_threshold() -> None:
    (event,) = events_of([2] * 6 + [3] * 2, connections=31.0)
    assert event.breach_s == 5.0
    assert event.reason == note("scaling.connections_above", threshold=15.0, per_webserver=True)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (
            "CPUUtilization 95.2 > 70 in 2 of 2 periods",
            note("scaling.cpu_above", threshold_percent=70.0, observed_percent=95.2),
        ),
        (
            "ActiveConnectionCount 17.5 > 15 in 2 of 3 periods",
            note("scaling.connections_above", threshold=15.0, observed=17.5),
        ),
        (
            "CPUUtilization < 30 and ActiveConnectionCount < 5 for 6 periods",
            note("scaling.quiet", cpu_below_percent=30.0, connections_below=5.0, periods=6),
        ),
        (
            {"code": "scaling.cpu_above", "values": {"threshold_percent": 70.0}},
            note("scaling.cpu_above", threshold_percent=70.0),
        ),
        ("somebody asked for it", note("scaling.recorded", reason="somebody asked for it")),
        ("", None),
    ],
)
def test_why_the_environment_decided_is_read_from_its_event(
    written: object, found: Finding | None
) -> None:
    cpu: list[float | None] = [50.0] * 8 + [60.0] * 3
    (event,) = events_of([2] * 8 + [3] * 3, cpu, decision(35.5, 2, 3) | {"reason": written})
    assert event.reason == found


@pytest.mark.parametrize(
    "webservers",
    [[2, 2, 2, 1, 2, 2], [2, 2, 2, 2, 2, 3], [None, None], [], [2]],
    ids=["one late sample", "last period", "no counts", "no periods", "one period"],
)
def test_an_unconfirmed_count_is_no_change(webservers: list[int | None]) -> None:
    assert events_of(webservers) == []


@pytest.mark.parametrize(
    ("webservers", "changes"),
    [
        ([2, 2, 3, 4, 5, 5], [(2, 3, 15.0), (3, 4, 20.0), (4, 5, 25.0)]),
        ([2, 2, 4, 5, 5], [(2, 4, 15.0), (4, 5, 20.0)]),
        ([5, 5, 4, 3, 3], [(5, 4, 15.0), (4, 3, 20.0)]),
        ([2, 2, 3, 2, 3, 3], [(2, 3, 25.0)]),
        ([2, 2, 3, 1, 4, 4], [(2, 4, 25.0)]),
    ],
    ids=["one each period", "two at once", "falls", "not confirmed", "a late sample between"],
)
def test_changes_that_follow_each_other_are_told_apart(
    webservers: list[int | None], changes: list[tuple[int, int, float]]
) -> None:
    found = events_of(webservers)
    assert [(e.from_count, e.to_count, e.count_changed_s) for e in found] == changes


def test_webservers_of_one_decision_that_are_counted_one_by_one_are_one_change() -> None:
    (found,) = events_of([2] * 5 + [3, 4, 4], 50.0, decision(16.0, 2, 4), ready(27.0), ready(33.0))
    assert (found.from_count, found.to_count) == (2, 4)
    assert (found.count_changed_after_s, found.count_changed_s) == (30.0, 35.0)


def test_two_decisions_that_show_as_one_step_of_the_count_are_two_changes() -> None:
    found = events_of(
        [2] * 6 + [4] * 3,
        50.0,
        decision(21.0, 2, 3),
        decision(26.0, 3, 4),
        ready(28.0),
        ready(29.0),
    )
    assert [(e.from_count, e.to_count, e.ready_s, e.count_changed_s) for e in found] == [
        (2, 3, 28.0, 35.0),
        (3, 4, 29.0, 35.0),
    ]


def test_scaling_in_has_no_breach() -> None:
    (event,) = events_of([3] * 4 + [2] * 4, 80.0, decision(17.0, 3, 2))
    assert (event.count_changed_s, event.breach_s, event.load_step_s) == (25.0, None, None)
    assert event.count_changed_after_s == 20.0
    assert event.slo_broke is None  # there is no SLO


@pytest.mark.parametrize(
    ("slow", "broke"),
    [
        ((32.0, 60.0), True),
        ((0.0, 30.0), False),  # before it
        ((32.0, 34.0), False),  # a single window
        ((50.0, 80.0), False),  # after the next change, which is another story
    ],
)
def test_whether_the_slo_broke_after_scaling_in(slow: tuple[float, float], broke: bool) -> None:
    fall, _ = events_of(
        [3] * 6 + [2] * 5 + [3] * 5,
        80.0,
        decision(30.0, 3, 2),
        decision(50.0, 2, 3),
        calls=slow_between(*slow),
        slo=("p95(latency) < 1s",),
    )
    assert fall.slo_broke is broke


def slow_between(from_s: float, to_s: float) -> Calls:
    starts = [second / 5 for second in range(400)]
    times = [2.0 if from_s <= start < to_s else 0.1 for start in starts]
    return calls_by_hand(outcomes=["ok"] * 400, starts_s=starts, service_times_s=times)


@pytest.mark.parametrize(
    ("slow", "restored_s"),
    [
        ((22.0, 52.0), 60.0),  # windows 45-50 and 50-55 are bad, 55-60 and 60-65 good
        ((22.0, 30.0), 50.0),  # good again before the webserver was ready at 40
        ((0.0, 0.0), None),  # never broken
        ((22.0, 80.0), None),  # never restored
        ((50.0, 60.0), None),  # broken only after the change
    ],
)
def test_when_the_slo_held_again(slow: tuple[float, float], restored_s: float | None) -> None:
    (event,) = events_of(
        [2] * 8 + [3] * 4,
        80.0,
        decision(35.0, 2, 3),
        ready(45.0),
        calls=slow_between(*slow),
        slo=("p95(latency) < 1s", "rate(errors) < 1%"),
    )
    assert event.load_step_s == 0.0
    assert event.slo_restored_s == restored_s
    assert event.slo_broke is (slow[0] < 45.0 and slow[1] > 0.0)


@pytest.mark.parametrize(
    "line", ["mean(latency) < 1s", "max(latency) < 1s", "max(service_time) < 1s"]
)
def test_means_and_maxima_break_and_hold_again(line: str) -> None:
    (event,) = events_of(
        [2] * 8 + [3] * 4,
        80.0,
        decision(35.0, 2, 3),
        ready(45.0),
        calls=slow_between(22.0, 54.0),
        slo=(line,),
    )
    assert (event.slo_broke, event.slo_restored_s) == (True, 60.0)


def test_goodput_alone_breaks_by_failed_calls() -> None:
    calls = slow_between(0.0, 0.0)
    failing = (calls.intended_start_s >= 22.0) & (calls.intended_start_s < 52.0)
    calls = calls_by_hand(
        outcomes=np.where(failing, "airflow_server_error", "ok").tolist(),
        starts_s=calls.intended_start_s.tolist(),
    )
    (event,) = events_of(
        [2] * 8 + [3] * 4,
        80.0,
        decision(35.0, 2, 3),
        ready(45.0),
        calls=calls,
        slo=("rate(goodput) > 95%", "max(webserver.cpu) < 50%"),
    )
    assert (event.slo_broke, event.slo_restored_s) == (True, 60.0)


def test_a_lighter_stage_is_no_proof_that_the_slo_was_restored() -> None:
    (event,) = events_of(
        [2] * 3 + [3] * 9,
        80.0,
        decision(10.0, 2, 3),
        ready(12.0),
        calls=slow_between(2.0, 20.0),
        slo=("p95(latency) < 1s",),
        rate_per_s=0.5,
    )
    assert event.slo_broke is True
    assert event.slo_restored_s is None


def test_neither_is_a_recovery_phase() -> None:
    slow = slow_between(2.0, 18.0)
    stage = np.where(slow.intended_start_s < 18.0, 0, np.where(slow.intended_start_s < 20, -1, 1))
    (event,) = events_of(
        [2] * 3 + [3] * 9,
        80.0,
        decision(10.0, 2, 3),
        ready(12.0),
        calls=replace(slow, stage=stage.astype(np.int32)),
        slo=("p95(latency) < 1s",),
    )
    assert event.slo_restored_s is None


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


@pytest.mark.parametrize(("restored_s", "within_s"), [(365.0, 65.0), (375.0, 5.0)])
def test_an_slo_restored_as_soon_as_a_count_shows_may_have_been_so_before(
    restored_s: float, within_s: float
) -> None:
    event = ScalingEvent(
        from_count=2,
        to_count=3,
        count_changed_s=360.0,
        count_changed_after_s=300.0,
        slo_restored_s=restored_s,
        period_s=60.0,
    )
    assert steps_of(event)[-1].resolution_s == within_s


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
        takes_traffic_after_s=350.0,
    )
    assert steps_of(event) == (
        Step("load step", 90.0, None, 60.0),
        Step("count rises", 360.0, 270.0, 60.0),
        Step("takes traffic", 420.0, 60.0, 70.0),
    )


def test_scaling_in_has_a_decision_and_a_falling_count() -> None:
    event = ScalingEvent(3, 2, None, None, 100.0, 120.0, None, None)
    assert [(step.name, step.gap_s) for step in steps_of(event)] == [
        ("decision", None),
        ("count falls", 20.0),
    ]
