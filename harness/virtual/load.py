"""The load in virtual time: stage after stage, and recovery after one that broke the SLO.

The order of things, the rules and the events are those of the load process (`locustfiles`), which
sends by itself and is never late.

Before the load, `prepare` asks what a real run asks too: GetEnvironment, preflight, and each entry
of the mix once. Airflow is the simulated one of the stand-in, asked in memory and without waiting.
The load needs only one answer for each entry of its mix: all calls of an entry end alike but for
their times, and for the length of lists that grow, which is recorded as it was in the beginning.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, cast
from urllib.parse import parse_qs, unquote, urlsplit

from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.harness.aws.cleanup import Created
from mwaa_headroom.harness.aws.clients import AwsClients
from mwaa_headroom.harness.aws.environment import EnvironmentFacts, describe_environment
from mwaa_headroom.harness.aws.preflight import PreflightResult, preflight
from mwaa_headroom.harness.errors import PreflightError
from mwaa_headroom.harness.local.gateway.answers import (
    Answer,
    ApiError,
    answer_from_airflow,
    service_error,
)
from mwaa_headroom.harness.local.gateway.operations import describe, read_invocation
from mwaa_headroom.harness.local.settings import SimulatedSettings
from mwaa_headroom.harness.local.simulated_api import Request, SimulatedAirflow
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.operations import build_call
from mwaa_headroom.harness.traffic.overload import KEPT_ROWS, Overload, abort_rule_of
from mwaa_headroom.harness.traffic.schedule import StageSchedule, recovery_schedule, schedule_of
from mwaa_headroom.harness.traffic.traces import Trace
from mwaa_headroom.harness.transport.outcome import UNSENT, CallResult, outcome_of_answer
from mwaa_headroom.harness.virtual.environment import Event, VirtualEnvironment
from mwaa_headroom.harness.virtual.webserver import Call, Endings, PhaseRows, RowCodes

TICK_S = 1.0
LOAD_EVENT_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known before the load begins.

    Attributes:
        facts: what GetEnvironment tells.
        found: by preflight.
        operations: by label, what the webservers take its calls for.
        results: of calls; first one per label, in the mix's order, as they end when all goes well.
        throttled: the result of a call that the throttle refuses.
        unsent: the result of an arrival for which no sender was free.
        endings: which results webservers need to know.
    """

    facts: EnvironmentFacts
    found: PreflightResult
    operations: tuple[str, ...]
    results: tuple[CallResult, ...]
    throttled: int
    unsent: int
    endings: Endings


def prepare(
    scenario: Scenario, settings: SimulatedSettings, *, run_id: str, started_at_s: float
) -> Prepared:
    """Everything a real run does between the environment coming up and the first call.

    Raises:
        PreflightError: the environment lacks what the scenario needs.
    """
    gateway = MemoryGateway(settings, started_at_s)
    client = cast(Any, gateway)
    clients = AwsClients(mwaa=client, mwaa_once=client, cloudwatch=client)
    facts = describe_environment(clients, settings.name, clock=lambda: started_at_s)
    found = preflight(
        clients,
        scenario,
        facts,
        run_id,
        Created(),
        clock=lambda: started_at_s,
        sleep=lambda _: None,
    )
    asked = [
        build_call(choice.operation, choice.parameters, arrival=0, targets=found.targets)
        for choice in scenario.traffic.mix.values()
    ]
    answered = [gateway.answer(call.method, call.path, call.query, call.body) for call in asked]
    results = [_result_of(answer, 0.0, settings) for _, answer in answered]
    count = len(results)
    gateway_settings = settings.gateway
    message = f"The Airflow REST API did not answer within {gateway_settings.timeout_s:g} seconds"
    timed_out = service_error(gateway_settings.timeout_exception, message)
    throttle = gateway_settings.throttle
    throttled = ApiError(throttle.error_code, throttle.http_status, "Rate exceeded")
    results += [
        _result_of(timed_out.answer(), gateway_settings.timeout_s, settings),
        _result_of(throttled.answer(), 0.0, settings),
        UNSENT,
    ]
    return Prepared(
        facts=replace(facts, clock_offset_s=0.0),
        found=found,
        operations=tuple(operation for operation, _ in answered),
        results=tuple(results),
        throttled=count + 1,
        unsent=count + 2,
        endings=Endings(
            timed_out=count,
            failures=frozenset(i for i, result in enumerate(results) if result.outcome != "ok"),
        ),
    )


class MemoryGateway:
    """As much of boto3's `mwaa` client as preflight uses, answered by the simulated Airflow."""

    def __init__(self, settings: SimulatedSettings, now_s: float) -> None:
        self._settings = settings
        self._now_s = now_s
        self._airflow = SimulatedAirflow(settings.airflow_version)

    def get_environment(self, *, Name: str) -> dict[str, Any]:  # noqa: N803, ARG002 - boto3's
        """GetEnvironment."""
        created = datetime.fromtimestamp(self._now_s, UTC)
        described = describe(
            self._settings,
            airflow_version=self._settings.airflow_version,
            webserver_url="",
            created_at_s=self._now_s,
        )
        times = {"CreatedAt": created, "LastUpdate": {"Status": "SUCCESS", "CreatedAt": created}}
        return {
            "Environment": {**described, **times},
            "ResponseMetadata": {"HTTPHeaders": {}},
        }

    def invoke_rest_api(
        self,
        *,
        Name: str,  # noqa: N803, ARG002 - boto3's, like the next ones
        Path: str,  # noqa: N803
        Method: str,  # noqa: N803
        QueryParameters: Mapping[str, Any] | None = None,  # noqa: N803
        Body: Mapping[str, Any] | None = None,  # noqa: N803
    ) -> dict[str, Any]:
        """InvokeRestApi; Airflow's errors are answers too."""
        _, answer = self.answer(Method, Path, QueryParameters, Body)
        if answer.error_code is not None and not answer.error_code.startswith("RestApi"):
            raise PreflightError(
                f"{Method} {Path}: {answer.error_message}; change the scenario accordingly."
            )
        return dict(json.loads(answer.body))

    def answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
    ) -> tuple[str, Answer]:
        """The operation that a webserver takes a call for, and what the gateway answers."""
        settings, prefix = self._settings.gateway, self._airflow.prefix
        document = {"Method": method, "Path": path, "QueryParameters": query, "Body": body}
        try:
            invocation = read_invocation(document, prefix=prefix, settings=settings)
        except ApiError as error:
            return "", error.answer()
        target = urlsplit(invocation.target)
        recognised = self._airflow.recognise(
            Request(
                invocation.method,
                unquote(target.path).removeprefix(prefix),
                parse_qs(target.query, keep_blank_values=True),
                json.loads(invocation.body) if invocation.body else None,
            )
        )
        said = recognised.answer(self._now_s)
        content = b"" if said.body is None else json.dumps(said.body).encode()
        if len(content) > settings.max_response_bytes:
            message = f"The response is larger than {settings.max_response_bytes} bytes"
            return recognised.operation, service_error(
                settings.too_large_exception, message
            ).answer()
        answer = answer_from_airflow(
            said.status, "application/json", content, drop_nulls=settings.drop_nulls
        )
        return recognised.operation, answer


def _result_of(answer: Answer, elapsed_s: float, settings: SimulatedSettings) -> CallResult:
    airflow_status = json.loads(answer.body).get("RestApiStatusCode")
    outcome = outcome_of_answer(
        http_status=answer.status,
        error_code=answer.error_code,
        message=answer.error_message or "",
        airflow_status=airflow_status,
        elapsed_s=elapsed_s,
        service_timeout_s=settings.gateway.timeout_s,
    )
    return CallResult(outcome, answer.status, airflow_status, answer.error_code, len(answer.body))


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
        self.phases: list[PhaseRows] = []
        self.events: list[Event] = []
        self._scenario = scenario
        self._traces = traces
        self._environment = environment
        self._prepared = prepared
        self._codes = RowCodes(tuple(scenario.traffic.mix), prepared.results, started_at_s)
        self._overload = Overload(slos, hold_s=scenario.recovery.hold_s)
        self._rule = abort_rule_of(scenario)
        self._ended_before = self._failed_before = 0  # of the tally, at the last tick
        self._load_emitted_at_s = 0.0
        self._is_loading = self._is_recovering = False
        self._cut_short = self._aborted = self._is_over = False

    def run(self) -> Literal["finished", "aborted"]:
        """Send everything; the environment's clock stands then where the last call ended."""
        self._environment.run_until(0.0)
        self._environment.at(TICK_S, self._tick)
        completed = all(
            self._run_stage(schedule) for schedule in schedule_of(self._scenario, self._traces)
        )
        self._is_over = True
        rows = sum(phase.arrived for phase in self.phases)
        self._emit("rows_checked", arrivals=rows, rows=rows)
        return "finished" if completed else "aborted"

    def _run_stage(self, schedule: StageSchedule) -> bool:
        stage, name = schedule.stage, schedule.name
        phase = self._begin(schedule)
        self._emit("stage_started", stage=stage, name=name)
        warm_s = phase.start_s + self._scenario.stages[stage].warmup_s
        self._overload.look_at(stage, self._codes.started_at_s + warm_s)
        self._rule.begin(self._codes.started_at_s + phase.start_s)
        self._take_counts()
        self._is_loading = True
        completed = self._send(phase, schedule)
        self._is_loading = False
        if not completed:
            self._drain(stage)
            return False
        self._emit("stage_ended", stage=stage, name=name)
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
        self._emit("recovery_started", stage=after, rate_per_s=rate_per_s)
        self._overload.look_at(schedule.stage, self._codes.started_at_s + phase.start_s)
        self._is_recovering = True
        self._send(phase, schedule)
        self._is_recovering = False
        self._overload.add(phase.fresh(KEPT_ROWS))
        self._emit("recovery_ended", stage=after, recovered=self._overload.has_recovered())

    def _begin(self, schedule: StageSchedule) -> PhaseRows:
        phase = PhaseRows(schedule, self._environment.now_s, self._codes)
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
        self._emit_load()
        return not self._aborted

    def _drain(self, stage: int) -> None:
        began_s = self._environment.now_s
        self._environment.run_until_idle()
        took_s = self._environment.now_s - began_s
        self._emit("drained", stage=stage, in_flight_left=0, took_s=took_s)

    def _broke_slo(self, phase: PhaseRows, index: int) -> bool:
        stage = self._scenario.stages[index]
        last_rate_per_s = stage.ramp_to_rate_per_s or stage.peak_rate_per_s or stage.rate_per_s
        if self._scenario.recovery_rate_per_s is None or last_rate_per_s is None:
            return False  # nothing would follow from it
        self._overload.add(phase.fresh(KEPT_ROWS))
        return self._overload.broke_slo(
            in_flight=self._environment.tally.in_flight, rate_per_s=last_rate_per_s
        )

    def _tick(self) -> None:
        if self._is_over:
            return
        now_s = self._environment.now_s
        self._environment.at(now_s + TICK_S, self._tick)
        if now_s - self._load_emitted_at_s >= LOAD_EVENT_EVERY_S:
            self._emit_load()
        if self._is_recovering:
            self._overload.add(self.phases[-1].fresh(KEPT_ROWS))
            self._cut_short = self._overload.has_recovered()
        elif self._is_loading:
            self._abort_if_needed(self._codes.started_at_s + now_s)

    def _abort_if_needed(self, now_s: float) -> None:
        calls, errors = self._take_counts()
        self._rule.add(int(now_s), calls=calls, errors=errors)
        in_flight = self._environment.tally.in_flight
        reason = self._rule.reason_to_abort(now_s, in_flight=in_flight)
        if reason is not None:
            self._cut_short = self._aborted = True
            self._emit("aborted", reason=reason)

    def _take_counts(self) -> tuple[int, int]:
        """Calls that have ended since the last time, and those of them that failed."""
        tally = self._environment.tally
        calls, errors = tally.ended - self._ended_before, tally.failed - self._failed_before
        self._ended_before, self._failed_before = tally.ended, tally.failed
        return calls, errors

    def _emit_load(self) -> None:
        self._load_emitted_at_s = self._environment.now_s
        self._emit(
            "generator_load",
            worker=0,
            in_flight=self._environment.tally.in_flight,
            cpu_fraction=0.0,
            stalled_s=0.0,
            longest_stall_s=0.0,
            memory_bytes=None,
        )

    def _emit(self, kind: str, **fields: object) -> None:
        time_s = self._codes.started_at_s + self._environment.now_s
        self.events.append({"time_s": time_s, "kind": kind, "source": "generator", **fields})
