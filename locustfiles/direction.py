"""The order of things in a load test: stage after stage, and recovery after one that broke the SLO.

    stage -> broke the SLO? -> recovery: light load until the SLO holds again -> drain -> next stage
          -> no -> drain -> broke it after all? -> recovery -> drain -> next stage

The recovery begins while calls of the stage are still in flight: a server that stays mute after the
load has stopped shows only then.
"""

import time
from collections.abc import Callable
from typing import Protocol

from harness.overload import Overload
from locustfiles.crew import Drained
from locustfiles.epoch import EpochClock
from locustfiles.journal import Tally
from locustfiles.plan import Blueprint, Phase


class Carrier(Protocol):
    """Carries out phases: this process by itself, or workers that a master directs."""

    lead_in_s: float  # how far in the future a phase must begin

    @property
    def longest_drain_s(self) -> float:
        """`drain` returns by then."""

    @property
    def tally(self) -> Tally:
        """Counts so far, of all processes."""

    @property
    def in_flight(self) -> int:
        """Calls that have not ended, as far as known."""

    @property
    def workers_lost(self) -> int:
        """Processes that sent and are gone."""

    def prepare(self) -> None:
        """Get ready for the first phase.

        Raises:
            HeadroomError: it cannot be done.
        """

    def run(self, phase: Phase, start_s: float) -> bool:
        """Send a phase that begins at `start_s` on the clock; False if `stop` cut it short."""

    def end_phase(self) -> None:
        """End the phase that is going on as if it were over."""

    def stop(self) -> None:
        """Hand out nothing more, now and later."""

    def drain(self) -> Drained:
        """Wait for calls in flight, and see to it that every arrival so far has its row."""

    def tick(self) -> None:
        """Called several times a second."""

    def beat(self) -> float:
        """Called once a second; returns the CPU of the busiest process as a fraction of a core."""

    def close(self) -> None:
        """There are no more phases: leave nothing unwritten."""


class Direction:
    """Walks a carrier through a blueprint once.

    Attributes:
        stage: index of the phase going on, as in the rows; None: none has begun.
        stage_name: its name, "" before.
        stage_started_s: on the clock.
        is_loading: whether a stage's calls are being sent right now.
        sent_in_full: phases that ran to the end of their schedule.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        carrier: Carrier,
        overload: Overload,
        event: Callable[..., None],
        epoch: EpochClock,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.stage: int | None = None
        self.stage_name = ""
        self.stage_started_s = clock()
        self._blueprint = blueprint
        self._carrier = carrier
        self._overload = overload
        self._event = event
        self._epoch = epoch
        self._clock = clock
        self.is_loading = False
        self.sent_in_full: list[Phase] = []
        self._recovering = False

    def run(self) -> bool:
        """All stages; False if the carrier was stopped before the end."""
        return all(self._run_stage(phase) for phase in self._blueprint.phases())

    def look(self) -> None:
        """Called once a second: a recovery ends when the SLO holds again."""
        if self._recovering and self._overload.has_recovered():
            self._recovering = False
            self._carrier.end_phase()

    def _run_stage(self, phase: Phase) -> bool:
        stage = self._blueprint.scenario.stages[phase.stage]
        start_s = self._begin(phase)
        self._overload.look_at(phase.stage, self._epoch.epoch_s(start_s + stage.warmup_s))
        self._tell("stage_started", start_s, stage=phase.stage, name=phase.name)
        self.is_loading = True
        completed = self._carrier.run(phase, start_s)
        self.is_loading = False
        if not completed:
            self._drain(phase)
            return False
        self.sent_in_full.append(phase)
        end_s = start_s + phase.duration_s
        self._tell("stage_ended", end_s, stage=phase.stage, name=phase.name)
        self._carrier.beat()  # the last rows count too
        if not self._broke_slo(phase):
            self._drain(phase)
            # What went wrong in its last moments shows only in calls that have ended since.
            if not self._broke_slo(phase):
                return True
        completed = self._recover(phase)
        self._drain(phase)
        return completed

    def _drain(self, phase: Phase) -> None:
        drained = self._carrier.drain()
        self._carrier.beat()
        self._tell(
            "drained",
            self._clock(),
            stage=phase.stage,
            in_flight_left=drained.in_flight_left,
            took_s=drained.took_s,
        )

    def _broke_slo(self, phase: Phase) -> bool:
        scenario = self._blueprint.scenario
        stage = scenario.stages[phase.stage]
        last_rate_per_s = stage.ramp_to_rate_per_s or stage.peak_rate_per_s or stage.rate_per_s
        if scenario.recovery_rate_per_s is None or last_rate_per_s is None:
            return False  # nothing would follow from it
        return self._overload.broke_slo(
            in_flight=self._carrier.in_flight, rate_per_s=last_rate_per_s
        )

    def _recover(self, after: Phase) -> bool:
        rate_per_s = self._blueprint.scenario.recovery_rate_per_s
        phase = self._blueprint.recovery_after(after.stage)
        start_s = self._begin(phase)
        self._overload.look_at(phase.stage, self._epoch.epoch_s(start_s))
        self._tell("recovery_started", start_s, stage=after.stage, rate_per_s=rate_per_s)
        self._recovering = True
        completed = self._carrier.run(phase, start_s)
        if completed and self._recovering:  # nobody ended it early
            self.sent_in_full.append(phase)
        self._recovering = False
        self._carrier.beat()
        recovered = self._overload.has_recovered()
        self._tell("recovery_ended", self._clock(), stage=after.stage, recovered=recovered)
        return completed

    def _begin(self, phase: Phase) -> float:
        start_s = self._clock() + self._carrier.lead_in_s
        self.stage, self.stage_name, self.stage_started_s = phase.stage, phase.name, start_s
        return start_s

    def _tell(self, kind: str, at_s: float, **fields: object) -> None:
        self._event(kind, time_s=self._epoch.epoch_s(at_s), **fields)
