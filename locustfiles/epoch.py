"""The bridge between a process's monotonic clock and the time of day."""

import time
from collections.abc import Callable


class EpochClock:
    """Converts by one offset taken at the start: a step of the wall clock bends nothing later on.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._offset_s = time.time() - clock()

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return self._offset_s + self.clock()

    def epoch_s(self, at_s: float) -> float:
        """The epoch time of a moment on the clock."""
        return self._offset_s + at_s

    def on_clock_s(self, epoch_s: float) -> float:
        """The moment on the clock at an epoch time."""
        return epoch_s - self._offset_s
