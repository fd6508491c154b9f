"""What webservers and database used in each period, out of counters that only ever grow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.local.backend import DatabaseUsage, Usage
from harness.local.fleet import Member
from harness.local.settings import MetricsSettings

PRIMARY_CLUSTER = "WebServer"


@dataclass(frozen=True, slots=True)
class Sample:
    """One webserver in one period."""

    webserver: str
    cluster: str  # of its metrics: the first min_webservers are one, the others another
    takes_calls: bool  # false while it starts or drains
    cpu_percent: float  # of the webserver's CPUs
    memory_percent: float
    connections: float  # mean over the time it took calls


@dataclass(frozen=True, slots=True)
class DatabaseSample:
    """The metadata database in one period."""

    cpu_percent: float  # of the CPUs that are 100 %
    connections: float  # at the end of the period


class Meter:
    """Differences between readings.

    CPU is spread over the whole period even if a webserver became ready in the middle of it, so
    that percent x period x CPUs adds up to the CPU-seconds used. Starting a webserver costs CPU
    which counts only if the setting `while_starting` says so.
    """

    def __init__(
        self,
        settings: MetricsSettings,
        *,
        webserver_cpu: float,
        min_webservers: int,
        mean_in_flight: Callable[[str], float],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._webserver_cpu = webserver_cpu
        self._min_webservers = min_webservers
        self._mean_in_flight = mean_in_flight
        self._clock = clock
        self._read_at_s = clock()
        self._before: dict[str, Usage] = {}

    def read(self, members: Sequence[Member]) -> list[Sample]:
        """One sample per running webserver since the last reading; `members` oldest first."""
        now_s = self._clock()
        elapsed_s = now_s - self._read_at_s
        self._read_at_s = now_s
        while_starting = self._settings.while_starting
        running = [one for one in members if one.state != "starting" or while_starting]
        usages = {one.name: one.webserver.usage() for one in running}
        samples = [
            self._sample(rank, member, usages[member.name], elapsed_s)
            for rank, member in enumerate(running)
        ]
        self._before = usages
        return samples

    def _sample(self, rank: int, member: Member, usage: Usage, elapsed_s: float) -> Sample:
        nothing = Usage(cpu_s=0.0, memory_fraction=0.0)
        first = nothing if self._settings.while_starting else member.usage_when_ready
        used_s = usage.cpu_s - self._before.get(member.name, first).cpu_s
        is_primary = rank < self._min_webservers
        return Sample(
            webserver=member.name,
            cluster=PRIMARY_CLUSTER if is_primary else self._settings.additional_cluster,
            takes_calls=member.state == "ready",
            cpu_percent=100.0 * max(0.0, used_s) / elapsed_s / self._webserver_cpu,
            memory_percent=100.0 * usage.memory_fraction,
            connections=self._mean_in_flight(member.name) * self._settings.connections_per_call,
        )


class DatabaseMeter:
    """Differences between readings of the database.

    Args:
        usage: what it has used so far; None: there is none.
        cpus: that are 100 %.
        clock: seconds.
    """

    def __init__(
        self,
        usage: Callable[[], DatabaseUsage | None],
        *,
        cpus: float,
        clock: Callable[[], float],
    ) -> None:
        self._usage = usage
        self._cpus = cpus
        self._clock = clock
        self._read_at_s = clock()
        self._before: DatabaseUsage | None = None

    def read(self) -> DatabaseSample | None:
        """The time since the last reading; None: nothing can be told of it."""
        before, elapsed_s = self._before, self._clock() - self._read_at_s
        self._read_at_s += elapsed_s
        self._before = now = self._usage()
        if now is None or before is None or elapsed_s <= 0:
            return None
        used_s = max(0.0, now.cpu_s - before.cpu_s)
        return DatabaseSample(100.0 * used_s / elapsed_s / self._cpus, float(now.connections))
