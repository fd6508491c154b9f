"""Tables as plain strings, laid out once for the terminal and the page; those of the stages."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.results import RunAnalysis, StageStats, SteadyState
from mwaa_headroom.analysis.schema import LAYER_OF_OUTCOME, LAYERS

MEAN_RATE: Final = "~ is the mean of a rate that was not constant: of a ramp or a trace."
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


def trial(stage: StageStats) -> str:
    """What a stage says about its load: pass, fail or undecided; "-" without an SLO."""
    return stage.trial if stage.slo else words.UNKNOWN


def trial_verdict(stage: StageStats) -> bool | None:
    """The same as True, False and None: that the SLO held in an undecided stage is no pass."""
    return stage_verdict(stage) if stage.trial != "undecided" else None


def stage_load(stage: StageStats) -> str:
    """The load a stage was asked for: "25 calls/s", "~25 calls/s" or "20 users".

    The first is constant, the second the mean of a ramp or a trace, the third of a closed workload.
    """
    if stage.users is None:
        return f"{_about(stage)}{words.calls_per_s(stage.rate_per_s)}"
    return f"{stage.users} user{'' if stage.users == 1 else 's'}"


def stage_table(analysis: RunAnalysis, *, details: bool) -> Table:
    """One row per stage: load, latency, errors, webservers, verdict.

    Args:
        analysis: whose stages.
        details: also the interval of p95, the SLO's part in the verdict, and whether the latency
            settled.
    """
    latency = [
        Column(name, dropped=dropped) for name, dropped in zip(PERCENTILES, (1, 0, 3), strict=True)
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
        *((Column("settled", "after"), Column("SLO")) if details else ()),
        Column("trial"),
    )
    p95 = words.duration_estimate if details else words.duration_value
    rows = (
        (
            stage_name(stage) + ("" if stage.complete else " (cut short)"),
            words.count(stage.users) if closed else _rate(stage),
            words.rate(stage.offered_per_s),
            words.rate(stage.achieved_per_s),
            words.rate(stage.goodput_per_s),
            words.duration_value(stage.latency_s.get("p50")),
            p95(stage.latency_s.get("p95")),
            words.duration_value(stage.latency_s.get("p99")),
            words.share(stage.error_rate.value),
            words.span(stage.webservers_min, stage.webservers_max),
            words.percent(stage.webserver_cpu_percent),
            *((_settled(stage.steady), words.MARKS[stage_verdict(stage)]) if details else ()),
            trial(stage),
        )
        for stage in analysis.stages
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
