"""The senders of one process and what drives them: carries out phases, or one worker's shares."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import gevent

from harness.traffic.closed import user_cycles, users_of
from harness.traffic.operations import OPERATIONS, RestCall, complete_parameters
from harness.traffic.schedule import WHOLE, Share
from harness.transport.outcome import CallResult
from locustfiles.closed_loop import ClosedLoop
from locustfiles.journal import Journal
from locustfiles.open_loop import OpenLoop
from locustfiles.plan import Phase, Plan
from locustfiles.pool import Job, SenderPool

DRAIN_BEYOND_LONGEST_CALL_S = 2.0
DRAIN_POLL_S = 0.01
CUT = CallResult("client_timeout", error_code="CallTimeout")


@dataclass(frozen=True, slots=True)
class Drained:
    """How waiting for calls in flight ended."""

    in_flight_left: int
    took_s: float


class Crew:
    """Carries out one phase at a time. All of it lives on one gevent hub: nothing needs a lock."""

    def __init__(
        self,
        plan: Plan,
        pool: SenderPool,
        journal: Journal,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._plan = plan
        self._pool = pool
        self._journal = journal
        self._clock = clock
        self._open = OpenLoop(pool, self, clock=clock)
        self._closed = ClosedLoop(pool, self, clock=clock)
        self._stopping = False
        self._ending_phase = False
        self._carrying: dict[Job, float] = {}  # calls in flight and when they were sent
        self._send = self._send_and_cut if plan.cut_calls else plan.send
        self._builders = {
            label: partial(
                OPERATIONS[choice.operation].build,
                complete_parameters(choice.operation, choice.parameters),
            )
            for label, choice in plan.scenario.traffic.mix.items()
        }
        # What is there by now stays. Without this, a full collection over it, when hundreds of
        # calls are in flight, stalls the dispatcher for a fifth of a second.
        gc.collect()
        gc.freeze()

    @property
    def in_flight(self) -> int:
        """Calls that have not ended."""
        return self._pool.in_flight

    @property
    def longest_drain_s(self) -> float:
        """`drain` returns by then."""
        return self._plan.longest_call_s + DRAIN_BEYOND_LONGEST_CALL_S

    def run(self, phase: Phase, start_s: float, share: Share = WHOLE) -> bool:
        """Send a share of `phase`, its offsets counted from `start_s` on the clock.

        Returns at the phase's end, not waiting for calls in flight.

        Returns:
            False if `stop` cut it short.
        """
        self._ending_phase = False
        if self._stopping:
            return False
        if phase.schedule is not None:
            done = self._open.send(phase.schedule, share, start_s)
        else:
            done = self._let_users_work(phase, start_s, share)
        return done or (self._ending_phase and not self._stopping)

    def end_phase(self) -> None:
        """The phase has served its purpose: end it as if it were over."""
        self._ending_phase = True
        self._cut_short()

    def stop(self) -> None:
        """Hand out nothing more, now and later."""
        self._stopping = True
        self._cut_short()

    def drain(self) -> Drained:
        """Wait for calls in flight, a little longer than any call may take."""
        start_s = self._clock()
        most_s = self.longest_drain_s
        while self._pool.in_flight and self._clock() - start_s < most_s:
            gevent.sleep(DRAIN_POLL_S)
        return Drained(self._pool.in_flight, self._clock() - start_s)

    def close(self) -> None:
        """There are no more phases: calls that still have not ended are counted as cut."""
        self._open.close()
        while self._carrying:
            job, started_s = self._carrying.popitem()
            self._journal.ended(job, started_s, self._clock(), CUT)

    def arrived(self, job: Job, *, taken: bool) -> None:
        """See `locustfiles.open_loop.Observer`."""
        self._journal.arrived(job, taken=taken)

    def carry_out(self, job: Job) -> None:
        """See `locustfiles.open_loop.Observer`."""
        call = self._builders[job.label](job.arrival, self._plan.targets)
        self._journal.sending()
        started_s = self._clock()
        self._carrying[job] = started_s
        result = self._send(call)
        if self._carrying.pop(job, None) is not None:
            self._journal.ended(job, started_s, self._clock(), result)

    def _send_and_cut(self, call: RestCall) -> CallResult:
        too_long = gevent.Timeout(self._plan.longest_call_s)
        try:
            with too_long:
                return self._plan.send(call)
        except gevent.Timeout as timeout:
            if timeout is not too_long:
                raise
            return CUT

    def _let_users_work(self, phase: Phase, start_s: float, share: Share) -> bool:
        scenario = self._plan.scenario
        users = [user_cycles(scenario, phase.stage, user) for user in users_of(phase.users, share)]
        return self._closed.work(
            phase.stage, users, phase.labels, start_s=start_s, duration_s=phase.duration_s
        )

    def _cut_short(self) -> None:
        self._open.cut_short()
        self._closed.cut_short()
