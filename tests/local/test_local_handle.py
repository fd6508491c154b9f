"""A whole simulated environment as its users meet it: through boto3, and when things go wrong."""

import http.client
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config

from mwaa_headroom.analysis.policy.scaling_rule import PolicyParameters
from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.local.handle import StandIn
from mwaa_headroom.harness.local.instance import Endpoints, Instance, write_json
from mwaa_headroom.harness.local.settings import (
    GatewaySettings,
    MetricsSettings,
    SimulatedSettings,
    ThrottleSettings,
)

pytestmark = pytest.mark.slow

PATIENCE_S = 30.0
QUICK = SimulatedSettings(start_s=0.1)
EAGER = SimulatedSettings(
    name="eager",
    start_s=0.2,
    min_webservers=2,
    max_webservers=3,
    demand_s={"list_dags": 0.05},
    metrics=MetricsSettings(period_s=1),
    autoscaler=PolicyParameters(scale_out_cooldown_s=1.0, scale_in_cooldown_s=600.0),
)


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """The condition's first true value."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen within {PATIENCE_S} s")


def processes_of(directory: Path) -> list[int]:
    """Processes that name this instance's folder on their command line."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        command = " ".join(process.info["cmdline"] or ())
        if str(directory) in command and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.info["pid"])
    return found


def client_of(environment: StandIn, service: str) -> Any:
    ends = environment.endpoints
    url = ends.mwaa_url if service == "mwaa" else ends.cloudwatch_url
    make: Any = boto3.client
    return make(
        service,
        endpoint_url=url,
        region_name=ends.region,
        aws_access_key_id=ends.access_key_id,
        aws_secret_access_key=ends.secret_access_key,
        config=Config(
            inject_host_prefix=False, retries={"total_max_attempts": 1}, max_pool_connections=64
        ),
    )


def invoke(client: Any, method: str, path: str, **more: Any) -> dict[str, Any]:
    answer = client.invoke_rest_api(Name="eager", Method=method, Path=path, **more)
    assert answer["RestApiStatusCode"] == 200
    result: dict[str, Any] = answer["RestApiResponse"]
    return result


def running_counts(environment: StandIn, began_s: float) -> list[float]:
    """SampleCount of all clusters' CPUUtilization, period by period."""
    queries = [
        {
            "Id": cluster.lower(),
            "MetricStat": {
                "Metric": {
                    "Namespace": "AWS/MWAA",
                    "MetricName": "CPUUtilization",
                    "Dimensions": [
                        {"Name": "Cluster", "Value": cluster},
                        {"Name": "Environment", "Value": "eager"},
                    ],
                },
                "Period": 1,
                "Stat": "SampleCount",
            },
        }
        for cluster in ("WebServer", "AdditionalWebservers")
    ]
    results = client_of(environment, "cloudwatch").get_metric_data(
        MetricDataQueries=queries,
        StartTime=datetime.fromtimestamp(int(began_s), UTC),
        EndTime=datetime.fromtimestamp(int(time.time()) + 1, UTC),
    )["MetricDataResults"]
    totals: dict[datetime, float] = {}
    for result in results:
        for at, value in zip(result["Timestamps"], result["Values"], strict=True):
            totals[at] = totals.get(at, 0.0) + value
    return [totals[at] for at in sorted(totals)]


@contextmanager
def many_calls(client: Any) -> Iterator[None]:
    """24 callers that never pause; they must end well."""
    is_over = False

    def keep_calling() -> None:
        while not is_over:
            invoke(client, "GET", "/dags")

    with ThreadPoolExecutor(24) as pool:
        callers = [pool.submit(keep_calling) for _ in range(24)]
        try:
            yield
        finally:
            is_over = True
        for caller in callers:
            caller.result(PATIENCE_S)


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    directory = tmp_path_factory.mktemp("eager")
    with StandIn.start(EAGER, directory, lambda _: None) as environment:
        yield environment


def test_boto3_lists_triggers_and_asks_for_health(eager: StandIn) -> None:
    client = client_of(eager, "mwaa")
    assert invoke(client, "GET", "/dags", QueryParameters={"limit": 3})["total_entries"] == 23
    body = json.dumps({"dag_run_id": "one", "logical_date": None})
    run = invoke(client, "POST", "/dags/headroom_example/dagRuns", Body=body)
    assert run["state"] == "queued"
    assert invoke(client, "GET", "/monitor/health")["scheduler"]["status"] == "healthy"
    with pytest.raises(client.exceptions.RestApiClientException) as caught:
        client.invoke_rest_api(Name="eager", Method="GET", Path="/dags/no_such_dag")
    assert caught.value.response["RestApiStatusCode"] == 404


def test_a_burst_scales_out_and_events_status_and_metrics_agree(eager: StandIn) -> None:
    began_s = time.time()
    wait_for(lambda: running_counts(eager, began_s), "the first metric")
    assert set(running_counts(eager, began_s)) == {2.0}

    client = client_of(eager, "mwaa")
    events = eager.new_events()

    def has_three() -> Any:
        events.extend(eager.new_events())
        return eager.status().get("count") == 3

    with many_calls(client):
        wait_for(has_three, "scaling out")
        wait_for(lambda: running_counts(eager, began_s)[-1] == 3.0, "the third's metric")

    told = {event["kind"]: event for event in events}
    assert told["scaling_decision"]["from_count"] == 2
    assert told["scaling_decision"]["to_count"] == 3
    assert told["scaling_decision"]["reason"]["code"] in (
        "scaling.cpu_above",
        "scaling.connections_above",
    )
    times: list[Any] = [event["time_s"] for event in events]
    assert times == sorted(times)
    kinds = [event["kind"] for event in events]
    assert kinds[-3:] == ["scaling_decision", "webserver_starting", "webserver_ready"]
    assert all(event["source"] == "environment" for event in events)
    assert eager.new_events() == []
    assert eager.status()["calls_handled"] > 24


def test_scaling_in_after_scaling_out_leaves_a_working_environment(tmp_path: Path) -> None:
    rule = PolicyParameters(
        datapoints_to_alarm=1,
        evaluation_periods=1,
        scale_out_cooldown_s=1.0,
        scale_in_cooldown_s=1.0,
        scale_in_periods=2,
    )
    settings = EAGER.model_copy(update={"autoscaler": rule})
    began_s, events = time.time(), []
    with StandIn.start(settings, tmp_path, lambda _: None) as environment:
        client = client_of(environment, "mwaa")

        def has_told(*kinds: str) -> bool:
            events.extend(environment.new_events())
            assert environment.is_running()
            return set(kinds) <= {event["kind"] for event in events}

        with many_calls(client):
            wait_for(lambda: 3.0 in running_counts(environment, began_s), "the third's metric")
        wait_for(lambda: has_told("webserver_draining", "webserver_stopped"), "scaling in")
        wait_for(lambda: running_counts(environment, began_s)[-1] == 2.0, "the count's fall")
        assert environment.is_running()
        assert invoke(client, "GET", "/dags")["total_entries"] == 23


def test_secrets_are_in_no_file_others_can_read(eager: StandIn) -> None:
    directory = next(
        Path(argument)
        for argument in psutil.Process(eager.pid).cmdline()
        if Path(argument).is_dir()
    )
    secret = eager.endpoints.secret_access_key.encode()
    telling = [
        path.name for path in directory.iterdir() if path.is_file() and secret in path.read_bytes()
    ]
    assert telling == ["ready.json"]
    assert (directory / "ready.json").stat().st_mode & 0o077 == 0


def test_one_at_a_time_in_a_folder_and_a_killed_one_makes_room(tmp_path: Path) -> None:
    """Refused beside a running one; after a kill nothing is left and the next settings count."""
    said: list[str] = []
    first = StandIn.start(QUICK, tmp_path, said.append)
    assert said == ["Starting 2 webservers"]
    with pytest.raises(UsageError, match="already running"):
        StandIn.start(QUICK, tmp_path, said.append)
    assert first.is_running()
    assert len(processes_of(tmp_path)) >= 2  # the daemon and the CloudWatch server
    os.kill(first.pid, signal.SIGKILL)
    wait_for(lambda: not first.is_running(), "the daemon's end")
    wait_for(lambda: processes_of(tmp_path) == [], "the end of its children")
    first.stop()

    throttle = ThrottleSettings(rate_per_s=0.001, burst=1)
    settings = QUICK.model_copy(update={"gateway": GatewaySettings(throttle=throttle)})
    with StandIn.start(settings, tmp_path, said.append) as second:
        assert second.endpoints.secret_access_key != first.endpoints.secret_access_key
        assert [event["kind"] for event in second.new_events()].count("webserver_ready") == 2
        client = client_of(second, "mwaa")
        call = {"Name": settings.name, "Method": "GET", "Path": "/monitor/health"}
        assert client.invoke_rest_api(**call)["RestApiStatusCode"] == 200
        with pytest.raises(client.exceptions.ClientError, match="ThrottlingException"):
            client.invoke_rest_api(**call)
    second.stop()  # again: nothing to do
    assert processes_of(tmp_path) == []


def test_the_daemon_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from mwaa_headroom.harness.local.handle import StandIn\n"
        "from mwaa_headroom.harness.local.settings import SimulatedSettings\n"
        "StandIn.start(SimulatedSettings(start_s=0.1), Path(sys.argv[1]), lambda _: None)\n"
        "print('up', flush=True); time.sleep(60)\n"
    )
    directory = tmp_path / "instance"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        parent.kill()
    wait_for(lambda: processes_of(directory) == [], "the end of the environment")
    assert not (directory / "ready.json").exists()


def test_a_port_in_use_is_one_sentence_and_leaves_nothing(tmp_path: Path, eager: StandIn) -> None:
    port = int(eager.endpoints.mwaa_url.rpartition(":")[2])
    settings = QUICK.model_copy(update={"gateway_port": port})
    with pytest.raises(UsageError, match=f"Port {port} .*daemon.log"):
        StandIn.start(settings, tmp_path, lambda _: None)
    assert processes_of(tmp_path) == []


def test_no_port_answers_another_hosts_name_or_page(eager: StandIn) -> None:
    daemon = psutil.Process(eager.pid)
    ports = {
        connection.laddr.port
        for process in (daemon, *daemon.children(recursive=True))
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(ports) >= 5  # the MWAA API, the webserver address, CloudWatch, two webservers
    for port in ports:
        assert health_status(port, {}) != 403 or port == port_of(eager.endpoints.cloudwatch_url)
        assert health_status(port, {"Host": "evil.example"}) == 403
        assert health_status(port, {"Origin": "http://evil.example"}) == 403


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def health_status(port: int, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/api/v2/monitor/health", headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("limit", "soft"),
    [
        pytest.param(resource.RLIMIT_NOFILE, 3, id="no more files"),
        pytest.param(resource.RLIMIT_FSIZE, 0, id="no room on the disk"),
    ],
)
def test_running_out_is_survived_and_told_once(disturbed: StandIn, limit: int, soft: int) -> None:
    _, hard = resource.prlimit(disturbed.pid, limit)
    disturbed.new_events()
    resource.prlimit(disturbed.pid, limit, (soft, hard))
    events = wait_for(disturbed.new_events, "the note")
    time.sleep(1.5)
    assert disturbed.is_running()
    resource.prlimit(disturbed.pid, limit, (hard, hard))
    back_s = time.time()
    wait_for(lambda: disturbed.status().get("time_s", 0.0) > back_s, "the next status")
    messages = [one["message"] for one in events + disturbed.new_events() if one["kind"] == "note"]
    assert len(messages) == 1
    call = {"Name": QUICK.name, "Method": "GET", "Path": "/monitor/health"}
    client = client_of(disturbed, "mwaa")
    assert client.invoke_rest_api(**call)["RestApiStatusCode"] == 200


def test_as_many_files_as_the_system_allows(disturbed: StandIn) -> None:
    soft, hard = resource.prlimit(disturbed.pid, resource.RLIMIT_NOFILE)
    assert soft == hard


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # inherited
    try:
        environment = StandIn.start(QUICK, tmp_path_factory.mktemp("disturbed"), lambda _: None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with environment:
        yield environment


def test_an_environment_that_has_to_end_says_so_before_it_has(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    write_json(instance.ready_path, {**dict.fromkeys(Endpoints.__slots__, ""), "facts": {}})
    program = 'import sys; print(\'{"failed": "why"}\', flush=True); sys.stdin.read()'
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as daemon:
        environment = StandIn(instance, daemon)
        wait_for(lambda: not environment.is_running(), "the word of its end")
        assert daemon.poll() is None
        environment.stop()
