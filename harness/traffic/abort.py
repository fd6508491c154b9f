"""The rule that stops a run doing harm: too many errors among the calls of the last seconds."""

from collections import deque

FEWEST_CALLS = 20  # fewer say nothing


class ErrorRateRule:
    """Counts calls and errors per second over a sliding window.

    Args:
        limit: fraction of errors that is one too many.
        window_s: how far back calls count.
    """

    def __init__(self, *, limit: float, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._seconds: deque[list[int]] = deque()  # [second, calls, errors]

    def add(self, time_s: float, *, is_error: bool) -> None:
        """Count one call that ended at `time_s`; times never go back by a second or more."""
        second = int(time_s)
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append([second, 0, 0])
        self._seconds[-1][1] += 1
        self._seconds[-1][2] += is_error

    def reason_to_abort(self, now_s: float) -> str | None:
        """One sentence if the rule is broken, else None."""
        while self._seconds and self._seconds[0][0] <= now_s - self._window_s - 1:
            self._seconds.popleft()
        calls = sum(entry[1] for entry in self._seconds)
        errors = sum(entry[2] for entry in self._seconds)
        if calls < FEWEST_CALLS or errors < self._limit * calls:
            return None
        return (
            f"{errors} of {calls} calls in the last {self._window_s:g} s failed, "
            f"limits.abort_error_rate is {self._limit:g}."
        )
