"""What would stop or spoil a run on AWS, found beforehand by read-only calls: nothing is changed.

Each check is a function that yields findings. What it cannot ask is a finding too, so that one
check that fails hides no other.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.analysis.mwaa import partition_of
from mwaa_headroom.analysis.planning.classes import CLASSES
from mwaa_headroom.harness.aws.cleanup import (
    CALLS_PER_S,
    Created,
    dags_triggered,
    deletes_in_bulk,
)
from mwaa_headroom.harness.aws.clients import Answer, AwsClients, RestApi, further_clients
from mwaa_headroom.harness.aws.collector import STATISTICS, MetricsReader
from mwaa_headroom.harness.aws.credentials import asks_for_code
from mwaa_headroom.harness.aws.environment import (
    EnvironmentFacts,
    describe_environment,
    require_allowed,
    require_confirmed,
)
from mwaa_headroom.harness.aws.policy import INVOKE, LOG_IN, EnvironmentArn, needs_of
from mwaa_headroom.harness.aws.preflight import (
    USABLE,
    Use,
    ask_reads,
    check_expectations,
    expect_dag,
    former_value,
    long_paths,
    reads_of,
    remedy,
    targets_before,
    unhealthy,
    uses,
)
from mwaa_headroom.harness.aws.prices import load_prices
from mwaa_headroom.harness.aws.runs_to_read import (
    FEWEST_DAG_RUNS,
    Reads,
    readable_runs,
    runs_to_read,
)
from mwaa_headroom.harness.aws.translate import aws_call, is_unanswered, member
from mwaa_headroom.harness.errors import EnvironmentAccessError, HeadroomError, PreflightError
from mwaa_headroom.harness.scenario.model import AwsSettings, Scenario
from mwaa_headroom.harness.traffic.operations import Targets, build_call, dag_path

FAR_S: Final = 0.15  # to the endpoint and back: more than within a continent
CLOCKS_APART_S: Final = 5.0  # the Date header has whole seconds
LOOKED_BACK_S: Final = 3600.0  # for the newest metrics
_ASSUMED_ROLE: Final = re.compile(r"arn:([\w-]+):sts::(\d+):assumed-role/([^/]+)/.*")
_ASKED: Final = 3  # times, for the shortest way to the endpoint
_PERIOD_S: Final = 60
_NO_ENVIRONMENT: Final = "GetEnvironment was not answered."

Findings = Iterator[Finding]


@dataclass(frozen=True, slots=True)
class Checked:
    """One line of the answer; a refusal would stop the run, a warning may spoil it."""

    area: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class Examined:
    """What `headroom doctor` found."""

    checks: tuple[Checked, ...]


@dataclass(frozen=True, slots=True)
class PolicyAnswer:
    """What `headroom policy` made, or found in one."""

    policy: dict[str, Any] | tuple[Checked, ...]  # the IAM policy; with --check, what was found


def carried_out(
    area: str, check: Callable[[], Findings], *, stops: bool = True
) -> Iterator[Checked]:
    """What a check finds, to the end or to the error that ends it.

    Args:
        area: of the lines.
        check: yields findings.
        stops: whether what it cannot ask would stop the run.
    """
    try:
        for finding in check():
            yield Checked(area, finding)
    except HeadroomError as exc:
        if stops:
            yield Checked(area, refusal("doctor.problem", reason=str(exc)))
        else:
            yield Checked(area, warning("doctor.not_asked", reason=str(exc)))


def judged(finding: Finding, *, warns: bool = False, stops: bool = False) -> Finding:
    """A note, or a warning or refusal if that is so."""
    if stops:
        return replace(finding, severity="refusal")
    return replace(finding, severity="warning") if warns else finding


@dataclass(slots=True)
class AwsDoctor:
    """The checks of one environment; what one finds out, the later ones use.

    Attributes:
        scenario: what is going to run.
        settings: its environment.
        clients: see `make_clients`.
        run_s: how long a run takes; None: none is meant, only the environment is looked at.
        triggers: DAG runs that a run would trigger to have some to read.
    """

    scenario: Scenario
    settings: AwsSettings
    clients: AwsClients
    run_s: float | None
    triggers: int = 0
    _rest: RestApi = field(init=False)
    _caller: str = ""
    _iam: Any = None
    _known: EnvironmentFacts | None = None
    _endpoint_s: float | None = None
    _health: Answer | None = None
    _known_targets: Targets | None = None

    def __post_init__(self) -> None:
        rate_per_s = min(self.scenario.limits.max_rate_per_s, CALLS_PER_S)
        self._rest = RestApi(self.clients, self.settings.name, rate_per_s=rate_per_s)

    def checks(self) -> Iterator[Checked]:
        """All of them, in the order in which a reader would ask."""
        yield from carried_out("credentials", self._credentials)
        yield from carried_out("environment", self._environment)
        yield from carried_out("webservers", self._webservers, stops=False)
        yield from carried_out("clock", self._clock, stops=False)
        yield from carried_out("REST API", self._rest_api)
        yield from carried_out("permissions", self._permissions, stops=False)
        if self.run_s is not None:
            yield from carried_out("reads", self._reads, stops=self._answers)
            yield from carried_out("DAGs", self._dags, stops=self._answers)
            yield from carried_out("variables", self._variables, stops=self._answers)
            yield from carried_out("paths", self._paths, stops=False)
        yield from carried_out("metrics", self._metrics, stops=False)
        if self.run_s is not None:
            yield from carried_out("cost", self._cost, stops=False)

    @property
    def deletes_in_bulk(self) -> bool:
        """Whether a run would clean up with calls for many DAG runs."""
        return self._known is not None and deletes_in_bulk(self._known.airflow_version)

    @property
    def _answers(self) -> bool:
        return self._health is not None

    def _facts(self) -> EnvironmentFacts:
        if self._known is None:
            raise EnvironmentAccessError(_NO_ENVIRONMENT)
        return self._known

    def _targets(self) -> Targets:
        if self._known_targets is None:
            raise EnvironmentAccessError("InvokeRestApi was not answered.")
        return self._known_targets

    def _credentials(self) -> Findings:
        name, profile = self.settings.name, self.settings.profile
        sts, self._iam = further_clients(
            self.clients, "sts", "iam", environment=name, profile=profile
        )
        try:
            with aws_call("sts:GetCallerIdentity", environment=name, client=sts):
                answer = sts.get_caller_identity()
                self._caller, account = member(answer, "Arn"), member(answer, "Account")
        except EnvironmentAccessError as exc:
            if not is_unanswered(exc):
                raise
            yield warning("doctor.not_asked", reason=str(exc))  # a run does not need STS
        else:
            yield note("doctor.caller", caller=self._caller, account=account)
        yield keys_last(self.clients.credentials, self.run_s, asks_for_code=asks_for_code(profile))

    def _environment(self) -> Findings:
        asked_s = []
        for _ in range(_ASKED):
            began_s = time.monotonic()
            facts = describe_environment(self.clients, self.settings.name)
            asked_s.append(time.monotonic() - began_s)
        self._known, self._endpoint_s = facts, min(asked_s)
        region = self.clients.mwaa.meta.region_name
        found = note(
            "doctor.environment",
            status=facts.status,
            airflow_version=facts.airflow_version,
            environment_class=facts.recorded.get("EnvironmentClass"),
            access_mode=facts.recorded.get("WebserverAccessMode"),
            region=region,
            partition=partition_of(region),
        )
        yield judged(found, stops=facts.status not in USABLE)
        if self.run_s is not None:
            loopback = self.clients.endpoint_is_loopback
            require_allowed(self.scenario, facts.arn, endpoint_is_loopback=loopback)
            require_confirmed(self.scenario, facts)
            yield note("doctor.allowed", arn=facts.arn)

    def _webservers(self) -> Findings:
        recorded = self._facts().recorded
        name = str(recorded.get("EnvironmentClass", ""))
        known = next((each for each in CLASSES if each.name == name), None)
        yield note(
            "doctor.webservers",
            fewest=recorded.get("MinWebservers"),
            most=recorded.get("MaxWebservers"),
            quota=None if known is None else known.most_webservers,
        )

    def _clock(self) -> Findings:
        offset_s = self._facts().clock_offset_s
        is_off = offset_s is None or abs(offset_s) > CLOCKS_APART_S
        yield judged(note("doctor.clock", offset_s=offset_s), warns=is_off)

    def _rest_api(self) -> Findings:
        version = self._known.airflow_version if self._known else "3.0.0"
        targets = targets_before(self.scenario, version, "doctor")
        began_s = time.monotonic()
        health = self._rest.get(build_call("health", {}, arrival=0, targets=targets).path)
        call_s = time.monotonic() - began_s
        self._health, self._known_targets = health, targets
        is_far = self._endpoint_s is not None and self._endpoint_s > FAR_S
        found = note("doctor.latency", endpoint_s=self._endpoint_s, call_s=call_s)
        yield judged(found, warns=is_far)
        if not health.ok and self._known:
            reason = unhealthy(self._known, health)
            found = warning("doctor.problem", reason=reason)
            yield judged(found, stops=not self._expects_something)
        parts = health.body.items() if isinstance(health.body, dict) else ()
        ill = [k for k, v in parts if isinstance(v, dict) and v.get("status") == "unhealthy"]
        if ill:
            yield warning("doctor.unhealthy", components=tuple(ill))
        for each in check_expectations(self._rest, self.scenario.expect, health):
            if not each.met:
                yield warning("doctor.expectation", name=each.name, detail=each.detail)

    @property
    def _expects_something(self) -> bool:
        expect = self.scenario.expect
        return bool(expect.dags or expect.healthy_components)

    def _permissions(self) -> Findings:
        """IAM's own word, where asking it is permitted: calls that change something are not tried.

        What InvokeRestApi may do is decided by the role of Airflow's that IAM allows it on.
        """
        stated = self.scenario.limits.allow_environment
        arn = EnvironmentArn.parse(self._known.arn if self._known else stated or "")
        if arn is None:
            raise EnvironmentAccessError(_NO_ENVIRONMENT)
        if not self._caller:
            raise EnvironmentAccessError("GetCallerIdentity was not answered.")
        name, iam = self.settings.name, self._iam
        principal = _principal(iam, self._caller)

        def is_allowed(action: str, resource: str) -> bool:
            with aws_call("iam:SimulatePrincipalPolicy", environment=name, client=iam):
                answer = iam.simulate_principal_policy(
                    PolicySourceArn=principal, ActionNames=[action], ResourceArns=[resource]
                )
                results = member(answer, "EvaluationResults")
            return {result["EvalDecision"] for result in results} == {"allowed"}

        has_other_role = False
        for need in needs_of(self.scenario, arn):
            action, needed = need.action, need.resource
            places = (place for place in (needed, *need.larger) if is_allowed(action, place))
            place = next(places, None)
            if place is not None:
                yield note("doctor.permitted", action=action, resource=place)
            elif (self._answers and action == INVOKE) or (has_other_role and action == LOG_IN):
                has_other_role = True
                yield warning("doctor.other_role", action=action, needed=needed)
            elif needed != arn.environment and is_allowed(action, arn.environment):
                yield refusal(
                    "iam.environment_instead_of_role",
                    action=action,
                    given=arn.environment,
                    needed=needed,
                )
            else:
                lacking = warning("iam.missing", action=action, needed=needed)
                yield judged(lacking, stops=not action.startswith("cloudwatch:"))  # runs without

    def _reads(self) -> Findings:
        targets, health = self._targets(), self._health
        if health is not None:
            yield from ask_reads(self._rest, self.scenario, targets, health)
            yield note("doctor.reads")

    def _dags(self) -> Findings:
        named = uses(self.scenario, "dag", "dag_id")
        if not named:
            return
        targets, usable = self._targets(), dict[Use, Answer]()
        answers: dict[str, Answer] = {}
        for use in named:
            if use.value not in answers:
                answers[use.value] = self._rest.get(dag_path(use.value))
                yield from self._dag(use, answers[use.value])
            if expect_dag(use.value, answers[use.value]).met:
                usable[use] = answers[use.value]
        runs = dict(targets.dag_run_ids)
        for reads in reads_of(self.scenario, usable):
            try:
                readable, told = self._runs(targets, reads)
            except PreflightError as exc:
                yield refusal("doctor.problem", reason=str(exc))
            else:
                yield from told
                runs[reads.dag_id] = readable or runs[reads.dag_id]
        self._known_targets = replace(targets, dag_run_ids=runs)

    def _dag(self, use: Use, answer: Answer) -> Findings:
        found = expect_dag(use.value, answer)
        if not found.met:
            todo = remedy(answer.status, use)
            unusable = warning("doctor.dag_unusable", key=use.key, detail=found.detail, remedy=todo)
            yield judged(unusable, stops=not self._expects_something)
            return
        is_triggered = use.value in dags_triggered(self.scenario)
        is_paused, most = answer.get("is_paused") is True, answer.get("max_active_runs")
        line = note(
            "doctor.dag",
            dag_id=use.value,
            is_paused=is_paused,
            max_active_runs=most if is_triggered else None,
        )
        yield judged(line, warns=is_paused and is_triggered)

    def _runs(self, targets: Targets, reads: Reads) -> tuple[tuple[str, ...], list[Finding]]:
        """The runs that can be read now, and what a run would do about it."""
        if not reads.may_trigger:
            return runs_to_read(self._rest, targets, reads, Created())
        *_, usable = readable_runs(self._rest, targets, reads)
        missing = max(FEWEST_DAG_RUNS - len(usable), 0)
        self.triggers += missing
        told = [note("doctor.triggers_to_read", dag_id=reads.dag_id, runs=missing)]
        return tuple(usable), told if missing else []

    def _variables(self) -> Findings:
        for use in uses(self.scenario, "variable", "key"):
            self._targets()  # whether Airflow answers
            exists = former_value(self._rest, use) is not None
            yield note("doctor.variable", key=use.value, exists=exists)

    def _paths(self) -> Findings:
        if self.scenario.traffic.transport == "web_token":
            return
        too_long = list(long_paths(self.scenario, self._targets()))
        yield from too_long
        if not too_long:
            yield note("doctor.paths")

    def _metrics(self) -> Findings:
        reader = MetricsReader(self.clients.cloudwatch, self.settings.name)
        metrics = reader.discover()
        names = (f"{m.name} ({', '.join(v for _, v in m.dimensions)})" for m in metrics)
        if metrics:
            yield note("doctor.metrics", metrics=tuple(dict.fromkeys(names)))
        there = {metric.name for metric in metrics if not metric.is_of_database}
        if missing := tuple(name for name in STATISTICS if name not in there):
            yield warning("doctor.metrics_missing", metrics=missing)
        if not metrics:
            return
        now_s, settle_s = time.time(), self.settings.metrics_settle_s
        samples = reader.read(metrics, from_s=now_s - LOOKED_BACK_S, to_s=now_s, period_s=_PERIOD_S)
        ends_s = [sample.period_start_s + _PERIOD_S for sample in samples]
        age_s = max(now_s - max(ends_s), 0.0) if ends_s else None
        found = note("doctor.newest_sample", age_s=age_s, settle_s=settle_s)
        yield judged(found, warns=age_s is None or age_s > settle_s + _PERIOD_S)

    def _cost(self) -> Findings:
        recorded, region = self._facts().recorded, self.clients.mwaa.meta.region_name
        table = next((each for each in load_prices() if each.region == region), None)
        price = table and table.classes.get(str(recorded.get("EnvironmentClass")))
        fewest, most = recorded.get("MinWebservers"), recorded.get("MaxWebservers")
        each = price.webserver_per_h if price else None
        more = most - fewest if isinstance(most, int) and isinstance(fewest, int) else 0
        yield note(
            "doctor.cost",
            webservers=more,
            amount=each.times(more * (self.run_s or 0.0) / 3600) if each else None,
            currency=table.currency if table else None,
            as_of=table.as_of if table else None,
            region=region,
        )


def keys_last(credentials: Any, run_s: float | None, *, asks_for_code: bool) -> Finding:
    """How long keys last against a run; botocore renews those that are not in variables in time.

    Args:
        credentials: botocore's.
        run_s: how long the run takes; None: none is meant.
        asks_for_code: whether renewing them takes a person.
    """
    ends_at = getattr(credentials, "_expiry_time", None)
    left_s = (ends_at - datetime.now(UTC)).total_seconds() if ends_at else None
    is_short = left_s is not None and run_s is not None and left_s < run_s
    is_renewed = ends_at is not None and credentials.method != "env"
    is_temporary = ends_at is not None or bool(credentials.token)
    found = note(
        "doctor.keys",
        left_s=left_s,
        is_renewed=is_renewed,
        is_temporary=is_temporary,
        asks_for_code=asks_for_code and is_short,
        run_s=run_s,
    )
    may_end = (is_temporary and left_s is None) or (is_short and asks_for_code)
    return judged(found, warns=may_end, stops=is_short and not is_renewed)


def _principal(iam: Any, caller: str) -> str:
    """Whose policies IAM looks at: of an assumed role, the role, whose path only IAM knows."""
    assumed = _ASSUMED_ROLE.fullmatch(caller)
    if assumed is None:
        return caller
    partition, account, role = assumed.groups()
    with suppress(ClientError, KeyError):
        return str(iam.get_role(RoleName=role)["Role"]["Arn"])
    return f"arn:{partition}:iam::{account}:role/{role}"
