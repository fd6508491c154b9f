"""A load test by one process alone, on a real gevent hub; the transport is a function."""

import logging
from collections import Counter
from contextlib import suppress
from functools import partial
from itertools import pairwise

import gevent
import pytest
from load_parts import DENIED, OK, Remembered, blueprint_of, plan_by_hand, scenario_of

from mwaa_headroom.harness.errors import RecordError
from mwaa_headroom.harness.run.load_processes import (
    EXIT_ABORTED,
    EXIT_FAILED,
    EXIT_FINISHED,
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
)
from mwaa_headroom.harness.traffic.schedule import user_cycles
from mwaa_headroom.locustfiles import dispatcher, load_test, single_process
from mwaa_headroom.locustfiles.load_test import LoadTest
from mwaa_headroom.locustfiles.senders import SenderPool
from mwaa_headroom.locustfiles.single_process import LoneCarrier

STAGE = {"rate_per_s": 200.0, "duration_s": 0.3}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Everything that happens every second happens ten times a second."""
    monkeypatch.setattr(load_test, "TICK_S", 0.02)
    monkeypatch.setattr(single_process, "LOAD_EVENT_EVERY_S", 0.1)
    monkeypatch.setattr(dispatcher, "DRAIN_BEYOND_LONGEST_CALL_S", 0.05)


class Alone:
    """One load test and what came of it."""

    def __init__(self, start_senders):
        self.output = Remembered()
        self.pool = SenderPool()
        self._start_senders = start_senders
        self.reports = []

    def prepare(self, send, *stages, senders=50, longest_call_s=5.0, **options):
        self._start_senders(self.pool, senders)
        self.blueprint = blueprint_of(scenario_of(*stages or (STAGE,), **options))
        plan = plan_by_hand(self.blueprint, send, longest_call_s=longest_call_s)
        make = partial(LoneCarrier, plan, self.pool, lambda *told: self.reports.append(told))
        self.test = LoadTest(self.blueprint, self.output, make)
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
def alone(start_senders):
    return Alone(start_senders)


def test_every_arrival_is_a_row(alone):
    calls = []
    code = alone.run(lambda call: calls.append(call) or OK, STAGE, STAGE)
    assert code == EXIT_FINISHED
    count = sum(phase.schedule.count for phase in alone.blueprint.phases())
    assert alone.arrivals == list(range(count))
    assert alone.checked == (count, count)
    assert len(calls) == len(alone.reports) == count
    assert {row["worker"] for row in alone.rows} == {0}
    kinds = [kind for kind in alone.output.kinds if kind != "generator_load"]
    assert kinds == [*("stage_started", "stage_ended", "drained") * 2, "rows_checked"]
    assert len(alone.output.of_kind("generator_load")) >= 2, "one for each stage at least"
    assert alone.output.closed


def test_status_lines(alone):
    results = [OK, OK, DENIED]
    alone.run(lambda _: results[len(alone.reports) % 3], STAGE)
    statuses = alone.output.statuses
    assert len(statuses) >= 2
    for status in statuses:
        assert status.arrivals == status.sent + status.unsent
        assert status.sent == status.ok + status.errors + status.in_flight
        assert status.rate_per_s >= 0
        assert status.elapsed_s >= 0
    last = statuses[-1]
    assert last.arrivals == len(alone.rows)
    assert last.errors == sum(row["outcome"] == "denied" for row in alone.rows) > 0
    assert (last.stage, last.stage_name, last.in_flight) == (0, "stage 1", 0)
    sent = sum(now.rate_per_s * (now.time_s - before.time_s) for before, now in pairwise(statuses))
    assert statuses[0].sent + sent == pytest.approx(last.sent)


def test_unsent_arrivals_are_rows(alone):
    """A call takes longer than the stage: as many can be sent as there are senders."""
    code = alone.run(lambda _: gevent.sleep(0.5) or OK, STAGE, senders=7)
    assert code == EXIT_FINISHED
    outcomes = Counter(row["outcome"] for row in alone.rows)
    assert outcomes == {"ok": 7, "unsent": len(alone.rows) - 7}
    assert alone.checked == (len(alone.rows),) * 2
    assert alone.output.statuses[-1].unsent == outcomes["unsent"] > 0


def test_a_call_is_cut_at_the_time_limit(alone):
    alone.run(lambda _: gevent.sleep(30) or OK, STAGE, longest_call_s=0.1)
    assert {(row["outcome"], row["error_code"]) for row in alone.rows} == {
        ("client_timeout", "CallTimeout")
    }
    assert min(row["service_time_s"] for row in alone.rows) >= 0.099
    assert alone.checked == (len(alone.rows),) * 2


def test_a_call_that_cannot_be_cut_has_a_row_all_the_same(alone):
    """A transport that keeps the cut from coming is left behind."""
    left_behind = gevent.event.Event()

    def stubborn(_):
        while not left_behind.is_set():
            with suppress(gevent.Timeout):
                left_behind.wait()
        return OK

    code = alone.run(stubborn, {"rate_per_s": 50.0, "duration_s": 0.2}, longest_call_s=0.1)
    rows = alone.rows
    assert code == EXIT_FINISHED
    assert {row["outcome"] for row in rows} == {"client_timeout"}
    assert alone.checked == (len(rows),) * 2
    (drained,) = alone.output.of_kind("drained")
    assert drained["in_flight_left"] == len(rows)
    left_behind.set()
    gevent.sleep(0.01)
    assert alone.rows == rows, "what comes later changes nothing"


def test_a_transport_that_breaks_leaves_no_arrival_without_a_row(alone, monkeypatch):
    hub = gevent.get_hub()
    monkeypatch.setattr(hub, "NOT_ERROR", (*hub.NOT_ERROR, ZeroDivisionError))  # do not print it

    def broken(_):
        raise ZeroDivisionError

    alone.run(broken, {"rate_per_s": 50.0, "duration_s": 0.2}, longest_call_s=0.1)
    assert alone.rows
    assert alone.checked == (len(alone.rows),) * 2


def test_closed(alone):
    code = alone.run(
        lambda _: gevent.sleep(0.01) or OK,
        {"users": 4, "duration_s": 0.4},
        traffic={"arrivals": "closed", "think_time_s": 0.02},
        senders=0,
    )
    assert code == EXIT_FINISHED
    by_user = Counter(arrival % 4 for arrival in alone.arrivals)
    for user, calls in by_user.items():
        cycles = user_cycles(alone.blueprint.scenario, 0, user)
        assert {next(cycles).arrival for _ in range(calls)} <= set(alone.arrivals)
    assert len(by_user) == 4
    assert alone.checked == (len(alone.rows),) * 2
    assert min(row["lag_s"] for row in alone.rows) >= 0


@pytest.mark.slow
def test_recovery(alone):
    slow_s = [0.3] * 80

    def send(_):
        gevent.sleep(slow_s.pop() if slow_s else 0.001)
        return OK

    code = alone.run(
        send,
        STAGE,
        slo=["p95(latency) < 100ms"],
        recovery={"rate_per_s": 100.0, "hold_s": 0.4, "longest_s": 20.0},
        senders=200,
    )
    assert code == EXIT_FINISHED
    (started,) = alone.output.of_kind("recovery_started")
    (ended,) = alone.output.of_kind("recovery_ended")
    assert ended["recovered"] is True
    assert ended["time_s"] - started["time_s"] < 15
    assert {row["stage"] for row in alone.rows} == {0, -1}
    assert alone.checked == (len(alone.rows),) * 2


def test_too_many_errors_abort(alone):
    code = alone.run(lambda _: DENIED, {"rate_per_s": 200.0, "duration_s": 30.0})
    assert code == EXIT_ABORTED
    (aborted,) = alone.output.of_kind("aborted")
    assert "limits.abort_error_rate is 0.9" in aborted["reason"]
    assert 20 <= len(alone.rows) < 2000
    assert alone.checked == (len(alone.rows),) * 2


def test_stopped_in_the_middle_it_drains(alone):
    test = alone.prepare(lambda _: gevent.sleep(0.2) or OK, {"rate_per_s": 50, "duration_s": 60})
    stopping = alone.finish_when(lambda: len(alone.rows) > 3)
    assert test.run() is False, "who stopped it ends the test in Locust too"
    stopping.join()
    assert test.exit_code == EXIT_INTERRUPTED
    assert {row["outcome"] for row in alone.rows} == {"ok"}
    assert alone.checked == (len(alone.rows),) * 2
    assert "interrupted" in alone.output.kinds
    assert "stage_ended" not in alone.output.kinds


def test_stopped_before_anything_began(alone):
    test = alone.prepare(lambda _: OK)
    test.finish()
    assert test.exit_code == EXIT_INTERRUPTED
    assert alone.output.kinds.count("interrupted") == 1
    assert alone.rows == []
    assert alone.output.closed
    assert test.run() is False


def test_it_runs_once(alone):
    """Locust may announce more than once that all users are up."""
    assert alone.run(lambda _: OK) == EXIT_FINISHED
    rows = len(alone.rows)
    assert alone.test.run() is False
    alone.test.finish()
    assert len(alone.rows) == rows


def test_whoever_started_it_is_gone(alone):
    alone.output.wanted = False
    assert alone.run(lambda _: OK, {"rate_per_s": 50, "duration_s": 60}) == EXIT_INTERRUPTED


def test_a_record_that_cannot_be_written(alone, caplog):
    def full(_):
        raise RecordError("The disk is full.")

    alone.output.rows = full
    with caplog.at_level(logging.CRITICAL + 1):
        code = alone.run(lambda _: OK, {"rate_per_s": 50, "duration_s": 60})
    assert code in (EXIT_FAILED, EXIT_UNUSABLE)


def test_errors_of_one_stage_do_not_abort_the_next(alone):
    """The first fails as a whole, in its last moments; the second must not pay for it."""

    def send(_):
        failing = alone.test._direction.stage == 0
        if failing:
            gevent.sleep(0.3)
        return DENIED if failing else OK

    last_moments = {"rate_per_s": 200.0, "duration_s": 0.25}
    code = alone.run(send, last_moments, STAGE, abort_error_rate=0.5)
    assert code == EXIT_FINISHED
    outcomes = Counter((row["stage"], row["outcome"]) for row in alone.rows)
    assert outcomes[0, "denied"] >= 20
    assert set(outcomes) == {(0, "denied"), (1, "ok")}
