"""The order of things in a load test: stage after stage, and recovery after one that broke the SLO.

    stage -> broke the SLO? -> recovery: light load until the SLO holds again -> drain -> next stage
          -> no -> drain -> broke it after all? -> recovery -> drain -> next stage

The recovery begins while calls of the stage are still in flight: a server that stays mute after the
load has stopped shows only then.
"""

import logging
import time
from collections.abc import Callable

import gevent
from gevent.event import Event

from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.harness.epoch_clock import EpochClock
from mwaa_headroom.harness.errors import HeadroomError
from mwaa_headroom.harness.run.load_processes import (
    EXIT_ABORTED,
    EXIT_FAILED,
    EXIT_FINISHED,
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
    GeneratorStatus,
)
from mwaa_headroom.harness.traffic.overload import Overload, abort_rule_of
from mwaa_headroom.locustfiles.master import Master
from mwaa_headroom.locustfiles.plan import Phase, Plan
from mwaa_headroom.locustfiles.recorder import Output, RunRecord
from mwaa_headroom.locustfiles.single_process import SingleProcess

TICK_S = 0.2
TICKS_PER_STATUS = 5
END_BEYOND_DRAINING_S = 30.0  # of writing, and of workers that do not answer

logger = logging.getLogger(__name__)


LoadGenerator = SingleProcess | Master  # sends phases; by itself, or through workers
GeneratorMaker = Callable[[Plan, RunRecord], LoadGenerator]  # makes the one of one test


class StageSequence:
    """Leads a generator through the stages of a plan once.

    Attributes:
        stage: index of the phase going on, as in the rows; None: none has begun.
        stage_name: its name, "" before.
        stage_started_s: on the clock.
        is_loading: whether a stage's calls are being sent right now.
        sent_in_full: phases that ran to the end of their schedule.
    """

    def __init__(
        self, plan: Plan, generator: LoadGenerator, overload: Overload, record: RunRecord
    ) -> None:
        self._plan = plan
        self._generator = generator
        self._overload = overload
        self._record = record
        self._clock = record.epoch.clock
        self._recovering = False
        self.stage: int | None = None
        self.stage_name = ""
        self.stage_started_s = self._clock()
        self.is_loading = False
        self.sent_in_full: list[Phase] = []

    def run(self) -> bool:
        """All stages; False if the generator was stopped before the end."""
        return all(self._run_stage(phase) for phase in self._plan.phases())

    def end_recovery_if_recovered(self) -> None:
        """Called once a second: a recovery ends when the SLO holds again."""
        if self._recovering and self._overload.has_recovered():
            self._recovering = False
            self._generator.end_phase()

    def _run_stage(self, phase: Phase) -> bool:
        warmup_s = self._plan.scenario.stages[phase.stage].warmup_s
        start_s = self._begin(phase, warmup_s)
        self._record.event("stage_started", start_s, stage=phase.stage, name=phase.name)
        self.is_loading = True
        completed = self._generator.run(phase, start_s)
        self.is_loading = False
        if not completed:
            self._drain(phase)
            return False
        self.sent_in_full.append(phase)
        end_s = start_s + phase.duration_s
        self._record.event("stage_ended", end_s, stage=phase.stage, name=phase.name)
        self._generator.update()  # the last rows count too
        if not self._broke_slo(phase):
            self._drain(phase)
            # What went wrong in its last moments shows only in calls that have ended since.
            if not self._broke_slo(phase):
                return True
        completed = self._recover(phase)
        self._drain(phase)
        return completed

    def _drain(self, phase: Phase) -> None:
        drained = self._generator.drain()
        self._generator.update()
        self._record.event(
            "drained",
            stage=phase.stage,
            in_flight_left=drained.in_flight_left,
            took_s=drained.took_s,
        )

    def _broke_slo(self, phase: Phase) -> bool:
        scenario = self._plan.scenario
        stage = scenario.stages[phase.stage]
        last_rate_per_s = stage.ramp_to_rate_per_s or stage.peak_rate_per_s or stage.rate_per_s
        if scenario.recovery_rate_per_s is None or last_rate_per_s is None:
            return False  # nothing would follow from it
        return self._overload.broke_slo(
            in_flight=self._generator.in_flight, rate_per_s=last_rate_per_s
        )

    def _recover(self, after: Phase) -> bool:
        rate_per_s = self._plan.scenario.recovery_rate_per_s
        phase = self._plan.recovery_after(after.stage)
        start_s = self._begin(phase)
        self._record.event("recovery_started", start_s, stage=after.stage, rate_per_s=rate_per_s)
        self._recovering = True
        completed = self._generator.run(phase, start_s)
        if completed and self._recovering:  # nobody ended it early
            self.sent_in_full.append(phase)
        self._recovering = False
        self._generator.update()
        self._record.event(
            "recovery_ended", stage=after.stage, recovered=self._overload.has_recovered()
        )
        return completed

    def _begin(self, phase: Phase, warmup_s: float = 0.0) -> float:
        start_s = self._clock() + self._generator.lead_in_s
        self.stage, self.stage_name, self.stage_started_s = phase.stage, phase.name, start_s
        self._overload.look_at(phase.stage, self._record.epoch.epoch_s(start_s + warmup_s))
        return start_s


class LoadTest:
    """Carries out a plan once. It lives on one gevent hub: nothing here needs a lock."""

    def __init__(self, plan: Plan, output: Output, make_generator: GeneratorMaker) -> None:
        scenario = plan.scenario
        slos = tuple(parse_slo(text) for text in scenario.slo)
        overload = Overload(slos, hold_s=scenario.recovery.hold_s)
        self.exit_code = EXIT_FAILED
        self._output = output
        self._rule = abort_rule_of(scenario)
        self._record = RunRecord(output, overload, self._rule, EpochClock())
        self._generator = make_generator(plan, self._record)
        self._stages = StageSequence(plan, self._generator, overload, self._record)
        self._status_before = (time.perf_counter(), 0)  # when, and how many were sent by then
        self._rule_counts_stage: int | None = None
        self._started = False
        self._finishing = False
        self._stopped_with: int | None = None
        self._ended = Event()

    def run(self) -> bool:
        """Send everything; returns when all calls have ended and the record is closed.

        Only the first call does anything: Locust may announce more than once that all users are up.

        Returns:
            Whether the caller should now end the test in Locust too.
        """
        if self._started:
            return False
        self._started = True
        try:
            self._send_everything()
        except HeadroomError as exc:
            logger.critical("%s", exc)
            self.exit_code = EXIT_UNUSABLE
        except Exception:
            logger.exception("The load test broke")
            self.exit_code = EXIT_FAILED
        self._ended.set()
        return not self._finishing

    def finish(self) -> None:
        """Stop if it still runs, and wait, not for ever, until the record is closed."""
        if self._ended.is_set():
            return
        self._finishing = True
        self._interrupt()
        if self._started:
            self._ended.wait(self._generator.longest_drain_s + END_BEYOND_DRAINING_S)
        else:
            self.run()  # nothing will be sent: it writes down that it was interrupted

    def _send_everything(self) -> None:
        watching = gevent.spawn(self._watch)
        try:
            self._generator.prepare()
            completed = self._stopped_with is None and self._stages.run()
            self.exit_code = EXIT_FINISHED if completed else EXIT_FAILED
            if self._stopped_with is not None:
                self.exit_code = self._stopped_with
        finally:
            watching.kill()
            self._generator.close()
            rows = self._record.rows
            self._record.event("rows_checked", arrivals=rows + self._missing_rows(), rows=rows)
            self._report_status()
            self._output.close()

    def _missing_rows(self) -> int:
        """By the schedules of the phases that were sent in full, or by what was counted."""
        by_schedule = sum(
            phase.schedule.count - self._record.rows_of[phase.stage]
            for phase in self._stages.sent_in_full
            if phase.schedule is not None
        )
        return max(by_schedule, self._generator.tally.arrivals - self._record.rows)

    def _watch(self) -> None:
        ticks = 0
        try:
            while True:
                gevent.sleep(TICK_S)
                ticks += 1
                self._generator.tick()
                if ticks % TICKS_PER_STATUS == 0:
                    has_reader = self._report_status()
                    self._stages.end_recovery_if_recovered()
                    self._abort_if_needed()
                    if not has_reader:
                        self._interrupt()
        except Exception:
            logger.exception("The record cannot be written")
            self._stop(EXIT_FAILED)

    def _abort_if_needed(self) -> None:
        # What still fails of a load that has stopped is no reason to stop anything, nor is it one
        # in the stage that follows.
        stage = self._stages.stage if self._stages.is_loading else None
        now_s = self._record.epoch.now_s()
        if stage is None or stage != self._rule_counts_stage:
            self._rule_counts_stage = stage
            self._rule.begin(now_s)
            return
        reason = self._rule.reason_to_abort(now_s, in_flight=self._generator.in_flight)
        if self._stopped_with is None and reason:
            self._stop(EXIT_ABORTED)
            self._record.event("aborted", reason=reason)

    def _interrupt(self) -> None:
        if self._stopped_with is None:
            self._stop(EXIT_INTERRUPTED)
            self._record.event("interrupted")

    def _stop(self, exit_code: int) -> None:
        self._stopped_with = exit_code
        self._generator.stop()

    def _report_status(self) -> bool:
        self._generator.update()
        stages, tally, now_s = self._stages, self._generator.tally, time.perf_counter()
        before_s, sent_before = self._status_before
        self._status_before = (now_s, tally.sent)
        return self._output.status(
            GeneratorStatus(
                time_s=self._record.epoch.epoch_s(now_s),
                stage=stages.stage,
                stage_name=stages.stage_name,
                elapsed_s=max(now_s - stages.stage_started_s, 0.0),
                arrivals=tally.arrivals,
                sent=tally.sent,
                unsent=tally.unsent,
                ok=tally.ok,
                errors=tally.errors,
                in_flight=self._generator.in_flight,
                rate_per_s=(tally.sent - sent_before) / max(now_s - before_s, 1e-9),
                cpu_fraction=self._generator.cpu_fraction(),
                workers_lost=self._generator.workers_lost,
            )
        )
