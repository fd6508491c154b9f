"""From a record to everything that is known about the run."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mwaa_headroom.analysis.calls import Calls, calls_of, good_calls
from mwaa_headroom.analysis.capacity.crossing import capacity_estimate
from mwaa_headroom.analysis.capacity.highest_stage import find_capacity, inversions
from mwaa_headroom.analysis.demand import estimate_demand, steady_periods
from mwaa_headroom.analysis.generator.health import (
    generator_health,
    lost_arrivals,
    lost_with_users,
    retries_of,
    retry_warnings,
    rows_miscounted,
    worker_warnings,
)
from mwaa_headroom.analysis.generator.limits import load_reports, use_within
from mwaa_headroom.analysis.judge import judge
from mwaa_headroom.analysis.metrics import database_periods, period_points, webserver_periods
from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.recovery import recoveries
from mwaa_headroom.analysis.results import (
    CapacityResult,
    Expectation,
    RunAnalysis,
    SloResult,
    StageStats,
)
from mwaa_headroom.analysis.scaling.cost import by_webservers, elasticity, with_costs
from mwaa_headroom.analysis.scaling.events import scaling_events
from mwaa_headroom.analysis.setting import Setting, read_setting
from mwaa_headroom.analysis.sizing.one_run import contradictions, size
from mwaa_headroom.analysis.stages import measured_window, stage_stats, stage_times, whole_window
from mwaa_headroom.analysis.steady_state import steady_state
from mwaa_headroom.analysis.truth import truth_checks
from mwaa_headroom.analysis.verdict import interrupted, judge_capacity, judge_check

CLOCK_TOLERANCE_S = 2.0
CLOSED_HIDES_WAITING = (
    "The workload is closed: a user waits for its answer before it calls again, so slow answers "
    "thin out the calls, and latencies hide the waiting that callers who do not wait for each "
    "other would feel."
)
UNLIMITED_ERRORS = 0.01  # share of failed calls that deserves a line of the SLO


def run_warnings(
    record: RunRecord, setting: Setting, stages: Sequence[StageStats], *, has_metrics: bool
) -> list[str]:
    """Whatever makes the numbers of a run say less than they seem to."""
    found = []
    if setting.is_closed:
        found.append(CLOSED_HIDES_WAITING)
    if not record.requests.num_rows:
        found.append("The record has no calls.")
    if not has_metrics:
        found.append(
            "The record has no webserver metrics, so neither webserver CPU nor a webserver count "
            "can be told."
        )
    offset_s = record.manifest.get("clock_offset_s")
    if offset_s is not None and abs(offset_s) > CLOCK_TOLERANCE_S:
        found.append(
            f"The environment's clock differs from this host's by {offset_s:.1f} s, so metric "
            "periods and calls do not lie beside each other exactly; synchronise this host's clock."
        )
    found += [
        f"{member} of the environment changed during the run."
        for member in setting.environment.get("changed", ())
    ]
    found += _warnings_of_events(record.events)
    found += _warnings_of_slo(setting, stages)
    return found


def _warnings_of_events(events: Sequence[dict[str, Any]]) -> list[str]:
    found = []
    for event in events:
        match event["kind"]:
            case "aborted":
                found.append(f"The run was aborted: {_sentence(event.get('reason'))}")
            case "metrics_gap":
                reason = _sentence(event.get("reason"))
                found.append(f"Metrics could not be read for a while: {reason}")
            case "webserver_died":
                name, detail = event.get("webserver", "?"), event.get("detail")
                found.append(f"The webserver {name} died: {_sentence(detail)}")
    return list(dict.fromkeys(found))


def _warnings_of_slo(setting: Setting, stages: Sequence[StageStats]) -> list[str]:
    found = [
        f"The SLO '{slo.text}' names the operation '{slo.selector_value}', which is not in the mix."
        for slo in setting.slos
        if slo.selector_key == "operation" and slo.selector_value not in setting.mix
    ]
    if setting.slos and not any(slo.metric in ("errors", "goodput") for slo in setting.slos):
        worst = max((stage.error_rate.value or 0.0 for stage in stages), default=0.0)
        if worst > UNLIMITED_ERRORS:
            found.append(
                f"Up to {100 * worst:.1f} % of the calls of a stage failed and no line of the SLO "
                "limits errors; add one such as 'rate(errors) < 1%'."
            )
    return found


def run_notes(setting: Setting, events: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """What was told during the run, and where the environment is not what one may think."""
    found = [str(event.get("message", "")) for event in events if event["kind"] == "note"]
    facts = setting.environment.get("facts", {})
    if facts.get("cpu_limited") is False:
        reason = _sentence(facts.get("cpu_limit_reason"))
        found.append(f"The webservers shared the host, their CPU was not limited: {reason}")
    return tuple(dict.fromkeys(text for text in found if text))


def _sentence(text: object) -> str:
    return f"{str(text or 'no reason was recorded').rstrip('.')}."


# Of the requests; `read_run` need not read any other for `analyse_run` and `write_reports`.
ANALYSED_COLUMNS = (
    "stage",
    "operation",
    "intended_start_s",
    "lag_s",
    "service_time_s",
    "outcome",
    "airflow_status",
    "error_code",
    "attempts",
    "worker",
)


def analyse_run(record: RunRecord) -> RunAnalysis:
    """Analyse a record; what it lacks becomes a warning, never an exception.

    Raises:
        RecordFormatError: the manifest has no usable scenario.
    """
    setting = read_setting(record.manifest)
    calls = calls_of(record.requests)
    good = good_calls(calls, setting.slos)
    periods = webserver_periods(record.metrics)
    database = database_periods(record.metrics)
    times = stage_times(setting, record.events, calls)
    reports = load_reports(record.events)
    lost = lost_arrivals(record.requests)
    windows = [measured_window(one, calls, good, periods, database) for one in times]
    stages = tuple(
        stage_stats(
            one,
            window,
            setting.slos,
            use=use_within(reports, one.measured_from_s, one.ended_at_s),
            lost=lost.of(one.plan.index, one.measured_from_s),
            lost_with_users=lost_with_users(one, record.events),
            steady=steady_state(one, calls.where(calls.stage == one.plan.index)),
        )
        for one, window in zip(times, windows, strict=True)
    )
    measured = whole_window(times, calls, good, periods, database)
    inside = {period.start_s for period in measured.periods}
    steady = [period for period in steady_periods(periods) if period.start_s in inside]
    demand = estimate_demand(
        calls, steady, setting.webserver_cpu, setting.utilisation_target, setting.mix
    )
    generator = generator_health(
        record.requests,
        record.events,
        reports,
        stages,
        complete=record.complete,
        version=int(record.manifest["schema_version"]),
    )
    status = str(record.manifest.get("status", "running"))
    miscounted = rows_miscounted(generator, status)
    asks_capacity = setting.question == "capacity"
    capacity = find_capacity(setting, stages, miscounted=miscounted) if asks_capacity else None
    if capacity is not None and not miscounted:
        estimate, count = capacity_estimate(setting, stages, windows)
        capacity = replace(capacity, rate_per_s=estimate, rate_webservers=count)
    sizing = size(setting, demand)
    expectations = _expectations(record.events)
    whole_run = tuple(judge(slo, measured) for slo in setting.slos)
    verdict = (
        judge_capacity(capacity, sizing, setting.environment, status=status)
        if capacity
        else judge_check(whole_run, stages, expectations, status=status, miscounted=miscounted)
    )
    retries = retries_of(setting, record.requests)
    points = period_points(periods, calls, good, database)
    scaling = scaling_events(setting, times, record.events, periods, calls)
    started_at_s, ended_at_s = _extent(record, calls)
    return RunAnalysis(
        run_id=str(record.manifest.get("run_id", record.directory.name)),
        directory=str(record.directory),
        scenario_name=setting.scenario_name,
        question=setting.question,
        status=status,
        complete=record.complete,
        started_at_s=started_at_s,
        ended_at_s=ended_at_s,
        environment=setting.environment,
        versions={str(k): str(v) for k, v in (record.manifest.get("versions") or {}).items()},
        mix=setting.mix,
        slo=_decisive_lines(capacity, stages) if capacity else whole_run,
        stages=stages,
        periods=points,
        scaling=with_costs(scaling, times, calls, good),
        demand=demand,
        capacity=capacity,
        sizing=sizing,
        expectations=expectations,
        verdict=interrupted(verdict) if status == "interrupted" else verdict,
        workload=setting.workload,
        transport=setting.transport,
        generator=generator,
        recoveries=recoveries(setting, stages, record.events, calls, good, reports, lost),
        retries=retries,
        # One operation a stage is no load that anybody would size for.
        elasticity=None
        if any(stage.operation for stage in setting.stages)
        else elasticity(
            points,
            demand,
            min_webservers=setting.environment.get("min_webservers"),
            max_webservers=setting.environment.get("max_webservers"),
        ),
        by_webservers=by_webservers(times, periods, calls, good),
        truth=truth_checks(setting, demand, sizing),
        warnings=(
            *record.warnings,
            *run_warnings(record, setting, stages, has_metrics=bool(periods)),
            *worker_warnings(record.events),
            *retry_warnings(retries),
            *(inversions(stages, capacity) if capacity else ()),
            *contradictions(setting, demand, capacity, stages),
        ),
        notes=run_notes(setting, record.events),
        events=record.events,
    )


def _decisive_lines(
    capacity: CapacityResult, stages: Sequence[StageStats]
) -> tuple[SloResult, ...]:
    return next((stage.slo for stage in stages if stage.index == capacity.highest_stage), ())


def _expectations(events: Sequence[dict[str, Any]]) -> tuple[Expectation, ...]:
    return tuple(
        Expectation(
            name=str(event.get("name", "")),
            met=event.get("met") is True,
            detail=str(event.get("detail", "")),
        )
        for event in events
        if event["kind"] == "expectation"
    )


def _extent(record: RunRecord, calls: Calls) -> tuple[float, float]:
    """Start and end of the run; of a run that was killed, the last that is known of it."""
    known = [float(event["time_s"]) for event in record.events]
    if len(calls):
        known += [float(calls.intended_start_s.min()), float(calls.intended_start_s.max())]
    started = record.manifest.get("started_at_s")
    finished = record.manifest.get("finished_at_s")
    started_at_s = float(started) if started else min(known, default=0.0)
    ended_at_s = float(finished) if finished else max(known, default=started_at_s)
    return started_at_s, max(ended_at_s, started_at_s)
