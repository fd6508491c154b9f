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
from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.generator.health import LostArrivals
from mwaa_headroom.analysis.generator.limits import LoadReport
from mwaa_headroom.analysis.host import HostReport
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.recovery import call_lines, held_from_s, recoveries
from mwaa_headroom.analysis.results import RecoveryResult, RunAnalysis
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.slo import Slo, parse_slo
from mwaa_headroom.analysis.slo_judgement import Window, judge
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
    others_cpus: float = 0.0,
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
    stage = stage_stats(times, measured_window(times, Window(calls, good, ())), setting.slos)
    report = LoadReport(0, 100.0, starts[-1] + 1.0, cpu_fraction, 0.0, 0.0)
    unsent_s = calls.intended_start_s[~calls.sent][:lost]
    gone = LostArrivals(stage=np.full(len(unsent_s), -1, dtype=np.int32), start_s=unsent_s)
    host = (HostReport(100.0, starts[-1] + 1.0, 2.0, 0.8, others_cpus, 0.0, 0.0, 0.0016),)
    (found,) = recoveries(setting, [stage], events, Window(calls, good, ()), [report], gone, host)
    return found


def test_the_first_window_that_holds_counts_from_the_end_of_the_load() -> None:
    result = recovered(["service_timeout"] * 7 + ["ok"] * 23, "rate(errors) < 1%")
    assert result.recovered_after_s == 12.0  # the eighth call came at 112 s
    assert (result.after_stage, result.calls, result.rate_per_s) == (0, 30, 1.0)
    assert result.watched_s == 35.0
    assert result.explanation == note(
        "recovery.held_again",
        stage=(0, "stage 1"),
        without=(),
        after_s=12.0,
        hold_s=10.0,
        rate_per_s=1.0,
        perhaps_before=None,
    )


def test_it_may_hold_from_the_first_call_on() -> None:
    result = recovered(["ok"] * 30, "rate(errors) < 1%")
    assert result.recovered_after_s == 5.0
    assert result.explanation.code == "recovery.held_at_once"
    assert result.explanation.values["after_s"] == 5.0


def test_a_good_time_that_is_too_short_does_not_count() -> None:
    outcomes = ["ok"] * 9 + ["throttled"] + ["ok"] * 20
    assert recovered(outcomes, "rate(errors) < 1%").recovered_after_s == 15.0


@pytest.mark.parametrize(
    ("outcomes", "line", "why"),
    [
        (
            ["ok"] * 30,
            "p95(latency) < 1s",
            refusal(
                "recovery.few_calls",
                slo=parse_slo("p95(latency) < 1s"),
                needed=20,
                hold_s=10.0,
                most_calls=10,
            ),
        ),
        (
            ["ok"] * 4,
            "rate(errors) < 1%",
            refusal("recovery.watched_too_short", watched_s=9.0, hold_s=10.0),
        ),
        (["ok"] * 30, "max(webserver.cpu) < 85%", refusal("recovery.no_call_lines")),
    ],
)
def test_why_it_is_not_known(outcomes: list[str], line: str, why: Finding) -> None:
    assert why_not_known(recovered(outcomes, line)) == why


def test_an_overload_that_outlives_its_load() -> None:
    result = recovered(["service_error"] * 30, "rate(errors) < 1%")
    assert result.recovered_after_s is None
    assert result.explanation == warning(
        "recovery.not_recovered",
        stage=(0, "stage 1"),
        without=(),
        watched_s=35.0,
        rate_per_s=1.0,
        last_calls=10,
        last_ok=0,
        last_good=0,
    )


def why_not_known(result: RecoveryResult) -> Finding:
    assert result.recovered_after_s is None
    assert result.explanation.code == "recovery.not_known"
    found = result.explanation.values["reason"]
    assert isinstance(found, Finding)
    return found


@pytest.mark.parametrize(
    ("outcomes", "lost", "unsent"),
    [
        pytest.param(["unsent"] * 30, 0, 30, id="nobody was free"),
        pytest.param(["ok", "unsent"] * 15, 15, 15, id="half the load is gone, the rest ends ok"),
        pytest.param(["unsent", "ok", "ok", "unsent", "ok"] * 6, 6, 12, id="lost and unsent"),
        pytest.param(
            ["service_error", "unsent"] * 15, 15, 15, id="of lost calls nobody knows more"
        ),
        pytest.param(
            ["service_error"] * 20 + ["ok", "unsent"] * 5, 0, 5, id="it may have held at last"
        ),
    ],
)
def test_the_generators_own_gaps_are_no_overload(
    outcomes: list[str], lost: int, unsent: int
) -> None:
    why = why_not_known(recovered(outcomes, "rate(errors) < 1%", lost=lost))
    assert why == refusal("recovery.unsent", unsent=unsent, lost=lost, arrivals=30)


@pytest.mark.parametrize(
    ("outcomes", "lost"),
    [
        (["client_timeout", "unsent"] * 15, 0),  # no sender was free, for calls hung
        (["service_error"] * 29 + ["unsent"], 1),
    ],
)
def test_what_sent_calls_broke_is_the_environments(outcomes: list[str], lost: int) -> None:
    result = recovered(outcomes, "rate(errors) < 1%", "max(latency) < 1s", lost=lost)
    assert result.explanation.code == "recovery.not_recovered"


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        ({"cpu_fraction": 0.93}, "generator.busy"),
        ({"lags_s": 0.2}, "generator.late"),
        ({"others_cpus": 1.0}, "host.disturbed"),
    ],
)
def test_a_generator_past_its_limits_or_a_busy_host_is_no_overload(
    trouble: dict[str, Any], code: str
) -> None:
    assert why_not_known(recovered(["ok"] * 30, "max(latency) < 50ms", **trouble)).code == code


@pytest.mark.parametrize(
    ("outcomes", "trouble", "code"),
    [
        (["ok", "unsent"] * 5 + ["ok"] * 20, {"lost": 5}, "recovery.unsent"),
        (["throttled"] * 5 + ["ok"] * 25, {"cpu_fraction": 0.93}, "generator.busy"),
    ],
)
def test_when_it_held_is_a_bound_where_the_generator_was_in_the_way(
    outcomes: list[str], trouble: dict[str, Any], code: str
) -> None:
    result = recovered(outcomes, "rate(errors) < 1%", **trouble)
    assert result.recovered_after_s is not None
    assert result.explanation.code == "recovery.held_again"
    assert result.explanation.values["perhaps_before"].code == code


def test_lines_about_webservers_are_left_out_and_named() -> None:
    result = recovered(["ok"] * 30, "rate(errors) < 1%", "max(webserver.cpu) < 85%")
    assert result.recovered_after_s == 5.0
    assert result.explanation.values["without"] == (parse_slo("max(webserver.cpu) < 85%"),)


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
    ["ok"] * 6 + ["throttled", "service_timeout", "client_timeout", "service_error", "unsent"]
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


@settings(max_examples=40)
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
