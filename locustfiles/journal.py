"""Keeps account of a load test: a row per arrival, events, counts, the abort rule's errors."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.traffic.abort import ErrorRateRule
from harness.traffic.schedule import StageSchedule
from harness.transport.outcome import UNSENT, CallResult
from locustfiles.output import Output
from locustfiles.pool import Job

WORKER = 0

# Tells Locust's own statistics about one arrival: label, epoch of its intended start, latency in
# seconds (None: unsent), result.
Report = Callable[[str, float, float | None, CallResult], None]


@dataclass(slots=True)
class Tally:
    """Counts of the whole run so far, and where it is."""

    arrivals: int = 0
    sent: int = 0
    unsent: int = 0
    ok: int = 0
    errors: int = 0
    stage: int = -1
    stage_name: str = ""
    stage_started_s: float = 0.0  # on the clock


class Journal:
    """The observer of the dispatcher and of every call.

    Args:
        output: takes rows and events.
        report: feeds Locust's statistics.
        rule: counts errors.
        clock: monotonic seconds; converted to epoch by one offset taken now, so that a step of the
            wall clock during the test bends no latency.
    """

    def __init__(
        self,
        output: Output,
        report: Report,
        rule: ErrorRateRule,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.tally = Tally(stage_started_s=clock())
        self._output = output
        self._report = report
        self._rule = rule
        self._clock = clock
        self._epoch_offset_s = time.time() - clock()

    def epoch_s(self, at_s: float | None = None) -> float:
        """The epoch time of a moment on the clock; of now by default."""
        return self._epoch_offset_s + (self._clock() if at_s is None else at_s)

    def event(self, kind: str, *, at_s: float | None = None, **fields: object) -> None:
        """Record an event; `at_s` is on the clock and now by default."""
        self._output.event(kind, time_s=self.epoch_s(at_s), **fields)

    def stage_started(self, schedule: StageSchedule, at_s: float) -> None:
        """See `locustfiles.open_loop.Observer`."""
        self.tally.stage = schedule.stage
        self.tally.stage_name = schedule.name
        self.tally.stage_started_s = at_s
        self.event("stage_started", at_s=at_s, stage=schedule.stage, name=schedule.name)

    def stage_ended(self, schedule: StageSchedule, at_s: float) -> None:
        """See `locustfiles.open_loop.Observer`."""
        self.event("stage_ended", at_s=at_s, stage=schedule.stage, name=schedule.name)

    def drained(self, schedule: StageSchedule, *, in_flight_left: int, took_s: float) -> None:
        """See `locustfiles.open_loop.Observer`."""
        self.event("drained", stage=schedule.stage, in_flight_left=in_flight_left, took_s=took_s)

    def arrived(self, job: Job, *, taken: bool) -> None:
        """See `locustfiles.open_loop.Observer`."""
        self.tally.arrivals += 1
        if not taken:
            self.tally.unsent += 1
            self._row(job, None, None, UNSENT)
            self._report(job.label, self.epoch_s(job.intended_s), None, UNSENT)

    def sending(self) -> None:
        """A sender is about to send its call."""
        self.tally.sent += 1

    def ended(self, job: Job, started_s: float, ended_s: float, result: CallResult) -> None:
        """A call has ended; both times are on the clock."""
        is_error = result.outcome != "ok"
        self.tally.errors += is_error
        self.tally.ok += not is_error
        self._rule.add(ended_s, is_error=is_error)
        self._row(job, started_s - job.intended_s, ended_s - started_s, result)
        latency_s = ended_s - job.intended_s
        self._report(job.label, self.epoch_s(job.intended_s), latency_s, result)

    def _row(
        self, job: Job, lag_s: float | None, service_time_s: float | None, result: CallResult
    ) -> None:
        self._output.row(
            (
                job.arrival,
                job.stage,
                job.label,
                self._epoch_offset_s + job.intended_s,
                lag_s,
                service_time_s,
                result.outcome,
                result.http_status,
                result.airflow_status,
                result.error_code,
                result.response_bytes,
                result.attempts,
                WORKER,
            )
        )
