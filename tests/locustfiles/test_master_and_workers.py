"""A master and its workers on one hub, talking in packed messages; the transport is a function.

What only real processes show is in test_invoke_rest_api.py.
"""

import logging
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import count

import gevent
import pytest
from load_parts import OK, MemoryOutput, plan_by_hand, scenario_of, transport_by_hand
from wire import Wire

from mwaa_headroom.analysis.schema import RECOVERY_ARRIVALS_FROM, WORKER_LOST
from mwaa_headroom.harness.epoch_clock import EpochClock
from mwaa_headroom.harness.errors import EnvironmentAccessError, RecordError
from mwaa_headroom.harness.run.load_processes import (
    EXIT_ABORTED,
    EXIT_FAILED,
    EXIT_FINISHED,
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
)
from mwaa_headroom.harness.traffic.schedule import StageSchedule
from mwaa_headroom.harness.transport.outcome import CallResult
from mwaa_headroom.locustfiles import load_test, master, worker
from mwaa_headroom.locustfiles.channel import ORDER, PING, PONG, READY, REPORT, Channel
from mwaa_headroom.locustfiles.load_test import LoadTest
from mwaa_headroom.locustfiles.master import Master
from mwaa_headroom.locustfiles.senders import SenderPool
from mwaa_headroom.locustfiles.worker import Worker

SENDERS = 50
STAGE = {"rate_per_s": 300.0, "duration_s": 0.25}
AS_LONG_AS_A_MACHINE_STALLS_S = 1.0


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Everything that happens every second happens ten times a second."""
    monkeypatch.setattr(load_test, "TICK_S", 0.02)
    monkeypatch.setattr(worker, "TICK_S", 0.02)
    monkeypatch.setattr(worker, "REPORT_EVERY_S", 0.1)
    monkeypatch.setattr(master, "FIRST_PINGS", 3)
    monkeypatch.setattr(Master, "lead_in_s", 0.05)


@pytest.fixture
def silence_is_soon(monkeypatch):
    monkeypatch.setattr(master, "SILENCE_S", AS_LONG_AS_A_MACHINE_STALLS_S)
    monkeypatch.setattr(worker, "MASTER_SILENCE_S", AS_LONG_AS_A_MACHINE_STALLS_S)


class DistributedLoad:
    """A master, its workers, and what they do.

    Attributes:
        send: the transport of all workers; may be set by a test.
        transport_of: makes a worker's transport; may be set by a test.
    """

    def __init__(self, start_senders, monkeypatch):
        self.wire = Wire()
        self.output = MemoryOutput()
        self.workers = []
        self.gave_up = {}
        self.send = lambda _: OK
        self.transport_of = lambda plan: transport_by_hand(lambda call: self.send(call))
        self._start_senders = start_senders
        self._channel, self._tests = Channel(self.wire.master), count(1)
        self.test = None
        monkeypatch.setattr(worker, "transport_of", lambda plan, _: self.transport_of(plan))

    def join(self, workers):
        for _ in range(workers):
            number, pool = len(self.workers), SenderPool()
            self._start_senders(pool, SENDERS)
            name = f"worker-{number}"
            one = Worker(
                Channel(self.wire.connect(name)),
                pool,
                allowed_arn="",
                keys=None,
                report=print,
                give_up=partial(self._give_up, name),
            )
            self.workers.append(one)

    def prepare(self, *stages, workers=2, **options):
        self.join(workers - len(self.workers))
        self.scenario = scenario_of(*stages or (STAGE,), **options)
        self.plan = plan_by_hand(self.scenario)
        self.test = LoadTest(
            self.plan,
            self.output,
            lambda plan, record: Master(
                self._channel, next(self._tests), plan, record, statistics=False
            ),
        )

    def run(self, *stages, **options):
        self.prepare(*stages, **options)
        return self.go()

    def go(self):
        with gevent.Timeout(60):
            self.test.run()
        return self.test.exit_code

    def when(self, has_happened, then):
        """Do something in the middle of a run."""

        def watch():
            while not has_happened():
                gevent.sleep(0.005)
            then()

        gevent.spawn(watch)

    def close(self):
        for one in self.workers:
            if one.test is not None:
                gevent.spawn(one.test.finish).join(10)
        self.wire.cut()

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

    def _give_up(self, name, refused):
        self.gave_up[name] = refused
        self.wire.quit(name)


@pytest.fixture
def load(start_senders, monkeypatch):
    made = DistributedLoad(start_senders, monkeypatch)
    yield made
    made.close()


def sent_by(load, worker_number):
    return sum(row["worker"] == worker_number for row in load.rows)


def is_report_of(name):
    return lambda message: message.type == REPORT and message.node_id == name


def test_two_workers_send_one_schedule(load):
    assert load.run(STAGE, STAGE, traffic={"mix": {"health": 1, "list_dags": 1}}) == EXIT_FINISHED
    first, second = load.plan.phases()
    count = first.schedule.count + second.schedule.count
    assert load.arrivals == list(range(count)), "none is missing, none is there twice"
    assert load.checked == (count, count)
    assert {row["outcome"] for row in load.rows} == {"ok"}
    assert all(row["worker"] == row["arrival"] % 2 for row in load.rows)
    due = {row["arrival"]: (row["intended_start_s"], row["operation"]) for row in load.rows}
    starts = [event["time_s"] for event in load.output.of_kind("stage_started")]
    for phase, start_s in zip((first, second), starts, strict=True):
        for block in phase.schedule.blocks():
            for arrival, offset_s, label in zip(
                block.arrival, block.offset_s, block.label, strict=True
            ):
                intended_s, operation = due[arrival]
                assert intended_s == pytest.approx(start_s + offset_s, abs=0.02)
                assert operation == phase.labels[label]
    assert min(row["lag_s"] for row in load.rows) >= 0
    last = load.output.statuses[-1]
    assert (last.arrivals, last.sent, last.ok) == (count, count, count)
    assert (last.unsent, last.errors, last.in_flight) == (0, 0, 0)
    assert load.output.closed


def test_what_is_told_of_workers(load):
    load.run()
    of_kind = load.output.of_kind
    assert [event["worker"] for event in of_kind("worker_joined")] == [0, 1]
    assert {event["worker"] for event in of_kind("generator_load")} == {0, 1}
    assert {event["worker"] for event in of_kind("clock_offset")} == {0, 1}
    for event in of_kind("clock_offset"):
        assert abs(event["offset_s"]) <= event["uncertainty_s"] + 1e-3, "it is one clock"
    kinds = [kind for kind in load.output.kinds if kind not in ("generator_load", "clock_offset")]
    assert kinds == [
        *("worker_joined", "worker_joined"),
        *("stage_started", "stage_ended", "drained", "rows_checked"),
    ]
    assert load.gave_up == {}


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_no_arrival(load, workers):
    load.run(traffic={"mix": {"health": 1, "list_dags": 1}}, workers=workers)
    (phase,) = load.plan.phases()
    labels = [phase.labels[n] for block in phase.schedule.blocks() for n in block.label]
    got = sorted((row["arrival"], row["operation"]) for row in load.rows)
    assert got == list(enumerate(labels))
    assert {row["worker"] for row in load.rows} == set(range(workers))


def test_a_worker_whose_clock_is_wrong(load, monkeypatch):
    class Ahead(EpochClock):
        def __init__(self):
            super().__init__()
            self._offset_s += 1000.0

    monkeypatch.setattr(worker, "EpochClock", Ahead)
    assert load.run() == EXIT_FINISHED
    for event in load.output.of_kind("clock_offset"):
        assert event["offset_s"] == pytest.approx(1000.0, abs=event["uncertainty_s"] + 1e-3)
    (started,) = load.output.of_kind("stage_started")
    early_s = min(row["intended_start_s"] for row in load.rows) - started["time_s"]
    assert -0.1 < early_s < 0.4, "rows are on the master's clock"


@pytest.mark.slow
def test_all_senders_busy(load):
    """A call takes longer than the stage: each worker can send as many as it has senders."""
    load.send = lambda _: gevent.sleep(0.8) or OK
    assert load.run({"rate_per_s": 500.0, "duration_s": 0.4}) == EXIT_FINISHED
    outcomes = Counter((row["worker"], row["outcome"]) for row in load.rows)
    assert outcomes[0, "ok"] == outcomes[1, "ok"] == SENDERS
    assert load.checked == (len(load.rows),) * 2
    last = load.output.statuses[-1]
    assert last.unsent == outcomes[0, "unsent"] + outcomes[1, "unsent"] > 0


def test_a_closed_workload(load):
    assert (
        load.run(
            {"users": 5, "duration_s": 0.5},
            traffic={"arrivals": "closed", "think_time_s": 0.02},
        )
        == EXIT_FINISHED
    )
    assert len(set(load.arrivals)) == len(load.rows) > 5
    users = {(row["worker"], row["arrival"] % 5) for row in load.rows}
    assert users == {(0, 0), (0, 2), (0, 4), (1, 1), (1, 3)}, "users stay where they are"
    assert load.checked == (len(load.rows),) * 2


@pytest.mark.slow
def test_recovery(load):
    """Slow as long as there are many calls at a time, and for a while after."""
    slow_s = [0.3] * 120

    def send(_):
        gevent.sleep(slow_s.pop() if slow_s else 0.001)
        return OK

    load.send = send
    code = load.run(
        STAGE,
        STAGE,
        slo=["p95(latency) < 100ms"],
        recovery={"rate_per_s": 150.0, "hold_s": 0.3, "longest_s": 20.0},
    )
    assert code == EXIT_FINISHED
    (started,) = load.output.of_kind("recovery_started")
    (ended,) = load.output.of_kind("recovery_ended")
    assert (started["stage"], ended["stage"], ended["recovered"]) == (0, 0, True)
    assert ended["time_s"] - started["time_s"] < 15, "it ended when the SLO held again"
    light = [row for row in load.rows if row["stage"] == -1]
    assert {row["worker"] for row in light} == {0, 1}
    numbers = sorted(row["arrival"] - RECOVERY_ARRIVALS_FROM for row in light)
    assert len(set(numbers)) == len(numbers)
    assert load.checked == (len(load.rows),) * 2
    assert [e["stage"] for e in load.output.of_kind("stage_ended")] == [0, 1]


def test_too_many_errors_abort(load):
    load.send = lambda _: CallResult("airflow_server_error")
    code = load.run({"rate_per_s": 200.0, "duration_s": 30.0}, abort_error_rate=0.5)
    assert code == EXIT_ABORTED
    assert len(load.output.of_kind("aborted")) == 1
    assert load.checked == (len(load.rows),) * 2
    assert load.output.kinds[-1] == "rows_checked"


def test_stopped_in_the_middle(load):
    """Nothing more is sent, calls in flight end, and every arrival so far has its row."""
    load.send = lambda _: gevent.sleep(0.2) or OK
    load.prepare({"rate_per_s": 100.0, "duration_s": 30.0})
    load.when(lambda: len(load.rows) > 10, load.test.finish)
    assert load.go() == EXIT_INTERRUPTED
    assert {row["outcome"] for row in load.rows} == {"ok"}
    assert load.checked == (len(load.rows),) * 2
    assert "stage_ended" not in load.output.kinds
    assert [e["in_flight_left"] for e in load.output.of_kind("drained")] == [0]


def test_whoever_started_it_is_gone(load):
    load.prepare({"rate_per_s": 100.0, "duration_s": 30.0})
    load.when(lambda: load.rows, lambda: setattr(load.output, "has_reader", False))
    assert load.go() == EXIT_INTERRUPTED


def assert_its_share_is_lost(load, number, *, exit_code):
    """Whatever it did not report is there as lost; the others sent all of theirs."""
    assert exit_code == EXIT_FINISHED
    (phase,) = load.plan.phases()
    assert load.arrivals == list(range(phase.schedule.count))
    assert load.checked == (phase.schedule.count,) * 2
    lost = [row for row in load.rows if row["error_code"] == WORKER_LOST]
    assert lost
    assert {row["worker"] for row in lost} == {number}
    assert {row["outcome"] for row in lost} == {"unsent"}
    assert all(row["outcome"] == "ok" for row in load.rows if row["worker"] != number)
    (event,) = load.output.of_kind("worker_lost")
    assert event["worker"] == number
    last = load.output.statuses[-1]
    assert (last.arrivals, last.unsent) == (phase.schedule.count, len(lost))
    assert last.sent == last.ok == phase.schedule.count - len(lost)
    return event["reason"]


@pytest.mark.slow
@pytest.mark.usefixtures("silence_is_soon")
def test_a_worker_that_falls_silent(load):
    load.prepare({"rate_per_s": 100.0, "duration_s": 3.0})

    def fall_silent():
        load.wire.copies = lambda message: int(message.node_id != "worker-1")

    load.when(lambda: sent_by(load, 1) > 5, fall_silent)
    reason = assert_its_share_is_lost(load, 1, exit_code=load.go())
    assert "nothing was heard" in reason
    assert sent_by(load, 1) > 5
    # Load must not go on when nobody records it.
    gevent.sleep(0.2)
    assert load.gave_up == {"worker-1": False}


def test_a_worker_that_is_no_longer_connected(load):
    """As after kill -9, of which Locust hears sooner or later."""
    load.prepare({"rate_per_s": 100.0, "duration_s": 1.0})
    load.send = lambda _: gevent.sleep(0.3) or OK  # so that calls are in flight

    def die():
        load.wire.copies = lambda message: int(message.node_id != "worker-0")
        load.wire.forget("worker-0")

    load.when(lambda: sent_by(load, 0) > 5, die)
    assert "connected" in assert_its_share_is_lost(load, 0, exit_code=load.go())


def test_a_worker_that_is_stopped_tells_what_it_has_done(load):
    load.prepare({"rate_per_s": 100.0, "duration_s": 1.0})
    load.send = lambda _: gevent.sleep(0.05) or OK
    load.when(lambda: sent_by(load, 1) > 5, lambda: gevent.spawn(load.workers[1].finish))
    assert "stopped" in assert_its_share_is_lost(load, 1, exit_code=load.go())
    started = [r["intended_start_s"] for r in load.rows if r["outcome"] == "ok" and r["worker"]]
    lost = [row["intended_start_s"] for row in load.rows if row["outcome"] == "unsent"]
    assert max(started) < min(lost), "its calls in flight have their rows"


@pytest.mark.slow
def test_a_worker_that_is_stopped_may_outlast_the_stage(load):
    """Its calls in flight end after the stage: that is no stop of the whole test."""
    load.prepare({"rate_per_s": 100.0, "duration_s": 0.5})
    load.send = lambda _: gevent.sleep(0.8) or OK
    load.when(
        lambda: load.workers[1].test and load.workers[1].test._dispatcher.in_flight > 3,
        lambda: gevent.spawn(load.workers[1].finish),
    )
    assert "stopped" in assert_its_share_is_lost(load, 1, exit_code=load.go())


def test_a_worker_stopped_while_it_waits_for_a_call_to_be_due(load, caplog):
    """Nobody sleeps on a timer that is closed already."""
    load.prepare({"rate_per_s": 0.5, "duration_s": 1.0})
    load.when(
        lambda: "stage_started" in load.output.kinds,
        lambda: [gevent.spawn(one.finish) for one in load.workers],
    )
    assert load.go() == EXIT_FAILED, "nobody is left"
    assert all(one.test._ended.is_set() for one in load.workers)
    assert load.output.closed


@pytest.mark.slow
@pytest.mark.usefixtures("silence_is_soon")
def test_a_worker_that_breaks_is_lost(load, monkeypatch):
    """It must not hold up the others for ever."""
    load.prepare({"rate_per_s": 100.0, "duration_s": 0.5})

    def broken(*_):
        raise ZeroDivisionError

    load.when(
        lambda: load.workers[0].test,
        lambda: monkeypatch.setattr(load.workers[0].test, "_send_share", broken),
    )
    hub = gevent.get_hub()
    monkeypatch.setattr(hub, "NOT_ERROR", (*hub.NOT_ERROR, ZeroDivisionError))  # do not print it
    assert "nothing was heard" in assert_its_share_is_lost(load, 0, exit_code=load.go())


@pytest.mark.slow
@pytest.mark.usefixtures("silence_is_soon")
def test_all_workers_are_lost(load):
    """What was due until then is in the record."""
    load.prepare({"rate_per_s": 100.0, "duration_s": 60.0})

    def fall_silent():
        load.wire.copies = lambda _: 0

    load.when(lambda: len(load.rows) > 5, fall_silent)
    assert load.go() == EXIT_FAILED
    assert len(load.output.of_kind("worker_lost")) == 2
    assert load.arrivals == list(range(len(load.rows)))
    assert load.checked == (len(load.rows),) * 2
    assert {row["error_code"] for row in load.rows} == {None, WORKER_LOST}


def test_a_report_that_comes_twice_counts_once(load):
    is_report = is_report_of("worker-0")
    load.wire.copies = lambda message: 2 if is_report(message) else 1
    assert load.run() == EXIT_FINISHED
    (phase,) = load.plan.phases()
    assert load.arrivals == list(range(phase.schedule.count))
    assert load.checked == (phase.schedule.count,) * 2


def test_a_report_that_is_lost_is_told(load):
    """The record says so: fewer rows than arrivals, and a note."""
    is_report, lost = is_report_of("worker-1"), []

    def copies(message):
        if not lost and is_report(message) and message.data["rows"] is not None:
            lost.append(message)
        return int(message not in lost)

    load.wire.copies = copies
    assert load.run({"rate_per_s": 200.0, "duration_s": 0.6}) == EXIT_FINISHED
    arrivals, rows = load.checked
    assert rows == len(load.rows) < arrivals == load.plan.phases()[0].schedule.count
    (note,) = load.output.of_kind("note")
    assert note["message"] == "A report of worker 1 was lost on the way."


def test_a_worker_that_refuses(load, caplog):
    """Nothing is sent, by nobody, and the master says why."""
    plans = []

    def transport_of(plan):
        plans.append(plan)
        if len(plans) == 2:
            raise EnvironmentAccessError("This machine has no credentials: configure some.")
        return transport_by_hand(load.send)

    load.transport_of = transport_of
    with caplog.at_level(logging.CRITICAL):
        assert load.run() == EXIT_UNUSABLE
    assert load.rows == []
    assert list(load.gave_up.values()) == [True]
    told = {record.getMessage() for record in caplog.records}
    assert told == {"This machine has no credentials: configure some."}
    assert "stage_started" not in load.output.kinds
    assert load.output.closed


@pytest.mark.slow
@pytest.mark.usefixtures("silence_is_soon")
def test_a_worker_may_take_its_time_to_get_ready(load):
    """Longer than a worker at work may be silent."""

    def transport_of(plan):
        gevent.sleep(1.5 * AS_LONG_AS_A_MACHINE_STALLS_S)
        return transport_by_hand(load.send)

    load.transport_of = transport_of
    assert load.run() == EXIT_FINISHED
    assert load.output.of_kind("worker_lost") == []
    assert load.checked == (len(load.rows),) * 2
    assert load.output.statuses[0].stage is None, "none has begun"


def test_a_worker_that_never_gets_ready(load, monkeypatch, caplog):
    monkeypatch.setattr(master, "READY_WITHIN_S", 0.3)
    monkeypatch.setattr(master, "CLOSE_WITHIN_S", 0.1)
    load.wire.copies = lambda message: int(
        not (message.type == READY and message.node_id == "worker-1")
    )
    with caplog.at_level(logging.CRITICAL):
        assert load.run() == EXIT_UNUSABLE
    assert "Worker 1 did not get ready within 0.3 s" in caplog.text
    assert load.rows == []


def test_a_record_that_cannot_be_written_ends_the_run(load, caplog):
    """As when the disk is full: the workers must not load for a record that nobody keeps."""
    load.prepare({"rate_per_s": 100.0, "duration_s": 60.0})

    def full(_):
        raise RecordError("The disk is full.")

    load.when(lambda: len(load.rows) > 5, lambda: setattr(load.output, "rows", full))
    with caplog.at_level(logging.CRITICAL + 1):
        assert load.go() == EXIT_FAILED


def test_a_record_that_cannot_be_written_at_the_very_end(load, caplog):
    """The report that says that a worker is done must count even so."""
    load.prepare()
    load.wire.copies = lambda message: int(
        message.type != REPORT or message.data["order"] is not None
    )

    def full(_):
        raise RecordError("The disk is full.")

    load.output.rows = full
    with caplog.at_level(logging.CRITICAL + 1):
        assert load.go() == EXIT_FAILED


def test_one_test_after_the_other(load):
    """Locust's web UI can start another one: what belongs to the first does not reach it."""
    assert load.run() == EXIT_FINISHED
    first, load.output = load.output, MemoryOutput()
    late = {"test": 1, "sequence": 99, "rows": None, "tally": [9] * 5, "leaving": True}
    load.prepare()
    load.when(
        lambda: "stage_started" in load.output.kinds,
        lambda: load.workers[0]._channel.send(REPORT, late),
    )
    assert load.go() == EXIT_FINISHED
    assert load.checked == (len(load.rows),) * 2
    assert load.output.of_kind("worker_lost") == []
    assert sorted(row["arrival"] for row in first.all_rows) == load.arrivals


def test_orders_of_another_test_are_nobodys(load):
    load.run()
    test = load.workers[0].test
    for kind, data in ((PING, {"sent_s": 0.0}), (ORDER, {"do": "stop", "order": 9})):
        load._channel.send(kind, {"test": 77, **data}, "worker-0")
    gevent.sleep(0.01)
    assert test._dispatcher._stopping is False


def test_stopped_while_workers_get_ready(load):
    """Nothing has begun, so nothing is told to have begun, and nobody is waited for."""

    def slowly(plan):
        gevent.sleep(3.0)
        return transport_by_hand(lambda call: OK)

    load.transport_of = slowly
    load.prepare()
    gevent.spawn_later(0.2, load.test.finish)
    with gevent.Timeout(2.0):
        load.test.run()
    assert load.test.exit_code == EXIT_INTERRUPTED
    assert load.output.kinds == ["interrupted", "rows_checked"]


def test_an_order_that_never_arrives_costs_its_worker(load, silence_is_soon):
    """It answers pings all the time; the master must not wait for it for ever."""
    load.wire.copies = lambda message: int(
        not (
            message.type == ORDER and message.node_id == "worker-1" and message.data["do"] == "send"
        )
    )
    assert load.run() == EXIT_FINISHED
    (lost,) = load.output.of_kind("worker_lost")
    assert (lost["worker"], "did not carry out an order" in lost["reason"]) == (1, True)
    count = load.plan.phases()[0].schedule.count
    assert load.arrivals == list(range(count))
    assert load.checked == (count, count)


def test_without_any_pong_nothing_is_sent(load, monkeypatch):
    """A worker whose clock is unknown would send at the wrong time."""
    monkeypatch.setattr(master, "FIRST_PONG_WITHIN_S", 0.3)
    load.wire.copies = lambda message: int(message.type != PONG)
    assert load.run() == EXIT_UNUSABLE
    assert load.rows == []


def test_rows_that_nobody_counted_are_missed_by_the_schedule(load, monkeypatch):
    """Whatever the processes count: a phase that was sent in full owes its schedule's rows."""
    blocks = StageSchedule.blocks

    def all_but_one(schedule, share):
        for block in blocks(schedule, share):
            yield replace(
                block,
                arrival=block.arrival[1:],
                offset_s=block.offset_s[1:],
                label=block.label[1:],
            )

    monkeypatch.setattr(StageSchedule, "blocks", all_but_one)
    assert load.run() == EXIT_FINISHED
    count = load.plan.phases()[0].schedule.count
    assert load.checked == (count, count - 2)
