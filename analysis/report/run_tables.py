"""The tables of one run: stages, load generator, webservers, scaling, sizing and known truth."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.document import MARKS, Column, Table
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.results import (
    CountRow,
    DemandResult,
    GeneratorHealth,
    ScalingEvent,
    SizingResult,
    StageStats,
    SteadyState,
    TruthCheck,
    WorkerHealth,
)
from mwaa_headroom.analysis.scaling.events import steps_of
from mwaa_headroom.analysis.schema import LAYER_OF_OUTCOME, LAYERS
from mwaa_headroom.analysis.statistics import Estimate, value_at_rank, values_for_percentile

PERCENTILES: Final = ("p50", "p95", "p99")
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
    """Whether a stage met the SLO; None also when the load generator was the limit in it."""
    return stage.met_slo if stage.generator_ok else None


def trial_verdict(stage: StageStats) -> bool | None:
    """Pass, fail or undecided: that the SLO held in an undecided stage is no pass."""
    return stage_verdict(stage) if stage.trial != "undecided" else None


def stage_load(stage: StageStats) -> str:
    """The load a stage was asked for: "25 calls/s", "~25 calls/s" or "20 users".

    The first is constant, the second the mean of a ramp or a trace, the third of a closed workload.
    """
    if stage.users is None:
        return f"{_about(stage)}{words.calls_per_s(stage.rate_per_s)}"
    return f"{stage.users} user{'' if stage.users == 1 else 's'}"


def stage_table(stages: Sequence[StageStats]) -> Table:
    """One row per stage: load, latency, errors, webservers, and what it says as a trial."""
    closed = any(stage.users is not None for stage in stages)
    columns = (
        Column("stage", right=False),
        Column("users", "closed") if closed else Column("rate", "1/s"),
        Column("offered", "1/s", dropped=4),
        Column("achieved", "1/s"),
        Column("goodput", "1/s", dropped=2),
        Column("p50", dropped=1),
        Column("p95"),
        Column("p99", dropped=3),
        Column("errors"),
        Column("web", "servers"),
        Column("CPU", "mean"),
        Column("settled", "after", dropped=6),
        Column("SLO", dropped=5),
        Column("trial"),
    )
    rows = (
        (
            stage_name(stage) + ("" if stage.complete else " (cut short)"),
            words.count(stage.users) if closed else _rate(stage),
            words.rate(stage.offered_per_s),
            words.rate(stage.achieved_per_s),
            words.rate(stage.goodput_per_s),
            *(words.duration_value(stage.latency_s.get(name)) for name in PERCENTILES),
            words.share(stage.error_rate.value),
            words.span(stage.webservers_min, stage.webservers_max),
            words.percent(stage.webserver_cpu_percent),
            _settled(stage.steady),
            MARKS[stage_verdict(stage)],
            stage.trial if stage.slo else words.UNKNOWN,
        )
        for stage in stages
    )
    return Table(columns, tuple(rows))


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
    for name in PERCENTILES:
        yield (
            name,
            words.duration_estimate(stage.latency_s.get(name)),
            words.duration_estimate(stage.service_time_s.get(name)),
        )


def operation_table(stage: StageStats) -> Table:
    """The operations of one stage."""
    columns = (
        Column("operation", right=False),
        Column("calls"),
        Column("ok"),
        Column("p50", "latency"),
        Column("p95", "latency"),
    )
    rows = (
        (
            operation.operation,
            words.count(operation.arrivals),
            words.count(operation.ok),
            words.duration_estimate(operation.latency_p50_s),
            words.duration_estimate(operation.latency_p95_s),
        )
        for operation in stage.operations
    )
    return Table(columns, tuple(rows))


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
    any_lost = any(worker.lost for worker in health.workers)
    columns = (
        Column("process"),
        Column("rows"),
        Column("CPU at most", "of one core"),
        Column("stall", "longest"),
        Column("clock", "minus the master's"),
        *((Column("", right=False),) if any_lost else ()),
    )
    rows = (
        (
            str(worker.worker),
            words.count(worker.rows),
            words.share(worker.cpu_fraction_max),
            words.duration(worker.longest_stall_s),
            _clock(worker),
            *((told(worker.lost),) if any_lost else ()),
        )
        for worker in health.workers
    )
    return Table(columns, tuple(rows))


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
    of_webservers = [
        ("webservers", 0, [words.span(s.webservers_min, s.webservers_max) for s in stages]),
        ("CPU mean", 0, [words.percent(s.webserver_cpu_percent) for s in stages]),
        ("CPU max", 0, [words.percent(s.webserver_cpu_max_percent) for s in stages]),
        ("connections max", 0, [words.count(s.connections_max) for s in stages]),
    ]
    of_database = [
        ("database CPU", 0, [words.percent(s.database_cpu_percent) for s in stages]),
        ("database connections max", 1, [words.count(s.database_connections_max) for s in stages]),
    ]
    shown = [*of_webservers, *(each for each in of_database if _is_known(each[2]))]
    if not any(_is_known(cells) for _, _, cells in shown):
        return None
    columns = (
        Column("stage", right=False),
        *(Column(heading, dropped=dropped) for heading, dropped, _ in shown),
    )
    rows = zip(map(stage_name, stages), *(cells for _, _, cells in shown), strict=True)
    return Table(columns, tuple(rows))


def _is_known(cells: Sequence[str]) -> bool:
    return any(cell != words.UNKNOWN for cell in cells)


def count_table(rows: Sequence[CountRow]) -> Table:
    """One row per webserver count that was in service."""
    columns = (
        Column("webservers"),
        Column("time", "in service"),
        Column("calls", dropped=1),
        Column("offered", "1/s", dropped=2),
        Column("goodput", "1/s"),
        Column("goodput", "of one"),
        Column("p50", dropped=3),
        Column("p95"),
        Column("errors"),
        Column("CPU", "mean"),
    )
    cells = (
        (
            words.count(row.webservers),
            words.delay(row.time_s),
            words.count(row.calls),
            words.rate(row.offered_per_s),
            words.rate(row.goodput_per_s),
            words.rate(row.goodput_per_webserver_per_s),
            words.duration_estimate(row.latency_p50_s),
            words.duration_estimate(row.latency_p95_s),
            words.share_estimate(row.error_rate),
            words.percent(row.cpu_percent),
        )
        for row in rows
    )
    return Table(columns, tuple(cells))


def steps_table(event: ScalingEvent, started_at_s: float, *, folded: bool) -> Table | None:
    """The steps of a scale-out; None of a scale-in, and where fewer than two are known."""
    steps = steps_of(event)
    if event.to_count <= event.from_count or len(steps) < 2:
        return None
    columns = (
        Column("step", right=False),
        Column("time", "of the run"),
        Column("after", "the step before"),
        Column("known", "to within"),
    )
    rows = (
        (
            step.name,
            words.clock(step.at_s - started_at_s),
            "" if step.gap_s is None else words.delay(step.gap_s),
            "exactly" if step.resolution_s == 0 else words.delay(step.resolution_s),
        )
        for step in steps
    )
    caption = f"Steps from {event.from_count} to {words.webservers(event.to_count)}"
    return Table(columns, tuple(rows), caption=caption, folded=folded)


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
    has_odds = any(words.is_known(row.probability) for row in sizing.rows)
    columns = (
        Column("rate", "calls/s"),
        Column("webservers", "needed"),
        Column("interval"),
        *((Column("enough CPU", "probability"),) if has_odds else ()),
        Column("", right=False),
    )
    rows = (
        (
            words.trimmed(row.rate_per_s),
            words.count(row.webservers),
            words.span(row.webservers_low, row.webservers_high),
            *((words.share(row.probability),) if has_odds else ()),
            ", ".join(
                ["target"] * (row.rate_per_s == sizing.target_rate_per_s)
                + ["more than the service allows"] * (not row.within_limits)
            ),
        )
        for row in sizing.rows
    )
    return Table(columns, tuple(rows))


def truth_table(checks: Sequence[TruthCheck]) -> Table:
    """Estimates beside what simulated webservers were set to."""
    columns = (
        Column("", right=False),
        Column("estimate", "95 % interval"),
        Column("truth"),
        Column("inside"),
    )
    rows = (
        (
            check.what,
            _WRITTEN.get(check.unit, words.number_estimate)(check.estimate),
            _WRITTEN.get(check.unit, words.number_estimate)(Estimate(check.truth)),
            MARKS[check.within],
        )
        for check in checks
    )
    return Table(columns, tuple(rows))


def _count(estimate: Estimate | None) -> str:
    if estimate is None or not words.is_known(estimate.value):
        return words.UNKNOWN
    number, interval = words.count(estimate.value), words.span(estimate.low, estimate.high)
    return number if interval in (number, words.UNKNOWN) else f"{number} ({interval})"


_WRITTEN: Final[Mapping[str, Callable[[Estimate | None], str]]] = {
    "s": words.duration_estimate,
    "1/s": words.rate_estimate,
    "webservers": _count,
}
