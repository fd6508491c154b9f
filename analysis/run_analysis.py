"""From a record to everything that is known about the run."""

from collections.abc import Sequence
from typing import Any

from analysis.calls import Calls, calls_of, good_calls
from analysis.capacity import find_capacity, inversions
from analysis.demand import estimate_demand, steady_periods
from analysis.judge import judge
from analysis.records.reader import RunRecord
from analysis.results import CapacityResult, Expectation, RunAnalysis, StageStats, Verdict
from analysis.scaling import scaling_events
from analysis.setting import Setting, read_setting
from analysis.sizing import contradictions, size
from analysis.stages import measured_window, stage_stats, stage_times, whole_window
from analysis.verdict import interrupted, judge_capacity, judge_check
from analysis.windows import period_points, webserver_periods

CLOCK_TOLERANCE_S = 2.0


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
    stages = tuple(
        stage_stats(one, measured_window(one, calls, good, periods), setting.slos) for one in times
    )
    measured = whole_window(times, calls, good, periods)
    inside = {period.start_s for period in measured.periods}
    steady = [period for period in steady_periods(periods) if period.start_s in inside]
    demand = estimate_demand(calls, steady, setting.webserver_cpu)
    asks_capacity = setting.question == "capacity"
    capacity = find_capacity(setting, stages) if asks_capacity else None
    sizing = size(setting, demand)
    expectations = _expectations(record.events)
    status = str(record.manifest.get("status", "running"))
    whole_run = tuple(judge(slo, measured) for slo in setting.slos)
    verdict = (
        judge_capacity(capacity, sizing)
        if capacity
        else judge_check(whole_run, stages, expectations, finished=status == "finished")
    )
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
        warnings=(
            *record.warnings,
            *_warnings(record, setting, stages, has_metrics=bool(periods)),
            *(inversions(stages, capacity) if capacity else ()),
            *contradictions(setting, demand, capacity, stages),
        ),
        notes=_notes(setting, record.events),
        events=record.events,
    )
