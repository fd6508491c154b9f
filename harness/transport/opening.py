"""The transport that a scenario asks for, ready to send."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mwaa_headroom.analysis.mwaa import INVOKE_TIMEOUT_S
from mwaa_headroom.harness.aws.clients import is_loopback
from mwaa_headroom.harness.aws.environment import require_allowed
from mwaa_headroom.harness.scenario.model import AwsSettings, Scenario
from mwaa_headroom.harness.transport.boto3_transport import (
    boto3_transport,
    invoke_client,
    longest_backoff_s,
    most_attempts,
)
from mwaa_headroom.harness.transport.outcome import Transport

WEB_TOKEN_STEPS = 4  # a call, a token, a login with it, and the call again
BEYOND_TIMEOUT_S = 0.5  # a socket timeout counts each wait alone, not the whole call


@dataclass(frozen=True, slots=True)
class OpenTransport:
    """A transport and what its user must know about it.

    Attributes:
        send: the transport.
        endpoint_url: where the calls go: the MWAA service, or with web tokens the webserver.
        longest_call_s: no call takes longer by itself, its attempts and their backoff included.
            The wait that botocore's adaptive mode adds has no bound and is not in it.
        sees_to_it: whether `send` itself ends a call by then. Of boto3 each wait of a call is
            bounded, but not the whole: whoever sends through it must cut what takes longer.
    """

    send: Transport
    endpoint_url: str
    longest_call_s: float
    sees_to_it: bool = True


def open_transport(
    scenario: Scenario,
    environment_name: str,
    airflow_version: str,
    variables: Mapping[str, str] | None = None,
) -> OpenTransport:
    """Open the transport of `scenario.traffic`.

    Whether an environment on AWS may be loaded is the caller's to check (`require_allowed`); a
    local scenario is kept on this machine here, before anything is sent.

    Args:
        scenario: transport, retries, limits and the kind of environment are used.
        environment_name: the environment to call.
        airflow_version: of the environment, such as "3.3.1".
        variables: of a local stand-in, as for `harness.aws.clients.make_clients`. None: endpoint
            and credentials come from botocore's standard configuration.

    Raises:
        EnvironmentAccessError: the AWS configuration is incomplete or wrong, or no web session.
        NotAllowedError: a local scenario's endpoint is elsewhere.
    """
    environment, limits = scenario.environment, scenario.limits
    client = invoke_client(
        environment=environment_name,
        region=environment.region,
        profile=environment.profile if isinstance(environment, AwsSettings) else None,
        call_timeout_s=limits.call_timeout_s,
        max_in_flight=limits.max_in_flight,
        retries=scenario.traffic.retries,
        variables=variables,
    )
    url = client.meta.endpoint_url
    if not isinstance(environment, AwsSettings):
        require_allowed(scenario, "", endpoint_is_loopback=is_loopback(url))
    if scenario.traffic.transport == "boto3":
        return _boto3(scenario, client, environment_name)
    if scenario.traffic.transport == "web_token":
        return _web_token(scenario, client, environment_name, airflow_version)
    return _lean(scenario, client, environment_name)


def _boto3(scenario: Scenario, client: Any, environment_name: str) -> OpenTransport:
    send = boto3_transport(client, environment_name, service_timeout_s=_service_timeout_s(scenario))
    longest_s = most_attempts(client) * scenario.limits.call_timeout_s + longest_backoff_s(client)
    longest_s += BEYOND_TIMEOUT_S
    return OpenTransport(send, client.meta.endpoint_url, longest_s, sees_to_it=False)


def _lean(scenario: Scenario, client: Any, environment_name: str) -> OpenTransport:
    # gevent: only where load is sent
    from mwaa_headroom.harness.transport.lean import lean_transport
    from mwaa_headroom.harness.transport.signer import PATIENCE_S

    limits = scenario.limits
    send = lean_transport(
        client,
        environment_name,
        service_timeout_s=_service_timeout_s(scenario),
        call_timeout_s=limits.call_timeout_s,
        max_in_flight=limits.max_in_flight,
    )
    longest_s = PATIENCE_S + limits.call_timeout_s + BEYOND_TIMEOUT_S
    return OpenTransport(send, client.meta.endpoint_url, longest_s)


def _web_token(
    scenario: Scenario, client: Any, environment_name: str, airflow_version: str
) -> OpenTransport:
    from mwaa_headroom.harness.transport.web_token import web_token_transport  # gevent, as above

    limits = scenario.limits
    send = web_token_transport(
        client,
        environment_name,
        airflow_version,
        call_timeout_s=limits.call_timeout_s,
        max_in_flight=limits.max_in_flight,
        this_machine_only=not isinstance(scenario.environment, AwsSettings),
    )
    longest_s = WEB_TOKEN_STEPS * limits.call_timeout_s
    return OpenTransport(send, send.url, longest_s + BEYOND_TIMEOUT_S)


def _service_timeout_s(scenario: Scenario) -> float:
    environment = scenario.environment
    if isinstance(environment, AwsSettings):
        return INVOKE_TIMEOUT_S
    return environment.gateway.timeout_s
