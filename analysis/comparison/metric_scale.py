"""The scale on which a metric's change is a shift, and larger is worse.

    ratio metrics   s ln(x),  so that a shift is a ratio; values must be above 0
    shares          s x,      so that a shift is a difference; they are often 0

s = -1 where more is better, else 1.
"""

import math

import numpy as np

from analysis.calls import Floats
from analysis.comparison.rank_tests import Shift
from analysis.comparison.results import Metric
from analysis.results import Estimate


def scaled(metric: Metric, values: Floats) -> Floats:
    """The values on that scale; those without a ratio to anything are left out."""
    if metric.is_share:
        return _sign(metric) * values
    return _sign(metric) * np.log(values[values > 0])


def scaled_margin(metric: Metric, margin: float, share_margin: float) -> float:
    """How far for the worse is allowed, on that scale."""
    return share_margin if metric.is_share else math.log1p(margin)


def unscaled(metric: Metric, value: float) -> float:
    """A shift on that scale as a ratio, or as the difference of a share."""
    own = _sign(metric) * value
    return own if metric.is_share else math.exp(own)


def change(metric: Metric, shift: Shift, count: int) -> Estimate:
    """A shift with its interval as a ratio or a difference, from `count` values."""
    ends = [None if end is None else unscaled(metric, end) for end in (shift.low, shift.high)]
    if metric.higher_is_better:
        ends.reverse()
    return Estimate(value=unscaled(metric, shift.value), low=ends[0], high=ends[1], n=count)


def _sign(metric: Metric) -> int:
    return -1 if metric.higher_is_better else 1
