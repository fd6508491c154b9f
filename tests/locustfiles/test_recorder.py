"""What is written of every arrival, what the load costs a process, and where all rows meet."""

import subprocess
import sys
import time

import gevent
import pytest
from load_parts import DENIED, OK, ManualClock, MemoryOutput, job
from rows_by_hand import rows_by_hand

from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.harness.epoch_clock import EpochClock
from mwaa_headroom.harness.traffic.overload import AbortRule, Overload
from mwaa_headroom.locustfiles.recorder import (
    SHORTEST_STALL_S,
    CallRecorder,
    LoadMeter,
    RunRecord,
    Tally,
)
from mwaa_headroom.locustfiles.senders import Job

ROUNDING_S = 1e-5  # of epoch seconds as floats, many times over


@pytest.fixture
def clock():
    return ManualClock(1000.0)


@pytest.fixture
def epoch(clock):
    return EpochClock(clock)


@pytest.fixture
def reports():
    return []


@pytest.fixture
def recorder(epoch, reports):
    return CallRecorder(epoch, lambda *report: reports.append(report), worker=3)


def test_time_of_day_follows_the_monotonic_clock_alone(epoch, clock, monkeypatch):
    assert epoch.now_s() == pytest.approx(time.time(), abs=60)
    began_s = epoch.now_s()
    monkeypatch.setattr(time, "time", lambda: 0.0)  # somebody sets the clock of the machine
    clock.now_s += 5.5
    assert epoch.now_s() == pytest.approx(began_s + 5.5, abs=ROUNDING_S)
    assert epoch.epoch_s(1000.0) == began_s
    assert epoch.on_clock_s(began_s + 2.0) == pytest.approx(1002.0, abs=ROUNDING_S)


def test_rows_fit_the_schema(recorder, epoch):
    sent = Job(5, 1, "runs", 1001.0)
    recorder.arrived(sent, True)
    recorder.sending()
    recorder.ended(sent, 1001.25, 1002.0, DENIED)
    recorder.arrived(Job(6, -2, "runs", 1001.5), False)
    assert recorder.waiting_rows() == 2
    batch = recorder.take()

    assert batch.schema == REQUESTS_SCHEMA
    sent_row, unsent_row = batch.to_pylist()
    assert sent_row == {
        "arrival": 5,
        "stage": 1,
        "operation": "runs",
        "intended_start_s": epoch.epoch_s(1001.0),
        "lag_s": 0.25,
        "service_time_s": 0.75,
        "outcome": "denied",
        "http_status": 403,
        "airflow_status": None,
        "error_code": "AccessDeniedException",
        "response_bytes": None,
        "attempts": 1,
        "worker": 3,
    }
    filled = {name: value for name, value in unsent_row.items() if value is not None}
    assert filled == {
        "arrival": 6,
        "stage": -2,
        "operation": "runs",
        "intended_start_s": epoch.epoch_s(1001.5),
        "outcome": "unsent",
        "attempts": 0,
        "worker": 3,
    }


def test_rows_are_taken_once(recorder):
    assert recorder.take() is None
    recorder.arrived(job(), False)
    assert recorder.take().num_rows == 1
    assert recorder.take() is None
    assert recorder.waiting_rows() == 0


def test_rows_are_put_on_the_masters_clock(recorder, epoch):
    """This machine's clock is 2.5 s ahead: what is 10 o'clock here was 2.5 s before there."""
    recorder.arrived(job(0, intended_s=1010.0), False)
    recorder.set_clock_offset(2.5)
    recorder.arrived(job(1, intended_s=1010.0), False)
    recorder.set_clock_offset(-1.0)
    recorder.arrived(job(2, intended_s=1010.0), False)
    here_s = epoch.epoch_s(1010.0)
    starts_s = recorder.take().column("intended_start_s").to_pylist()
    assert starts_s == pytest.approx([here_s, here_s - 2.5, here_s + 1.0], abs=ROUNDING_S)


def test_locust_hears_latency_from_the_intended_start(recorder, reports):
    recorder.ended(job(intended_s=1001.0), 1003.0, 1003.5, OK)
    recorder.arrived(job(intended_s=1001.0), False)
    (label, _, latency_s, result), (_, _, no_latency, unsent) = reports
    assert (label, latency_s, result) == ("health", 2.5, OK)
    assert (no_latency, unsent.outcome) == (None, "unsent")


def test_everything_is_counted(epoch):
    recorder = CallRecorder(epoch)
    for arrival, result in enumerate([OK, OK, DENIED]):
        recorder.arrived(job(arrival), True)
        recorder.sending()
        recorder.ended(job(arrival), 1000.0, 1000.1, result)
    recorder.arrived(job(3), False)
    recorder.arrived(job(4), True)
    recorder.sending()  # and has no answer yet
    assert recorder.tally == Tally(arrivals=5, sent=4, unsent=1, ok=2, errors=1)


def test_tallies_of_several_processes_add_up():
    assert Tally(9, 7, 2, 4, 3) + Tally(10, 10, 0, 9, 1) == Tally(19, 17, 2, 13, 4)


@pytest.fixture
def cpu():
    return ManualClock(7.0)


@pytest.fixture
def meter(clock, cpu):
    return LoadMeter(clock=clock, cpu_clock=cpu)


def test_cpu_is_a_fraction_of_one_core_since_the_last_time(meter, clock, cpu):
    clock.now_s, cpu.now_s = 1002.0, 7.5
    assert meter.cpu_fraction() == pytest.approx(0.25)
    clock.now_s, cpu.now_s = 1003.0, 8.5
    assert meter.cpu_fraction() == pytest.approx(1.0)
    # Who asks for the one does not disturb the other.
    assert meter.report()["cpu_fraction"] == pytest.approx(0.5)
    clock.now_s = 1004.0
    assert meter.report()["cpu_fraction"] == 0


def test_two_questions_at_once_are_no_division_by_zero(meter):
    assert meter.cpu_fraction() == 0
    assert meter.report()["cpu_fraction"] == 0


def test_stalls_are_those_that_are_no_noise(meter):
    for late_s in (0.01, SHORTEST_STALL_S - 1e-6, 0.06, 0.2, 0.0):
        meter.woken_late(late_s)
    figures = meter.report()
    assert figures["stalled_s"] == pytest.approx(0.26)
    assert figures["longest_stall_s"] == pytest.approx(0.2)
    figures = meter.report()
    assert (figures["stalled_s"], figures["longest_stall_s"]) == (0, 0)


def test_a_loop_that_stands_still_is_seen():
    meter = LoadMeter()
    watching = gevent.spawn(meter.watch_stalls)
    gevent.sleep(0.03)
    time.sleep(0.2)  # nobody else can run
    gevent.sleep(0.03)
    watching.kill()
    figures = meter.report()
    assert 0.15 < figures["longest_stall_s"] <= figures["stalled_s"]


def test_the_record_of_a_run_writes_counts_and_judges_rows(epoch):
    """Rows of all processes; overload and the abort rule see each of them."""
    output = MemoryOutput()
    overload = Overload([parse_slo("rate(errors) < 10%")], hold_s=1.0)
    rule = AbortRule(limit=0.5, window_s=10.0)
    record = RunRecord(output, overload, rule, epoch)
    overload.look_at(0, 0.0)
    batches = [
        rows_by_hand(range(3)),
        rows_by_hand([7], stage=2),
        rows_by_hand(range(30), outcome="throttled", starts_s=lambda _: 1000.0),
    ]
    for batch in batches:
        record.add(batch)
    assert output.batches == batches
    assert record.rows == 34
    assert record.rows_of == {0: 33, 2: 1}
    assert overload.broke_slo(in_flight=0, rate_per_s=1)
    assert "30 of 30 calls" in str(rule.reason_to_abort(1001.0))


def test_events_happen_now_or_when_they_are_said_to(epoch, clock):
    output = MemoryOutput()
    record = RunRecord(output, Overload([], hold_s=1.0), AbortRule(limit=1, window_s=1), epoch)
    clock.now_s = 1010.0
    record.event("interrupted")
    record.event("stage_started", 1002.5, stage=0, name="low")
    times_s = [event["time_s"] - epoch.epoch_s(1000.0) for event in output.events]
    assert times_s == pytest.approx([10.0, 2.5], abs=ROUNDING_S)
    assert output.kinds == ["interrupted", "stage_started"]


def test_the_first_rows_import_nothing():
    """An import during a load is a stall; that of pandas, where it is installed, takes seconds.

    What only an analysis needs is not imported at all: every load process would wait for it.
    """
    script = """
import locust  # first: it patches the standard library
import sys
import mwaa_headroom.locustfiles.load_test
print({"scipy.optimize", "scipy.special", "scipy.stats", "matplotlib", "pandas"} & set(sys.modules))
from mwaa_headroom.harness.epoch_clock import EpochClock
from mwaa_headroom.locustfiles.recorder import CallRecorder
from mwaa_headroom.locustfiles.senders import Job
from mwaa_headroom.harness.transport.outcome import CallResult
recorder = CallRecorder(EpochClock())
before = set(sys.modules)
recorder.arrived(Job(0, 0, "health", 0.0), taken=True)
recorder.sending()
recorder.ended(Job(0, 0, "health", 0.0), 0.0, 0.1, CallResult("ok"))
assert recorder.take().num_rows == 1
print(sorted(set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("set()\n[]\n", 0), done.stderr


def test_credentials_that_expire_are_an_event_at_once_and_only_once():
    output = MemoryOutput()
    record = RunRecord(
        output, Overload([], hold_s=1.0), AbortRule(limit=1, window_s=1), EpochClock()
    )
    record.add(rows_by_hand(range(3)))
    record.add(rows_by_hand(range(3, 6), outcome="denied", error_code="AccessDeniedException"))
    assert output.events == []
    for _ in range(2):
        record.add(
            rows_by_hand(
                range(6, 9),
                starts_s=lambda n: 1000.0 + n,
                outcome="denied",
                error_code="ExpiredTokenException",
            )
        )
    (event,) = output.of_kind("credentials_expired")
    assert (event["time_s"], event["code"]) == (1006.0, "ExpiredTokenException")
