"""Logging in to a webserver: from a web login token to the headers that prove a session.

Source: MWAA User Guide, "Create a web server session token and call the Apache Airflow REST API". A
token is a secret, and so is a session: neither is ever in a message, a repr or a log.
"""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from harness.aws.clients import is_loopback
from harness.aws.translate import aws_call, member
from harness.errors import EnvironmentAccessError, NotAllowedError
from harness.transport.http import HttpEndpoint, NoAnswerError

_HEADERS = b"Content-Type: application/x-www-form-urlencoded\r\nUser-Agent: headroom\r\n"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where an Airflow version's login and API are, and how a session is shown to it."""

    login_path: str
    cookie: str
    shown_as: str  # a header line
    api_prefix: str


def dialect_of(airflow_version: str) -> Dialect:
    """The dialect of a version such as "3.3.1"."""
    if airflow_version.partition(".")[0] == "2":
        return Dialect("/aws_mwaa/login", "session", "Cookie: session={}\r\n", "/api/v1")
    return Dialect("/pluginsv2/aws_mwaa/login", "_token", "Authorization: Bearer {}\r\n", "/api/v2")


@dataclass(frozen=True, slots=True)
class WebToken:
    """A web login token: it lives for 60 s and serves once."""

    hostname: str
    token: str = field(repr=False)


def new_token(client: Any, environment_name: str) -> WebToken:
    """A web login token, through a boto3 `mwaa` client.

    Raises:
        EnvironmentAccessError: refused, unreachable, or there is no such environment.
    """
    with aws_call("airflow:CreateWebLoginToken", environment=environment_name):
        answer = client.create_web_login_token(Name=environment_name)
        return WebToken(member(answer, "WebServerHostname"), member(answer, "WebToken"))


def webserver_url(hostname: str, *, service_url: str, this_machine_only: bool) -> str:
    """Where the webserver is: https, except for the stand-in, which has no certificate.

    Args:
        hostname: as it came with a token; the stand-in's has a port.
        service_url: of the MWAA service that it came from.
        this_machine_only: whether a webserver elsewhere is refused.

    Raises:
        NotAllowedError: the webserver is elsewhere.
    """
    plain = f"http://{hostname}"
    if is_loopback(plain) and is_loopback(service_url):
        return plain
    if this_machine_only:
        raise NotAllowedError(
            f"The webserver address '{hostname}' is not on this machine, which is all that a local "
            'scenario may load; use kind = "aws" for that environment.'
        )
    return f"https://{hostname}"


def trusted_certificates(client: Any, url: str) -> str | None:
    """The CA bundle of `client`, for another URL than its own; None: `url` is not https.

    Raises:
        EnvironmentAccessError: a proxy is in the way, or the client would not verify.
    """
    if urlsplit(url).scheme != "https":
        return None
    if get_environ_proxies(url).get("https"):
        raise EnvironmentAccessError(
            f"The webserver {url} would be reached through a proxy, which the web-token transport "
            "does not do: name its host in NO_PROXY, or set another traffic.transport."
        )
    verify = client._endpoint.http_session._verify  # botocore has no public way to ask
    if not verify:
        raise EnvironmentAccessError(
            f"The certificate of {url} would not be verified, which the web-token transport "
            "refuses: give its issuer as AWS_CA_BUNDLE, or as ca_bundle of the AWS profile."
        )
    return str(get_cert_path(verify))


def session_headers(
    endpoint: HttpEndpoint, dialect: Dialect, token: WebToken, environment_name: str
) -> bytes:
    """Log in: the header lines that prove it.

    Raises:
        EnvironmentAccessError: no answer, or no session.
    """
    body = urlencode({"token": token.token}).encode()
    try:
        answer = endpoint.send("POST", dialect.login_path, _HEADERS, body)
    except NoAnswerError as exc:
        raise EnvironmentAccessError(
            f"The webserver of environment '{environment_name}' does not answer at "
            f"{token.hostname} ({exc.code}); check the network, and run headroom from inside the "
            "environment's VPC if the webserver is private."
        ) from exc
    cookies = answer.headers.get("set-cookie", "")
    session = re.search(rf'(?:^|, *){dialect.cookie}="?([^";,\s]+)', cookies)
    if answer.status >= 400 or session is None:
        raise EnvironmentAccessError(
            f"The webserver of environment '{environment_name}' gave no session for a web login "
            f"token (status {answer.status}); check that these credentials can open the Airflow UI."
        )
    return dialect.shown_as.format(session[1]).encode()
