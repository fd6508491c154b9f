"""The load in virtual time: stage after stage, and recovery after one that broke the SLO.

The order of things, the rules and the events are those of the load process (`locustfiles`, see
`direction.py` and `load_test.py` there), which sends by itself and is never late.
"""

from collections.abc import Mapping
from typing import Literal

from analysis.slo import parse_slo
from harness.overload import KEPT_ROWS, Overload
from harness.scenario.model import Scenario
from harness.traffic.abort import ErrorRateRule
from harness.traffic.schedule import StageSchedule, recovery_schedule, schedule_of
from harness.traffic.traces import Trace
from harness.virtual.answers import Prepared
from harness.virtual.environment import Event, VirtualEnvironment
from harness.virtual.rows import PhaseRows, Words
from harness.virtual.webserver import Call

BEAT_S = 1.0
LOAD_EVENT_EVERY_S = 5.0


class VirtualLoad:
    """Carries out a scenario once.

    Attributes:
        phases: rows, in the order in which the phases began.
        events: the generator's.
    """

    def __init__(
        self,
        scenario: Scenario,
        traces: Mapping[int, Trace],
        environment: VirtualEnvironment,
        prepared: Prepared,
        *,
        started_at_s: float,
    ) -> None:
        slos = tuple(parse_slo(text) for text in scenario.slo)
        limits = scenario.limits
        self.phases: list[PhaseRows] = []
        self.events: list[Event] = []
        self._scenario = scenario
        self._traces = traces
        self._environment = environment
        self._prepared = prepared
        self._words = Words(tuple(scenario.traffic.mix), prepared.results, started_at_s)
        self._overload = Overload(slos, hold_s=scenario.recovery.hold_s)
        self._rule = ErrorRateRule(limit=limits.abort_error_rate, window_s=limits.abort_window_s)
        self._ended_before = self._failed_before = 0  # of the tally, at the last beat
        self._told_at_s = 0.0
        self._is_loading = self._is_recovering = False
        self._cut_short = self._aborted = self._is_over = False

    def run(self) -> Literal["finished", "aborted"]:
        """Send everything; the environment's clock stands then where the last call ended."""
        self._environment.run_until(0.0)
        self._environment.at(BEAT_S, self._beat)
        completed = all(
            self._run_stage(schedule) for schedule in schedule_of(self._scenario, self._traces)
        )
        self._is_over = True
        rows = sum(phase.arrived for phase in self.phases)
        self._tell("rows_checked", arrivals=rows, rows=rows)
        return "finished" if completed else "aborted"

    def _run_stage(self, schedule: StageSchedule) -> bool:
        stage, name = schedule.stage, schedule.name
        phase = self._begin(schedule)
        self._tell("stage_started", stage=stage, name=name)
        warm_s = phase.start_s + self._scenario.stages[stage].warmup_s
        self._overload.look_at(stage, self._words.started_at_s + warm_s)
        self._rule.clear()
        self._take_counts()
        self._is_loading = True
        completed = self._send(phase, schedule)
        self._is_loading = False
        if not completed:
            self._drain(stage)
            return False
        self._tell("stage_ended", stage=stage, name=name)
        if not self._broke_slo(phase, stage):
            self._drain(stage)
            # What went wrong in its last moments shows only in calls that have ended since.
            if not self._broke_slo(phase, stage):
                return True
        self._recover(stage)
        self._drain(stage)
        return True

    def _recover(self, after: int) -> None:
        schedule = recovery_schedule(self._scenario, after)
        phase = self._begin(schedule)
        rate_per_s = self._scenario.recovery_rate_per_s
        self._tell("recovery_started", stage=after, rate_per_s=rate_per_s)
        self._overload.look_at(schedule.stage, self._words.started_at_s + phase.start_s)
        self._is_recovering = True
        self._send(phase, schedule)
        self._is_recovering = False
        self._overload.add(phase.fresh(KEPT_ROWS))
        self._tell("recovery_ended", stage=after, recovered=self._overload.has_recovered())

    def _begin(self, schedule: StageSchedule) -> PhaseRows:
        phase = PhaseRows(schedule, self._environment.now_s, self._words)
        self.phases.append(phase)
        self._cut_short = False
        return phase

    def _send(self, phase: PhaseRows, schedule: StageSchedule) -> bool:
        """Send a phase up to its end; False if it was cut short by an abort."""
        environment, tally = self._environment, self._environment.tally
        operations, prepared = self._prepared.operations, self._prepared
        most = self._scenario.limits.max_in_flight
        for index, due_s, label in phase.arrivals():
            if due_s >= environment.next_timer_s:
                environment.run_until(due_s)
                if self._cut_short:
                    break
            environment.settle(due_s)
            phase.arrived = index + 1
            if tally.in_flight >= most:
                phase.end(index, prepared.unsent, 0.0)
            elif environment.admit():
                environment.take(Call(phase, index, label, due_s), operations[label])
            else:
                phase.end(index, prepared.throttled, 0.0)
                tally.ended += 1
                tally.failed += 1
        end_s = phase.start_s + schedule.duration_s
        while not self._cut_short and environment.now_s < end_s:
            environment.run_until(min(end_s, environment.next_timer_s))
        self._tell_load()
        return not self._aborted

    def _drain(self, stage: int) -> None:
        began_s = self._environment.now_s
        self._environment.run_until_idle()
        took_s = self._environment.now_s - began_s
        self._tell("drained", stage=stage, in_flight_left=0, took_s=took_s)

    def _broke_slo(self, phase: PhaseRows, index: int) -> bool:
        stage = self._scenario.stages[index]
        last_rate_per_s = stage.ramp_to_rate_per_s or stage.peak_rate_per_s or stage.rate_per_s
        if self._scenario.recovery_rate_per_s is None or last_rate_per_s is None:
            return False  # nothing would follow from it
        self._overload.add(phase.fresh(KEPT_ROWS))
        return self._overload.broke_slo(
            in_flight=self._environment.tally.in_flight, rate_per_s=last_rate_per_s
        )

    def _beat(self) -> None:
        if self._is_over:
            return
        now_s = self._environment.now_s
        self._environment.at(now_s + BEAT_S, self._beat)
        if now_s - self._told_at_s >= LOAD_EVENT_EVERY_S:
            self._tell_load()
        if self._is_recovering:
            self._overload.add(self.phases[-1].fresh(KEPT_ROWS))
            self._cut_short = self._overload.has_recovered()
        elif self._is_loading:
            self._abort_if_needed(self._words.started_at_s + now_s)

    def _abort_if_needed(self, now_s: float) -> None:
        calls, errors = self._take_counts()
        self._rule.add(int(now_s), calls=calls, errors=errors)
        reason = self._rule.reason_to_abort(now_s)
        if reason is not None:
            self._cut_short = self._aborted = True
            self._tell("aborted", reason=reason)

    def _take_counts(self) -> tuple[int, int]:
        """Calls that have ended since the last time, and those of them that failed."""
        tally = self._environment.tally
        calls, errors = tally.ended - self._ended_before, tally.failed - self._failed_before
        self._ended_before, self._failed_before = tally.ended, tally.failed
        return calls, errors

    def _tell_load(self) -> None:
        self._told_at_s = self._environment.now_s
        self._tell(
            "generator_load",
            worker=0,
            in_flight=self._environment.tally.in_flight,
            cpu_fraction=0.0,
            stalled_s=0.0,
            longest_stall_s=0.0,
        )

    def _tell(self, kind: str, **fields: object) -> None:
        time_s = self._words.started_at_s + self._environment.now_s
        self.events.append({"time_s": time_s, "kind": kind, "source": "generator", **fields})
