"""CloudWatch for the local environments: a moto server in a process of its own.

Started as `python -m mwaa_headroom.harness.local.metrics_server PORT_FILE`; the file appears, with
the port in it, once the server listens. It is a process of its own because moto is threaded, keeps
everything in memory, and must not slow down the event loop all calls go through.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.processes import Child, Children

TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class MetricsServer:
    """The process, which `Children` ends."""

    child: Child
    port_file: Path

    async def wait_until_ready(self, clock: Callable[[], float] = time.monotonic) -> str:
        """Return its URL once it listens.

        Raises:
            EnvironmentStartError: it does not, or has ended.
        """
        deadline_s = clock() + TIMEOUT_S
        while not self.port_file.exists():
            if not self.child.is_alive() or clock() > deadline_s:
                raise EnvironmentStartError(
                    f"The CloudWatch server did not start; see '{self.child.log_path}'."
                )
            await asyncio.sleep(POLL_S)
        return f"http://127.0.0.1:{self.port_file.read_text(encoding='utf-8')}"


def start_metrics_server(directory: Path, children: Children) -> MetricsServer:
    """Start it, with its port and its log in `directory`, and return at once."""
    port_file = directory / "cloudwatch.port"
    port_file.unlink(missing_ok=True)
    child = children.start(
        "cloudwatch",
        [sys.executable, "-m", __name__, str(port_file)],
        env=os.environ,
        log_path=directory / "cloudwatch.log",
    )
    return MetricsServer(child, port_file)


def main() -> None:
    """Serve on a free loopback port until terminated."""
    from moto.server import ThreadedMotoServer

    port_file = Path(sys.argv[1])
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    unfinished = port_file.with_suffix(".part")
    unfinished.write_text(str(port), encoding="utf-8")
    unfinished.replace(port_file)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
