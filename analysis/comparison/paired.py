"""Whether metrics got worse, from pairs of runs, looked at after every pair. The pair is the unit.

    y_i      log ratio of the contender over the baseline in pair i (of shares the difference),
             larger is worse, less that of the host's reference work where it was timed
    t_n      (mean(y) - d) / (s / sqrt(n)) after n pairs, s their standard deviation
    p_n      P(T > t_n), T Student's with n - 1 degrees of freedom
    level    the c for which P(min over the looks of p_n <= c) = 2.5 % where the true change is d
    interval mean(y) +- t(n - 1, c) s / sqrt(n): it holds at whatever look one stops

    regression   d = margin: P(min p <= p_n) at most 2.5 % after Holm's correction over the gate
    pass         upper end of the interval < margin

Two runs of one pair are made one right after the other and in either order, half of the pairs each,
so that what drifts over an hour falls on both sides alike, and what is left of it widens s. Who
looks after every pair and stops when the answer is there would call chance a regression far more
often than in 2.5 %, were that the level of every look: one lower level for all looks (Pocock) keeps
their errors together at that. It is simulated with a fixed seed, for t_1, t_2, ... of normal values
have one distribution whatever their variance.

Measured in `benchmarks/upgrade_rates.py`, also where pairs are heavy-tailed, drift or depend on the
pair before.

Sources: Pocock, Biometrika 64 (1977) 191; Jennison and Turnbull, Group Sequential Methods, 2000,
ch. 2, 9 (repeated confidence intervals) and 11 (t); Holm as in `regression`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
import scipy

from mwaa_headroom.analysis.comparison.metrics import Metric
from mwaa_headroom.analysis.comparison.rank_tests import MOST_RUNS, POWER, Shift
from mwaa_headroom.analysis.comparison.regression import (
    CONFIDENCE,
    NOTICEABLE,
    SHARE_MARGIN,
    TAIL,
    MetricComparison,
    holm,
)
from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.statistics import Estimate, Floats

FEWEST_PAIRS: Final = 4  # below, an interval is several times as wide as with a few more
_REPLICATES: Final = 200_000


@dataclass(frozen=True, slots=True)
class Looks:
    """After which numbers of pairs the answer is looked for: from `first` to `last`, each."""

    first: int
    last: int

    def level(self, tail: float = TAIL) -> float:
        """The one-sided p at every look that makes for `tail` over all of them."""
        smallest = _smallest_p(self.first, self.last)
        return float(smallest[round(tail * len(smallest))])

    def chance(self, p: float) -> float:
        """How likely chance makes the smallest p of all looks so small."""
        smallest = _smallest_p(self.first, self.last)
        return float(np.searchsorted(smallest, p, side="right") + 1) / (len(smallest) + 1)


@lru_cache(maxsize=8)
def _smallest_p(first: int, last: int) -> Floats:
    """Of every simulated experiment without a change, in ascending order."""
    random = np.random.default_rng(1)
    total, squares = np.zeros(_REPLICATES), np.zeros(_REPLICATES)
    smallest = np.ones(_REPLICATES)
    for pairs in range(1, last + 1):
        value = random.standard_normal(_REPLICATES)
        total += value
        squares += value * value
        if pairs >= first:
            variance = (squares - total * total / pairs) / (pairs - 1)
            t = total / np.sqrt(pairs * variance)
            np.minimum(smallest, scipy.special.stdtr(pairs - 1, -t), out=smallest)
    return np.sort(smallest)


@dataclass(frozen=True, slots=True)
class PairedSamples:
    """One metric of every pair; a value of None: that run does not know it.

    `host` is by what factor the contender's run of each pair found the host slower than the
    baseline's, 1 where that is not known or does not matter.
    """

    metric: Metric
    baseline: tuple[Estimate, ...]
    contender: tuple[Estimate, ...]
    host: tuple[float, ...]


def compare_pairs(
    samples: Sequence[PairedSamples],
    looks: Looks,
    *,
    margin: float,
    share_margin: float = SHARE_MARGIN,
) -> tuple[MetricComparison, ...]:
    """The verdict on every metric of the gate.

    Args:
        samples: of all pairs that there are.
        looks: of the experiment.
        margin: fraction by which a metric may get worse.
        share_margin: the same for shares, as a difference.
    """
    changes = [_changes(each) for each in samples]
    margins = [share_margin if e.metric.is_share else math.log1p(margin) for e in samples]
    chances = [
        looks.chance(_p_above(y, allowed)) if len(y) >= looks.first else 1.0
        for y, allowed in zip(changes, margins, strict=True)
    ]
    adjusted = holm(chances)
    tail = TAIL / max(len(samples), 1)
    compared = []
    for each, y, allowed, chance, after_all in zip(
        samples, changes, margins, chances, adjusted, strict=True
    ):
        found = _shift(y, looks)
        verdict, reason = _verdict(each, found, looks, allowed, after_all)
        compared.append(
            replace(
                _comparison(each, y, found, verdict, reason),
                p=chance,
                p_adjusted=after_all,
                detectable=_detectable(each.metric, y, looks, allowed, tail),
                runs_needed=_needed(y, looks, allowed),
            )
        )
    return tuple(compared)


def describe_pairs(samples: Sequence[PairedSamples], looks: Looks) -> tuple[MetricComparison, ...]:
    """What changed beside the gate, "~" where no change can be told."""
    changes = [_changes(each) for each in samples]
    p_values = [
        min(1.0, 2 * looks.chance(min(_p_above(y, 0.0), _p_above(-y, 0.0))))
        if len(y) >= looks.first
        else None
        for y in changes
    ]
    known = [p for p in p_values if p is not None]
    adjusted = iter(scipy.stats.false_discovery_control(known).tolist() if known else [])
    described = []
    for each, y, p in zip(samples, changes, p_values, strict=True):
        p_adjusted, found = None if p is None else next(adjusted), _shift(y, looks)
        verdict = "~"
        if found and p_adjusted is not None and p_adjusted <= NOTICEABLE and found.value:
            verdict = "worse" if found.value > 0 else "better"
        described.append(
            replace(
                _comparison(each, y, found, verdict, _missing(each)),
                p=p,
                p_adjusted=p_adjusted,
                detectable=_detectable(each.metric, y, looks, 0.0, TAIL),
            )
        )
    return tuple(described)


def _changes(samples: PairedSamples) -> Floats:
    """The y of the pairs in which both sides are known."""
    metric, found = samples.metric, []
    for before, after, host in zip(samples.baseline, samples.contender, samples.host, strict=True):
        if before.value is None or after.value is None:
            continue
        if metric.has_ratio(before.value) and metric.has_ratio(after.value):
            scaled = metric.scaled(np.array([before.value, after.value]))
            slower = math.log(host) if metric.unit == "s" else 0.0
            found.append(float(scaled[1] - scaled[0]) - slower)
    return np.array(found)


def _p_above(y: Floats, threshold: float) -> float:
    """One-sided p of a mean above `threshold`."""
    mean, error = float(y.mean()) - threshold, float(y.std(ddof=1)) / math.sqrt(len(y))
    if error == 0:
        return 0.0 if mean > 0 else 1.0
    return float(scipy.special.stdtr(len(y) - 1, -mean / error))


def _shift(y: Floats, looks: Looks) -> Shift | None:
    if not len(y):
        return None
    mean = float(y.mean())
    if len(y) < looks.first:  # an interval would be one look more than the level is for
        return Shift(mean, None, None)
    half = _t(len(y), looks.level()) * float(y.std(ddof=1)) / math.sqrt(len(y))
    return Shift(mean, mean - half, mean + half)


def _t(pairs: int, p: float) -> float:
    """The t of so many pairs that leaves out p above it."""
    return -float(scipy.special.stdtrit(pairs - 1, p))


def _verdict(
    samples: PairedSamples, found: Shift | None, looks: Looks, margin: float, chance: float
) -> tuple[str, Finding | None]:
    missing = _missing(samples)
    if found is None or found.low is None or found.high is None:
        return "inconclusive", missing or refusal("comparison.few_pairs", needed=looks.first)
    if found.low > margin:
        if chance > TAIL:
            return "inconclusive", warning("comparison.not_after_correction")
        return "regression", missing
    if found.high < margin:
        return ("inconclusive" if missing else "pass"), missing
    return "inconclusive", missing


def _missing(samples: PairedSamples) -> Finding | None:
    for side, estimates in (("baseline", samples.baseline), ("contender", samples.contender)):
        lacking = [each for each in estimates if each.value is None]
        if lacking:
            return warning(
                "comparison.not_measured",
                side=side,
                lacking=len(lacking),
                runs=len(estimates),
                why=next(iter(lacking[0].warnings), None),
            )
    return None


def _detectable(
    metric: Metric, y: Floats, looks: Looks, margin: float, tail: float
) -> float | None:
    """The smallest true change that as many pairs as there are find 4 times out of 5."""
    if len(y) < 2:
        return None
    needed = _t(len(y), looks.level(tail)) + _t(len(y), 1 - POWER)
    return metric.unscaled(margin + needed * float(y.std(ddof=1)) / math.sqrt(len(y)))


def _needed(y: Floats, looks: Looks, margin: float) -> int | None:
    """How many pairs pass 4 times out of 5 where nothing changed; None: more than anybody makes."""
    if len(y) < 2:
        return None
    for pairs in range(looks.first, MOST_RUNS + 1):
        needed = _t(pairs, looks.level()) + _t(pairs, 1 - POWER)
        if needed * float(y.std(ddof=1)) / math.sqrt(pairs) <= margin:
            return pairs
    return None


def _comparison(
    samples: PairedSamples, y: Floats, found: Shift | None, verdict: str, reason: Finding | None
) -> MetricComparison:
    metric, pairs = samples.metric, len(y)
    return MetricComparison(
        metric=metric,
        baseline=_side(samples.baseline),
        contender=_side(samples.contender),
        change=metric.change(found, pairs) if found else Estimate(None, n=pairs),
        p=None,
        p_adjusted=None,
        verdict=verdict,
        reason=reason,
        baseline_values=_known(samples.baseline),
        contender_values=_known(samples.contender),
    )


def _side(estimates: Sequence[Estimate]) -> Estimate:
    values = _known(estimates)
    middle = float(np.median(values)) if values else None
    return Estimate(middle, n=len(values), confidence=CONFIDENCE)


def _known(estimates: Sequence[Estimate]) -> tuple[float, ...]:
    return tuple(each.value for each in estimates if each.value is not None)
