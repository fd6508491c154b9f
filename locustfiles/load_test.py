"""Load processes end with whoever started them: load must not go on when nobody watches it.

The order of things in a load test: stage after stage, and recovery after one that broke the SLO.

    stage -> broke the SLO? -> recovery: light load until the SLO holds again -> drain -> next stage
          -> no -> drain -> broke it after all? -> recovery -> drain -> next stage

The recovery begins while calls of the stage are still in flight: a server that stays mute after the
load has stopped shows only then.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Any, Protocol

import gevent
from gevent.event import Event
from locust.runners import MasterRunner

from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.harness.errors import HeadroomError
from mwaa_headroom.harness.run.load_processes import (
    EXIT_ABORTED,
    EXIT_FAILED,
    EXIT_FINISHED,
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
    PARENT_VARIABLE,
    GeneratorStatus,
)
from mwaa_headroom.harness.traffic.overload import ErrorRateRule, Overload
from mwaa_headroom.locustfiles.dispatcher import Drained
from mwaa_headroom.locustfiles.plan import Blueprint, Phase
from mwaa_headroom.locustfiles.recorder import Books, EpochClock, Output, Tally


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


TICK_S = 0.2
TICKS_A_BEAT = 5
END_BEYOND_DRAINING_S = 30.0  # of writing, and of workers that do not answer

logger = logging.getLogger(__name__)

# Makes the carrier of one test from what belongs to that test.
CarrierMaker = Callable[[Blueprint, Books, Callable[..., None], EpochClock], Carrier]


class LoadTest:
    """Carries out a blueprint once. It lives on one gevent hub: nothing here needs a lock."""

    def __init__(self, blueprint: Blueprint, output: Output, make_carrier: CarrierMaker) -> None:
        scenario = blueprint.scenario
        limits = scenario.limits
        slos = tuple(parse_slo(text) for text in scenario.slo)
        overload = Overload(slos, hold_s=scenario.recovery.hold_s)
        self.exit_code = EXIT_FAILED
        self._output = output
        self._epoch = EpochClock()
        self._rule = ErrorRateRule(limit=limits.abort_error_rate, window_s=limits.abort_window_s)
        self._books = Books(output, overload, self._rule)
        self._carrier = make_carrier(blueprint, self._books, output.event, self._epoch)
        self._direction = Direction(blueprint, self._carrier, overload, output.event, self._epoch)
        self._sent_before = 0
        self._beat_before_s = time.perf_counter()
        self._ruled_stage: int | None = None
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
            self._ended.wait(self._carrier.longest_drain_s + END_BEYOND_DRAINING_S)
        else:
            self.run()  # nothing will be sent: it writes down that it was interrupted

    def _send_everything(self) -> None:
        beating = gevent.spawn(self._keep_beating)
        try:
            self._carrier.prepare()
            completed = self._stopped_with is None and self._direction.run()
            self.exit_code = EXIT_FINISHED if completed else EXIT_FAILED
            if self._stopped_with is not None:
                self.exit_code = self._stopped_with
        finally:
            beating.kill()
            self._carrier.close()
            self._output.event(
                "rows_checked",
                time_s=self._epoch.now_s(),
                arrivals=self._books.rows + self._missing_rows(),
                rows=self._books.rows,
            )
            self._output.status(self._status())
            self._output.close()

    def _missing_rows(self) -> int:
        """By the schedules of the phases that were sent in full, or by what was counted."""
        by_schedule = sum(
            phase.schedule.count - self._books.rows_of[phase.stage]
            for phase in self._direction.sent_in_full
            if phase.schedule is not None
        )
        return max(by_schedule, self._carrier.tally.arrivals - self._books.rows)

    def _keep_beating(self) -> None:
        ticks = 0
        try:
            while True:
                gevent.sleep(TICK_S)
                ticks += 1
                self._carrier.tick()
                if ticks % TICKS_A_BEAT == 0:
                    self._beat()
        except Exception:
            logger.exception("The record cannot be written")
            self._stop(EXIT_FAILED)

    def _beat(self) -> None:
        self._output.status(self._status())
        self._direction.look()
        self._abort_if_needed()
        if not self._output.is_wanted():
            self._interrupt()

    def _abort_if_needed(self) -> None:
        # What still fails of a load that has stopped is no reason to stop anything, nor is it one
        # in the stage that follows.
        stage = self._direction.stage if self._direction.is_loading else None
        if stage is None or stage != self._ruled_stage:
            self._ruled_stage = stage
            self._rule.clear()
            return
        reason = self._rule.reason_to_abort(self._epoch.now_s())
        if self._stopped_with is None and reason:
            self._stop(EXIT_ABORTED)
            self._output.event("aborted", time_s=self._epoch.now_s(), reason=reason)

    def _interrupt(self) -> None:
        if self._stopped_with is None:
            self._stop(EXIT_INTERRUPTED)
            self._output.event("interrupted", time_s=self._epoch.now_s())

    def _stop(self, exit_code: int) -> None:
        self._stopped_with = exit_code
        self._carrier.stop()

    def _status(self) -> GeneratorStatus:
        cpu_fraction = self._carrier.beat()
        direction, tally, now_s = self._direction, self._carrier.tally, time.perf_counter()
        rate_per_s = (tally.sent - self._sent_before) / max(now_s - self._beat_before_s, 1e-9)
        self._sent_before, self._beat_before_s = tally.sent, now_s
        return GeneratorStatus(
            time_s=self._epoch.epoch_s(now_s),
            stage=direction.stage,
            stage_name=direction.stage_name,
            elapsed_s=max(now_s - direction.stage_started_s, 0.0),
            arrivals=tally.arrivals,
            sent=tally.sent,
            unsent=tally.unsent,
            ok=tally.ok,
            errors=tally.errors,
            in_flight=self._carrier.in_flight,
            rate_per_s=rate_per_s,
            cpu_fraction=cpu_fraction,
            workers_lost=self._carrier.workers_lost,
        )


class Conductor:
    """Of a process that sends by itself, or of a master.

    Args:
        environment: Locust's.
        new_test: makes the next test.
        exit_code_if_stopped: of this process, when somebody stopped the last test.
    """

    def __init__(
        self, environment: Any, new_test: Callable[[], LoadTest], *, exit_code_if_stopped: int
    ) -> None:
        self._environment = environment
        self._new_test = new_test
        self._exit_code_if_stopped = exit_code_if_stopped
        self._test: LoadTest | None = None

    def listen(self, *, senders: int) -> None:
        """Register for the events; `senders` is how many Locust starts if nobody says otherwise."""
        events = self._environment.events
        events.test_start.add_listener(self._on_test_start)
        events.spawning_complete.add_listener(self._on_all_senders_up)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.quitting.add_listener(self._on_stop)
        options = self._environment.parsed_options
        if options.num_users is None:
            options.num_users = senders
        if options.spawn_rate is None:
            options.spawn_rate = options.num_users

    def _on_test_start(self, **_: Any) -> None:
        self._test = self._new_test()

    def _on_all_senders_up(self, **_: Any) -> None:
        runner = self._environment.runner
        if isinstance(runner, MasterRunner):
            # When a worker comes or goes Locust would spread the senders anew, and end some that
            # have a call in flight.
            vars(runner)["start"] = _do_nothing
        gevent.spawn(self._run)

    def _run(self) -> None:
        test = self._test
        if test is None or not test.run():
            return
        runner = self._environment.runner
        if self._environment.parsed_options.headless:
            runner.quit()
        else:
            runner.stop()

    def _let_locust_start_again(self) -> None:
        vars(self._environment.runner).pop("start", None)

    def _on_test_stopping(self, **_: Any) -> None:
        # Locust also stops when the last worker is lost, and then waits for others for ever. The
        # test sees that by itself, ends, and says that it failed, not that somebody stopped it.
        runner = self._environment.runner
        if not isinstance(runner, MasterRunner) or runner.worker_count:
            self._on_stop()

    def _on_stop(self, **_: Any) -> None:
        self._let_locust_start_again()
        if self._test is None:  # told to quit before anything began
            self._environment.process_exit_code = self._exit_code_if_stopped
            return
        self._test.finish()
        code = self._test.exit_code
        was_stopped = code == EXIT_INTERRUPTED
        self._environment.process_exit_code = self._exit_code_if_stopped if was_stopped else code


def _do_nothing(*_: Any, **__: Any) -> None:
    """Instead of Locust's `start`, while a test goes on."""


LOOK_EVERY_S = 1.0


def follow_parent() -> None:
    """Once `headroom` is gone, have Locust end this process in order, as SIGTERM does.

    Of a process that nobody but the user started, nothing is watched.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is not None:
        gevent.spawn(_watch, int(parent))


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        gevent.sleep(LOOK_EVERY_S)
    logger.critical("Whoever started this process is gone, so it ends.")
    os.kill(os.getpid(), signal.SIGTERM)
