"""One load test from the first arrival to the last row."""

import logging
import time
from collections.abc import Callable

import gevent
from gevent.event import Event

from analysis.slo import parse_slo
from harness.errors import HeadroomError
from harness.generator import (
    EXIT_ABORTED,
    EXIT_FAILED,
    EXIT_FINISHED,
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
    GeneratorStatus,
)
from harness.overload import Overload
from harness.traffic.abort import ErrorRateRule
from locustfiles.books import Books
from locustfiles.direction import Carrier, Direction
from locustfiles.epoch import EpochClock
from locustfiles.output import Output
from locustfiles.plan import Blueprint

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
