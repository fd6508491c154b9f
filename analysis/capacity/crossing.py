"""Capacity of one webserver count: the rate at which the SLO breaks, between the stages.

    capacity = min over the lines of the SLO of { rate : ratio(rate) = limit }

The minimum is taken in every replicate; the interval's ends are the 2.5 % and
97.5 % quantiles. A lower end below the stages is 0, an upper end above them None, and a warning
says which stage would tell it.

Undecided stages are left out. Lines that have no curve only judge their stages: when one of them
is broken at a rate below the crossing of the others, there is no estimate.

The ratio of each line, counted in 40 blocks a stage: `capacity/evidence.py`.

Between two stages the curve is taken as straight over the rate on a scale on which queues make it
nearly so: logit for shares, logarithm for mean times, as it is for CPU (utilisation law). Stages of
one rate are pooled. A curve that falls anywhere is made to rise first (pool adjacent violators),
because a higher load is never easier.

Uncertainty: 1000 replicates of every stage's ratio. With K of N calls beyond the limit, counted in
B = 40 blocks:

    deff  = V / (K/N (1 - K/N) / N),   V = B/(B-1) sum (k_b - K/N n_b)^2 / N^2 (1+phi)/(1-phi)
    share ~ Beta(K/deff + 1/2, (N-K)/deff + 1/2),   deff ~ deff f / chi2(f),   deff at least 1
    f     = B (1-phi)/(1+phi) - 1, at least 3

Calls that wait in one queue are late together, so N calls say as much as N / deff independent ones.
phi, the correlation of neighbouring blocks, is corrected for its bias, (B phi + 1) / (B - 3), and
kept within 0 and 0.9. Means take Student's t with f degrees of freedom in place of the Beta. CPU
periods, of which a stage has few, share one variance per call/s over all stages that are not
saturated; a saturated stage counts with the CPU that the line through the two below it makes.

Stages of one rate that differ by more than that widen it: V times max(1, (Q + 4) / (df + 4)), Q the
sum of (ratio - weighted mean)^2 / V over them, df their number less that of their rates. The 4 are
degrees of freedom as expected, for one repeat tells little (as Birge's ratio, Phys. Rev. 40, 1932).

How the curve bends between two stages is not known, the less the farther these are apart. A
replicate whose straight line crosses at a share w of the way up crosses at w^exp(g), g normal with
standard deviation min(1, (d/d0)^2), d how far both stages are apart on the scale, d0 = 6 for logit
and 3 for logarithms.

Sources: Kish, Survey Sampling, 1965, 8.2 (design effect); Marriott and Pope, Biometrika 41 (1954)
390 (bias of phi); Barlow et al., Statistical Inference under Order Restrictions, 1972 (pooling).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mwaa_headroom.analysis.capacity.evidence import (
    Line,
    Ratio,
    Scale,
    StageEvidence,
    line_of,
)
from mwaa_headroom.analysis.capacity.over_time import change, collapse, too_short, trials_of
from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.setting import Setting
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.statistics import Estimate, Floats, inflation

REPLICATES: Final = 1000
SATURATED: Final = 0.97  # of the CPU
_FEWEST_FREEDOM = 3.0
_BEND_FROM: Final = {"logit": 6.0, "log": 3.0}
_WIDEST_BEND = 1.0
_FARTHEST = 30.0  # on the logit and log scales
_EXPECTED = 4.0  # degrees of freedom that stages are taken to vary as their blocks say
_TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A line's ratio at every rate, and on its scale with replicates."""

    line: Line
    rates_per_s: Floats  # (rates,), rising
    heights: Floats  # (rates,), on the scale
    replicates: Floats  # (REPLICATES, rates)

    @property
    def limit(self) -> float:
        """On the scale."""
        return _on_scale(self.line.scale, self.line.limit)


def curve_of(
    line: Line, stages: Sequence[StageEvidence], random: np.random.Generator
) -> Curve | None:
    """The curve of a line over the stages that can tell it; None: fewer than two can."""
    by_rate: dict[float, list[Ratio]] = {}
    for stage in stages:
        if line.slo.text in stage.ratios:
            by_rate.setdefault(stage.rate_per_s, []).append(stage.ratios[line.slo.text])
    if len(by_rate) < 2:
        return None
    rates = np.array(sorted(by_rate))
    ratios = [_pooled(by_rate[rate]) for rate in rates]
    if line.scale == "linear":
        drawn = _utilisations(ratios, rates, random)
        return None if drawn is None else Curve(line, rates, *drawn)
    draw = _shares if line.scale == "logit" else _means
    return Curve(line, rates, *draw(ratios, _scatter(by_rate.values()), random))


def crossings(curve: Curve, random: np.random.Generator) -> tuple[float, Floats]:
    """The rate at which the curve meets its limit, and that of every replicate.

    -inf: even the lowest rate is beyond the limit. inf: not even the highest one is.
    """
    bends = random.standard_normal(len(curve.replicates))
    straight = np.zeros(1)
    return (
        float(_crossing(curve, _rising(curve.heights[None]), straight)[0]),
        _crossing(curve, _rising(curve.replicates), bends),
    )


def _on_scale(scale: Scale, ratio: float) -> float:
    match scale:
        case "logit":
            return math.log(ratio / (1 - ratio))
        case "log":
            return math.log(ratio)
        case _:
            return ratio


def _pooled(ratios: Sequence[Ratio]) -> Ratio:
    return Ratio(
        np.concatenate([each.part for each in ratios]),
        np.concatenate([each.whole for each in ratios]),
    )


def _variance(ratio: Ratio) -> tuple[float, float]:
    """Variance of a ratio by its blocks, and how many independent blocks they are worth."""
    residuals = ratio.part - ratio.value * ratio.whole
    count, more = len(residuals), inflation(residuals)
    own = count / (count - 1) * float(residuals @ residuals) / float(ratio.whole.sum()) ** 2
    return own * more, count / more


def _scatter(visits: Iterable[Sequence[Ratio]]) -> float:
    """How much more stages of one rate vary than their blocks say; at least 1."""
    squares, freedom = 0.0, 0
    for ratios in visits:
        finite = [ratio for ratio in ratios if np.isfinite(ratio.value)]
        if len(finite) < 2:
            continue
        together = _pooled(finite)
        least = together.value * (1 - together.value) if _is_share(together) else 0.0
        variances = [max(_variance(r)[0], least / r.whole.sum(), _TINY) for r in finite]
        weights = 1 / np.array(variances)
        values = np.array([ratio.value for ratio in finite])
        squares += float(weights @ (values - weights @ values / weights.sum()) ** 2)
        freedom += len(finite) - 1
    return max((squares + _EXPECTED) / (freedom + _EXPECTED), 1.0)


def _is_share(ratio: Ratio) -> bool:
    return bool((ratio.part <= ratio.whole).all())


def _shares(
    ratios: Sequence[Ratio], scatter: float, random: np.random.Generator
) -> tuple[Floats, Floats]:
    beyond = np.array([ratio.part.sum() for ratio in ratios])
    calls = np.array([ratio.whole.sum() for ratio in ratios])
    variance, independent = np.array([_variance(ratio) for ratio in ratios]).T
    share = (beyond + 0.5) / (calls + 1)
    effect = scatter * np.maximum(variance / (share * (1 - share) / calls), 1.0)
    effect = np.maximum.accumulate(effect)  # a queue's calls only clump more as the rate rises
    freedom = np.maximum(independent - 1, _FEWEST_FREEDOM)
    size = (REPLICATES, len(ratios))
    effects = np.maximum(effect * freedom / random.chisquare(freedom, size), 1.0)
    # The logarithm of the odds of a Beta is the difference of those of two gammas.
    bad = np.log(np.maximum(random.gamma(beyond / effects + 0.5), 1e-300))
    good = np.log(np.maximum(random.gamma((calls - beyond) / effects + 0.5), 1e-300))
    heights = np.log((beyond + 0.5) / (calls - beyond + 0.5))
    return heights, (bad - good).clip(-_FARTHEST, _FARTHEST)


def _means(
    ratios: Sequence[Ratio], scatter: float, random: np.random.Generator
) -> tuple[Floats, Floats]:
    heights = np.full(len(ratios), _FARTHEST)
    errors, independent = np.zeros(len(ratios)), np.ones(len(ratios))
    for place, ratio in enumerate(ratios):
        if not np.isfinite(ratio.value):  # no call was timed: it stays as far away as can be
            continue
        variance, independent[place] = _variance(ratio)
        mean = max(ratio.value, 1e-9)
        heights[place], errors[place] = np.log(mean), np.sqrt(scatter * variance) / mean
    freedom = np.maximum(independent - 1, _FEWEST_FREEDOM)
    noise = random.standard_t(freedom, (REPLICATES, len(ratios)))
    return heights, heights + errors * noise


def _utilisations(
    ratios: Sequence[Ratio], rates: Floats, random: np.random.Generator
) -> tuple[Floats, Floats] | None:
    """None: no stage has two periods, so that nobody knows how they vary."""
    means = np.array([ratio.value for ratio in ratios])
    counts = np.array([len(ratio.part) for ratio in ratios], dtype=np.float64)
    usable = [
        (ratio.part - mean) / np.sqrt(rate)
        for ratio, mean, rate in zip(ratios, means, rates, strict=True)
        if mean < SATURATED and len(ratio.part) > 1
    ]
    freedom = sum(len(residuals) - 1 for residuals in usable)
    if not freedom:
        return None
    variance = sum(float(each @ each) for each in usable) / freedom * inflation(*usable)
    errors = np.sqrt(variance * rates / counts)
    spread = np.sqrt(freedom / random.chisquare(freedom, (REPLICATES, 1)))
    drawn = means + errors * spread * random.standard_normal((REPLICATES, len(ratios)))
    return _unsaturated(means[None], means, rates)[0], _unsaturated(drawn, means, rates)


def _unsaturated(drawn: Floats, means: Floats, rates: Floats) -> Floats:
    """CPU that saturated stages would have needed, by the line through the two below."""
    needed = drawn.copy()
    for place in range(2, len(rates)):
        if means[place] >= SATURATED:
            rise = needed[:, place - 1] - needed[:, place - 2]
            steps = (rates[place] - rates[place - 1]) / (rates[place - 1] - rates[place - 2])
            needed[:, place] = np.maximum(needed[:, place], needed[:, place - 1] + rise * steps)
    return needed


def _rising(heights: Floats) -> Floats:
    """Every row made to rise by pooling: max over j <= i of the min over l >= i of mean(j..l)."""
    count = heights.shape[1]
    sums = np.concatenate([np.zeros((len(heights), 1)), np.cumsum(heights, axis=1)], axis=1)
    risen = np.full(heights.shape, -np.inf)
    for first in range(count):
        means = (sums[:, first + 1 :] - sums[:, [first]]) / np.arange(1, count - first + 1)
        least = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
        risen[:, first:] = np.maximum(risen[:, first:], least)
    return risen


def _crossing(curve: Curve, heights: Floats, bends: Floats) -> Floats:
    """Of each row; `bends` are standard normal, 0 for a straight line."""
    beyond = heights >= curve.limit
    found = np.where(beyond[:, 0], -np.inf, np.inf)
    rows = np.flatnonzero(beyond.any(axis=1) & ~beyond[:, 0])
    upper = beyond[rows].argmax(axis=1)
    below, above = heights[rows, upper - 1], heights[rows, upper]
    way = (curve.limit - below) / (above - below)
    if curve.line.scale in _BEND_FROM:
        apart = (above - below) / _BEND_FROM[curve.line.scale]
        way **= np.exp(np.minimum(apart**2, _WIDEST_BEND) * bends[rows])
    lower_rate, upper_rate = curve.rates_per_s[upper - 1], curve.rates_per_s[upper]
    found[rows] = lower_rate + way * (upper_rate - lower_rate)
    return found


WIDE_BRACKET: Final = 2.0
_ENDS = (0.025, 0.975)
_STEP: Final = 1.5  # how far from the last stage the next one is proposed


@dataclass(frozen=True, slots=True, eq=False)
class Capacity:
    """Where the SLO breaks with one webserver count."""

    estimate: Estimate  # calls/s
    webservers: int | None = None  # None: it is of no single count
    replicates: Floats = field(default_factory=lambda: np.empty(0))  # none without an estimate

    def holds_at(self, rate_per_s: float) -> float | None:
        """The probability that the SLO holds at a rate in the long run; None: not known."""
        if not len(self.replicates):
            return None
        return float(np.mean(self.replicates > rate_per_s))


def capacity_estimate(setting: Setting, stages: Sequence[StageEvidence]) -> Capacity:
    """Capacity, in calls/s, of the webserver count at which a run's stages meet and break the SLO.

    Args:
        setting: an open workload.
        stages: what those measured say, in any order.

    Returns:
        An estimate without a value, and with the reason, when no count has both a pass and a fail.
    """
    if setting.is_closed:
        return Capacity(_refused(refusal("capacity.closed")))
    by_count: dict[int | None, list[StageEvidence]] = {}
    for each in stages:
        by_count.setdefault(each.webservers, []).append(each)
    changing = by_count.pop(None, [])
    if not by_count:
        why = refusal("capacity.count_not_constant") if changing else refusal("capacity.no_stage")
        return Capacity(_refused(why))
    bracketing = [
        count
        for count, each in by_count.items()
        if {"pass", "fail"} <= {stage.verdict for stage in each}
    ]
    if len(by_count) == 1 or len(bracketing) == 1:
        (count,) = bracketing or by_count
        return _crossed(setting.slos, by_count[count], count)
    return Capacity(_refused(refusal("capacity.count_changed")))


def capacity_of(slos: Sequence[Slo], stages: Sequence[StageEvidence]) -> Estimate:
    """Capacity, in calls/s, from stages at one webserver count, of one run or of several like runs.

    The same stages always give the same interval.
    """
    return _crossed(slos, stages, None).estimate


def _crossed(
    slos: Sequence[Slo], stages: Sequence[StageEvidence], webservers: int | None
) -> Capacity:
    decided = sorted(
        (stage for stage in trials_of(stages) if stage.verdict != "undecided"),
        key=lambda stage: stage.rate_per_s,
    )
    calls = sum(stage.arrivals for stage in decided)
    why_not = _no_bracket(slos, decided) or collapse(stages)
    if why_not:
        return Capacity(_refused(why_not, calls), webservers)
    random = np.random.default_rng(0)
    found = [(curve, *crossings(curve, random)) for curve in _curves(slos, decided, random)]
    value = min((crossing for _, crossing, _ in found), default=np.inf)
    unseen = _broken_without_a_curve(slos, decided, value)
    if unseen:
        return Capacity(_refused(unseen, calls), webservers)
    if not np.isfinite(value):
        return Capacity(_refused(_not_crossed(decided, value), calls), webservers)
    replicates = np.min([each for _, _, each in found], axis=0)
    curve = next(curve for curve, crossing, _ in found if crossing == value)
    low, high = _interval(replicates, value)
    estimate = Estimate(
        value=value,
        low=low,
        high=high,
        n=calls,
        warnings=(
            *filter(None, [change(decided)]),
            *too_short(decided, value),
            *_bracket_warnings(curve, value),
            *_open_ends(decided, low, high),
            *_left_out(slos),
        ),
    )
    return Capacity(estimate, webservers, replicates)


def next_rate_above(rate_per_s: float) -> float:
    """A stage to add when the highest one still met the SLO."""
    return _rounded(rate_per_s * _STEP)


def next_rate_below(rate_per_s: float) -> float:
    """A stage to add when even the lowest one broke the SLO."""
    return _rounded(rate_per_s / _STEP)


def _curves(
    slos: Sequence[Slo], stages: Sequence[StageEvidence], random: np.random.Generator
) -> Iterator[Curve]:
    for slo in slos:
        line = line_of(slo)
        curve = curve_of(line, stages, random) if line else None
        if curve is not None:
            yield curve


def _interval(replicates: Floats, value: float) -> tuple[float, float | None]:
    """0 and None stand for ends that lie beyond the stages."""
    low, high = np.quantile(replicates, _ENDS, method="closest_observation")
    return (
        min(float(low), value) if np.isfinite(low) else 0.0,
        max(float(high), value) if np.isfinite(high) else None,
    )


def _refused(why: Finding, calls: int = 0) -> Estimate:
    return Estimate(value=None, n=calls, warnings=(why,))


def _no_bracket(slos: Sequence[Slo], decided: Sequence[StageEvidence]) -> Finding | None:
    if not slos:
        return refusal("capacity.no_lines")
    if not decided:
        return refusal("capacity.none_judged")
    if all(stage.verdict == "pass" for stage in decided):
        return _not_crossed(decided, np.inf)
    if all(stage.verdict == "fail" for stage in decided):
        return _not_crossed(decided, -np.inf)
    return None


def _not_crossed(decided: Sequence[StageEvidence], value: float) -> Finding:
    lowest, highest = decided[0].rate_per_s, decided[-1].rate_per_s
    broken = [stage.rate_per_s for stage in decided if stage.verdict == "fail"]
    if value > 0 and broken:
        return refusal("capacity.broke_yet_held", broke_per_s=min(broken), highest_per_s=highest)
    if value > 0:
        next_per_s = next_rate_above(highest)
        return refusal("capacity.still_held", highest_per_s=highest, next_per_s=next_per_s)
    next_per_s = next_rate_below(lowest)
    return refusal("capacity.broken_at_lowest", lowest_per_s=lowest, next_per_s=next_per_s)


def _broken_without_a_curve(
    slos: Sequence[Slo], decided: Sequence[StageEvidence], value: float
) -> Finding | None:
    """Why a line that only judges stages forbids the estimate; None: none does."""
    for slo in slos:
        broken = [stage.rate_per_s for stage in decided if slo.text in stage.broken]
        if line_of(slo) is None and broken and min(broken) <= value:
            return refusal("capacity.broke_without_curve", slo=slo, broke_per_s=min(broken))
    return None


def _bracket_warnings(curve: Curve, value: float) -> Iterator[Finding]:
    place = int(np.clip(np.searchsorted(curve.rates_per_s, value), 1, len(curve.rates_per_s) - 1))
    below, above = curve.rates_per_s[place - 1 : place + 1]
    if above > WIDE_BRACKET * below:
        yield warning(
            "capacity.wide_bracket",
            below_per_s=float(below),
            above_per_s=float(above),
            next_per_s=_rounded(float(np.sqrt(below * above))),
        )


def _open_ends(
    decided: Sequence[StageEvidence], low: float, high: float | None
) -> Iterator[Finding]:
    lowest, highest = decided[0].rate_per_s, decided[-1].rate_per_s
    if low == 0:
        next_per_s = next_rate_below(lowest)
        yield warning("capacity.open_below", lowest_per_s=lowest, next_per_s=next_per_s)
    if high is None:
        next_per_s = next_rate_above(highest)
        yield warning("capacity.open_above", highest_per_s=highest, next_per_s=next_per_s)


def _left_out(slos: Sequence[Slo]) -> Iterator[Finding]:
    without = tuple(slo for slo in slos if line_of(slo) is None)
    if without:
        yield warning("capacity.lines_without_curve", slos=without)


def _rounded(rate_per_s: float) -> float:
    """Two significant digits: nobody types more."""
    return float(f"{rate_per_s:.2g}")
