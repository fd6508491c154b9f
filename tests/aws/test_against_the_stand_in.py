"""Facts, preflight, metrics and cleaning up against the simulated stand-in: the whole protocol."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mwaa_headroom.analysis.leftovers import DAG_RUNS
from mwaa_headroom.analysis.mwaa import CPU
from mwaa_headroom.analysis.schema import EVENTS_FILE, METRICS_SCHEMA, METRICS_STREAM
from mwaa_headroom.harness.aws.cleanup import Created, Undoing, finder, still_there, undo
from mwaa_headroom.harness.aws.clients import AwsClients, RestApi, make_clients
from mwaa_headroom.harness.aws.collector import Collector, MetricsReader
from mwaa_headroom.harness.aws.environment import describe_environment, require_allowed
from mwaa_headroom.harness.aws.preflight import preflight
from mwaa_headroom.harness.local.handle import StandIn
from mwaa_headroom.harness.local.settings import MetricsSettings, SimulatedSettings
from mwaa_headroom.harness.record.directory import EventLog, finish_tables
from mwaa_headroom.harness.record.stream import StreamWriter
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.operations import run_id_prefix

pytestmark = pytest.mark.slow

RUN_ID = "20261122T073000-x-ab12"
SETTINGS = SimulatedSettings(metrics=MetricsSettings(period_s=1))


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsClients]:
    directory = tmp_path_factory.mktemp("instance")
    with StandIn.start(SETTINGS, directory, lambda _: None) as environment:
        yield make_clients(
            environment=SETTINGS.name, variables=environment.endpoints.as_variables()
        )


def scenario(mix: dict[str, float]) -> Scenario:
    tree = {
        "name": "x",
        "question": {"ask": "check"},
        "slo": ["rate(errors) < 1%"],
        "environment": SETTINGS.model_dump(),
        "traffic": {"mix": mix},
        "stages": [{"rate_per_s": 1, "duration_s": 1}],
        "expect": {"healthy_components": ["metadatabase", "scheduler"]},
        "limits": {"max_rate_per_s": 100},
    }
    return check_scenario(tree, origin="x.toml")


def test_what_preflight_creates_is_gone_after_cleaning_up(clients: AwsClients) -> None:
    mix = dict.fromkeys(("get_dag_run", "trigger_dag_run", "set_variable", "pause_dag"), 1.0)
    wanted = scenario(mix)
    facts = describe_environment(clients, SETTINGS.name)
    require_allowed(wanted, facts.arn, endpoint_is_loopback=clients.endpoint_is_loopback)
    assert facts.airflow_version == SETTINGS.airflow_version
    assert facts.clock_offset_s == pytest.approx(0, abs=30)

    created = Created()
    result = preflight(clients, wanted, facts, RUN_ID, created)
    assert [item.met for item in result.expectations] == [True, True]
    assert len(result.targets.dag_run_ids["headroom_example"]) >= 10

    api = RestApi(clients, SETTINGS.name, rate_per_s=100)
    path = "/dags/headroom_example/dagRuns"
    run = f"{run_id_prefix(RUN_ID)}0"
    assert api.send("POST", path, {"dag_run_id": run, "logical_date": None, "conf": {}}).ok

    find = finder(api, RUN_ID)
    found = Created(still_there(find, ["headroom_example"], {}), created.variables)
    undoing = Undoing()
    undo(api, found, undoing, lambda _: None, find)
    assert undoing.left.total() == 0
    assert undoing.done[DAG_RUNS] == 1 + len(created.dag_runs.get("headroom_example", ()))
    assert api.get(f"{path}/{run}").status == 404


def test_the_metrics_of_running_webservers_reach_the_record(
    clients: AwsClients, tmp_path: Path
) -> None:
    writer = StreamWriter(tmp_path / METRICS_STREAM, METRICS_SCHEMA)
    events = EventLog(tmp_path / EVENTS_FILE)
    reader = MetricsReader(clients.cloudwatch, SETTINGS.name)
    collector = Collector(reader, writer, events, period_s=1, clock=time.time, sleep=time.sleep)
    began_s = time.time()
    deadline_s = began_s + 30
    while collector.latest() is None and time.time() < deadline_s:
        assert collector.poll(time.time())
        time.sleep(0.5)
    latest = collector.latest()
    assert latest is not None
    assert latest.webservers == SETTINGS.min_webservers
    assert collector.final_read(began_s, time.time(), settle_s=1)
    writer.close()
    events.close()
    assert finish_tables(tmp_path)["metrics"] > 0
    assert (tmp_path / EVENTS_FILE).read_text(encoding="utf-8") == ""
    assert {metric.name for metric in reader.discover()} >= {CPU}
