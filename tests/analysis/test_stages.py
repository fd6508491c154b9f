from typing import Any

import pytest
from calls_by_hand import began, calls_by_hand, ended, periods_by_hand, setting_of

from mwaa_headroom.analysis.calls import Calls, good_calls
from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.judge import Window
from mwaa_headroom.analysis.results import StageStats
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.stages import measured_window, stage_stats, stage_times
from mwaa_headroom.analysis.statistics import is_lower_bound


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
