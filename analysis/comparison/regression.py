"""Whether metrics got worse from one set of runs to another. The run is the unit: one value each.

Two requests of one run share its minutes, its database and its machine, so thousands of them say
nothing about the next run: a test over requests finds "differences" between equal runs most of the
time. Sides are therefore compared by their runs, by ranks (`rank_tests`):

    change      Hodges-Lehmann ratio of contender over baseline (on logarithms); of shares, which
                may be 0, the difference
    regression  lower end of its 95 % interval > 1 + margin, also after Holm's correction
    pass        upper end < 1 + margin
    otherwise   inconclusive

For metrics of which more is better, ends and directions are exchanged. Shares have a margin of
their own, in percentage points.

Holm: of K gate metrics, the i-th smallest one-sided p (of "worse than the margin") times K-i+1,
never below the one before, must be at most 2.5 %: so the chance of calling any of them a regression
without there being one is at most that. "pass" needs no correction: every metric has to pass.
Informational metrics: two-sided p of any change, false discovery rate by Benjamini and Hochberg.

Sources: Hodges and Lehmann 1963; Holm, Scand. J. Stat. 6 (1979) 65; Benjamini and Hochberg, J. R.
Stat. Soc. B 57 (1995) 289; intersection-union test: Berger, Technometrics 24 (1982) 295.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.calls import Floats
from analysis.comparison.metric_scale import change, scaled, scaled_margin, unscaled
from analysis.comparison.power import detectable_shift, runs_needed, spread
from analysis.comparison.rank_tests import (
    Shift,
    fewest_per_side,
    interval_rank,
    p_above,
    p_different,
    shift,
    smallest_p,
)
from analysis.comparison.results import GateVerdict, Metric, MetricComparison
from analysis.latency import LOWER_BOUND, interval_ranks
from analysis.results import Estimate

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
NOTICEABLE = 0.05  # false discovery rate of what is called worse or better beside the gate
SHARE_MARGIN = 0.005


@dataclass(frozen=True, slots=True)
class MetricSamples:
    """One metric of every run; a value of None: that run does not know it."""

    metric: Metric
    baseline: tuple[Estimate, ...]
    contender: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """The known values on the scale on which sides differ by a shift; larger is worse."""

    samples: MetricSamples
    baseline: Floats
    contender: Floats

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.baseline), len(self.contender)


def compare_gate(
    samples: Sequence[MetricSamples], *, margin: float, share_margin: float = SHARE_MARGIN
) -> tuple[MetricComparison, ...]:
    """The verdict on every metric of the gate.

    Args:
        samples: of both sides.
        margin: fraction by which a metric may get worse.
        share_margin: the same for shares, as a difference.
    """
    tail = TAIL / max(len(samples), 1)
    pairs = [_paired(each) for each in samples]
    margins = [scaled_margin(each.metric, margin, share_margin) for each in samples]
    p_values = [
        p_above(pair.baseline + allowed, pair.contender) if all(pair.counts) else 1.0
        for pair, allowed in zip(pairs, margins, strict=True)
    ]
    return tuple(
        _gate_metric(pair, allowed, p, adjusted, tail)
        for pair, allowed, p, adjusted in zip(pairs, margins, p_values, holm(p_values), strict=True)
    )


def compare_informational(samples: Sequence[MetricSamples]) -> tuple[MetricComparison, ...]:
    """What changed beside the gate, "~" where no change can be told."""
    pairs = [_paired(each) for each in samples]
    p_values = [
        p_different(pair.baseline, pair.contender) if all(pair.counts) else None for pair in pairs
    ]
    known = [p for p in p_values if p is not None]
    adjusted = iter(stats.false_discovery_control(known).tolist() if known else [])
    return tuple(
        _informational_metric(pair, p, None if p is None else next(adjusted))
        for pair, p in zip(pairs, p_values, strict=True)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values in the given order; see the module's docstring."""
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def too_few_runs(baseline: int, contender: int, gate_metrics: int) -> str:
    """Why so few runs can never show a regression, and how many can; "": they can."""
    level = TAIL / max(gate_metrics, 1)
    if smallest_p(baseline, contender) <= level:
        return ""
    needed = fewest_per_side(level)
    of = f"{gate_metrics} metrics" if gate_metrics > 1 else "1 metric"
    return (
        f"{baseline} baseline and {contender} contender runs can never show a regression in a gate "
        f"of {of}: make at least {needed} of each, taking turns."
    )


def _gate_metric(
    pair: _Pair, margin: float, p: float, p_adjusted: float, tail: float
) -> MetricComparison:
    if not interval_rank(*pair.counts, TAIL):
        return _unknown(pair, "inconclusive")
    found = shift(pair.baseline, pair.contender, TAIL)
    verdict, reason = _verdict(pair, found, margin, p_adjusted)
    spread_ = spread(pair.baseline, pair.contender)
    detectable = detectable_shift(*pair.counts, spread_, margin, tail)
    needed = runs_needed(spread_, margin, TAIL)
    return _comparison(
        pair,
        found,
        p=p,
        p_adjusted=p_adjusted,
        verdict=verdict,
        reason=reason,
        detectable=None if detectable is None else unscaled(pair.samples.metric, detectable),
        runs_needed=None if needed is None else max(needed, fewest_per_side(tail)),
    )


def _verdict(
    pair: _Pair, found: Shift, margin: float, p_adjusted: float
) -> tuple[GateVerdict, str]:
    samples = pair.samples
    if found.low is not None and found.low > margin:
        if p_adjusted > TAIL:
            return (
                "inconclusive",
                "Worse than the margin by itself, but not corrected for the number of metrics.",
            )
        if bounded := _bounded(samples.baseline):
            return "inconclusive", f"In {bounded} baseline runs it is only a lower bound."
        return "regression", _missing(samples)
    if found.high is not None and found.high < margin:
        if bounded := _bounded(samples.contender):
            return "inconclusive", f"In {bounded} contender runs it is only a lower bound."
        missing = _missing(samples)
        return ("inconclusive" if missing else "pass"), missing
    return "inconclusive", _missing(samples)


def _informational_metric(
    pair: _Pair, p: float | None, p_adjusted: float | None
) -> MetricComparison:
    if not interval_rank(*pair.counts, TAIL) or p_adjusted is None:
        return _unknown(pair, "~")
    found = shift(pair.baseline, pair.contender, TAIL)
    spread_ = spread(pair.baseline, pair.contender)
    detectable = detectable_shift(*pair.counts, spread_, 0.0, TAIL)
    changed = p_adjusted <= NOTICEABLE and found.value != 0
    return _comparison(
        pair,
        found,
        p=p,
        p_adjusted=p_adjusted,
        verdict=("worse" if found.value > 0 else "better") if changed else "~",
        reason=_missing(pair.samples),
        detectable=None if detectable is None else unscaled(pair.samples.metric, detectable),
    )


def _comparison(
    pair: _Pair,
    found: Shift,
    *,
    p: float | None,
    p_adjusted: float | None,
    verdict: str,
    reason: str = "",
    detectable: float | None = None,
    runs_needed: int | None = None,
) -> MetricComparison:
    samples = pair.samples
    return MetricComparison(
        metric=samples.metric,
        baseline=_side(samples.baseline),
        contender=_side(samples.contender),
        change=change(samples.metric, found, sum(pair.counts)),
        p=p,
        p_adjusted=p_adjusted,
        verdict=verdict,
        reason=reason,
        detectable=detectable,
        runs_needed=runs_needed,
        baseline_values=tuple(_known(samples.baseline)),
        contender_values=tuple(_known(samples.contender)),
    )


def _unknown(pair: _Pair, verdict: str) -> MetricComparison:
    samples = pair.samples
    baseline, contender = pair.counts
    reason = _missing(samples) or (
        f"Values above 0 are known of {baseline} baseline and {contender} contender runs only."
    )
    return MetricComparison(
        metric=samples.metric,
        baseline=_side(samples.baseline),
        contender=_side(samples.contender),
        change=Estimate(value=None, n=baseline + contender, warnings=(reason,)),
        p=None,
        p_adjusted=None,
        verdict=verdict,
        reason=reason,
        baseline_values=tuple(_known(samples.baseline)),
        contender_values=tuple(_known(samples.contender)),
    )


def _side(estimates: Sequence[Estimate]) -> Estimate:
    """The median over runs, with its interval from 6 runs on."""
    values = sorted(_known(estimates))
    if not values:
        return Estimate(value=None, warnings=("No run knows it.",))
    ranks = interval_ranks(len(values), 50.0)
    return Estimate(
        value=float(np.median(values)),
        low=values[ranks[0] - 1] if ranks else None,
        high=values[ranks[1] - 1] if ranks else None,
        n=len(values),
        confidence=CONFIDENCE,
    )


def _missing(samples: MetricSamples) -> str:
    for side, estimates in (("baseline", samples.baseline), ("contender", samples.contender)):
        lacking = [estimate for estimate in estimates if estimate.value is None]
        if lacking:
            why = lacking[0].warnings[0] if lacking[0].warnings else "It was not measured."
            return f"{len(lacking)} of {len(estimates)} {side} runs do not know it: {why}"
    return ""


def _bounded(estimates: Sequence[Estimate]) -> int:
    """In how many runs calls that were cut make it a lower bound."""
    return sum(any(LOWER_BOUND in text for text in estimate.warnings) for estimate in estimates)


def _known(estimates: Sequence[Estimate]) -> list[float]:
    return [estimate.value for estimate in estimates if estimate.value is not None]


def _paired(samples: MetricSamples) -> _Pair:
    sides = (np.array(_known(side)) for side in (samples.baseline, samples.contender))
    baseline, contender = (scaled(samples.metric, values) for values in sides)
    return _Pair(samples, baseline, contender)
