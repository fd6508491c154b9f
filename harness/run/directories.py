"""Run directories that a user named, found and analysed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from analysis.comparison.likeness import IdentifiedRun, identity_of
from analysis.errors import RecordFormatError
from analysis.records.reader import read_run
from analysis.records.schema import MANIFEST_FILE
from analysis.run_analysis import ANALYSED_COLUMNS, analyse_run
from harness.errors import RecordError


def analysed_runs(directories: Sequence[Path]) -> list[IdentifiedRun]:
    """Analyse every run in `directories`: run directories, or directories of run directories.

    Raises:
        RecordError: there is no run, or one that cannot be read.
    """
    return [_analysed(path) for path in run_directories(directories)]


def run_directories(given: Sequence[Path]) -> list[Path]:
    """Every run once, also when a link such as `runs/latest` names it a second time.

    Raises:
        RecordError: one of the given is neither a run directory nor holds any.
    """
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
