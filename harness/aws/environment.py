"""What GetEnvironment says about the environment under test, without what is nobody's business."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.credentials import Credentials

from mwaa_headroom.analysis.planning.classes import CLASSES
from mwaa_headroom.harness.aws.clients import AwsClients, make_clients
from mwaa_headroom.harness.aws.credentials import KeySource, files_of_keys
from mwaa_headroom.harness.aws.translate import aws_call, member
from mwaa_headroom.harness.errors import NotAllowedError
from mwaa_headroom.harness.scenario.model import AwsSettings, Scenario


def require_allowed(scenario: Scenario, arn: str, *, endpoint_is_loopback: bool) -> None:
    """Refuse to load an environment that nobody named as allowed.

    Args:
        scenario: kind aws needs `limits.allow_environment`, the other kinds need this machine.
        arn: of the environment, as GetEnvironment tells it.
        endpoint_is_loopback: whether all endpoints are on this machine.

    Raises:
        NotAllowedError: with the line to add to the scenario.
    """
    if scenario.environment.kind != "aws":
        if not endpoint_is_loopback:
            raise NotAllowedError(
                f"A scenario of kind '{scenario.environment.kind}' loads only this machine, but an "
                'endpoint is elsewhere; use kind = "aws" for that environment.'
            )
        return
    if not arn:
        raise NotAllowedError(
            "GetEnvironment does not tell the environment's ARN, so it cannot be compared with "
            "limits.allow_environment: check the endpoint URL and proxies."
        )
    if scenario.limits.allow_environment == arn:
        return
    named = scenario.limits.allow_environment
    other = f", not '{named}'" if named else ""
    raise NotAllowedError(
        f"The environment is {arn}{other}: if you may load it, put this line under [limits] of the "
        f'scenario: allow_environment = "{arn}".'
    )


def require_confirmed(scenario: Scenario, facts: "EnvironmentFacts") -> None:
    """Refuse to load what looks like a production environment unless the scenario names it.

    Raises:
        NotAllowedError: with the line to add to the scenario.
    """
    is_meant = scenario.limits.confirm_production == facts.name
    if scenario.environment.kind == "aws" and facts.production_signs and not is_meant:
        raise NotAllowedError(
            f"The environment '{facts.name}' seems to be for production "
            f"({', '.join(facts.production_signs)}): if you may load it, put this line under "
            f'[limits] of the scenario: confirm_production = "{facts.name}".'
        )


def production_signs(name: str, tags: Mapping[str, str]) -> tuple[str, ...]:
    """What says that an environment is for production: its name, or tags such as env=prod.

    As a word of its own ("my-prod", "ProdAirflow", "prod2"), but not after "non" or "pre".
    """
    found = [f"its name {name}"] if _speaks_of_production(name) else []
    for key, value in sorted(tags.items()):
        is_said_of_key = _speaks_of_production(key) and value.lower() not in _NO
        if is_said_of_key or _speaks_of_production(value):
            found.append(f"its tag {key}={value}")
    return tuple(found)


_NO = ("false", "no", "0", "off")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_PRODUCTION = ("prod", "prd", "production")


def _speaks_of_production(text: str) -> bool:
    words = [word.lower() for word in _WORD.findall(text)]
    before = ["", *words]
    return any(
        word in _PRODUCTION and before[place] not in ("non", "not", "no", "pre")
        for place, word in enumerate(words)
    )


# What may be recorded. Everything else (roles, keys, buckets, networks, tags, URLs) is left out.
_RECORDED = (
    "Name",
    "Arn",
    "Status",
    "CreatedAt",
    "AirflowVersion",
    "EnvironmentClass",
    "MinWebservers",
    "MaxWebservers",
    "MinWorkers",
    "MaxWorkers",
    "Schedulers",
    "WebserverAccessMode",
    "WeeklyMaintenanceWindowStart",
    "EndpointManagement",
)


@dataclass(frozen=True, slots=True)
class EnvironmentFacts:
    """The environment at one moment.

    Attributes:
        webserver_vcpu: of one webserver, from the class table; None: a class it does not know.
        clock_offset_s: the environment's clock minus this host's, within about half a second plus
            half the round trip, because the Date header has whole seconds; None: no Date header.
        recorded: the non-sensitive part of the answer as JSON values.
        production_signs: what says that it is for production.
    """

    name: str
    arn: str
    status: str
    airflow_version: str
    webserver_vcpu: float | None
    clock_offset_s: float | None
    recorded: dict[str, object]
    production_signs: tuple[str, ...] = ()


def describe_environment(
    clients: AwsClients, name: str, *, clock: Callable[[], float] = time.time
) -> EnvironmentFacts:
    """Ask for the environment's facts.

    Args:
        clients: see `make_clients`.
        name: of the environment.
        clock: seconds since the epoch on this host.

    Raises:
        EnvironmentAccessError: denied, unreachable, or there is no such environment.
    """
    asked_at_s = clock()
    with aws_call("airflow:GetEnvironment", environment=name, client=clients.mwaa):
        answer = clients.mwaa.get_environment(Name=name)
        environment: Mapping[str, Any] = member(answer, "Environment")
    answered_at_s = clock()
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    environment_class = str(environment.get("EnvironmentClass", ""))
    return EnvironmentFacts(
        name=name,
        arn=str(environment.get("Arn", "")),
        status=str(environment.get("Status", "")),
        airflow_version=str(environment.get("AirflowVersion", "")),
        webserver_vcpu={each.name: each.webserver_cpu for each in CLASSES}.get(environment_class),
        clock_offset_s=_clock_offset_s(headers.get("date"), asked_at_s, answered_at_s),
        recorded=reduce_environment(environment),
        production_signs=production_signs(name, environment.get("Tags") or {}),
    )


def key_source(clients: AwsClients, scenario: Scenario, settings: AwsSettings) -> KeySource | None:
    """The keys of these clients, for load processes; None: there are none.

    Keys that another program writes into the user's files are used from then on if they lead to
    the same environment: another account may have one of the same name.
    """
    given = clients.credentials
    if given is None:
        return None

    def find_again() -> Credentials | None:
        now = make_clients(
            environment=settings.name, region=settings.region, profile=settings.profile
        )
        found = now.credentials
        if found is not None and found.access_key != given.access_key:
            arn = describe_environment(now, settings.name).arn
            require_allowed(scenario, arn, endpoint_is_loopback=now.endpoint_is_loopback)
        return found

    files = files_of_keys(settings.profile)
    return KeySource(given, settings.name, files=files, find_again=find_again)


def reduce_environment(environment: Mapping[str, object]) -> dict[str, object]:
    """The members of a GetEnvironment answer that a record may hold, as JSON values.

    Of the Airflow configuration only the names of its options are kept, never their values.
    """
    reduced = {key: _json(environment[key]) for key in _RECORDED if key in environment}
    options = environment.get("AirflowConfigurationOptions")
    if isinstance(options, Mapping):
        reduced["AirflowConfigurationOptions"] = sorted(options)
    update = environment.get("LastUpdate")
    if isinstance(update, Mapping):
        reduced["LastUpdate"] = {
            key: _json(update[key]) for key in ("Status", "CreatedAt", "Source") if key in update
        }
    logging = environment.get("LoggingConfiguration")
    if isinstance(logging, Mapping):
        reduced["LoggingConfiguration"] = {
            name: {key: log[key] for key in ("Enabled", "LogLevel") if key in log}
            for name, log in logging.items()
        }
    return reduced


def _clock_offset_s(date: str | None, asked_at_s: float, answered_at_s: float) -> float | None:
    if date is None:
        return None
    try:
        whole_s = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    return whole_s + 0.5 - (asked_at_s + answered_at_s) / 2  # the header cuts the fraction off


def _json(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
