"""The sentences of a report: the headline, the SLO lines, what scaling did, and the notes."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from analysis.latency import LOWER_BOUND
from analysis.report import words
from analysis.report.tables import stage_name, stage_verdict
from analysis.results import (
    Estimate,
    RunAnalysis,
    ScalingEvent,
    SloResult,
    StageStats,
)
from analysis.sizing import sized_webservers


@dataclass(frozen=True, slots=True)
class Judgement:
    """The SLO lines the answer rests on, and where they were judged."""

    scope: str
    lines: tuple[SloResult, ...]


def headline(analysis: RunAnalysis) -> str:
    """The answer in a few words, for the top of the page."""
    verdict, capacity, sizing = analysis.verdict, analysis.capacity, analysis.sizing
    if verdict.exit_code == 130:
        return "Interrupted"
    if not verdict.answered:
        return "Inconclusive"
    if analysis.question == "check":
        return _check_headline(analysis)
    if sizing and sizing.target and sizing.target.webservers is not None:
        cpu = sizing.webserver_cpu
        needed = sized_webservers(sizing.target.webservers, analysis.environment, cpu)
        return f"{needed} for {words.calls_per_s(sizing.target.rate_per_s)}"
    if capacity and words.is_known(capacity.highest_rate_per_s):
        at_least = "At least " if capacity.bottleneck == "not_reached" else ""
        with_servers = (
            f" with {words.webservers(capacity.webservers)}" if capacity.webservers else ""
        )
        return f"{at_least}{words.calls_per_s(capacity.highest_rate_per_s)}{with_servers}"
    return "No stage met the SLO"


def _check_headline(analysis: RunAnalysis) -> str:
    if analysis.verdict.passed:
        return "SLO met" if analysis.slo else "Check passed"
    judged = all(stage.generator_ok for stage in analysis.stages)
    broken = any(stage_verdict(stage) is False for stage in analysis.stages) or (
        judged and any(line.met is False for line in analysis.slo)
    )
    missed = any(not each.met for each in analysis.expectations)
    return "Expectations not met" if missed and not broken else "SLO not met"


def identity(analysis: RunAnalysis) -> str:
    """Which run of what: one line."""
    facts = analysis.environment
    airflow = f"Airflow {facts['airflow_version']}" if facts.get("airflow_version") else ""
    parts = (analysis.run_id, *_environment_words(facts), airflow, _length(analysis))
    return ", ".join(part for part in parts if part)


def _environment_words(facts: dict[str, object]) -> Iterator[str]:
    for key in ("name", "kind", "environment_class"):
        if facts.get(key):
            yield str(facts[key])
    stated = facts.get("facts")
    stated = stated if isinstance(stated, dict) else {}
    cpu = stated.get("webserver_cpu")
    if cpu and not facts.get("environment_class"):
        unlimited = " (not limited)" if stated.get("cpu_limited") is False else ""
        yield f"webservers of {cpu:g} CPU{unlimited}"


def _length(analysis: RunAnalysis) -> str:
    took = words.delay(analysis.ended_at_s - analysis.started_at_s)
    ended = "cut off" if analysis.status == "running" else analysis.status
    return f"{ended} after {took}" if took != words.UNKNOWN else ended


def decisive_stage(analysis: RunAnalysis) -> StageStats | None:
    """The stage the answer rests on: the highest that met the SLO, or the one that broke it.

    A check has no highest stage: the first that broke the SLO counts, else the one with most calls.
    """
    capacity = analysis.capacity
    if capacity:
        for index in (capacity.highest_stage, capacity.stopped_by_stage):
            found = [stage for stage in analysis.stages if stage.index == index]
            if found:
                return found[0]
    sent = [stage for stage in analysis.stages if stage.sent]
    failed = [stage for stage in sent if stage_verdict(stage) is False]
    if failed:
        return failed[0]
    return max(sent, key=lambda stage: stage.achieved_per_s, default=None)


def judgement(analysis: RunAnalysis) -> Judgement:
    """The SLO lines to show first."""
    stage = decisive_stage(analysis)
    if analysis.question == "check" or stage is None:
        return Judgement("whole run", analysis.slo)
    met = analysis.capacity is not None and stage.index == analysis.capacity.highest_stage
    why = "the highest that met it" if met else _why_stopped(stage)
    lines = analysis.slo if met and analysis.slo else stage.slo
    return Judgement(f"stage {stage_name(stage)}, {why}", lines)


def _why_stopped(stage: StageStats) -> str:
    if not stage.generator_ok:
        return "where the load generator was the limit"
    return "where it broke" if stage.met_slo is False else "where the search stopped"


def observed(result: SloResult) -> str:
    """What an SLO line saw, or why it could not be judged."""
    if result.met is None:
        return f"not judged: {result.reason or 'no reason was recorded'}"
    text = result.observed_text or words.UNKNOWN
    return f"{text} ({result.reason})" if result.reason else text


def scaling_sentence(event: ScalingEvent, started_at_s: float) -> str:
    """What one change of the webserver count was caused by, and how long it took.

    "2 to 3 webservers: CPU above 70 % at 00:42, decision +5 s, third webserver ready +17 s."
    Every delay is counted from the first moment of the sentence.
    """
    steps = [(text, time_s) for text, time_s in _scaling_steps(event) if words.is_known(time_s)]
    change = f"{event.from_count} to {event.to_count} webservers"
    if not steps:
        return f"{change}: the record does not show when."
    (first, anchor_s), *rest = steps
    after = (
        f" ({words.delay(anchor_s - event.load_step_s)} after the load rose)"
        if words.is_known(event.load_step_s) and anchor_s >= event.load_step_s
        else ""
    )
    delays = "".join(f", {text} +{words.delay(time_s - anchor_s)}" for text, time_s in rest)
    return f"{change}: {first} at {words.clock(anchor_s - started_at_s)}{after}{delays}."


def _scaling_steps(event: ScalingEvent) -> tuple[tuple[str, float | None], ...]:
    threshold = words.scaling_reason(event.reason)
    if event.to_count > event.from_count:
        ready = f"{words.ordinal(event.to_count)} webserver ready"
        seen = f"{event.to_count} webservers in the metrics"
    else:
        ready, seen = f"down to {event.to_count}", f"{event.to_count} webservers in the metrics"
    return (
        (threshold, event.breach_s),
        ("decision", event.decision_s),
        (ready, event.ready_s),
        (seen, event.count_changed_s if event.ready_s is None else None),
        ("SLO restored", event.slo_restored_s),
    )


def reasons(analysis: RunAnalysis) -> tuple[str, ...]:
    """Why the verdict is what it is, without what its sentence or the sizing says anyway."""
    evidence = (analysis.capacity.explanation,) if analysis.capacity else ()
    sentence = analysis.verdict.sentence.lower()
    explained = analysis.sizing.explanation if analysis.sizing else ""
    return tuple(
        reason
        for reason in dict.fromkeys((*analysis.verdict.reasons, *evidence))
        if reason != explained and reason.rstrip(".").lower() not in sentence
    )


def notes(analysis: RunAnalysis) -> tuple[str, ...]:
    """Everything a careful reader must know: warnings, refusals with their reasons, remarks."""
    every = (
        *analysis.warnings,
        *_stage_notes(analysis.stages),
        *_refusals(analysis.stages),
        *_demand_notes(analysis),
        *analysis.notes,
    )
    return tuple(dict.fromkeys(every))


def _stage_notes(stages: Iterable[StageStats]) -> Iterator[str]:
    for stage in stages:
        name = f"Stage {stage_name(stage)}"
        if stage.unsent and stage.generator_ok:
            yield f"{name}: {stage.unsent} of {stage.arrivals} arrivals were not sent."
        if stage.censored:
            yield f"{name}: {_cut_calls(stage)}."


def _cut_calls(stage: StageStats) -> str:
    bounds = [
        name
        for name, estimate in stage.latency_s.items()
        if any(LOWER_BOUND in warning for warning in estimate.warnings)
    ]
    cut = f"{stage.censored} calls were cut at a time limit, so "
    if not bounds:
        return f"{cut}the longest latencies may be longer still"
    verb = "is a lower bound" if len(bounds) == 1 else "are lower bounds"
    return f"{cut}{words.enumerated(bounds)} {verb}"


def _refusals(stages: Iterable[StageStats]) -> Iterator[str]:
    """Warnings of the stages' estimates; those that differ only in counts are told once.

    Of latencies only the refused ones: a value without an interval shows that by itself, and lower
    bounds are told with the calls that were cut.
    """
    alike: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for stage in stages:
        for what, estimate in _stage_estimates(stage):
            for warning in estimate.warnings:
                key = (what, re.sub(r"\b\d+", "#", warning))
                alike.setdefault(key, []).append((stage.index + 1, warning))
    for (what, _), found in alike.items():
        numbers = {number for number, _ in found}
        where = f"Stage{'s' if len(numbers) > 1 else ''} {words.listed(numbers)}"
        number, warning = found[0]
        if len({warning for _, warning in found}) > 1:
            warning = f"{warning.rstrip('.')} (in stage {number})."
        yield f"{where}, {what}: {warning}"


def _demand_notes(analysis: RunAnalysis) -> Iterator[str]:
    told = {analysis.demand.refusal} if analysis.demand else set()
    sources: list[tuple[str, tuple[str, ...]]] = []
    if analysis.demand:
        sources.append(("Service demand", analysis.demand.mix_s.warnings))
        for operation, estimate in analysis.demand.per_operation_s.items():
            sources.append((f"Service demand of {operation}", estimate.warnings))
    if analysis.sizing:
        sources.append(("Sizing", analysis.sizing.warnings))
    for what, warnings in sources:
        yield from (f"{what}: {warning}" for warning in warnings if warning not in told)
        told.update(warnings)


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
