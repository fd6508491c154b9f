"""The environment in virtual time scales as the stand-in does."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_runs import STARTED_AT_S, cpu_seconds, events_of, simulated

from mwaa_headroom.analysis.metric_periods import webserver_periods
from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.harness.virtual.run import run_virtually


def busy(phase_s: float, **environment: object) -> RunRecord:
    """18 calls/s of 50 ms: 90 % of one CPU, from a moment within a metric period of 5 s on."""
    scenario = simulated(
        stages=[{"rate_per_s": 18, "duration_s": 60}],
        traffic={"arrivals": "constant"},
        **{"max_webservers": 2, "start_s": 7.0, **environment},
    )
    return run_virtually(scenario, seed=1, started_at_s=STARTED_AT_S + phase_s)


@pytest.mark.parametrize(
    ("phase_s", "decided_s"),
    [
        (0.0, 10.0),  # the first two periods have 90 %
        (0.5, 10.0),  # the first one has 4.5 s of load, 81 %
        (2.0, 15.0),  # the first one has 3 s of load, 54 %: the next two count
        (4.9, 15.0),
    ],
)
def test_scale_out_comes_at_the_period_that_the_rule_says(phase_s: float, decided_s: float) -> None:
    record = busy(phase_s)
    (decision,) = events_of(record, "scaling_decision")
    assert decision["time_s"] == STARTED_AT_S + decided_s
    assert (decision["from_count"], decision["to_count"]) == (1, 2)
    (event,) = Run(record).analysis.scaling
    assert event.reason is not None
    assert event.reason.code == decision["reason"]["code"] == "scaling.cpu_above"
    assert event.reason.values == {
        "threshold_percent": 70.0,
        "observed_percent": pytest.approx(90.0),
    }
    started, ready = (
        events_of(record, "webserver_starting")[1],
        events_of(record, "webserver_ready")[1],
    )
    assert started["time_s"] == decision["time_s"]
    assert ready["time_s"] == pytest.approx(decision["time_s"] + 7.0)
    assert started["webserver"] == ready["webserver"] == "webserver-2"


def test_metrics_count_a_webserver_from_its_readiness_on() -> None:
    counts = {period.start_s: period.webservers for period in webserver_periods(busy(0.0).metrics)}
    # Ready at 17 s, and a sample at the end of the period from 15 to 20 s.
    assert [counts[STARTED_AT_S + start_s] for start_s in (0, 5, 10, 15, 20)] == [1, 1, 1, 2, 2]


def test_while_starting_counts_it_from_the_decision_on() -> None:
    record = busy(0.0, metrics={"while_starting": True})
    counts = {period.start_s: period.webservers for period in webserver_periods(record.metrics)}
    assert [counts[STARTED_AT_S + start_s] for start_s in (5, 10, 15)] == [1, 2, 2]


def test_additional_webservers_have_a_cluster_of_their_own() -> None:
    rows = [row for row in busy(0.0).metrics.to_pylist() if row["metric"] == "CPUUtilization"]
    last = [row for row in rows if row["period_start_s"] == STARTED_AT_S + 50]
    found = {(row["cluster"], row["statistic"]): row["value"] for row in last}
    assert found["WebServer", "SampleCount"] == found["AdditionalWebservers", "SampleCount"] == 1.0
    assert found["WebServer", "Average"] + found["AdditionalWebservers", "Average"] == (
        pytest.approx(90.0, abs=1.0)
    )
    assert json.loads(last[0]["dimensions"]) == {
        "Cluster": last[0]["cluster"],
        "Environment": "headroom-local",
    }


def test_little_traffic_lets_the_youngest_go_after_the_last_call() -> None:
    """Decided at 10 s; then 1 call/s: six quiet periods and 60 s of cooldown later it goes."""
    scenario = simulated(
        stages=[{"rate_per_s": 18, "duration_s": 20}, {"rate_per_s": 1, "duration_s": 100}],
        traffic={"arrivals": "constant"},
        max_webservers=2,
    )
    record = run_virtually(scenario, seed=1, started_at_s=STARTED_AT_S)
    out, back = events_of(record, "scaling_decision")
    assert (out["to_count"], back["to_count"]) == (2, 1)
    assert back["time_s"] == out["time_s"] + 60.0
    (draining,), (stopped,) = (
        events_of(record, kind) for kind in ("webserver_draining", "webserver_stopped")
    )
    assert draining["webserver"] == stopped["webserver"] == "webserver-2"
    assert back["time_s"] == draining["time_s"] <= stopped["time_s"] < back["time_s"] + 0.2


def test_a_webserver_drains_until_its_last_call_is_answered() -> None:
    """Calls of 9 s, one every 5 s: each of two webservers has one nearly all the time."""
    scenario = simulated(
        stages=[{"rate_per_s": 18, "duration_s": 20}, {"rate_per_s": 0.2, "duration_s": 100}],
        traffic={"arrivals": "constant"},
        demand_s={"health": 0.001},
        latency_s=9.0,
        max_webservers=2,
    )
    record = run_virtually(scenario, seed=1, started_at_s=STARTED_AT_S)
    (draining,), (stopped,) = (
        events_of(record, kind) for kind in ("webserver_draining", "webserver_stopped")
    )
    assert stopped["time_s"] > draining["time_s"] + 0.5
    ends_s = [
        row["intended_start_s"] + row["service_time_s"]
        for row in record.requests.to_pylist()
        if row["intended_start_s"] < draining["time_s"]
    ]
    assert min(abs(end_s - stopped["time_s"]) for end_s in ends_s) < 1e-6
    assert set(record.requests.column("outcome").to_pylist()) == {"ok"}


@settings(max_examples=8)
@given(
    rates_per_s=st.lists(st.floats(1, 100), min_size=1, max_size=4),
    least=st.integers(1, 3),
    more=st.integers(0, 2),
    start_s=st.floats(0, 30),
    start_cv=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_scaling_keeps_to_its_limits(
    rates_per_s: list[float], least: int, more: int, start_s: float, start_cv: float, seed: int
) -> None:
    scenario = simulated(
        stages=[{"rate_per_s": rate_per_s, "duration_s": 90} for rate_per_s in rates_per_s],
        limits={"abort_error_rate": 1.0, "abort_window_s": 1000.0},
        min_webservers=least,
        max_webservers=least + more,
        start_s=start_s,
        start_cv=start_cv,
    )
    record = run_virtually(scenario, seed=seed, started_at_s=STARTED_AT_S + seed % 5)
    decisions = events_of(record, "scaling_decision")
    count = least
    for decision in decisions:
        assert decision["time_s"] % 5.0 == 0.0
        assert decision["from_count"] == count
        count = decision["to_count"]
        assert least <= count <= least + more
    out_s = [one["time_s"] for one in decisions if one["to_count"] > one["from_count"]]
    assert all(later - earlier >= 10.0 for earlier, later in pairwise(out_s))
    born = [event["webserver"] for event in events_of(record, "webserver_starting")]
    assert len(born) == len(set(born))
    for period in webserver_periods(record.metrics):
        assert least <= (period.webservers or 0) <= least + more
        assert 0.0 <= (period.cpu_percent or 0.0) <= 100.0 + 1e-6


def test_start_delays_vary_around_their_mean_and_follow_the_seed() -> None:
    def delay_s(seed: int) -> float:
        scenario = simulated(
            stages=[{"rate_per_s": 18, "duration_s": 30}],
            traffic={"arrivals": "constant"},
            max_webservers=2,
            start_s=4.0,
            start_cv=0.5,
        )
        record = run_virtually(scenario, seed=seed, started_at_s=STARTED_AT_S)
        (decided,), (_, ready) = (
            events_of(record, kind) for kind in ("scaling_decision", "webserver_ready")
        )
        return float(ready["time_s"] - decided["time_s"])

    delays_s = [delay_s(seed) for seed in range(40)]
    assert delay_s(3) == delays_s[3]
    assert len(set(delays_s)) == 40
    # Standard errors: 4 s * 0.5 / sqrt(40) = 0.32 s of the mean.
    assert sum(delays_s) / 40 == pytest.approx(4.0, abs=1.0)


def test_background_takes_its_part_of_the_cores() -> None:
    """Half the CPU is taken, so a call of 50 ms takes 100 ms, alone."""
    scenario = simulated(
        stages=[{"rate_per_s": 1, "duration_s": 30}],
        traffic={"arrivals": "constant"},
        background_cpu=0.5,
    )
    record = run_virtually(scenario, seed=1, started_at_s=STARTED_AT_S)
    assert record.requests.column("service_time_s").to_pylist() == pytest.approx([0.1] * 30)
    periods = len(webserver_periods(record.metrics))
    assert cpu_seconds(record) == pytest.approx(30 * 0.05 + periods * 5 * 0.5)
