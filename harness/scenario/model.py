"""The scenario as frozen, checked values. Its TOML keys are the field names below.

What concerns one key is checked where it is declared, what concerns several at the end; every check
raises `ValueError` with a sentence that names the key.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from mwaa_headroom.analysis.errors import SloSyntaxError
from mwaa_headroom.analysis.mwaa import INVOKE_RATE_PER_S
from mwaa_headroom.analysis.nearest import did_you_mean
from mwaa_headroom.analysis.schema import RECOVERY_ARRIVALS_FROM
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.harness.local.settings import (
    LocalSettings,
    Positive,
    Settings,
    SimulatedSettings,
)
from mwaa_headroom.harness.traffic.operations import OPERATIONS, check_parameters

HIGHEST_RATE_PER_S: Final = 5000.0  # above this, a typo is likelier than a wish
CALLS_PER_CLOSED_STAGE: Final = 10**8  # numbers kept for one stage
_RANDOM_EXCESS: Final = 2  # random arrivals may be more than expected

# Per kind of arrivals, the keys of a stage that only some kinds know: needed, and allowed.
_STAGE_KEYS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "poisson": (("rate_per_s",), ("ramp_to_rate_per_s",)),
    "constant": (("rate_per_s",), ("ramp_to_rate_per_s",)),
    "trace": (("trace_file", "rate_per_s", "peak_rate_per_s"), ()),  # the rates are filled in
    "closed": (("users",), ()),
}
_SOME_KINDS_KEYS: Final = tuple(
    dict.fromkeys(key for needed, allowed in _STAGE_KEYS.values() for key in needed + allowed)
)

Arrivals = Literal["poisson", "constant", "trace", "closed"]
RetryMode = Literal["off", "legacy", "standard", "adaptive"]  # botocore's, and none
Rate = Annotated[float, Field(gt=0, le=HIGHEST_RATE_PER_S)]
Seconds = Annotated[float, Field(gt=0, le=24 * 3600)]


def _checked_slo(text: str) -> str:
    try:
        parse_slo(text)
    except SloSyntaxError as exc:
        raise ValueError(str(exc)) from exc
    return text


Slo = Annotated[str, AfterValidator(_checked_slo)]
Array = Field(strict=False)  # a tuple here, an array in the file


class Question(Settings):
    """What the scenario asks.

    `capacity` is answered by finding the stage that breaks the SLO; `check` means it must hold.
    """

    ask: Literal["capacity", "check"]
    """`capacity`: which stage breaks the SLO; `check`: the SLO must hold."""
    target_rate_per_s: Positive | None = None
    """The load to size for, in calls per second; none: the highest stage."""
    utilisation_target: Annotated[float, Field(gt=0, lt=1)] = 0.7
    """Share of the webservers' CPU not to be exceeded; scale-out begins above 0.7."""


def _named_by_a_number(value: object) -> object:
    """A profile may be called by its account's number, which --set reads as one."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class AwsSettings(Settings):
    """A real environment on AWS, found through botocore's standard configuration."""

    kind: Literal["aws"]
    """An environment on AWS."""
    name: str
    """Name of the environment."""
    region: str | None = None
    """Its region; none: as botocore finds it."""
    profile: Annotated[str | None, BeforeValidator(_named_by_a_number)] = None
    """AWS profile with the credentials; none: as botocore finds them."""
    metric_period_s: Literal[60] = 60
    """Length of a metric period."""
    metrics_settle_s: Annotated[float, Field(ge=0)] = 180.0
    """How late metrics may arrive: so long a run waits for them at its end."""
    webserver_cpu: Positive | None = None
    """vCPU of one webserver; none: from the environment class."""


AnyEnvironment = Annotated[
    LocalSettings | SimulatedSettings | AwsSettings, Field(discriminator="kind")
]


class OperationChoice(Settings):
    """One entry of the mix: an operation with its parameters. The label is the key in the file."""

    operation: str
    """Which call is sent."""
    weight: Positive
    """Its share of the calls, relative to the other entries."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Of the operation, written beside the weight; see "Operations"."""

    @model_validator(mode="after")
    def _known(self) -> "OperationChoice":
        if self.operation not in OPERATIONS:
            raise ValueError(
                f"unknown operation '{self.operation}'"
                f"{did_you_mean(self.operation, OPERATIONS)}; choose from "
                f"{', '.join(sorted(OPERATIONS))}"
            )
        check_parameters(self.operation, self.parameters)
        return self


class Traffic(Settings):
    """Arrivals, mix, and how calls are sent.

    In the file an entry of the mix is `label = weight` or
    `label = { weight = 1, operation = "list_dag_runs", limit = 100 }`.
    """

    arrivals: Arrivals = "poisson"
    """When calls start: at random, evenly spaced, by a recorded trace, or by users who wait."""
    seed: int = 1
    """Of the arrivals: the same seed gives the same ones."""
    transport: Literal["lean", "boto3", "web_token"] = "lean"
    """How calls are sent: signed by headroom, by boto3, or to the webserver with a login token."""
    retries: RetryMode = "off"
    """botocore's retry mode; needs the transport boto3."""
    trace_column: Annotated[str, Field(min_length=1)] | None = None
    """The column of a trace's times; none: it is found by its name, or because it holds dates."""
    trace_speed: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """How many times as fast a trace is played: its rates are multiplied by that."""
    trace_scale: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """How many times the calls of a trace are made, at random below 1 and for the fraction above;
    further copies of a call are moved within the resolution of the trace's times."""
    think_time_s: Seconds | None = None
    """Mean of the users' exponential think times; only with closed arrivals, which need it."""
    mix: Annotated[dict[str, OperationChoice], Field(min_length=1)]
    """Which calls are sent, by label; see "[traffic.mix]"."""

    @property
    def weights(self) -> tuple[float, ...]:
        """Of the mix's entries, in order."""
        return tuple(choice.weight for choice in self.mix.values())

    @field_validator("mix", mode="before")
    @classmethod
    def _short_forms(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {label: _expand_choice(label, entry) for label, entry in value.items()}


def _expand_choice(label: str, entry: object) -> object:
    if isinstance(entry, bool) or not isinstance(entry, int | float | dict):
        raise ValueError(f"'{label}' must be a weight or a table with a weight")
    if isinstance(entry, int | float):
        return {"operation": label, "weight": entry}
    if "parameters" in entry:  # the effective scenario, as saved with a run
        return entry
    rest = {key: value for key, value in entry.items() if key not in ("operation", "weight")}
    return {
        "operation": entry.get("operation", label),
        "weight": entry.get("weight", 1),
        "parameters": rest,
    }


class Stage(Settings):
    """A part of a run with one setting; which keys it needs depends on `traffic.arrivals`."""

    name: str = ""
    """What reports call it; empty: "stage" and its number."""
    rate_per_s: Rate | None = None
    """Calls per second; poisson and constant need it, of a trace it is filled in."""
    ramp_to_rate_per_s: Rate | None = None
    """Calls per second at its end, reached evenly; none: the rate stays."""
    trace_file: Annotated[str, Field(min_length=1)] | None = None
    """CSV file with the trace, relative to the scenario file; traces need it."""
    peak_rate_per_s: Rate | None = None
    """The most calls in any one second of a trace; filled in."""
    users: Annotated[int, Field(ge=1)] | None = None
    """Users who call, wait for the answer and think; closed arrivals need it."""
    operation: str | None = None
    """Label of the mix that is sent alone; none: the whole mix."""
    duration_s: Seconds
    """How long the load lasts."""
    warmup_s: Annotated[float, Field(ge=0)] = 0.0
    """Time at its start that is left out when it is judged."""

    @model_validator(mode="after")
    def _warmup_fits(self) -> "Stage":
        if self.warmup_s >= self.duration_s:
            raise ValueError("warmup_s must be shorter than duration_s")
        return self


class Recovery(Settings):
    """The light load after a stage that broke the SLO, until the SLO holds again."""

    rate_per_s: Rate | None = None
    """Calls per second of the light load; none: the stages' lowest, at most half their highest."""
    hold_s: Positive = 10.0
    """How long the SLO has to hold to count as restored."""
    longest_s: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """After how long a recovery phase is given up; 0: there are none."""

    @model_validator(mode="after")
    def _can_be_seen(self) -> "Recovery":
        if 0 < self.longest_s < self.hold_s:
            raise ValueError("longest_s must not be below hold_s, or else 0")
        return self


class Expectations(Settings):
    """What a deployed environment must have before any load: the post-deployment check."""

    healthy_components: Annotated[
        tuple[Literal["metadatabase", "scheduler", "triggerer", "dag_processor"], ...], Array
    ] = ()
    """Components that must be healthy."""
    dags: Annotated[tuple[str, ...], Array] = ()
    """DAGs that must exist."""


class Limits(Settings):
    """What keeps a run from doing harm."""

    max_rate_per_s: Positive = INVOKE_RATE_PER_S
    """Highest rate a stage may ask for, and the most calls and further attempts that begin in any
    second (and one for each load process); random arrivals that would be more are planned for
    later. The default is the documented one of InvokeRestApi."""
    max_in_flight: Annotated[int, Field(ge=1, le=5000)] = 256
    """Most calls in flight; arrivals beyond are recorded as unsent."""
    call_timeout_s: Positive = 15.0
    """After how long a call is given up; above the service's own 10 s, to tell the two apart."""
    abort_error_rate: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Share of errors over the last `abort_window_s` at which the run is aborted; fewer than 20
    calls are judged over up to 20 s."""
    abort_window_s: Positive = 5.0
    """The time over which errors are counted for that; the run is aborted too when for so long no
    call ends while at least 5 are in flight."""
    allow_environment: str | None = None
    """ARN of the environment on AWS that may be loaded; without it none is."""
    confirm_production: str | None = None
    """Name of the environment on AWS, if its name or a tag of it says production: without this
    such a one is not loaded."""
    abort_unhealthy: Annotated[
        tuple[Literal["metadatabase", "scheduler", "triggerer", "dag_processor"], ...], Array
    ] = ("scheduler",)
    """Components of Airflow that end the load on AWS once the health check, asked every 4 s beside
    it, calls them unhealthy; those that were so from the beginning do not count."""
    abort_webserver_cpu: Annotated[float, Field(gt=0, le=100)] | None = None
    """Mean CPU of the webservers, in percent, above which the run is aborted, as soon as a period
    of its metrics says so; none: there is no such limit."""
    trigger_dags_to_read: bool = False
    """Trigger DAGs that the mix only reads until each has 10 runs; a local one always is."""
    clean_up: bool = True
    """Delete what the run created in an environment on AWS."""


class UpgradeSides(Settings):
    """What only one side of `headroom upgrade` has: tables and keys of the scenario."""

    baseline: dict[str, Any] = Field(default_factory=dict)
    """Of the side before the upgrade, such as environment.name."""
    contender: dict[str, Any] = Field(default_factory=dict)
    """Of the side after it."""


class Scenario(Settings):
    """One scenario file, checked as a whole."""

    name: str
    """What the scenario is called."""
    description: str = ""
    """One sentence for reports."""
    slo: Annotated[tuple[Slo, ...], Array] = ()
    """Lines that must all hold; see "SLO"."""
    question: Question
    """What the scenario asks."""
    environment: AnyEnvironment
    """What is loaded."""
    traffic: Traffic
    """Which calls are sent, and when."""
    stages: Annotated[tuple[Stage, ...], Array, Field(min_length=1)]
    """Parts of the run, one after the other."""
    recovery: Recovery = Recovery()
    """The light load after a stage that broke the SLO."""
    expect: Expectations = Expectations()
    """What must be there before any load."""
    limits: Limits = Limits()
    """What keeps a run from doing harm."""
    upgrade: UpgradeSides = UpgradeSides()
    """What the sides of `headroom upgrade` differ in, besides the version."""

    @field_validator("stages", mode="after")
    @classmethod
    def _named(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        return tuple(
            stage if stage.name else stage.model_copy(update={"name": f"stage {number}"})
            for number, stage in enumerate(stages, start=1)
        )

    @model_validator(mode="after")
    def _fits_together(self) -> "Scenario":
        _check_together(self)
        return self

    @property
    def recovery_rate_per_s(self) -> float | None:
        """Calls per second of a recovery phase; None: there are none."""
        if self.traffic.arrivals == "closed" or self.recovery.longest_s == 0:
            return None
        if self.recovery.rate_per_s is not None:
            return self.recovery.rate_per_s
        rates = [rate for s in self.stages for rate in (s.rate_per_s, s.ramp_to_rate_per_s) if rate]
        return min(*rates, max(rates) / 2)  # of a single stage, half

    def weights_of(self, stage: Stage) -> tuple[float, ...]:
        """Of the mix's entries, in order, as this stage sends them."""
        if stage.operation is None:
            return self.traffic.weights
        return tuple(float(label == stage.operation) for label in self.traffic.mix)

    def highest_rate_per_s(self, stage: Stage) -> float:
        """The highest rate a stage reaches, over a second or longer.

        Users of a closed workload reach it only if answers take no time.
        """
        if stage.users is not None and self.traffic.think_time_s is not None:
            return stage.users / self.traffic.think_time_s
        rates = (stage.rate_per_s, stage.ramp_to_rate_per_s, stage.peak_rate_per_s)
        return max(rate or 0.0 for rate in rates)


def _check_together(scenario: Scenario) -> None:
    _check_traffic(scenario)
    for index, stage in enumerate(scenario.stages):
        _check_stage_keys(scenario.traffic.arrivals, f"stages[{index}]", stage)
        _check_operation(scenario, f"stages[{index}]", stage)
        _check_harmless(scenario, f"stages[{index}]", stage)
    _check_recovery(scenario)
    _check_slo(scenario)
    _check_numbers(scenario)


def _check_traffic(scenario: Scenario) -> None:
    traffic = scenario.traffic
    if traffic.retries != "off" and traffic.transport != "boto3":
        raise ValueError(
            f'traffic.retries = "{traffic.retries}" is a mode of botocore\'s: it needs '
            'traffic.transport = "boto3"'
        )
    is_closed = traffic.arrivals == "closed"
    if is_closed and scenario.question.ask == "capacity":
        raise ValueError(
            'question.ask = "capacity" cannot be answered by traffic.arrivals = "closed": users '
            "who wait for answers never offer more than the environment takes"
        )
    if traffic.retries == "adaptive" and scenario.question.ask == "capacity":
        raise ValueError(
            'question.ask = "capacity" cannot be answered with traffic.retries = "adaptive", which '
            "sends less by itself when it is throttled; choose another mode, or ask a check"
        )
    if is_closed and traffic.think_time_s is None:
        raise ValueError('traffic.think_time_s is missing, which traffic.arrivals = "closed" needs')
    for key in ("trace_column", "trace_speed", "trace_scale"):
        is_set = getattr(traffic, key) != Traffic.model_fields[key].default
        if is_set and traffic.arrivals != "trace":
            raise ValueError(f'traffic.{key} goes only with traffic.arrivals = "trace"')
    if not is_closed and traffic.think_time_s is not None:
        raise ValueError('traffic.think_time_s goes only with traffic.arrivals = "closed"')


def _check_stage_keys(arrivals: str, place: str, stage: Stage) -> None:
    needed, allowed = _STAGE_KEYS[arrivals]
    for key in needed:
        if getattr(stage, key) is None:
            raise ValueError(
                f'{place}.{key} is missing, which traffic.arrivals = "{arrivals}" needs'
            )
    for key in _SOME_KINDS_KEYS:
        if key not in needed + allowed and getattr(stage, key) is not None:
            raise ValueError(f'{place}.{key} does not go with traffic.arrivals = "{arrivals}"')


def _check_operation(scenario: Scenario, place: str, stage: Stage) -> None:
    mix = scenario.traffic.mix
    if stage.operation is None:
        return
    if stage.operation not in mix:
        raise ValueError(
            f"{place}.operation is '{stage.operation}'{did_you_mean(stage.operation, mix)}, which "
            f"is not in traffic.mix ({', '.join(mix)})"
        )
    if scenario.question.ask == "capacity":
        raise ValueError(
            f'{place}.operation does not go with question.ask = "capacity", which is about the '
            "whole mix; ask a check"
        )


def _check_harmless(scenario: Scenario, place: str, stage: Stage) -> None:
    limits, highest_per_s = scenario.limits, scenario.highest_rate_per_s(stage)
    if highest_per_s > limits.max_rate_per_s:
        raise ValueError(
            f"{place} asks for {highest_per_s:g} calls/s, "
            f"above limits.max_rate_per_s = {limits.max_rate_per_s:g}"
        )
    if stage.users is not None and stage.users > limits.max_in_flight:
        raise ValueError(
            f"{place} has {stage.users} users, above limits.max_in_flight = {limits.max_in_flight}"
        )


def _check_numbers(scenario: Scenario) -> None:
    most = [scenario.highest_rate_per_s(stage) * stage.duration_s for stage in scenario.stages]
    is_closed = scenario.traffic.arrivals == "closed"
    if _RANDOM_EXCESS * max(most) > CALLS_PER_CLOSED_STAGE and is_closed:
        raise ValueError(
            f"a stage may make up to {max(most):.2g} calls, for a closed workload at most "
            f"{CALLS_PER_CLOSED_STAGE / _RANDOM_EXCESS:.2g} can be numbered: make it shorter"
        )
    if _RANDOM_EXCESS * sum(most) > RECOVERY_ARRIVALS_FROM and not is_closed:
        raise ValueError(
            f"the stages may make up to {sum(most):.2g} calls, in one run at most "
            f"{RECOVERY_ARRIVALS_FROM / _RANDOM_EXCESS:.2g} can be numbered: make several "
            "scenarios of them"
        )


def _check_recovery(scenario: Scenario) -> None:
    rate_per_s, limits = scenario.recovery.rate_per_s, scenario.limits
    if rate_per_s is None:
        return
    if scenario.traffic.arrivals == "closed":
        raise ValueError('recovery.rate_per_s does not go with traffic.arrivals = "closed"')
    if rate_per_s > limits.max_rate_per_s:
        raise ValueError(
            f"recovery.rate_per_s = {rate_per_s:g} is above "
            f"limits.max_rate_per_s = {limits.max_rate_per_s:g}"
        )


def _check_slo(scenario: Scenario) -> None:
    expect, mix = scenario.expect, scenario.traffic.mix
    if not scenario.slo and not (expect.dags or expect.healthy_components):
        raise ValueError("slo must not be empty: without it nothing can be judged")
    for index, text in enumerate(scenario.slo):
        slo = parse_slo(text)
        if slo.selector_key == "operation" and slo.selector_value not in mix:
            raise ValueError(
                f"slo[{index}] names '{slo.selector_value}'"
                f"{did_you_mean(slo.selector_value, mix)}, which is not in traffic.mix "
                f"({', '.join(mix)})"
            )
    if scenario.question.ask == "capacity" and not scenario.slo:
        raise ValueError("a capacity question needs an slo")
