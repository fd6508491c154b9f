"""The proxy that HTTPS_PROXY names: it leads TLS connections on (CONNECT, RFC 9110, 9.3.6)."""

import base64
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.utils import get_environ_proxies

from mwaa_headroom.harness.errors import EnvironmentAccessError

_DEFAULT_PORT = 80
_LONGEST_HEAD = 65536


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where it listens, and the header lines it wants."""

    host: str
    port: int
    headers: bytes = field(default=b"", repr=False)  # with its password

    def lead_on(self, sock: Any, target: str) -> None:
        """Have a connection to the proxy led on to `target` (host:port).

        Raises:
            OSError: it does not, or breaks off.
        """
        asked = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n".encode()
        sock.sendall(asked + self.headers + b"\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            data = sock.recv(4096)  # nothing follows the head: TLS begins on our side
            head += data
            if not data or len(head) > _LONGEST_HEAD:
                raise ConnectionError("the proxy broke off")
        status = head.split(b" ", 2)[1:2]
        if not status or not status[0].startswith(b"2"):
            raise ConnectionError("the proxy refused")


def proxy_for(url: str, proxies: Mapping[str, str] | None, *, transport: str) -> Proxy | None:
    """The proxy for an endpoint; None: there is none.

    Args:
        url: of the endpoint.
        proxies: by scheme, as botocore has them; None: those of the process environment.
        transport: its name in a scenario, for errors.

    Raises:
        EnvironmentAccessError: one that is asked in another way than by CONNECT in plain text.
    """
    scheme, host = urlsplit(url).scheme, urlsplit(url).hostname
    given = (get_environ_proxies(url) if proxies is None else proxies).get(scheme)
    if not given:
        return None
    with suppress(ValueError):  # a port that is none
        found = urlsplit(given if "//" in given else f"http://{given}")
        if (scheme, found.scheme) == ("https", "http") and found.hostname:
            user = f"{unquote(found.username or '')}:{unquote(found.password or '')}"
            secret = base64.b64encode(user.encode())
            headers = b"Proxy-Authorization: Basic %b\r\n" % secret if found.username else b""
            return Proxy(found.hostname, found.port or _DEFAULT_PORT, headers)
    raise EnvironmentAccessError(
        f"Calls of {host} would go through a proxy in a way that traffic.transport = "
        f'"{transport}" does not know, which is https through a proxy at http://: name the host in '
        'NO_PROXY, or set traffic.transport = "boto3".'
    )
