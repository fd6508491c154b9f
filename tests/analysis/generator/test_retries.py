"""What is told of a client that repeats calls by itself."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from calls_by_hand import setting_of
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis import schema
from mwaa_headroom.analysis.generator.health import retries_of
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.html import render_html
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.report.terminal import render_terminal
from mwaa_headroom.analysis.results import RetryResult, RunAnalysis
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.setting import Setting, read_setting

CALM: dict[str, Any] = {"rates_per_s": (4.0, 8.0), "stage_s": 40.0, "question": "check"}


def setting(retries: str) -> Setting:
    mix = {
        "nightly": {"weight": 1, "operation": "trigger_dag_run"},
        "trigger_dag_run": {"weight": 1, "operation": "health"},
    }
    scenario = {
        "question": {"ask": "check"},
        "traffic": {"mix": mix, "retries": retries},
        "stages": [{"rate_per_s": 1.0, "duration_s": 10.0}],
    }
    return read_setting({"schema_version": 2, "scenario": scenario})


def table(*rows: tuple[str, int, str, int | None]) -> pa.Table:
    names = ("operation", "attempts", "outcome", "airflow_status")
    return pa.Table.from_pylist(
        [
            dict.fromkeys(schema.REQUESTS_SCHEMA.names)
            | {"arrival": i, "stage": 0, "intended_start_s": float(i), "worker": 0}
            | dict(zip(names, row, strict=True))
            for i, row in enumerate(rows)
        ],
        schema=schema.REQUESTS_SCHEMA,
    )


REQUESTS = table(
    ("nightly", 1, "ok", 200),
    ("nightly", 1, "airflow_client_error", 409),  # a conflict, but of the first attempt
    ("nightly", 3, "airflow_client_error", 409),  # taken before
    ("nightly", 2, "ok", 200),
    ("trigger_dag_run", 2, "airflow_client_error", 409),  # a label that only sounds like it
    ("nightly", 4, "throttled", None),
    ("nightly", 0, "unsent", None),
)


def test_counts_of_calls_and_attempts() -> None:
    assert retries_of(setting("standard"), REQUESTS) == RetryResult(
        mode="standard",
        sent=6,
        attempts=13,
        repeated=4,
        repeated_ok=1,
        duplicate_triggers=1,
    )


def test_without_retries_there_is_nothing_to_tell() -> None:
    assert retries_of(setting("off"), REQUESTS) is None
    assert retries_of(setting_of({}), REQUESTS) is None


def analysed(directory: Path, **changes: Any) -> RunAnalysis:
    write_synthetic_run(directory, **(CALM | changes))
    return Run(read_run(directory)).analysis


@pytest.mark.parametrize(("mode", "warned"), [("legacy", False), ("adaptive", True)])
def test_every_report_tells_of_them(tmp_path: Path, mode: str, warned: bool) -> None:
    analysis = analysed(tmp_path / "run", retries=mode, repeated_share=0.2)
    assert analysis.retries is not None
    assert analysis.retries.repeated > analysis.retries.repeated_ok > 0
    assert analysis.retries.attempts == analysis.retries.sent + analysis.retries.repeated
    document = run_document(Run.read(tmp_path / "run"))
    text = render_terminal(document, verbose=True, width=100, colour=False)
    for report in (text, render_html(document, {})):
        told = " ".join(report.split())
        assert f"boto3 transport; {mode} retries" in told
        assert f"Duplicate triggers: {analysis.retries.duplicate_triggers}." in told
        assert "contain the waits between its attempts" in told
        assert ("not the one that was offered" in told) is warned
    assert as_json(analysis)["retries"]["mode"] == mode


def test_retries_that_had_nothing_to_do(tmp_path: Path) -> None:
    analysis = analysed(tmp_path / "run", retries="standard")
    document = run_document(Run.read(tmp_path / "run"))
    text = render_terminal(document, verbose=True, width=100, colour=False)
    assert analysis.retries is not None
    assert f"None of {analysis.retries.sent} calls was sent more than once." in text
