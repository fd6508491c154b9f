"""The highest stage that met the SLO, and what stopped the next higher one.

    capacity = max { stage rate : every line of the SLO was met, over the whole stage }

A rate that met the SLO once and broke it at another time, with as many webservers, has not met it.

(Theodolite's capacity metric with the stages as load levels: Henning and Hasselbring, Empir. Softw.
Eng. 27 (2022) 143.) What passes, fails or is undecided: `stages`. The rate between the stages at
which the SLO breaks: `capacity/crossing.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.results import CapacityResult, RecoveryResult, StageStats
from mwaa_headroom.analysis.setting import Setting
from mwaa_headroom.analysis.statistics import Estimate

THROTTLED_SHARE = 0.01  # of the calls sent
BUSY_CPU_PERCENT = 80.0  # mean of a stage
BUSIEST_CPU_PERCENT = 90.0  # one webserver in one period
BUSY_DATABASE_PERCENT = 80.0  # mean of a stage
MOST_ERRORS = 0.5


def find_capacity(
    setting: Setting, stages: Sequence[StageStats], *, miscounted: Finding | None = None
) -> CapacityResult:
    """Compare the stages in the order of their rates.

    Args:
        setting: an open workload, or there is no capacity.
        stages: all that were measured.
        miscounted: why the rows do not stand for the arrivals, so that no stage can be judged.
    """
    if setting.is_closed:
        return CapacityResult(None, None, None, None, "unknown", refusal("capacity.closed"))
    if miscounted:
        return CapacityResult(None, None, None, None, "generator", miscounted)
    by_rate = sorted(stages, key=lambda stage: (stage.rate_per_s, stage.index))
    broken = {_level(stage) for stage in stages if stage.trial == "fail"}
    passed = [s for s in by_rate if s.trial == "pass" and _level(s) not in broken]
    highest = passed[-1] if passed else None
    above = [s for s in by_rate if highest is None or s.rate_per_s > highest.rate_per_s]
    failed = next((stage for stage in above if stage.trial == "fail"), None)
    if failed is not None:
        bottleneck, evidence = _bottleneck(setting, failed)
        explanation = note(
            "capacity.stopped",
            broken=tuple(line for line in failed.slo if line.met is False),
            evidence=evidence,
            **_about(failed),
        )
    else:
        failed, bottleneck, explanation = _not_stopped(highest, above)
    return CapacityResult(
        highest_stage=highest.index if highest else None,
        highest_rate_per_s=highest.achieved_per_s if highest else None,
        webservers=highest.webservers_max if highest else None,
        stopped_by_stage=failed.index if failed else None,
        bottleneck=bottleneck,
        explanation=explanation,
    )


def warned_of_collapse(
    estimate: Estimate, stages: Sequence[StageStats], recovered: Sequence[RecoveryResult]
) -> Estimate:
    """With a warning about each overload after which not even a light load met the SLO again."""
    after = {
        each.after_stage for each in recovered if each.explanation.code == "recovery.not_recovered"
    }
    found = (warning("capacity.not_recovered", **_about(s)) for s in stages if s.index in after)
    return replace(estimate, warnings=(*estimate.warnings, *found))


def with_chances(
    capacity: CapacityResult,
    stages: Sequence[StageStats],
    holds_at: Callable[[float], float | None],
) -> CapacityResult:
    """How probable it is that the highest stage's rate meets the SLO, and the next one's.

    Args:
        capacity: of these stages.
        stages: all that were measured.
        holds_at: the probability at a rate, by the estimate between the stages.
    """
    highest = next((s for s in stages if s.index == capacity.highest_stage), None)
    if highest is None or capacity.rate_webservers != capacity.webservers:
        return capacity
    above = [s.rate_per_s for s in stages if s.rate_per_s > highest.rate_per_s]
    return replace(
        capacity,
        highest_holds=holds_at(highest.rate_per_s),
        next_rate_per_s=min(above, default=None),
        next_holds=holds_at(min(above)) if above else None,
    )


def inversions(stages: Sequence[StageStats], capacity: CapacityResult) -> tuple[Finding, ...]:
    """Warnings about stages that failed below the highest rate that passed."""
    highest = next((s for s in stages if s.index == capacity.highest_stage), None)
    if highest is None:
        return ()
    return tuple(
        warning(
            "capacity.lower_stage_broke",
            **_about(stage),
            webservers=stage.webservers_min,
            highest=highest.label,
            highest_rate_per_s=highest.rate_per_s,
            highest_webservers=highest.webservers_min,
        )
        for stage in stages
        if stage.trial == "fail" and stage.rate_per_s < highest.rate_per_s
    )


def _not_stopped(
    highest: StageStats | None, above: Sequence[StageStats]
) -> tuple[StageStats | None, str, Finding]:
    late = next((stage for stage in above if not stage.generator_ok), None)
    if late is not None:
        why = late.generator_reason
        return late, "generator", refusal("capacity.generator_limit", reason=why, **_about(late))
    undecided = next((stage for stage in above if stage.trial != "pass"), None)
    if undecided is not None:
        reasons = [line.reason for line in undecided.slo if line.met is None and line.reason]
        why = undecided.spoilt_by or (reasons[0] if reasons else undecided.trial_reason)
        found = refusal("capacity.not_judged", reason=why, **_about(undecided))
        return None, "unknown", found
    if highest is None:
        return None, "unknown", refusal("capacity.no_stage")
    return None, "not_reached", refusal("capacity.not_reached", **_about(highest))


def _level(stage: StageStats) -> tuple[float, int | None, int | None]:
    """What stages have to have in common to say the same."""
    return stage.rate_per_s, stage.webservers_min, stage.webservers_max


def _about(stage: StageStats) -> dict[str, Any]:
    return {"stage": stage.label, "rate_per_s": stage.rate_per_s}


def _bottleneck(setting: Setting, stage: StageStats) -> tuple[str, Finding]:
    """What a stage that broke the SLO was stopped by, and the evidence."""
    throttled, errors = stage.outcomes.get("throttled", 0), stage.sent - stage.outcomes.get("ok", 0)
    cpu = {
        "cpu_percent": stage.webserver_cpu_percent,
        "cpu_max_percent": stage.webserver_cpu_max_percent,
    }
    database_percent = stage.database_cpu_percent
    database_was_busy = (database_percent or 0.0) >= BUSY_DATABASE_PERCENT
    if throttled >= THROTTLED_SHARE * stage.sent and throttled > MOST_ERRORS * errors:
        return "throttle", note("bottleneck.throttle", throttled=throttled, sent=stage.sent)
    refused_by_airflow = stage.outcomes.get("airflow_client_error", 0) > MOST_ERRORS * errors
    if database_was_busy and not _cpu_was_busy(stage) and not refused_by_airflow:
        found = note("bottleneck.database", database_percent=database_percent, **cpu)
        return "database", found
    from_airflow = _airflow_errors(stage)
    airflow = note("bottleneck.airflow", from_airflow=round(from_airflow), failed=errors)
    if _only_errors_broke(stage) and from_airflow > MOST_ERRORS * errors:
        return "airflow", airflow
    if _cpu_was_busy(stage):
        counts = {count for count in (stage.webservers_min, stage.webservers_max) if count}
        return "webserver_cpu", note(
            "bottleneck.webserver_cpu",
            webservers=tuple(sorted(counts)),
            database_percent=database_percent if database_was_busy else None,
            **cpu,
        )
    if from_airflow > MOST_ERRORS * errors:
        return "airflow", airflow
    if stage.webserver_cpu_percent is None:
        return "unknown", note("bottleneck.no_metrics")
    if _connections_were_many(setting, stage):
        return "connections", note(
            "bottleneck.connections",
            connections=stage.connections_max,
            database_percent=database_percent,
            **cpu,
        )
    return "unknown", note("bottleneck.nothing_stands_out", **cpu)


def _only_errors_broke(stage: StageStats) -> bool:
    return {line.slo.metric for line in stage.slo if line.met is False} <= {"errors", "goodput"}


def _airflow_errors(stage: StageStats) -> float:
    rate = stage.error_rate_by_layer.get("airflow")
    return (rate.value or 0.0) * stage.sent if rate else 0.0


def _cpu_was_busy(stage: StageStats) -> bool:
    mean, busiest = stage.webserver_cpu_percent, stage.webserver_cpu_max_percent
    return (
        (mean is not None and mean >= BUSY_CPU_PERCENT)
        or (busiest is not None and busiest >= BUSIEST_CPU_PERCENT)
        or any(line.slo.metric == "webserver.cpu" for line in stage.slo if line.met is False)
    )


def _connections_were_many(setting: Setting, stage: StageStats) -> bool:
    if stage.connections_max is None:
        return False
    sharing = (stage.webservers_max or 1) if setting.connections_are_per_webserver else 1
    return stage.connections_max / sharing > setting.connections_above
