"""How far a worker's clock is ahead of the master's, from pings and their answers.

    offset = (t_worker - (t_sent + t_received) / 2),   uncertainty = (t_received - t_sent) / 2

The answer with the shortest way there and back counts (Cristian, Distrib. Comput. 3 (1989) 146):
whatever delayed the others lengthened their way.
"""

from collections import deque

KEPT = 30  # answers; a clock that drifts is seen within as many seconds


class ClockOffset:
    """Takes in answers, one by one."""

    def __init__(self) -> None:
        self._answers: deque[tuple[float, float]] = deque(maxlen=KEPT)  # uncertainty, offset

    def add(self, *, sent_s: float, answered_s: float, received_s: float) -> None:
        """One ping: when it was sent and received here, and answered there; epoch seconds."""
        uncertainty_s = (received_s - sent_s) / 2
        self._answers.append((uncertainty_s, answered_s - (sent_s + received_s) / 2))

    @property
    def count(self) -> int:
        """Answers that are there."""
        return len(self._answers)

    @property
    def ahead_s(self) -> float:
        """The best estimate; 0 without any answer."""
        return min(self._answers)[1] if self._answers else 0.0

    @property
    def uncertainty_s(self) -> float:
        """At most this far from the truth."""
        return min(self._answers)[0] if self._answers else float("inf")
