from typing import Any

import pytest
from calls_by_hand import began, calls_by_hand, ended, periods_by_hand, setting_of

from analysis.calls import Calls
from analysis.results import ScalingEvent
from analysis.scaling import scaling_events
from analysis.stages import stage_times

TWO_STAGES = [began(0, 0.0), ended(0, 20.0), began(1, 20.0), ended(1, 80.0)]


def events_of(
    webservers: list[int | None],
    cpu_percent: list[float | None] | float = 50.0,
    *extra: dict[str, Any],
    connections: float | None = None,
    calls: Calls | None = None,
    slo: tuple[str, ...] = (),
) -> list[ScalingEvent]:
    setting = setting_of({"duration_s": 20.0}, {"duration_s": 60.0}, slo=slo)
    calls = calls or calls_by_hand(outcomes=[])
    events = sorted([*TWO_STAGES, *extra], key=lambda event: event["time_s"])
    periods = periods_by_hand(
        webservers=webservers, cpu_percent=cpu_percent, connections=connections
    )
    return list(
        scaling_events(setting, stage_times(setting, events, calls), events, periods, calls)
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
    assert event.count_changed_s == 45.0
    assert event.reason == "CPU"


def test_without_events_of_the_environment_the_metrics_tell_what_they_can() -> None:
    cpu: list[float | None] = [50.0] * 4 + [80.0, 80.0, 60.0, 60.0]
    (event,) = events_of([2] * 6 + [4] * 2, cpu)
    assert (event.from_count, event.to_count) == (2, 4)
    assert (event.breach_s, event.count_changed_s) == (25.0, 35.0)
    assert event.decision_s is None
    assert event.ready_s is None
    assert event.reason == "CPU above 70 %"


def test_connections_too_can_be_past_their_threshold() -> None:
    (event,) = events_of([2] * 6 + [3] * 2, connections=31.0)
    assert event.breach_s == 5.0
    assert event.reason == "connections per webserver above 15"


@pytest.mark.parametrize(
    "webservers",
    [[2, 2, 2, 1, 2, 2], [2, 2, 2, 2, 2, 3], [None, None], [], [2]],
    ids=["one late sample", "last period", "no counts", "no periods", "one period"],
)
def test_an_unconfirmed_count_is_no_change(webservers: list[int | None]) -> None:
    assert events_of(webservers) == []


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
