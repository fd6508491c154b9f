"""The dispatcher: every arrival is handed to a sender when it is due, whatever the answers do.

An open workload never waits for a sender. An arrival that finds all senders busy is recorded as
unsent at once: what the generator could not send must show in the record, not in a silently lower
rate. So is one that is late by more than a second: after this process stood still, a burst would
follow that nobody has asked for.

The users of a closed workload each wait, call, and wait again only when they have their answer:
such a workload slows down with the environment, so it hides waiting that open callers would feel.
"""

import ctypes
import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import gevent
from gevent.event import Event

from mwaa_headroom.harness.traffic.operations import OPERATIONS, RestCall, complete_parameters
from mwaa_headroom.harness.traffic.rate_cap import LATEST_START_S
from mwaa_headroom.harness.traffic.schedule import (
    WHOLE,
    Cycle,
    Share,
    StageSchedule,
    user_cycles,
    users_of,
)
from mwaa_headroom.harness.transport.opening import OpenTransport
from mwaa_headroom.harness.transport.outcome import TOO_LATE, CallResult
from mwaa_headroom.locustfiles.plan import Phase, Plan
from mwaa_headroom.locustfiles.recorder import CallRecorder
from mwaa_headroom.locustfiles.senders import Job, SenderPool

# Behind schedule nothing is waited for, but answers that have come must still free their senders.
LET_OTHERS_RUN_EVERY = 16
DRAIN_BEYOND_LONGEST_CALL_S = 2.0
DRAIN_POLL_S = 0.01
CUT = CallResult("client_timeout", error_code="CallTimeout")

_CLOCK_MONOTONIC = 1
_TIMER_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK
_GEVENT_GRAIN_S = 0.001  # of its own timers


@dataclass(frozen=True, slots=True)
class Drained:
    """How waiting for calls in flight ended."""

    in_flight_left: int
    took_s: float


class Dispatcher:
    """Sends one phase at a time. All of it lives on one gevent hub: nothing needs a lock.

    Args:
        plan: what is sent.
        transport: how.
        pool: by whom; users of a closed workload are only counted there.
        recorder: hears of every arrival and call.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        plan: Plan,
        transport: OpenTransport,
        pool: SenderPool,
        recorder: CallRecorder,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._plan = plan
        self._transport = transport
        self._pool = pool
        self._recorder = recorder
        self._clock = clock
        self._rate_cap = transport.rate_cap
        self._timer = PreciseTimer()
        self._phase_over = Event()  # before its time
        self._stopping = False
        self._without_pause = 0
        self._sent_s: dict[Job, float] = {}  # calls in flight and when they were sent
        self._send = transport.send if transport.sees_to_it else self._send_and_cut
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
        return self._transport.longest_call_s + DRAIN_BEYOND_LONGEST_CALL_S

    def run(self, phase: Phase, start_s: float, share: Share = WHOLE) -> bool:
        """Send a share of `phase`, its offsets counted from `start_s` on the clock.

        Returns at the phase's end, not waiting for calls in flight.

        Returns:
            False if `stop` cut it short.
        """
        if self._stopping:
            return False
        self._phase_over.clear()
        self._rate_cap.allow(self._plan.scenario, phase.stage, share)
        if phase.schedule is not None:
            self._send_schedule(phase.schedule, share, start_s)
        else:
            self._let_users_call(phase, share, start_s)
        return not self._stopping

    def end_phase(self) -> None:
        """The phase has served its purpose: end it as if it were over."""
        self._phase_over.set()
        self._timer.wake()

    def stop(self) -> None:
        """Hand out nothing more, now and later."""
        self._stopping = True
        self.end_phase()

    def drain(self) -> Drained:
        """Wait for calls in flight, a little longer than any call may take."""
        start_s = self._clock()
        while self._pool.in_flight and self._clock() - start_s < self.longest_drain_s:
            gevent.sleep(DRAIN_POLL_S)
        return Drained(self._pool.in_flight, self._clock() - start_s)

    def close(self) -> None:
        """There are no more phases: calls that still have not ended are counted as cut."""
        self._timer.close()
        while self._sent_s:
            job, started_s = self._sent_s.popitem()
            self._recorder.ended(job, started_s, self._clock(), CUT)

    def _send_schedule(self, schedule: StageSchedule, share: Share, start_s: float) -> None:
        offer, arrived, call = self._pool.offer, self._recorder.arrived, self._call
        for block in schedule.blocks(share):
            for arrival, offset_s, label in zip(
                block.arrival.tolist(), block.offset_s.tolist(), block.label.tolist(), strict=True
            ):
                job = Job(arrival, schedule.stage, schedule.labels[label], start_s + offset_s)
                if not self._wait_until(job.intended_s):
                    return
                arrived(job, offer(job, call))
        self._wait_until(start_s + schedule.duration_s)

    def _wait_until(self, due_s: float) -> bool:
        """False, at once, when the phase is over before its time."""
        self._without_pause += 1
        is_over = self._phase_over.is_set
        while not is_over() and (left_s := due_s - self._clock()) > 0:
            self._timer.sleep(left_s)
            self._without_pause = 0
        if self._without_pause >= LET_OTHERS_RUN_EVERY:
            gevent.sleep(0)
            self._without_pause = 0
        return not is_over()

    def _let_users_call(self, phase: Phase, share: Share, start_s: float) -> None:
        end_s = start_s + phase.duration_s
        for user in users_of(phase.users, share):
            cycles = user_cycles(self._plan.scenario, phase.stage, user)
            gevent.spawn(self._call_as_user, phase, cycles, start_s, end_s)
        self._phase_over.wait(max(end_s - self._clock(), 0.0))

    def _call_as_user(
        self, phase: Phase, cycles: Iterator[Cycle], start_s: float, end_s: float
    ) -> None:
        ready_s = start_s
        for cycle in cycles:
            due_s = ready_s + cycle.think_s
            if due_s >= end_s or self._phase_over.wait(max(due_s - self._clock(), 0.0)):
                return
            job = Job(cycle.arrival, phase.stage, phase.labels[cycle.label], due_s)
            self._recorder.arrived(job, True)
            self._pool.run(job, self._call)
            ready_s = self._clock()

    def _call(self, job: Job) -> None:
        call = self._builders[job.label](job.arrival, self._plan.targets)
        started_s = self._begin(job)
        if started_s is None:
            self._recorder.left_unsent(job, TOO_LATE)
            return
        self._recorder.sending()
        self._sent_s[job] = started_s
        result = self._send(call)
        if self._sent_s.pop(job, None) is not None:
            self._recorder.ended(job, started_s, self._clock(), result)

    def _begin(self, job: Job) -> float | None:
        """When the cap lets the call begin; None: not before it is too late."""
        while True:
            now_s = self._clock()
            if now_s - job.intended_s > LATEST_START_S:
                return None
            wait_s = self._rate_cap.calls.begin(now_s)
            if wait_s == 0.0:
                return now_s
            gevent.sleep(wait_s)

    def _send_and_cut(self, call: RestCall) -> CallResult:
        too_long = gevent.Timeout(self._transport.longest_call_s)
        try:
            with too_long:
                return self._transport.send(call)
        except gevent.Timeout as timeout:
            if timeout is not too_long:
                raise
            return CUT


class PreciseTimer:
    """Sleeps inside gevent's event loop, to a tenth of a millisecond; one sleeper at a time.

    The loop's own timers wake up to a millisecond late, and polling for the rest would keep a core
    busy at a thousand arrivals a second. Linux tells the loop of a `timerfd` at once; where there
    is none, the last millisecond is polled.
    """

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
            gevent.sleep(min(left_s - _GEVENT_GRAIN_S, 0.05) if left_s > _GEVENT_GRAIN_S else 0)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def _timer_descriptor(libc: Any) -> int | None:
    create = getattr(libc, "timerfd_create", None)
    descriptor = -1 if create is None else int(create(_CLOCK_MONOTONIC, _TIMER_FLAGS))
    return descriptor if descriptor >= 0 else None
