"""The rule that stops a run doing harm: too many errors among the calls of the last seconds."""

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
        self._seconds: dict[int, tuple[int, int]] = {}  # calls and errors

    def add(self, second: int, *, calls: int, errors: int) -> None:
        """Count calls that ended within one second of the clock; seconds may come in any order."""
        before = self._seconds.get(second, (0, 0))
        self._seconds[second] = (before[0] + calls, before[1] + errors)

    def clear(self) -> None:
        """Forget all calls so far: another load begins."""
        self._seconds.clear()

    def reason_to_abort(self, now_s: float) -> str | None:
        """One sentence if the rule is broken, else None."""
        oldest = now_s - self._window_s - 1
        self._seconds = {second: n for second, n in self._seconds.items() if second > oldest}
        calls = sum(entry[0] for entry in self._seconds.values())
        errors = sum(entry[1] for entry in self._seconds.values())
        if calls < FEWEST_CALLS or errors < self._limit * calls:
            return None
        return (
            f"{errors} of {calls} calls in the last {self._window_s:g} s failed, "
            f"limits.abort_error_rate is {self._limit:g}."
        )
