"""Collects CloudWatch samples beside the load, into the record.

Metrics arrive late and change afterwards, so every poll looks back over several periods and records
only samples that are new or have another value; each is a row with the moment it was read.
CloudWatch failing never stops a run: the gap is an event, and is read again afterwards.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.aws.cloudwatch import CONNECTIONS, CPU, STATISTICS, Metric, Sample, is_primary
from harness.errors import EnvironmentAccessError, HeadroomError

LOOK_BACK_PERIODS = 10
DISCOVERY_PAUSE = 20  # times what a discovery took: a stand-in's costs CPU beside the load
FINAL_ATTEMPTS = 3
FINAL_RETRY_S = 5.0


class Reader(Protocol):
    """What is collected from; see `harness.aws.cloudwatch.MetricsReader`."""

    def discover(self) -> Sequence[Metric]:
        """The metrics there are now."""

    def read(
        self, metrics: Sequence[Metric], *, from_s: float, to_s: float, period_s: int
    ) -> list[Sample]:
        """Their samples of the periods between two moments."""


class Writer(Protocol):
    """Where rows go; see `harness.record.stream.StreamWriter`."""

    def append(self, row: tuple[object, ...]) -> None:
        """Remember a row."""

    def flush(self) -> None:
        """Write the remembered rows."""


class Events(Protocol):
    """Where events go; see `harness.record.events.EventLog`."""

    def write(self, kind: str, *, source: str, time_s: float, **fields: object) -> None:
        """Append one event."""


@dataclass(frozen=True, slots=True)
class LatestMetrics:
    """The newest whole period of which the webservers' count is known."""

    webservers: int
    cpu_percent: float | None  # mean over the webservers


class Collector:
    """Polls a reader each period; `latest` may be asked from any thread."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        events: Events,
        *,
        period_s: int,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        """Collect nothing yet.

        Args:
            reader: of the environment's metrics.
            writer: with `METRICS_SCHEMA`.
            events: of the run.
            period_s: of the metrics; also the time between polls.
            clock: seconds since the epoch.
            sleep: used only by `final_read`.
        """
        self._reader = reader
        self._writer = writer
        self._events = events
        self._period_s = period_s
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._metrics: tuple[Metric, ...] = ()
        self._discover_again_s = 0.0
        self._known: dict[tuple[Metric, str, float], float] = {}
        self._read_until_s: float | None = None
        self._gap_from_s: float | None = None
        self._gap_reason = ""
        self._latest: LatestMetrics | None = None
        self.failure: HeadroomError | None = None  # why the thread ended before its time

    def latest(self) -> LatestMetrics | None:
        """The newest values; None: nothing was read yet."""
        return self._latest

    def poll(self, now_s: float) -> bool:
        """Read whole periods up to `now_s`, and whatever an earlier gap left out.

        Returns:
            Whether CloudWatch answered.

        Raises:
            HeadroomError: the disk is full or read-only.
        """
        look_back_s = now_s - LOOK_BACK_PERIODS * self._period_s
        from_s = look_back_s if self._gap_from_s is None else min(look_back_s, self._gap_from_s)
        return self._read(from_s, now_s, now_s)

    def run_in_thread(self, stop: threading.Event) -> threading.Thread:
        """Poll each period until `stop` is set; a full disk ends the thread and is in `failure`."""
        thread = threading.Thread(
            target=self._poll_until, args=(stop,), name="metrics-collector", daemon=True
        )
        thread.start()
        return thread

    def final_read(self, from_s: float, to_s: float, settle_s: float) -> bool:
        """After the run: wait until late metrics have settled, then read all of it again.

        Args:
            from_s: where the run began.
            to_s: where it ended.
            settle_s: how long after `to_s` metrics may still arrive or change.

        Returns:
            Whether CloudWatch answered; if not, the record has the event of a gap.

        Raises:
            HeadroomError: the disk is full or read-only, now or earlier.
        """
        if self.failure is not None:
            raise self.failure
        self._sleep(max(0.0, to_s + settle_s - self._clock()))
        self._discover_again_s = 0.0
        whole_to_s = math.ceil(to_s / self._period_s) * self._period_s
        for attempt in range(FINAL_ATTEMPTS):
            if attempt:
                self._sleep(FINAL_RETRY_S)
            if self._read(from_s, whole_to_s, self._clock()):
                return True
        self._close_gap(self._clock())
        return False

    def _poll_until(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                self.poll(self._clock())
                stop.wait(self._period_s)
        except HeadroomError as exc:
            self.failure = exc

    def _read(self, from_s: float, to_s: float, now_s: float) -> bool:
        """Read whole periods only: a period that still runs has only a part of its samples."""
        until_s = math.floor(min(to_s, now_s) / self._period_s) * self._period_s
        with self._lock:
            try:
                self._discover(now_s)
                samples = self._reader.read(
                    self._metrics, from_s=from_s, to_s=until_s, period_s=self._period_s
                )
            except EnvironmentAccessError as exc:
                self._open_gap(now_s, str(exc))
                return False
            self._record(samples, now_s)
            self._close_gap(now_s)
            self._read_until_s = now_s
            return True

    def _discover(self, now_s: float) -> None:
        """Look for metrics until nothing more can appear, but not all the time."""
        if _is_complete(self._metrics) or now_s < self._discover_again_s:
            return
        began_s = self._clock()
        self._metrics = tuple(self._reader.discover())
        if self._metrics:  # while there are none, a pause would cost samples
            self._discover_again_s = now_s + DISCOVERY_PAUSE * (self._clock() - began_s)

    def _record(self, samples: Sequence[Sample], now_s: float) -> None:
        for sample in samples:
            key = (sample.metric, sample.statistic, sample.period_start_s)
            if self._known.get(key) != sample.value:
                self._known[key] = sample.value
                self._writer.append(sample.row(now_s))
        self._writer.flush()
        self._latest = _latest_of(samples) or self._latest

    def _open_gap(self, now_s: float, reason: str) -> None:
        if self._gap_from_s is None:
            self._gap_from_s = now_s if self._read_until_s is None else self._read_until_s
            self._gap_reason = reason
            message = f"The metrics cannot be read for now, the run goes on: {reason}"
            self._events.write("note", source="collector", time_s=now_s, message=message)

    def _close_gap(self, now_s: float) -> None:
        if self._gap_from_s is not None:
            self._events.write(
                "metrics_gap",
                source="collector",
                time_s=now_s,
                from_s=self._gap_from_s,
                to_s=now_s,
                reason=self._gap_reason,
            )
            self._gap_from_s = None


def _is_complete(metrics: Sequence[Metric]) -> bool:
    """Whether nothing more can appear: every metric for both kinds of webservers.

    Not every environment reports its database; one that does, does so from the beginning.
    """
    for name in STATISTICS:
        found = [metric for metric in metrics if metric.name == name]
        clusters = {metric.cluster for metric in found if not metric.is_of_database}
        if name == CONNECTIONS and "" in clusters:  # counted at the load balancer, for all
            continue
        if {is_primary(cluster) for cluster in clusters} != {True, False}:
            return False
    return True


def _latest_of(samples: Sequence[Sample]) -> LatestMetrics | None:
    counts = [sample for sample in samples if _is(sample, CPU, "SampleCount")]
    # The additional webservers may all be gone; the others are always there.
    newest_s = max(
        (count.period_start_s for count in counts if is_primary(count.metric.cluster)), default=None
    )
    if newest_s is None:
        return None
    newest = [sample for sample in samples if sample.period_start_s == newest_s]
    count = {s.metric: s.value for s in newest if _is(s, CPU, "SampleCount")}
    cpu = [s.value * count.get(s.metric, 0.0) for s in newest if _is(s, CPU, "Average")]
    webservers = sum(count.values())
    return LatestMetrics(
        webservers=round(webservers),
        cpu_percent=sum(cpu) / webservers if cpu and webservers else None,
    )


def _is(sample: Sample, metric: str, statistic: str) -> bool:
    return sample.metric.name == metric and sample.statistic == statistic
