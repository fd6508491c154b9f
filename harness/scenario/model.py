"""The scenario as frozen, checked values. Its TOML keys are the field names below."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from analysis.errors import SloSyntaxError
from analysis.slo import parse_slo
from harness.local.settings import LocalSettings, Positive, Settings, SimulatedSettings
from harness.traffic.operations import OPERATIONS, check_parameters

HIGHEST_RATE_PER_S = 500.0  # above this, a typo is likelier than a wish


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
    target_rate_per_s: Positive | None = None  # the load to size for; None: the highest stage
    utilisation_target: Annotated[float, Field(gt=0, lt=1)] = 0.7  # scale-out begins above this


class AwsSettings(Settings):
    """A real environment on AWS, found through botocore's standard configuration."""

    kind: Literal["aws"]
    name: str
    region: str | None = None
    profile: str | None = None
    metric_period_s: Literal[60] = 60
    metrics_settle_s: Annotated[float, Field(ge=0)] = 180.0  # how long metrics may arrive late
    webserver_cpu: Positive | None = None  # vCPU per webserver; None: from the environment class


AnyEnvironment = Annotated[
    LocalSettings | SimulatedSettings | AwsSettings, Field(discriminator="kind")
]


class OperationChoice(Settings):
    """One entry of the mix: an operation with its parameters. The label is the key in the file."""

    operation: str
    weight: Positive
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> "OperationChoice":
        if self.operation not in OPERATIONS:
            raise ValueError(
                f"unknown operation '{self.operation}'; known are {', '.join(sorted(OPERATIONS))}"
            )
        check_parameters(self.operation, self.parameters)
        return self


class Traffic(Settings):
    """Arrivals and mix.

    In the file an entry of the mix is `label = weight` or
    `label = { weight = 1, operation = "list_dag_runs", limit = 100 }`.
    """

    arrivals: Literal["poisson", "constant"] = "poisson"
    seed: int = 1
    mix: Annotated[dict[str, OperationChoice], Field(min_length=1)]

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
    """A part of a run with one rate, or a ramp from one rate to another."""

    name: str = ""
    rate_per_s: Annotated[float, Field(gt=0, le=HIGHEST_RATE_PER_S)]
    ramp_to_rate_per_s: Annotated[float, Field(gt=0, le=HIGHEST_RATE_PER_S)] | None = None
    duration_s: Annotated[float, Field(gt=0, le=24 * 3600)]
    warmup_s: Annotated[float, Field(ge=0)] = 0.0  # at its start, left out of its judgement

    @model_validator(mode="after")
    def _warmup_fits(self) -> "Stage":
        if self.warmup_s >= self.duration_s:
            raise ValueError("warmup_s must be shorter than duration_s")
        return self

    @property
    def highest_rate_per_s(self) -> float:
        """The highest rate the stage reaches."""
        return max(self.rate_per_s, self.ramp_to_rate_per_s or 0.0)


class Expectations(Settings):
    """What a deployed environment must have before any load: the post-deployment check."""

    healthy_components: Annotated[
        tuple[Literal["metadatabase", "scheduler", "triggerer", "dag_processor"], ...], Array
    ] = ()
    dags: Annotated[tuple[str, ...], Array] = ()


class Limits(Settings):
    """What keeps a run from doing harm."""

    max_rate_per_s: Positive = 10.0  # the documented ceiling of InvokeRestApi
    max_in_flight: Annotated[int, Field(ge=1, le=5000)] = 256
    call_timeout_s: Positive = 15.0  # above the service's own 10 s, to tell the two apart
    abort_error_rate: Annotated[float, Field(gt=0, le=1)] = 0.9  # over the last abort_window_s
    abort_window_s: Positive = 30.0
    allow_environment: str | None = None  # kind aws: the ARN that may be loaded
    clean_up: bool = True  # kind aws: delete what the run created


class Scenario(Settings):
    """One scenario file, checked as a whole."""

    name: str
    description: str = ""
    slo: Annotated[tuple[Slo, ...], Array] = ()
    question: Question
    environment: AnyEnvironment
    traffic: Traffic
    stages: Annotated[tuple[Stage, ...], Array, Field(min_length=1)]
    expect: Expectations = Expectations()
    limits: Limits = Limits()

    @field_validator("stages", mode="after")
    @classmethod
    def _named(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        return tuple(
            stage if stage.name else stage.model_copy(update={"name": f"stage {number}"})
            for number, stage in enumerate(stages, start=1)
        )

    @model_validator(mode="after")
    def _fits_together(self) -> "Scenario":
        for index, stage in enumerate(self.stages):
            if stage.highest_rate_per_s > self.limits.max_rate_per_s:
                raise ValueError(
                    f"stages[{index}] asks for {stage.highest_rate_per_s:g} calls/s, "
                    f"above limits.max_rate_per_s = {self.limits.max_rate_per_s:g}"
                )
        if not self.slo and not (self.expect.dags or self.expect.healthy_components):
            raise ValueError("slo must not be empty: without it nothing can be judged")
        for index, text in enumerate(self.slo):
            slo = parse_slo(text)
            if slo.selector_key == "operation" and slo.selector_value not in self.traffic.mix:
                raise ValueError(
                    f"slo[{index}] names '{slo.selector_value}', which is not in traffic.mix "
                    f"({', '.join(self.traffic.mix)})"
                )
        if self.question.ask == "capacity" and not self.slo:
            raise ValueError("a capacity question needs an slo")
        return self
