"""What is written down: rows in the schema's order, epoch times, counts, status lines."""

import time

import pyarrow as pa
import pytest

from analysis.records.schema import EVENT_KINDS, REQUESTS_SCHEMA
from harness.generator import GeneratorStatus
from harness.traffic.abort import ErrorRateRule
from harness.transport.outcome import CallResult
from locustfiles.journal import Journal
from locustfiles.pool import Job, SenderPool
from locustfiles.pulse import LOAD_EVENT_EVERY, Pulse

DENIED = CallResult("denied", http_status=403, error_code="AccessDeniedException")
OK = CallResult("ok", http_status=200, airflow_status=200, response_bytes=12)


class Lists:
    """An output that keeps everything."""

    def __init__(self) -> None:
        self.rows: list[tuple] = []
        self.events: list[dict] = []
        self.statuses: list[GeneratorStatus] = []
        self.row = self.rows.append

    def event(self, kind, *, time_s, **fields):
        assert set(EVENT_KINDS[kind]) <= set(fields)
        self.events.append({"kind": kind, "time_s": time_s, **fields})

    def status(self, status):
        self.statuses.append(status)

    def is_wanted(self):
        return True

    def close(self):
        pass


class Hands:
    """A clock that is moved by hand."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def output():
    return Lists()


@pytest.fixture
def reports():
    return []


@pytest.fixture
def rule():
    return ErrorRateRule(limit=0.5, window_s=10)


@pytest.fixture
def clock():
    return Hands(1000.0)


@pytest.fixture
def journal(output, reports, rule, clock):
    return Journal(output, lambda *report: reports.append(report), rule, clock=clock)


def test_rows_fit_the_schema(journal, output):
    job = Job(arrival=5, stage=1, label="runs", intended_s=1001.0)
    journal.arrived(job, taken=True)
    journal.sending()
    journal.ended(job, 1001.25, 1002.0, DENIED)
    journal.arrived(Job(6, 1, "runs", 1001.5), taken=False)

    columns = [pa.array(c, type=f.type) for c, f in zip(zip(*output.rows), REQUESTS_SCHEMA)]  # noqa: B905
    sent, unsent = pa.RecordBatch.from_arrays(columns, schema=REQUESTS_SCHEMA).to_pylist()
    epoch_of_1000 = sent.pop("intended_start_s") - 1.0
    assert epoch_of_1000 == pytest.approx(time.time(), abs=60)
    assert sent == {
        "arrival": 5,
        "stage": 1,
        "operation": "runs",
        "lag_s": 0.25,
        "service_time_s": 0.75,
        "outcome": "denied",
        "http_status": 403,
        "airflow_status": None,
        "error_code": "AccessDeniedException",
        "response_bytes": None,
        "attempts": 1,
        "worker": 0,
    }
    assert unsent["arrival"] == 6
    assert unsent["outcome"] == "unsent"
    assert unsent["attempts"] == 0
    assert unsent["intended_start_s"] == pytest.approx(epoch_of_1000 + 1.5)
    assert [unsent[key] for key in ("lag_s", "service_time_s", "http_status")] == [None] * 3


def test_locust_hears_latency_from_the_intended_start(journal, reports):
    job = Job(0, 0, "health", 1001.0)
    journal.ended(job, 1003.0, 1003.5, OK)
    journal.arrived(job, taken=False)
    (label, _, latency_s, result), (_, _, no_latency, unsent) = reports
    assert (label, latency_s, result) == ("health", 2.5, OK)
    assert (no_latency, unsent.outcome) == (None, "unsent")


def test_unsent_arrivals_are_no_errors_of_the_environment(journal, rule, clock):
    for arrival in range(100):
        journal.arrived(Job(arrival, 0, "health", 1000.0), taken=False)
    assert rule.reason_to_abort(clock()) is None
    for arrival in range(30):
        journal.ended(Job(arrival, 0, "health", 1000.0), 1000.0, 1000.1, DENIED)
    assert "30 of 30" in rule.reason_to_abort(clock())


def test_status_counts_everything_and_rates_since_the_line_before(journal, output, rule, clock):
    cpu = Hands(7.0)
    pulse = Pulse(journal, output, SenderPool(), rule, clock=clock, cpu_clock=cpu)
    for arrival, result in enumerate([OK, OK, DENIED]):
        job = Job(arrival, 0, "health", 1000.0)
        journal.arrived(job, taken=True)
        journal.sending()
        journal.ended(job, 1000.0, 1000.1, result)
    journal.arrived(Job(3, 0, "health", 1000.0), taken=False)
    clock.now_s, cpu.now_s = 1002.0, 7.5
    pulse.beat()
    clock.now_s = 1003.0
    pulse.beat()

    first, second = output.statuses
    assert (first.arrivals, first.sent, first.unsent, first.ok, first.errors) == (4, 3, 1, 2, 1)
    assert (first.stage, first.elapsed_s) == (-1, 2.0)
    assert first.rate_per_s == pytest.approx(1.5)
    assert first.cpu_fraction == pytest.approx(0.25)
    assert second.sent == 3
    assert (second.rate_per_s, second.cpu_fraction) == (0, 0)
    assert second.time_s == pytest.approx(first.time_s + 1)


def test_generator_load_is_an_event_now_and_then(journal, output, rule, clock):
    cpu = Hands(0.0)
    pulse = Pulse(journal, output, SenderPool(), rule, clock=clock, cpu_clock=cpu)
    for _ in range(2 * LOAD_EVENT_EVERY):
        clock.now_s += 1.0
        cpu.now_s += 0.4
        pulse.beat()
    assert [event["kind"] for event in output.events] == ["generator_load"] * 2
    assert [event["cpu_fraction"] for event in output.events] == pytest.approx([0.4, 0.4])
