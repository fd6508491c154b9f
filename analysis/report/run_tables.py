"""The tables of one run: stages, load generator, webservers, scaling, sizing and known truth."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME, LAYERS
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.document import MARKS, Column, Table, table_of
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.results import (
    CountRow,
    DemandResult,
    GeneratorHealth,
    ScalingEvent,
    SizingResult,
    SizingRow,
    StageStats,
    SteadyState,
    TruthCheck,
    WorkerHealth,
)
from mwaa_headroom.analysis.scaling.events import steps_of
from mwaa_headroom.analysis.statistics import Estimate, value_at_rank, values_for_percentile

_PERCENTILES: Final = ("p50", "p95", "p99")
_LEAST_GAP_S: Final = 10.0  # a moment has no length to zoom into
_MOST_WINDOWS: Final = 12
_LATENCY_COLUMNS: Final = (
    Column("", right=False),
    Column("latency", "from intended start"),
    Column("service time", "from actual start"),
)


def stage_name(stage: StageStats) -> str:
    """The stage as people count: "3 burst", or "3" when it has no name of its own."""
    number = str(stage.index + 1)
    return number if stage.name in ("", f"stage {number}") else f"{number} {stage.name}"


def stage_verdict(stage: StageStats) -> bool | None:
    """Whether a stage met the SLO; None also when it says nothing about the environment."""
    return stage.met_slo if stage.speaks else None


def trial_verdict(stage: StageStats) -> bool | None:
    """Pass, fail or undecided: that the SLO held in an undecided stage is no pass."""
    return stage_verdict(stage) if stage.trial != "undecided" else None


def stage_found(stage: StageStats) -> str:
    """Met, broke, undecided or not judged."""
    if stage_verdict(stage) and trial_verdict(stage) is None:
        return "undecided"
    return {True: "met", False: "broke", None: "not judged"}[stage_verdict(stage)]


def stage_load(stage: StageStats) -> str:
    """The load a stage was asked for: "25 calls/s", "~25 calls/s" or "20 users".

    The first is constant, the second the mean of a ramp or a trace, the third of a closed workload.
    """
    if stage.users is None:
        return f"{_about(stage)}{words.calls_per_s(stage.rate_per_s)}"
    return f"{stage.users} user{'' if stage.users == 1 else 's'}"


def stage_table(stages: Sequence[StageStats], started_at_s: float = 0.0) -> Table:
    """One row per stage: load, latency, errors, webservers, and what it says as a trial.

    Its rows are linked with the timeline of a run that began at `started_at_s`.
    """
    closed = any(stage.users is not None for stage in stages)
    load = (Column("rate", "1/s"), _rate)
    table = table_of(
        stages,
        (Column("stage", right=False), _stage_cell),
        (Column("users", "closed"), lambda s: words.count(s.users)) if closed else load,
        (Column("offered", "1/s", dropped=4), lambda s: words.rate(s.offered_per_s)),
        (Column("achieved", "1/s"), lambda s: words.rate(s.achieved_per_s)),
        (Column("goodput", "1/s", dropped=2), lambda s: words.rate(s.goodput_per_s)),
        (Column("p50", dropped=1), lambda s: words.duration_value(s.latency_s.get("p50"))),
        (Column("p95"), lambda s: words.duration_value(s.latency_s.get("p95"))),
        (Column("p99", dropped=3), lambda s: words.duration_value(s.latency_s.get("p99"))),
        (Column("errors"), lambda s: words.share(s.error_rate.value)),
        (Column("web", "servers"), lambda s: words.span(s.webservers_min, s.webservers_max)),
        (Column("CPU", "mean"), lambda s: words.percent(s.webserver_cpu_percent)),
        (Column("settled", "after", dropped=6), lambda s: _settled(s.steady)),
        (Column("SLO", dropped=5), lambda s: MARKS[stage_verdict(s)]),
        (Column("trial"), lambda s: s.trial if s.slo else words.UNKNOWN),
    )
    spans = ((s.started_at_s - started_at_s, s.ended_at_s - started_at_s) for s in stages)
    return replace(table, spans=tuple(spans))


def _stage_cell(stage: StageStats) -> str:
    return stage_name(stage) + ("" if stage.complete else " (cut short)")


def _rate(stage: StageStats) -> str:
    return f"{_about(stage)}{words.trimmed(stage.rate_per_s)}"


def _about(stage: StageStats) -> str:
    return "~" if stage.rate_is_mean else ""


def _settled(steady: SteadyState | None) -> str:
    if steady is None or steady.verdict == "not_checked":
        return words.UNKNOWN
    if steady.verdict == "rising":
        return "rising"
    settled = steady.verdict == "steady" and words.is_known(steady.settled_after_s)
    return words.delay(steady.settled_after_s) if settled else "never"


def latency_table(stage: StageStats) -> Table:
    """Latency and service time of one stage, with intervals."""
    return Table(_LATENCY_COLUMNS, tuple(_latency_rows(stage)))


def stage_latency_table(stages: Sequence[StageStats]) -> Table:
    """The same of every stage."""
    rows = ((stage_name(stage), *row) for stage in stages for row in _latency_rows(stage))
    return Table(
        (Column("stage", right=False), *_LATENCY_COLUMNS),
        tuple(rows),
        caption="Latency and service time of every stage",
        folded=True,
    )


def _latency_rows(stage: StageStats) -> Iterator[tuple[str, ...]]:
    for name in _PERCENTILES:
        yield (
            name,
            words.duration_estimate(stage.latency_s.get(name)),
            words.duration_estimate(stage.service_time_s.get(name)),
        )


def operation_table(stage: StageStats) -> Table:
    """The operations of one stage."""
    return table_of(
        stage.operations,
        (Column("operation", right=False), lambda o: o.operation),
        (Column("calls"), lambda o: words.count(o.arrivals)),
        (Column("ok"), lambda o: words.count(o.ok)),
        (Column("p50", "latency"), lambda o: words.duration_estimate(o.latency_p50_s)),
        (Column("p95", "latency"), lambda o: words.duration_estimate(o.latency_p95_s)),
    )


def error_table(stages: Sequence[StageStats]) -> Table | None:
    """Who is to blame, per stage; None when no call failed."""
    columns = (
        Column("stage", right=False),
        Column("layer", right=False),
        Column("share of calls"),
        Column("outcomes", right=False),
    )
    rows = tuple(row for stage in stages for row in _error_rows(stage))
    return Table(columns, rows) if rows else None


def _error_rows(stage: StageStats) -> Iterator[tuple[str, ...]]:
    for layer in LAYERS:
        counts = [
            f"{stage.outcomes[outcome]} {outcome}"
            for outcome, owner in LAYER_OF_OUTCOME.items()
            if owner == layer and stage.outcomes.get(outcome)
        ]
        estimate = stage.error_rate_by_layer.get(layer)
        if counts or (estimate and estimate.value):
            share = words.share_estimate(estimate)
            yield stage_name(stage), layer, share, ", ".join(counts) or words.UNKNOWN


def process_table(health: GeneratorHealth) -> Table | None:
    """One row per load process; None when there was only one."""
    if len(health.workers) < 2:
        return None
    return table_of(
        health.workers,
        (Column("process"), lambda w: str(w.worker)),
        (Column("rows"), lambda w: words.count(w.rows)),
        (Column("CPU at most", "of one core"), lambda w: words.share(w.cpu_fraction_max)),
        (Column("stall", "longest"), lambda w: words.duration(w.longest_stall_s)),
        (Column("clock", "minus the master's"), _clock),
        (Column("", right=False), lambda w: told(w.lost)),
    )


def _clock(worker: WorkerHealth) -> str:
    offset = words.duration(worker.clock_offset_s)
    if not words.is_known(worker.clock_uncertainty_s):
        return offset
    return f"{offset} ± {words.duration(worker.clock_uncertainty_s)}"


def lag_table(calls: Calls, started_at_s: float) -> Table | None:
    """How late calls were sent, per minute or more of the run; None when none was late."""
    since_s, lags_s = calls.intended_start_s[calls.sent] - started_at_s, calls.lag_s[calls.sent]
    if not lags_s.any():
        return None
    last_s = math.floor(since_s.max())
    width_s = 60 * (last_s // (60 * _MOST_WINDOWS) + 1)
    rows = []
    for from_s in range(0, last_s + 1, width_s):
        inside_s = lags_s[(since_s >= from_s) & (since_s < from_s + width_s)]
        enough = len(inside_s) >= values_for_percentile(99.0)
        p99_s = value_at_rank(inside_s, 99.0) if enough else None
        longest_s = float(inside_s.max()) if len(inside_s) else None
        lags = (words.duration(p99_s), words.duration(longest_s))
        rows.append((words.clock(from_s), words.count(len(inside_s)), *lags))
    columns = (Column("from", "of the run"), Column("sent"), Column("lag p99"), Column("longest"))
    return Table(columns, tuple(rows))


def webserver_table(stages: Sequence[StageStats]) -> Table | None:
    """What the metrics said, per stage, and of the database if anything; None: there were none."""
    columns = [
        (Column("webservers"), lambda s: words.span(s.webservers_min, s.webservers_max)),
        (Column("CPU mean"), lambda s: words.percent(s.webserver_cpu_percent)),
        (Column("CPU max"), lambda s: words.percent(s.webserver_cpu_max_percent)),
        (Column("connections max"), lambda s: words.count(s.connections_max)),
    ]
    of_database = [
        (Column("database CPU"), lambda s: words.percent(s.database_cpu_percent)),
        (
            Column("database connections max", dropped=1),
            lambda s: words.count(s.database_connections_max),
        ),
    ]

    def is_known(column: tuple[Column, Callable[[StageStats], str]]) -> bool:
        return any(column[1](stage) != words.UNKNOWN for stage in stages)

    columns += filter(is_known, of_database)
    if not any(map(is_known, columns)):
        return None
    return table_of(stages, (Column("stage", right=False), stage_name), *columns)


def count_table(rows: Sequence[CountRow]) -> Table:
    """One row per webserver count that was in service."""
    return table_of(
        rows,
        (Column("webservers"), lambda r: words.count(r.webservers)),
        (Column("time", "in service"), lambda r: words.delay(r.time_s)),
        (Column("calls", dropped=1), lambda r: words.count(r.calls)),
        (Column("offered", "1/s", dropped=2), lambda r: words.rate(r.offered_per_s)),
        (Column("goodput", "1/s"), lambda r: words.rate(r.goodput_per_s)),
        (Column("goodput", "of one"), lambda r: words.rate(r.goodput_per_webserver_per_s)),
        (Column("p50", dropped=3), lambda r: words.duration_estimate(r.latency_p50_s)),
        (Column("p95"), lambda r: words.duration_estimate(r.latency_p95_s)),
        (Column("errors"), lambda r: words.share_estimate(r.error_rate)),
        (Column("CPU", "mean"), lambda r: words.percent(r.cpu_percent)),
    )


def steps_table(event: ScalingEvent, started_at_s: float, *, folded: bool) -> Table | None:
    """The steps of a scale-out; None of a scale-in, and where fewer than two are known."""
    steps = steps_of(event)
    if event.to_count <= event.from_count or len(steps) < 2:
        return None
    table = table_of(
        steps,
        (Column("step", right=False), lambda s: s.name),
        (Column("time", "of the run"), lambda s: words.clock(s.at_s - started_at_s)),
        (
            Column("after", "the step before"),
            lambda s: "" if s.gap_s is None else words.delay(s.gap_s),
        ),
        (
            Column("known", "to within"),
            lambda s: "exactly" if s.resolution_s == 0 else words.delay(s.resolution_s),
        ),
    )
    caption = f"Steps from {event.from_count} to {words.webservers(event.to_count)}"
    times_s = [step.at_s - started_at_s for step in steps]
    gaps = zip([times_s[0], *times_s], times_s, strict=False)
    spans = tuple((from_s, max(to_s, from_s + _LEAST_GAP_S)) for from_s, to_s in gaps)
    known = all(map(words.is_known, times_s))
    return replace(table, caption=caption, folded=folded, spans=spans if known else ())


def demand_table(demand: DemandResult, mix: Mapping[str, float]) -> Table:
    """CPU of the webservers per call."""
    columns = (
        Column("operation", right=False),
        Column("share", "of the mix"),
        Column("CPU time", "per call"),
    )
    rows = [
        (operation, words.share(mix.get(operation)), words.duration_estimate(estimate))
        for operation, estimate in demand.per_operation_s.items()
    ]
    rows.append(("the mix", "100 %", words.duration_estimate(demand.mix_s)))
    return Table(columns, tuple(rows))


def sizing_table(sizing: SizingResult) -> Table:
    """Webservers needed for rates of this mix."""
    odds = (Column("enough CPU", "probability"), lambda r: words.share(r.probability))
    has_odds = any(words.is_known(row.probability) for row in sizing.rows)

    def remark(row: SizingRow) -> str:
        target = ["target"] * (row.rate_per_s == sizing.target_rate_per_s)
        return ", ".join(target + ["more than the service allows"] * (not row.within_limits))

    return table_of(
        sizing.rows,
        (Column("rate", "calls/s"), lambda r: words.trimmed(r.rate_per_s)),
        (Column("webservers", "needed"), lambda r: words.count(r.webservers)),
        (Column("interval"), lambda r: words.span(r.webservers_low, r.webservers_high)),
        *([odds] if has_odds else []),
        (Column("", right=False), remark),
    )


def truth_table(checks: Sequence[TruthCheck]) -> Table:
    """Estimates beside what simulated webservers were set to."""
    return table_of(
        checks,
        (Column("", right=False), lambda c: c.what),
        (Column("estimate", "95 % interval"), lambda c: _with_unit(c.estimate, c.unit)),
        (Column("truth"), lambda c: _with_unit(Estimate(c.truth), c.unit)),
        (Column("inside"), lambda c: MARKS[c.within]),
    )


def _with_unit(estimate: Estimate, unit: str) -> str:
    if unit == "s":
        return words.duration_estimate(estimate)
    if unit == "1/s":
        return words.rate_estimate(estimate)
    if not words.is_known(estimate.value):
        return words.UNKNOWN
    number, interval = words.count(estimate.value), words.span(estimate.low, estimate.high)
    return number if interval in (number, words.UNKNOWN) else f"{number} ({interval})"
