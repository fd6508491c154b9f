"""The highest stage that met the SLO, and what stopped the next one."""

import itertools
from dataclasses import replace

import pytest
from calls_by_hand import setting_of

from mwaa_headroom.analysis.capacity.highest_stage import (
    find_capacity,
    inversions,
    warned_of_collapse,
    with_chances,
)
from mwaa_headroom.analysis.findings import refusal, warning
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.results import RecoveryResult, SloResult, StageStats, SteadyState
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.stages import judge_trial, share
from mwaa_headroom.analysis.statistics import Estimate

SETTING = setting_of(
    {}, facts={"webserver_cpu": 0.5}, ask="capacity", target_rate_per_s=30.0, utilisation_target=0.7
)
LATENCY = "p95(latency) < 1s"
ERRORS = "rate(errors) < 1%"


def stage(
    index: int,
    rate_per_s: float,
    *,
    met: bool | None = True,
    broken: str = LATENCY,
    **changes: object,
) -> StageStats:
    """A stage of 1000 calls on 2 webservers at 50 % CPU, judged as told."""
    nothing = Estimate(value=None)
    why = refusal("judge.no_calls") if met is None else None
    lines = (SloResult(parse_slo(broken), 0.5, met, why),)
    made = StageStats(
        index=index,
        name="",
        rate_per_s=rate_per_s,
        started_at_s=0.0,
        measured_from_s=0.0,
        ended_at_s=100.0,
        complete=True,
        arrivals=1000,
        sent=1000,
        unsent=0,
        offered_per_s=rate_per_s,
        achieved_per_s=rate_per_s,
        goodput_per_s=rate_per_s,
        latency_s={"p95": nothing},
        service_time_s={"p95": nothing},
        lag_p99_s=0.0,
        error_rate=share(0, 1000),
        error_rate_by_layer={},
        outcomes={"ok": 1000},
        operations=(),
        webservers_min=2,
        webservers_max=2,
        webserver_cpu_percent=50.0,
        webserver_cpu_max_percent=60.0,
        connections_max=10.0,
        slo=lines,
        met_slo=met,
        generator_ok=True,
    )
    changed = replace(made, **changes)  # type: ignore[arg-type]
    trial, reason = judge_trial(
        changed.complete, changed.generator_ok, changed.met_slo, changed.steady
    )
    return replace(changed, trial=trial, trial_reason=reason)


def late(index: int, rate_per_s: float, *, met: bool | None) -> StageStats:
    return stage(
        index,
        rate_per_s,
        met=met,
        generator_ok=False,
        generator_reason=refusal("generator.late", lag_p99_s=0.2, limit_s=0.1),
    )


@pytest.mark.parametrize(
    ("stages", "highest", "stopped_by", "bottleneck"),
    [
        pytest.param([], None, None, "unknown", id="no stage"),
        pytest.param([stage(0, 5), stage(1, 10)], 1, None, "not_reached", id="none failed"),
        pytest.param([stage(0, 5), stage(1, 10, met=False)], 0, 1, "unknown", id="one failed"),
        pytest.param([stage(0, 5, met=False)], None, 0, "unknown", id="none passed"),
        pytest.param(
            [stage(0, 20, met=False), stage(1, 5), stage(2, 10)], 2, 0, "unknown", id="any order"
        ),
        pytest.param(
            [stage(0, 5), stage(1, 10, met=False), stage(2, 20)], 2, None, "not_reached",
            id="a pass above a fail",
        ),
        pytest.param(
            [stage(0, 5), late(1, 10, met=False)], 0, 1, "generator", id="late is no fail"
        ),
        pytest.param([stage(0, 5), late(1, 10, met=True)], 0, 1, "generator", id="nor a pass"),
        pytest.param(
            [stage(0, 5), late(1, 10, met=False), stage(2, 20, met=False)], 0, 2, "unknown",
            id="a real fail above a late stage",
        ),
        pytest.param(
            [stage(0, 5), stage(1, 10, met=None)], 0, None, "unknown", id="cannot be judged"
        ),
        pytest.param(
            [stage(0, 5), stage(1, 10, complete=False)], 0, None, "unknown", id="cut short: no pass"
        ),
        pytest.param(
            [stage(0, 5), stage(1, 10, met=False, complete=False)], 0, 1, "unknown",
            id="cut short can fail",
        ),
    ],
)  # fmt: skip
def test_which_stage_passed_and_which_stopped(
    stages: list[StageStats], highest: int | None, stopped_by: int | None, bottleneck: str
) -> None:
    found = find_capacity(SETTING, stages)
    assert found.highest_stage == highest
    assert found.stopped_by_stage == stopped_by
    assert found.bottleneck == bottleneck


@pytest.mark.parametrize("verdicts", list(itertools.product([True, False], repeat=4)))
def test_capacity_is_what_a_linear_search_finds(verdicts: tuple[bool, ...]) -> None:
    stages = [stage(i, 5.0 * (i + 1), met=met) for i, met in enumerate(verdicts)]
    passed = [s.index for s in stages if s.met_slo]
    found = find_capacity(SETTING, stages)
    assert found.highest_stage == max(passed, default=None)
    assert len(inversions(stages, found)) == sum(
        not met for met in verdicts[: max(passed, default=0)]
    )


@pytest.mark.parametrize(
    ("webservers_later", "why"),
    [(3, "it began with 2 webservers, the other one had 3"), (2, "did not behave the same")],
)
def test_a_lower_stage_that_failed_is_explained(webservers_later: int, why: str) -> None:
    stages = [stage(0, 18, met=False), stage(1, 25, webservers_min=webservers_later)]

    (found,) = inversions(stages, find_capacity(SETTING, stages))

    assert found.code == "capacity.lower_stage_broke"
    assert (found.values["stage"], found.values["highest"]) == ((0, ""), (1, ""))
    assert why in told(found)


def test_a_stage_that_got_slower_and_slower_has_not_passed() -> None:
    reason = warning("steady.rising", fraction_per_min=0.8)
    rising = SteadyState("rising", None, Estimate(0.8), reason)

    found = find_capacity(SETTING, [stage(0, 5), stage(1, 10, steady=rising)])

    assert (found.highest_stage, found.bottleneck) == (0, "unknown")
    assert found.explanation == refusal(
        "capacity.not_judged", stage=(1, ""), rate_per_s=10, reason=reason
    )


THROTTLED = {
    "outcomes": {"ok": 900, "throttled": 95, "airflow_server_error": 5},
    "error_rate_by_layer": {"service": share(95, 1000), "airflow": share(5, 1000)},
}
AIRFLOW = {
    "outcomes": {"ok": 950, "airflow_server_error": 50},
    "error_rate_by_layer": {"airflow": share(50, 1000)},
}
CALLER_ERRORS = {
    "outcomes": {"ok": 950, "airflow_client_error": 50},
    "error_rate_by_layer": {"airflow": share(50, 1000)},
}
BUSY = {"webserver_cpu_percent": 97.0, "webserver_cpu_max_percent": 100.0}


@pytest.mark.parametrize(
    ("changes", "broken", "bottleneck", "evidence"),
    [
        (THROTTLED, ERRORS, "throttle", "refused 95 of 1000 calls"),
        (THROTTLED | BUSY, ERRORS, "throttle", "refused 95"),
        (BUSY, LATENCY, "webserver_cpu", "97 % CPU (at most 100 %)"),
        # a busy webserver answers errors too: the latency tells
        (AIRFLOW | BUSY, LATENCY, "webserver_cpu", "97 % CPU"),
        (AIRFLOW | BUSY, ERRORS, "airflow", "50 of 50 failed calls"),
        (AIRFLOW, LATENCY, "airflow", "50 of 50"),
        ({}, "max(webserver.cpu) < 40%", "webserver_cpu", "50 % CPU"),
        ({"connections_max": 60.0}, LATENCY, "connections", "60 connections were open at 50 % CPU"),
        ({"database_cpu_percent": 91.0}, LATENCY, "database", "database was at 91 % CPU"),
        # a database that is busy answers late and wrong; both are seen as Airflow's errors
        (AIRFLOW | {"database_cpu_percent": 91.0}, ERRORS, "database", "91 % CPU"),
        # but it does not make calls wrong
        (CALLER_ERRORS | {"database_cpu_percent": 91.0}, ERRORS, "airflow", "50 of 50"),
        (BUSY | {"database_cpu_percent": 91.0}, LATENCY, "webserver_cpu", "so was the metadata"),
        ({"database_cpu_percent": 79.0}, LATENCY, "unknown", "nothing else stands out"),
        (
            {"database_cpu_percent": 20.0, "connections_max": 60.0},
            LATENCY,
            "connections",
            "a connection pool (the database was at 20 % CPU)",
        ),
        ({}, LATENCY, "unknown", "nothing else stands out"),
        (
            {"webserver_cpu_percent": None, "webserver_cpu_max_percent": None},
            LATENCY,
            "unknown",
            "CPU of the webservers is not known",
        ),
    ],
)
def test_what_stopped_a_stage_is_named_with_its_evidence(
    changes: dict[str, object], broken: str, bottleneck: str, evidence: str
) -> None:
    found = find_capacity(SETTING, [stage(0, 5, met=False, broken=broken, **changes)])
    assert found.bottleneck == bottleneck
    assert found.explanation.code == "capacity.stopped"
    assert evidence in told(found.explanation.values["evidence"])


def test_the_next_rate_is_told_with_the_probability_that_it_holds() -> None:
    stages = [stage(0, 10.0), stage(1, 20.0), stage(2, 25.0, met=False), stage(3, 20.0)]
    found = replace(find_capacity(SETTING, stages), rate_webservers=2)
    chances = {20.0: 0.9, 25.0: 0.2}

    told_of = with_chances(found, stages, chances.get)
    of_other_count = with_chances(replace(found, rate_webservers=3), stages, chances.get)
    unstopped = with_chances(found, [stage(0, 10.0), stage(1, 20.0), stage(3, 20.0)], chances.get)

    assert (told_of.highest_holds, told_of.next_rate_per_s, told_of.next_holds) == (0.9, 25.0, 0.2)
    assert (unstopped.highest_holds, unstopped.next_rate_per_s) == (0.9, None)
    assert of_other_count.highest_holds is None


def test_what_not_even_a_light_load_recovered_from_is_told_with_the_capacity() -> None:
    stages = [stage(0, 10.0), stage(1, 20.0, met=False), late(2, 25.0, met=False)]
    never = RecoveryResult(1, 100.0, 60.0, 2.0, 120, 10.0, None, warning("recovery.not_recovered"))
    unknown = replace(never, after_stage=2, explanation=refusal("recovery.not_known"))

    found = warned_of_collapse(Estimate(15.0, 14.0, 16.0), stages, (never, unknown))

    assert found.warnings == (warning("capacity.not_recovered", stage=(1, ""), rate_per_s=20.0),)


def test_a_rate_that_broke_at_another_time_has_not_held() -> None:
    up_and_down = [stage(0, 10.0), stage(1, 20.0), stage(2, 25.0, met=False),
                   stage(3, 20.0, met=False), stage(4, 10.0)]  # fmt: skip
    with_more = [*up_and_down[:3], replace(up_and_down[3], webservers_min=1, webservers_max=1)]

    found = find_capacity(SETTING, up_and_down)

    assert (found.highest_rate_per_s, found.stopped_by_stage) == (10.0, 3)
    assert find_capacity(SETTING, with_more).highest_rate_per_s == 20.0
