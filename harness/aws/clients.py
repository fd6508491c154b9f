"""The boto3 clients of the harness: for AWS as the user configured it, or for the local stand-in.

Retries are explicit, because botocore's defaults changed between versions and repeat a POST. Every
call has a short time limit: a hanging control call must not hold up a run.

`RestApi` calls Airflow through InvokeRestApi, slowly and carefully, to prepare and to clean up; the
calls under load do not come this way (see `harness.transport`).
"""

import ipaddress
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.client import BaseClient
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from mwaa_headroom.harness.aws.credentials import session_of
from mwaa_headroom.harness.aws.translate import aws_call, member, was_throttled
from mwaa_headroom.harness.errors import EnvironmentAccessError
from mwaa_headroom.harness.traffic.operations import Method

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch.client import CloudWatchClient
    from mypy_boto3_mwaa.client import MWAAClient

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 15  # above the service's own 10 s, so that its answer is seen
READ_ATTEMPTS = 3
THROTTLED_PAUSES_S = (1.0, 2.0, 4.0)

_AIRFLOW_ERRORS = ("RestApiClientException", "RestApiServerException")
_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".api.amazonwebservices.com.cn")


@dataclass(frozen=True, slots=True)
class AwsClients:
    """The clients of one environment; all of them may be used by several threads."""

    mwaa: "MWAAClient"  # for reads: up to three attempts
    mwaa_once: "MWAAClient"  # for writes: never sent twice
    cloudwatch: "CloudWatchClient"

    @property
    def endpoint_is_loopback(self) -> bool:
        """Whether every endpoint is on this machine."""
        return all(is_loopback(client.meta.endpoint_url) for client in (self.mwaa, self.cloudwatch))

    @property
    def credentials(self) -> Credentials | None:
        """As botocore's chain found them; None: it found none."""
        found: Credentials | None = self.mwaa._get_credentials()  # type: ignore[attr-defined]
        return found


def make_clients(
    *,
    environment: str,
    region: str | None = None,
    profile: str | None = None,
    variables: Mapping[str, str] | None = None,
    keys: Credentials | None = None,
) -> AwsClients:
    """Make the clients.

    Args:
        environment: its name, for error messages.
        region: None: from botocore's standard configuration.
        profile: None: from botocore's standard configuration.
        variables: AWS_ENDPOINT_URL_MWAA, AWS_ENDPOINT_URL_CLOUDWATCH, AWS_ACCESS_KEY_ID,
            AWS_SECRET_ACCESS_KEY and AWS_REGION (or AWS_DEFAULT_REGION) of the local stand-in. They
            are passed on explicitly, and nothing of the user's own AWS configuration is read. None:
            botocore's standard configuration.
        keys: used instead of those that botocore's chain would find.

    Raises:
        EnvironmentAccessError: no such profile, no region.
    """
    with aws_call("creating AWS clients", environment=environment):
        session = session_of(profile, region, keys) if variables is None else isolated_session()

        def client(service: str, attempts: int) -> Any:
            config = _config(attempts)
            if variables is None:
                return client_of(session, service, config)
            return stand_in_client(session, service, variables, config)

        return AwsClients(
            mwaa=client("mwaa", READ_ATTEMPTS),
            mwaa_once=client("mwaa", 1),
            cloudwatch=client("cloudwatch", READ_ATTEMPTS),
        )


def further_clients(
    clients: AwsClients, *services: str, environment: str, profile: str | None = None
) -> tuple[Any, ...]:
    """Clients for reads of other services, such as "sts", with the same keys and region.

    Raises:
        EnvironmentAccessError: they cannot be made.
    """
    with aws_call("creating AWS clients", environment=environment):
        session = session_of(profile, clients.mwaa.meta.region_name, clients.credentials)
        return tuple(client_of(session, one, _config(READ_ATTEMPTS)) for one in services)


def _config(attempts: int) -> Config:
    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        user_agent_extra="headroom",
    )


def client_of(session: boto3.Session, service: str, config: Config) -> Any:
    """A client for the endpoint that the user configured.

    One that is not AWS's gets no host prefix ("env." in front of an address or a name of the user's
    own does not resolve), one on loopback no proxy either.
    """
    client = session.client(service, config=config)  # type: ignore[call-overload]
    url = client.meta.endpoint_url
    _require_certificates(client._endpoint.http_session._verify)  # there is no public way to ask
    if (urlsplit(url).hostname or "").endswith(_AWS_DOMAINS):
        return client
    bare = Config(inject_host_prefix=False, proxies={} if is_loopback(url) else None)
    return session.client(service, config=config.merge(bare))  # type: ignore[call-overload]


def _require_certificates(verify: object) -> None:
    """Refuse a CA bundle that is none: botocore would say only that nothing can be reached."""
    if not isinstance(verify, str):
        return
    try:
        if not Path(verify).is_file():  # a pipe would be waited for
            raise OSError("there is no such file")
        ssl.create_default_context(cafile=verify)
    except OSError as exc:  # ssl.SSLError too
        raise EnvironmentAccessError(
            f"The CA bundle '{verify}' cannot be used ({exc.strerror or exc}): correct "
            "AWS_CA_BUNDLE, or ca_bundle of the AWS profile."
        ) from exc


def stand_in_client(
    session: boto3.Session, service: str, variables: Mapping[str, str], config: Config
) -> Any:
    """A client for the local stand-in that `variables` describe (see `make_clients`)."""
    local = Config(
        inject_host_prefix=False,
        proxies={},
        use_fips_endpoint=False,
        use_dualstack_endpoint=False,
    )
    return session.client(  # type: ignore[call-overload]
        service,
        region_name=variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION"),
        endpoint_url=variables[f"AWS_ENDPOINT_URL_{service.upper()}"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        verify=variables.get("AWS_CA_BUNDLE"),
        config=config.merge(local),
    )


def isolated_session() -> boto3.Session:
    """A session that no profile, file or variable of the user's can change or break."""
    nowhere = (None, None, os.devnull, None)
    defaults = {
        name: (None, None, default, convert)
        for name, (_, _, default, convert) in botocore.session.Session.SESSION_VARIABLES.items()
    }
    return boto3.Session(
        botocore_session=botocore.session.Session(
            session_vars={**defaults, "config_file": nowhere, "credentials_file": nowhere}
        )
    )


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine by its very name, without asking a resolver."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Answer:
    """What Airflow answered, be it good or bad."""

    status: int
    body: Any  # decoded JSON; None: there was none

    @property
    def ok(self) -> bool:
        """Whether Airflow did what was asked."""
        return 200 <= self.status < 300

    def get(self, key: str) -> Any:
        """A member of the body; None if it is not there (the service is said to drop nulls)."""
        return self.body.get(key) if isinstance(self.body, dict) else None

    @property
    def dag_runs(self) -> list[dict[str, Any]]:
        """Of a list of DAG runs, those that say their id."""
        listed = self.get("dag_runs")
        runs = [run for run in listed if isinstance(run, dict)] if isinstance(listed, list) else []
        return [run for run in runs if isinstance(run.get("dag_run_id"), str)]


class RestApi:
    """Calls one environment, never faster than a given rate; botocore's own retries count."""

    def __init__(
        self,
        clients: AwsClients,
        environment: str,
        *,
        rate_per_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clients = clients
        self._environment = environment
        self.rate_per_s = rate_per_s
        self._clock = clock
        self._sleep = sleep
        self._next_s = clock()
        for client in (clients.mwaa, clients.mwaa_once):
            if isinstance(client, BaseClient):  # in virtual time nothing is sent
                client.meta.events.register_last(
                    "before-send.mwaa.InvokeRestApi", self._wait_for_turn
                )

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Answer:
        """Read; sent again up to twice if the service fails.

        Raises:
            EnvironmentAccessError: Airflow was not reached.
        """
        return self._call("GET", path, query=query)

    def send(self, method: Method, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Change something; sent once only, and again only if AWS throttled it.

        Raises:
            EnvironmentAccessError: Airflow was not reached.
        """
        return self._call(method, path, body=body)

    def hold_back(self, duration_s: float) -> None:
        """Send the next call that much later."""
        self._next_s = max(self._next_s, self._clock()) + duration_s

    def _call(
        self,
        method: Method,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        client = self._clients.mwaa if method == "GET" else self._clients.mwaa_once
        optional: dict[str, Any] = {}
        if query is not None:
            optional["QueryParameters"] = query
        if body is not None:
            optional["Body"] = body
        for held_back_s in THROTTLED_PAUSES_S:
            try:
                return self._invoke(client, path, method, optional)
            except EnvironmentAccessError as exc:
                if not was_throttled(exc):
                    raise
            self.hold_back(held_back_s)  # others use the same throttle
        return self._invoke(client, path, method, optional)

    def _invoke(
        self, client: "MWAAClient", path: str, method: Method, optional: dict[str, Any]
    ) -> Answer:
        with aws_call("airflow:InvokeRestApi", environment=self._environment, client=client):
            try:
                answer: Mapping[str, Any] = client.invoke_rest_api(
                    Name=self._environment, Path=path, Method=method, **optional
                )
            except ClientError as exc:
                # Outside it is always HTTP 400; what Airflow said is in the members.
                if exc.response["Error"].get("Code") not in _AIRFLOW_ERRORS:
                    raise
                answer = {**exc.response}
            return Answer(member(answer, "RestApiStatusCode"), answer.get("RestApiResponse"))

    def _wait_for_turn(self, **_: Any) -> None:
        wait_s = self._next_s - self._clock()
        if wait_s > 0:
            self._sleep(wait_s)
        self._next_s = max(self._next_s, self._clock()) + 1 / self.rate_per_s
