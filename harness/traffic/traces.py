"""Traces: traffic that somebody measured, to be played again from a CSV file.

Two kinds, told apart by their header:

    time_s              one line per call, when it was due; times may be equal
    time_s,rate_per_s   calls per second from that time until the next line; the last rate stays

Times are seconds on any clock (since the epoch, say) and count from the first line. A stage plays
the first `duration_s` seconds of its trace.
"""

import csv
import io
import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import numpy as np

from mwaa_headroom.harness.errors import RecordError, ScenarioError
from mwaa_headroom.harness.files import read_text, writing
from mwaa_headroom.harness.traffic.arrivals import Floats, Steps, TimedArrivals

if TYPE_CHECKING:  # a scenario file is loaded together with its traces, so it needs this module
    from mwaa_headroom.harness.scenario.model import Scenario

TIME_COLUMN = "time_s"
RATE_COLUMN = "rate_per_s"

PEAK_WINDOW_S = 1.0
CLOCK_GRAIN_S = 1e-6  # below what times since the epoch can tell apart, nearly


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A checked trace.

    Attributes:
        kind: of its lines: calls, or rates.
        time_s: ascending from 0; strictly so for rates.
        rate_per_s: from each time to the next, not below 0; None for the kind "arrivals".
    """

    kind: Literal["arrivals", "rates"]
    time_s: Floats
    rate_per_s: Floats | None = None


def trace_name(stage: int) -> str:
    """The file in a run directory that holds the trace of a stage."""
    return f"trace-{stage}.csv"


def parse_trace(text: str, origin: str) -> Trace:
    """Understand the text of a trace.

    Raises:
        ScenarioError: one sentence with the origin and the line.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))

    def wrong(problem: str) -> NoReturn:
        raise ScenarioError(f"{origin} line {max(reader.line_num, 1)}: {problem}.")

    try:
        header = [name.strip() for name in next(reader, [])]
        if header not in ([TIME_COLUMN], [TIME_COLUMN, RATE_COLUMN]):
            wrong(f"a trace begins with '{TIME_COLUMN}' or '{TIME_COLUMN},{RATE_COLUMN}'")
        has_rates = len(header) > 1
        columns = [array("d") for _ in header]
        for row in reader:
            if row:
                _append(columns, row, wrong)
    except csv.Error as exc:
        raise ScenarioError(f"{origin} line {reader.line_num} is not valid CSV: {exc}.") from exc
    if not columns[0]:
        raise ScenarioError(f"{origin} has no lines after its header.")
    time_s = np.array(columns[0])
    time_s -= time_s[0]
    return Trace("rates", time_s, np.array(columns[1])) if has_rates else Trace("arrivals", time_s)


def read_trace(path: Path) -> Trace:
    """Read and check a trace file.

    Raises:
        ScenarioError: one sentence with the file and the line.
    """
    return parse_trace(read_text(path, "trace file", ScenarioError), str(path))


def trace_rates(trace: Trace, duration_s: float) -> tuple[float, float]:
    """Calls per second of the part that a stage plays.

    Returns:
        The mean over the stage, and the most within any one second.
    """
    if trace.rate_per_s is None:
        arrivals = TimedArrivals(trace.time_s, duration_s)
        played = trace.time_s[: arrivals.count()]
        until = np.searchsorted(played, played + (PEAK_WINDOW_S - CLOCK_GRAIN_S))
        mean_per_s = len(played) / duration_s
        most = float(np.max(until - np.arange(len(played))))
    else:
        steps = Steps.held(trace.time_s, trace.rate_per_s, duration_s)
        # The most within a window is found where the window begins or ends with a change.
        begins_s = np.concatenate([steps.time_s, steps.time_s - PEAK_WINDOW_S])
        calls_before, calls_until = (
            np.interp(time_s, steps.time_s, steps.expected_before)
            for time_s in (begins_s, begins_s + PEAK_WINDOW_S)
        )
        mean_per_s = steps.expected / duration_s
        most = float(np.max(calls_until - calls_before))
    return mean_per_s, max(mean_per_s, most / PEAK_WINDOW_S)  # a stage may be shorter than a window


def traces_beside(scenario: "Scenario", scenario_file: Path) -> dict[int, Trace]:
    """The traces of a scenario by stage, read from where its file says.

    Raises:
        ScenarioError: a trace cannot be read, or has changed since the scenario was loaded.
    """
    return {
        stage: _checked(read_trace(path), scenario, stage, path)
        for stage, path in _paths(scenario, scenario_file).items()
    }


def save_traces(scenario: "Scenario", scenario_file: Path, run_dir: Path) -> None:
    """Copy the traces of a scenario into a run directory, as `trace_name` says.

    Raises:
        HeadroomError: one cannot be read, or the disk is full or may not be written.
    """
    for stage, path in _paths(scenario, scenario_file).items():
        try:
            content = path.read_bytes()
        except OSError as exc:
            raise ScenarioError(f"Cannot read '{path}': {exc.strerror}.") from exc
        copy = run_dir / trace_name(stage)
        with writing(copy):
            copy.write_bytes(content)


def load_traces(scenario: "Scenario", directory: Path) -> dict[int, Trace]:
    """The traces of a scenario by stage, from a run directory.

    Raises:
        RecordError: one is missing, damaged, or not the one that the scenario was checked with.
    """
    try:
        return {
            stage: _checked(read_trace(directory / trace_name(stage)), scenario, stage, directory)
            for stage in _paths(scenario, directory)
        }
    except ScenarioError as exc:
        raise RecordError(f"{exc} Prepare the run again.") from exc


def _append(
    columns: list["array[float]"], row: list[str], wrong: Callable[[str], NoReturn]
) -> None:
    if len(row) != len(columns):
        wrong(f"expected {len(columns)} value(s), got {len(row)}")
    for name, text, column in zip((TIME_COLUMN, RATE_COLUMN), row, columns, strict=False):
        try:
            value = float(text)
        except ValueError:
            wrong(f"{name} must be a number, got '{text}'")
        if not math.isfinite(value) or value < 0:
            wrong(f"{name} must be a number from 0 on, got '{text}'")
        column.append(value)
    times = columns[0]
    if len(times) > 1 and times[-1] < times[-2]:
        wrong(f"{TIME_COLUMN} goes back from {times[-2]:.15g} to {times[-1]:.15g}")
    if len(times) > 1 and len(columns) > 1 and times[-1] == times[-2]:
        wrong(f"there is a rate for {TIME_COLUMN} {times[-1]:.15g} already")


def _paths(scenario: "Scenario", scenario_file: Path) -> dict[int, Path]:
    return {
        index: scenario_file.parent / stage.trace_file
        for index, stage in enumerate(scenario.stages)
        if stage.trace_file is not None
    }


def _checked(trace: Trace, scenario: "Scenario", index: int, place: Path) -> Trace:
    """The limits were checked with the rates of one trace: another must not be played."""
    stage = scenario.stages[index]
    checked = (stage.rate_per_s or 0.0, stage.peak_rate_per_s or 0.0)
    if not np.allclose(trace_rates(trace, stage.duration_s), checked, rtol=1e-9, atol=0):
        raise ScenarioError(
            f"{place}: the trace of stage '{stage.name}' has changed since its rates were checked."
        )
    return trace
