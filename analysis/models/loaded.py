"""Stages as the models see them: the work that came, and what their webservers could do.

    U = (X D + U0 m) / (m V)
    S = k D / (V - U0),   k = V rounded, at least 1
    bound of the rate = m (V - U0) / D

X calls that reached a webserver per second, D their service demand (CPU-s), m webservers with V
CPUs each, of which U0 are used without calls, S time a call takes alone.

Source: Lazowska et al., Quantitative System Performance, 1984, ch. 3 and 5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.models.queueing import MultiServerQueue, allen_cunneen_wait_s
from analysis.records.schema import OUTCOMES_BEFORE_WEBSERVER
from analysis.results import DemandResult, Estimate, StageStats

WITHIN = 2.0  # times off on either side still agrees
CALM = 0.5  # the most utilisation of a stage that tells what a call takes beyond its CPU


@dataclass(frozen=True, slots=True)
class Loaded:
    """A stage with what the models need to know of it."""

    stage: StageStats
    webservers: int
    calls_per_s: float  # that reached a webserver
    demand_s: float
    webserver_cpu: float
    background: float

    @property
    def utilisation(self) -> float:
        """Of the CPU of all webservers; 1 is all of it."""
        used = self.calls_per_s * self.demand_s + self.background * self.webservers
        return used / (self.webservers * self.webserver_cpu)

    @property
    def bound_per_s(self) -> float:
        """The most calls per second that the CPU allows."""
        return self.webservers * (self.webserver_cpu - self.background) / self.demand_s

    @property
    def cpus(self) -> int:
        """Calls that one webserver serves at full speed."""
        return max(1, round(self.webserver_cpu))

    @property
    def alone_s(self) -> float:
        """What a call takes with a webserver to itself."""
        return self.cpus * self.demand_s / (self.webserver_cpu - self.background)

    @property
    def is_stable(self) -> bool:
        """Whether the CPU can keep up with calls that do not wait for answers."""
        return self.calls_per_s < self.bound_per_s

    def bracket_s(self, *, evenly: bool) -> tuple[float, float]:
        """Expected mean service time from CPU alone, low and high; of a stable stage.

        Args:
            evenly: arrivals keep equal distances instead of coming by chance.
        """
        cpus, alone_s = self.cpus, self.alone_s
        pooled = MultiServerQueue(self.calls_per_s, alone_s, self.webservers * cpus)
        single = MultiServerQueue(self.calls_per_s / self.webservers, alone_s, cpus)
        waits_s = allen_cunneen_wait_s(pooled, ca2=0.0 if evenly else 1.0, cs2=0.0)
        return alone_s + waits_s, single.mean_response_s


def loaded_stages(
    stages: Sequence[StageStats], demand: DemandResult, webserver_cpu: float
) -> list[Loaded]:
    """The stages that had the same webservers all the time, and a known demand."""
    found = (_loaded(stage, demand, webserver_cpu) for stage in stages)
    return [one for one in found if one is not None]


def calmest_of(loaded: Sequence[Loaded]) -> Loaded | None:
    """The one that tells what a call takes beyond its CPU; None: all were too busy."""
    calm = [one for one in loaded if one.utilisation <= CALM and one.stage.service_time_mean_s]
    return min(calm, key=lambda one: one.utilisation, default=None)


def span(low_s: float, high_s: float) -> str:
    """Two durations inside a sentence: "27-56 ms"."""
    low, high = text(low_s), text(high_s)
    if low == high:
        return low
    return f"{low.removesuffix(' ms')}-{high}" if high.endswith(" ms") else f"{low} to {high}"


def text(seconds: float) -> str:
    """A duration inside a sentence: "41 ms"."""
    milliseconds = 1000 * seconds
    if milliseconds >= 1000:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{milliseconds:.1f} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"


def hint(measured_s: float, high_s: float, agrees: bool | None) -> str:
    """What may be behind a mean that does not agree; "" where it does."""
    if agrees is not False:
        return ""
    if measured_s > high_s:
        return (
            ": calls waited for something other than webserver CPU, such as the database or a "
            "connection pool, were spread unevenly, or had an older backlog before them"
        )
    return ": calls cost less CPU here than the service demand says, such as another mix or a cache"


def _loaded(stage: StageStats, demand: DemandResult, webserver_cpu: float) -> Loaded | None:
    length_s = stage.ended_at_s - stage.measured_from_s
    demand_s = _demand_s(stage, demand)
    background = demand.background_cpu_per_webserver.value or 0.0
    if (
        not stage.webservers_min
        or stage.webservers_min != stage.webservers_max
        or not demand_s
        or length_s <= 0
        or background >= webserver_cpu
    ):
        return None
    refused = sum(stage.outcomes.get(outcome, 0) for outcome in OUTCOMES_BEFORE_WEBSERVER)
    working = sum(stage.outcomes.values()) - refused
    return Loaded(
        stage=stage,
        webservers=stage.webservers_min,
        calls_per_s=working / length_s,
        demand_s=demand_s,
        webserver_cpu=webserver_cpu,
        background=background,
    )


def _demand_s(stage: StageStats, demand: DemandResult) -> float | None:
    """Of the stage's own mix where the demands of its operations are known."""
    known: Mapping[str, Estimate] = demand.per_operation_s
    arrivals = sum(own.arrivals for own in stage.operations)
    if not arrivals or not all(own.operation in known for own in stage.operations):
        return demand.mix_s.value
    total_s = sum((known[own.operation].value or 0.0) * own.arrivals for own in stage.operations)
    return total_s / arrivals
