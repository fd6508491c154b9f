"""What the scaling rule makes of a load, second by second.

A fluid: in each second the work of the calls that arrive joins the backlog, and the webservers in
service take from it what their CPUs give. B backlog, w = X D work that arrives, C = m v capacity
(CPU-s per second), L, s and W as in `workload`:

    done = min(B + w, C);  B' = B + w - done
    CPU% = 100 (U0 + done / m) / V       of one webserver; all share equally
    R    = L + (s + B / C + W) E         E exponential of mean 1; R above the time limit fails
    N    = X (L + s + W) + B / D         in flight (Little); none longer than the time limit

Once per metric period the rule (`policy.scaling_rule`) is shown the period's means; webservers it
asks for are in service `start_s` later, those it gives up are gone at once. One that began inside a
period shows the CPU it used spread over the whole period, as the stand-in's metrics do.

Work of calls that failed at the time limit is done all the same: a webserver does not learn that
nobody waits any more. Not in it: chance (calls are expected numbers), and a backlog that stays on
the webservers that have it while a new one takes new calls, which then do not wait behind it.
"""

from collections import deque
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.policy.scaling_rule import Observation, PolicyParameters, ScalingRule
from mwaa_headroom.analysis.policy.workload import Workload
from mwaa_headroom.analysis.statistics import Floats


@dataclass(frozen=True, slots=True)
class SimulatedEvent:
    """One decision of the rule; times in seconds from the beginning of the load."""

    decided_s: float
    ready_s: float  # when its webservers are in service; of a scale-in: when decided
    from_count: int
    to_count: int
    reason: Finding


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """What came of a load; arrays have one value per second of it."""

    webservers: NDArray[np.int64]  # in service at the end of the second
    cpu_percent: Floats  # mean over webservers
    connections: Floats  # total over webservers
    backlog_s: Floats  # CPU-seconds of work left over at the end of the second
    slow_share: Floats  # of the second's calls: answered, but later than the limit
    done_s: Floats  # CPU-seconds of calls' work done in the second
    failed_per_s: Floats  # of the second's calls: those that the time limit cuts
    events: tuple[SimulatedEvent, ...]
    calls: float
    slow_calls: float
    failed_calls: float
    webserver_hours: float  # in service


def simulate(
    rate_per_s: Floats,
    workload: Workload,
    policy: PolicyParameters,
    *,
    period_s: float,
    start_s: float,
    min_webservers: int,
    max_webservers: int,
    phase_s: float = 0.0,
    first_webservers: int | None = None,
) -> Simulated:
    """Play a load against the rule.

    Args:
        rate_per_s: calls per second, one value for each second.
        workload: what a call costs.
        policy: the rule.
        period_s: of the metrics; whole seconds.
        start_s: from a decision until its webservers are in service.
        min_webservers: at least 1.
        max_webservers: at least `min_webservers`.
        phase_s: when the first whole period begins; whole seconds. The rest of a period before it
            is not shown to the rule.
        first_webservers: in service at the beginning; None: `min_webservers`.
    """
    period, phase = round(period_s), round(phase_s)
    rule = ScalingRule(policy, min_webservers=min_webservers, max_webservers=max_webservers)
    fleet = _Fleet(first_webservers or min_webservers, start_s)
    queue, meter = _Queue(workload), _Meter(workload)
    rows = []
    for second, rate in enumerate(np.asarray(rate_per_s, dtype=np.float64).tolist()):
        had = fleet.ready
        in_service = fleet.in_service(float(second))
        flow = queue.advance(rate, in_service)
        used = meter.add(flow, in_service, had, fleet.ready)
        rows.append((fleet.ready, 100.0 * used, *flow, in_service))
        of_periods = second + 1 - phase
        if of_periods % period == 0:
            if of_periods > 0:
                fleet.obey(rule, meter.observation(float(second + 1), period, fleet))
            meter.begin_period()
    columns = np.array(rows, dtype=np.float64).reshape(-1, 8)
    calls = np.asarray(rate_per_s, dtype=np.float64)
    return Simulated(
        webservers=columns[:, 0].astype(np.int64),
        cpu_percent=columns[:, 1],
        connections=columns[:, 2],
        backlog_s=columns[:, 3],
        slow_share=columns[:, 4],
        done_s=columns[:, 5],
        failed_per_s=columns[:, 6],
        events=tuple(fleet.events),
        calls=float(calls.sum()),
        slow_calls=float((calls * columns[:, 4]).sum()),
        failed_calls=float(columns[:, 6].sum()),
        webserver_hours=float(columns[:, 7].sum()) / 3600.0,
    )


class _Fleet:
    """Webservers in service and on their way."""

    def __init__(self, ready: int, start_s: float) -> None:
        self.ready = ready
        self.events: list[SimulatedEvent] = []
        self._start_s = start_s
        self._starting: deque[tuple[float, int]] = deque()  # when ready, how many

    @property
    def starting(self) -> int:
        return sum(count for _, count in self._starting)

    def in_service(self, now_s: float) -> float:
        """Webservers over the second that begins now; one that joins inside it counts in part."""
        mean = float(self.ready)
        while self._starting and self._starting[0][0] < now_s + 1.0:
            ready_s, count = self._starting.popleft()
            self.ready += count
            mean += count * (now_s + 1.0 - ready_s)
        return mean

    def obey(self, rule: ScalingRule, observation: Observation) -> None:
        decision = rule.observe(observation)
        if decision is None:
            return
        now_s = observation.time_s
        added = decision.to_count - decision.from_count
        ready_s = now_s + (self._start_s if added > 0 else 0.0)
        if added > 0:
            self._starting.append((ready_s, added))
        else:
            self.ready = decision.to_count
        self.events.append(
            SimulatedEvent(now_s, ready_s, decision.from_count, decision.to_count, decision.reason)
        )


_Flow = tuple[float, float, float, float, float]  # connections, backlog, slow, done, failed


class _Queue:
    """The work that waits, as a fluid."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self._backlog_s = 0.0
        self._recent: deque[float] = deque(maxlen=ceil(workload.timeout_s))  # calls per second

    def advance(self, rate_per_s: float, in_service: float) -> _Flow:
        """Let a second pass."""
        workload, before_s = self._workload, self._backlog_s
        capacity_s = in_service * workload.cpu_for_calls
        arrived_s = rate_per_s * workload.demand_s
        done_s = min(before_s + arrived_s, capacity_s)
        self._backlog_s = before_s + arrived_s - done_s
        self._recent.append(rate_per_s)

        waiting_s = (before_s + self._backlog_s) / 2.0
        wait_s = waiting_s / capacity_s
        delay = workload.delay(arrived_s / capacity_s)
        failed = workload.share_over(workload.timeout_s, wait_s, delay)
        limit_s = workload.slow_after_s
        late = failed if limit_s is None else workload.share_over(limit_s, wait_s, delay)
        service_s = workload.latency_s + workload.alone_s + delay[0] * delay[1]
        in_flight = min(rate_per_s * service_s + waiting_s / workload.demand_s, sum(self._recent))
        return (
            in_flight * workload.connections_per_call,
            self._backlog_s,
            max(0.0, late - failed),
            done_s,
            rate_per_s * failed,
        )


class _Meter:
    """What the rule is shown of a period: means of each webserver."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self.begin_period()

    def begin_period(self) -> None:
        self._seconds = 0.0
        self._used = 0.0  # of a webserver that was there all the time, in its CPUs times seconds
        self._connections = 0.0
        self._newcomers: list[tuple[int, float, float, float]] = []  # count, what they missed

    def add(self, flow: _Flow, in_service: float, had: int, ready: int) -> float:
        """Count a second in; returns the share of its CPUs a webserver used."""
        connections, _, _, done_s, _ = flow
        workload = self._workload
        used = (workload.background_cpu + done_s / in_service) / workload.webserver_cpu
        each = connections / in_service
        if ready > had:
            missed = 1.0 - (in_service - had) / (ready - had)
            self._newcomers.append(
                (
                    ready - had,
                    self._seconds + missed,
                    self._used + used * missed,
                    self._connections + each * missed,
                )
            )
        self._seconds += 1.0
        self._used += used
        self._connections += each
        return used

    def observation(self, now_s: float, period_s: int, fleet: _Fleet) -> Observation:
        old = fleet.ready - sum(count for count, *_ in self._newcomers)
        cpu = (100.0 * self._used / period_s,) * old
        connections = (self._connections / self._seconds,) * old
        for count, seconds, used, connection_s in self._newcomers:
            cpu += (100.0 * (self._used - used) / period_s,) * count
            there_s = self._seconds - seconds
            connections += ((self._connections - connection_s) / there_s,) * count
        return Observation(now_s, cpu, connections, fleet.ready, fleet.starting)
