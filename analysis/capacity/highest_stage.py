"""The highest stage that met the SLO, and what stopped the next higher one.

    capacity = max { stage rate : every line of the SLO was met, over the whole stage }

(Theodolite's capacity metric with the stages as load levels: Henning and Hasselbring, Empir. Softw.
Eng. 27 (2022) 143.) What passes, fails or is undecided: `capacity/trials.py`. The
rate between the stages at which the SLO breaks: `capacity/crossing.py`.
"""

from collections.abc import Sequence
from typing import Final

from mwaa_headroom.analysis.results import CapacityResult, StageStats
from mwaa_headroom.analysis.setting import Setting
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.stages import stage_label
from mwaa_headroom.analysis.statistics import Estimate

CLOSED_HAS_NO_CAPACITY = (
    "A closed workload cannot tell a capacity: its users wait for slow answers and so send less, "
    "just when a rate would be too high; ask with open arrivals (poisson, constant or trace)."
)
THROTTLED_SHARE = 0.01  # of the calls sent
BUSY_CPU_PERCENT = 80.0  # mean of a stage
BUSIEST_CPU_PERCENT = 90.0  # one webserver in one period
BUSY_DATABASE_PERCENT = 80.0  # mean of a stage
MOST_ERRORS = 0.5
STOPPED_BY: Final = {  # how people call a bottleneck; unknown and not_reached stopped nothing
    "throttle": "the service's throttle",
    "webserver_cpu": "webserver CPU",
    "connections": "connections",
    "database": "the metadata database",
    "airflow": "errors of Airflow",
    "generator": "the load generator",
}


def find_capacity(
    setting: Setting, stages: Sequence[StageStats], *, miscounted: str = ""
) -> CapacityResult:
    """Compare the stages in the order of their rates.

    Args:
        setting: an open workload, or there is no capacity.
        stages: all that were measured.
        miscounted: why the rows do not stand for the arrivals, so that no stage can be judged.
    """
    if setting.is_closed:
        return _refused("unknown", CLOSED_HAS_NO_CAPACITY)
    if miscounted:
        return _refused("generator", miscounted)
    by_rate = sorted(stages, key=lambda stage: (stage.rate_per_s, stage.index))
    passed = [stage for stage in by_rate if _passed(stage)]
    highest = passed[-1] if passed else None
    above = [s for s in by_rate if highest is None or s.rate_per_s > highest.rate_per_s]
    failed = next((stage for stage in above if _failed(stage)), None)
    if failed is not None:
        bottleneck, evidence = _bottleneck(setting, failed)
        explanation = _stopped(failed, evidence)
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


def inversions(stages: Sequence[StageStats], capacity: CapacityResult) -> tuple[str, ...]:
    """Warnings about stages that failed below the highest rate that passed."""
    highest = next((s for s in stages if s.index == capacity.highest_stage), None)
    if highest is None:
        return ()
    return tuple(
        f"{_capital(_named(stage))} broke the SLO although {_named(highest)} met it: "
        f"{_why_it_differed(stage, highest)}."
        for stage in stages
        if _failed(stage) and stage.rate_per_s < highest.rate_per_s
    )


def _refused(bottleneck: str, why: str) -> CapacityResult:
    return CapacityResult(None, None, None, None, bottleneck, why)


def _why_it_differed(stage: StageStats, highest: StageStats) -> str:
    before, later = stage.webservers_min, highest.webservers_min
    if before is not None and later is not None and before < later:
        return f"it began with {before} webservers, the other one had {later}"
    return "the environment did not behave the same all the time"


def broken_lines(stage: StageStats) -> str:
    """The lines of the SLO that a stage broke, with what was observed."""
    broken = "; ".join(
        f"{line.slo} was {line.observed_text}" if line.observed is not None else line.reason
        for line in stage.slo
        if line.met is False
    )
    return broken.rstrip(".")


def _passed(stage: StageStats) -> bool:
    return stage.trial == "pass"


def _failed(stage: StageStats) -> bool:
    return stage.trial == "fail"


def _stopped(stage: StageStats, evidence: str) -> str:
    return f"{_capital(_named(stage))} broke the SLO ({broken_lines(stage)}): {evidence}."


def _not_stopped(
    highest: StageStats | None, above: Sequence[StageStats]
) -> tuple[StageStats | None, str, str]:
    late = next((stage for stage in above if not stage.generator_ok), None)
    if late is not None:
        reason = f"In {_named(late)} the load generator was the limit: {late.generator_reason}"
        return late, "generator", reason
    undecided = next((stage for stage in above if not _passed(stage)), None)
    if undecided is not None:
        reasons = [line.reason for line in undecided.slo if line.met is None and line.reason]
        why = reasons[0] if reasons else undecided.trial_reason
        return None, "unknown", f"{_capital(_named(undecided))} could not be judged: {why}"
    if highest is None:
        return None, "unknown", "No stage was measured."
    return None, "not_reached", f"{_capital(_named(highest))} was the highest and met the SLO."


def _bottleneck(setting: Setting, stage: StageStats) -> tuple[str, str]:
    throttled = stage.outcomes.get("throttled", 0)
    errors = stage.sent - stage.outcomes.get("ok", 0)
    if throttled >= THROTTLED_SHARE * stage.sent and throttled > MOST_ERRORS * errors:
        return "throttle", f"the service refused {throttled} of {stage.sent} calls (throttled)"
    database_decides = _database_was_busy(stage) and not _cpu_was_busy(stage)
    refused_by_airflow = stage.outcomes.get("airflow_client_error", 0) > MOST_ERRORS * errors
    if database_decides and not refused_by_airflow:
        return "database", _database_evidence(stage)
    if _only_errors_broke(stage) and _airflow_errors(stage) > MOST_ERRORS * errors:
        return "airflow", _airflow_evidence(stage, errors)
    if _cpu_was_busy(stage):
        return "webserver_cpu", _cpu_evidence(stage)
    if _airflow_errors(stage) > MOST_ERRORS * errors:
        return "airflow", _airflow_evidence(stage, errors)
    if _connections_were_many(setting, stage):
        return "connections", (
            f"{stage.connections_max:.0f} connections at {_cpu_words(stage)}, so calls waited for "
            f"something other than CPU, such as {_waited_for(stage)}"
        )
    if stage.webserver_cpu_percent is None:
        return "unknown", "no webserver metrics were recorded to tell why"
    return "unknown", f"webservers were at {_cpu_words(stage)} and nothing else stands out"


def _only_errors_broke(stage: StageStats) -> bool:
    broken = {parse_slo(line.slo).metric for line in stage.slo if line.met is False}
    return broken <= {"errors", "goodput"}


def _airflow_errors(stage: StageStats) -> float:
    rate: Estimate | None = stage.error_rate_by_layer.get("airflow")
    return (rate.value or 0.0) * stage.sent if rate else 0.0


def _airflow_evidence(stage: StageStats, errors: int) -> str:
    return f"Airflow itself answered {_airflow_errors(stage):.0f} of {errors} failed calls"


def _database_was_busy(stage: StageStats) -> bool:
    return (stage.database_cpu_percent or 0.0) >= BUSY_DATABASE_PERCENT


def _database_evidence(stage: StageStats) -> str:
    return (
        f"the metadata database was at {stage.database_cpu_percent:.0f} % CPU while the webservers "
        f"were at {_cpu_words(stage)}, so more webservers would not help"
    )


def _waited_for(stage: StageStats) -> str:
    if stage.database_cpu_percent is None:
        return "the database or a connection pool"
    return f"a connection pool (the database was at {stage.database_cpu_percent:.0f} % CPU)"


def _cpu_was_busy(stage: StageStats) -> bool:
    mean, busiest = stage.webserver_cpu_percent, stage.webserver_cpu_max_percent
    broken = [line.slo for line in stage.slo if line.met is False]
    return (
        (mean is not None and mean >= BUSY_CPU_PERCENT)
        or (busiest is not None and busiest >= BUSIEST_CPU_PERCENT)
        or any(parse_slo(text).metric == "webserver.cpu" for text in broken)
    )


def _cpu_evidence(stage: StageStats) -> str:
    counts = sorted({count for count in (stage.webservers_min, stage.webservers_max) if count})
    noun = "webserver" if counts == [1] else "webservers"
    of = f" of {' to '.join(map(str, counts))} {noun}" if counts else ""
    database = ""
    if _database_was_busy(stage):
        database = f"; so was the metadata database, at {stage.database_cpu_percent:.0f} % CPU"
    return f"the CPU{of} was busy: {_cpu_words(stage)}{database}"


def _cpu_words(stage: StageStats) -> str:
    mean, busiest = stage.webserver_cpu_percent, stage.webserver_cpu_max_percent
    if mean is None:
        return "an unknown CPU"
    at_most = f" (at most {busiest:.0f} %)" if busiest is not None else ""
    return f"{mean:.0f} % CPU{at_most}"


def _connections_were_many(setting: Setting, stage: StageStats) -> bool:
    if stage.connections_max is None:
        return False
    sharing = (stage.webservers_max or 1) if setting.connections_are_per_webserver else 1
    return stage.connections_max / sharing > setting.connections_above


def _named(stage: StageStats) -> str:
    return f"{stage_label(stage)} ({stage.rate_per_s:.4g} calls/s)"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
