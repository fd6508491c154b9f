"""What calls cost, as the simulator needs it: one mean operation on one kind of webserver.

With v = V - U0 CPUs of a webserver left for calls, each call running on at most one of them:

    s   = D / min(1, v)                        time in service of a call that is alone
    rho = X D / (m v)                          utilisation by calls, X calls/s over m webservers
    P_w = rho^(sqrt(2 (c + 1)) - 1)            share of calls that share a CPU, c = max(1, v)
    W   = P_w s / (c (1 - rho))                mean delay by other calls
    P(R > t) = exp(-(t - L) / (s + B / (m v) + W))   response time, B backlog (CPU-s), L `latency_s`

For c = 1 the mean of s + W is s / (1 - rho), that of processor sharing, whatever the distribution
of the demands; P_w for c > 1 is Sakasegawa's approximation. A shared processor stretches every call
by the same factor, so R - L is distributed as demands are, taken to be exponential: with a backlog
too, short calls are answered before long ones that came earlier.
rho is held at 0.95 in W: what lies beyond takes minutes to build up, and is backlog by then.

A recorded run says what its calls cost:

    L = R - s - W       time in a call that costs no CPU, of the stage with the least CPU
    k = C / (X R)       connections a call in flight counts for, median over stages

R measured mean service time (the median where calls were cut), C connections and X rate of the
stage. The demand is that of the mix.

Sources: Kleinrock 1976, Queueing Systems II, 4.4 (processor sharing); Sakasegawa, Ann. Inst. Stat.
Math. 29 (1977) 67.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, sqrt
from statistics import fmean, median

from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.mwaa import INVOKE_TIMEOUT_S
from mwaa_headroom.analysis.results import RunAnalysis, StageStats

_FEWEST_IN_FLIGHT = 0.2  # below, connections say little
UTILISATION_CAP = 0.95


@dataclass(frozen=True, slots=True)
class Workload:
    """Calls of one mix.

    Raises:
        ValueError: the webservers' background work leaves no CPU for calls, or a call costs none.
    """

    demand_s: float  # CPU-seconds of a call
    background_cpu: float  # CPUs each webserver uses without calls
    webserver_cpu: float  # CPUs of a webserver
    latency_s: float  # time in a call that costs no CPU
    slow_after_s: float | None = None  # latency limit of the SLO; None: no call is slow
    timeout_s: float = INVOKE_TIMEOUT_S
    connections_per_call: float = 1.0  # what a call in flight counts in ActiveConnectionCount

    def __post_init__(self) -> None:
        if self.demand_s <= 0 or self.cpu_for_calls <= 0:
            raise ValueError("calls must cost CPU, and webservers must have some left for them")

    @property
    def cpu_for_calls(self) -> float:
        """CPUs of a webserver that its background work leaves."""
        return self.webserver_cpu - self.background_cpu

    @property
    def alone_s(self) -> float:
        """Time in service of a call that is alone on its webserver."""
        return self.demand_s / min(1.0, self.cpu_for_calls)

    @property
    def rate_per_webserver_per_s(self) -> float:
        """Calls per second that use up one webserver."""
        return self.cpu_for_calls / self.demand_s

    def delay(self, utilisation: float) -> tuple[float, float]:
        """How calls hinder each other while there is no backlog.

        Args:
            utilisation: by calls, 0 and more.

        Returns:
            The share of calls that are delayed, and their mean delay in seconds.
        """
        cores = max(1.0, self.cpu_for_calls)
        rho = min(utilisation, UTILISATION_CAP)
        share = rho ** (sqrt(2.0 * (cores + 1.0)) - 1.0)
        return float(share), self.alone_s / (cores * (1.0 - rho))

    def share_over(self, limit_s: float, wait_s: float, delay: tuple[float, float]) -> float:
        """Share of calls with a response time above a limit.

        Args:
            limit_s: of the response time.
            wait_s: B / (m v), the time until the backlog before a call is done.
            delay: from `delay`.
        """
        share, mean_s = delay
        left_s = max(0.0, limit_s - self.latency_s)
        return exp(-left_s / (self.alone_s + wait_s + share * mean_s))


def workload_of(run: RunAnalysis) -> Workload | Finding:
    """The run's calls, or what is missing."""
    webserver_cpu = run.sizing.webserver_cpu if run.sizing else None
    if webserver_cpu is None:
        return refusal("policy.cpus_unknown", run_id=run.run_id)
    demand_s = run.demand.mix_s.value if run.demand else None
    if run.demand is None or not demand_s:
        why = run.demand.mix_s.warnings if run.demand else ()
        return refusal("policy.no_demand", run_id=run.run_id, why=why)
    background = run.demand.background_cpu_per_webserver.value or 0.0
    if background >= webserver_cpu:
        return refusal("policy.busy_without_calls", run_id=run.run_id)
    without = Workload(
        demand_s=demand_s,
        background_cpu=background,
        webserver_cpu=webserver_cpu,
        latency_s=0.0,
        slow_after_s=_latency_limit_s(run),
    )
    return replace(
        without,
        latency_s=_free_time_s(run.stages, without),
        connections_per_call=_connections_per_call(run),
    )


def _latency_limit_s(run: RunAnalysis) -> float | None:
    """The tightest limit that the SLO sets to the latency of all calls."""
    return min(
        (s.threshold for s in run.slos if s.metric == "latency" and s.selector_key is None),
        default=None,
    )


def _free_time_s(stages: Sequence[StageStats], workload: Workload) -> float:
    told = [
        (stage.webserver_cpu_percent, stage, time_s)
        for stage in stages
        if stage.spoilt_by is None
        and stage.webserver_cpu_percent is not None
        and stage.webservers_max
        and (time_s := _service_time_s(stage)) is not None
    ]
    if not told:
        return 0.0
    _, stage, time_s = min(told, key=lambda each: each[0])
    per_webserver = stage.achieved_per_s / (stage.webservers_max or 1)
    share, delay_s = workload.delay(per_webserver / workload.rate_per_webserver_per_s)
    return max(0.0, time_s - workload.alone_s - share * delay_s)


def _connections_per_call(run: RunAnalysis) -> float:
    ratios = []
    for stage in (stage for stage in run.stages if not stage.spoilt_by):
        time_s = _service_time_s(stage)
        seen = [
            point.connections
            for point in run.periods
            if point.connections is not None
            and point.start_s >= stage.measured_from_s
            and point.start_s + point.period_s <= stage.ended_at_s
        ]
        in_flight = stage.achieved_per_s * (time_s or 0.0)
        if seen and in_flight > _FEWEST_IN_FLIGHT:
            ratios.append(fmean(seen) / in_flight)
    return median(ratios) if ratios else 1.0


def _service_time_s(stage: StageStats) -> float | None:
    if stage.service_time_mean_s is not None:
        return stage.service_time_mean_s
    middle = stage.service_time_s.get("p50")
    return middle.value if middle else None
