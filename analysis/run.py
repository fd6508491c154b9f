"""The spine: everything that is known about one run, computed when it is first asked for.

    record -> setting, calls, metric periods -> stages and their windows -> demand, capacity, sizing
           -> verdict -> `RunAnalysis`, the plain values that reports and answers over runs take

Whatever needs a part of a run takes it from here, so that nothing is computed twice.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from mwaa_headroom.analysis.answer_sizes import answer_sizes, size_warnings
from mwaa_headroom.analysis.caller_failures import Expiry, expiry_of
from mwaa_headroom.analysis.calls import Calls, Mask, calls_of, good_calls
from mwaa_headroom.analysis.capacity.crossing import capacity_estimate
from mwaa_headroom.analysis.capacity.evidence import StageEvidence, stage_evidence
from mwaa_headroom.analysis.capacity.highest_stage import (
    find_capacity,
    inversions,
    warned_of_collapse,
    with_chances,
)
from mwaa_headroom.analysis.capacity.over_time import trials_of
from mwaa_headroom.analysis.demand import estimate_demand, refused_demand, steady_periods
from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.generator.health import (
    LostArrivals,
    generator_health,
    lost_arrivals,
    lost_with_users,
    retries_of,
    retry_warnings,
    rows_miscounted,
    worker_warnings,
)
from mwaa_headroom.analysis.generator.limits import LoadReport, load_reports, use_within
from mwaa_headroom.analysis.host import HostReport, beside_stages, disturbance, host_reports, slowed
from mwaa_headroom.analysis.identity import identity_of
from mwaa_headroom.analysis.memory import memory_warnings
from mwaa_headroom.analysis.metric_periods import (
    DatabasePeriod,
    WebserverPeriod,
    database_periods,
    period_points,
    webserver_periods,
)
from mwaa_headroom.analysis.metric_plausibility import PlausiblePeriods, plausible_periods
from mwaa_headroom.analysis.record import RunRecord, read_run
from mwaa_headroom.analysis.recovery import recoveries
from mwaa_headroom.analysis.results import (
    AnswerSize,
    CapacityResult,
    DemandResult,
    Elasticity,
    Expectation,
    GeneratorHealth,
    Identity,
    PeriodPoint,
    RecoveryResult,
    RunAnalysis,
    SizingResult,
    SloResult,
    StageStats,
    Verdict,
)
from mwaa_headroom.analysis.run_findings import METRICS_COLLECTED, run_notes, run_warnings
from mwaa_headroom.analysis.scaling.cost import by_webservers, elasticity, with_costs
from mwaa_headroom.analysis.scaling.events import scaling_events
from mwaa_headroom.analysis.setting import Setting, read_setting
from mwaa_headroom.analysis.sizing.one_run import contradictions, size
from mwaa_headroom.analysis.sizing.rate_limit import RateLimit, limit_of_rate
from mwaa_headroom.analysis.slo_judgement import Window, judge
from mwaa_headroom.analysis.stages import (
    StageTimes,
    measured_window,
    stage_stats,
    stage_times,
    whole_window,
)
from mwaa_headroom.analysis.statistics import Estimate
from mwaa_headroom.analysis.steady_state import steady_state
from mwaa_headroom.analysis.throttle import admitted_per_s
from mwaa_headroom.analysis.truth import truth_checks
from mwaa_headroom.analysis.verdict import interrupted, judge_capacity, judge_check

# Of the requests: what a `Run` and its report need.
ANALYSED_COLUMNS = (
    "stage",
    "operation",
    "intended_start_s",
    "lag_s",
    "service_time_s",
    "outcome",
    "airflow_status",
    "error_code",
    "response_bytes",
    "attempts",
    "worker",
)

# By commands of their own, perhaps days after a run was killed.
_WRITTEN_LATER = ("cleaned_up", METRICS_COLLECTED)


@dataclass(frozen=True)
class Run:
    """One run, from its record. Times are epoch seconds.

    Every property may raise RecordFormatError when the manifest has no usable scenario; whatever
    else a record lacks becomes a finding, never an exception.
    """

    record: RunRecord

    @classmethod
    def read(cls, directory: str | Path, columns: Collection[str] = ANALYSED_COLUMNS) -> "Run":
        """The run in a directory, with these columns of its requests.

        Raises:
            RecordFormatError: there is none, or none that this version can read.
        """
        return cls(read_run(Path(directory), columns))

    @cached_property
    def run_id(self) -> str:
        """Its name."""
        return str(self.record.manifest.get("run_id", self.record.directory.name))

    @property
    def requests(self) -> pa.Table:
        """One row per arrival, columns as in `schema.REQUESTS_SCHEMA`."""
        return self.record.requests

    @property
    def metrics(self) -> pa.Table:
        """Every metric sample, columns as in `schema.METRICS_SCHEMA`."""
        return self.record.metrics

    @cached_property
    def setting(self) -> Setting:
        """What was asked, and of what."""
        return read_setting(self.record.manifest)

    @cached_property
    def identity(self) -> Identity:
        """What the run was a run of."""
        return identity_of(self.record)

    @cached_property
    def status(self) -> str:
        """How it ended: finished, interrupted, aborted, failed; running: it was killed."""
        return str(self.record.manifest.get("status", "running"))

    @cached_property
    def calls(self) -> Calls:
        """The requests as columns of numbers."""
        return calls_of(self.record.requests)

    @cached_property
    def good(self) -> Mask:
        """Which calls ended ok and within the SLO's latency limits."""
        return good_calls(self.calls, self.setting.slos)

    @cached_property
    def periods(self) -> Sequence[WebserverPeriod]:
        """Metric periods of all webservers."""
        return self.metrics_as_documented.periods

    @cached_property
    def metrics_as_documented(self) -> PlausiblePeriods:
        """The same, with what cannot be left out and said."""
        return plausible_periods(webserver_periods(self.record.metrics), *self.setting.count_limits)

    @cached_property
    def database_periods(self) -> Sequence[DatabasePeriod]:
        """Metric periods of the metadata database."""
        return database_periods(self.record.metrics)

    @cached_property
    def points(self) -> tuple[PeriodPoint, ...]:
        """Metric periods beside the calls of the same seconds."""
        return period_points(self.periods, self.calls, self.good, self.database_periods)

    @cached_property
    def load_reports(self) -> Sequence[LoadReport]:
        """What the load processes told of themselves."""
        return load_reports(self.record.events)

    @cached_property
    def lost(self) -> LostArrivals:
        """Arrivals that lost workers owed."""
        return lost_arrivals(self.record.requests)

    @cached_property
    def stage_times(self) -> Sequence[StageTimes]:
        """When each stage was measured."""
        return stage_times(self.setting, self.record.events, self.calls)

    @cached_property
    def seen(self) -> Window:
        """All calls and metric periods."""
        return Window(self.calls, self.good, self.periods, database=self.database_periods)

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """What each stage is judged by."""
        return tuple(measured_window(times, self.seen) for times in self.stage_times)

    @cached_property
    def window(self) -> Window:
        """What the whole run is judged by: its stages without their warm-ups."""
        return whole_window(self.stage_times, self.seen)

    @cached_property
    def stages(self) -> tuple[StageStats, ...]:
        """What each stage saw, and its trial."""
        return tuple(map(self._stage, self.stage_times, self.windows))

    def _stage(self, times: StageTimes, window: Window) -> StageStats:
        index, calls = times.plan.index, self.calls
        return stage_stats(
            times,
            window,
            self.setting.slos,
            use=use_within(self.load_reports, times.measured_from_s, times.ended_at_s),
            lost=self.lost.of(index, times.measured_from_s),
            lost_with_users=lost_with_users(
                times.plan.users, times.started_at_s, self.record.events
            ),
            steady=steady_state(times, calls.where(calls.stage == index)),
            transport=self.setting.transport,
            expiry=self.expiry,
            pinned_webservers=self.setting.pinned_webservers,
            host=self._disturbance(times) if self._is_local else None,
        )

    @property
    def _is_local(self) -> bool:
        """Whether the webservers use the CPUs of the host that sends the load."""
        return self.setting.environment.get("kind") == "local"

    def _disturbance(self, times: StageTimes) -> Finding | None:
        return disturbance(self.host, times.measured_from_s, times.ended_at_s)

    @cached_property
    def host(self) -> tuple[HostReport, ...]:
        """What the host of the run had to do besides."""
        return host_reports(self.record.events)

    @cached_property
    def times_that_speak(self) -> tuple[StageTimes, ...]:
        """When the stages were that nothing spoilt."""
        return tuple(
            times
            for times, stage in zip(self.stage_times, self.stages, strict=True)
            if stage.spoilt_by is None
        )

    @cached_property
    def expiry(self) -> Expiry | None:
        """When its credentials expired; None: not that it is known."""
        return expiry_of(self.record.requests, self.record.events)

    @cached_property
    def generator(self) -> GeneratorHealth:
        """Whether the load generator can have bent the numbers."""
        return generator_health(
            self.record.requests,
            self.record.events,
            self.load_reports,
            self.stages,
            complete=self.record.complete,
            version=int(self.record.manifest["schema_version"]),
        )

    @cached_property
    def demand(self) -> DemandResult | None:
        """CPU-seconds a call costs the webservers."""
        setting = self.setting
        if implausible := self.metrics_as_documented.objection:
            return refused_demand(implausible, 0)
        spoilt = [stage.host_disturbed for stage in self.stages if stage.host_disturbed]
        if spoilt and not self.times_that_speak:
            return refused_demand(spoilt[0], 0)
        inside = {p.start_s for p in whole_window(self.times_that_speak, self.seen).periods}
        steady = [period for period in steady_periods(self.periods) if period.start_s in inside]
        return estimate_demand(
            self.calls, steady, setting.webserver_cpu, setting.utilisation_target, setting.mix
        )

    @cached_property
    def capacity(self) -> CapacityResult | None:
        """How much the environment takes; None: the run does not ask for it."""
        if self.setting.question != "capacity":
            return None
        miscounted = rows_miscounted(self.generator, self.status)
        trials = trials_of(self.evidence)
        stages = [
            stage for stage, told in zip(self.stages, self.evidence, strict=True) if told in trials
        ]
        found = find_capacity(self.setting, stages, miscounted=miscounted)
        if miscounted:
            return found
        between = capacity_estimate(self.setting, self.evidence)
        return with_chances(
            replace(
                found,
                rate_per_s=warned_of_collapse(between.estimate, self.stages, self.recoveries),
                rate_webservers=between.webservers,
            ),
            stages,
            between.holds_at,
        )

    @cached_property
    def evidence(self) -> tuple[StageEvidence, ...]:
        """What each stage says as a trial of its webserver count."""
        return tuple(
            stage_evidence(self.setting, stage, window)
            for stage, window in zip(self.stages, self.windows, strict=True)
        )

    @cached_property
    def recoveries(self) -> tuple[RecoveryResult, ...]:
        """How long after each overload the SLO held again."""
        return recoveries(
            self.setting,
            self.stages,
            self.record.events,
            self.seen,
            self.load_reports,
            self.lost,
            self.host if self._is_local else (),
        )

    @cached_property
    def sizing(self) -> SizingResult:
        """Webservers needed, by the utilisation law."""
        return size(self.setting, self.demand, self._limit_of_rate())

    @cached_property
    def answers(self) -> tuple[AnswerSize, ...]:
        """How large the answers of each operation were."""
        return answer_sizes(self.record.requests)

    @cached_property
    def admitted_per_s(self) -> Estimate | None:
        """Calls a second that the service's throttle admits; None: it was not seen at work."""
        if self.setting.transport == "web_token":
            return None
        return admitted_per_s(zip(self.stages, self.windows, strict=True))

    def _limit_of_rate(self) -> RateLimit | None:
        stopped_by = self.capacity.stopped_by_stage if self.capacity else None
        stopped = next((stage for stage in self.stages if stage.index == stopped_by), None)
        cause = self.capacity.bottleneck if self.capacity else ""
        return limit_of_rate(self.admitted_per_s, cause, stopped)

    @cached_property
    def slo(self) -> tuple[SloResult, ...]:
        """The SLO over the whole run."""
        return tuple(judge(slo, self.window) for slo in self.setting.slos)

    @cached_property
    def expectations(self) -> tuple[Expectation, ...]:
        """The checks after a deployment."""
        return tuple(
            Expectation(
                name=str(event.get("name", "")),
                met=event.get("met") is True,
                detail=str(event.get("detail", "")),
            )
            for event in self.record.events
            if event["kind"] == "expectation"
        )

    @cached_property
    def verdict(self) -> Verdict:
        """The answer to the scenario's question."""
        if self.capacity:
            verdict = judge_capacity(self.capacity, self.sizing, status=self.status)
        else:
            verdict = judge_check(
                self.slo,
                self.stages,
                self.expectations,
                status=self.status,
                miscounted=rows_miscounted(self.generator, self.status),
            )
        return interrupted(verdict) if self.status == "interrupted" else verdict

    @cached_property
    def analysis(self) -> RunAnalysis:
        """All of it as plain values, without the calls."""
        record, setting, capacity = self.record, self.setting, self.capacity
        retries = retries_of(setting, record.requests)
        scaling = scaling_events(setting, self.stage_times, record.events, self.seen)
        started_at_s, ended_at_s = self._extent()
        versions = record.manifest.get("versions") or {}
        beside = beside_stages(
            {times.plan.label: self._disturbance(times) for times in self.stage_times},
            is_local=self._is_local,
        )
        if self._is_local:
            measured = {
                times.plan.label: (times.measured_from_s, times.ended_at_s)
                for times in self.stage_times
            }
            beside += slowed(self.host, measured)
        return RunAnalysis(
            run_id=self.run_id,
            directory=str(record.directory),
            scenario_name=setting.scenario_name,
            question=setting.question,
            status=self.status,
            complete=record.complete,
            started_at_s=started_at_s,
            ended_at_s=ended_at_s,
            identity=self.identity,
            environment=setting.environment,
            versions={str(name): str(version) for name, version in versions.items()},
            mix=setting.mix,
            slos=setting.slos,
            slo=_decisive_lines(capacity, self.stages) if capacity else self.slo,
            stages=self.stages,
            periods=self.points,
            scaling=with_costs(scaling, self.stage_times, self.seen),
            demand=self.demand,
            capacity=capacity,
            sizing=self.sizing,
            admitted_per_s=self.admitted_per_s,
            answers=self.answers,
            expectations=self.expectations,
            verdict=self.verdict,
            workload=setting.workload,
            transport=setting.transport,
            generator=self.generator,
            recoveries=self.recoveries,
            retries=retries,
            elasticity=self._elasticity(),
            by_webservers=by_webservers(self.times_that_speak, self.seen),
            truth=truth_checks(setting, self.demand, self.sizing),
            warnings=(
                *record.warnings,
                *self.metrics_as_documented.findings,
                *size_warnings(self.answers, setting.transport),
                *run_warnings(
                    record,
                    setting,
                    self.stages,
                    known_until_s=self.periods[-1].end_s if self.periods else None,
                    expiry=self.expiry,
                ),
                *(beside if self._is_local else ()),
                *worker_warnings(record.events),
                *memory_warnings(self.periods, record.events),
                *retry_warnings(retries),
                *(inversions(self.stages, capacity) if capacity else ()),
                *contradictions(setting, self.demand, capacity, self.stages),
            ),
            notes=(*run_notes(setting, record.events), *(() if self._is_local else beside)),
            events=record.events,
        )

    def _elasticity(self) -> Elasticity | None:
        if any(stage.operation for stage in self.setting.stages):
            return None  # one operation a stage is no load that anybody would size for
        environment = self.setting.environment
        return elasticity(
            self.points,
            self.demand,
            min_webservers=environment.get("min_webservers"),
            max_webservers=environment.get("max_webservers"),
        )

    def _extent(self) -> tuple[float, float]:
        """Start and end of the run; of a run that was killed, the last that is known of it."""
        events = (each for each in self.record.events if each["kind"] not in _WRITTEN_LATER)
        known = [float(event["time_s"]) for event in events]
        load_s = [times.started_at_s for times in self.stage_times]
        if len(self.calls):
            starts_s = self.calls.intended_start_s
            load_s += [float(starts_s.min()), float(starts_s.max())]
        known += load_s
        started, finished = (
            self.record.manifest.get(key) for key in ("started_at_s", "finished_at_s")
        )
        started_at_s = float(started) if started else min(known, default=0.0)
        ended_at_s = float(finished) if finished else max(known, default=started_at_s)
        # The host's clock may have been set meanwhile, but no load is outside of its run.
        return min([started_at_s, *load_s]), max(ended_at_s, started_at_s, *load_s)


def _decisive_lines(
    capacity: CapacityResult, stages: Sequence[StageStats]
) -> tuple[SloResult, ...]:
    return next((stage.slo for stage in stages if stage.index == capacity.highest_stage), ())
