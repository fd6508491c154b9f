"""A run in virtual time obeys the laws its webservers are set to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_runs import (
    STARTED_AT_S,
    column,
    cpu_seconds,
    events_of,
    mean_and_error,
    simulated,
)

from mwaa_headroom.analysis.schema import RECOVERY_ARRIVALS_FROM
from mwaa_headroom.harness.traffic.schedule import schedule_of
from mwaa_headroom.harness.virtual.run import run_virtually


@pytest.mark.parametrize(("rate_per_s", "demand_cv"), [(6, 0.0), (12, 0.0), (12, 1.0)])
def test_time_in_service_is_that_of_processor_sharing(rate_per_s: float, demand_cv: float) -> None:
    """M/G/1-PS: D / (1 - X D), whatever the distribution of the demands (Kleinrock 1976, 4.4)."""
    scenario = simulated(
        stages=[{"rate_per_s": rate_per_s, "duration_s": 4000}], demand_cv=demand_cv
    )
    record = run_virtually(scenario, seed=7, started_at_s=STARTED_AT_S)
    mean_s, error_s = mean_and_error(record.requests.column("service_time_s").to_numpy())
    assert error_s < 0.03 * mean_s  # or the next line would say nothing
    assert mean_s == pytest.approx(0.05 / (1 - rate_per_s * 0.05), abs=4 * error_s)


@settings(max_examples=15)
@given(
    rate_per_s=st.floats(1, 60),
    webservers=st.integers(1, 3),
    background_cpu=st.floats(0, 0.3),
    phase_s=st.floats(0, 5),
    seed=st.integers(0, 2**32),
)
def test_cpu_in_the_metrics_is_that_of_the_calls_and_the_background(
    rate_per_s: float, webservers: int, background_cpu: float, phase_s: float, seed: int
) -> None:
    demand_s = {"health": 0.01, "list_dags": 0.04}
    scenario = simulated(
        stages=[{"rate_per_s": rate_per_s, "duration_s": 20}],
        mix={"health": 2, "list_dags": 1},
        min_webservers=webservers,
        max_webservers=webservers,
        demand_s=demand_s,
        background_cpu=background_cpu,
        gateway={"timeout_s": 1000.0},
        limits={"call_timeout_s": 2000.0, "max_in_flight": 5000},
    )
    record = run_virtually(scenario, seed=seed, started_at_s=STARTED_AT_S + phase_s)
    periods = len(set(record.metrics.column("period_start_s").to_pylist()))
    of_calls_s = sum(demand_s[operation] for operation in column(record, "operation"))
    of_background_s = periods * 5.0 * webservers * background_cpu
    assert cpu_seconds(record) == pytest.approx(of_calls_s + of_background_s)


def test_connections_follow_littles_law() -> None:
    """Calls in flight, averaged over the periods, are calls times their mean time, per second."""
    scenario = simulated(stages=[{"rate_per_s": 15, "duration_s": 300}], latency_s=0.02)
    record = run_virtually(scenario, seed=3, started_at_s=STARTED_AT_S)
    rows = [row for row in record.metrics.to_pylist() if row["metric"] == "ActiveConnectionCount"]
    in_flight_s = sum(row["value"] * row["period_s"] for row in rows if row["statistic"] == "Sum")
    assert in_flight_s == pytest.approx(sum(column(record, "service_time_s")))


def test_arrivals_are_those_of_the_schedule() -> None:
    scenario = simulated(
        mix={"health": 1, "list_pools": 2},
        stages=[
            {"rate_per_s": 5, "ramp_to_rate_per_s": 20, "duration_s": 30},
            {"rate_per_s": 3, "duration_s": 30},
        ],
        traffic={"seed": 11},
    )
    record = run_virtually(scenario, seed=11, started_at_s=STARTED_AT_S + 0.5)
    began_s = {event["stage"]: event["time_s"] for event in events_of(record, "stage_started")}
    expected = [
        (number, schedule.stage, schedule.labels[label], began_s[schedule.stage] + offset_s)
        for schedule in schedule_of(scenario, {})
        for block in schedule.blocks()
        for number, offset_s, label in zip(
            block.arrival.tolist(), block.offset_s.tolist(), block.label.tolist(), strict=True
        )
    ]
    found = zip(*(column(record, name) for name in ("arrival", "stage", "operation")), strict=True)
    assert list(found) == [row[:3] for row in expected]
    assert column(record, "intended_start_s") == pytest.approx([row[3] for row in expected])
    assert set(column(record, "lag_s")) == {0.0}


def test_the_service_gives_up_after_its_limit_but_the_webserver_does_not() -> None:
    """2 calls/s of 1 s each on one CPU, and nobody waits longer than 3 s."""
    scenario = simulated(
        stages=[{"rate_per_s": 2, "duration_s": 40}],
        demand_s={"health": 1.0},
        gateway={"timeout_s": 3.0},
        limits={"call_timeout_s": 5.0, "abort_error_rate": 1.0, "abort_window_s": 1000.0},
    )
    record = run_virtually(scenario, seed=1, started_at_s=STARTED_AT_S)
    is_cut = np.array(column(record, "outcome")) == "service_timeout"
    times_s = np.array(column(record, "service_time_s"))
    assert np.count_nonzero(is_cut) > 20
    assert times_s[is_cut] == pytest.approx(3.0)
    assert (times_s[~is_cut] < 3.0).all()
    row = record.requests.filter(is_cut).to_pylist()[0]
    assert (row["http_status"], row["error_code"]) == (500, "InternalServerException")
    # By the last whole period no call is waited for, and the CPU is as busy as before.
    last = [
        row["value"]
        for row in record.metrics.to_pylist()
        if row["metric"] == "CPUUtilization" and row["statistic"] == "Average"
    ][-1]
    assert last == pytest.approx(100.0)


def test_an_arrival_without_a_free_sender_is_unsent() -> None:
    scenario = simulated(
        stages=[{"rate_per_s": 40, "duration_s": 20}],
        limits={"max_in_flight": 10, "abort_error_rate": 1.0},
    )
    record = run_virtually(scenario, seed=1, started_at_s=STARTED_AT_S)
    outcomes = column(record, "outcome")
    assert set(outcomes) == {"ok", "unsent"}
    # 20 calls/s are all that one CPU can do; 10 at a time are answered within half a second.
    assert outcomes.count("ok") == pytest.approx(20 * 20, abs=15)
    unsent = record.requests.filter(np.array(outcomes) == "unsent").to_pylist()[0]
    assert (unsent["lag_s"], unsent["service_time_s"], unsent["attempts"]) == (None, None, 0)
    assert max(t for t in column(record, "service_time_s") if t is not None) <= 0.5 + 1e-9


def test_the_throttle_admits_its_burst_and_its_rate() -> None:
    scenario = simulated(
        stages=[{"rate_per_s": 20, "duration_s": 20}],
        traffic={"arrivals": "constant"},
        gateway={"throttle": {"rate_per_s": 10.0, "burst": 5}},
    )
    record = run_virtually(scenario, seed=1, started_at_s=STARTED_AT_S)
    outcomes = column(record, "outcome")
    assert outcomes.count("throttled") == pytest.approx(20 * 20 - 10 * 20 - 5, abs=1)
    row = record.requests.filter(np.array(outcomes) == "throttled").to_pylist()[0]
    assert (row["http_status"], row["error_code"]) == (429, "ThrottlingException")


def test_too_many_errors_abort_the_run() -> None:
    scenario = simulated(
        stages=[{"rate_per_s": 20, "duration_s": 100}, {"rate_per_s": 1, "duration_s": 10}],
        gateway={"throttle": {"rate_per_s": 1.0, "burst": 1}},
        limits={"abort_error_rate": 0.5, "abort_window_s": 10.0},
    )
    record = run_virtually(scenario, seed=1, started_at_s=STARTED_AT_S)
    assert record.manifest["status"] == "aborted"
    (aborted,) = events_of(record, "aborted")
    # Two seconds on end hold the 20 calls that the rule wants to see.
    assert aborted["time_s"] - STARTED_AT_S == pytest.approx(2.0, abs=1.0)
    assert max(column(record, "intended_start_s")) <= aborted["time_s"]
    assert set(column(record, "stage")) == {0}
    (checked,) = events_of(record, "rows_checked")
    assert checked["arrivals"] == checked["rows"] == record.requests.num_rows


def test_a_stage_that_breaks_the_slo_is_followed_by_its_recovery() -> None:
    """25 calls/s where 20 can be done, for 40 s: 200 calls wait; then 5 calls/s are light."""
    scenario = simulated(
        slo=("p95(latency) < 1s",),
        stages=[{"rate_per_s": 25, "duration_s": 40}, {"rate_per_s": 5, "duration_s": 20}],
        gateway={"timeout_s": 100.0},
        limits={"call_timeout_s": 200.0},
        recovery={"rate_per_s": 5, "hold_s": 5, "longest_s": 100},
    )
    record = run_virtually(scenario, seed=2, started_at_s=STARTED_AT_S)
    (started,) = events_of(record, "recovery_started")
    (ended,) = events_of(record, "recovery_ended")
    assert (started["stage"], ended["stage"], ended["recovered"]) == (0, 0, True)
    # Work for about 200 / 20 s is left, while a quarter of a CPU is asked for beside it.
    took_s = ended["time_s"] - started["time_s"]
    assert 10 < took_s < 40
    arrivals = [
        number
        for number, stage in zip(column(record, "arrival"), column(record, "stage"), strict=True)
        if stage == -1
    ]
    assert arrivals == list(range(RECOVERY_ARRIVALS_FROM, RECOVERY_ARRIVALS_FROM + len(arrivals)))
    assert len(arrivals) == pytest.approx(5 * took_s, rel=0.5)
    assert [event["stage"] for event in events_of(record, "stage_started")] == [0, 1]
