"""A scenario's arrivals, stage by stage."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.scenario.model import Scenario
from harness.traffic.arrivals import stage_arrivals
from harness.traffic.mix import choose_entries


@dataclass(frozen=True, slots=True)
class StageSchedule:
    """The arrivals of one stage: three arrays of one length, ordered by time.

    Any slice of all three is again a schedule: arrivals keep their index of the whole run.

    Attributes:
        stage: index in the scenario.
        name: of the stage.
        duration_s: how long the stage lasts.
        arrival: index in the whole run.
        offset_s: intended start, from the stage's start.
        label: the entry of the mix, as an index into `labels`.
        labels: names of the mix's entries.
    """

    stage: int
    name: str
    duration_s: float
    arrival: npt.NDArray[np.int64]
    offset_s: npt.NDArray[np.float64]
    label: npt.NDArray[np.int64]
    labels: tuple[str, ...]


def schedule_of(scenario: Scenario) -> Iterator[StageSchedule]:
    """The schedules of all stages, in order; the same scenario always gives the same ones."""
    traffic = scenario.traffic
    labels = tuple(traffic.mix)
    weights = [choice.weight for choice in traffic.mix.values()]
    first = 0
    for index, stage in enumerate(scenario.stages):
        offset_s = stage_arrivals(
            traffic.arrivals,
            stage.rate_per_s,
            ramp_to_rate_per_s=stage.ramp_to_rate_per_s,
            duration_s=stage.duration_s,
            seed=traffic.seed,
            stage_index=index,
        )
        count = len(offset_s)
        yield StageSchedule(
            stage=index,
            name=stage.name,
            duration_s=stage.duration_s,
            arrival=np.arange(first, first + count),
            offset_s=offset_s,
            label=choose_entries(weights, count, seed=traffic.seed, stage_index=index),
            labels=labels,
        )
        first += count
