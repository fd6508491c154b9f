"""The tables of a report as plain strings, laid out once for the terminal and the page."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from analysis.records.schema import LAYER_OF_OUTCOME, LAYERS
from analysis.report import words
from analysis.results import (
    DemandResult,
    Estimate,
    GeneratorHealth,
    RunAnalysis,
    SizingResult,
    StageStats,
    WorkerHealth,
)

PERCENTILES: Final = ("p50", "p95", "p99")
OUTCOMES_OF_LAYER: Final = {
    layer: tuple(name for name, owner in LAYER_OF_OUTCOME.items() if owner == layer)
    for layer in LAYERS
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column. With `dropped` > 0 a narrow terminal may leave it out, highest first."""

    heading: str
    unit: str = ""
    right: bool = True
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of the same length; every cell is ready to be read."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


def stage_name(stage: StageStats) -> str:
    """The stage as people count: "3 burst", or "3" when it has no name of its own."""
    number = str(stage.index + 1)
    return number if stage.name in ("", f"stage {number}") else f"{number} {stage.name}"


def stage_verdict(stage: StageStats) -> bool | None:
    """Whether a stage met the SLO; None also when the load generator was the limit in it."""
    return stage.met_slo if stage.generator_ok else None


def stage_load(stage: StageStats) -> str:
    """The load a stage was asked for: "25 calls/s", or "20 users" of a closed workload."""
    if stage.users is None:
        return words.calls_per_s(stage.rate_per_s)
    return f"{stage.users} user{'' if stage.users == 1 else 's'}"


def stage_table(analysis: RunAnalysis, *, intervals: bool) -> Table:
    """One row per stage: load, latency, errors, webservers, verdict."""
    latency = [
        Column(name, "latency" if intervals else "", dropped=dropped)
        for name, dropped in zip(PERCENTILES, (1, 0, 3), strict=True)
    ]
    closed = any(stage.users is not None for stage in analysis.stages)
    columns = (
        Column("stage", right=False),
        Column("users", "closed") if closed else Column("rate", "1/s"),
        Column("offered", "1/s", dropped=4),
        Column("achieved", "1/s"),
        Column("goodput", "1/s", dropped=2),
        *latency,
        Column("errors"),
        Column("web", "servers"),
        Column("CPU", "mean"),
        Column("SLO"),
    )
    written = words.duration_estimate if intervals else _duration_value
    rows = (
        (
            stage_name(stage) + ("" if stage.complete else " (cut short)"),
            words.count(stage.users) if closed else words.trimmed(stage.rate_per_s),
            words.rate(stage.offered_per_s),
            words.rate(stage.achieved_per_s),
            words.rate(stage.goodput_per_s),
            *(written(stage.latency_s.get(name)) for name in PERCENTILES),
            words.share(stage.error_rate.value),
            words.span(stage.webservers_min, stage.webservers_max),
            words.percent(stage.webserver_cpu_percent),
            words.MARKS[stage_verdict(stage)],
        )
        for stage in analysis.stages
    )
    return Table(columns, tuple(rows))


def latency_table(stage: StageStats) -> Table:
    """Latency and service time of one stage, with intervals."""
    columns = (
        Column("", right=False),
        Column("latency", "from intended start"),
        Column("service time", "from actual start"),
    )
    rows = (
        (
            name,
            words.duration_estimate(stage.latency_s.get(name)),
            words.duration_estimate(stage.service_time_s.get(name)),
        )
        for name in PERCENTILES
    )
    return Table(columns, tuple(rows))


def stage_latency_table(analysis: RunAnalysis) -> Table:
    """Latency and service time of every stage, with intervals."""
    alone = [latency_table(stage) for stage in analysis.stages]
    columns = (Column("stage", right=False), *(alone[0].columns if alone else ()))
    rows = (
        (stage_name(stage), *row)
        for stage, table in zip(analysis.stages, alone, strict=True)
        for row in table.rows
    )
    return Table(columns, tuple(rows))


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


def error_table(analysis: RunAnalysis) -> Table | None:
    """Who is to blame, per stage; None when no call failed."""
    columns = (
        Column("stage", right=False),
        Column("layer", right=False),
        Column("share of calls"),
        Column("outcomes", right=False),
    )
    rows = tuple(row for stage in analysis.stages for row in _error_rows(stage))
    return Table(columns, rows) if rows else None


def _error_rows(stage: StageStats) -> Iterable[tuple[str, ...]]:
    for layer in LAYERS:
        counts = [
            f"{stage.outcomes[outcome]} {outcome}"
            for outcome in OUTCOMES_OF_LAYER[layer]
            if stage.outcomes.get(outcome)
        ]
        estimate = stage.error_rate_by_layer.get(layer)
        if counts or (estimate and estimate.value):
            yield (
                stage_name(stage),
                layer,
                words.share_estimate(estimate),
                ", ".join(counts) or words.UNKNOWN,
            )


def webserver_table(analysis: RunAnalysis) -> Table | None:
    """What the webservers' metrics said, per stage; None when there were none."""
    columns = (
        Column("stage", right=False),
        Column("webservers"),
        Column("CPU mean"),
        Column("CPU max"),
        Column("connections max"),
    )
    rows = tuple(
        (
            stage_name(stage),
            words.span(stage.webservers_min, stage.webservers_max),
            words.percent(stage.webserver_cpu_percent),
            words.percent(stage.webserver_cpu_max_percent),
            words.count(stage.connections_max),
        )
        for stage in analysis.stages
    )
    measured = any(cell != words.UNKNOWN for row in rows for cell in row[1:])
    return Table(columns, rows) if measured else None


def worker_table(health: GeneratorHealth) -> Table | None:
    """One row per load process; None when there was only one."""
    if len(health.workers) < 2:
        return None
    columns = (
        Column("process"),
        Column("rows"),
        Column("CPU at most", "of one core"),
        Column("stall", "longest"),
        Column("clock", "minus the master's"),
    )
    rows = tuple(
        (
            str(worker.worker),
            words.count(worker.rows),
            words.share(worker.cpu_fraction_max),
            words.duration(worker.longest_stall_s),
            _clock(worker),
        )
        for worker in health.workers
    )
    if not any(worker.lost for worker in health.workers):
        return Table(columns, rows)
    lost = (f"lost: {worker.lost}" if worker.lost else "" for worker in health.workers)
    return Table(
        (*columns, Column("", right=False)),
        tuple((*row, text) for row, text in zip(rows, lost, strict=True)),
    )


def _clock(worker: WorkerHealth) -> str:
    offset = words.duration(worker.clock_offset_s)
    if not words.is_known(worker.clock_uncertainty_s):
        return offset
    return f"{offset} ± {words.duration(worker.clock_uncertainty_s)}"


def demand_table(demand: DemandResult, mix: dict[str, float]) -> Table:
    """CPU of the webservers per call."""
    columns = (
        Column("operation", right=False),
        Column("share", "of the calls"),
        Column("CPU time", "per call"),
    )
    rows = [
        (operation, words.share(mix.get(operation)), words.duration_estimate(estimate))
        for operation, estimate in demand.per_operation_s.items()
    ]
    rows.append(("the mix as sent", "100 %", words.duration_estimate(demand.mix_s)))
    return Table(columns, tuple(rows))


def sizing_table(sizing: SizingResult) -> Table:
    """Webservers needed for rates of this mix."""
    columns = (
        Column("rate", "calls/s"),
        Column("webservers", "needed"),
        Column("interval"),
        Column("", right=False),
    )
    rows = tuple(
        (
            words.trimmed(row.rate_per_s),
            words.count(row.webservers),
            words.span(row.webservers_low, row.webservers_high),
            _sizing_remark(row.rate_per_s == sizing.target_rate_per_s, row.within_limits),
        )
        for row in sizing.rows
    )
    return Table(columns, rows)


def _sizing_remark(is_target: bool, within_limits: bool) -> str:
    remarks = ["target"] * is_target + ["more than the service allows"] * (not within_limits)
    return ", ".join(remarks)


def _duration_value(estimate: Estimate | None) -> str:
    if estimate is None or not words.is_known(estimate.value):
        return words.UNKNOWN
    return f"{words.bound(estimate)}{words.duration(estimate.value)}"
