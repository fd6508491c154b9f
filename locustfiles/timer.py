"""Waiting for a moment inside gevent's event loop, to a tenth of a millisecond.

The loop's own timers wake up to a millisecond late, and polling for the rest would keep a core busy
at a thousand arrivals a second. Linux tells the loop of a `timerfd` at once; where there is none,
the last millisecond is polled.
"""

import ctypes
import os
from contextlib import suppress
from typing import Any

import gevent

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
