"""Which HTTP requests are meant for a port of ours on loopback.

Only programs of this machine reach it, but a browser is one of them, and it sends what any web page
tells it to: across origins (Origin names the page's), or under a name of the page's that has been
made to resolve to 127.0.0.1 (Host names it).
"""

from collections.abc import Mapping
from typing import Final

LOOPBACK: Final = "127.0.0.1"
FOREIGN: Final = f"Requests must name {LOOPBACK} or localhost in Host, and no other Origin."

_HOSTS: Final = frozenset(
    f"{prefix}{host}"
    for host in (LOOPBACK, "localhost", "[::1]")
    for prefix in ("", "env.", "api.", "ops.")  # which AWS's clients put before it
)


def is_foreign(headers: Mapping[str, str], port: int) -> bool:
    """Whether a request was addressed to another host, or comes from another host's web page.

    Args:
        headers: of the request; names in any case.
        port: it came to.
    """
    host = headers.get("Host", "").lower()
    named = host if host.endswith(f":{port}") or port not in (80, 443) else f"{host}:{port}"
    if named.removesuffix(f":{port}") not in _HOSTS or not named.endswith(f":{port}"):
        return True
    # Where a page comes from that lets a browser load a picture or follow a link, without Origin
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("Origin")
    return origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}")
