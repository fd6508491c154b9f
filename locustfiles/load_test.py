"""One load test from the first arrival to the last row."""

import gc
import logging
import time

import gevent
from gevent.event import Event

from harness.generator import EXIT_ABORTED, EXIT_FAILED, EXIT_FINISHED, EXIT_INTERRUPTED
from harness.traffic.abort import ErrorRateRule
from harness.traffic.operations import build_call
from harness.traffic.schedule import schedule_of
from harness.transport.outcome import CallResult
from locustfiles.journal import Journal, Report
from locustfiles.open_loop import OpenLoop
from locustfiles.output import Output
from locustfiles.plan import Plan
from locustfiles.pool import Job, SenderPool
from locustfiles.pulse import PERIOD_S, Pulse

HARD_LIMIT_BEYOND_TIMEOUT_S = 0.5  # a socket timeout counts each wait alone, not the whole call
DRAIN_BEYOND_TIMEOUT_S = 2.0

logger = logging.getLogger(__name__)


class LoadTest:
    """Carries out a plan once. All of it lives on one gevent hub: nothing here needs a lock."""

    def __init__(self, plan: Plan, output: Output, report: Report) -> None:
        limits = plan.scenario.limits
        rule = ErrorRateRule(limit=limits.abort_error_rate, window_s=limits.abort_window_s)
        self.exit_code = EXIT_FAILED
        self._plan = plan
        self._output = output
        self._pool = SenderPool()
        self._journal = Journal(output, report, rule)
        self._pulse = Pulse(self._journal, output, self._pool, rule)
        self._hard_limit_s = limits.call_timeout_s + HARD_LIMIT_BEYOND_TIMEOUT_S
        self._drain_s = limits.call_timeout_s + DRAIN_BEYOND_TIMEOUT_S
        self._loop = OpenLoop(self._pool, self._journal, drain_s=self._drain_s)
        self._started = False
        self._finishing = False
        self._stopped_with: int | None = None
        self._ended = Event()

    def run(self) -> bool:
        """Send the whole schedule; returns when its calls have ended and the record is closed.

        Only the first call does anything: Locust may announce more than once that all users are up.

        Returns:
            Whether the caller should now end the test in Locust too.
        """
        if self._started:
            return False
        self._started = True
        try:
            self._send_everything()
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
            self._ended.wait(self._drain_s + PERIOD_S)
        else:
            self.run()  # nothing will be sent: it writes down that it was interrupted

    def _send_everything(self) -> None:
        # What is there by now stays. Without this, a full collection over it, when hundreds of
        # calls are in flight, stalls the dispatcher for a fifth of a second.
        gc.collect()
        gc.freeze()
        beating = gevent.spawn(self._beat)
        try:
            self._loop.run(schedule_of(self._plan.scenario))
            self.exit_code = EXIT_FINISHED if self._stopped_with is None else self._stopped_with
        finally:
            beating.kill()
            self._pulse.beat()
            self._output.close()

    def serve_one(self) -> None:
        """As one of the senders: wait for a job and carry it out."""
        self._pool.serve_one(self._carry_out)

    def _carry_out(self, job: Job) -> None:
        choice = self._plan.scenario.traffic.mix[job.label]
        call = build_call(
            choice.operation, choice.parameters, arrival=job.arrival, targets=self._plan.targets
        )
        self._journal.sending()
        started_s = time.perf_counter()
        too_long = gevent.Timeout(self._hard_limit_s)
        try:
            with too_long:
                result = self._plan.send(call)
        except gevent.Timeout as timeout:
            if timeout is not too_long:
                raise
            result = CallResult("client_timeout", error_code="CallTimeout")
        self._journal.ended(job, started_s, time.perf_counter(), result)

    def _beat(self) -> None:
        try:
            while True:
                gevent.sleep(PERIOD_S)
                self._pulse.beat()
                self._stop_if_needed()
        except Exception:
            logger.exception("The record cannot be written")
            self._stop(EXIT_FAILED)

    def _stop_if_needed(self) -> None:
        reason = self._pulse.reason_to_abort()
        if self._stopped_with is None and reason:
            self._stop(EXIT_ABORTED)
            self._journal.event("aborted", reason=reason)
        if not self._output.is_wanted():
            self._interrupt()

    def _interrupt(self) -> None:
        if self._stopped_with is None:
            self._stop(EXIT_INTERRUPTED)
            self._journal.event("interrupted")

    def _stop(self, exit_code: int) -> None:
        self._stopped_with = exit_code
        self._loop.stop()
