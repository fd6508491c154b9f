"""`headroom local verify`: does an environment on AWS answer as the stand-in does?"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.harness.aws.clients import AwsClients, make_clients
from mwaa_headroom.harness.aws.environment import EnvironmentFacts, describe_environment
from mwaa_headroom.harness.aws.shapes import Compared, Prober, hold_against
from mwaa_headroom.harness.errors import NotAllowedError
from mwaa_headroom.harness.files import writing
from mwaa_headroom.harness.local.handle import StandIn
from mwaa_headroom.harness.local.instance import instance_root
from mwaa_headroom.harness.local.settings import MetricsSettings, SimulatedSettings

LEAST_PAUSE_S: Final = 1.0  # between calls of an environment that others use
STAND_IN: Final = "headroom-verify"
FIRST_METRICS_S: Final = 4.0


@dataclass(frozen=True, slots=True)
class VerifiedCall:
    """One call's answers side by side; of each its status, error_code, headers, body, why_not."""

    verdict: str  # agrees | differs | not tried
    what: str
    aws: dict[str, Any]
    local: dict[str, Any]
    differs: tuple[str, ...]
    more: tuple[str, ...]  # what is no difference to who does without it


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What AWS answered at that date, beside what the stand-in does."""

    date: str
    region: str
    airflow_version: str
    environment_class: str
    access_mode: str
    botocore: str
    calls: dict[str, VerifiedCall]  # by what is called


@dataclass(frozen=True, slots=True)
class Verified:
    """What was compared; `facts` say of what, without whose it is."""

    compared: Mapping[str, Compared]
    facts: Mapping[str, str]

    def count(self, verdict: str) -> int:
        """How many calls ended so: agrees, differs or not tried."""
        return sum(each.verdict == verdict for each in self.compared.values())

    def answer(self) -> Snapshot:
        """For programs, and to be kept."""
        calls = {
            check: VerifiedCall(each.verdict, **asdict(each))
            for check, each in self.compared.items()
        }
        return Snapshot(**self.facts, calls=calls)


def verify_against_aws(
    name: str,
    *,
    region: str | None,
    profile: str | None,
    allowed_arn: str,
    tell: Callable[[str], None],
    pause_s: float = LEAST_PAUSE_S,
) -> Verified:
    """Compare an environment on AWS with a simulated one of the same Airflow version.

    About twenty calls, one a second, none of which changes anything but three logins.

    Args:
        name: of the environment.
        region: None: from botocore's standard configuration.
        profile: likewise.
        allowed_arn: of the environment that may be called.
        tell: is told what goes on.
        pause_s: between two calls.

    Raises:
        NotAllowedError: the environment is another one.
        HeadroomError: it cannot be asked, or the stand-in does not start.
    """
    clients = make_clients(environment=name, region=region, profile=profile)
    facts = describe_environment(clients, name)
    if facts.arn != allowed_arn:
        raise NotAllowedError(
            f"The environment is {facts.arn or 'one without ARN'}: if you may call it, give "
            f"--allow-environment {facts.arn}."
        )
    settings = SimulatedSettings(
        name=STAND_IN,
        airflow_version=facts.airflow_version,
        min_webservers=2,
        max_webservers=2,
        metrics=MetricsSettings(period_s=1),
    )
    stand_in = StandIn.start(settings, instance_root() / STAND_IN, tell)
    try:
        variables = stand_in.endpoints.as_variables()
        here = make_clients(environment=STAND_IN, variables=variables)
        time.sleep(FIRST_METRICS_S)
        compared = hold_against(
            Prober(clients, name, facts.airflow_version, pause=lambda: time.sleep(pause_s)),
            Prober(here, STAND_IN, facts.airflow_version, pause=lambda: None),
            tell,
        )
    finally:
        stand_in.stop()
    return Verified(dict(compared), _facts(clients, facts))


def _facts(clients: AwsClients, facts: EnvironmentFacts) -> dict[str, str]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "region": clients.mwaa_once.meta.region_name,
        "airflow_version": facts.airflow_version,
        "environment_class": str(facts.recorded.get("EnvironmentClass", "")),
        "access_mode": str(facts.recorded.get("WebserverAccessMode", "")),
        "botocore": version("botocore"),
    }


def write_snapshot(verified: Verified, file: Path) -> None:
    """Keep it as a file.

    Raises:
        UsageError: it cannot be written.
    """
    with writing(file):
        file.write_text(json.dumps(as_json(verified.answer()), indent=2) + "\n", encoding="utf-8")
