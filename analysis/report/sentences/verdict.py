"""The verdict in one sentence, and its reasons."""

from collections.abc import Sequence
from typing import Any

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says, told
from mwaa_headroom.analysis.results import RunAnalysis, SizingRow, SloResult, StageLabel
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.verdict import EXIT_INTERRUPTED

says("verdict.not_to_its_end", "The run did not come to its end.")
says("verdict.nothing_to_judge", "There is neither an SLO nor an expectation to judge.")
says("verdict.broke_down", "The run broke down before its end.")
says("verdict.no_stage_met", "No stage met the SLO; begin with a lower rate.")
says("verdict.expectation_missed", "{name}: {detail}")


@says("verdict.generator_limit")
def _(stage: StageLabel, reason: Finding) -> str:
    return f"In {words.stage_label(*stage)} the load generator was the limit: {told(reason)}"


@says("verdict.slo_broken")
def _(result: SloResult, stage: StageLabel | None) -> str:
    saw = words.observed_words(result) if result.observed is not None else told(result.reason)
    where = f" in {words.stage_label(*stage)}" if stage else ""
    return f"{result.slo.text}: {saw.rstrip('.')}{where}"


@says("verdict.not_judged")
def _(slo: Slo, reason: Finding) -> str:
    return f"{slo.text} cannot be judged: {told(reason)}"


def verdict_sentence(analysis: RunAnalysis) -> str:
    """The answer to the scenario's question: the last line of the summary."""
    answer = _capacity(analysis) if analysis.verdict.question == "capacity" else _check(analysis)
    if analysis.verdict.exit_code == EXIT_INTERRUPTED:
        return f"Interrupted; up to then: {words.lowered(answer)}"
    return answer


def _check(analysis: RunAnalysis) -> str:
    broken, doubts = _sorted(analysis.verdict.reasons)
    if broken:
        return f"Not met: {told(broken[0]).rstrip('.')}{_and_more(broken)}."
    if doubts:
        return f"Inconclusive: {words.lowered(told(doubts[0])).rstrip('.')}{_and_more(doubts)}."
    parts = []
    if analysis.slo:
        lines = [f"{line.slo.text} ({words.observed_words(line)})" for line in analysis.slo]
        parts.append("; ".join(lines))
    if count := len(analysis.expectations):
        parts.append(f"{count} of {count} {'expectation' if count == 1 else 'expectations'}")
    return f"Met: {', and '.join(parts)}."


def _capacity(analysis: RunAnalysis) -> str:
    _, doubts = _sorted(analysis.verdict.reasons)
    capacity, sizing = analysis.capacity, analysis.sizing
    row = sizing.target if sizing else None
    if doubts or capacity is None or sizing is None or row is None or row.webservers is None:
        first = words.lowered(told(doubts[0])) if doubts else "nothing is known"
        return f"Not answered: {first.rstrip('.')}{_and_more(doubts)}."
    needed = words.sized_webservers(row.webservers, analysis.environment, sizing.webserver_cpu)
    with_webservers = f" with {capacity.webservers}" if capacity.webservers else ""
    stopped = words.STOPPED_BY.get(capacity.bottleneck, "an unknown cause")
    return (
        f"{row.rate_per_s:g} calls/s of this mix need {needed}{_interval(row)}; measured: "
        f"{words.calls_per_s(capacity.highest_rate_per_s)} met the SLO{with_webservers}, more was "
        f"stopped by {stopped}."
    )


def _interval(row: SizingRow) -> str:
    beyond = "" if row.within_limits else ", more than the service allows"
    if row.webservers_low is None:
        return beyond
    most = row.webservers_high if row.webservers_high is not None else "more than can be had"
    ends = f"{most}" if row.webservers_low == most else f"{row.webservers_low}-{most}"
    return f" (95 % interval {ends}){beyond}"


def _sorted(reasons: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """The evidence, and what keeps the question from being answered."""
    doubts = [reason for reason in reasons if reason.severity == "refusal"]
    return [reason for reason in reasons if reason.severity != "refusal"], doubts


def _and_more(reasons: Sequence[Any]) -> str:
    return f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
