"""Starts the CloudWatch server and finds out where it listens."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.instance import Instance
from mwaa_headroom.harness.local.processes import Child, Children

TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class MetricsServer:
    """The process, which `Children` ends."""

    child: Child
    port_file: Path

    async def wait_until_ready(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Return once it listens.

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

    def url(self) -> str:
        """Where it listens, once it is ready."""
        return f"http://127.0.0.1:{self.port_file.read_text(encoding='utf-8')}"


def start_metrics_server(instance: Instance, children: Children) -> MetricsServer:
    """Start it and return at once."""
    port_file = instance.directory / "cloudwatch.port"
    port_file.unlink(missing_ok=True)
    child = children.start(
        "cloudwatch",
        [sys.executable, "-m", "mwaa_headroom.harness.local.metrics_server", str(port_file)],
        env=os.environ,
        log_path=instance.directory / "cloudwatch.log",
    )
    return MetricsServer(child, port_file)
