"""The answer of a comparison, its exit code and the sentence that ends the summary.

The numbers in which runs are compared: each run has each of them once.

The gate, which decides, is kept small, for every further metric costs certainty about the others:

    p95 latency     of every gate stage: one in which no baseline run broke the SLO
    error rate      of the gate stages together: calls that failed / calls that were sent
    service demand  of the mix: more CPU per call shows before any latency does

Past the SLO a queue decides how long calls take, so that equal runs differ wildly there. All else
informs: the other percentiles, service times, error rate and goodput of every stage, demand of
each operation, and capacity.

Whether metrics got worse from one set of runs to another. The run is the unit: one value each.

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

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from mwaa_headroom.analysis.comparison.rank_tests import (
    Shift,
    change,
    detectable_shift,
    fewest_per_side,
    interval_rank,
    p_above,
    p_different,
    runs_needed,
    scaled,
    scaled_margin,
    shift,
    smallest_p,
    spread,
    unscaled,
)
from mwaa_headroom.analysis.comparison.results import (
    ComparisonVerdict,
    GateVerdict,
    Metric,
    MetricComparison,
)
from mwaa_headroom.analysis.results import RunAnalysis, StageStats
from mwaa_headroom.analysis.statistics import LOWER_BOUND, Estimate, Floats, interval_ranks

GATE_PERCENTILE = "p95"
ERROR_RATE = Metric("errors where the SLO held", "fraction")
MIX_DEMAND = Metric("service demand of the mix", "s")
CAPACITY = Metric("highest rate that met the SLO", "1/s", higher_is_better=True)


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """Every metric of one run; refused ones have the value None."""

    gate: dict[Metric, Estimate]
    informational: dict[Metric, Estimate]


def gate_stages(runs: Sequence[RunAnalysis], *, share: float = 1.0) -> tuple[int, ...]:
    """The stages (their indexes) in which the SLO held.

    Args:
        runs: alike; a comparison's baseline, or a whole history.
        share: of the runs in which it must have held at least; 1: all.
    """
    indexes = sorted({stage.index for run in runs for stage in run.stages})
    return tuple(
        index for index in indexes if sum(_held(run, index) for run in runs) >= share * len(runs)
    )


def run_metrics(run: RunAnalysis, gated: Sequence[int]) -> RunMetrics:
    """The metrics of one run.

    Args:
        run: analysed.
        gated: `gate_stages` of the baseline.
    """
    gate: dict[Metric, Estimate] = {}
    informational: dict[Metric, Estimate] = {}
    for stage in run.stages:
        latency = _latency_metric(stage, GATE_PERCENTILE)
        for metric, estimate in _stage_metrics(stage):
            is_gate = metric == latency and stage.index in gated
            (gate if is_gate else informational)[metric] = estimate
    judged = [stage for stage in run.stages if stage.index in gated]
    if judged:
        gate[ERROR_RATE] = _errors(judged)
    gate |= _mix_demand(run)
    informational |= _other(run)
    return RunMetrics(gate, informational)


def _held(run: RunAnalysis, index: int) -> bool:
    found = [stage for stage in run.stages if stage.index == index]
    return bool(found) and found[0].met_slo is not False


def _stage_metrics(stage: StageStats) -> Iterator[tuple[Metric, Estimate]]:
    label = _label(stage)
    for percentile, estimate in stage.latency_s.items():
        yield _latency_metric(stage, percentile), estimate
    for percentile, estimate in stage.service_time_s.items():
        yield Metric(f"{percentile} service time, {label}", "s"), estimate
    yield Metric(f"error rate, {label}", "fraction"), stage.error_rate
    goodput = Metric(f"goodput, {label}", "1/s", higher_is_better=True)
    yield goodput, Estimate(stage.goodput_per_s, n=stage.arrivals)


def _latency_metric(stage: StageStats, percentile: str) -> Metric:
    return Metric(f"{percentile} latency, {_label(stage)}", "s")


def _label(stage: StageStats) -> str:
    """By number and load, which like runs have in common; names may differ."""
    load = f"{stage.rate_per_s:.4g}/s" if stage.users is None else f"{stage.users} users"
    return f"stage {stage.index + 1}, {load}"


def _errors(stages: Sequence[StageStats]) -> Estimate:
    sent = sum(stage.sent for stage in stages)
    failed = sent - sum(stage.outcomes.get("ok", 0) for stage in stages)
    return Estimate(failed / sent if sent else None, n=sent)


def _mix_demand(run: RunAnalysis) -> dict[Metric, Estimate]:
    return {MIX_DEMAND: run.demand.mix_s} if run.demand else {}


def _other(run: RunAnalysis) -> dict[Metric, Estimate]:
    found: dict[Metric, Estimate] = {}
    if run.demand:
        for operation, estimate in run.demand.per_operation_s.items():
            found[Metric(f"service demand of {operation}", "s")] = estimate
    if run.capacity:
        found[CAPACITY] = Estimate(run.capacity.highest_rate_per_s, n=1)
    return found


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


EXIT_CODES: Final[dict[ComparisonVerdict, int]] = {
    "pass": 0,
    "regression": 4,
    "inconclusive": 5,
    "refused": 5,
}


def overall(gate: Sequence[MetricComparison]) -> ComparisonVerdict:
    """The worst verdict of the gate's metrics."""
    verdicts = {each.verdict for each in gate}
    if "regression" in verdicts:
        return "regression"
    return "inconclusive" if "inconclusive" in verdicts else "pass"


def sentence(
    verdict: ComparisonVerdict,
    refusals: Sequence[str],
    gate: Sequence[MetricComparison],
    margin: float,
) -> str:
    """The verdict in one sentence, with the metric that speaks for it most."""
    if verdict == "refused":
        return f"Not compared: {_lowered(refusals[0]).rstrip('.')}{_and_more(refusals)}."
    concerned = [each for each in gate if each.verdict == verdict]
    worst = max(concerned, key=lambda each: _margins_worse(each, margin))
    if verdict == "regression":
        return f"Regression: {worst.metric.name}: {_change(worst)}{_others(concerned)}."
    if verdict == "inconclusive":
        return f"Inconclusive: {worst.metric.name}: {_undecided(worst, margin)}."
    return (
        f"Pass: no gate metric is worse by more than {margin * 100:g} %; nearest to it is "
        f"{worst.metric.name}: {_change(worst)}."
    )


def _undecided(each: MetricComparison, margin: float) -> str:
    if each.change.value is None:
        return _lowered(each.reason).rstrip(".")
    if each.reason:
        return f"{_change(each)}; {_lowered(each.reason).rstrip('.')}"
    past = f"{SHARE_MARGIN * 100:g} points" if each.metric.is_share else f"{margin * 100:g} %"
    fewest = min(len(each.baseline_values), len(each.contender_values))
    if each.runs_needed is None:
        advice = "no reasonable number of runs would tell, so make longer stages"
    elif each.runs_needed > fewest:
        advice = f"about {each.runs_needed} runs per side would tell"
    else:
        advice = "a few more runs would tell"
    return f"{_change(each)}, which may or may not be worse by more than {past}; {advice}"


def _change(each: MetricComparison) -> str:
    """For instance "1.21 times the baseline (95 % interval 1.15-1.28)"."""
    change = each.change
    value, low, high = (
        math.nan if v is None else v for v in (change.value, change.low, change.high)
    )
    if each.metric.is_share:
        points = [f"{100 * number:+.2g}" for number in (value, low, high)]
        return f"{points[0]} points off the baseline (95 % interval {points[1]} to {points[2]})"
    return f"{value:.2f} times the baseline (95 % interval {low:.2f}-{high:.2f})"


def _margins_worse(each: MetricComparison, margin: float) -> float:
    """By how many margins a metric got worse; what is not known comes first."""
    value = each.change.value
    if value is None:
        return math.inf
    if each.metric.is_share:
        return value / SHARE_MARGIN
    ratio = 1 / value if each.metric.higher_is_better else value
    return math.log(ratio) / math.log1p(margin)


def _others(items: Sequence[object]) -> str:
    match len(items) - 1:
        case 0:
            return ""
        case 1:
            return ", and one more metric got worse"
        case count:
            return f", and {count} more metrics got worse"


def _and_more(items: Sequence[object]) -> str:
    return f" (and {len(items) - 1} more)" if len(items) > 1 else ""


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
