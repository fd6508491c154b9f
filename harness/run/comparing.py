"""From run directories to a comparison or a history, and to its files."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from analysis.comparison import compare_runs
from analysis.comparison_results import Comparison, History
from analysis.errors import RecordFormatError
from analysis.history import trace_history
from analysis.likeness import IdentifiedRun, identity_of
from analysis.records.reader import read_run
from analysis.records.schema import MANIFEST_FILE
from analysis.run_analysis import ANALYSED_COLUMNS, analyse_run
from harness.errors import RecordError

Result = TypeVar("Result", Comparison, History)


def compare_directories(
    baseline: Sequence[Path], contender: Sequence[Path], *, margin: float
) -> Comparison:
    """Analyse the runs of both sides and hold them against each other.

    Args:
        baseline: run directories, or directories of run directories.
        contender: the same.
        margin: fraction by which a gate metric may get worse.

    Raises:
        RecordError: there is no run, or one that cannot be read.
    """
    return compare_runs(_identified(baseline), _identified(contender), margin=margin)


def trace_directories(directories: Sequence[Path]) -> History:
    """Analyse the runs in `directories` and find where they changed.

    Raises:
        RecordError: there is no run, or one that cannot be read.
    """
    return trace_history(_identified(directories))


def write_files(write: Callable[[Result, Path], Path], result: Result, directory: Path) -> Path:
    """Write the files of a result with one of the functions of `analysis.report.comparison.write`.

    Raises:
        RecordError: the directory cannot be written.
    """
    try:
        return write(result, directory)
    except OSError as exc:
        raise RecordError(
            f"Cannot write into {directory}: {exc.strerror}; give another directory."
        ) from exc


def _identified(directories: Sequence[Path]) -> list[IdentifiedRun]:
    return [_analysed(path) for path in _run_directories(directories)]


def _run_directories(given: Sequence[Path]) -> list[Path]:
    """Every run once, also when a link such as `runs/latest` names it a second time."""
    found = dict.fromkeys(path.resolve() for each in given for path in _runs_in(each))
    return list(found)


def _runs_in(directory: Path) -> Iterator[Path]:
    if (directory / MANIFEST_FILE).exists():
        yield directory
        return
    if not directory.is_dir():
        raise RecordError(f"There is no run directory '{directory}'.")
    inside = sorted(path.parent for path in directory.glob(f"*/{MANIFEST_FILE}"))
    if not inside:
        raise RecordError(
            f"'{directory}' is neither a run directory nor one that holds any: none has a "
            f"{MANIFEST_FILE}."
        )
    yield from inside


def _analysed(directory: Path) -> IdentifiedRun:
    try:
        record = read_run(directory, ANALYSED_COLUMNS)
        return IdentifiedRun(identity_of(record), analyse_run(record))
    except RecordFormatError as exc:
        raise RecordError(str(exc)) from exc
