"""From a run directory to its analysis and report files."""

from pathlib import Path
from typing import TYPE_CHECKING

from analysis.errors import RecordFormatError
from analysis.records.reader import read_run
from analysis.results import RunAnalysis
from analysis.run_analysis import ANALYSED_COLUMNS, analyse_run
from harness.errors import RecordError
from harness.run.directories import run_directories

if TYPE_CHECKING:
    from analysis.report.write import ReportPaths


def report_run(directory: Path) -> "tuple[RunAnalysis, ReportPaths]":
    """Analyse the record in `directory`, or the only one in a folder in it, and write its report.

    Raises:
        RecordError: there is no record there, several, or not one this version can read or write
            beside.
    """
    from analysis.report.write import write_reports  # matplotlib: not for those who only look

    try:
        record = read_run(_only_run(directory), ANALYSED_COLUMNS)
    except RecordFormatError as exc:
        raise RecordError(str(exc)) from exc
    analysis = analyse_run(record)
    try:
        return analysis, write_reports(record, analysis, record.directory)
    except OSError as exc:
        raise RecordError(
            f"Cannot write the report into {record.directory}: {exc.strerror}; free some "
            "space or copy the run directory to a place you may write to."
        ) from exc


def _only_run(given: Path) -> Path:
    found = run_directories([given])
    if len(found) > 1:
        raise RecordError(
            f"'{given}' holds {len(found)} runs: name the one to report, such as "
            f"'{given / found[-1].name}'."
        )
    return found[0]
