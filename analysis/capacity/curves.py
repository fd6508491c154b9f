"""The curve of one SLO line over the rate, with its uncertainty, and where it meets its limit.

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

How the curve bends between two stages is not known, the less the farther these are apart. A
replicate whose straight line crosses at a share w of the way up crosses at w^exp(g), g normal with
standard deviation min(1, (d/d0)^2), d how far both stages are apart on the scale, d0 = 6 for logit
and 3 for logarithms.

Sources: Kish, Survey Sampling, 1965, 8.2 (design effect); Marriott and Pope, Biometrika 41 (1954)
390 (bias of phi); Barlow et al., Statistical Inference under Order Restrictions, 1972 (pooling).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from analysis.calls import Floats
from analysis.capacity.evidence import Line, Ratio, Scale, StageEvidence

REPLICATES: Final = 1000
SATURATED: Final = 0.97  # of the CPU
_MOST_CORRELATED = 0.9
_FEWEST_FOR_CORRELATION = 5
_FEWEST_FREEDOM = 3.0
_BEND_FROM: Final = {"logit": 6.0, "log": 3.0}
_WIDEST_BEND = 1.0
_FARTHEST = 30.0  # on the logit and log scales


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A line's ratio at every rate, and on its scale with replicates."""

    line: Line
    rates_per_s: Floats  # (rates,), rising
    heights: Floats  # (rates,), on the scale
    replicates: Floats  # (REPLICATES, rates)
    independent: Floats  # (rates,) how many blocks' worth of independent ones the stages have

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
    return Curve(line, rates, *draw(ratios, random))


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


def _inflation(*series: Floats) -> float:
    """(1 + phi) / (1 - phi) of residuals: how much more their sum varies than independent ones."""
    spread = sum(float(each @ each) for each in series)
    count = float(np.mean([len(each) for each in series]))
    if count < _FEWEST_FOR_CORRELATION or spread <= 0:
        return 1.0
    phi = sum(float(each[1:] @ each[:-1]) for each in series) / spread
    phi = min(max((count * phi + 1) / (count - 3), 0.0), _MOST_CORRELATED)
    return (1 + phi) / (1 - phi)


def _variance(ratio: Ratio) -> tuple[float, float]:
    """Variance of a ratio by its blocks, and how many independent blocks they are worth."""
    residuals = ratio.part - ratio.value * ratio.whole
    count, inflation = len(residuals), _inflation(residuals)
    own = count / (count - 1) * float(residuals @ residuals) / float(ratio.whole.sum()) ** 2
    return own * inflation, count / inflation


def _shares(ratios: Sequence[Ratio], random: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    beyond = np.array([ratio.part.sum() for ratio in ratios])
    calls = np.array([ratio.whole.sum() for ratio in ratios])
    variance, independent = np.array([_variance(ratio) for ratio in ratios]).T
    share = (beyond + 0.5) / (calls + 1)
    effect = np.maximum(variance / (share * (1 - share) / calls), 1.0)
    effect = np.maximum.accumulate(effect)  # a queue's calls only clump more as the rate rises
    freedom = np.maximum(independent - 1, _FEWEST_FREEDOM)
    size = (REPLICATES, len(ratios))
    effects = np.maximum(effect * freedom / random.chisquare(freedom, size), 1.0)
    # The logarithm of the odds of a Beta is the difference of those of two gammas.
    bad = np.log(np.maximum(random.gamma(beyond / effects + 0.5), 1e-300))
    good = np.log(np.maximum(random.gamma((calls - beyond) / effects + 0.5), 1e-300))
    heights = np.log((beyond + 0.5) / (calls - beyond + 0.5))
    return heights, (bad - good).clip(-_FARTHEST, _FARTHEST), independent


def _means(ratios: Sequence[Ratio], random: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    heights = np.full(len(ratios), _FARTHEST)
    errors, independent = np.zeros(len(ratios)), np.ones(len(ratios))
    for place, ratio in enumerate(ratios):
        if not np.isfinite(ratio.value):  # no call was timed: it stays as far away as can be
            continue
        variance, independent[place] = _variance(ratio)
        mean = max(ratio.value, 1e-9)
        heights[place], errors[place] = np.log(mean), np.sqrt(variance) / mean
    freedom = np.maximum(independent - 1, _FEWEST_FREEDOM)
    noise = random.standard_t(freedom, (REPLICATES, len(ratios)))
    return heights, heights + errors * noise, independent


def _utilisations(
    ratios: Sequence[Ratio], rates: Floats, random: np.random.Generator
) -> tuple[Floats, Floats, Floats] | None:
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
    variance = sum(float(each @ each) for each in usable) / freedom * _inflation(*usable)
    errors = np.sqrt(variance * rates / counts)
    spread = np.sqrt(freedom / random.chisquare(freedom, (REPLICATES, 1)))
    drawn = means + errors * spread * random.standard_normal((REPLICATES, len(ratios)))
    return _unsaturated(means[None], means, rates)[0], _unsaturated(drawn, means, rates), counts


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
