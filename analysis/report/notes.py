"""What a careful reader must know: warnings, refusals with their reasons, remarks."""

from collections.abc import Iterable, Iterator

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import told, told_each
from mwaa_headroom.analysis.report.tables import stage_name
from mwaa_headroom.analysis.results import RunAnalysis, StageStats
from mwaa_headroom.analysis.statistics import Estimate, is_lower_bound


def notes(analysis: RunAnalysis) -> tuple[str, ...]:
    """All of them, each once."""
    every: tuple[Finding | str, ...] = (
        *analysis.warnings,
        *_stage_notes(analysis.stages),
        *_refusals(analysis.stages),
        *_capacity_notes(analysis),
        *_demand_notes(analysis),
        *analysis.notes,
    )
    return told_each(every)


def _stage_notes(stages: Iterable[StageStats]) -> Iterator[str]:
    for stage in stages:
        name = f"Stage {stage_name(stage)}"
        if stage.unsent and stage.generator_ok:
            arrivals = "arrival" if stage.arrivals == 1 else "arrivals"
            unsent = f"{stage.unsent} of {stage.arrivals} {arrivals} {_were(stage.unsent)} not sent"
            yield f"{name}: {unsent}."
        if stage.censored:
            yield f"{name}: {_cut_calls(stage)}."
        if _unsettled(stage) and stage.steady and stage.steady.reason != stage.trial_reason:
            yield f"{name}: {words.lowered(told(stage.steady.reason))}"


def _unsettled(stage: StageStats) -> bool:
    """Whether a stage was looked at and found not to be steady."""
    return stage.steady is not None and stage.steady.verdict in ("rising", "unsteady")


def _cut_calls(stage: StageStats) -> str:
    bounds = [name for name, estimate in stage.latency_s.items() if is_lower_bound(estimate)]
    calls = "call" if stage.censored == 1 else "calls"
    cut = f"{stage.censored} {calls} {_were(stage.censored)} cut at a time limit, so "
    if not bounds:
        return f"{cut}the longest latencies may be longer still"
    verb = "is a lower bound" if len(bounds) == 1 else "are lower bounds"
    return f"{cut}{words.enumerated(bounds)} {verb}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _refusals(stages: Iterable[StageStats]) -> Iterator[str]:
    """Warnings of the stages' estimates; those that differ only in counts are told once.

    Of latencies only the refused ones: a value without an interval shows that by itself, and lower
    bounds are told with the calls that were cut.
    """
    alike: dict[tuple[str, object], list[tuple[int, str]]] = {}
    for stage in stages:
        for what, estimate in _stage_estimates(stage):
            for warning in estimate.warnings:
                key = (what, _but_for_counts(warning))
                alike.setdefault(key, []).append((stage.index + 1, told(warning)))
    for (what, _), found in alike.items():
        numbers = {number for number, _ in found}
        where = f"Stage{'s' if len(numbers) > 1 else ''} {words.listed(numbers)}"
        number, warning = found[0]
        if len({warning for _, warning in found}) > 1:
            warning = f"{warning.rstrip('.')} (in stage {number})."
        yield f"{where}, {what}: {warning}"


def _but_for_counts(warning: Finding | str) -> object:
    if isinstance(warning, str):
        return warning
    return warning.code, warning.values.get("percent")


def _capacity_notes(analysis: RunAnalysis) -> Iterator[str]:
    capacity = analysis.capacity
    if capacity and capacity.rate_per_s:
        count = capacity.rate_webservers
        what = f"Capacity with {words.webservers(count)}" if count else "Capacity"
        yield from (f"{what}: {told(warning)}" for warning in capacity.rate_per_s.warnings)


def _demand_notes(analysis: RunAnalysis) -> Iterator[str]:
    known: set[Finding | str | None] = {analysis.demand.refusal} if analysis.demand else set()
    sources: list[tuple[str, tuple[Finding | str, ...]]] = []
    if analysis.demand:
        sources.append(("Service demand", analysis.demand.mix_s.warnings))
        for operation, estimate in analysis.demand.per_operation_s.items():
            sources.append((f"Service demand of {operation}", estimate.warnings))
    if analysis.sizing:
        sources.append(("Sizing", analysis.sizing.warnings))
    for what, warnings in sources:
        yield from (f"{what}: {told(each)}" for each in warnings if each not in known)
        known.update(warnings)


def _stage_estimates(stage: StageStats) -> Iterator[tuple[str, Estimate]]:
    for name, latency in stage.latency_s.items():
        if latency.value is None:
            yield "latency", latency
        service_time = stage.service_time_s.get(name)
        if (
            service_time
            and service_time.value is None
            and service_time.warnings != latency.warnings
        ):
            yield "service time", service_time
    yield "error rate", stage.error_rate
