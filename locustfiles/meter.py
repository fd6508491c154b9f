"""What the load costs this process: CPU, and stalls of its event loop."""

import time
from collections.abc import Callable
from typing import NoReturn

import gevent

STALL_PERIOD_S = 0.01
SHORTEST_STALL_S = 0.05  # less is the noise of any machine


class LoadMeter:
    """Measures from one question to the next.

    Args:
        clock: monotonic seconds.
        cpu_clock: CPU seconds of this process.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._glance = self._mark = (clock(), cpu_clock())
        self._stalled_s = 0.0
        self._longest_stall_s = 0.0

    def watch_stalls(self) -> NoReturn:
        """In a greenlet of its own, until killed: ask to be woken soon, and see how late it is."""
        while True:
            before_s = self._clock()
            gevent.sleep(STALL_PERIOD_S)
            self.woken_late(self._clock() - before_s - STALL_PERIOD_S)

    def woken_late(self, late_s: float) -> None:
        """Count one wake-up; while the loop stands still nothing is sent or received."""
        if late_s >= SHORTEST_STALL_S:
            self._stalled_s += late_s
            self._longest_stall_s = max(self._longest_stall_s, late_s)

    def cpu_fraction(self) -> float:
        """Of one core, since the last time."""
        then, self._glance = self._glance, (self._clock(), self._cpu_clock())
        return _fraction(then, self._glance)

    def report(self) -> dict[str, float]:
        """The figures of a `generator_load` event since the last report."""
        then, self._mark = self._mark, (self._clock(), self._cpu_clock())
        figures = {
            "cpu_fraction": _fraction(then, self._mark),
            "stalled_s": self._stalled_s,
            "longest_stall_s": self._longest_stall_s,
        }
        self._stalled_s = self._longest_stall_s = 0.0
        return figures


def _fraction(then: tuple[float, float], now: tuple[float, float]) -> float:
    return (now[1] - then[1]) / max(now[0] - then[0], 1e-9)
