"""Which simulated change of the webserver count stands for which recorded one.

Both series are in the order of time. They are aligned so that the total cost is least: a pair
costs how far it is apart, in whole metric periods (a known moment is the same within half a
period, a recorded interval holds whatever lies in it), and one more when they add different
numbers; a change without a partner costs `LOST`. Changes of opposite direction are never a pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from analysis.policy.results import ComparedEvent, Verdict

LOST = 3.0  # periods
_INTERVAL_SLACK = 0.05  # of a period: stamps and containers do not begin at the same moment


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the count, at a moment (`from_s` == `to_s`) or somewhere after `from_s`."""

    from_s: float
    to_s: float
    from_count: int
    to_count: int
    reason: str = field(default="", compare=False)

    @property
    def added(self) -> int:
        """Webservers more; negative: fewer."""
        return self.to_count - self.from_count

    def later(self, by_s: float) -> "Change":
        """The same, `by_s` later."""
        return Change(
            self.from_s + by_s, self.to_s + by_s, self.from_count, self.to_count, self.reason
        )


def align(
    recorded: Sequence[Change], simulated: Sequence[Change], period_s: float
) -> tuple[float, list[tuple[Change | None, Change | None]]]:
    """The least cost, in periods, and the pairs behind it in the order of time."""
    costs = [[LOST * (i + j) for j in range(len(simulated) + 1)] for i in range(len(recorded) + 1)]
    for i, was in enumerate(recorded, start=1):
        for j, would_be in enumerate(simulated, start=1):
            costs[i][j] = min(
                costs[i - 1][j] + LOST,
                costs[i][j - 1] + LOST,
                costs[i - 1][j - 1] + _cost(was, would_be, period_s),
            )
    pairs: list[tuple[Change | None, Change | None]] = []
    i, j = len(recorded), len(simulated)
    while i or j:
        here = costs[i][j]
        if (
            i
            and j
            and here == costs[i - 1][j - 1] + _cost(recorded[i - 1], simulated[j - 1], period_s)
        ):
            i, j = i - 1, j - 1
            pairs.append((recorded[i], simulated[j]))
        elif i and here == costs[i - 1][j] + LOST:
            i -= 1
            pairs.append((recorded[i], None))
        else:
            j -= 1
            pairs.append((None, simulated[j]))
    return costs[-1][-1], pairs[::-1]


def compared(
    recorded: Sequence[Change], simulated: Sequence[Change], period_s: float
) -> tuple[ComparedEvent, ...]:
    """The pairs of `align`, told for a reader."""
    _, pairs = align(recorded, simulated, period_s)
    return tuple(_compared(was, would_be, period_s) for was, would_be in pairs)


def difference_s(recorded: Change, simulated: Change) -> float:
    """How much later the simulated change is; 0 inside the recorded interval."""
    at_s = simulated.to_s
    return at_s - min(max(at_s, recorded.from_s), recorded.to_s)


def _cost(recorded: Change, simulated: Change, period_s: float) -> float:
    if recorded.added * simulated.added <= 0:
        return float("inf")
    return _periods_apart(recorded, simulated, period_s) + (recorded.added != simulated.added)


def _periods_apart(recorded: Change, simulated: Change, period_s: float) -> float:
    is_moment = recorded.from_s == recorded.to_s
    slack = 0.5 if is_moment else _INTERVAL_SLACK
    apart = abs(difference_s(recorded, simulated)) / period_s
    return float(max(0, ceil(apart - slack)))


def _compared(recorded: Change | None, simulated: Change | None, period_s: float) -> ComparedEvent:
    if recorded is None:
        verdict: Verdict = "extra"
    elif simulated is None:
        verdict = "missed"
    else:
        verdict = "off" if _cost(recorded, simulated, period_s) else "matched"
    known = recorded or simulated or Change(0.0, 0.0, 0, 0)
    return ComparedEvent(
        verdict=verdict,
        from_count=known.from_count,
        to_count=known.to_count,
        recorded_from_s=recorded.from_s if recorded else None,
        recorded_s=recorded.to_s if recorded else None,
        simulated_s=simulated.to_s if simulated else None,
        difference_s=difference_s(recorded, simulated) if recorded and simulated else None,
        reason=simulated.reason if simulated else "",
    )
