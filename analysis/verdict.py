"""The answer to the scenario's question and its exit code.

check     0 SLO and expectations hold, 3 they do not, 5 cannot be told
capacity  0 answered: a stage met the SLO, a higher one broke it for a reason that is the
environment's, and the target has a webserver count that can be had; else 5
both      130 when the run was interrupted; 5 when arrivals and rows are not the same in number, for
nothing is known of those that have no row

A reason that is a refusal keeps the question from being answered; any other one is the evidence.
"""

from collections.abc import Sequence
from dataclasses import replace

from mwaa_headroom.analysis.findings import Finding, note, refusal
from mwaa_headroom.analysis.record import BROKE_DOWN
from mwaa_headroom.analysis.results import (
    CapacityResult,
    Expectation,
    SizingResult,
    SloResult,
    StageStats,
    Verdict,
)

EXIT_OK, EXIT_SLO_NOT_MET, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED = 0, 3, 5, 130


def interrupted(verdict: Verdict) -> Verdict:
    """The same findings of a run that was cut short by the user."""
    return replace(verdict, answered=False, passed=None, exit_code=EXIT_INTERRUPTED)


def judge_check(
    slo: Sequence[SloResult],
    stages: Sequence[StageStats],
    expectations: Sequence[Expectation],
    *,
    status: str,
    miscounted: Finding | None = None,
) -> Verdict:
    """Whether the SLO held over the run and in every stage, and the deployment is as expected.

    A stage in which the load generator was the limit, calls failed before the environment, or the
    host of a local environment had other things to do, says nothing, and neither does the run as a
    whole then; what the other stages broke still counts. Failures of a run that broke down itself
    (status running or failed) are not the environment's, and nothing is judged when the rows do not
    stand for the arrivals (`miscounted` says how).
    """
    broken = [
        note("verdict.expectation_missed", name=each.name, detail=each.detail)
        for each in expectations
        if not each.met
    ]
    doubts = [
        refusal("verdict.generator_limit", stage=stage.label, reason=stage.generator_reason)
        for stage in stages
        if not stage.generator_ok
    ] + [
        refusal("verdict.stage_spoilt", stage=stage.label, reason=stage.spoilt_by)
        for stage in stages
        if stage.spoilt_by
    ]
    if miscounted:
        doubts.insert(0, miscounted)
    elif status not in BROKE_DOWN:
        judged = () if doubts else slo
        broken_in_all = [line for line in judged if line.met is False]
        broken += [note("verdict.slo_broken", result=line, stage=None) for line in broken_in_all]
        broken += [
            note("verdict.slo_broken", result=line, stage=stage.label)
            for stage in stages
            for line in stage.slo
            if stage.speaks
            and line.met is False
            and not any(line.slo == other.slo for other in broken_in_all)
        ]
        doubts += [
            refusal("verdict.not_judged", slo=line.slo, reason=line.reason)
            for line in judged
            if line.met is None
        ]
    if status != "finished":
        doubts.append(refusal("verdict.not_to_its_end"))
    if not slo and not expectations:
        doubts.append(refusal("verdict.nothing_to_judge"))
    if broken:
        return Verdict("check", True, False, EXIT_SLO_NOT_MET, (*broken, *doubts))
    if doubts:
        return Verdict("check", False, None, EXIT_INCONCLUSIVE, tuple(doubts))
    return Verdict("check", True, True, EXIT_OK)


def judge_capacity(capacity: CapacityResult, sizing: SizingResult, *, status: str) -> Verdict:
    """Whether capacity and webserver count are both known."""
    reasons = [refusal("verdict.broke_down")] if status in BROKE_DOWN else []
    if capacity.stopped_by_stage is None or capacity.bottleneck == "generator":
        reasons.append(capacity.explanation)
    elif capacity.highest_stage is None:
        reasons.append(refusal("verdict.no_stage_met"))
    if sizing.impossible:
        reasons.insert(0, sizing.impossible)
    elif sizing.target is None or sizing.target.webservers is None:
        reasons.append(sizing.explanation)
    if reasons:
        return Verdict("capacity", False, None, EXIT_INCONCLUSIVE, tuple(reasons))
    return Verdict("capacity", True, None, EXIT_OK, (capacity.explanation, sizing.explanation))
