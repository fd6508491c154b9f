"""The traces of a scenario's stages: read from beside its file, kept in its run directory.

A run directory has a copy of each file, as it was; what the scenario says of traces (column, speed,
scale) is applied whenever one is read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mwaa_headroom.harness.errors import RecordError, ScenarioError
from mwaa_headroom.harness.files import reading_advice, writing
from mwaa_headroom.harness.traffic.arrivals import Purpose, Randomness
from mwaa_headroom.harness.traffic.trace_files import read_trace
from mwaa_headroom.harness.traffic.traces import Trace, replayed, trace_rates

if TYPE_CHECKING:  # a scenario file is loaded together with its traces, so it needs this module
    from mwaa_headroom.harness.scenario.model import Scenario


def trace_name(stage: int) -> str:
    """The file in a run directory that holds the trace of a stage."""
    return f"trace-{stage}.csv"


def stage_trace(
    path: Path, stage: int, *, column: str | None, speed: float, scale: float, seed: int
) -> Trace:
    """The trace that a stage plays.

    Args:
        path: of its file.
        stage: its index in the scenario.
        column: of the times; None: it is found.
        speed: how many times as fast as it was.
        scale: how many times its calls.
        seed: of the traffic.

    Raises:
        ScenarioError: one sentence with the file and the line.
    """
    randomness = Randomness(seed, stage, Purpose.TRACE_COPIES)
    return replayed(read_trace(path, column), speed=speed, scale=scale, randomness=randomness)


def traces_beside(scenario: "Scenario", scenario_file: Path) -> dict[int, Trace]:
    """The traces of a scenario by stage, read from where its file says.

    Raises:
        ScenarioError: a trace cannot be read, or has changed since the scenario was loaded.
    """
    return {
        stage: _checked(scenario, stage, path)
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
            raise ScenarioError(f"Cannot read '{path}': {reading_advice(exc)}.") from exc
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
            stage: _checked(scenario, stage, directory / trace_name(stage))
            for stage in _paths(scenario, directory)
        }
    except ScenarioError as exc:
        raise RecordError(f"{exc} Prepare the run again.") from exc


def how_traces_were_read(scenario: "Scenario", traces: Mapping[int, Trace]) -> dict[int, str]:
    """One sentence for each stage whose trace is played otherwise than as plain columns say."""
    traffic, told = scenario.traffic, {}
    for stage, trace in traces.items():
        parts = [trace.how_read] if trace.how_read else []
        if traffic.trace_speed != 1:
            parts.append(f"played {traffic.trace_speed:g} times as fast")
        if traffic.trace_scale != 1:
            moved = f", copies moved by up to {trace.resolution_s:g} s"
            how = moved if trace.kind == "arrivals" and traffic.trace_scale > 1 else ""
            parts.append(f"{traffic.trace_scale:g} times its calls{how}")
        if parts:
            told[stage] = f"{scenario.stages[stage].trace_file}: {'; '.join(parts)}"
    return told


def _paths(scenario: "Scenario", scenario_file: Path) -> dict[int, Path]:
    return {
        index: scenario_file.parent / stage.trace_file
        for index, stage in enumerate(scenario.stages)
        if stage.trace_file is not None
    }


def _checked(scenario: "Scenario", index: int, path: Path) -> Trace:
    """The limits were checked with the rates of one trace: another must not be played."""
    stage, traffic = scenario.stages[index], scenario.traffic
    trace = stage_trace(
        path,
        index,
        column=traffic.trace_column,
        speed=traffic.trace_speed,
        scale=traffic.trace_scale,
        seed=traffic.seed,
    )
    checked = (stage.rate_per_s or 0.0, stage.peak_rate_per_s or 0.0)
    if not np.allclose(trace_rates(trace, stage.duration_s), checked, rtol=1e-9, atol=0):
        raise ScenarioError(
            f"{path}: the trace of stage '{stage.name}' has changed since its rates were checked."
        )
    return trace
