"""Free ports that stay free until a slowly starting server takes them."""

import secrets
import socket

# Below the range from which Linux takes the near end of outgoing connections (32768 and up): under
# load one of those could take the port in the seconds before the server listens.
_FIRST, _LAST = 20_000, 32_000
_ATTEMPTS = 200


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses, chosen at random."""
    for _ in range(_ATTEMPTS):
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {_FIRST} and {_LAST}")
