"""Seconds since the epoch that go on evenly, whatever is done to the wall clock."""

import time
from collections.abc import Callable
from typing import Final

SMALLEST_STEP_S: Final = 1.0


class EpochClock:
    """Converts by one offset, taken at the start: steps of the wall clock bend nothing later on."""

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the offset between monotonic seconds and seconds since the epoch."""
        self.clock = clock
        self._wall_clock = wall_clock
        self._offset_s = wall_clock() - clock()
        self.stepped_s = 0.0  # of the wall clock since the start, as far as `take_step_s` has seen

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return self._offset_s + self.clock()

    def epoch_s(self, at_s: float) -> float:
        """The epoch time of a moment on the clock."""
        return self._offset_s + at_s

    def on_clock_s(self, epoch_s: float) -> float:
        """The moment on the clock at an epoch time."""
        return epoch_s - self._offset_s

    def take_step_s(self) -> float:
        """By how much the wall clock was set forward since last asked; 0 for less than a second."""
        step_s = self._wall_clock() - self.now_s() - self.stepped_s
        if abs(step_s) < SMALLEST_STEP_S:
            return 0.0
        self.stepped_s += step_s
        return step_s
