"""What theory expects of a stage: by hand, against exact queues, and of whole records."""

from pathlib import Path

import pytest
from calls_by_hand import setting_of
from hypothesis import given
from hypothesis import strategies as st
from stages_by_hand import stage_by_hand
from synthetic_records import write_synthetic_run

from analysis.models.checks import model_checks
from analysis.models.queueing import MultiServerQueue
from analysis.records.reader import read_run
from analysis.results import DemandResult, Estimate, ModelCheck, StageStats
from analysis.run_analysis import analyse_run
from analysis.setting import Setting, read_setting


def demand_of(
    demand_s: float | None, *, background: float = 0.0, **per_operation_s: float
) -> DemandResult:
    return DemandResult(
        mix_s=Estimate(demand_s),
        per_operation_s={name: Estimate(value) for name, value in per_operation_s.items()},
        refusal="",
        condition_number=1.0,
        background_cpu_per_webserver=Estimate(background),
        rate_per_webserver_per_s=Estimate(None),
        periods=30,
    )


def setting_with(
    cpu: float | None = 1.0, arrivals: str = "poisson", think_time_s: float | None = None
) -> Setting:
    scenario = {
        "name": "by hand",
        "question": {"ask": "check"},
        "traffic": {
            "arrivals": arrivals,
            "think_time_s": think_time_s,
            "mix": {"list_dags": {"weight": 1}},
        },
        "stages": [{"rate_per_s": 1.0, "users": None, "duration_s": 100.0}],
    }
    facts = {} if cpu is None else {"webserver_cpu": cpu}
    return read_setting({"scenario": scenario, "environment": {"facts": facts}})


def checked(
    *stages: StageStats, demand: DemandResult | None = None, setting: Setting | None = None
) -> tuple[ModelCheck, ...]:
    return model_checks(setting or setting_with(), stages, demand or demand_of(0.02))


def test_bracket_of_two_webservers_by_hand() -> None:
    """U = 64 * 0.02 / 2; apart M/M/1: 20 / 0.36 ms; together half of M/M/2's wait."""
    (check,) = checked(stage_by_hand(0, rate_per_s=64.0, service_time_mean_s=0.041))

    assert check.utilisation == pytest.approx(0.64)
    assert check.high_s == pytest.approx(0.02 / 0.36)
    assert check.low_s == pytest.approx(0.02 + MultiServerQueue(64.0, 0.02, 2).mean_wait_s / 2)
    assert check.bound_per_s == pytest.approx(100.0)
    assert check.agrees is True
    assert check.explanation == (
        "At 64 % utilisation theory expects 27-56 ms a call, measured 41 ms."
    )


def test_cpu_used_without_calls_counts_and_slows() -> None:
    """Of 1 CPU 0.2 are gone: U = (20 * 0.02 + 0.2) / 1, a call alone takes 25 ms."""
    (check,) = checked(
        stage_by_hand(0, rate_per_s=20.0, service_time_mean_s=0.05, webservers=1),
        demand=demand_of(0.02, background=0.2),
    )

    assert check.utilisation == pytest.approx(0.6)
    assert check.bound_per_s == pytest.approx(40.0)
    assert check.high_s == pytest.approx(0.025 / 0.5)
    assert check.low_s == pytest.approx(0.025 + 0.025 * 0.5 / 0.5 / 2)  # M/D/1


def test_webserver_of_two_cpus_serves_two_calls_at_full_speed() -> None:
    (check,) = checked(
        stage_by_hand(0, rate_per_s=90.0, service_time_mean_s=0.05, webservers=1),
        setting=setting_with(cpu=2.0),
    )

    assert check.high_s == pytest.approx(MultiServerQueue(90.0, 0.02, 2).mean_response_s)


def test_evenly_spaced_calls_may_not_wait_at_all() -> None:
    (check,) = checked(
        stage_by_hand(0, rate_per_s=64.0, service_time_mean_s=0.02),
        setting=setting_with(arrivals="constant"),
    )

    assert check.low_s == pytest.approx(0.02)
    assert check.agrees is True


def test_far_slower_hints_at_something_else_than_cpu() -> None:
    (check,) = checked(stage_by_hand(0, rate_per_s=64.0, service_time_mean_s=0.9))

    assert check.agrees is False
    assert "waited for something other than webserver CPU" in check.explanation
    assert "measured 900 ms" in check.explanation


def test_far_faster_hints_at_a_wrong_demand() -> None:
    (check,) = checked(stage_by_hand(0, rate_per_s=64.0, service_time_mean_s=0.01))

    assert check.agrees is False
    assert "less CPU here than the service demand says" in check.explanation


def test_what_calls_take_beyond_cpu_is_learned_from_the_calmest_stage() -> None:
    """30 ms of network at 20 %: explains 30 ms more at 80 %, but not ten times as much."""
    calm = stage_by_hand(0, rate_per_s=20.0, service_time_mean_s=0.0523)
    busy = stage_by_hand(1, rate_per_s=80.0, service_time_mean_s=0.1)
    first, second = checked(calm, busy)
    alone = checked(busy)[0]
    assert second.low_s is not None
    assert second.high_s is not None
    assert alone.high_s is not None

    assert first.agrees is None
    assert "calmest stage a call took 52 ms; 30 ms of that" in first.explanation
    assert second.high_s == pytest.approx(alone.high_s + 0.030, abs=0.001)
    assert second.agrees is True


def test_busy_stage_does_not_tell_what_calls_take_beyond_cpu() -> None:
    checks = checked(
        stage_by_hand(0, rate_per_s=70.0, service_time_mean_s=0.9),
        stage_by_hand(1, rate_per_s=80.0, service_time_mean_s=0.9),
    )

    assert [check.agrees for check in checks] == [False, False]


def test_more_work_than_cpu_has_no_expectation() -> None:
    (check,) = checked(stage_by_hand(0, rate_per_s=120.0, service_time_mean_s=3.0))

    assert check.utilisation == pytest.approx(1.2)
    assert check.low_s is None
    assert check.high_s is None
    assert check.agrees is None
    assert "120 calls/s are more than the 100 calls/s" in check.explanation


def test_without_a_measured_mean_there_is_an_expectation_but_no_verdict() -> None:
    (check,) = checked(stage_by_hand(0, rate_per_s=64.0, service_time_mean_s=None))

    assert check.high_s is not None
    assert check.agrees is None
    assert "was not measured" in check.explanation


def test_calls_that_reached_no_webserver_are_no_load() -> None:
    (check,) = checked(
        stage_by_hand(
            0,
            rate_per_s=80.0,
            service_time_mean_s=0.04,
            outcomes={"ok": 0.5, "throttled": 0.4, "unsent": 0.1},
        )
    )

    assert check.utilisation == pytest.approx(0.4)


def test_demands_of_operations_make_that_of_the_stages_own_mix() -> None:
    (check,) = checked(
        stage_by_hand(
            0, rate_per_s=10.0, service_time_mean_s=0.1, mix={"list_dags": 0.5, "health": 0.5}
        ),
        demand=demand_of(0.5, list_dags=0.06, health=0.02),
    )

    assert check.utilisation == pytest.approx(10 * 0.04 / 2)


def test_only_stages_with_the_same_webservers_all_the_time() -> None:
    checks = checked(
        stage_by_hand(0, rate_per_s=10.0, service_time_mean_s=0.03, webservers=(2, 3)),
        stage_by_hand(1, rate_per_s=10.0, service_time_mean_s=0.03, webservers=None),
        stage_by_hand(2, rate_per_s=10.0, service_time_mean_s=0.03),
    )

    assert [check.stage for check in checks] == [2]


def closed_stage(users: int, rate_per_s: float, mean_s: float | None, index: int = 0) -> StageStats:
    return stage_by_hand(index, rate_per_s=rate_per_s, service_time_mean_s=mean_s, users=users)


def users_of(think_time_s: float) -> Setting:
    return setting_with(arrivals="closed", think_time_s=think_time_s)


def test_bounds_of_few_and_of_many_users_by_hand() -> None:
    """D 20 ms on 2 CPUs, Z 0.5 s: 20 users are held by thinking, 120 by the 100 calls/s of CPU."""
    few, many = checked(
        closed_stage(20, 38.0, 0.02), closed_stage(120, 99.0, 0.75, 1), setting=users_of(0.5)
    )

    assert few.bound_per_s == pytest.approx(20 / 0.52)
    assert (few.low_s, few.high_s) == pytest.approx((0.02, 0.4))
    assert few.agrees is True
    assert few.explanation == (
        "20 users who think 0.5 s between calls can make 22.2 to 38.5 calls/s of 20-400 ms; "
        "measured 38 calls/s of 20 ms."
    )
    assert many.bound_per_s == pytest.approx(100.0)
    assert (many.low_s, many.high_s) == pytest.approx((0.7, 2.4))
    assert many.agrees is True


def test_a_closed_stage_far_slower_than_its_bounds_waited_for_something_else() -> None:
    """The calmest tells that a call takes 30 ms beyond its CPU, not that 60 take 20 s."""
    calm, slow = checked(
        closed_stage(1, 1.8, 0.05), closed_stage(60, 2.9, 20.0, 1), setting=users_of(0.5)
    )

    assert calm.agrees is None
    assert calm.explanation.startswith(
        "1 user who thinks 0.5 s between calls can make 1.82 calls/s of 50 ms;"
    )
    assert "what of that its CPU does not explain" in calm.explanation
    assert slow.high_s == pytest.approx(60 * 0.05)
    assert slow.agrees is False
    assert "waited for something other than webserver CPU" in slow.explanation


def test_closed_stages_without_a_mean_have_bounds_and_without_think_time_nothing() -> None:
    stage = closed_stage(20, 38.0, None)
    (check,) = checked(stage, setting=users_of(0.5))

    assert check.agrees is None
    assert "but no mean" in check.explanation
    assert checked(stage, setting=setting_with(arrivals="closed")) == ()


@pytest.mark.parametrize(
    ("cpu", "demand"), [(None, demand_of(0.02)), (1.0, None), (1.0, demand_of(None))]
)
def test_nothing_without_demand_or_cpu(cpu: float | None, demand: DemandResult | None) -> None:
    stage = stage_by_hand(0, rate_per_s=10.0, service_time_mean_s=0.03)

    assert model_checks(setting_with(cpu), [stage], demand) == ()


@given(
    st.integers(1, 5),
    st.floats(0.2, 4.0),
    st.floats(0.001, 0.5),
    st.floats(0.01, 0.97),
    st.floats(0.0, 0.15),
)
def test_bracket_is_in_order_and_no_call_is_faster_than_its_cpu(
    webservers: int, cpu: float, demand_s: float, load: float, background: float
) -> None:
    rate = load * webservers * (cpu - background) / demand_s
    stage = stage_by_hand(
        0, rate_per_s=rate, service_time_mean_s=None, webservers=webservers, measured_s=1e7
    )
    (check,) = checked(
        stage, demand=demand_of(demand_s, background=background), setting=setting_with(cpu)
    )
    assert check.low_s is not None
    assert check.high_s is not None

    assert demand_s / max(cpu, 1.0) <= check.low_s <= check.high_s * (1 + 1e-9)
    assert check.bound_per_s is not None
    assert check.bound_per_s >= rate * (1 - 1e-6)


def test_stages_of_a_whole_record_agree(tmp_path: Path) -> None:
    """Queues of known demands on two pinned webservers, 4 ms of client beside them."""
    run = write_synthetic_run(
        tmp_path / "run",
        rates_per_s=(3.0, 6.0, 9.0, 12.0, 15.0),
        stage_s=120.0,
        max_webservers=2,
    )
    analysis = analyse_run(read_run(tmp_path / "run"))
    facts = {"webserver_cpu": run.webserver_cpu}
    setting = setting_of({}, facts=facts)

    checks = model_checks(setting, analysis.stages, analysis.demand)

    assert len(checks) == 5
    assert [check.agrees for check in checks[1:]] == [True] * 4
    assert checks[-1].bound_per_s == pytest.approx(2 * 0.24 / run.mix_demand_s, rel=0.05)
    for check, rate in zip(checks, run.rates_per_s, strict=True):
        expected = (rate * run.mix_demand_s + 0.02) / 0.5
        assert check.utilisation == pytest.approx(expected, rel=0.12)
