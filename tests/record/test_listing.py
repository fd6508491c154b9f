"""A list of runs: what each row says, also of runs that cannot be read."""

import json
from pathlib import Path

import pytest
from runs_by_hand import FROZEN, put_run

from mwaa_headroom.harness.errors import RecordError
from mwaa_headroom.harness.record.directory import EventLog
from mwaa_headroom.harness.record.listing import listed_run, listed_runs


@pytest.mark.parametrize(
    ("name", "verdict", "highest_per_s"),
    [
        ("simulated_check", "met", None),
        ("virtual_capacity", "answered", 14.02),
        ("throttled", "inconclusive", 35.93),
        ("interrupted", "interrupted", 35.93),
        ("compared/01", "not-reported", None),
    ],
)
def test_the_verdict_is_that_of_the_report(
    name: str, verdict: str, highest_per_s: float | None
) -> None:
    run = listed_run(FROZEN / name)
    assert (run.verdict, run.problem) == (verdict, None)
    assert run.highest_rate_per_s == pytest.approx(highest_per_s, abs=0.01)


def test_a_row_says_what_the_run_was(tmp_path: Path) -> None:
    run = listed_run(put_run(tmp_path, "mine", tags={"branch": "main"}))
    shown = (run.scenario, run.environment, run.kind, run.airflow_version, run.question, run.tags)
    expected = ("smoke", "headroom-smoke", "simulated", "3.3.1", "check", {"branch": "main"})
    assert shown == expected


def test_a_broken_slo_is_not_met(tmp_path: Path) -> None:
    directory = put_run(tmp_path, "mine")
    report = json.loads((directory / "report.json").read_text(encoding="utf-8"))
    report["verdict"] |= {"exit_code": 3, "passed": False}
    (directory / "report.json").write_text(json.dumps(report, indent=2), encoding="utf-8")
    assert listed_run(directory).verdict == "not-met"


def test_a_run_is_running_as_long_as_somebody_writes_its_events(tmp_path: Path) -> None:
    directory = put_run(tmp_path, "mine", status="running")
    (directory / "report.json").unlink()
    events = EventLog(directory / "events.jsonl")
    assert listed_run(directory).verdict == "running"
    events.close()
    assert listed_run(directory).verdict == "not-reported"


def test_damaged_runs_have_rows_that_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "20261201T070000-killed-1111").mkdir()
    (put_run(tmp_path, "torn") / "manifest.json").write_text("{", encoding="utf-8")
    (put_run(tmp_path, "unsaid") / "report.json").write_text("{", encoding="utf-8")
    put_run(tmp_path, "tagged", tags=["x"])
    put_run(tmp_path, "aimless", scenario={})
    (tmp_path / "notes").mkdir()
    (tmp_path / "latest").symlink_to("unsaid")

    found = {run.run: (run.verdict, bool(run.problem)) for run in listed_runs(tmp_path)}

    damaged = ("damaged", True)
    assert found == {
        "20261201T070000-killed-1111": damaged,
        "torn": damaged,
        "tagged": damaged,
        "aimless": damaged,
        "unsaid": ("not-reported", True),
    }


def test_runs_are_in_the_order_they_began(tmp_path: Path) -> None:
    for name, began_s in (("b", 1.0), ("a", 2.0), ("c", None)):
        put_run(tmp_path, name, started_at_s=began_s)
    assert [run.run for run in listed_runs(tmp_path)] == ["c", "b", "a"]


def test_there_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="There is no folder"):
        listed_runs(tmp_path / "gone")
