"""What is kept of every arrival: rows in the schema's order, epoch times, counts."""

import time

import pytest
from load_parts import DENIED, OK, Hands, job

from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA
from mwaa_headroom.locustfiles.recorder import EpochClock, Journal, Tally
from mwaa_headroom.locustfiles.senders import Job

ROUNDING_S = 1e-5  # of epoch seconds as floats, many times over


@pytest.fixture
def clock():
    return Hands(1000.0)


@pytest.fixture
def epoch(clock):
    return EpochClock(clock)


@pytest.fixture
def reports():
    return []


@pytest.fixture
def journal(epoch, reports):
    return Journal(epoch, lambda *report: reports.append(report), worker=3)


def test_time_of_day_follows_the_monotonic_clock_alone(epoch, clock, monkeypatch):
    assert epoch.now_s() == pytest.approx(time.time(), abs=60)
    began_s = epoch.now_s()
    monkeypatch.setattr(time, "time", lambda: 0.0)  # somebody sets the clock of the machine
    clock.now_s += 5.5
    assert epoch.now_s() == pytest.approx(began_s + 5.5, abs=ROUNDING_S)
    assert epoch.epoch_s(1000.0) == began_s
    assert epoch.on_clock_s(began_s + 2.0) == pytest.approx(1002.0, abs=ROUNDING_S)


def test_rows_fit_the_schema(journal, epoch):
    sent = Job(5, 1, "runs", 1001.0)
    journal.arrived(sent, taken=True)
    journal.sending()
    journal.ended(sent, 1001.25, 1002.0, DENIED)
    journal.arrived(Job(6, -2, "runs", 1001.5), taken=False)
    assert journal.waiting_rows() == 2
    batch = journal.take()

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


def test_rows_are_taken_once(journal):
    assert journal.take() is None
    journal.arrived(job(), taken=False)
    assert journal.take().num_rows == 1
    assert journal.take() is None
    assert journal.waiting_rows() == 0


def test_rows_are_put_on_the_masters_clock(journal, epoch):
    """This machine's clock is 2.5 s ahead: what is 10 o'clock here was 2.5 s before there."""
    journal.arrived(job(0, intended_s=1010.0), taken=False)
    journal.follow(2.5)
    journal.arrived(job(1, intended_s=1010.0), taken=False)
    journal.follow(-1.0)
    journal.arrived(job(2, intended_s=1010.0), taken=False)
    here_s = epoch.epoch_s(1010.0)
    starts_s = journal.take().column("intended_start_s").to_pylist()
    assert starts_s == pytest.approx([here_s, here_s - 2.5, here_s + 1.0], abs=ROUNDING_S)


def test_locust_hears_latency_from_the_intended_start(journal, reports):
    journal.ended(job(intended_s=1001.0), 1003.0, 1003.5, OK)
    journal.arrived(job(intended_s=1001.0), taken=False)
    (label, _, latency_s, result), (_, _, no_latency, unsent) = reports
    assert (label, latency_s, result) == ("health", 2.5, OK)
    assert (no_latency, unsent.outcome) == (None, "unsent")


def test_everything_is_counted(epoch):
    journal = Journal(epoch)
    for arrival, result in enumerate([OK, OK, DENIED]):
        journal.arrived(job(arrival), taken=True)
        journal.sending()
        journal.ended(job(arrival), 1000.0, 1000.1, result)
    journal.arrived(job(3), taken=False)
    journal.arrived(job(4), taken=True)
    journal.sending()  # and has no answer yet
    assert journal.tally == Tally(arrivals=5, sent=4, unsent=1, ok=2, errors=1)


def test_tallies_of_several_processes_add_up():
    assert Tally(9, 7, 2, 4, 3) + Tally(10, 10, 0, 9, 1) == Tally(19, 17, 2, 13, 4)
