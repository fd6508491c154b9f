"""Answers drawn from run directories: reports, comparisons, capacity, size and what-if."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mwaa_headroom.analysis.errors import RecordFormatError
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.schema import MANIFEST_FILE
from mwaa_headroom.harness.errors import RecordError, UsageError
from mwaa_headroom.harness.record.references import runs_named

if TYPE_CHECKING:  # each answer loads its own part of the analysis
    from mwaa_headroom.analysis.comparison.compare import Comparison
    from mwaa_headroom.analysis.comparison.difference import RunDifference
    from mwaa_headroom.analysis.comparison.history import History
    from mwaa_headroom.analysis.planning.capacity_curve import CapacityCurve
    from mwaa_headroom.analysis.planning.loads import LoadWanted
    from mwaa_headroom.analysis.planning.size import SizingAnswer
    from mwaa_headroom.analysis.policy.what_if import AskedLoad, WhatIf
    from mwaa_headroom.analysis.report.document import Document


def analysed_runs(directories: Sequence[Path]) -> list[RunAnalysis]:
    """Analyse every run in `directories`: run directories, or directories of run directories.

    Raises:
        RecordError: there is no run, or one that cannot be read.
    """
    return [_analysed(path) for path in run_directories(directories)]


def run_directories(given: Sequence[Path]) -> list[Path]:
    """Every run once, also when a link such as `runs/latest` names it a second time.

    Args:
        given: run directories, folders that hold some, or references (`harness/record/references`).

    Raises:
        RecordError: one of the given is none of these, or refers to no run or to several.
    """
    found = dict.fromkeys(path.resolve() for each in given for path in _runs_in(each))
    return list(found)


def _runs_in(directory: Path) -> Iterator[Path]:
    if (directory / MANIFEST_FILE).exists():
        yield directory
        return
    if not directory.exists():
        yield from runs_named(directory)
        return
    inside = sorted(path.parent for path in directory.glob(f"*/{MANIFEST_FILE}"))
    if not inside:
        raise RecordError(
            f"'{directory}' is neither a run directory nor one that holds any: none has a "
            f"{MANIFEST_FILE}."
        )
    yield from inside


def _analysed(directory: Path) -> RunAnalysis:
    try:
        return Run.read(directory).analysis
    except RecordFormatError as exc:
        raise RecordError(str(exc)) from exc


@dataclass(frozen=True, slots=True)
class RunReport:
    """What was found in a run, its report, and the report's page."""

    analysis: RunAnalysis
    document: "Document"
    page: Path


def report_run(directory: Path) -> RunReport:
    """Analyse the record in `directory`, or the only one in a folder in it, and write its report.

    Raises:
        RecordError: there is no record there, several, or not one this version can read or write
            beside.
    """
    from mwaa_headroom.analysis.report.run_report import run_document
    from mwaa_headroom.analysis.report.write import write_document

    try:
        run = Run.read(only_run(directory))
        document = run_document(run)
    except RecordFormatError as exc:
        raise RecordError(str(exc)) from exc
    try:
        page = write_document(document, run.record.directory)
    except OSError as exc:
        raise RecordError(
            f"Cannot write the report into {run.record.directory}: {exc.strerror}; free some "
            "space or copy the run directory to a place you may write to."
        ) from exc
    return RunReport(run.analysis, document, page)


def only_run(given: Path) -> Path:
    """A run directory, the only one in a folder, or that of a reference.

    Raises:
        RecordError: there is none, or several.
    """
    found = run_directories([given])
    if len(found) > 1:
        what, which = ("holds", given) if given.exists() else ("is a tag of", found[-1].parent)
        raise RecordError(
            f"'{given}' {what} {len(found)} runs: name one of them, such as "
            f"'{which / found[-1].name}'."
        )
    return found[0]


def difference_of(first: Path, second: Path) -> "RunDifference":
    """Hold two runs side by side.

    Raises:
        RecordError: there is no such run, or it cannot be read.
    """
    from mwaa_headroom.analysis.comparison.difference import difference

    try:
        return difference(Run.read(only_run(first)), Run.read(only_run(second)))
    except RecordFormatError as exc:
        raise RecordError(str(exc)) from exc


def compare_directories(
    baseline: Sequence[Path], contender: Sequence[Path], *, margin: float
) -> "Comparison":
    """Analyse the runs of both sides and hold them against each other.

    Args:
        baseline: run directories, or directories of run directories.
        contender: the same.
        margin: fraction by which a gate metric may get worse.

    Raises:
        RecordError: there is no run, or one that cannot be read.
    """
    from mwaa_headroom.analysis.comparison.compare import compare_runs

    return compare_runs(analysed_runs(baseline), analysed_runs(contender), margin=margin)


def trace_directories(directories: Sequence[Path]) -> "History":
    """Analyse the runs in `directories` and find where they changed.

    Raises:
        RecordError: there is no run, or one that cannot be read.
    """
    from mwaa_headroom.analysis.comparison.history import trace_history

    return trace_history(analysed_runs(directories))


def capacity_of_directories(directories: Sequence[Path]) -> "CapacityCurve":
    """Pool the stages of runs by their webserver count.

    Args:
        directories: of runs, or directories of these.

    Raises:
        RecordError: there is no run, or one that cannot be read.
    """
    from mwaa_headroom.analysis.planning.capacity_curve import capacity_curve, trial_run

    try:
        return capacity_curve([trial_run(Run.read(path)) for path in run_directories(directories)])
    except RecordFormatError as exc:
        raise RecordError(str(exc)) from exc


def size_directories(
    directories: Sequence[Path],
    load: "LoadWanted",
    *,
    burst_from_per_s: float | None,
    region: str | None,
    prices_file: Path | None,
    environment_class: str | None,
) -> "SizingAnswer":
    """Analyse the runs and size an environment for the load.

    Args:
        directories: of runs, or directories of these.
        load: what is wanted.
        burst_from_per_s: the rate before a burst; None: the load's lowest.
        region: whose prices; None: that of runs on AWS, or the first table's.
        prices_file: None: the table that ships.
        environment_class: where to begin; None: the runs' own.

    Raises:
        HeadroomError: a run or the prices cannot be read, or the burst is none.
    """
    from mwaa_headroom.analysis.planning.size import answer_size
    from mwaa_headroom.harness.aws.prices import SHIPPED_FILE, load_prices

    if burst_from_per_s is not None and burst_from_per_s >= load.high_per_s:
        raise UsageError(
            f"--burst-from {burst_from_per_s:g} is not below {load.high_per_s:g} calls/s, the "
            "highest rate of --load: give a lower rate, or leave it out."
        )
    tables = load_prices(prices_file or SHIPPED_FILE)
    return answer_size(
        analysed_runs(directories),
        load,
        tables,
        region=region,
        burst_from_per_s=burst_from_per_s,
        environment_class=environment_class,
    )


def what_if(directories: Sequence[Path], asked: "AskedLoad | None") -> "WhatIf":
    """Analyse runs and answer.

    Raises:
        RecordError: there is no run, or one that cannot be read.
    """
    from mwaa_headroom.analysis.policy.what_if import answer_what_if

    return answer_what_if(analysed_runs(directories), asked)
