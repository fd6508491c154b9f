"""Keeps account of one load process: a row per arrival, and counts."""

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from analysis.records.schema import REQUESTS_SCHEMA
from harness.record.stream import record_batch
from harness.transport.outcome import UNSENT, CallResult
from locustfiles.epoch import EpochClock
from locustfiles.pool import Job

# Tells Locust's own statistics about one arrival: label, epoch of its intended start, latency in
# seconds (None: unsent), result.
Report = Callable[[str, float, float | None, CallResult], None]


@dataclass(slots=True)
class Tally:
    """Counts of one process, or of all together, since the beginning of the run."""

    arrivals: int = 0
    sent: int = 0
    unsent: int = 0
    ok: int = 0
    errors: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.arrivals + other.arrivals,
            self.sent + other.sent,
            self.unsent + other.unsent,
            self.ok + other.ok,
            self.errors + other.errors,
        )


class Journal:
    """Takes what happens to every arrival; rows wait here until somebody takes them.

    On the measured path a row is one tuple appended to a list.

    Args:
        epoch: this process's time of day.
        report: feeds Locust's statistics; None: nobody looks at them.
        worker: number of this process in the rows.
    """

    def __init__(
        self,
        epoch: EpochClock,
        report: Report | None = None,
        *,
        worker: int = 0,
    ) -> None:
        self.tally = Tally()
        self._worker = worker
        self._report = report
        self._epoch = epoch
        self._offset_s = epoch.epoch_s(0.0)
        self._rows: list[tuple[object, ...]] = []

    def follow(self, ahead_s: float) -> None:
        """Keep rows by another machine's time of day; this one's is `ahead_s` ahead of it."""
        self._offset_s = self._epoch.epoch_s(0.0) - ahead_s

    def arrived(self, job: Job, *, taken: bool) -> None:
        """An arrival was due; `taken` is False if it stays unsent."""
        self.tally.arrivals += 1
        if not taken:
            self.tally.unsent += 1
            self._row(job, None, None, UNSENT)
            if self._report is not None:
                self._report(job.label, self._offset_s + job.intended_s, None, UNSENT)

    def sending(self) -> None:
        """A sender is about to send its call."""
        self.tally.sent += 1

    def ended(self, job: Job, started_s: float, ended_s: float, result: CallResult) -> None:
        """A call has ended; both times are on the clock."""
        if result.outcome == "ok":
            self.tally.ok += 1
        else:
            self.tally.errors += 1
        self._row(job, started_s - job.intended_s, ended_s - started_s, result)
        if self._report is not None:
            latency_s = ended_s - job.intended_s
            self._report(job.label, self._offset_s + job.intended_s, latency_s, result)

    def waiting_rows(self) -> int:
        """Rows that nobody has taken yet."""
        return len(self._rows)

    def take(self) -> pa.RecordBatch | None:
        """All rows since the last time; None: there were none."""
        if not self._rows:
            return None
        rows, self._rows = self._rows, []
        return record_batch(rows, REQUESTS_SCHEMA)

    def _row(
        self, job: Job, lag_s: float | None, service_time_s: float | None, result: CallResult
    ) -> None:
        self._rows.append(
            (
                job.arrival,
                job.stage,
                job.label,
                self._offset_s + job.intended_s,
                lag_s,
                service_time_s,
                result.outcome,
                result.http_status,
                result.airflow_status,
                result.error_code,
                result.response_bytes,
                result.attempts,
                self._worker,
            )
        )
