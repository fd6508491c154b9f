"""Open queues with known answers, and the asymptotic bounds of a closed system.

    Erlang B   B_0 = 1,  B_k = a B_{k-1} / (k + a B_{k-1}),   a = lambda S
    Erlang C   C = B_c / (1 - rho (1 - B_c)),                 rho = a / c < 1
    M/M/c      theta = c mu - lambda,  mu = 1 / S
               W_q = C / theta,  R = W_q + S
    G/G/c      W_q = W_q(M/M/c) (ca^2 + cs^2) / 2             (Allen and Cunneen)
    M/G/1-PS   R = S / (1 - rho) as in M/M/1, whatever the distribution of the service times
    closed     N / (N D + Z) <= X <= min(1 / D_max, N / (D + Z))
               max(D, N D_max - Z) <= R <= N D

lambda arrivals per second, S mean service time (s), c servers, ca^2 and cs^2 squared coefficients
of variation of the times between arrivals and of the service times, N users with think time Z, D
their demand over all resources and D_max that at the busiest.

Sources: Kleinrock, Queueing Systems I, 1975, 3.5, and II, 1976, 4.4 (processor sharing); Allen,
Probability, Statistics, and Queueing Theory, 2nd ed., 1990, 5.2 and 5.4; Lazowska et al.,
Quantitative System Performance, 1984, ch. 5 (bounds). Real webservers share their CPU among calls
behind a balancer: means are usable to about 70 % utilisation.
"""

from dataclasses import dataclass


def erlang_b(offered: float, servers: int) -> float:
    """Share of the arrivals that find all servers busy and go away (M/M/c/c, any service times)."""
    blocked = 1.0
    for number in range(1, servers + 1):
        blocked = offered * blocked / (number + offered * blocked)
    return blocked


def erlang_c(offered: float, servers: int) -> float:
    """Share of the arrivals that have to wait (M/M/c).

    Args:
        offered: load in servers, arrival rate times mean service time; less than `servers`.
        servers: at least 1.
    """
    blocked = erlang_b(offered, servers)
    return blocked / (1 - offered / servers * (1 - blocked))


@dataclass(frozen=True, slots=True)
class MultiServerQueue:
    """M/M/c: Poisson arrivals, exponential service times, one queue for all servers.

    Stable only while `utilisation` is below 1; nothing else may be asked of it otherwise.
    """

    arrivals_per_s: float
    service_s: float
    servers: int

    @property
    def utilisation(self) -> float:
        """Of all servers, 0..1 when stable."""
        return self.arrivals_per_s * self.service_s / self.servers

    @property
    def waiting_probability(self) -> float:
        """Share of the calls that do not begin at once."""
        return erlang_c(self.arrivals_per_s * self.service_s, self.servers)

    @property
    def mean_wait_s(self) -> float:
        """Mean time before service."""
        return self.waiting_probability / self._spare_per_s

    @property
    def mean_response_s(self) -> float:
        """Mean time until the end of service."""
        return self.mean_wait_s + self.service_s

    @property
    def _spare_per_s(self) -> float:
        return self.servers / self.service_s - self.arrivals_per_s


def allen_cunneen_wait_s(queue: MultiServerQueue, *, ca2: float, cs2: float) -> float:
    """Mean wait of G/G/c, roughly; exact for M/M/c and M/G/1."""
    return queue.mean_wait_s * (ca2 + cs2) / 2


@dataclass(frozen=True, slots=True)
class ClosedBounds:
    """Between what the rate and the mean response of a closed system must lie."""

    rate_low_per_s: float
    rate_high_per_s: float
    response_low_s: float
    response_high_s: float


def closed_bounds(
    *, users: int, demand_s: float, largest_demand_s: float, think_s: float
) -> ClosedBounds:
    """Asymptotic bounds, whatever the distributions and the order of service."""
    return ClosedBounds(
        rate_low_per_s=users / (users * demand_s + think_s),
        rate_high_per_s=min(1 / largest_demand_s, users / (demand_s + think_s)),
        response_low_s=max(demand_s, users * largest_demand_s - think_s),
        response_high_s=users * demand_s,
    )
