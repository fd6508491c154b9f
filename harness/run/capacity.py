"""From run directories to the capacity of every webserver count, and to its files."""

from collections.abc import Sequence
from pathlib import Path

from analysis.capacity.by_webservers import capacity_curve
from analysis.capacity.results import CapacityCurve
from analysis.capacity.trial_runs import TrialRun, trial_run
from analysis.errors import RecordFormatError
from analysis.records.reader import read_run
from analysis.report.planning.capacity import PICTURE, capacity_sections
from analysis.report.planning.write import write_answer
from analysis.report.plots.capacity_curve import draw_capacity_curve
from analysis.report.plots.drawing import style
from analysis.run_analysis import ANALYSED_COLUMNS
from harness.errors import RecordError
from harness.run.directories import run_directories
from harness.run.writing import writing_into


def capacity_of_directories(directories: Sequence[Path]) -> CapacityCurve:
    """Pool the stages of runs by their webserver count.

    Args:
        directories: of runs, or directories of these.

    Raises:
        RecordError: there is no run, or one that cannot be read.
    """
    return capacity_curve([_trials_of(path) for path in run_directories(directories)])


def write_capacity(curve: CapacityCurve, directory: Path) -> Path:
    """Write the page, its JSON, the summary and the picture; returns the page.

    Raises:
        RecordError: the directory cannot be written.
    """
    with style():
        figure = draw_capacity_curve(curve)
    figures = {} if figure is None else {PICTURE: figure}
    with writing_into(directory):
        return write_answer(capacity_sections(curve), curve, figures, directory)


def _trials_of(directory: Path) -> TrialRun:
    try:
        return trial_run(read_run(directory, ANALYSED_COLUMNS))
    except RecordFormatError as exc:
        raise RecordError(str(exc)) from exc
