"""The senders of one process and what drives them: carries out phases, or one worker's shares.

Waiting for a moment inside gevent's event loop, to a tenth of a millisecond.

The loop's own timers wake up to a millisecond late, and polling for the rest would keep a core busy
at a thousand arrivals a second. Linux tells the loop of a `timerfd` at once; where there is none,
the last millisecond is polled.

The dispatcher: every arrival is handed over when it is due, whatever the answers do.

It never waits for a sender. An arrival that finds all senders busy is told to be unsent at once:
what the generator could not send must show in the record, not in a silently lower rate.

Users with think time: each waits, calls, and waits again only when it has its answer.

Such a workload slows down with the environment, so it hides waiting that open callers would feel.
"""

import ctypes
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import gevent
from gevent.event import Event

from mwaa_headroom.harness.traffic.operations import OPERATIONS, RestCall, complete_parameters
from mwaa_headroom.harness.traffic.schedule import (
    WHOLE,
    Cycle,
    Share,
    StageSchedule,
    user_cycles,
    users_of,
)
from mwaa_headroom.harness.transport.outcome import CallResult
from mwaa_headroom.locustfiles.plan import Phase, Plan
from mwaa_headroom.locustfiles.recorder import Journal
from mwaa_headroom.locustfiles.senders import Job, SenderPool

_CLOCK_MONOTONIC = 1
_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK
_GRAIN_S = 0.001  # of the loop's own timers


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """One sleeper at a time; `wake` ends its sleep early."""

    def __init__(self) -> None:
        self._libc: Any = ctypes.CDLL(None, use_errno=True)
        self._descriptor = _timer_descriptor(self._libc)
        self._woken = False
        if self._descriptor is not None:
            self._readable = gevent.get_hub().loop.io(self._descriptor, 1)

    def sleep(self, seconds: float) -> None:
        """Let others run for `seconds`, or until somebody calls `wake`."""
        self._woken = False
        if self._descriptor is None:
            self._sleep_and_poll(seconds)
            return
        self._set(seconds)
        gevent.get_hub().wait(self._readable)
        with suppress(BlockingIOError):
            os.read(self._descriptor, 8)

    def wake(self) -> None:
        """End the sleep that is going on, if any."""
        self._woken = True
        if self._descriptor is not None:
            self._set(0.0)

    def close(self) -> None:
        """Free the timer; nobody may be sleeping."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _set(self, seconds: float) -> None:
        # Zero would disarm it.
        nanoseconds = max(int(seconds * 1e9), 1)
        value = _Timespec(nanoseconds // 1_000_000_000, nanoseconds % 1_000_000_000)
        spec = _TimerSpec(_Timespec(0, 0), value)
        self._libc.timerfd_settime(self._descriptor, 0, ctypes.byref(spec), None)

    def _sleep_and_poll(self, seconds: float) -> None:
        loop = gevent.get_hub().loop
        loop.update_now()
        until_s = loop.now() + seconds
        while not self._woken:
            loop.update_now()
            left_s = until_s - loop.now()
            if left_s <= 0:
                return
            gevent.sleep(min(left_s - _GRAIN_S, 0.05) if left_s > _GRAIN_S else 0)


def _timer_descriptor(libc: Any) -> int | None:
    create = getattr(libc, "timerfd_create", None)
    descriptor = -1 if create is None else int(create(_CLOCK_MONOTONIC, _FLAGS))
    return descriptor if descriptor >= 0 else None


# Behind schedule nothing is waited for, but answers that have come must still free their senders.
LET_OTHERS_RUN_EVERY = 16


class Observer(Protocol):
    """Is told of every arrival, and carries out what is sent."""

    def arrived(self, job: Job, *, taken: bool) -> None:
        """An arrival was due; `taken` is False if it stays unsent."""

    def carry_out(self, job: Job) -> None:
        """As a sender: make the call and keep account of it."""


class OpenLoop:
    """Sends shares of schedules, one after the other.

    Args:
        pool: takes the jobs.
        observer: is told of arrivals.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        pool: SenderPool,
        observer: Observer,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._pool = pool
        self._observer = observer
        self._clock = clock
        self._timer = Timer()
        self._cut_short = False
        self._without_pause = 0

    def send(self, schedule: StageSchedule, share: Share, start_s: float) -> bool:
        """Hand over the arrivals of `share`; offsets count from `start_s` on the clock.

        Returns:
            At the schedule's end: True; at once after `cut_short`: False.
        """
        self._cut_short = False
        pool, observer, stage = self._pool, self._observer, schedule.stage
        for block in schedule.blocks(share):
            for arrival, offset_s, label in zip(
                block.arrival.tolist(), block.offset_s.tolist(), block.label.tolist(), strict=True
            ):
                job = Job(arrival, stage, schedule.labels[label], start_s + offset_s)
                if not self._wait_until(job.intended_s):
                    return False
                observer.arrived(job, taken=pool.offer(job, observer.carry_out))
        return self._wait_until(start_s + schedule.duration_s)

    def cut_short(self) -> None:
        """Hand over nothing more of what is being sent."""
        self._cut_short = True
        self._timer.wake()

    def close(self) -> None:
        """Nothing will be sent any more."""
        self._timer.close()

    def _wait_until(self, due_s: float) -> bool:
        self._without_pause += 1
        while not self._cut_short and (left_s := due_s - self._clock()) > 0:
            self._timer.sleep(left_s)
            self._without_pause = 0
        if self._without_pause >= LET_OTHERS_RUN_EVERY:
            gevent.sleep(0)
            self._without_pause = 0
        return not self._cut_short


class ClosedLoop:
    """Lets users work, one stage after the other.

    Args:
        pool: counts their calls in flight.
        observer: is told of each call.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        pool: SenderPool,
        observer: Observer,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._pool = pool
        self._observer = observer
        self._clock = clock
        self._over = Event()

    def work(
        self,
        stage: int,
        users: list[Iterator[Cycle]],
        labels: tuple[str, ...],
        *,
        start_s: float,
        duration_s: float,
    ) -> bool:
        """Let `users` begin at `start_s` and begin no call after `duration_s`.

        Calls in flight at the end go on. Returns False if `cut_short` ended it.
        """
        self._over.clear()
        end_s = start_s + duration_s
        for cycles in users:
            gevent.spawn(self._live, stage, cycles, labels, start_s, end_s)
        return not self._over.wait(max(end_s - self._clock(), 0.0))

    def cut_short(self) -> None:
        """Begin no more calls."""
        self._over.set()

    def _live(
        self,
        stage: int,
        cycles: Iterator[Cycle],
        labels: tuple[str, ...],
        start_s: float,
        end_s: float,
    ) -> None:
        ready_s = start_s
        for cycle in cycles:
            due_s = ready_s + cycle.think_s
            if due_s >= end_s or self._over.wait(max(due_s - self._clock(), 0.0)):
                return
            job = Job(cycle.arrival, stage, labels[cycle.label], due_s)
            self._observer.arrived(job, taken=True)
            self._pool.carry(job, self._observer.carry_out)
            ready_s = self._clock()


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
        """See `locustfiles.dispatcher.Observer`."""
        self._journal.arrived(job, taken=taken)

    def carry_out(self, job: Job) -> None:
        """See `locustfiles.dispatcher.Observer`."""
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
