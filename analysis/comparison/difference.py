"""What two runs were told to do, and did, side by side: a quick look, no verdict.

Nothing here allows for chance: two runs of one thing differ as well. `compare` does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mwaa_headroom.analysis.results import RunAnalysis, StageStats
from mwaa_headroom.analysis.run import Run

# Keys of the manifest that say how a run was made, with the name of the group they are told in.
_GROUPS = {
    "scenario": "scenario",
    "environment": "environment",
    "versions": "versions",
    "host": "host",
    "generator": "load generator",
    "tags": "tags",
}
# What the environment was after the run is told by its report, when it was made by no key at all.
_NOT_TOLD = ("after.", "before.CreatedAt", "before.LastUpdate.CreatedAt")


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One key with another value in each run; None: it is null or not there."""

    group: str  # one of the values of `_GROUPS`
    key: str  # dotted, as in a scenario
    first: object
    second: object


@dataclass(frozen=True, slots=True)
class StageFigures:
    """What one run did in one stage; None: not known."""

    offered_per_s: float
    achieved_per_s: float
    latency_p50_s: float | None
    latency_p95_s: float | None
    error_rate: float | None
    webserver_cpu_percent: float | None


@dataclass(frozen=True, slots=True)
class StagePair:
    """A stage of one name and its figures in each run; None: that run has none of that name."""

    stage: str
    first: StageFigures | None
    second: StageFigures | None


@dataclass(frozen=True, slots=True)
class DemandPair:
    """CPU-seconds of the webservers that a call costs; None: not known."""

    operation: str  # "mix": of the mix as it was sent
    first_s: float | None
    second_s: float | None


@dataclass(frozen=True, slots=True)
class RunDifference:
    """Two runs side by side: of the settings those that differ, of the figures all."""

    first_run: str
    second_run: str
    settings: tuple[SettingChange, ...]
    stages: tuple[StagePair, ...]
    demands: tuple[DemandPair, ...]


def difference(first: Run, second: Run) -> RunDifference:
    """Hold two runs side by side.

    Raises:
        RecordFormatError: a manifest has no usable scenario.
    """
    return RunDifference(
        first_run=first.run_id,
        second_run=second.run_id,
        settings=tuple(_settings(first.record.manifest, second.record.manifest)),
        stages=tuple(_stages(first.analysis, second.analysis)),
        demands=tuple(_demands(first.analysis, second.analysis)),
    )


def _settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[SettingChange]:
    for table, group in _GROUPS.items():
        before, after = (dict(_leaves("", manifest.get(table))) for manifest in (first, second))
        for key in dict.fromkeys([*before, *after]):
            is_told = not (group == "environment" and key.startswith(_NOT_TOLD))
            if is_told and before.get(key) != after.get(key):
                yield SettingChange(group, key, before.get(key), after.get(key))


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        for index, inner in enumerate(value):
            yield from _leaves(f"{key}[{index}]", inner)
    else:
        yield key, value


def _stages(first: RunAnalysis, second: RunAnalysis) -> Iterator[StagePair]:
    before, after = ({stage.name: stage for stage in run.stages} for run in (first, second))
    for name in dict.fromkeys([*before, *after]):
        yield StagePair(name, _figures(before.get(name)), _figures(after.get(name)))


def _figures(stage: StageStats | None) -> StageFigures | None:
    if stage is None:
        return None
    latency_s = {name: estimate.value for name, estimate in stage.latency_s.items()}
    return StageFigures(
        offered_per_s=stage.offered_per_s,
        achieved_per_s=stage.achieved_per_s,
        latency_p50_s=latency_s.get("p50"),
        latency_p95_s=latency_s.get("p95"),
        error_rate=stage.error_rate.value,
        webserver_cpu_percent=stage.webserver_cpu_percent,
    )


def _demands(first: RunAnalysis, second: RunAnalysis) -> Iterator[DemandPair]:
    before, after = (_demands_of(run) for run in (first, second))
    for operation in dict.fromkeys([*before, *after]):
        yield DemandPair(operation, before.get(operation), after.get(operation))


def _demands_of(run: RunAnalysis) -> dict[str, float | None]:
    if run.demand is None:
        return {}
    each = {name: one.value for name, one in run.demand.per_operation_s.items()}
    return {"mix": run.demand.mix_s.value, **each}
