"""Where all rows of a run come together: written down, counted, and looked at for trouble."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mwaa_headroom.analysis.schema import EVENTS_FILE, REQUESTS_SCHEMA, REQUESTS_STREAM
from mwaa_headroom.harness.record.directory import EventLog
from mwaa_headroom.harness.record.stream import StreamWriter, record_batch
from mwaa_headroom.harness.run.load_processes import GeneratorStatus
from mwaa_headroom.harness.traffic.overload import ErrorRateRule, Overload
from mwaa_headroom.harness.transport.outcome import UNSENT, CallResult
from mwaa_headroom.locustfiles.senders import Job


class EpochClock:
    """Converts by one offset taken at the start: a step of the wall clock bends nothing later on.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._offset_s = time.time() - clock()

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return self._offset_s + self.clock()

    def epoch_s(self, at_s: float) -> float:
        """The epoch time of a moment on the clock."""
        return self._offset_s + at_s

    def on_clock_s(self, epoch_s: float) -> float:
        """The moment on the clock at an epoch time."""
        return epoch_s - self._offset_s


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


class Output(Protocol):
    """Takes what a load test has to tell."""

    def rows(self, batch: pa.RecordBatch) -> None:
        """Arrivals with the columns of REQUESTS_SCHEMA; safe when this returns."""

    def event(self, kind: str, *, time_s: float, **fields: object) -> None:
        """One event of EVENT_KINDS."""

    def status(self, status: GeneratorStatus) -> None:
        """Once a second."""

    def is_wanted(self) -> bool:
        """False once nobody reads what is told."""

    def close(self) -> None:
        """Nothing more comes."""


class RunDirectoryOutput:
    """Writes the record and prints status lines for the process that started this one."""

    def __init__(self, run_dir: Path) -> None:
        self._stream = StreamWriter(run_dir / REQUESTS_STREAM, REQUESTS_SCHEMA)
        self._events = EventLog(run_dir / EVENTS_FILE)
        self._reader_is_gone = False
        self.rows = self._stream.write

    def event(self, kind: str, *, time_s: float, **fields: object) -> None:
        """See `Output`."""
        self._events.write(kind, source="generator", time_s=time_s, **fields)

    def status(self, status: GeneratorStatus) -> None:
        """See `Output`."""
        line = json.dumps(asdict(status)) + "\n"
        try:
            os.write(1, line.encode())
        except BrokenPipeError:
            self._reader_is_gone = True

    def is_wanted(self) -> bool:
        """See `Output`."""
        return not self._reader_is_gone

    def close(self) -> None:
        """See `Output`."""
        self._stream.close()
        self._events.close()


class NoOutput:
    """For `locust -f ...` by itself: Locust's own statistics are all there is."""

    def rows(self, batch: pa.RecordBatch) -> None:
        """See `Output`."""

    def event(self, kind: str, *, time_s: float, **fields: object) -> None:
        """See `Output`."""

    def status(self, status: GeneratorStatus) -> None:
        """See `Output`."""

    def is_wanted(self) -> bool:
        """See `Output`."""
        return True

    def close(self) -> None:
        """See `Output`."""


class Books:
    """Takes in rows, batch by batch, in any order.

    Args:
        output: where they are written.
        overload: sees whether the SLO holds.
        rule: sees whether too many calls fail.
    """

    def __init__(self, output: Output, overload: Overload, rule: ErrorRateRule) -> None:
        self._output = output
        self._overload = overload
        self._rule = rule
        self.rows = 0
        self.rows_of: Counter[int] = Counter()  # by stage

    def take_in(self, batch: pa.RecordBatch) -> None:
        """Rows in the order of REQUESTS_SCHEMA."""
        self._output.rows(batch)
        self.rows += batch.num_rows
        stages, counts = np.unique(batch.column("stage").to_numpy(), return_counts=True)
        self.rows_of.update(dict(zip(stages.tolist(), counts.tolist(), strict=True)))
        self._overload.add(batch)
        self._count_errors(batch)

    def _count_errors(self, batch: pa.RecordBatch) -> None:
        parts_s = [_floats(batch, name) for name in ("intended_start_s", "lag_s", "service_time_s")]
        ended_s = np.sum(parts_s, axis=0)
        # The light load of a recovery is there to see errors, not to be stopped by them.
        sent = np.isfinite(ended_s) & (_floats(batch, "stage") >= 0)
        seconds = ended_s[sent].astype(np.int64)
        failed = np.asarray(batch.column("outcome").to_numpy(zero_copy_only=False) != "ok")[sent]
        for second in np.unique(seconds).tolist():
            here = seconds == second
            self._rule.add(second, calls=int(here.sum()), errors=int(failed[here].sum()))


def _floats(batch: pa.RecordBatch, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(batch.column(name).to_numpy(zero_copy_only=False), dtype=np.float64)
