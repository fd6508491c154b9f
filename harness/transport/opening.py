"""The transport that a scenario asks for, ready to send."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from botocore.credentials import Credentials

from mwaa_headroom.analysis.mwaa import INVOKE_TIMEOUT_S
from mwaa_headroom.harness.aws.clients import is_loopback
from mwaa_headroom.harness.aws.environment import require_allowed
from mwaa_headroom.harness.scenario.model import AwsSettings, Scenario
from mwaa_headroom.harness.traffic.rate_cap import PATIENCE_S as CAP_PATIENCE_S
from mwaa_headroom.harness.traffic.rate_cap import RateCap
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
        rate_cap: bounds its further attempts; whoever sends through it says by how much, and bounds
            the first ones.
    """

    send: Transport
    endpoint_url: str
    longest_call_s: float
    sees_to_it: bool = True
    rate_cap: RateCap = field(default_factory=RateCap)


def open_transport(
    scenario: Scenario,
    environment_name: str,
    airflow_version: str,
    variables: Mapping[str, str] | None = None,
    keys: Credentials | None = None,
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
        keys: used instead of those that botocore's chain would find.

    Raises:
        EnvironmentAccessError: the AWS configuration is incomplete or wrong, or no web session.
        NotAllowedError: a local scenario's endpoint is elsewhere.
    """
    environment, limits = scenario.environment, scenario.limits
    if isinstance(environment, AwsSettings):
        profile, service_timeout_s = environment.profile, INVOKE_TIMEOUT_S
    else:
        profile, service_timeout_s = None, environment.gateway.timeout_s
    timeout_s, max_in_flight = limits.call_timeout_s, limits.max_in_flight
    client = invoke_client(
        environment=environment_name,
        region=environment.region,
        profile=profile,
        call_timeout_s=timeout_s,
        max_in_flight=max_in_flight,
        retries=scenario.traffic.retries,
        variables=variables,
        keys=keys,
    )
    url = client.meta.endpoint_url
    is_local = environment.kind != "aws"
    if is_local:
        require_allowed(scenario, "", endpoint_is_loopback=is_loopback(url))
    rate_cap = RateCap()
    if scenario.traffic.transport == "boto3":
        send = boto3_transport(
            client,
            environment_name,
            service_timeout_s=service_timeout_s,
            may_try_again=rate_cap.may_try_again,
        )
        attempts = most_attempts(client)
        longest_s = attempts * timeout_s + longest_backoff_s(client) + BEYOND_TIMEOUT_S
        longest_s += (attempts - 1) * CAP_PATIENCE_S
        return OpenTransport(send, url, longest_s, sees_to_it=False, rate_cap=rate_cap)
    # These run on gevent, which comes in only where load is sent.
    if scenario.traffic.transport == "web_token":
        from mwaa_headroom.harness.transport.web_token import web_token_transport

        web = web_token_transport(
            client,
            environment_name,
            airflow_version,
            call_timeout_s=timeout_s,
            max_in_flight=max_in_flight,
            this_machine_only=is_local,
            may_try_again=rate_cap.may_try_again,
        )
        longest_s = WEB_TOKEN_STEPS * timeout_s + CAP_PATIENCE_S + BEYOND_TIMEOUT_S
        return OpenTransport(web, web.url, longest_s, rate_cap=rate_cap)
    from mwaa_headroom.harness.transport.lean import lean_transport
    from mwaa_headroom.harness.transport.signer import PATIENCE_S

    send = lean_transport(
        client,
        environment_name,
        call_timeout_s=timeout_s,
        max_in_flight=max_in_flight,
        service_timeout_s=service_timeout_s,
    )
    return OpenTransport(send, url, PATIENCE_S + timeout_s + BEYOND_TIMEOUT_S)
