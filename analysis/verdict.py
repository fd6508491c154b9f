"""The answer to the scenario's question, its exit code and the sentence that ends the summary.

check     0 SLO and expectations hold, 3 they do not, 5 cannot be told
capacity  0 answered: a stage met the SLO, a higher one broke it for a reason that is the
environment's, and the target has a webserver count; else 5
both      130 when the run was interrupted; 5 when arrivals and rows are not the same in number, for
nothing is known of those that have no row
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mwaa_headroom.analysis.capacity.highest_stage import STOPPED_BY
from mwaa_headroom.analysis.results import (
    CapacityResult,
    Expectation,
    SizingResult,
    SizingRow,
    SloResult,
    StageStats,
    Verdict,
)
from mwaa_headroom.analysis.sizing.one_run import sized_webservers
from mwaa_headroom.analysis.stages import stage_label

BROKE_DOWN = ("running", "failed")  # failures of such a run are not the environment's
EXIT_OK, EXIT_SLO_NOT_MET, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED = 0, 3, 5, 130


def interrupted(verdict: Verdict) -> Verdict:
    """The same findings of a run that was cut short by the user."""
    return replace(
        verdict,
        answered=False,
        passed=None,
        exit_code=EXIT_INTERRUPTED,
        sentence=f"Interrupted; up to then: {_lowered(verdict.sentence)}",
    )


def judge_check(
    slo: Sequence[SloResult],
    stages: Sequence[StageStats],
    expectations: Sequence[Expectation],
    *,
    status: str,
    miscounted: str = "",
) -> Verdict:
    """Whether the SLO held over the run and in every stage, and the deployment is as expected.

    A stage in which the load generator was the limit says nothing, and neither does the run as a
    whole then; what the other stages broke still counts. Failures of a run that broke down itself
    (status running or failed) are not the environment's, and nothing is judged when the rows do not
    stand for the arrivals (`miscounted` says how).
    """
    broken = [f"{e.name}: {e.detail}" for e in expectations if not e.met]
    doubts = [
        f"In {stage_label(stage)} the load generator was the limit: {stage.generator_reason}"
        for stage in stages
        if not stage.generator_ok
    ]
    if miscounted:
        doubts.insert(0, miscounted)
    elif status not in BROKE_DOWN:
        judged = () if doubts else slo
        broken += [_broken_line(line) for line in judged if line.met is False]
        broken += [
            f"{_broken_line(line)} in {stage_label(stage)}"
            for stage in stages
            for line in stage.slo
            if stage.generator_ok and line.met is False and not _is_broken(line.slo, judged)
        ]
        doubts += [
            f"{line.slo} cannot be judged: {line.reason}" for line in judged if line.met is None
        ]
    if status != "finished":
        doubts.append("The run did not come to its end.")
    if not slo and not expectations:
        doubts.append("There is neither an SLO nor an expectation to judge.")
    if broken:
        sentence = f"Not met: {broken[0].rstrip('.')}{_and_more(broken)}."
        return Verdict("check", True, False, EXIT_SLO_NOT_MET, sentence, (*broken, *doubts))
    if doubts:
        sentence = f"Inconclusive: {_lowered(doubts[0]).rstrip('.')}{_and_more(doubts)}."
        return Verdict("check", False, None, EXIT_INCONCLUSIVE, sentence, tuple(doubts))
    return Verdict("check", True, True, EXIT_OK, _held(slo, expectations))


def judge_capacity(
    capacity: CapacityResult,
    sizing: SizingResult,
    environment: Mapping[str, object],
    *,
    status: str,
) -> Verdict:
    """Whether capacity and webserver count are both known, and what they are.

    `environment` is that of `RunAnalysis`: it names the webservers' size in the sentence.
    """
    reasons = ["The run broke down before its end."] if status in BROKE_DOWN else []
    stopped = capacity.stopped_by_stage is not None and capacity.bottleneck != "generator"
    if capacity.highest_stage is None and stopped:
        reasons.append("No stage met the SLO; begin with a lower rate.")
    if capacity.stopped_by_stage is None or capacity.bottleneck == "generator":
        advice = " Add a stage with a higher rate." if capacity.bottleneck == "not_reached" else ""
        reasons.append(f"{capacity.explanation}{advice}")
    row = sizing.target
    if row is None or row.webservers is None:
        reasons.append(sizing.explanation)
    if reasons or row is None or row.webservers is None:
        sentence = f"Not answered: {_lowered(reasons[0]).rstrip('.')}{_and_more(reasons)}."
        return Verdict("capacity", False, None, EXIT_INCONCLUSIVE, sentence, tuple(reasons))
    needed = sized_webservers(row.webservers, environment, sizing.webserver_cpu)
    sentence = f"{_need(row, needed)}; {_measured(capacity)}."
    return Verdict(
        "capacity", True, None, EXIT_OK, sentence, (capacity.explanation, sizing.explanation)
    )


def _need(row: SizingRow, needed: str) -> str:
    interval = ""
    if row.webservers_low is not None:
        most = row.webservers_high if row.webservers_high is not None else "more than can be had"
        ends = f"{most}" if row.webservers_low == most else f"{row.webservers_low}-{most}"
        interval = f" (95 % interval {ends})"
    beyond = "" if row.within_limits else ", more than the service allows"
    return f"{row.rate_per_s:g} calls/s of this mix need {needed}{interval}{beyond}"


def _measured(capacity: CapacityResult) -> str:
    with_webservers = f" with {capacity.webservers}" if capacity.webservers else ""
    stopped = STOPPED_BY.get(capacity.bottleneck, "an unknown cause")
    return (
        f"measured: {capacity.highest_rate_per_s:.3g} calls/s met the SLO{with_webservers}, "
        f"more was stopped by {stopped}"
    )


def _held(slo: Sequence[SloResult], expectations: Sequence[Expectation]) -> str:
    parts = []
    if slo:
        parts.append("; ".join(f"{line.slo} ({line.observed_text})" for line in slo))
    if expectations:
        noun = "expectation" if len(expectations) == 1 else "expectations"
        parts.append(f"{len(expectations)} of {len(expectations)} {noun}")
    return f"Met: {', and '.join(parts)}."


def _broken_line(line: SloResult) -> str:
    if line.observed is None:
        return f"{line.slo}: {line.reason.rstrip('.')}"
    return f"{line.slo}: {line.observed_text}"


def _is_broken(text: str, slo: Sequence[SloResult]) -> bool:
    return any(line.slo == text and line.met is False for line in slo)


def _and_more(reasons: Sequence[str]) -> str:
    return f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
