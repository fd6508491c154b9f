"""How long each phase of a run took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Phases:
    """Durations by phase, kept in the manifest so that slow starts can be seen."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.durations_s: dict[str, float] = {}

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Time what happens inside, even when it fails."""
        began_s = self._clock()
        try:
            yield
        finally:
            self.durations_s[phase] = round(self._clock() - began_s, 3)
