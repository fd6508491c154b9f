"""CloudWatch, read and collected beside the load: late, changed and missing samples, refusals."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from canned_mwaa import NAME, serving, stand_in_variables
from moto.server import ThreadedMotoServer

from mwaa_headroom.analysis.mwaa import CONNECTIONS, CPU, DATABASE_CONNECTIONS, MEMORY
from mwaa_headroom.analysis.schema import METRICS_SCHEMA, METRICS_STREAM
from mwaa_headroom.harness.aws import collector as cloudwatch_module
from mwaa_headroom.harness.aws.clients import AwsClients, make_clients
from mwaa_headroom.harness.aws.collector import (
    FINAL_ATTEMPTS,
    Collector,
    LatestMetrics,
    Metric,
    MetricsReader,
    Sample,
    is_webserver,
)
from mwaa_headroom.harness.errors import EnvironmentAccessError, HeadroomError
from mwaa_headroom.harness.record.directory import finish_tables
from mwaa_headroom.harness.record.stream import StreamWriter

START_S = 29_916_666 * 60
Dimensions = list[tuple[str, str]]
WEB: Dimensions = [("Cluster", "WebServer"), ("Environment", NAME)]
MORE: Dimensions = [("Cluster", "AdditionalWebservers"), ("Environment", NAME)]


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="module")
def moto_clients(moto_url: str) -> AwsClients:
    return make_clients(environment=NAME, variables=stand_in_variables(moto_url))


@pytest.fixture
def clients(moto_clients: AwsClients, moto_url: str) -> AwsClients:
    import urllib.request

    urllib.request.urlopen(
        urllib.request.Request(f"{moto_url}/moto-api/reset", method="POST")
    ).close()
    return moto_clients


def put(clients: AwsClients, name: str, dimensions: Dimensions, at_s: float, value: float) -> None:
    clients.cloudwatch.put_metric_data(
        Namespace="AWS/MWAA",
        MetricData=[
            {
                "MetricName": name,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
                "Timestamp": datetime.fromtimestamp(at_s, UTC),
                "Value": value,
            }
        ],
    )


def read(
    clients: AwsClients, from_s: float, to_s: float, period_s: int
) -> dict[tuple[str, str, str, float], float]:
    reader = MetricsReader(clients.cloudwatch, NAME)
    samples = reader.read(reader.discover(), from_s=from_s, to_s=to_s, period_s=period_s)
    return {
        (s.metric.name, s.metric.cluster, s.statistic, s.period_start_s - START_S): s.value
        for s in samples
    }


def test_every_statistic_of_every_webserver_metric_is_read(clients: AwsClients) -> None:
    for value in (40.0, 80.0):  # two webservers
        put(clients, CPU, WEB, START_S, value)
    put(clients, CPU, MORE, START_S, 10.0)
    put(clients, MEMORY, WEB, START_S, 55.0)
    for value in (3.0, 4.0):
        put(clients, CONNECTIONS, WEB, START_S, value)
    assert read(clients, START_S, START_S + 60, 60) == {
        (CPU, "WebServer", "Average", 0): 60.0,
        (CPU, "WebServer", "Maximum", 0): 80.0,
        (CPU, "WebServer", "Minimum", 0): 40.0,
        (CPU, "WebServer", "SampleCount", 0): 2.0,
        (CPU, "AdditionalWebservers", "Average", 0): 10.0,
        (CPU, "AdditionalWebservers", "Maximum", 0): 10.0,
        (CPU, "AdditionalWebservers", "Minimum", 0): 10.0,
        (CPU, "AdditionalWebservers", "SampleCount", 0): 1.0,
        (MEMORY, "WebServer", "Average", 0): 55.0,
        (MEMORY, "WebServer", "Maximum", 0): 55.0,
        (CONNECTIONS, "WebServer", "Average", 0): 3.5,
        (CONNECTIONS, "WebServer", "Maximum", 0): 4.0,
        (CONNECTIONS, "WebServer", "Sum", 0): 7.0,
        (CONNECTIONS, "WebServer", "SampleCount", 0): 2.0,
    }


def test_each_metric_is_discovered_once_and_only_ours(clients: AwsClients) -> None:
    for at_s in range(5):  # moto lists a metric with two dimensions several times
        put(clients, CPU, WEB, START_S + at_s, 1.0)
        put(clients, CPU, MORE, START_S + at_s, 1.0)
    put(clients, CPU, [("Cluster", "Scheduler"), ("Environment", NAME)], START_S, 1.0)
    put(clients, CPU, [("Cluster", "WebServer"), ("Environment", "other")], START_S, 1.0)
    found = MetricsReader(clients.cloudwatch, NAME).discover()
    assert sorted(metric.cluster for metric in found) == ["AdditionalWebservers", "WebServer"]


def test_of_the_database_the_averages_of_the_writer_are_read(clients: AwsClients) -> None:
    for role in ("WRITER", "READER"):
        dimensions = [("DatabaseRole", role), ("Environment", NAME)]
        put(clients, CPU, dimensions, START_S, 30.0 if role == "WRITER" else 1.0)
        put(clients, DATABASE_CONNECTIONS, dimensions, START_S, 12.0)
        put(clients, MEMORY, dimensions, START_S, 50.0)
    put(clients, DATABASE_CONNECTIONS, WEB, START_S, 1.0)
    assert read(clients, START_S, START_S + 60, 60) == {
        (CPU, "", "Average", 0): 30.0,
        (DATABASE_CONNECTIONS, "", "Average", 0): 12.0,
    }


@pytest.mark.parametrize("dimensions", [WEB, WEB[::-1]])
def test_queries_keep_the_order_in_which_dimensions_were_discovered(
    clients: AwsClients, dimensions: Dimensions
) -> None:
    put(clients, CPU, dimensions, START_S, 42.0)
    asked: list[Dimensions] = []

    def note(params: dict[str, Any], **_: object) -> None:
        for query in params["MetricDataQueries"]:
            given = query["MetricStat"]["Metric"]["Dimensions"]
            asked.append([(item["Name"], item["Value"]) for item in given])

    events = clients.cloudwatch.meta.events
    events.register("provide-client-params.cloudwatch.GetMetricData", note, unique_id="note")
    try:
        answer = read(clients, START_S, START_S + 60, 60)
    finally:
        events.unregister("provide-client-params.cloudwatch.GetMetricData", unique_id="note")
    assert answer[CPU, "WebServer", "Average", 0] == 42.0
    assert asked == [dimensions] * 4


def test_periods_are_whole_however_odd_the_window_is(clients: AwsClients) -> None:
    """moto begins periods at StartTime, AWS rounds: only aligned windows mean the same to both."""
    for at_s, value in ((0, 10.0), (4, 30.0), (5, 50.0), (9.9, 70.0), (10, 90.0)):
        put(clients, CPU, WEB, START_S + at_s, value)
    answer = read(clients, START_S + 3.2, START_S + 7.9, 5)
    averages = {start: v for (_, _, stat, start), v in answer.items() if stat == "Average"}
    assert averages == {0: 20.0, 5: 60.0}


def test_a_long_window_is_read_in_several_calls_without_doubling(
    clients: AwsClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloudwatch_module, "PERIODS_PER_CALL", 3)
    monkeypatch.setattr(cloudwatch_module, "QUERIES_PER_CALL", 2)
    for period in range(10):
        put(clients, CPU, WEB, START_S + 5 * period, float(period))
    reader = MetricsReader(clients.cloudwatch, NAME)
    samples = reader.read(reader.discover(), from_s=START_S, to_s=START_S + 50, period_s=5)
    averages = [s.value for s in samples if s.statistic == "Average"]
    assert averages == [float(period) for period in range(10)]
    assert len(samples) == 40


@pytest.mark.parametrize(
    ("listed", "accepted"),
    [
        ([[("Environment", NAME)]], [""]),
        ([[("Environment", NAME), ("LoadBalancer", "app/x")]], [""]),
        ([WEB, MORE], ["AdditionalWebservers", "WebServer"]),
        ([[("LoadBalancer", "app/x")]], [""]),  # only one: it can be nobody else's
        ([[("LoadBalancer", "app/x")], [("LoadBalancer", "app/y")]], []),
        ([[("Environment", "other")]], []),
        ([[("LoadBalancer", "app/x")], [("Environment", NAME)]], [""]),
    ],
)
def test_connections_are_found_whatever_their_dimensions(
    clients: AwsClients, listed: list[Dimensions], accepted: list[str]
) -> None:
    """Their dimensions are not documented."""
    for dimensions in listed:
        put(clients, CONNECTIONS, dimensions, START_S, 1.0)
    found = MetricsReader(clients.cloudwatch, NAME).discover()
    assert sorted(metric.cluster for metric in found) == accepted


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ("WebServer", True),
        ("webserver", True),
        ("AdditionalWebservers", True),  # as the user guide prints it
        ("AdditionalWebserver", True),
        ("AdditionalWebServer", True),
        ("AdditionalWorker", False),
        ("Scheduler", False),
        ("", False),
    ],
)
def test_webservers_are_told_by_their_cluster_whatever_its_case(
    cluster: str, expected: bool
) -> None:
    assert is_webserver(cluster) is expected


def test_nothing_there_is_no_samples_and_no_error(clients: AwsClients) -> None:
    assert read(clients, START_S, START_S + 60, 60) == {}


def test_a_metric_without_data_in_the_window_gives_no_samples(clients: AwsClients) -> None:
    reader = MetricsReader(clients.cloudwatch, NAME)
    metric = Metric(CPU, tuple(WEB))
    assert reader.read([metric], from_s=START_S, to_s=START_S + 60, period_s=60) == []


NOW_S = 1_000_000.0
PERIOD_S = 5


def metric(name: str, cluster: str) -> Metric:
    return Metric(name, (("Cluster", cluster), ("Environment", NAME)))


WEB_CPU, MORE_CPU = metric(CPU, "WebServer"), metric(CPU, "AdditionalWebservers")


@dataclass
class ScriptedReader:
    """Answers with the samples a test put there; `refusal` makes it fail."""

    metrics: list[Metric] = field(default_factory=lambda: [WEB_CPU])
    samples: dict[tuple[Metric, str, float], float] = field(default_factory=dict)
    refusal: str = ""
    windows: list[tuple[float, float]] = field(default_factory=list)
    discoveries: int = 0
    on_discovery: Callable[[], None] = lambda: None

    def discover(self) -> Sequence[Metric]:
        self.discoveries += 1
        self.on_discovery()
        return tuple(self.metrics)

    def read(
        self, metrics: Sequence[Metric], *, from_s: float, to_s: float, period_s: int
    ) -> list[Sample]:
        self.windows.append((from_s, to_s))
        if self.refusal:
            raise EnvironmentAccessError(self.refusal)
        return [
            Sample(which, statistic, float(period_s), start_s, value)
            for (which, statistic, start_s), value in sorted(
                self.samples.items(), key=lambda item: item[0][2]
            )
            if which in metrics and from_s <= start_s < to_s
        ]


@dataclass
class Kept:
    """Remembers rows, events and sleeps, and has a clock that sleeping moves."""

    now_s: float = NOW_S
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    flushed: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def append(self, row: tuple[object, ...]) -> None:
        self.rows.append(row)

    def flush(self) -> None:
        self.flushed = len(self.rows)

    def write(self, kind: str, *, source: str, time_s: float, **fields: object) -> None:
        assert source == "collector"
        self.events.append({"kind": kind, "time_s": time_s, **fields})

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    def values(self) -> list[tuple[float, float, float]]:
        """(period start, value, read at), starts counted from NOW_S."""
        return [(row[6] - NOW_S, row[7], row[8] - NOW_S) for row in self.rows]


def collector(reader: Any, kept: Kept, period_s: int = PERIOD_S) -> Collector:
    return Collector(
        reader, kept, kept, period_s=period_s, clock=lambda: kept.now_s, sleep=kept.sleep
    )


def test_a_sample_is_recorded_once_and_again_only_when_it_changed() -> None:
    reader, kept = ScriptedReader(), Kept()
    key = (WEB_CPU, "Average", NOW_S - 10)
    reader.samples[key] = 40.0
    under_test = collector(reader, kept)
    assert under_test.poll(NOW_S)
    assert under_test.poll(NOW_S + 5)
    assert kept.values() == [(-10, 40.0, 0)]
    reader.samples[key] = 45.0  # CloudWatch's samples change while they arrive
    under_test.poll(NOW_S + 10)
    assert kept.values() == [(-10, 40.0, 0), (-10, 45.0, 10)]
    assert kept.flushed == 2


def test_a_late_sample_is_still_found() -> None:
    reader, kept = ScriptedReader(), Kept()
    under_test = collector(reader, kept)
    reader.samples[WEB_CPU, "Average", NOW_S - 5] = 1.0
    under_test.poll(NOW_S)
    reader.samples[WEB_CPU, "Average", NOW_S - 20] = 2.0
    under_test.poll(NOW_S + 20)
    assert kept.values() == [(-5, 1.0, 0), (-20, 2.0, 20)]


def test_a_row_fits_the_schema(tmp_path: Path) -> None:
    reader, kept = ScriptedReader(), Kept()
    reader.samples[WEB_CPU, "SampleCount", NOW_S - 5] = 2.0
    writer = StreamWriter(tmp_path / METRICS_STREAM, METRICS_SCHEMA)
    clock = lambda: kept.now_s  # noqa: E731
    Collector(reader, writer, kept, period_s=5, clock=clock, sleep=kept.sleep).poll(NOW_S)
    writer.close()
    assert finish_tables(tmp_path) == {"requests": 0, "metrics": 1}


@pytest.mark.parametrize("offset_s", [0.0, 0.1, 2.5, 4.9])
def test_only_whole_periods_are_read(offset_s: float) -> None:
    reader, kept = ScriptedReader(), Kept()
    collector(reader, kept).poll(NOW_S + offset_s)
    ((_, to_s),) = reader.windows
    assert to_s == NOW_S


def test_metrics_are_looked_for_again_until_there_is_nothing_more_to_appear() -> None:
    reader, kept = ScriptedReader(), Kept()
    under_test = collector(reader, kept)
    under_test.poll(NOW_S)
    reader.metrics += [MORE_CPU]  # the first scale-out
    reader.samples[MORE_CPU, "Average", NOW_S] = 7.0
    under_test.poll(NOW_S + 5)
    assert [row[1] for row in kept.rows] == ["AdditionalWebservers"]
    reader.metrics += [
        metric(name, cluster)
        for name in (MEMORY, CONNECTIONS)
        for cluster in ("WebServer", "AdditionalWebservers")
    ]
    for poll in range(3):
        under_test.poll(NOW_S + 10 + poll)
    assert reader.discoveries == 3


def test_the_cpu_of_the_database_does_not_stand_for_additional_webservers() -> None:
    reader, kept = ScriptedReader(), Kept()
    reader.metrics += [
        metric(name, cluster)
        for name in (MEMORY, CONNECTIONS)
        for cluster in ("WebServer", "AdditionalWebservers")
    ]
    database = Metric(CPU, (("DatabaseRole", "WRITER"), ("Environment", NAME)))
    reader.metrics.append(database)
    reader.samples[database, "Average", NOW_S - 5] = 30.0
    under_test = collector(reader, kept)
    for poll in range(3):
        under_test.poll(NOW_S + poll)
    assert reader.discoveries == 3
    assert [row[:4] for row in kept.rows] == [
        (CPU, "", f'{{"DatabaseRole": "WRITER", "Environment": "{NAME}"}}', "Average")
    ]
    assert under_test.latest() is None  # of webservers nothing is known


def test_a_costly_discovery_is_not_repeated_at_every_poll() -> None:
    reader, kept = ScriptedReader(), Kept()
    reader.on_discovery = lambda: kept.sleep(2)  # 20 times that is its pause
    under_test = collector(reader, kept)
    for poll in range(9):  # until 40 s later
        under_test.poll(NOW_S + 5 * poll)
    assert reader.discoveries == 2
    kept.now_s = NOW_S + 50
    under_test.final_read(NOW_S, NOW_S + 45, settle_s=0)  # whatever appeared last must be found
    assert reader.discoveries == 3


def test_the_latest_values_are_over_all_webservers_of_the_newest_period() -> None:
    reader, kept = ScriptedReader(), Kept()
    web, more = metric(CONNECTIONS, "WebServer"), metric(CONNECTIONS, "AdditionalWebservers")
    reader.metrics = [WEB_CPU, MORE_CPU, web, more]
    for start_s, count in ((NOW_S - 10, 4.0), (NOW_S - 5, 1.0)):
        reader.samples |= {
            (WEB_CPU, "SampleCount", start_s): 2.0,
            (WEB_CPU, "Average", start_s): 80.0,
            (MORE_CPU, "SampleCount", start_s): count,
            (MORE_CPU, "Average", start_s): 20.0,
            (web, "Sum", start_s): 9.0,
            (more, "Sum", start_s): 3.0,
        }
    under_test = collector(reader, kept)
    assert under_test.latest() is None
    under_test.poll(NOW_S)
    assert under_test.latest() == LatestMetrics(3, pytest.approx(60.0), until_s=NOW_S)


def test_the_latest_values_stay_while_nothing_new_comes() -> None:
    reader, kept = ScriptedReader(), Kept()
    reader.samples[WEB_CPU, "SampleCount", NOW_S - 5] = 2.0
    under_test = collector(reader, kept)
    under_test.poll(NOW_S)
    reader.samples.clear()
    under_test.poll(NOW_S + 5)
    assert under_test.latest() == LatestMetrics(2, None, until_s=NOW_S)


def test_a_gap_is_one_event_with_its_ends_and_is_read_again_afterwards() -> None:
    reader, kept = ScriptedReader(), Kept()
    under_test = collector(reader, kept)
    under_test.poll(NOW_S)
    reader.refusal = "AWS throttles these calls"
    for poll in range(1, 41):  # much longer than the look-back
        assert not under_test.poll(NOW_S + 5 * poll)
    assert [event["kind"] for event in kept.events] == ["note"]
    assert "the run goes on: AWS throttles" in kept.events[0]["message"]

    reader.refusal = ""
    reader.samples[WEB_CPU, "Average", NOW_S + 5] = 3.0
    assert under_test.poll(NOW_S + 205)
    assert under_test.poll(NOW_S + 210)
    assert kept.values() == [(5, 3.0, 205)]
    assert kept.events[1:] == [
        {
            "kind": "metrics_gap",
            "time_s": NOW_S + 205,
            "from_s": NOW_S,
            "to_s": NOW_S + 205,
            "reason": "AWS throttles these calls",
        }
    ]


def test_the_final_read_waits_until_the_metrics_have_settled_and_reads_the_whole_run() -> None:
    reader, kept = ScriptedReader(), Kept()
    kept.now_s = NOW_S + 61
    left_s: list[float] = []
    assert collector(reader, kept).final_read(NOW_S, NOW_S + 58, 180, left_s.append)
    assert sum(kept.slept) == pytest.approx(177)
    assert left_s == pytest.approx([147, 117, 87, 57, 27])
    assert reader.windows[-1] == (NOW_S, NOW_S + 60)


@pytest.mark.parametrize(
    ("arrives_s", "changes_s", "ends_s"),
    [(0, 0, 30), (35, 35, 90), (35, 65, 120), (100, 100, 150), (500, 500, 180)],
)
def test_the_final_read_ends_when_the_last_period_is_there_and_nothing_changes(
    arrives_s: float, changes_s: float, ends_s: float
) -> None:
    reader, kept = ScriptedReader(), Kept()
    kept.now_s = NOW_S

    def as_time_passes() -> None:
        passed_s = kept.now_s - NOW_S
        if passed_s >= arrives_s:
            count = 1.0 + (passed_s >= changes_s)
            reader.samples[WEB_CPU, "SampleCount", NOW_S - PERIOD_S] = count

    reader.on_discovery = as_time_passes
    under_test = collector(reader, kept)
    under_test.poll(NOW_S)
    under_test.final_read(NOW_S - 60, NOW_S, 180)
    assert kept.now_s - NOW_S == ends_s


def test_a_final_read_long_after_the_run_does_not_wait() -> None:
    reader, kept = ScriptedReader(), Kept()
    kept.now_s = NOW_S + 1000
    collector(reader, kept).final_read(NOW_S, NOW_S + 60, settle_s=180)
    assert kept.slept == [0.0]


def test_a_final_read_that_fails_is_tried_again_and_then_an_event() -> None:
    reader, kept = ScriptedReader(refusal="access is denied"), Kept()
    kept.now_s = NOW_S + 100
    assert not collector(reader, kept).final_read(NOW_S, NOW_S + 60, settle_s=0)
    assert len(reader.windows) == FINAL_ATTEMPTS
    assert [event["kind"] for event in kept.events] == ["note", "metrics_gap"]
    assert kept.events[1]["reason"] == "access is denied"


def test_a_full_disk_ends_the_thread_and_is_raised_in_the_end() -> None:
    reader, kept = ScriptedReader(), Kept()

    def full() -> None:
        raise HeadroomError("Cannot write 'metrics.arrows': the disk is full.")

    kept.flush = full
    under_test = collector(reader, kept)
    thread = under_test.run_in_thread(threading.Event())
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert str(under_test.failure) == "Cannot write 'metrics.arrows': the disk is full."
    with pytest.raises(HeadroomError, match="the disk is full"):
        under_test.final_read(NOW_S, NOW_S + 5, settle_s=0)


@dataclass
class Refusing:
    """A CloudWatch that answers every call with one error, and counts them."""

    status: int
    body: bytes
    calls: int = 0


@pytest.fixture(
    params=[
        pytest.param((403, b'{"__type": "AccessDenied"}', "access is denied; allow"), id="denied"),
        pytest.param((400, b'{"__type": "Throttling"}', "AWS throttles"), id="throttled"),
        pytest.param((503, b"<html>no</html>", "AWS answered 503"), id="html"),
        pytest.param((200, b"<html>no</html>", "the answer is not AWS's"), id="proxy"),
        pytest.param((403, b"\xa2\xff", "the answer is not AWS's"), id="rubbish"),
    ]
)
def refusing(request: pytest.FixtureRequest) -> Iterator[tuple[Refusing, str, str]]:
    status, body, reason = request.param
    script = Refusing(status, body)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            script.calls += 1
            self.send_response(script.status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(script.body)))
            self.end_headers()
            self.wfile.write(script.body)

    with serving(Handler) as url:
        yield script, url, reason


@pytest.mark.slow
def test_the_thread_lives_through_a_cloudwatch_that_refuses(
    refusing: tuple[Refusing, str, str],
) -> None:
    script, url, reason = refusing
    clients = make_clients(environment=NAME, variables=stand_in_variables(url))
    kept = Kept()
    reader = MetricsReader(clients.cloudwatch, NAME)
    polled_again = threading.Event()

    def clock() -> float:
        if script.calls:
            polled_again.set()
        kept.now_s += 1
        return kept.now_s

    under_test = Collector(reader, kept, kept, period_s=1, clock=clock, sleep=kept.sleep)
    stop = threading.Event()
    thread = under_test.run_in_thread(stop)
    assert polled_again.wait(timeout=60)
    assert thread.is_alive()
    stop.set()
    thread.join(timeout=60)
    assert under_test.failure is None
    assert under_test.latest() is None
    assert not under_test.final_read(NOW_S, NOW_S + 5, settle_s=0)
    gaps = [event for event in kept.events if event["kind"] == "metrics_gap"]
    assert len(gaps) == 1
    assert reason in gaps[0]["reason"]
    assert gaps[0]["from_s"] < gaps[0]["to_s"]


def test_a_clock_that_is_set_back_does_not_prolong_the_pause_between_discoveries() -> None:
    reader, kept = ScriptedReader(), Kept()
    reader.on_discovery = lambda: kept.sleep(2)
    under_test = collector(reader, kept)
    under_test.poll(NOW_S)
    under_test.poll(NOW_S - 200)
    assert reader.discoveries == 2
