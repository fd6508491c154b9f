"""Settings of the local environments: what is behind the gateway, and how the gateway behaves.

Behaviour of AWS that is not documented is a named setting here, never a silent choice in code.
Defaults are what is most likely of AWS, by all that is known in public.

Imports nothing that only a running environment needs, so that scenarios can be checked without it.
The string below a key is its meaning in docs/reference.md. Of how the gateway, the metrics and the
scaling rule behave it ends with where that is from: "Documented", "Third party" (seen on AWS by
others), "Assumed", or "Local" (of no concern to AWS), and after a colon by whom or why.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    field_validator,
    model_validator,
)
from pydantic_core import core_schema

from mwaa_headroom.analysis.mwaa import INVOKE_RESPONSE_BYTES, INVOKE_TIMEOUT_S, MOST_WEBSERVERS
from mwaa_headroom.analysis.policy.scaling_rule import PolicyParameters

REQUIREMENTS = Path(__file__).parent / "airflow" / "requirements"


def known_versions() -> tuple[str, ...]:
    """The Airflow versions whose packages are pinned, and which can thus be installed."""
    return tuple(sorted(file.stem for file in REQUIREMENTS.glob("*.txt")))


Positive = Annotated[float, Field(gt=0)]
AuthManager = Literal["fab", "simple"]
AirflowVersion = Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]


class Settings(BaseModel):
    """Frozen; an unknown key, a wrong type or an infinite number is an error.

    Whole numbers do where a fraction could be. A tuple must be declared with Field(strict=False),
    because TOML and JSON have only arrays.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ThrottleSettings(Settings):
    """Token bucket in front of InvokeRestApi, one for all callers of the environment.

    That it is per environment is said by AWS's own upgrade skill, which sends 5 calls/s itself; of
    its rate AWS documents only "more than 10 transactions per second" as the point to leave
    InvokeRestApi. The local default lets everything through (rate_per_s = None) because the
    question there is about webservers.
    """

    rate_per_s: Positive | None = None
    """Calls per second that are let through in the long run; none: all are. Local: AWS has some
    rate near 10, which is documented; what it is exactly is not."""
    burst: Annotated[int, Field(ge=1)] = 20
    """Calls that are let through at once after a pause. Assumed."""
    error_code: str = "ThrottlingException"
    """Error code of a refused call. Assumed: could be TooManyRequestsException."""
    http_status: Literal[400, 429] = 429
    """HTTP status of a refused call. Assumed."""
    retry_after_ms: Annotated[int, Field(ge=0)] | None = None
    """When to come back, in the header x-amz-retry-after; none: not said. Assumed."""


class GatewaySettings(Settings):
    """How the gateway answers where AWS's behaviour is documented only in part."""

    throttle: ThrottleSettings = ThrottleSettings()
    """The throttle of InvokeRestApi. Third party: that it is the environment's, shared by all
    callers."""
    timeout_s: Positive = INVOKE_TIMEOUT_S
    """After how long a call is cut. Documented."""
    timeout_exception: Literal["InternalServerException", "RestApiServerException"] = (
        "InternalServerException"
    )
    """Error code of a call that was cut. Assumed: documented is only that an error is raised."""
    max_request_bytes: Annotated[int, Field(ge=1)] = 10 * 1024 * 1024
    """Largest request. Assumed: it is Amazon API Gateway's own limit."""
    max_response_bytes: Annotated[int, Field(ge=1)] = INVOKE_RESPONSE_BYTES
    """Largest answer. Documented."""
    too_large_exception: Literal["ValidationException", "InternalServerException"] = (
        "ValidationException"
    )
    """Error code when the answer is too large. Assumed: documented is only that it fails."""
    enforce_path_limit: bool = True
    """Refuse paths above 64 characters, the service model's limit. Third party: AWS's own upgrade
    skill runs into it."""
    unwrap_string_body: bool = True
    """Take a JSON text as Body for what it holds. Third party: shown working in a talk."""
    drop_nulls: bool = False
    """Leave null values out of RestApiResponse. Assumed: one third party says that AWS does."""
    max_clock_skew_s: Positive = 300.0
    """How far a signature's time may be off. Documented: of SigV4 in general."""
    needs_update: bool = False
    """Refuse InvokeRestApi as an environment of before it does: HTTP 400 in plain text, its code
    only in a header. Third party: aws/aws-sdk-go-v2 issue 3057."""
    login_redirects: bool = False
    """Answer the login of the webserver address with 307 to the same path and a slash. Assumed: so
    does /aws_mwaa/cli of a real 3.0.6."""


class _FromTable:
    """Lets a table become a dataclass, which strict settings refuse; its values stay strict."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        schema = handler(source)
        cast(dict[str, Any], handler.resolve_ref_schema(schema))["strict"] = False
        return schema


class MetricsSettings(Settings):
    """What is published to CloudWatch under AWS/MWAA."""

    period_s: Literal[1, 5, 10, 30, 60] = 5
    """Length of a metric period. Local: runs are short here; AWS's 60 s are documented."""
    connections_per_call: Annotated[int, Field(ge=1)] = 1
    """Connections that one call counts as. Assumed: by ELB's definition it would be 2."""
    connections_have_cluster: bool = False
    """Give ActiveConnectionCount the dimension Cluster, as CPUUtilization has, not Environment
    alone. Third party: not in a live capture of June 2026."""
    additional_cluster: Annotated[str, Field(pattern=r"(?i)^additionalwebserver")] = (
        "AdditionalWebservers"
    )
    """Cluster of webservers beyond the minimum; every spelling is found. Documented: so printed in
    the user guide, while health checks of AWS's images say ADDITIONAL_WEBSERVER."""
    while_starting: bool = False
    """Whether SampleCount counts a webserver before it is healthy. Assumed."""
    database_cpu: Positive = 1.0
    """CPUs that are 100 % of the database's CPUUtilization, to which the local database is not
    held: it may pass 100 %. Local: MWAA's are those of the environment class."""


class StandInSettings(Settings):
    """What both kinds of local environment have in common."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z][0-9a-zA-Z\-_]{0,79}$")] = "headroom-local"
    """Name of the environment."""
    region: str = "us-east-1"
    """Region it claims to be in."""
    account: Annotated[str, Field(pattern=r"^\d{12}$")] = "123456789012"
    """AWS account it claims to belong to."""
    airflow_role: Literal["Admin", "Op", "User", "Viewer", "Public"] = "Admin"
    """Airflow role that callers get."""
    min_webservers: Annotated[int, Field(ge=1, le=MOST_WEBSERVERS)] = 2
    """Webservers to start with, and the fewest of the autoscaler."""
    max_webservers: Annotated[int, Field(ge=1, le=MOST_WEBSERVERS)] = 4
    """The most webservers the autoscaler may have; the minimum: a fixed number."""
    gateway_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of the MWAA API on this machine; 0: any free one."""
    https: bool = False
    """Serve the MWAA API and the webserver address over https, with a CA of its own."""
    gateway: GatewaySettings = GatewaySettings()
    """How the MWAA API behaves."""
    autoscaler: Annotated[PolicyParameters, _FromTable] = PolicyParameters()
    """The scaling rule."""
    metrics: MetricsSettings = MetricsSettings()
    """What CloudWatch is told."""

    @model_validator(mode="after")
    def _limits_in_order(self) -> "StandInSettings":
        if self.max_webservers < self.min_webservers:
            raise ValueError("max_webservers must not be below min_webservers")
        return self


def _is_airflow_2(version: object) -> bool:
    return isinstance(version, str) and version.startswith("2.")


class LocalSettings(StandInSettings):
    """Real Airflow on this machine."""

    kind: Literal["local"] = "local"
    """Real Airflow on this machine."""
    airflow_version: AirflowVersion = "3.3.1"
    """Which Airflow to install and run: any that MWAA offers."""
    auth_manager: AuthManager = "simple"
    """Who Airflow 3 takes callers for: "fab", as on MWAA, keeps users and roles in the database and
    costs hardly more a call; "simple" keeps them in memory. Airflow 2 has only "fab"."""
    webserver_workers: Annotated[int, Field(ge=1, le=16)] = 1
    """Worker processes of one webserver, which share its CPUs. MWAA's public images set no number,
    whatever the class, so that Airflow's own default holds: 4 in Airflow 2 and 3.0, 1 in 3.2 and
    3.3."""
    webserver_cpu: Annotated[float, Field(gt=0, le=16)] = 0.25
    """CPUs of one webserver: what 100 % CPUUtilization means."""
    webserver_memory_mib: Annotated[int, Field(ge=256)] = 2048
    """Memory of one webserver: what 100 % MemoryUtilization means."""
    database_pool_size: Annotated[int, Field(ge=1)] = 64
    """Database connections that one webserver keeps open. With Airflow's own default (5, overflow
    10) a webserver with more calls in flight hangs for tens of seconds after the load has stopped
    (apache/airflow issue 66493): set 5 to see it."""
    database_max_overflow: Annotated[int, Field(ge=0)] = 10
    """Database connections beyond these that it may open for a while."""
    plugins_folder: str | None = None
    """Folder of Airflow plugins to load, relative to where headroom is called; none: no plugins."""

    @model_validator(mode="before")
    @classmethod
    def _airflow_2_has_fab(cls, given: Any) -> Any:
        """So that runs of both majors are told apart, or held alike, by what they really used."""
        if isinstance(given, dict) and _is_airflow_2(given.get("airflow_version")):
            return {"auth_manager": "fab", **given}
        return given

    @model_validator(mode="after")
    def _airflow_2_has_nothing_else(self) -> "LocalSettings":
        if _is_airflow_2(self.airflow_version) and self.auth_manager != "fab":
            raise ValueError('Airflow 2 knows only auth_manager = "fab"')
        return self

    @field_validator("airflow_version")
    @classmethod
    def _can_be_installed(cls, version: str) -> str:
        if version not in known_versions():
            raise ValueError(
                f"Airflow {version} cannot be run locally; known are {', '.join(known_versions())}"
            )
        return version


SIMULATED_DEMANDS_S: Mapping[str, float] = MappingProxyType(
    {
        "health": 0.010,
        "list_dags": 0.030,
        "list_dag_runs": 0.060,
        "get_dag_run": 0.015,
        "list_task_instances": 0.030,
        "trigger_dag_run": 0.035,
        "pause_dag": 0.016,
        "unpause_dag": 0.016,
        "list_variables": 0.011,
        "list_connections": 0.015,
        "list_pools": 0.025,
        "set_variable": 0.020,
    }
)  # near Airflow 3.3.1 on one 2026 server core


class SimulatedSettings(StandInSettings):
    """Webservers whose service demands are known, because they are set here."""

    kind: Literal["simulated"] = "simulated"
    """Simulated webservers."""
    airflow_version: AirflowVersion = "3.3.1"
    """The Airflow version they claim to be; decides paths and bodies of calls."""
    cores: Positive = 1.0
    """CPUs of one webserver."""
    demand_s: dict[str, Positive] = Field(default_factory=lambda: dict(SIMULATED_DEMANDS_S))
    """CPU-seconds per call, by operation; one that is not given keeps its default."""
    demand_cv: Annotated[float, Field(ge=0)] = 0.0
    """Coefficient of variation of the demand of single calls; 0: all cost the same."""
    contention: Annotated[float, Field(ge=0)] = 0.0
    """Fraction by which each call in service beyond the first makes every call dearer."""
    background_cpu: Annotated[float, Field(ge=0)] = 0.0
    """CPUs that each webserver uses without calls; calls have that much less."""
    latency_s: Annotated[float, Field(ge=0)] = 0.002
    """Added to the time of each call; costs no CPU."""
    start_s: Annotated[float, Field(ge=0)] = 1.0
    """Mean time from the decision to scale out until the webserver is ready."""
    start_cv: Annotated[float, Field(ge=0)] = 0.0
    """Coefficient of variation of that time; 0: every webserver takes exactly start_s."""
    seed: int = 1
    """Of all that is random in the webservers."""

    @field_validator("demand_s")
    @classmethod
    def _merged_over_the_defaults(cls, given: dict[str, float]) -> dict[str, float]:
        for operation in given:
            if operation not in SIMULATED_DEMANDS_S:
                raise ValueError(
                    f"unknown operation '{operation}'; known are {', '.join(SIMULATED_DEMANDS_S)}"
                )
        return {**SIMULATED_DEMANDS_S, **given}

    @model_validator(mode="after")
    def _cores_are_left(self) -> "SimulatedSettings":
        if self.background_cpu >= self.cores:
            raise ValueError("background_cpu must be below cores")
        return self


AnyStandIn = Annotated[LocalSettings | SimulatedSettings, Field(discriminator="kind")]
