"""From a record to everything that is known about the run."""

from collections.abc import Sequence
from typing import Any

from analysis.calls import Calls, calls_of, good_calls
from analysis.capacity import find_capacity, inversions
from analysis.demand import estimate_demand, steady_periods
from analysis.generator_health import (
    LostArrivals,
    generator_health,
    lost_arrivals,
    lost_with_users,
    rows_miscounted,
    worker_warnings,
)
from analysis.generator_load import LoadReport, load_reports, use_within
from analysis.judge import judge
from analysis.labels import Mask
from analysis.records.reader import RunRecord
from analysis.recovery import recoveries
from analysis.results import (
    CapacityResult,
    Expectation,
    RunAnalysis,
    SloResult,
    StageStats,
)
from analysis.retries import retries_of, retry_warnings
from analysis.scaling import scaling_events
from analysis.setting import Setting, read_setting
from analysis.sizing import contradictions, size
from analysis.stages import (
    StageTimes,
    measured_window,
    stage_stats,
    stage_times,
    whole_window,
)
from analysis.verdict import interrupted, judge_capacity, judge_check
from analysis.windows import WebserverPeriod, period_points, webserver_periods

CLOCK_TOLERANCE_S = 2.0
CLOSED_HIDES_WAITING = (
    "The workload is closed: a user waits for its answer before it calls again, so slow answers "
    "thin out the calls, and latencies hide the waiting that callers who do not wait for each "
    "other would feel."
)
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
UNLIMITED_ERRORS = 0.01  # share of failed calls that deserves a line of the SLO


def analyse_run(record: RunRecord) -> RunAnalysis:
    """Analyse a record; what it lacks becomes a warning, never an exception.

    Raises:
        RecordFormatError: the manifest has no usable scenario.
    """
    setting = read_setting(record.manifest)
    calls = calls_of(record.requests)
    good = good_calls(calls, setting.slos)
    periods = webserver_periods(record.metrics)
    times = stage_times(setting, record.events, calls)
    reports = load_reports(record.events)
    lost = lost_arrivals(record.requests)
    stages = _stages(setting, record, times, calls, good, periods, reports, lost)
    measured = whole_window(times, calls, good, periods)
    inside = {period.start_s for period in measured.periods}
    steady = [period for period in steady_periods(periods) if period.start_s in inside]
    demand = estimate_demand(calls, steady, setting.webserver_cpu, setting.utilisation_target)
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
    sizing = size(setting, demand)
    expectations = _expectations(record.events)
    whole_run = tuple(judge(slo, measured) for slo in setting.slos)
    verdict = (
        judge_capacity(capacity, sizing, setting.environment, status=status)
        if capacity
        else judge_check(whole_run, stages, expectations, status=status, miscounted=miscounted)
    )
    retries = retries_of(setting, record.requests)
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
        periods=period_points(periods, calls, good),
        scaling=scaling_events(setting, times, record.events, periods, calls),
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
        warnings=(
            *record.warnings,
            *_warnings(record, setting, stages, has_metrics=bool(periods)),
            *worker_warnings(record.events),
            *retry_warnings(retries),
            *(inversions(stages, capacity) if capacity else ()),
            *contradictions(setting, demand, capacity, stages),
        ),
        notes=_notes(setting, record.events),
        events=record.events,
    )


def _stages(
    setting: Setting,
    record: RunRecord,
    times: Sequence[StageTimes],
    calls: Calls,
    good: Mask,
    periods: Sequence[WebserverPeriod],
    reports: Sequence[LoadReport],
    lost: LostArrivals,
) -> tuple[StageStats, ...]:
    return tuple(
        stage_stats(
            one,
            measured_window(one, calls, good, periods),
            setting.slos,
            use=use_within(reports, one.measured_from_s, one.ended_at_s),
            lost=lost.of(one.plan.index, one.measured_from_s),
            lost_with_users=lost_with_users(one, record.events),
        )
        for one in times
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


def _warnings(
    record: RunRecord, setting: Setting, stages: Sequence[StageStats], *, has_metrics: bool
) -> list[str]:
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


def _notes(setting: Setting, events: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    found = [str(event.get("message", "")) for event in events if event["kind"] == "note"]
    facts = setting.environment.get("facts", {})
    if facts.get("cpu_limited") is False:
        reason = _sentence(facts.get("cpu_limit_reason"))
        found.append(f"The webservers shared the host, their CPU was not limited: {reason}")
    return tuple(dict.fromkeys(text for text in found if text))


def _sentence(text: object) -> str:
    return f"{str(text or 'no reason was recorded').rstrip('.')}."
