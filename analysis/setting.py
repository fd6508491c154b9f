"""What was asked and of what: the manifest's scenario and environment as checked plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mwaa_headroom.analysis.errors import RecordFormatError, SloSyntaxError
from mwaa_headroom.analysis.mwaa import CONNECTIONS_ABOVE, CPU_ABOVE_PERCENT
from mwaa_headroom.analysis.slo import Slo, parse_slo

# A change of one of these during the run makes its parts incomparable.
_MATTERING = (
    *("AirflowVersion", "EnvironmentClass", "MinWebservers", "MaxWebservers", "Schedulers"),
    *("Status", "LastUpdate"),  # an update that began, ended, or both
)

_WORKLOADS = {
    "poisson": "open: Poisson arrivals",
    "trace": "open: trace",
    "closed": "closed: users with think time",
}
_USUAL_TRANSPORT = "lean"
_FIRST_TRANSPORT = "boto3"  # of records of version 1, before there was a choice
_USUAL_HOLD_S = 10.0


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage as configured; a ramp and a trace have their mean rate, a closed one has none."""

    index: int
    name: str
    rate_per_s: float | None
    duration_s: float
    warmup_s: float
    users: int | None = None  # of a closed workload
    varies: bool = False  # a ramp or a trace
    operation: str | None = None  # the only one it sends, a label of the mix; None: the mix

    @property
    def label(self) -> tuple[int, str]:
        """How findings name it."""
        return self.index, self.name


@dataclass(frozen=True, slots=True)
class Setting:
    """The question, the load and the facts an analysis needs to know."""

    scenario_name: str
    question: str  # capacity | check
    target_rate_per_s: float | None
    utilisation_target: float
    slos: tuple[Slo, ...]
    arrivals: str  # poisson | constant | trace | closed
    transport: str  # lean | boto3 | web_token
    retries: str  # off | legacy | standard | adaptive
    mix: dict[str, float]  # label -> fraction
    operations: dict[str, str]  # label -> operation
    recovery_hold_s: float
    stages: tuple[StagePlan, ...]
    environment: dict[str, Any]
    webserver_cpu: float | None  # CPUs per webserver
    cpu_above_percent: float
    connections_above: float
    connections_are_per_webserver: bool

    @property
    def count_limits(self) -> tuple[int | None, int | None]:
        """MinWebservers and MaxWebservers; None where not known, or changed during the run."""
        if {"MinWebservers", "MaxWebservers"} & set(self.environment.get("changed", ())):
            return None, None
        return self.environment.get("min_webservers"), self.environment.get("max_webservers")

    @property
    def pinned_webservers(self) -> int | None:
        """How many webservers there are all the time; None: it may change, or is not known."""
        fewest, most = self.count_limits
        return most if fewest == most else None

    @property
    def is_closed(self) -> bool:
        """Whether arrivals wait for answers, so that slow answers mean less load."""
        return self.arrivals == "closed"

    @property
    def workload(self) -> str:
        """The kind of load as people call it."""
        return _WORKLOADS.get(self.arrivals, f"open: {self.arrivals} arrivals")


def read_setting(manifest: Mapping[str, Any]) -> Setting:
    """Understand a manifest.

    Raises:
        RecordFormatError: the scenario in it is missing or unusable.
    """
    scenario = manifest.get("scenario")
    if not isinstance(scenario, Mapping):
        raise RecordFormatError("The manifest has no scenario, so nothing can be judged.")
    try:
        is_first = manifest.get("schema_version") == 1
        transport = _FIRST_TRANSPORT if is_first else _USUAL_TRANSPORT
        return _setting(scenario, _environment(manifest), transport)
    except SloSyntaxError as exc:
        raise RecordFormatError(f"The manifest's scenario cannot be judged: {exc}") from exc
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as exc:
        raise RecordFormatError(f"The manifest's scenario is incomplete: {exc!r}.") from exc


def _setting(
    scenario: Mapping[str, Any], environment: dict[str, Any], usual_transport: str
) -> Setting:
    question = scenario["question"]
    facts = environment["facts"]
    configured = dict(scenario.get("environment") or {})
    rule = dict(configured.get("autoscaler") or {})
    traffic = scenario["traffic"]
    mix = {str(label): choice for label, choice in traffic["mix"].items()}
    weights = {label: float(choice["weight"]) for label, choice in mix.items()}
    recovery = dict(scenario.get("recovery") or {})
    target = question.get("target_rate_per_s")
    usual_scope = "total" if environment.get("kind") == "aws" else "per_webserver"
    cpu = facts.get("webserver_cpu") or configured.get("webserver_cpu") or configured.get("cores")
    return Setting(
        scenario_name=str(scenario.get("name", "")),
        question=str(question["ask"]),
        target_rate_per_s=float(target) if target else None,
        utilisation_target=float(question.get("utilisation_target", 0.7)),
        slos=tuple(parse_slo(text) for text in scenario.get("slo", ())),
        arrivals=str(traffic.get("arrivals", "poisson")),
        transport=str(traffic.get("transport", usual_transport)),
        retries=str(traffic.get("retries", "off")),
        mix={label: weight / sum(weights.values()) for label, weight in weights.items()},
        operations={label: str(choice.get("operation", label)) for label, choice in mix.items()},
        recovery_hold_s=float(recovery.get("hold_s", _USUAL_HOLD_S)),
        stages=tuple(_plan(index, stage) for index, stage in enumerate(scenario["stages"])),
        environment=environment,
        webserver_cpu=float(cpu) if cpu else None,
        cpu_above_percent=float(facts.get("scale_out_cpu_percent", CPU_ABOVE_PERCENT)),
        connections_above=float(facts.get("scale_out_connections", CONNECTIONS_ABOVE)),
        connections_are_per_webserver=rule.get("connections_scope", usual_scope) != "total",
    )


def _environment(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The environment by the names of `RunAnalysis.environment`; what is not known is left out."""
    recorded = dict(manifest.get("environment") or {})
    before = dict(recorded.get("before") or {})
    after = dict(recorded.get("after") or {})
    # A stand-in names a class as the API wants it, but its webservers are not of that class.
    real = recorded.get("kind") == "aws"
    named = {
        "name": recorded.get("name"),
        "kind": recorded.get("kind"),
        "arn": recorded.get("arn"),
        "airflow_version": before.get("AirflowVersion")
        or (manifest.get("versions") or {}).get("airflow"),
        "environment_class": before.get("EnvironmentClass") if real else None,
        "min_webservers": before.get("MinWebservers"),
        "max_webservers": before.get("MaxWebservers"),
        "changed": sorted(
            key for key in _MATTERING if key in after and after[key] != before.get(key)
        ),
        "facts": dict(recorded.get("facts") or {}),
    }
    return {key: value for key, value in named.items() if value not in (None, "", [])}


def _plan(index: int, stage: Mapping[str, Any]) -> StagePlan:
    rate, ramp_to, users = (stage.get(key) for key in ("rate_per_s", "ramp_to_rate_per_s", "users"))
    if rate is None and users is None:
        raise KeyError("rate_per_s")
    if rate is not None:
        rate = float(rate) if ramp_to is None else (float(rate) + float(ramp_to)) / 2
    return StagePlan(
        index=index,
        name=str(stage.get("name") or f"stage {index + 1}"),
        rate_per_s=rate,
        duration_s=float(stage["duration_s"]),
        warmup_s=float(stage.get("warmup_s", 0.0)),
        users=None if users is None else int(users),
        varies=ramp_to is not None or stage.get("trace_file") is not None,
        operation=stage.get("operation"),
    )
