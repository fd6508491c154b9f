"""The sentences of a report: the headline, the SLO lines, the capacity, and why."""

from collections.abc import Iterator
from dataclasses import dataclass

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import told, told_each
from mwaa_headroom.analysis.report.sentences.verdict import verdict_sentence
from mwaa_headroom.analysis.report.tables import stage_name, stage_verdict
from mwaa_headroom.analysis.results import (
    CapacityResult,
    RunAnalysis,
    SloResult,
    StageStats,
    TruthCheck,
)


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
        needed = words.sized_webservers(sizing.target.webservers, analysis.environment, cpu)
        return f"{needed} for {words.calls_per_s(sizing.target.rate_per_s)}"
    return _capacity_headline(capacity) if capacity else "No stage met the SLO"


def _capacity_headline(capacity: CapacityResult) -> str:
    """Where the SLO breaks, unless another count took more: then what that one was seen to take."""
    between = capacity.rate_per_s
    if between and words.is_known(between.value) and not _another_took_more(capacity):
        return f"{words.calls_per_s(between.value)}{_with(capacity.rate_webservers)}"
    if not words.is_known(capacity.highest_rate_per_s):
        return "No stage met the SLO"
    at_least = "At least " if capacity.bottleneck == "not_reached" else ""
    return f"{at_least}{_highest(capacity)}"


def _another_took_more(capacity: CapacityResult) -> bool:
    """Whether the highest stage that met the SLO had another count than the estimate is of."""
    return capacity.rate_webservers != capacity.webservers


def _highest(capacity: CapacityResult) -> str:
    return f"{words.calls_per_s(capacity.highest_rate_per_s)}{_with(capacity.webservers)}"


def _with(webservers: int | None) -> str:
    return f" with {words.webservers(webservers)}" if webservers else ""


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
        return f"not judged: {told(result.reason) or 'no reason was recorded'}"
    text = words.observed_words(result)
    return f"{text} ({told(result.reason)})" if result.reason else text


def capacity_sentence(capacity: CapacityResult | None) -> str:
    """The rate at which the SLO breaks: "24.1 calls/s (22.8-25.6) with 2 webservers; ...".

    When the highest stage that met the SLO had another count, that one is told as well. "" where
    only stages are known, which the verdict tells.
    """
    if capacity is None or capacity.rate_per_s is None:
        return ""
    if not words.is_known(capacity.rate_per_s.value):
        return ""
    rate = f"{words.rate_estimate(capacity.rate_per_s)}{_with(capacity.rate_webservers)}"
    higher = f"{_highest(capacity)} met the SLO" if _another_took_more(capacity) else ""
    stopped = words.STOPPED_BY.get(capacity.bottleneck, "")
    by = f"more was stopped by {stopped}" if stopped else ""
    also = ", ".join(part for part in (higher, by) if part)
    return f"{rate}; {also}." if also else f"{rate}."


def trial_remarks(analysis: RunAnalysis) -> tuple[str, ...]:
    """Why stages that met the SLO are undecided all the same, one sentence each."""
    return tuple(
        f"Stage {stage_name(stage)} met the SLO but is undecided: "
        f"{words.lowered(told(stage.trial_reason))}"
        for stage in analysis.stages
        if stage_verdict(stage) and stage.trial == "undecided" and stage.trial_reason
    )


def truth_sentence(checks: tuple[TruthCheck, ...]) -> str:
    """How many estimates hold the truth of simulated webservers, and which do not; "": none."""
    told = [check for check in checks if check.within is not None]
    if not told:
        return ""
    missed = [check.what for check in told if check.within is False]
    but = f"; not of the {words.enumerated(missed)}" if missed else ""
    intervals = f"{len(told)} interval{'' if len(told) == 1 else 's'}"
    return f"Truth of the simulation: inside {len(told) - len(missed)} of {intervals}{but}."


def reasons(analysis: RunAnalysis) -> tuple[str, ...]:
    """Why the verdict is what it is, without what its sentence or the sizing says anyway."""
    evidence = (analysis.capacity.explanation,) if analysis.capacity else ()
    sentence = verdict_sentence(analysis).lower()
    explained = told(analysis.sizing.explanation) if analysis.sizing else ""
    return tuple(
        reason
        for reason in told_each((*analysis.verdict.reasons, *evidence))
        if reason != explained and reason.rstrip(".").lower() not in sentence
    )
