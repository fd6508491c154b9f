"""What stands behind the gateway: the seam between real Airflow and simulated webservers."""

from dataclasses import dataclass
from typing import Final, Protocol

# What is measured must not take the CPU from what measures it: the load generator, on this machine.
WEBSERVER_NICENESS: Final = 5

# Those that scenarios call; real Airflow parses them from `airflow/dags`.
DAG_IDS = (
    "headroom_example",
    "headroom_pausable",
    "headroom_work",
    *(f"headroom_dag_{number:02}" for number in range(1, 21)),
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one webserver has used so far."""

    cpu_s: float  # CPU-seconds since it started, children included
    memory_fraction: float  # of the webserver's configured memory


@dataclass(frozen=True, slots=True)
class DatabaseUsage:
    """What the metadata database has used so far."""

    cpu_s: float  # CPU-seconds since it started
    connections: int  # now


class Webserver(Protocol):
    """One running (or starting) webserver."""

    name: str  # "webserver-1"; never used twice within one environment
    base_url: str  # "http://127.0.0.1:PORT"

    async def wait_until_ready(self) -> None:
        """Return once it answers; raise EnvironmentStartError naming its log if it does not."""

    def is_alive(self) -> bool:
        """False once the process has ended."""

    def usage(self) -> Usage:
        """What it has used so far; the last known values once it has ended."""

    async def stop(self) -> None:
        """Stop it and wait until it is gone. The caller has drained it."""


class Backend(Protocol):
    """Where webservers come from."""

    airflow_version: str  # "3.3.1": routes to /api/v2; "2.x": to /api/v1
    webserver_cpu: float  # CPUs per webserver: 100 % CPUUtilization

    async def start(self) -> None:
        """Bring up everything but the webservers (database, scheduler, ...)."""

    async def wait_for_dags(self) -> None:
        """Return once the webservers know all DAGs; called when the first ones are ready."""

    def new_webserver(self, name: str) -> Webserver:
        """Start one more webserver and return at once."""

    async def authorization(self, airflow_role: str) -> str | None:
        """The Authorization header for this Airflow role; None: none is needed (or role Public)."""

    def database_usage(self) -> DatabaseUsage | None:
        """What the database has used so far, from any thread; None: there is none, or no more."""

    def facts(self) -> dict[str, object]:
        """What the manifest should know: cpu_limited, cpu_limit_reason, database, ..."""

    async def stop(self) -> None:
        """Stop everything that `start` brought up."""
