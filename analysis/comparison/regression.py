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

A drift beyond chance is taken off first where the sides took turns (`run_order`).

Holm: of K gate metrics, the i-th smallest one-sided p (of "worse than the margin") times K-i+1,
never below the one before, must be at most 2.5 %: so the chance of calling any of them a regression
without there being one is at most that. "pass" needs no correction: every metric has to pass.
Informational metrics: two-sided p of any change, false discovery rate by Benjamini and Hochberg.

Sources: Hodges and Lehmann 1963; Holm, Scand. J. Stat. 6 (1979) 65; Benjamini and Hochberg, J. R.
Stat. Soc. B 57 (1995) 289; intersection-union test: Berger, Technometrics 24 (1982) 295.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mwaa_headroom.analysis.comparison.metrics import Metric
from mwaa_headroom.analysis.comparison.rank_tests import (
    Shift,
    detectable_shift,
    fewest_per_side,
    interval_rank,
    p_above,
    p_different,
    runs_needed,
    shift,
    smallest_p,
    spread,
)
from mwaa_headroom.analysis.comparison.run_order import Order, drift_per_place
from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.statistics import Estimate, Floats, interval_ranks, is_lower_bound

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
NOTICEABLE = 0.05  # false discovery rate of what is called worse or better beside the gate
SHARE_MARGIN = 0.005

GateVerdict = Literal["regression", "pass", "inconclusive"]


@dataclass(frozen=True, slots=True)
class MetricSamples:
    """One metric of every run; a value of None: that run does not know it."""

    metric: Metric
    baseline: tuple[Estimate, ...]
    contender: tuple[Estimate, ...]
    order: Order | None = None  # None: nobody knows when the runs were made


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric of both sides.

    `change` is contender / baseline, or contender - baseline of a share. `p` is one-sided of the
    gate's metrics, of a change for the worse beyond the margin, and adjusted for their number
    (Holm); of the others two-sided, of any change, and adjusted by Benjamini and Hochberg.
    """

    metric: Metric
    baseline: Estimate  # median over runs, with its interval from 6 runs on
    contender: Estimate
    change: Estimate  # value None: `reason` says why
    p: float | None
    p_adjusted: float | None
    verdict: str  # GateVerdict; informational: worse | better | ~
    reason: Finding | None = None  # None: the numbers say it all
    detectable: float | None = None  # smallest true change found 4 times out of 5; as `change`
    runs_needed: int | None = None  # per side, to tell no change from one past the margin
    baseline_values: tuple[float, ...] = ()  # one a run
    contender_values: tuple[float, ...] = ()
    drift: float | None = None  # from the first run to the last, as `change`; None: none is seen


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
    margins = [share_margin if e.metric.is_share else math.log1p(margin) for e in samples]
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
    from scipy.stats import false_discovery_control  # here: see rank_tests

    pairs = [_paired(each) for each in samples]
    p_values = [
        p_different(pair.baseline, pair.contender) if all(pair.counts) else None for pair in pairs
    ]
    known = [p for p in p_values if p is not None]
    adjusted = iter(false_discovery_control(known).tolist() if known else [])
    return tuple(
        _informational_metric(pair, p, None if p is None else next(adjusted))
        for pair, p in zip(pairs, p_values, strict=True)
    )


def overall(gate: Sequence[MetricComparison]) -> GateVerdict:
    """The worst verdict of the gate's metrics."""
    verdicts = {each.verdict for each in gate}
    if "regression" in verdicts:
        return "regression"
    return "inconclusive" if "inconclusive" in verdicts else "pass"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values in the given order; see the module's docstring."""
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def too_few_runs(baseline: int, contender: int, gate_metrics: int) -> Finding | None:
    """Why so few runs can never show a regression, and how many can; None: they can."""
    level = TAIL / max(gate_metrics, 1)
    if smallest_p(baseline, contender) <= level:
        return None
    return refusal(
        "comparison.too_few_runs",
        baseline=baseline,
        contender=contender,
        gate_metrics=gate_metrics,
        needed=fewest_per_side(level),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """The known values on the scale on which sides differ by a shift; larger is worse."""

    samples: MetricSamples
    baseline: Floats
    contender: Floats
    order: Order | None = None  # of the runs whose values are known
    drift: float | None = None  # as `MetricComparison.drift`

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.baseline), len(self.contender)

    def detectable(self, margin: float, tail: float) -> float | None:
        own = spread(self.baseline, self.contender)
        turns = self.order is not None and self.order.takes_turns
        drifts = turns and self.drift is not None
        found = detectable_shift(*self.counts, own, margin, tail, self.order, drifts=drifts)
        return None if found is None else self.samples.metric.unscaled(found)


def _paired(samples: MetricSamples) -> _Pair:
    metric, order = samples.metric, samples.order
    usable = [
        [
            (place, each.value)
            for place, each in enumerate(side)
            if each.value is not None and metric.has_ratio(each.value)
        ]
        for side in (samples.baseline, samples.contender)
    ]
    baseline, contender = (metric.scaled(np.array([v for _, v in side])) for side in usable)
    if order is None:
        return _Pair(samples, baseline, contender)
    known = Order(
        *(
            tuple(of_side[place] for place, _ in side)
            for side, of_side in zip(usable, (order.baseline, order.contender), strict=True)
        )
    )
    drift = drift_per_place(baseline, contender, known.places)
    if drift is None:
        return _Pair(samples, baseline, contender, known)
    if order.takes_turns:
        baseline, contender = (
            values - drift * places
            for values, places in zip((baseline, contender), known.places, strict=True)
        )
    last = len(order.baseline) + len(order.contender) - 1
    return _Pair(samples, baseline, contender, known, drift=metric.unscaled(drift * last))


def _gate_metric(
    pair: _Pair, margin: float, p: float, p_adjusted: float, tail: float
) -> MetricComparison:
    if not interval_rank(*pair.counts, TAIL):
        return _comparison(pair, None, "inconclusive", _unknown(pair))
    found = shift(pair.baseline, pair.contender, TAIL)
    verdict, reason = _verdict(pair, found, margin, p_adjusted)
    needed = runs_needed(spread(pair.baseline, pair.contender), margin, TAIL)
    return replace(
        _comparison(pair, found, verdict, reason),
        p=p,
        p_adjusted=p_adjusted,
        detectable=pair.detectable(margin, tail),
        runs_needed=None if needed is None else max(needed, fewest_per_side(tail)),
    )


def _verdict(
    pair: _Pair, found: Shift, margin: float, p_adjusted: float
) -> tuple[GateVerdict, Finding | None]:
    samples = pair.samples
    missing = _missing(samples)
    if found.low is not None and found.low > margin:
        if p_adjusted > TAIL:
            return "inconclusive", warning("comparison.not_after_correction")
        bounded = _bounded("baseline", samples.baseline)
        return ("inconclusive", bounded) if bounded else ("regression", missing)
    if found.high is not None and found.high < margin:
        reason = _bounded("contender", samples.contender) or missing
        return ("inconclusive" if reason else "pass"), reason
    return "inconclusive", missing


def _informational_metric(
    pair: _Pair, p: float | None, p_adjusted: float | None
) -> MetricComparison:
    if not interval_rank(*pair.counts, TAIL) or p_adjusted is None:
        return _comparison(pair, None, "~", _unknown(pair))
    found = shift(pair.baseline, pair.contender, TAIL)
    changed = p_adjusted <= NOTICEABLE and found.value != 0
    verdict = ("worse" if found.value > 0 else "better") if changed else "~"
    return replace(
        _comparison(pair, found, verdict, _missing(pair.samples)),
        p=p,
        p_adjusted=p_adjusted,
        detectable=pair.detectable(0.0, TAIL),
    )


def _comparison(
    pair: _Pair, found: Shift | None, verdict: str, reason: Finding | None
) -> MetricComparison:
    samples, count = pair.samples, sum(pair.counts)
    return MetricComparison(
        metric=samples.metric,
        baseline=_side(samples.baseline),
        contender=_side(samples.contender),
        change=samples.metric.change(found, count) if found else Estimate(None, n=count),
        p=None,
        p_adjusted=None,
        verdict=verdict,
        reason=reason,
        baseline_values=tuple(_known(samples.baseline)),
        contender_values=tuple(_known(samples.contender)),
        drift=pair.drift,
    )


def _side(estimates: Sequence[Estimate]) -> Estimate:
    values = sorted(_known(estimates))
    if not values:
        return Estimate(value=None)
    ranks = interval_ranks(len(values), 50.0)
    return Estimate(
        value=float(np.median(values)),
        low=values[ranks[0] - 1] if ranks else None,
        high=values[ranks[1] - 1] if ranks else None,
        n=len(values),
        confidence=CONFIDENCE,
    )


def _unknown(pair: _Pair) -> Finding:
    """Why there is no change to tell."""
    baseline, contender = pair.counts
    return _missing(pair.samples) or refusal(
        "comparison.few_values", baseline=baseline, contender=contender
    )


def _missing(samples: MetricSamples) -> Finding | None:
    for side, estimates in (("baseline", samples.baseline), ("contender", samples.contender)):
        lacking = [estimate for estimate in estimates if estimate.value is None]
        if lacking:
            why = next(iter(lacking[0].warnings), None)
            return warning(
                "comparison.not_measured",
                side=side,
                lacking=len(lacking),
                runs=len(estimates),
                why=why,
            )
    return None


def _bounded(side: str, estimates: Sequence[Estimate]) -> Finding | None:
    """In how many runs calls that were cut make it a lower bound; None: in none."""
    runs = sum(map(is_lower_bound, estimates))
    return warning("comparison.lower_bound", side=side, runs=runs) if runs else None


def _known(estimates: Sequence[Estimate]) -> list[float]:
    return [estimate.value for estimate in estimates if estimate.value is not None]
