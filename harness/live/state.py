"""What there is to see of a run that goes on, as values: the same for the terminal and the page.

Everything comes from the record, which a load process writes once a second, so that watching a run
asks nothing of those who send. Each look reads only what was appended since the last.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa

from mwaa_headroom.analysis.calls import Calls, calls_of, good_calls
from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.generator.limits import (
    UNSENT_LIMIT,
    load_reports,
    own_trouble,
    use_within,
)
from mwaa_headroom.analysis.host import TAKEN_LIMIT, host_reports
from mwaa_headroom.analysis.manifest import read_manifest
from mwaa_headroom.analysis.metric_periods import (
    WebserverPeriod,
    periods_within,
    webserver_periods,
)
from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME
from mwaa_headroom.analysis.results import SloResult
from mwaa_headroom.analysis.schema import (
    EVENTS_FILE,
    METRICS_SCHEMA,
    METRICS_STREAM,
    REQUESTS_SCHEMA,
    REQUESTS_STREAM,
)
from mwaa_headroom.analysis.setting import Setting, StagePlan, read_setting
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.slo_judgement import Window, judge
from mwaa_headroom.analysis.statistics import value_at_rank
from mwaa_headroom.harness.live.record_tail import EventsTail, StreamTail

SHOWN_S: Final = 60.0  # back from now
BIN_S: Final = 2.0
WINDOW_S: Final = 10.0  # what "now" means of rates and percentiles
_LONGER_WINDOW_S: Final = 30.0  # while there are few calls
_FEW_CALLS: Final = 100
_KEPT_METRIC_ROWS: Final = 2_000
_KEPT_EVENTS: Final = 60  # reports of load processes and of the host
_MUCH: Final = 0.01  # of the calls
_MOST_ROWS: Final = 500_000  # of a stage that are kept: a watched run must not grow for hours
_LAST_ROWS_S: Final = 2.0  # after a stage its last rows are in the record

Phase = Literal["waiting", "stage", "recovery", "drained"]


@dataclass(frozen=True, slots=True)
class Scaling:
    """The last change of the number of webservers; `ready` False: decided, not there yet."""

    from_count: int
    to_count: int
    at_s: float
    ready: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """What holds the run back just now."""

    kind: Literal["generator", "throttle", "webserver_cpu", "errors"]
    value: float = 0.0  # throttle, errors: share of the calls; webserver_cpu: per cent
    layer: str = ""  # of errors


@dataclass(frozen=True, slots=True)
class EndedStage:
    """A stage whose load has ended; `met` None: it cannot be judged, or not yet."""

    index: int
    name: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class LiveState:
    """One moment of a run; times in epoch seconds, None where nothing is known yet.

    Rates are per second over the last `window_s`, percentiles of the calls that ended in it, both
    within the phase that goes on. `history` is oldest first, a value per `BIN_S`.
    """

    at_s: float
    run: str
    scenario: str
    phase: Phase
    stage: int  # index; of a recovery, the one before it
    stages: int
    stage_name: str
    asked_per_s: float | None
    users: int | None
    stage_s: float  # its whole length, 0: not begun
    stage_left_s: float
    run_s: float
    run_left_s: float  # recoveries to come left out
    may_recover: bool  # whether there can be any
    ended: tuple[EndedStage, ...]
    window_s: float
    offered_per_s: float
    achieved_per_s: float
    failed_per_s: float
    sent: int  # of the whole run, as far as their calls have ended
    failed: int
    unsent: int
    p50_s: float | None
    p95_s: float | None
    p50_history: tuple[float | None, ...]
    p95_history: tuple[float | None, ...]
    slo_lines: tuple[SloResult, ...]
    latency_limit: Slo | None  # the first line about a percentile of all calls
    webservers: int | None
    cpu_percent: float | None
    metrics_until_s: float | None
    cpu_above_percent: float  # at which webservers are added
    scaling: Scaling | None
    generator_cpu: float | None  # of one core, of the busiest load process
    generator_trouble: Finding | None
    host_taken: float | None  # of the host's CPUs, by others; only when it is too much
    limit: Limit | None


@dataclass(slots=True)
class _Phase:
    kind: Phase = "waiting"
    stage: int = 0
    began_s: float = 0.0


@dataclass(slots=True)
class _Span:
    """A stage and the rows since it began, of which some may be of its neighbours."""

    index: int
    began_s: float
    ended_s: float | None = None
    left_s: float = 0.0  # when the next phase began
    host_looks: int = 0
    host_taken: int = 0  # of these, how often others took too much
    rows: list[pa.RecordBatch] = field(default_factory=list)
    is_long: bool = False  # more rows than are kept, so that it is not judged

    def take(self, batch: pa.RecordBatch) -> None:
        self.is_long = self.is_long or sum(map(len, self.rows)) + len(batch) > _MOST_ROWS
        self.rows = [] if self.is_long else [*self.rows, batch]


class LiveReader:
    """Reads the record of a run that goes on.

    Args:
        directory: of the run; its manifest is there.

    Raises:
        RecordFormatError: the manifest cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        manifest = read_manifest(directory)
        self._run = directory.name
        self._setting: Setting = read_setting(manifest)
        self._longest_recovery_s = float(
            manifest["scenario"].get("recovery", {}).get("longest_s", 0.0)
        )
        self._recovery_per_s: float | None = None
        self._requests = StreamTail(directory / REQUESTS_STREAM)
        self._metrics = StreamTail(directory / METRICS_STREAM)
        self._events = EventsTail(directory / EVENTS_FILE)
        self._phase = _Phase()
        self._counts: Counter[str] = Counter()
        self._recent: deque[tuple[float, pa.RecordBatch]] = deque()
        self._samples = METRICS_SCHEMA.empty_table()
        self._periods: Sequence[WebserverPeriod] = ()
        self._load_events: deque[dict[str, Any]] = deque(maxlen=_KEPT_EVENTS)
        self._host_events: deque[dict[str, Any]] = deque(maxlen=2)
        self._scaling: Scaling | None = None
        self._trouble: Finding | None = None  # that stays
        self._span: _Span | None = None  # of the stage whose calls come in
        self._left: _Span | None = None  # the one before, until it is judged
        self._ended: list[EndedStage] = []

    def read(self, now_s: float) -> LiveState:
        """How it stands at `now_s`, by the clock of the record."""
        for event in self._events.new_events():
            self._take_event(event)
        self._take_metrics(self._metrics.new_batches())
        self._take_requests(self._requests.new_batches(), now_s)
        if self._left and now_s - self._left.left_s > _LAST_ROWS_S:
            self._ended.append(self._judged(self._left))
            self._left = None
        return self._state(now_s)

    def _leave_stage(self, at_s: float) -> None:
        if self._span:
            self._span.left_s = at_s
            self._left, self._span = self._span, None

    def _judged(self, span: _Span) -> EndedStage:
        plan, slos = self._setting.stages[span.index], self._setting.slos
        if span.is_long:
            return EndedStage(span.index, plan.name, met=None)
        from_s, to_s = span.began_s + plan.warmup_s, span.ended_s or span.left_s
        calls = calls_of(pa.Table.from_batches(span.rows, REQUESTS_SCHEMA))
        calls = calls.where((calls.stage == span.index) & (calls.intended_start_s >= from_s))
        periods = periods_within(self._periods, from_s, to_s)
        window = Window(calls, good_calls(calls, slos), periods)
        met = {judge(slo, window).met for slo in slos}
        verdict = None if not met or None in met or 2 * span.host_taken > span.host_looks else True
        return EndedStage(span.index, plan.name, met=False if False in met else verdict)

    def _take_event(self, event: dict[str, Any]) -> None:
        match event["kind"]:
            case "stage_started":
                self._leave_stage(event["time_s"])
                self._phase = _Phase("stage", event["stage"], event["time_s"])
                self._span = _Span(event["stage"], event["time_s"])
            case "recovery_started":
                self._leave_stage(event["time_s"])
                self._recovery_per_s = event["rate_per_s"]
                self._phase = _Phase("recovery", event["stage"], event["time_s"])
            case "stage_ended" | "recovery_ended":
                self._phase = _Phase("drained", event["stage"], event["time_s"])
                if self._span and event["kind"] == "stage_ended":
                    self._span.ended_s = event["time_s"]
            case "generator_load":
                self._load_events.append(event)
            case "host_load":
                self._host_events.append(event)
                if self._span:
                    self._span.host_looks += 1
                    self._span.host_taken += self._host_taken() is not None
            case "scaling_decision":
                counts = event["from_count"], event["to_count"]
                self._scaling = Scaling(*counts, event["time_s"], ready=counts[1] < counts[0])
            case "generator_ended":
                self._trouble = refusal("generator.ended", reason=event["reason"])

    def _take_metrics(self, batches: list[pa.RecordBatch]) -> None:
        if not batches:
            return
        new = pa.Table.from_batches(batches)
        self._samples = pa.concat_tables([self._samples, new])
        self._samples = self._samples.slice(max(0, len(self._samples) - _KEPT_METRIC_ROWS))
        self._periods = webserver_periods(self._samples)
        known = [(p.webservers, p.end_s) for p in self._periods if p.webservers is not None]
        for (earlier, _), (later, at_s) in pairwise(known):
            is_news = self._scaling is None or at_s > self._scaling.at_s
            if earlier != later and is_news:
                self._scaling = Scaling(earlier, later, at_s, ready=True)

    def _take_requests(self, batches: list[pa.RecordBatch], now_s: float) -> None:
        for batch in batches:
            for outcome in batch.column("outcome").value_counts().to_pylist():
                self._counts[outcome["values"]] += outcome["counts"]
            self._recent.append((now_s, batch))
            for span in filter(None, (self._span, self._left)):
                span.take(batch)
        while self._recent and self._recent[0][0] < now_s - SHOWN_S - BIN_S:
            self._recent.popleft()

    def _state(self, now_s: float) -> LiveState:
        rows = pa.Table.from_batches([batch for _, batch in self._recent], REQUESTS_SCHEMA)
        calls = calls_of(rows)
        at_s = np.where(calls.sent, calls.end_s, calls.intended_start_s)
        window, window_s = self._window(calls, at_s, now_s)
        p50, p95 = _histories(calls, at_s, now_s)
        slos, newest = self._setting.slos, self._newest_period()
        judged_by = Window(window, good_calls(window, slos), (newest,) if newest else ())
        lines = tuple(judge(slo, judged_by) for slo in slos)
        latencies = window.latency_s[window.timed]
        use = use_within(load_reports(self._load_events), now_s - WINDOW_S, now_s)
        trouble = self._trouble or own_trouble(use, _p99(window.lag_s[window.sent]), slos)
        trouble = trouble or _too_many_unsent(window)
        stage = self._stage()
        return LiveState(
            at_s=now_s,
            run=self._run,
            scenario=self._setting.scenario_name,
            phase=self._phase.kind,
            stage=self._phase.stage,
            stages=len(self._setting.stages),
            stage_name=stage.name,
            asked_per_s=self._recovery_per_s if self._recovers else stage.rate_per_s,
            users=None if self._recovers else stage.users,
            **self._times(now_s),
            may_recover=self._longest_recovery_s > 0,
            ended=tuple(self._ended),
            window_s=window_s,
            offered_per_s=len(window) / window_s,
            achieved_per_s=int(window.sent.sum()) / window_s,
            failed_per_s=int((window.sent & ~window.ok).sum()) / window_s,
            sent=self._counts.total() - self._counts["unsent"],
            failed=self._counts.total() - self._counts["unsent"] - self._counts["ok"],
            unsent=self._counts["unsent"],
            p50_s=value_at_rank(latencies, 50) if len(latencies) else None,
            p95_s=value_at_rank(latencies, 95) if len(latencies) else None,
            p50_history=p50,
            p95_history=p95,
            slo_lines=lines,
            latency_limit=self._latency_limit(),
            webservers=newest.webservers if newest else None,
            cpu_percent=newest.cpu_percent if newest else None,
            metrics_until_s=newest.end_s if newest else None,
            cpu_above_percent=self._setting.cpu_above_percent,
            scaling=self._scaling,
            generator_cpu=use.cpu_fraction,
            generator_trouble=trouble,
            host_taken=self._host_taken(),
            limit=_limit(
                window,
                trouble,
                self._highest_cpu(now_s - window_s),
                self._setting.cpu_above_percent,
            ),
        )

    @property
    def _recovers(self) -> bool:
        return self._phase.kind == "recovery"

    def _stage(self) -> StagePlan:
        return self._setting.stages[min(self._phase.stage, len(self._setting.stages) - 1)]

    def _times(self, now_s: float) -> dict[str, float]:
        phase, stages = self._phase, self._setting.stages
        run_s = sum(stage.duration_s for stage in stages)
        if phase.kind == "waiting":
            return {"stage_s": 0.0, "stage_left_s": 0.0, "run_s": run_s, "run_left_s": run_s}
        length_s = {"stage": self._stage().duration_s, "recovery": self._longest_recovery_s}
        this_s = length_s.get(phase.kind, 0.0)
        left_s = min(max(this_s - (now_s - phase.began_s), 0.0), this_s)
        later_s = sum(stage.duration_s for stage in stages[phase.stage + 1 :])
        return {
            "stage_s": this_s,
            "stage_left_s": left_s,
            "run_s": run_s,
            "run_left_s": left_s + later_s,
        }

    def _window(
        self, calls: Calls, at_s: np.ndarray[Any, Any], now_s: float
    ) -> tuple[Calls, float]:
        """The last calls of the phase that goes on, and over how long they are."""
        phase = self._phase
        number = -1 - phase.stage if self._recovers else phase.stage
        mine = calls.stage == number
        if phase.kind == "drained":
            mine |= calls.stage == -1 - phase.stage
        since_s = now_s - phase.began_s if phase.kind in ("stage", "recovery") else WINDOW_S
        inside = mine & (at_s > now_s - WINDOW_S)
        window_s = WINDOW_S
        if np.count_nonzero(inside) < _FEW_CALLS:
            inside, window_s = mine & (at_s > now_s - _LONGER_WINDOW_S), _LONGER_WINDOW_S
        return calls.where(inside), min(window_s, max(since_s, 1.0))

    def _newest_period(self) -> WebserverPeriod | None:
        known = (p for p in reversed(self._periods) if p.webservers is not None)
        return next(known, None)

    def _highest_cpu(self, since_s: float) -> float:
        """Of the periods since then, and of the newest, however old it is."""
        seen = [p.cpu_percent for p in self._periods[:-1] if p.end_s > since_s]
        seen += [p.cpu_percent for p in self._periods[-1:]]
        return max((percent for percent in seen if percent is not None), default=0.0)

    def _latency_limit(self) -> Slo | None:
        limits = (
            slo
            for slo in self._setting.slos
            if slo.metric == "latency" and slo.percentile and not slo.selector_key
        )
        return next(limits, None)

    def _host_taken(self) -> float | None:
        reports = host_reports(list(self._host_events))
        taken = reports[-1].taken_fraction if reports else 0.0
        return taken if taken > TAKEN_LIMIT else None


def _histories(
    calls: Calls, at_s: np.ndarray[Any, Any], now_s: float
) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """p50 and p95 of the calls that ended in each bin of the clock, the last one still filling."""
    timed = calls.timed
    bins = np.floor(at_s[timed] / BIN_S).astype(np.int64)
    latency_s = calls.latency_s[timed]
    last = int(now_s // BIN_S)
    p50: list[float | None] = []
    p95: list[float | None] = []
    for number in range(last - int(SHOWN_S / BIN_S) + 1, last + 1):
        inside = latency_s[bins == number]
        p50.append(value_at_rank(inside, 50) if len(inside) else None)
        p95.append(value_at_rank(inside, 95) if len(inside) else None)
    return tuple(p50), tuple(p95)


def _p99(lag_s: np.ndarray[Any, Any]) -> float | None:
    return value_at_rank(lag_s, 99) if len(lag_s) else None


def _too_many_unsent(window: Calls) -> Finding | None:
    unsent = len(window) - int(window.sent.sum())
    if not len(window) or unsent / len(window) <= UNSENT_LIMIT:
        return None
    return refusal(
        "generator.unsent", unsent=unsent, arrivals=len(window), limit_fraction=UNSENT_LIMIT
    )


def _limit(
    window: Calls, trouble: Finding | None, cpu_percent: float, cpu_above: float
) -> Limit | None:
    if trouble is not None:
        return Limit("generator")
    sent = max(int(window.sent.sum()), 1)
    counts = window.outcome.counts()
    if (throttled := counts.get("throttled", 0) / sent) >= _MUCH:
        return Limit("throttle", throttled)
    if cpu_percent > cpu_above:
        return Limit("webserver_cpu", cpu_percent)
    layers: Counter[str] = Counter()
    for outcome, count in counts.items():
        layer = LAYER_OF_OUTCOME[outcome]
        if layer is not None and outcome != "unsent":
            layers[layer] += count
    if layers and layers.total() / sent >= _MUCH:
        return Limit("errors", layers.total() / sent, layers.most_common(1)[0][0])
    return None
