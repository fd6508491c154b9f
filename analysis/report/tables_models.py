"""The tables of models beside the measurements: queueing, scalability, and a known truth."""

from collections.abc import Callable, Mapping
from typing import Final

from analysis.report import words
from analysis.report.tables import Column, Table, stage_name
from analysis.results import Estimate, ModelCheck, RunAnalysis, ScalabilityResult, TruthCheck


def model_table(analysis: RunAnalysis) -> Table | None:
    """What queueing theory expects of each stage, beside what was measured."""
    if not analysis.model_checks:
        return None
    stages = {stage.index: stage for stage in analysis.stages}
    columns = (
        Column("stage", right=False),
        Column("webservers"),
        Column("utilisation", "by service demand"),
        Column("measured", "mean service time"),
        Column("models", "mean service time"),
        Column("rate", "achieved, 1/s"),
        Column("rate", "bound, 1/s"),
        Column("agrees"),
    )
    rows = (
        (
            stage_name(stages[check.stage]),
            words.count(check.webservers),
            words.share(check.utilisation),
            words.duration(check.measured_s),
            _bracket(check),
            words.rate(stages[check.stage].achieved_per_s),
            words.rate(check.bound_per_s),
            words.MARKS[check.agrees],
        )
        for check in analysis.model_checks
    )
    return Table(columns, tuple(rows))


def _bracket(check: ModelCheck) -> str:
    if not words.is_known(check.low_s) or not words.is_known(check.high_s):
        return "none is stable"
    return f"{words.duration(check.low_s)} to {words.duration(check.high_s)}"


def scalability_table(result: ScalabilityResult) -> Table:
    """The parameters of the law, with intervals and what leaving one point out makes of them.

    Then what follows from them: the limits there would be without coherency, and the last rate that
    is believed.
    """
    columns = (
        Column("parameter", right=False),
        Column("estimate", "95 % interval"),
        Column("range", "each point left out"),
    )
    parameters = (
        ("rate of one call in service (calls/s)", "rate_of_one_per_s", result.rate_of_one_per_s),
        ("contention (sigma)", "contention", result.contention),
        ("coherency (kappa)", "coherency", result.coherency),
    )
    rows = (
        (told, words.number_estimate(estimate), _range(result.leave_one_out.get(name)))
        for told, name, estimate in parameters
    )
    believed_to = words.trimmed(result.believed_to_concurrency)
    followed = (
        ("ceiling without coherency, lambda / sigma (calls/s)", result.ceiling_per_s),
        ("knee, 1 / sigma (calls in service)", result.knee_concurrency),
        (f"rate at {believed_to} calls in service (calls/s)", result.farthest_rate_per_s),
    )
    told_of = ((told, words.number_estimate(Estimate(value)), "") for told, value in followed)
    return Table(columns, (*rows, *told_of))


def _range(ends: tuple[float, float] | None) -> str:
    if ends is None or not all(words.is_known(end) for end in ends):
        return words.UNKNOWN
    low, high = ends
    return f"{words.trimmed(low)} to {words.trimmed(high)}"


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
