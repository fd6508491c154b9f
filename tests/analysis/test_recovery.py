"""When the SLO held again after an overload, exact from the rows."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls_by_hand import calls_by_hand, setting_of
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.calls import Calls, good_calls
from mwaa_headroom.analysis.generator.health import LostArrivals
from mwaa_headroom.analysis.generator.limits import LoadReport
from mwaa_headroom.analysis.judge import Window, judge
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.recovery import call_lines, held_from_s, recoveries
from mwaa_headroom.analysis.results import RecoveryResult, RunAnalysis
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.slo import Slo, parse_slo
from mwaa_headroom.analysis.stages import measured_window, stage_stats, stage_times

LINES = (
    "p50(latency) < 1s",
    "p90(latency) < 1s",
    "p50(service_time) >= 500ms",
    "p90(latency{operation=a}) <= 1s",
    "mean(latency) < 997ms",  # no mean of these times: sums that are equal but for rounding
    "max(latency) < 2s",
    "max(service_time) > 500ms",
    "rate(errors) < 10%",
    "rate(errors{layer=service}) < 10%",
    "rate(errors{outcome=throttled}) < 10%",
    "rate(errors{operation=a}) < 20%",
    "rate(goodput) >= 80%",
)


def recovered(
    outcomes: Sequence[str],
    *slo: str,
    starts_s: Sequence[float] | None = None,
    service_times_s: Sequence[float] | float = 0.1,
    hold_s: float = 10.0,
    ended: bool = True,
    lost: int = 0,
    lags_s: float = 0.0,
    cpu_fraction: float = 0.2,
) -> RecoveryResult:
    """A stage until 100 s, then a recovery phase of one call a second from 105 s on.

    Of the arrivals that were not sent, the first `lost` were lost with their load process.
    """
    starts = [105.0 + i for i in range(len(outcomes))] if starts_s is None else list(starts_s)
    calls = calls_by_hand(
        outcomes=["ok", *outcomes],
        starts_s=[0.0, *starts],
        service_times_s=np.append(0.1, np.broadcast_to(service_times_s, len(outcomes))).tolist(),
        stages=[0] + [-1] * len(outcomes),
        lags_s=lags_s,
    )
    setting = replace(setting_of({}, slo=slo), recovery_hold_s=hold_s)
    events = [
        {"kind": "stage_started", "stage": 0, "time_s": 0.0},
        {"kind": "stage_ended", "stage": 0, "time_s": 100.0},
        {"kind": "recovery_started", "stage": 0, "time_s": 105.0, "rate_per_s": 1.0},
    ]
    if ended:
        events.append({"kind": "recovery_ended", "stage": 0, "time_s": starts[-1] + 1.0})
    good = good_calls(calls, setting.slos)
    (times,) = stage_times(setting, events, calls)
    stage = stage_stats(times, measured_window(times, calls, good, ()), setting.slos)
    report = LoadReport(0, 100.0, starts[-1] + 1.0, cpu_fraction, 0.0, 0.0)
    unsent_s = calls.intended_start_s[~calls.sent][:lost]
    gone = LostArrivals(stage=np.full(len(unsent_s), -1, dtype=np.int32), start_s=unsent_s)
    (found,) = recoveries(setting, [stage], events, calls, good, [report], gone)
    return found


def test_the_first_window_that_holds_counts_from_the_end_of_the_load() -> None:
    result = recovered(["service_timeout"] * 7 + ["ok"] * 23, "rate(errors) < 1%")
    assert result.recovered_after_s == 12.0  # the eighth call came at 112 s
    assert (result.after_stage, result.calls, result.rate_per_s) == (0, 30, 1.0)
    assert result.watched_s == 35.0
    assert result.explanation == (
        "After stage 1 the SLO held again 12.0 s after the load had ended, for 10 s at 1 calls/s."
    )


def test_it_may_hold_from_the_first_call_on() -> None:
    result = recovered(["ok"] * 30, "rate(errors) < 1%")
    assert result.recovered_after_s == 5.0
    assert result.explanation == (
        "After stage 1 the SLO held again at once: a light load began 5.0 s after the load had "
        "ended, and from its first call on the SLO held for 10 s at 1 calls/s."
    )


def test_a_good_time_that_is_too_short_does_not_count() -> None:
    outcomes = ["ok"] * 9 + ["throttled"] + ["ok"] * 20
    assert recovered(outcomes, "rate(errors) < 1%").recovered_after_s == 15.0


@pytest.mark.parametrize(
    ("outcomes", "slo", "says"),
    [
        (
            ["connection_error"] * 30,
            ("rate(errors) < 1%",),
            "did not hold again within the 35.0 s it was watched at 1 calls/s, so the overload "
            "outlives its load: of the last 10 calls 0 ended ok",
        ),
        (
            ["ok"] * 30,
            ("p95(latency) < 1s",),
            "p95 needs at least 20 calls in 10 s, there were at most 10; raise",
        ),
        (["ok"] * 4, ("rate(errors) < 1%",), "was watched for 9.0 s, and has to hold for 10 s"),
        (["ok"] * 30, ("max(webserver.cpu) < 85%",), "no line about calls"),
    ],
)
def test_what_is_said_when_it_was_not_seen(
    outcomes: list[str], slo: tuple[str, ...], says: str
) -> None:
    result = recovered(outcomes, *slo)
    assert result.recovered_after_s is None
    assert says in result.explanation


NOT_KNOWN = "it is not known when the SLO held again: "


@pytest.mark.parametrize(
    ("outcomes", "lost", "says"),
    [
        pytest.param(
            ["unsent"] * 30,
            0,
            "30 of 30 arrivals of the light load were not sent, because all senders were busy; "
            "raise limits.max_in_flight",
            id="nobody was free",
        ),
        pytest.param(
            ["ok", "unsent"] * 15,
            15,
            "15 of 30 arrivals of the light load were not sent (lost with their load process); "
            "repeat the run",
            id="half the load is gone, the rest ends ok",
        ),
        pytest.param(
            ["unsent", "ok", "ok", "unsent", "ok"] * 6,
            6,
            "12 of 30 arrivals of the light load were not sent (6 of them lost with",
            id="lost and unsent",
        ),
        pytest.param(
            ["connection_error", "unsent"] * 15,
            15,
            "15 of 30 arrivals of the light load were not sent (lost with",
            id="of lost calls nobody knows more",
        ),
        pytest.param(
            ["connection_error"] * 20 + ["ok", "unsent"] * 5,
            0,
            "5 of 30 arrivals of the light load were not sent",
            id="it may have held at last",
        ),
    ],
)
def test_the_generators_own_gaps_are_no_overload(outcomes: list[str], lost: int, says: str) -> None:
    result = recovered(outcomes, "rate(errors) < 1%", lost=lost)
    assert result.recovered_after_s is None
    assert f"{NOT_KNOWN}{says}" in result.explanation
    assert "outlives" not in result.explanation


@pytest.mark.parametrize(
    ("outcomes", "lost"),
    [
        (["client_timeout", "unsent"] * 15, 0),  # no sender was free, for calls hung
        (["connection_error"] * 29 + ["unsent"], 1),
    ],
)
def test_what_sent_calls_broke_is_the_environments(outcomes: list[str], lost: int) -> None:
    assert "the overload outlives its load" in (
        recovered(outcomes, "rate(errors) < 1%", "max(latency) < 1s", lost=lost).explanation
    )


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ({"cpu_fraction": 0.93}, "a load process used 93 % of one core"),
        ({"lags_s": 0.2}, "calls were sent up to 200 ms late"),
    ],
)
def test_a_generator_past_its_limits_is_no_overload(trouble: dict[str, float], says: str) -> None:
    result = recovered(["ok"] * 30, "max(latency) < 50ms", **trouble)
    assert result.recovered_after_s is None
    assert f"{NOT_KNOWN}{says}" in result.explanation
    assert result.explanation.endswith("or a lower rate.")


@pytest.mark.parametrize(
    ("outcomes", "trouble", "says"),
    [
        (["ok", "unsent"] * 5 + ["ok"] * 20, {"lost": 5}, "5 of 30 arrivals"),
        (["throttled"] * 5 + ["ok"] * 25, {"cpu_fraction": 0.93}, "a load process used 93 %"),
    ],
)
def test_when_it_held_is_a_bound_where_the_generator_was_in_the_way(
    outcomes: list[str], trouble: dict[str, Any], says: str
) -> None:
    result = recovered(outcomes, "rate(errors) < 1%", **trouble)
    assert result.recovered_after_s is not None
    assert f"; it may have held before: {says}" in result.explanation


def test_lines_about_webservers_are_left_out_and_named() -> None:
    result = recovered(["ok"] * 30, "rate(errors) < 1%", "max(webserver.cpu) < 85%")
    assert result.recovered_after_s == 5.0
    assert "(without max(webserver.cpu) < 85%, no line about calls)" in result.explanation


def test_waiting_for_the_last_answers_is_no_watching() -> None:
    """Arrivals ended after 8 s: a long drain does not make them a window of 10 s."""
    starts_s = [105.0 + i for i in range(9)]
    result = recovered(["ok"] * 9, "rate(errors) < 1%", starts_s=starts_s, ended=False)
    assert result.recovered_after_s is None
    assert result.watched_s == 13.0


def test_slow_calls_count_by_when_they_came_not_by_when_they_ended() -> None:
    result = recovered(
        ["ok"] * 40,
        "p90(latency) < 1s",
        starts_s=[100.0 + i for i in range(40)],
        service_times_s=[9.0 - i for i in range(9)] + [0.1] * 31,
    )
    assert result.recovered_after_s == 8.0  # 9 - 8 = 1 s is the one slow call of ten that may be


outcome_words = st.sampled_from(
    ["ok"] * 6 + ["throttled", "service_timeout", "client_timeout", "connection_error", "unsent"]
)


@st.composite
def phases(draw: st.DrawFn) -> Calls:
    count = draw(st.integers(1, 40))
    gaps = draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 2.0]), min_size=count, max_size=count))
    times = st.lists(st.sampled_from([0.1, 0.5, 1.0, 1.5, 3.0]), min_size=count, max_size=count)
    words = st.lists(outcome_words, min_size=count, max_size=count)
    return calls_by_hand(
        outcomes=draw(words),
        operations=draw(st.lists(st.sampled_from("ab"), min_size=count, max_size=count)),
        starts_s=np.cumsum(gaps).tolist(),
        service_times_s=draw(times),
    )


def slow_and_sure(calls: Calls, slos: Sequence[Slo], hold_s: float, until_s: float) -> float | None:
    """The definition, window by window, with the judge of stages."""
    good = good_calls(calls, slos)
    for start_s in calls.intended_start_s.tolist():
        inside = (calls.intended_start_s >= start_s) & (calls.intended_start_s < start_s + hold_s)
        window = Window(calls.where(inside), good[inside], ())
        held = all(judge(slo, window).met is True for slo in slos)
        if start_s + hold_s <= until_s and window.calls.sent.all() and held:
            return float(start_s)
    return None


@settings(max_examples=100, deadline=None)
@given(phases(), st.lists(st.sampled_from(LINES), min_size=1, max_size=3, unique=True))
def test_sliding_windows_say_what_the_judge_says_of_each(calls: Calls, lines: list[str]) -> None:
    slos = [parse_slo(text) for text in lines]
    until_s = float(calls.intended_start_s.max())
    for hold_s in (1.0, 7.0):
        assert held_from_s(calls, slos, hold_s, until_s) == slow_and_sure(
            calls, slos, hold_s, until_s
        )


def test_lines_that_a_recovery_is_judged_by() -> None:
    texts = ("p95(latency) < 1s", "rate(unsent) < 1%", "min(webserver.count) >= 2")
    assert [slo.text for slo in call_lines([parse_slo(t) for t in texts])] == [texts[0]]


def analysed(directory: Path, **changes: Any) -> RunAnalysis:
    write_synthetic_run(directory, **changes)
    return Run(read_run(directory)).analysis


OVERLOAD: dict[str, Any] = {"rates_per_s": (4.0, 8.0, 20.0), "stage_s": 30.0, "max_webservers": 2}


def test_a_hang_that_outlives_the_load_is_measured(tmp_path: Path) -> None:
    """Mute for 24 s after the load, and what queued up in that time has to be served first."""
    (result,) = analysed(tmp_path / "run", **OVERLOAD, recovery_s=60.0, hang_s=24.0).recoveries
    assert result.after_stage == 2
    assert result.recovered_after_s is not None
    assert 23.0 < result.recovered_after_s < 35.0


def test_without_a_hang_it_takes_as_long_as_the_queue(tmp_path: Path) -> None:
    """20 calls/s where 2 * 0.25 / 0.022 fit: after 30 s no more than a moment's work is queued."""
    (result,) = analysed(tmp_path / "run", **OVERLOAD, recovery_s=30.0).recoveries
    assert result.recovered_after_s is not None
    assert result.recovered_after_s < 5.0


def test_a_recovery_changes_no_other_number_of_the_report(tmp_path: Path) -> None:
    alone = analysed(tmp_path / "alone", **OVERLOAD)
    followed = analysed(tmp_path / "followed", **OVERLOAD, recovery_s=30.0)
    assert followed.stages == alone.stages
    assert followed.slo == alone.slo
    assert followed.capacity == alone.capacity
    assert followed.verdict == alone.verdict
    assert followed.generator.rows > alone.generator.rows


def test_more_webservers_did_not_restore_what_less_load_restored(tmp_path: Path) -> None:
    """The third webserver comes while the stage still breaks the SLO; only its end helps."""
    analysis = analysed(
        tmp_path / "run", rates_per_s=(4.0, 60.0), stage_s=40.0, recovery_s=60.0, recovery_per_s=4.0
    )
    assert analysis.recoveries[0].recovered_after_s is not None
    assert [event.slo_restored_s for event in analysis.scaling if event.to_count == 3] == [None]
