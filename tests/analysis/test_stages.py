"""When stages were, what they saw, and what they say as trials."""

import itertools
from typing import Any

import pytest
from calls_by_hand import began, calls_by_hand, ended, periods_by_hand, setting_of
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.calls import Calls, good_calls
from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.results import StageStats, SteadyState
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.slo_judgement import Window
from mwaa_headroom.analysis.stages import (
    error_rate,
    error_rate_by_layer,
    judge_trial,
    measured_window,
    outcome_counts,
    share,
    stage_stats,
    stage_times,
)
from mwaa_headroom.analysis.statistics import Estimate, is_lower_bound


def only_stage(calls: Calls, *slo: str, warmup_s: float = 0.0) -> StageStats:
    setting = setting_of({"warmup_s": warmup_s}, slo=slo)
    (times,) = stage_times(setting, [began(0, 0.0), ended(0, 100.0)], calls)
    slos = [parse_slo(text) for text in slo]
    periods = periods_by_hand(webservers=[2] * 40, connections=8.0)
    window = measured_window(times, Window(calls, good_calls(calls, slos), periods))
    return stage_stats(times, window, slos)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        # as planned; waiting for the last answers is no part of the stage
        ([began(0, 0.0), ended(0, 107.0)], [(0.0, 100.0, True)]),
        # ended early: aborted
        ([began(0, 0.0), ended(0, 50.0)], [(0.0, 50.0, False)]),
        # never ended: killed after the last call
        ([began(0, 0.0)], [(0.0, 79.0, False)]),
        # events lost: the calls tell
        ([], [(0.0, 79.0, False)]),
        # the second stage began without a call
        (
            [began(0, 0.0), ended(0, 100.0), began(1, 100.0)],
            [(0.0, 100.0, True), (100.0, 100.0, False)],
        ),
    ],
)
def test_when_stages_were(
    events: list[dict[str, Any]], expected: list[tuple[float, float, bool]]
) -> None:
    calls = calls_by_hand(outcomes=["ok"] * 80)
    found = stage_times(setting_of({}, {}), events, calls)
    assert [(t.started_at_s, t.ended_at_s, t.complete) for t in found] == expected


def test_warm_up_is_left_out_of_everything() -> None:
    calls = calls_by_hand(
        outcomes=["service_error"] * 20 + ["ok"] * 80, service_times_s=[5.0] * 20 + [0.1] * 80
    )
    stage = only_stage(calls, "p95(latency) < 1s", "rate(errors) < 1%", warmup_s=20.0)
    assert stage.arrivals == 80
    assert stage.offered_per_s == stage.achieved_per_s == stage.goodput_per_s == 1.0
    assert stage.met_slo is True
    assert stage.measured_from_s == 20.0


def test_numbers_of_a_stage() -> None:
    calls = calls_by_hand(
        outcomes=["ok"] * 94 + ["service_timeout"] * 6,
        service_times_s=[0.1] * 47 + [0.9] * 47 + [10.0] * 6,
        operations=["a", "b"] * 50,
    )
    stage = only_stage(calls, "p90(latency) < 500ms")
    assert stage.latency_s["p50"].value == 0.9
    assert stage.latency_s["p95"].value == 10.0
    assert is_lower_bound(stage.latency_s["p95"])
    assert stage.censored == 6
    assert stage.goodput_per_s == pytest.approx(0.47)
    assert stage.error_rate.value == pytest.approx(0.06)
    assert stage.outcomes == {"ok": 94, "service_timeout": 6}
    assert [(o.operation, o.arrivals) for o in stage.operations] == [("a", 50), ("b", 50)]
    assert (stage.webservers_min, stage.webserver_cpu_percent) == (2, 50.0)
    assert stage.connections_max == 8.0
    assert stage.met_slo is False


@pytest.mark.parametrize(
    ("slo", "met"),
    [
        ("max(webserver.cpu) < 60%", True),
        ("mean(webserver.cpu) < 40%", False),
        ("max(webserver.connections) < 5", True),  # 8 over 2 webservers
        ("min(webserver.count) >= 3", False),
        ("max(webserver.memory) < 90%", None),  # not reported
        ("rate(unsent) < 0.1%", True),
        ("rate(goodput) > 99%", False),
        ("rate(errors{outcome=throttled}) < 1%", False),
        ("rate(errors{layer=airflow}) < 1%", True),
        ("rate(errors{operation=health}) < 1%", None),  # not called
        ("p99(latency) < 1s", None),  # too few calls for p99
        ("p95(latency{operation=health}) < 1s", None),
        ("mean(service_time) < 1s", True),
        ("max(latency) < 150ms", True),
    ],
)
def test_every_kind_of_line_is_judged(slo: str, met: bool | None) -> None:
    calls = calls_by_hand(outcomes=["ok"] * 90 + ["throttled"] * 2)
    stage = only_stage(calls, slo)
    assert stage.slo[0].met is met
    assert bool(stage.slo[0].reason) == (met is None)
    assert stage.met_slo is met


def test_a_stage_in_which_no_call_ended_ok_breaks_a_latency_line() -> None:
    stage = only_stage(calls_by_hand(outcomes=["throttled"] * 50), "p95(latency) < 1s")
    assert stage.met_slo is False
    assert stage.latency_s["p95"].value is None
    assert stage.slo[0].reason == refusal("judge.none_ok", operation=None)


@pytest.mark.parametrize(
    ("calls", "slo", "reason"),
    [
        (calls_by_hand(outcomes=["ok"] * 100), "p95(latency) < 1s", None),
        # p99 of the lag: one late call of 100 is not enough
        (
            calls_by_hand(outcomes=["ok"] * 100, lags_s=[0.0] * 99 + [5.0]),
            "p95(latency) < 1s",
            None,
        ),
        (
            calls_by_hand(outcomes=["ok"] * 100, lags_s=0.12),
            "p95(latency) < 1s",
            refusal("generator.late", lag_p99_s=0.12, limit_s=0.1),
        ),
        # 10 % of a threshold of 2 s is more than 100 ms
        (calls_by_hand(outcomes=["ok"] * 100, lags_s=0.12), "p95(latency) < 2s", None),
        (
            calls_by_hand(outcomes=["ok"] * 99 + ["unsent"]),
            "p95(latency) < 1s",
            refusal("generator.unsent", unsent=1, arrivals=100, limit_fraction=0.001),
        ),
    ],
)
def test_our_own_generator_is_held_to_its_limits(
    calls: Calls, slo: str, reason: Finding | None
) -> None:
    stage = only_stage(calls, slo)
    assert stage.generator_ok is (reason is None)
    assert stage.generator_reason == reason


@pytest.mark.parametrize(
    ("service_s", "generator_ok"),
    [
        (2.0, True),  # 2 s - 2 x 120 ms is still too slow
        (1.1, False),  # the lag may have made the difference
    ],
)
def test_lag_does_not_excuse_a_latency_that_is_broken_without_it(
    service_s: float, generator_ok: bool
) -> None:
    calls = calls_by_hand(outcomes=["ok"] * 100, lags_s=0.12, service_times_s=service_s)

    stage = only_stage(calls, "p95(latency) < 1s")

    assert (stage.met_slo, stage.generator_ok) == (False, generator_ok)


UNSENT_WITH_SLOW_CALLS = calls_by_hand(outcomes=["ok"] * 90 + ["unsent"] * 10, service_times_s=3.0)


def test_unsent_arrivals_cannot_turn_a_fail_into_a_pass() -> None:
    stage = only_stage(UNSENT_WITH_SLOW_CALLS, "p95(latency) < 1s")

    assert (stage.met_slo, stage.generator_ok) == (False, True)


@pytest.mark.parametrize("line", ["rate(unsent) < 1%", "rate(goodput) > 99%"])
def test_a_line_that_only_unsent_arrivals_broke_is_the_generators_fault(line: str) -> None:
    stage = only_stage(UNSENT_WITH_SLOW_CALLS, line)

    assert (stage.met_slo, stage.generator_ok) == (False, False)
    assert stage.generator_reason is not None
    assert stage.generator_reason.code == "generator.unsent"


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 300, 0.0, 0.0126),
        (5, 1000, 0.0021, 0.0117),
    ],
)
def test_wilson_interval(part: int, whole: int, low: float, high: float) -> None:
    """The first four: Newcombe, Stat. Med. 17 (1998) 857, table I, method 3."""
    estimate = share(part, whole)
    assert estimate.low == pytest.approx(low, abs=6e-5)
    assert estimate.high == pytest.approx(high, abs=6e-5)


@given(st.integers(0, 2000), st.integers(1, 2000))
def test_interval_holds_the_share_and_mirrors_its_complement(part: int, whole: int) -> None:
    part = min(part, whole)
    estimate, complement = share(part, whole), share(whole - part, whole)
    assert estimate.low is not None
    assert estimate.value is not None
    assert estimate.high is not None
    assert complement.high is not None
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.low == pytest.approx(1 - complement.high, abs=1e-12)


def test_no_calls_have_no_share() -> None:
    assert share(0, 0).value is None


def test_errors_are_shares_of_calls_sent_and_unsent_ones_of_arrivals() -> None:
    calls = calls_by_hand(
        outcomes=["ok"] * 4 + ["throttled"] * 2 + ["airflow_server_error"] + ["unsent"]
    )
    assert error_rate(calls).value == pytest.approx(3 / 7)
    rates = {layer: rate.value for layer, rate in error_rate_by_layer(calls).items()}
    assert rates == {"service": 2 / 7, "airflow": 1 / 7, "generator": 1 / 8}
    assert list(outcome_counts(calls)) == ["ok", "throttled", "airflow_server_error", "unsent"]


def test_an_outcome_of_a_later_version_counts_as_an_error_of_the_service() -> None:
    calls = calls_by_hand(outcomes=["ok", "melted"])
    assert outcome_counts(calls) == {"ok": 1, "service_error": 1}


@pytest.mark.parametrize(
    ("slos", "good"),
    [
        ([], [True, True, True, False]),
        (["p95(latency) < 800ms"], [True, True, False, False]),
        (["p95(latency) < 800ms", "p99(latency) < 300ms"], [True, False, False, False]),
        (["p95(latency{operation=b}) < 300ms"], [True, False, True, False]),
        # a median or a mean is no limit for a single call
        (["p50(latency) < 1ms", "mean(latency) < 1ms"], [True, True, True, False]),
    ],
)
def test_good_calls_are_ok_and_within_the_tightest_threshold(
    slos: list[str], good: list[bool]
) -> None:
    calls = calls_by_hand(
        outcomes=["ok", "ok", "ok", "airflow_server_error"],
        operations=["a", "b", "a", "a"],
        service_times_s=[0.2, 0.5, 1.0, 0.1],
    )
    assert good_calls(calls, [parse_slo(text) for text in slos]).tolist() == good


def settled(verdict: str, reason: Finding | None = None) -> SteadyState:
    return SteadyState(verdict, 20.0, Estimate(0.0), reason)


RISING = settled("rising", warning("steady.rising", fraction_per_min=0.4))


@pytest.mark.parametrize(
    ("complete", "generator_ok", "met_slo", "steady", "expected"),
    [
        pytest.param(True, True, True, settled("steady"), "pass", id="all is well"),
        pytest.param(True, True, True, None, "pass", id="nobody looked whether it settled"),
        pytest.param(True, True, True, settled("not_checked", "Short."), "pass", id="nor could"),
        pytest.param(True, True, True, RISING, "undecided", id="it would have got worse"),
        pytest.param(True, True, False, RISING, "fail", id="bad enough already"),
        pytest.param(False, True, True, None, "undecided", id="cut short: no pass"),
        pytest.param(False, True, False, None, "fail", id="cut short can fail"),
        pytest.param(True, True, None, None, "undecided", id="a line cannot be judged"),
        pytest.param(True, False, True, None, "undecided", id="the load was not as asked for"),
        pytest.param(True, False, False, None, "undecided", id="nor is it a fail then"),
    ],
)
def test_verdict_of_a_trial(
    complete: bool,
    generator_ok: bool,
    met_slo: bool | None,
    steady: SteadyState | None,
    expected: str,
) -> None:
    assert judge_trial(complete, generator_ok, met_slo, steady)[0] == expected


def test_the_reason_is_the_stages_own() -> None:
    assert judge_trial(True, True, True, RISING)[1] == RISING.reason


def test_only_what_is_undecided_has_a_reason() -> None:
    steadies = (None, settled("steady"), settled("unsteady"), RISING)
    for complete, ok, met, steady in itertools.product(
        (True, False), (True, False), (True, False, None), steadies
    ):
        verdict, reason = judge_trial(complete, ok, met, steady)
        assert bool(reason) == (verdict == "undecided")
