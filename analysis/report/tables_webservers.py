"""The tables of what webservers and database did: by stage, by webserver count, in a scale-out."""

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.tables import Column, Table, stage_name
from mwaa_headroom.analysis.results import CountRow, RunAnalysis, ScalingEvent
from mwaa_headroom.analysis.scaling.events import Step, steps_of


def webserver_table(analysis: RunAnalysis) -> Table | None:
    """What the metrics said, per stage; None when there were none."""
    stages = analysis.stages
    columns = [
        Column("stage", right=False),
        Column("webservers"),
        Column("CPU mean"),
        Column("CPU max"),
        Column("connections max"),
    ]
    cells = [
        [stage_name(stage) for stage in stages],
        [words.span(stage.webservers_min, stage.webservers_max) for stage in stages],
        [words.percent(stage.webserver_cpu_percent) for stage in stages],
        [words.percent(stage.webserver_cpu_max_percent) for stage in stages],
        [words.count(stage.connections_max) for stage in stages],
    ]
    for column, told in (
        (
            Column("database CPU"),
            [words.percent(stage.database_cpu_percent) for stage in stages],
        ),
        (
            Column("database connections max", dropped=1),
            [words.count(stage.database_connections_max) for stage in stages],
        ),
    ):
        if _is_told(told):
            columns.append(column)
            cells.append(told)
    if not any(_is_told(column) for column in cells[1:]):
        return None
    return Table(tuple(columns), tuple(zip(*cells, strict=True)))


def count_table(rows: tuple[CountRow, ...], *, details: bool) -> Table:
    """One row per webserver count that was in service; `details` adds intervals."""
    duration = words.duration_estimate if details else words.duration_value
    share = words.share_estimate if details else words.share_value
    columns = (
        Column("webservers"),
        Column("time", "in service"),
        Column("calls", dropped=1),
        Column("offered", "1/s"),
        Column("goodput", "1/s"),
        Column("goodput", "of one"),
        Column("p50"),
        Column("p95"),
        Column("errors"),
        Column("CPU", "mean"),
    )
    return Table(
        columns,
        tuple(
            (
                words.count(row.webservers),
                words.delay(row.time_s),
                words.count(row.calls),
                words.rate(row.offered_per_s),
                words.rate(row.goodput_per_s),
                words.rate(row.goodput_per_webserver_per_s),
                duration(row.latency_p50_s),
                duration(row.latency_p95_s),
                share(row.error_rate),
                words.percent(row.cpu_percent),
            )
            for row in rows
        ),
    )


def steps_table(event: ScalingEvent, started_at_s: float) -> Table | None:
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
            _resolution(step),
        )
        for step in steps
    )
    return Table(columns, tuple(rows))


def _resolution(step: Step) -> str:
    return "exactly" if step.resolution_s == 0 else words.delay(step.resolution_s)


def _is_told(cells: list[str]) -> bool:
    return any(cell != words.UNKNOWN for cell in cells)
