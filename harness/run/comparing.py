"""From run directories to a comparison or a history, and to its files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from analysis.comparison.compare import compare_runs
from analysis.comparison.history import trace_history
from analysis.comparison.results import Comparison, History
from harness.run.directories import analysed_runs
from harness.run.writing import writing_into

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
    return compare_runs(analysed_runs(baseline), analysed_runs(contender), margin=margin)


def trace_directories(directories: Sequence[Path]) -> History:
    """Analyse the runs in `directories` and find where they changed.

    Raises:
        RecordError: there is no run, or one that cannot be read.
    """
    return trace_history(analysed_runs(directories))


def write_files(write: Callable[[Result, Path], Path], result: Result, directory: Path) -> Path:
    """Write the files of a result with one of the functions of `analysis.report.comparison.write`.

    Raises:
        RecordError: the directory cannot be written.
    """
    with writing_into(directory):
        return write(result, directory)
