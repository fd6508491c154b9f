"""What a careful reader of one run should know: why the verdict is so, warnings and refusals."""

from collections.abc import Iterable, Iterator

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.run_tables import stage_name
from mwaa_headroom.analysis.report.sentences import told, told_each
from mwaa_headroom.analysis.results import RunAnalysis, StageStats
from mwaa_headroom.analysis.statistics import Estimate, is_lower_bound


def reasons(analysis: RunAnalysis) -> tuple[str, ...]:
    """Why the verdict is what it is, without what its sentence or the sizing says anyway."""
    verdict, capacity, sizing = analysis.verdict, analysis.capacity, analysis.sizing
    doubts = [reason for reason in verdict.reasons if reason.severity == "refusal"]
    broken = [reason for reason in verdict.reasons if reason not in doubts]
    first = (broken or doubts if verdict.question == "check" else doubts)[:1]
    said = [*first, sizing.explanation if sizing else None]
    every = (*verdict.reasons, *([capacity.explanation] if capacity else []))
    return told_each(reason for reason in every if reason not in said)


def findings(analysis: RunAnalysis) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that concern the answer, and all others; each once."""
    concerning = dict.fromkeys(
        (
            *told_each(analysis.warnings),
            *_capacity_notes(analysis),
            *_demand_notes(analysis),
        )
    )
    others = dict.fromkeys(
        (
            *_stage_notes(analysis.stages),
            *_refused_estimates(analysis.stages),
            *told_each(analysis.notes),
        )
    )
    return tuple(concerning), tuple(each for each in others if each not in concerning)


def _capacity_notes(analysis: RunAnalysis) -> Iterator[str]:
    capacity = analysis.capacity
    if capacity and capacity.rate_per_s:
        count = capacity.rate_webservers
        what = f"Capacity with {words.webservers(count)}" if count else "Capacity"
        yield from (f"{what}: {told(warning)}" for warning in capacity.rate_per_s.warnings)


def _demand_notes(analysis: RunAnalysis) -> Iterator[str]:
    """Warnings of the demands and the sizing, each where it is first given."""
    demand, sizing = analysis.demand, analysis.sizing
    sources: list[tuple[str, Iterable[Finding]]] = []
    if demand:
        sources.append(("Service demand", demand.mix_s.warnings))
        for operation, estimate in demand.per_operation_s.items():
            sources.append((f"Service demand of {operation}", estimate.warnings))
    if sizing:
        sources.append(("Sizing", sizing.warnings))
    seen: list[Finding | None] = [demand.refusal] if demand else []
    for what, warnings in sources:
        new = [warning for warning in warnings if warning not in seen]
        yield from (f"{what}: {told(warning)}" for warning in new)
        seen += new


def _stage_notes(stages: Iterable[StageStats]) -> Iterator[str]:
    for stage in stages:
        name = f"Stage {stage_name(stage)}"
        if stage.unsent and stage.generator_ok:
            arrivals = "arrival" if stage.arrivals == 1 else "arrivals"
            unsent = f"{stage.unsent} of {stage.arrivals} {arrivals} {_were(stage.unsent)} not sent"
            yield f"{name}: {unsent}."
        if stage.censored:
            yield f"{name}: {_cut_calls(stage)}."
        steady = stage.steady
        unsettled = steady is not None and steady.verdict in ("rising", "unsteady")
        if unsettled and steady and steady.reason != stage.trial_reason:
            yield f"{name}: {words.lowered(told(steady.reason))}"


def _cut_calls(stage: StageStats) -> str:
    bounds = [name for name, each in stage.latency_s.items() if is_lower_bound(each)]
    calls = "call" if stage.censored == 1 else "calls"
    cut = f"{stage.censored} {calls} {_were(stage.censored)} cut at a time limit, so "
    if not bounds:
        return f"{cut}the longest latencies may be longer still"
    verb = "is a lower bound" if len(bounds) == 1 else "are lower bounds"
    return f"{cut}{words.enumerated(bounds)} {verb}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"


def _refused_estimates(stages: Iterable[StageStats]) -> Iterator[str]:
    """Warnings of the stages' estimates; those that differ only in counts are told once.

    Of latencies only the refused ones: a value without an interval shows that by itself, and lower
    bounds are told with the calls that were cut.
    """
    alike: dict[tuple[str, object], list[tuple[int, Finding]]] = {}
    for stage in stages:
        for what, estimate in _stage_estimates(stage):
            for warning in estimate.warnings:
                key = (what, _but_for_counts(warning))
                alike.setdefault(key, []).append((stage.index + 1, warning))
    for (what, _), found in alike.items():
        numbers = {number for number, _ in found}
        where = f"Stage{'s' if len(numbers) > 1 else ''} {words.listed(numbers)}"
        number, first = found[0]
        sentence = told(first)
        if any(warning != first for _, warning in found):
            sentence = f"{sentence.rstrip('.')} (in stage {number})."
        yield f"{where}, {what}: {sentence}"


def _but_for_counts(warning: Finding) -> object:
    return warning.code, warning.values.get("percent")


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
