"""The tables of what a call costs and how many webservers a load needs."""

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.tables import Column, Table
from mwaa_headroom.analysis.results import DemandResult, SizingResult


def demand_table(demand: DemandResult, mix: dict[str, float]) -> Table:
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
    rows = tuple(
        (
            words.trimmed(row.rate_per_s),
            words.count(row.webservers),
            words.span(row.webservers_low, row.webservers_high),
            *((words.share(row.probability),) if has_odds else ()),
            _sizing_remark(row.rate_per_s == sizing.target_rate_per_s, row.within_limits),
        )
        for row in sizing.rows
    )
    return Table(columns, rows)


def _sizing_remark(is_target: bool, within_limits: bool) -> str:
    remarks = ["target"] * is_target + ["more than the service allows"] * (not within_limits)
    return ", ".join(remarks)
