"""The answer of a comparison, its exit code and the sentence that ends the summary."""

import math
from collections.abc import Sequence
from typing import Final

from analysis.comparison.regression import SHARE_MARGIN
from analysis.comparison.results import ComparisonVerdict, MetricComparison

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
