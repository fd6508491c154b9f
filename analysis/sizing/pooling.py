"""One estimate from those of several like runs, all on the logarithm.

    1 run       its own interval
    k runs      mean +- t(0.975, k - 1) s / sqrt(k),  s the spread of the runs' values
    2 runs      the wider of that, 12.7 |l_1 - l_2| / 2, and of z sqrt(s_1^2 + s_2^2) / 2

l_i logarithm of a run's value, s_i half of its interval on the logarithm / z, z = 1.96. The spread
has everything in it that differs from run to run, which the interval of a single run cannot know.
Two runs can agree by chance, so they are never surer than their own intervals; a third one narrows
the interval much, because t(0.975, 2) is 4.3.
Source: Student's t; for two runs the idea of R. Birge, Phys. Rev. 40 (1932) 207: never less than
the observed disagreement.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from analysis.estimate import Estimate
from analysis.sizing.beliefs import Belief, belief_of

FEWEST_FOR_SPREAD = 3
_Z = float(stats.norm.ppf(0.975))


@dataclass(frozen=True, slots=True)
class Pooled:
    """An estimate with the number of runs it rests on.

    Attributes:
        estimate: with its interval.
        runs: behind it.
        freedom: of the t distribution behind an interval by the runs' spread; infinite: it is by
            their own errors, and normal.
    """

    estimate: Estimate
    runs: int
    freedom: float = math.inf

    @property
    def by_spread(self) -> bool:
        """Whether the interval is by how runs differ."""
        return math.isfinite(self.freedom)

    @property
    def belief(self) -> Belief | None:
        """None when there is no estimate."""
        return belief_of(self.estimate, self.freedom)

    def times(self, factor: float) -> "Pooled":
        """The same of a multiple of the quantity."""
        return replace(self, estimate=estimate_times(self.estimate, factor))


def pool(estimates: Sequence[Estimate]) -> Pooled:
    """Combine the estimates of runs; those without a value do not count.

    Returns:
        Without a value when none has one, or when one is 0, which has no logarithm.
    """
    known = [each for each in estimates if each.value is not None]
    if not known or any((each.value or 0.0) <= 0 for each in known):
        reasons = tuple(dict.fromkeys(text for each in estimates for text in each.warnings))
        return Pooled(Estimate(value=None, warnings=reasons), len(known))
    if len(known) == 1:
        return Pooled(known[0], 1)
    logs = np.log([each.value or 0.0 for each in known])
    freedom = len(known) - 1.0
    error = float(logs.std(ddof=1)) / math.sqrt(len(known))
    half_width = float(stats.t.ppf(0.975, freedom)) * error
    if len(known) < FEWEST_FOR_SPREAD:
        own = _Z * math.hypot(*(_own_error(each) for each in known)) / 2
        if own >= half_width:
            freedom, half_width = math.inf, own
    middle, told = float(logs.mean()), math.isfinite(half_width)
    return Pooled(
        Estimate(
            value=math.exp(middle),
            low=math.exp(middle - half_width) if told else None,
            high=math.exp(middle + half_width) if told else None,
            n=sum(each.n for each in known),
            warnings=tuple(dict.fromkeys(text for each in known for text in each.warnings)),
        ),
        len(known),
        freedom,
    )


def estimate_times(estimate: Estimate, factor: float) -> Estimate:
    """The estimate of a multiple of the quantity."""
    value, low, high = (
        None if each is None else each * factor
        for each in (estimate.value, estimate.low, estimate.high)
    )
    return replace(estimate, value=value, low=low, high=high)


def _own_error(estimate: Estimate) -> float:
    """Standard error of the logarithm; infinite when an end is not known."""
    low, high = estimate.low, estimate.high
    if low is None or high is None or low <= 0:
        return math.inf
    return math.log(high / low) / (2 * _Z)
