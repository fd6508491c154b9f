"""Reading CloudWatch: against moto's server, and against canned refusals."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from canned_mwaa import NAME, stand_in_variables
from moto.server import ThreadedMotoServer

from mwaa_headroom.analysis.mwaa import CONNECTIONS, CPU, DATABASE_CONNECTIONS, MEMORY
from mwaa_headroom.harness.aws import collector as cloudwatch_module
from mwaa_headroom.harness.aws.clients import AwsClients, make_clients
from mwaa_headroom.harness.aws.collector import (
    Metric,
    MetricsReader,
    is_webserver,
)

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
