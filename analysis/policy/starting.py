"""How long a webserver takes from the decision to service, as far as recorded runs tell.

Seen where decisions and readiness are recorded: the median, and the range from the least to the
longest, which a webserver that was still not there at the end of its record may widen. Fitted with
each rule where only counts are recorded. Unknown where no webserver came before the record ended:
it took longer than the longest wait; the usual time is taken, or that wait if it is longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from analysis.estimate import Estimate
from analysis.policy.parameters import USUAL_START_S
from analysis.policy.recorded import RecordedScaling
from analysis.policy.search import LONGEST_START_S, Candidate

_RANGE = "The range is all that fits the record, not a confidence interval."
_TOGETHER = (
    "Decisions are not recorded, so the time to start is known only together with the number of "
    "periods until the decision."
)
_UNKNOWN = (
    "No webserver that was asked for came into service before its record ended, so the time to "
    "start is not known; {taken_s:.4g} s is assumed, and up to {longest_s:.4g} s are tried."
)


@dataclass(frozen=True, slots=True)
class StartTime:
    """The time to start, and what of it is to be simulated."""

    estimate: Estimate  # value None: not known, `low` is a lower bound
    taken_s: float
    ends_s: tuple[float, ...]  # the least and the longest to try
    goes_with_rule: bool  # every rule has its own, because decisions are not recorded

    def of(self, rule: Candidate) -> float:
        """The start time that belongs to a rule."""
        own_s = rule.middle_s if self.goes_with_rule else None
        return self.taken_s if own_s is None else own_s


def start_time(
    runs: Sequence[RecordedScaling], out: Sequence[Candidate], best: Candidate
) -> StartTime:
    """What runs tell of it.

    Args:
        runs: with at least one scale-out.
        out: rules that explain the scale-outs equally well.
        best: the one of them that is taken.
    """
    seen_s = [start_s for run in runs for start_s in run.start_times_s]
    waited_s = [wait_s for run in runs for wait_s in run.waited_s]
    if seen_s:
        low_s, high_s = min(seen_s), max(seen_s + waited_s)
        estimate = Estimate(median(seen_s), low_s, high_s, n=len(seen_s), warnings=(_RANGE,))
        return StartTime(estimate, median(seen_s), (low_s, high_s), goes_with_rule=False)
    ranges = [each.delay_s for each in out if each.delay_s is not None]
    if ranges:
        estimate = Estimate(
            value=best.middle_s,
            low=min(low for low, _ in ranges),
            high=max(high for _, high in ranges),
            n=sum(change.added > 0 for run in runs for change in run.changes),
            warnings=(_RANGE, _TOGETHER),
        )
        return StartTime(estimate, best.middle_s or 0.0, (), goes_with_rule=True)
    bound_s = max(waited_s, default=0.0)
    taken_s, longest_s = max(bound_s, USUAL_START_S), max(bound_s, LONGEST_START_S)
    warning = _UNKNOWN.format(taken_s=taken_s, longest_s=longest_s)
    estimate = Estimate(None, low=bound_s, high=None, warnings=(warning,))
    return StartTime(estimate, taken_s, (bound_s, longest_s), goes_with_rule=False)
