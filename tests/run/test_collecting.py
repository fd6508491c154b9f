"""`headroom collect`: metrics that came too late for a run are added to its record, once."""

import hashlib
import logging
import os
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from canned_mwaa import ARN, NAME, CannedMwaa, handler_of, serving, stand_in_variables
from moto.server import ThreadedMotoServer
from rows_by_hand import rows_by_hand

from mwaa_headroom.analysis.mwaa import CONNECTIONS, CPU
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.run_findings import run_warnings
from mwaa_headroom.analysis.schema import (
    EVENTS_FILE,
    METRICS_SCHEMA,
    METRICS_STREAM,
    METRICS_TABLE,
    REQUESTS_SCHEMA,
    REQUESTS_STREAM,
)
from mwaa_headroom.harness.aws.clients import AwsClients, make_clients
from mwaa_headroom.harness.aws.environment import EnvironmentFacts
from mwaa_headroom.harness.cli.main import main
from mwaa_headroom.harness.errors import HeadroomError, NotAllowedError, UsageError
from mwaa_headroom.harness.record.directory import EventLog
from mwaa_headroom.harness.record.stream import StreamWriter
from mwaa_headroom.harness.run import collecting
from mwaa_headroom.harness.run.collecting import collect_run
from mwaa_headroom.harness.run.load_processes import LoadProcesses
from mwaa_headroom.harness.run.recording import Phases, Recording, start_recording
from mwaa_headroom.harness.scenario.load import check_scenario

TREE: dict[str, Any] = {
    "name": "x",
    "slo": ["rate(errors) < 1%"],
    "question": {"ask": "check"},
    "environment": {"kind": "aws", "name": NAME, "region": "us-east-1"},
    "traffic": {"mix": {"health": 1}},
    "stages": [{"rate_per_s": 1, "duration_s": 240}],
    "limits": {"allow_environment": ARN},
}
FACTS = EnvironmentFacts(
    name=NAME,
    arn=ARN,
    status="AVAILABLE",
    airflow_version="3.0.6",
    webserver_vcpu=2.0,
    clock_offset_s=0.0,
    recorded={"Name": NAME, "MinWebservers": 2, "MaxWebservers": 5},
)
LOAD_S = 250.0
AFTER_S = 900.0
WEB = {"Cluster": "WebServer", "Environment": NAME}
MORE = {"Cluster": "AdditionalWebServer", "Environment": NAME}
BALANCER = {"Environment": NAME}


@pytest.fixture(scope="module")
def cloudwatch_url() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def mwaa(monkeypatch: pytest.MonkeyPatch, cloudwatch_url: str) -> Iterator[CannedMwaa]:
    reset = urllib.request.Request(f"{cloudwatch_url}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset).close()
    mwaa = CannedMwaa()
    with serving(handler_of(mwaa)) as url:
        mwaa.url = url
        variables = {**stand_in_variables(url), "AWS_ENDPOINT_URL_CLOUDWATCH": cloudwatch_url}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield mwaa


@cache
def clients_of(mwaa_url: str, cloudwatch_url: str) -> AwsClients:
    """Making them takes a while, so that each address has them once."""
    variables = {**stand_in_variables(mwaa_url), "AWS_ENDPOINT_URL_CLOUDWATCH": cloudwatch_url}
    return make_clients(environment=NAME, variables=variables)


def put(name: str, dimensions: dict[str, str], at_s: float, *values: float) -> None:
    url = os.environ["AWS_ENDPOINT_URL_CLOUDWATCH"]
    clients_of(url, url).cloudwatch.put_metric_data(
        Namespace="AWS/MWAA",
        MetricData=[
            {
                "MetricName": name,
                "Dimensions": [{"Name": key, "Value": text} for key, text in dimensions.items()],
                "Timestamp": datetime.fromtimestamp(at_s, UTC),
                "Values": list(values),
            }
        ],
    )


def run_begun(runs: Path, environment: dict[str, Any] | None = None) -> Recording:
    tree = {**TREE, "environment": environment or TREE["environment"]}
    recording = start_recording(
        check_scenario(tree, origin="x.toml"),
        scenario_file=runs / "x.toml",
        runs_directory=runs,
        load_processes=LoadProcesses(),
        facts=FACTS,
        stand_in_facts={},
        phases=Phases(),
    )
    began_s = recording.started_at_s
    for kind, at_s in (("stage_started", 0.0), ("stage_ended", LOAD_S)):
        told = {"source": "generator", "stage": 0, "name": "stage 1"}
        recording.events.write(kind, time_s=began_s + at_s, **told)
    rows = StreamWriter(recording.directory / REQUESTS_STREAM, REQUESTS_SCHEMA)
    rows.write(rows_by_hand(range(200), starts_s=lambda arrival: began_s + arrival))
    rows.close()
    StreamWriter(recording.directory / METRICS_STREAM, METRICS_SCHEMA).close()
    return recording


@pytest.fixture
def run(mwaa: CannedMwaa, tmp_path: Path) -> Recording:
    """A finished run without metrics, five minutes of which CloudWatch has by now."""
    recording = run_begun(tmp_path)
    gap = {"from_s": recording.started_at_s, "to_s": recording.started_at_s + LOAD_S}
    recording.events.write(
        "metrics_gap", source="collector", time_s=gap["to_s"], reason="throttled", **gap
    )
    recording.finish("finished")
    for start_s in periods_of(recording):
        put(CPU, WEB, start_s, 40.0, 60.0)
        put(CONNECTIONS, BALANCER, start_s, 7.0)
    return recording


def periods_of(recording: Recording) -> range:
    first = int(recording.started_at_s // 60 * 60)
    return range(first, first + 300, 60)


def collect(run: Recording, after_s: float = AFTER_S) -> int:
    return collect_run(run.directory, now_s=run.started_at_s + after_s).rows


def record_of(run: Recording) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in run.directory.iterdir()
        if path.is_file()
    }


def codes(run: Recording) -> set[str]:
    return {warning.code for warning in Run.read(run.directory).analysis.warnings}


def test_late_metrics_are_added_and_what_was_said_of_their_absence_is_gone(run: Recording) -> None:
    missed = {"run.no_metrics", "run.metrics_late", "run.metrics_gap"}
    assert missed <= codes(run)
    assert collect(run) == len(periods_of(run)) * 8  # four statistics of each of the two
    assert not missed & codes(run)
    seen = Run.read(run.directory).periods
    assert [period.start_s for period in seen] == list(periods_of(run))
    assert {(p.webservers, p.cpu_percent, p.connections) for p in seen} == {(2, 50.0, 7.0)}
    assert Run.read(run.directory).record.manifest["rows"] == {"requests": 200, "metrics": 40}


def test_no_more_of_the_load_lacks_metrics_than_there_was(run: Recording) -> None:
    """Though the newest that was known is of long before it."""
    read = Run.read(run.directory)
    started_s = read.analysis.started_at_s
    missing_s = [
        found.values["missing_s"]
        for known_until_s in (None, started_s - 600.0)
        for found in run_warnings(
            read.record, read.setting, (), known_until_s=known_until_s, expiry=None
        )
        if found.code == "run.metrics_late"
    ]
    assert len(missing_s) == 2
    assert missing_s[0] == missing_s[1]


def test_a_second_collect_changes_no_byte_of_the_record(run: Recording) -> None:
    collect(run)
    before = record_of(run)
    assert collect(run, AFTER_S + 3600) == 0
    assert record_of(run) == before


def test_what_was_read_before_stays_and_what_changed_is_added(run: Recording) -> None:
    collect(run)
    before = pq.read_table(run.directory / METRICS_TABLE).to_pylist()
    last_s = periods_of(run)[-1]
    put(CPU, WEB, last_s, 20.0)  # a third webserver's sample, later still
    put(CPU, MORE, last_s, 10.0)  # of a cluster in yet another spelling
    assert collect(run, AFTER_S + 60) == 3 + 4
    after = pq.read_table(run.directory / METRICS_TABLE).to_pylist()
    assert after[: len(before)] == before
    newest = Run.read(run.directory).periods[-1]
    assert (newest.webservers, newest.cpu_percent) == (4, pytest.approx(32.5))


def test_a_collect_that_was_cut_off_is_finished_by_the_next_one(
    run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(collecting, "write_manifest", ends)
        with pytest.raises(KeyboardInterrupt):
            collect(run)
    assert collect(run) == 0
    assert Run.read(run.directory).record.manifest["rows"] == {"requests": 200, "metrics": 40}
    assert "run.metrics_gap" not in codes(run)


def test_a_killed_run_gets_its_metrics_and_loses_no_call(mwaa: CannedMwaa, tmp_path: Path) -> None:
    killed = run_begun(tmp_path)
    killed.events.close()  # as the end of its process does
    for start_s in periods_of(killed):
        put(CPU, WEB, start_s, 40.0, 60.0)
    assert collect(killed) == len(periods_of(killed)) * 4
    read = Run.read(killed.directory)
    assert (len(read.calls), len(read.periods)) == (200, len(periods_of(killed)))
    assert "record.cut_off" in codes(killed)


def test_a_run_that_goes_on_is_left_alone(mwaa: CannedMwaa, tmp_path: Path) -> None:
    """However long it has said nothing, as while it waits for metrics or cleans up."""
    going = run_begun(tmp_path)
    another = EventLog(going.directory / EVENTS_FILE)  # of a load process
    before = record_of(going)
    for log in (going.events, another):
        with pytest.raises(UsageError, match="until the run has ended"):
            collect(going, LOAD_S + 3600)
        log.close()
    assert record_of(going) == before
    assert collect(going, LOAD_S + 3600) == 0


@pytest.mark.parametrize(("days", "left"), [(14.9, True), (15.1, False), (500, False)])
def test_metrics_of_a_minute_are_kept_for_fifteen_days(
    run: Recording, days: float, left: bool
) -> None:
    if left:
        assert collect(run, days * 86_400) == 40
        return
    with pytest.raises(UsageError, match="for 15 days"):
        collect(run, days * 86_400)


def test_only_the_environment_of_the_run_is_asked(run: Recording, mwaa: CannedMwaa) -> None:
    mwaa.environment["Arn"] = ARN.replace("123456789012", "210987654321")
    before = record_of(run)
    with pytest.raises(NotAllowedError, match="123456789012"):
        collect(run)
    assert record_of(run) == before


def test_a_local_environments_metrics_went_with_it(mwaa: CannedMwaa, tmp_path: Path) -> None:
    local = run_begun(tmp_path, {"kind": "simulated", "name": NAME})
    local.finish("finished")
    with pytest.raises(UsageError, match="simulated"):
        collect(local)


def test_a_refusal_by_cloudwatch_leaves_the_record_as_it_was(
    run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    before = record_of(run)
    with pytest.raises(HeadroomError, match="cannot be reached"):
        collect(run)
    assert record_of(run) == before


def test_the_command_rewrites_the_report(
    run: Recording, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_s = run.started_at_s + AFTER_S
    monkeypatch.setattr("mwaa_headroom.harness.cli.run.time.time", lambda: at_s)
    with pytest.raises(SystemExit) as ended:
        main(["collect", str(run.directory)])
    assert ended.value.code == Run.read(run.directory).analysis.verdict.exit_code
    assert "lacked 40 samples" in capsys.readouterr().err
    assert (run.directory / "report.html").is_file()
