"""The table of estimates beside a known truth."""

from collections.abc import Callable, Mapping
from typing import Final

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.tables import Column, Table
from mwaa_headroom.analysis.results import TruthCheck
from mwaa_headroom.analysis.statistics import Estimate


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


def truth_table(checks: tuple[TruthCheck, ...]) -> Table:
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
            words.MARKS[check.within],
        )
        for check in checks
    )
    return Table(columns, tuple(rows))
