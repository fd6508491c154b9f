"""A load test by one process alone, on a real gevent hub; the transport is a function."""

import logging
from collections import Counter
from contextlib import suppress
from itertools import pairwise

import gevent
import pytest
from load_parts import DENIED, OK, MemoryOutput, plan_by_hand, scenario_of, transport_by_hand

from mwaa_headroom.harness.errors import RecordError
from mwaa_headroom.harness.run.load_processes import (
    EXIT_ABORTED,
    EXIT_FAILED,
    EXIT_FINISHED,
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
)
from mwaa_headroom.harness.traffic.schedule import user_cycles
from mwaa_headroom.harness.transport.outcome import CallResult
from mwaa_headroom.locustfiles import dispatcher, load_test, single_process
from mwaa_headroom.locustfiles.load_test import LoadTest
from mwaa_headroom.locustfiles.senders import SenderPool
from mwaa_headroom.locustfiles.single_process import SingleProcess

STAGE = {"rate_per_s": 200.0, "duration_s": 0.3}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Everything that happens every second happens ten times a second."""
    monkeypatch.setattr(load_test, "TICK_S", 0.02)
    monkeypatch.setattr(single_process, "LOAD_EVENT_EVERY_S", 0.1)
    monkeypatch.setattr(dispatcher, "DRAIN_BEYOND_LONGEST_CALL_S", 0.05)


class SingleProcessLoad:
    """One load test and what came of it."""

    def __init__(self, start_senders):
        self.output = MemoryOutput()
        self.pool = SenderPool()
        self._start_senders = start_senders
        self.reports = []

    def prepare(self, send, *stages, senders=50, longest_call_s=5.0, **options):
        self._start_senders(self.pool, senders)
        self.plan = plan_by_hand(scenario_of(*stages or (STAGE,), **options))
        transport = transport_by_hand(send, longest_call_s=longest_call_s)
        self.test = LoadTest(
            self.plan,
            self.output,
            lambda plan, record: SingleProcess(
                plan, transport, self.pool, record, lambda *told: self.reports.append(told)
            ),
        )
        return self.test

    def run(self, send, *stages, **options):
        test = self.prepare(send, *stages, **options)
        with gevent.Timeout(60):
            assert test.run() is True
        return test.exit_code

    def finish_when(self, has_happened):
        def watch():
            while not has_happened():
                gevent.sleep(0.005)
            self.test.finish()

        return gevent.spawn(watch)

    @property
    def rows(self):
        return self.output.all_rows

    @property
    def arrivals(self):
        return sorted(row["arrival"] for row in self.rows)

    @property
    def checked(self):
        (event,) = self.output.of_kind("rows_checked")
        return event["arrivals"], event["rows"]


@pytest.fixture
def load(start_senders):
    return SingleProcessLoad(start_senders)


def test_every_arrival_is_a_row(load):
    calls = []
    code = load.run(lambda call: calls.append(call) or OK, STAGE, STAGE)
    assert code == EXIT_FINISHED
    count = sum(phase.schedule.count for phase in load.plan.phases())
    assert load.arrivals == list(range(count))
    assert load.checked == (count, count)
    assert len(calls) == len(load.reports) == count
    assert {row["worker"] for row in load.rows} == {0}
    kinds = [kind for kind in load.output.kinds if kind != "generator_load"]
    assert kinds == [*("stage_started", "stage_ended", "drained") * 2, "rows_checked"]
    assert len(load.output.of_kind("generator_load")) >= 2, "one for each stage at least"
    assert load.output.closed


def test_status_lines(load):
    results = [OK, OK, DENIED]
    load.run(lambda _: results[len(load.reports) % 3], STAGE)
    statuses = load.output.statuses
    assert len(statuses) >= 2
    for status in statuses:
        assert status.arrivals == status.sent + status.unsent
        assert status.sent == status.ok + status.errors + status.in_flight
        assert status.rate_per_s >= 0
        assert status.elapsed_s >= 0
    last = statuses[-1]
    assert last.arrivals == len(load.rows)
    assert last.errors == sum(row["outcome"] == "denied" for row in load.rows) > 0
    assert (last.stage, last.stage_name, last.in_flight) == (0, "stage 1", 0)
    sent = sum(now.rate_per_s * (now.time_s - before.time_s) for before, now in pairwise(statuses))
    assert statuses[0].sent + sent == pytest.approx(last.sent)


def test_unsent_arrivals_are_rows(load):
    """A call takes longer than the stage: as many can be sent as there are senders."""
    code = load.run(lambda _: gevent.sleep(0.5) or OK, STAGE, senders=7)
    assert code == EXIT_FINISHED
    outcomes = Counter(row["outcome"] for row in load.rows)
    assert outcomes == {"ok": 7, "unsent": len(load.rows) - 7}
    assert load.checked == (len(load.rows),) * 2
    assert load.output.statuses[-1].unsent == outcomes["unsent"] > 0


def test_a_call_is_cut_at_the_time_limit(load):
    load.run(lambda _: gevent.sleep(30) or OK, STAGE, longest_call_s=0.1)
    assert {(row["outcome"], row["error_code"]) for row in load.rows} == {
        ("client_timeout", "CallTimeout")
    }
    assert min(row["service_time_s"] for row in load.rows) >= 0.099
    assert load.checked == (len(load.rows),) * 2


def test_a_call_that_cannot_be_cut_has_a_row_all_the_same(load):
    """A transport that keeps the cut from coming is left behind."""
    left_behind = gevent.event.Event()

    def stubborn(_):
        while not left_behind.is_set():
            with suppress(gevent.Timeout):
                left_behind.wait()
        return OK

    code = load.run(stubborn, {"rate_per_s": 50.0, "duration_s": 0.2}, longest_call_s=0.1)
    rows = load.rows
    assert code == EXIT_FINISHED
    assert {row["outcome"] for row in rows} == {"client_timeout"}
    assert load.checked == (len(rows),) * 2
    (drained,) = load.output.of_kind("drained")
    assert drained["in_flight_left"] == len(rows)
    left_behind.set()
    gevent.sleep(0.01)
    assert load.rows == rows, "what comes later changes nothing"


def test_a_transport_that_breaks_leaves_no_arrival_without_a_row(load, monkeypatch):
    hub = gevent.get_hub()
    monkeypatch.setattr(hub, "NOT_ERROR", (*hub.NOT_ERROR, ZeroDivisionError))  # do not print it

    def broken(_):
        raise ZeroDivisionError

    load.run(broken, {"rate_per_s": 50.0, "duration_s": 0.2}, longest_call_s=0.1)
    assert load.rows
    assert load.checked == (len(load.rows),) * 2


def test_closed(load):
    code = load.run(
        lambda _: gevent.sleep(0.01) or OK,
        {"users": 4, "duration_s": 0.4},
        traffic={"arrivals": "closed", "think_time_s": 0.02},
        senders=0,
    )
    assert code == EXIT_FINISHED
    by_user = Counter(arrival % 4 for arrival in load.arrivals)
    for user, calls in by_user.items():
        cycles = user_cycles(load.plan.scenario, 0, user)
        assert {next(cycles).arrival for _ in range(calls)} <= set(load.arrivals)
    assert len(by_user) == 4
    assert load.checked == (len(load.rows),) * 2
    assert min(row["lag_s"] for row in load.rows) >= 0


@pytest.mark.slow
def test_recovery(load):
    slow_s = [0.3] * 80

    def send(_):
        gevent.sleep(slow_s.pop() if slow_s else 0.001)
        return OK

    code = load.run(
        send,
        STAGE,
        slo=["p95(latency) < 100ms"],
        recovery={"rate_per_s": 100.0, "hold_s": 0.4, "longest_s": 20.0},
        senders=200,
    )
    assert code == EXIT_FINISHED
    (started,) = load.output.of_kind("recovery_started")
    (ended,) = load.output.of_kind("recovery_ended")
    assert ended["recovered"] is True
    assert ended["time_s"] - started["time_s"] < 15
    assert {row["stage"] for row in load.rows} == {0, -1}
    assert load.checked == (len(load.rows),) * 2


def test_too_many_errors_abort(load):
    throttled = CallResult("throttled", http_status=429)
    code = load.run(lambda _: throttled, {"rate_per_s": 200.0, "duration_s": 30.0})
    assert code == EXIT_ABORTED
    (aborted,) = load.output.of_kind("aborted")
    assert "limits.abort_error_rate is 0.9" in aborted["reason"]
    assert 20 <= len(load.rows) < 2000
    assert load.checked == (len(load.rows),) * 2


def test_stopped_in_the_middle_it_drains(load):
    test = load.prepare(lambda _: gevent.sleep(0.2) or OK, {"rate_per_s": 50, "duration_s": 60})
    stopping = load.finish_when(lambda: len(load.rows) > 3)
    assert test.run() is False, "who stopped it ends the test in Locust too"
    stopping.join()
    assert test.exit_code == EXIT_INTERRUPTED
    assert {row["outcome"] for row in load.rows} == {"ok"}
    assert load.checked == (len(load.rows),) * 2
    assert "interrupted" in load.output.kinds
    assert "stage_ended" not in load.output.kinds


def test_stopped_before_anything_began(load):
    test = load.prepare(lambda _: OK)
    test.finish()
    assert test.exit_code == EXIT_INTERRUPTED
    assert load.output.kinds.count("interrupted") == 1
    assert load.rows == []
    assert load.output.closed
    assert test.run() is False


def test_it_runs_once(load):
    """Locust may announce more than once that all users are up."""
    assert load.run(lambda _: OK) == EXIT_FINISHED
    rows = len(load.rows)
    assert load.test.run() is False
    load.test.finish()
    assert len(load.rows) == rows


def test_whoever_started_it_is_gone(load):
    load.output.has_reader = False
    assert load.run(lambda _: OK, {"rate_per_s": 50, "duration_s": 60}) == EXIT_INTERRUPTED


def test_a_record_that_cannot_be_written(load, caplog):
    def full(_):
        raise RecordError("The disk is full.")

    load.output.rows = full
    with caplog.at_level(logging.CRITICAL + 1):
        code = load.run(lambda _: OK, {"rate_per_s": 50, "duration_s": 60})
    assert code in (EXIT_FAILED, EXIT_UNUSABLE)


def test_errors_of_one_stage_do_not_abort_the_next(load):
    """The first fails as a whole, in its last moments; the second must not pay for it."""

    def send(_):
        failing = load.test._stages.stage == 0
        if failing:
            gevent.sleep(0.3)
        return DENIED if failing else OK

    last_moments = {"rate_per_s": 200.0, "duration_s": 0.25}
    code = load.run(send, last_moments, STAGE, abort_error_rate=0.5)
    assert code == EXIT_FINISHED
    outcomes = Counter((row["stage"], row["outcome"]) for row in load.rows)
    assert outcomes[0, "denied"] >= 20
    assert set(outcomes) == {(0, "denied"), (1, "ok")}
