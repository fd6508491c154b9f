"""What is written down: of every call, by the process that made it; of the run, by one process."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import NoReturn

import gevent
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mwaa_headroom.analysis.caller_failures import EXPIRED_CODES
from mwaa_headroom.analysis.schema import EVENTS_FILE, REQUESTS_SCHEMA, REQUESTS_STREAM
from mwaa_headroom.harness.epoch_clock import EpochClock
from mwaa_headroom.harness.record.directory import EventLog
from mwaa_headroom.harness.record.stream import StreamWriter, record_batch
from mwaa_headroom.harness.run.load_processes import GeneratorStatus
from mwaa_headroom.harness.traffic.overload import AbortRule, Overload
from mwaa_headroom.harness.transport.outcome import UNSENT, CallResult
from mwaa_headroom.locustfiles.senders import Job

# Rows are written, or sent to the master, once there are so many: turning thousands into columns
# would stall the event loop.
MANY_ROWS = 256
LOAD_EVENT_EVERY_S = 5.0
STALL_PERIOD_S = 0.01
SHORTEST_STALL_S = 0.05  # less is the noise of any machine

# Tells Locust's own statistics about one arrival: label, epoch of its intended start, latency in
# seconds (None: unsent), result.
ReportToLocust = Callable[[str, float, float | None, CallResult], None]


@dataclass(slots=True)
class Tally:
    """Counts of one process, or of all together, since the beginning of the run."""

    arrivals: int = 0
    sent: int = 0
    unsent: int = 0
    ok: int = 0
    errors: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class CallRecorder:
    """Takes what happens to every arrival of this process; rows wait here until they are taken.

    On the measured path a row is one tuple appended to a list.

    Args:
        epoch: this process's time of day.
        report: feeds Locust's statistics; None: nobody looks at them.
        worker: number of this process in the rows.
    """

    def __init__(
        self, epoch: EpochClock, report: ReportToLocust | None = None, *, worker: int = 0
    ) -> None:
        self.tally = Tally()
        self._worker = worker
        self._report = report
        self._epoch = epoch
        self._offset_s = epoch.epoch_s(0.0)
        self._rows: list[tuple[object, ...]] = []
        # Where pandas is installed, pyarrow imports it for its first array, which takes a second or
        # two: better now than in the middle of the load.
        pa.array([None])

    def set_clock_offset(self, ahead_s: float) -> None:
        """Keep rows by another machine's time of day; this one's is `ahead_s` ahead of it."""
        self._offset_s = self._epoch.epoch_s(0.0) - ahead_s

    def arrived(self, job: Job, taken: bool) -> None:
        """An arrival was due; `taken` is False if it stays unsent."""
        self.tally.arrivals += 1
        if not taken:
            self.left_unsent(job, UNSENT)

    def left_unsent(self, job: Job, result: CallResult) -> None:
        """An arrival that was due is not sent after all."""
        self.tally.unsent += 1
        self._row(job, None, None, result)
        if self._report is not None:
            self._report(job.label, self._offset_s + job.intended_s, None, result)

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


class LoadMeter:
    """What the load costs this process, from one question to the next.

    Args:
        clock: monotonic seconds.
        cpu_clock: CPU seconds of this process.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._last_asked = self._last_report = (clock(), cpu_clock())
        self._stalled_s = 0.0
        self._longest_stall_s = 0.0

    def watch_stalls(self) -> NoReturn:
        """In a greenlet of its own, until killed: ask to be woken soon, and see how late it is."""
        while True:
            before_s = self._clock()
            gevent.sleep(STALL_PERIOD_S)
            self.woken_late(self._clock() - before_s - STALL_PERIOD_S)

    def woken_late(self, late_s: float) -> None:
        """Count one wake-up; while the loop stands still nothing is sent or received."""
        if late_s >= SHORTEST_STALL_S:
            self._stalled_s += late_s
            self._longest_stall_s = max(self._longest_stall_s, late_s)

    def cpu_fraction(self) -> float:
        """Of one core, since the last time."""
        before, self._last_asked = self._last_asked, (self._clock(), self._cpu_clock())
        return _cpu_fraction(before, self._last_asked)

    def report(self) -> dict[str, float | None]:
        """The figures of a `generator_load` event since the last report."""
        before, self._last_report = self._last_report, (self._clock(), self._cpu_clock())
        figures: dict[str, float | None] = {
            "cpu_fraction": _cpu_fraction(before, self._last_report),
            "stalled_s": self._stalled_s,
            "longest_stall_s": self._longest_stall_s,
            "memory_bytes": _memory_bytes(),
        }
        self._stalled_s = self._longest_stall_s = 0.0
        return figures


def _memory_bytes() -> int | None:
    """Resident memory of this process; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cpu_fraction(before: tuple[float, float], now: tuple[float, float]) -> float:
    return (now[1] - before[1]) / max(now[0] - before[0], 1e-9)


class RunDirectoryOutput:
    """Writes the record and prints status lines for the process that started this one."""

    def __init__(self, run_dir: Path) -> None:
        self._stream = StreamWriter(run_dir / REQUESTS_STREAM, REQUESTS_SCHEMA)
        self._events = EventLog(run_dir / EVENTS_FILE)

    def rows(self, batch: pa.RecordBatch) -> None:
        """Arrivals with REQUESTS_SCHEMA; safe when this returns."""
        self._stream.write(batch)

    def event(self, kind: str, *, time_s: float, **fields: object) -> None:
        """One event of EVENT_KINDS."""
        self._events.write(kind, source="generator", time_s=time_s, **fields)

    def status(self, status: GeneratorStatus) -> bool:
        """A line on standard output, once a second; False once nobody reads it any more."""
        try:
            os.write(1, (json.dumps(asdict(status)) + "\n").encode())
        except BrokenPipeError:
            return False
        return True

    def close(self) -> None:
        """Nothing more comes."""
        self._stream.close()
        self._events.close()


class NoOutput:
    """For `locust -f ...` by itself: Locust's own statistics are all there is."""

    def rows(self, batch: pa.RecordBatch) -> None:
        """Kept nowhere."""

    def event(self, kind: str, *, time_s: float, **fields: object) -> None:
        """Kept nowhere."""

    def status(self, _status: GeneratorStatus) -> bool:
        """Locust has a status of its own."""
        return True

    def close(self) -> None:
        """Nothing is open."""


Output = RunDirectoryOutput | NoOutput


class RunRecord:
    """The record of one load test: rows and events of all processes pass through it.

    Args:
        output: where they are written.
        overload: sees whether the SLO holds.
        rule: sees whether too many calls fail.
        epoch: time of day of whoever writes.

    Attributes:
        rows_of: how many rows each stage has.
    """

    def __init__(
        self, output: Output, overload: Overload, rule: AbortRule, epoch: EpochClock
    ) -> None:
        self.epoch = epoch
        self.rows_of: Counter[int] = Counter()
        self._output = output
        self._overload = overload
        self._rule = rule
        self._credentials_expired = False

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.rows_of.total()

    def add(self, batch: pa.RecordBatch) -> None:
        """Rows with REQUESTS_SCHEMA, in any order."""
        self._output.rows(batch)
        stages, counts = np.unique(batch.column("stage").to_numpy(), return_counts=True)
        self.rows_of.update(dict(zip(stages.tolist(), counts.tolist(), strict=True)))
        self._overload.add(batch)
        self._rule.add_rows(batch)
        if not self._credentials_expired:
            self._look_for_expiry(batch)

    def _look_for_expiry(self, batch: pa.RecordBatch) -> None:
        told = batch.filter(pc.is_in(batch.column("error_code"), pa.array(EXPIRED_CODES)))
        if not told.num_rows:
            return
        self._credentials_expired = True
        first = min(told.to_pylist(), key=lambda row: row["intended_start_s"])
        self._output.event(
            "credentials_expired", time_s=first["intended_start_s"], code=first["error_code"]
        )

    def event(self, kind: str, at_s: float | None = None, **fields: object) -> None:
        """An event of EVENT_KINDS at a moment on the clock; None: now."""
        now_s = self.epoch.now_s() if at_s is None else self.epoch.epoch_s(at_s)
        self._output.event(kind, time_s=now_s, **fields)
