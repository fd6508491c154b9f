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
Sources: Kleinrock 1976, Queueing Systems II, 4.4 (processor sharing); Sakasegawa, Ann. Inst. Stat.
Math. 29 (1977) 67.
"""

from dataclasses import dataclass
from math import exp, sqrt

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
    timeout_s: float = 10.0  # the service gives up a call after that
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
