"""What a run left is known from its record, told by every report and undone by its command."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canned_mwaa import ARN, NAME, CannedMwaa, handler_of, serving, stand_in_variables
from json_outputs import checked
from rows_by_hand import rows_by_hand

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report.terminal import render_terminal
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.schema import (
    METRICS_SCHEMA,
    METRICS_STREAM,
    REQUESTS_SCHEMA,
    REQUESTS_STREAM,
)
from mwaa_headroom.harness.aws import cleanup
from mwaa_headroom.harness.aws.cleanup import Created
from mwaa_headroom.harness.aws.environment import describe_environment
from mwaa_headroom.harness.cli.main import main
from mwaa_headroom.harness.record.stream import StreamWriter
from mwaa_headroom.harness.run.answers import report_run
from mwaa_headroom.harness.run.cleaning import left_by_run
from mwaa_headroom.harness.run.load_processes import LoadProcesses
from mwaa_headroom.harness.run.recording import Phases, Recording, start_recording
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.traffic.operations import run_id_prefix

TREE: dict[str, Any] = {
    "name": "x",
    "slo": ["rate(errors) < 1%"],
    "question": {"ask": "check"},
    "environment": {"kind": "aws", "name": NAME, "region": "us-east-1"},
    "traffic": {"mix": {"trigger_dag_run": 1, "health": 1}},
    "stages": [{"rate_per_s": 5, "duration_s": 4}],
    "limits": {"allow_environment": ARN, "max_rate_per_s": 1000},
}
DAG = "headroom_example"


@pytest.fixture
def mwaa(monkeypatch: pytest.MonkeyPatch) -> Iterator[CannedMwaa]:
    mwaa = CannedMwaa()
    mwaa.airflow.dags = {DAG: {}, "headroom_pausable": {"is_paused": True}}
    with serving(handler_of(mwaa)) as url:
        mwaa.url = url
        for name, value in stand_in_variables(url).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(cleanup, "CALLS_PER_S", 1000.0)
        yield mwaa


def recorded(mwaa: CannedMwaa, runs: Path, **limits: Any) -> Recording:
    """A run that was cut off: its preflight's steps and 20 rows, every fourth a failed trigger."""
    scenario = check_scenario({**TREE, "limits": {**TREE["limits"], **limits}}, origin="x.toml")
    recording = start_recording(
        scenario,
        scenario_file=runs / "x.toml",
        runs_directory=runs,
        load_processes=LoadProcesses(),
        facts=describe_environment(mwaa.clients(), NAME),
        stand_in_facts={},
        phases=Phases(),
    )
    created = Created(tell=lambda **fields: recording.event("created", **fields))
    created.add_variable("headroom_variable", None)
    created.add_paused("headroom_pausable", False)
    created.add_dag_run(DAG, f"{run_id_prefix(recording.run_id)}s0")
    rows = StreamWriter(recording.directory / REQUESTS_STREAM, REQUESTS_SCHEMA)
    began_s = recording.started_at_s
    for outcome, arrivals in (("ok", range(8)), ("client_timeout", [8, 9]), ("throttled", [10])):
        rows.write(
            rows_by_hand(
                list(arrivals),
                starts_s=lambda arrival: began_s + arrival / 5,
                outcome=outcome,
                operation="trigger_dag_run",
            )
        )
    rows.write(rows_by_hand(range(11, 20), starts_s=lambda arrival: began_s + arrival / 5))
    rows.close()
    StreamWriter(recording.directory / METRICS_STREAM, METRICS_SCHEMA).close()
    mwaa.airflow.variables["headroom_variable"] = "7"
    ours = [f"{run_id_prefix(recording.run_id)}{name}" for name in ("s0", *range(9))]
    mwaa.airflow.runs[DAG] = ["manual__1", *ours]
    return recording


def left(directory: Path) -> Finding | None:
    found = Run.read(directory).analysis.warnings
    return next((each for each in found if each.code == "run.left_behind"), None)


def clean(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["clean", *map(str, arguments)])
    return int(ended.value.code or 0)


def test_the_record_of_a_killed_run_says_what_may_be_left(mwaa: CannedMwaa, tmp_path: Path) -> None:
    directory = recorded(mwaa, tmp_path).directory
    finding = left(directory)
    assert finding is not None
    assert finding.severity == "warning"
    assert finding.values == {
        "dag_runs": 11,  # one by preflight, eight and two that may have arrived
        "variables": 1,
        "paused_states": 1,
        "is_certain": False,
        "is_wanted": False,
        "answers": (),
        "directory": str(directory),
    }


def test_what_is_left_is_told_in_every_form_of_the_report(mwaa: CannedMwaa, tmp_path: Path) -> None:
    recording = recorded(mwaa, tmp_path)
    recording.finish("finished")
    report = report_run(recording.directory)
    command = f"headroom clean {recording.directory}"
    for name in ("report.html", "report.json", "summary.md", "junit.xml"):
        text = (recording.directory / name).read_text()
        assert command in text.replace("\\", ""), name  # Markdown escapes underscores
    terminal = render_terminal(report.document, verbose=False, colour=False, width=500)
    assert command in terminal


def test_what_a_killed_run_left_is_undone_and_the_record_knows(
    mwaa: CannedMwaa, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = recorded(mwaa, tmp_path).directory
    assert clean(directory, "--yes", "--json") == 0
    answer = checked("clean", capsys.readouterr().out)
    assert answer["undone"] == {"dag_runs": 10, "variables": 1, "paused_states": 1}
    assert answer["left"] == {}
    assert mwaa.airflow.runs == {DAG: ["manual__1"]}
    assert mwaa.airflow.variables == {}
    assert mwaa.airflow.dags["headroom_pausable"]["is_paused"] is False
    assert left(directory) is None
    assert clean(directory, "--json") == 0
    assert checked("clean", capsys.readouterr().out)["found"]["dag_runs"] == {}


def test_cleaning_that_is_interrupted_is_begun_again_where_it_ended(
    mwaa: CannedMwaa, tmp_path: Path
) -> None:
    directory = recorded(mwaa, tmp_path).directory
    told: list[str] = []

    def interrupt(text: str) -> None:
        told.append(text)
        if len(told) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        left_by_run(directory).undo(interrupt)
    some = left(directory)
    assert some is not None
    assert 0 < some.values["dag_runs"] < 10
    assert clean(directory, "--yes") == 0
    assert mwaa.airflow.runs[DAG] == ["manual__1"]
    assert left(directory) is None


def test_nothing_is_undone_where_nobody_can_be_asked(
    mwaa: CannedMwaa, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = recorded(mwaa, tmp_path).directory
    assert clean(directory) == 2
    assert f"10 runs of DAG {DAG}" in capsys.readouterr().out
    assert len(mwaa.airflow.runs[DAG]) == 11
    assert {method for method, _ in mwaa.airflow.calls} == {"GET"}


def test_a_role_that_may_not_delete_leaves_a_finding_with_the_answer(
    mwaa: CannedMwaa, tmp_path: Path
) -> None:
    directory = recorded(mwaa, tmp_path).directory
    mwaa.airflow.forbidden = {"DELETE"}
    assert clean(directory, "--yes") != 0
    finding = left(directory)
    assert finding is not None
    assert finding.values["dag_runs"] == 10
    assert finding.values["is_certain"]
    assert finding.values["answers"] == (403,)
    mwaa.airflow.forbidden = set()
    assert clean(directory, "--yes") == 0
    assert left(directory) is None


def test_another_environment_is_not_touched(mwaa: CannedMwaa, tmp_path: Path) -> None:
    directory = recorded(mwaa, tmp_path).directory
    mwaa.environment["Arn"] = ARN.replace("us-east-1", "us-west-2")
    assert clean(directory, "--yes") == 2
    assert mwaa.airflow.calls == []


def test_what_is_kept_by_wish_is_a_note(mwaa: CannedMwaa, tmp_path: Path) -> None:
    finding = left(recorded(mwaa, tmp_path, clean_up=False).directory)
    assert finding is not None
    assert finding.severity == "note"


SCENARIO = f"""
slo = ["rate(errors) < 1%"]
[question]
ask = "check"
[environment]
kind = "aws"
name = "{NAME}"
region = "us-east-1"
[traffic.mix]
get_dag_run = 1
[[stages]]
rate_per_s = 5
duration_s = 4
[limits]
allow_environment = "{ARN}"
"""


def test_without_a_record_runs_are_found_by_the_beginning_of_their_ids(
    mwaa: CannedMwaa, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "x.toml"
    scenario.write_text(SCENARIO)
    others = ["scheduled__1", "headroomX"]
    mwaa.airflow.runs[DAG] = [*others, *(f"headroom_{n}" for n in range(3)), *others]
    assert clean(scenario, "--prefix", "scheduled__", "--yes") == 2
    assert clean(scenario, "--yes") == 2
    assert len(mwaa.airflow.runs[DAG]) == 7
    assert clean(scenario, "--prefix", "headroom_", "--yes") == 0
    assert mwaa.airflow.runs == {DAG: [*others, *others]}
    assert "3 undone" in capsys.readouterr().out.splitlines()[-1]
