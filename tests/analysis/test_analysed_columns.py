"""What is left out of a record's requests to save memory must not be missed by anybody."""

import json
from pathlib import Path

import pytest
from synthetic_records import write_synthetic_run

from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.report.run_report import run_document
from mwaa_headroom.analysis.report.write import write_document
from mwaa_headroom.analysis.run import ANALYSED_COLUMNS, Run
from mwaa_headroom.analysis.schema import MANIFEST_FILE, REQUESTS_SCHEMA


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of a client that repeats calls by itself: it makes use of most columns."""
    directory = tmp_path / "run"
    write_synthetic_run(
        directory, rates_per_s=(5.0, 20.0), stage_s=30.0, airflow_error_share=0.05, lag_s=0.002
    )
    path = directory / MANIFEST_FILE
    manifest = json.loads(path.read_text())
    manifest["scenario"]["traffic"] |= {"transport": "boto3", "retries": "standard"}
    path.write_text(json.dumps(manifest))
    return directory


def test_an_analysis_of_the_needed_columns_is_that_of_all(run: Path) -> None:
    lean = read_run(run, ANALYSED_COLUMNS)
    assert len(ANALYSED_COLUMNS) == lean.requests.num_columns < len(REQUESTS_SCHEMA)
    analysis = Run(lean).analysis
    assert analysis.retries is not None
    assert analysis == Run(read_run(run)).analysis


@pytest.mark.slow
def test_a_report_of_the_needed_columns_can_be_written(run: Path) -> None:
    lean = Run.read(run, ANALYSED_COLUMNS)
    assert write_document(run_document(lean), run).exists()
