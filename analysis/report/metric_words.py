"""Values and changes of compared metrics as people read them; like `words`."""

from datetime import UTC, datetime
from typing import Final

from mwaa_headroom.analysis.comparison.metrics import Metric
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.statistics import Estimate

_FINE_INTERVAL: Final = 0.02  # of a ratio: below, two decimals do not show it


def moment(epoch_s: float) -> str:
    """A time, UTC: "2026-11-01 09:30"."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M")


def metric_value(metric: Metric, value: float | None) -> str:
    """A value with its unit."""
    match metric.unit:
        case "s":
            return words.duration(value)
        case "fraction":
            return words.share(value)
        case _:
            return f"{words.rate(value)}/s" if words.is_known(value) else words.UNKNOWN


def median(metric: Metric, estimate: Estimate) -> str:
    """The median, and how far the farther end of its interval is: "172 ms ±2%", as benchstat."""
    value, low, high = estimate.value, estimate.low, estimate.high
    text = metric_value(metric, value)
    if not (words.is_known(value) and words.is_known(low) and words.is_known(high)):
        return text
    farther = max(high - value, value - low)
    if metric.is_share:
        return f"{text} ±{100 * farther:.2g}"
    return f"{text} ±{100 * farther / value:.0f}%" if value else text


def change(metric: Metric, estimate: Estimate) -> str:
    """A ratio, or a difference in points, with its interval: "1.15 (1.12-1.18)"."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if not words.is_known(value):
        return words.UNKNOWN
    ends, decimals = "", 2
    if words.is_known(low) and words.is_known(high):
        joint = " to " if metric.is_share else "-"
        decimals = 2 if metric.is_share or high - low > _FINE_INTERVAL else 3
        ends = f" ({_number(metric, low, decimals)}{joint}{_number(metric, high, decimals)})"
    return f"{change_alone(metric, value, decimals)}{ends}"


def change_alone(metric: Metric, value: float | None, decimals: int = 2) -> str:
    """The same without an interval: "1.10", "+0.8 pt"."""
    if not words.is_known(value):
        return words.UNKNOWN
    return f"{_number(metric, value, decimals)}{' pt' if metric.is_share else ''}"


def change_told(metric: Metric, estimate: Estimate) -> str:
    """In a sentence: "1.21 times the baseline (95 % interval 1.15-1.28)"."""
    numbers = [
        words.UNKNOWN
        if each is None
        else f"{100 * each:+.2g}"
        if metric.is_share
        else f"{each:.2f}"
        for each in (estimate.value, estimate.low, estimate.high)
    ]
    value, low, high = numbers
    if metric.is_share:
        return f"{value} points off the baseline (95 % interval {low} to {high})"
    return f"{value} times the baseline (95 % interval {low}-{high})"


def p_value(p: float | None) -> str:
    """A probability: "0.031", "<0.001"."""
    if not words.is_known(p):
        return words.UNKNOWN
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _number(metric: Metric, value: float, decimals: int) -> str:
    if metric.is_share:
        points = round(100 * value, decimals)
        return f"{points:+g}" if points else "0"
    return f"{value:.{decimals}f}"
