"""Whether something grows over a run, although its values depend on those before them.

    slope      least squares through the means of 20 consecutive batches of values
    interval   Student's t; its variance times (1 + phi) / (1 - phi), phi the correlation of
               neighbouring batches' residuals, corrected for its bias, and its degrees of freedom
               those of so many fewer independent batches, less 2, at least 3

Memory remembers: what a process holds now it mostly held a minute ago, so values say less than as
many independent ones. Checked on AR(1) noise with a leak (`tests/analysis/test_trend.py`): of 120
values with a correlation of up to 0.95 between neighbours 92 % of the intervals hold the slope, of
360 values 93 %; below 60 values too few do, so nothing is said.

Sources: Law, Simulation Modeling and Analysis, 9.5.3 (batch means); Marriott and Pope, Biometrika
41 (1954) 390 (bias of phi).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from mwaa_headroom.analysis.findings import refusal
from mwaa_headroom.analysis.metric_periods import WebserverPeriod
from mwaa_headroom.analysis.statistics import Estimate, Floats, inflation, t_quantile

BATCHES: Final = 20
FEWEST_VALUES: Final = 60
HOUR_S: Final = 3600.0
_FEWEST_FREEDOM: Final = 3.0


def trend_per_h(times_s: Floats, values: Floats) -> Estimate:
    """The growth of values per hour.

    Args:
        times_s: of the values, rising.
        values: in any unit.
    """
    count = len(values)
    if count < FEWEST_VALUES:
        why = refusal("trend.few_values", needed=FEWEST_VALUES, values=count)
        return Estimate(value=None, n=count, warnings=(why,))
    x, y = (
        np.array([part.mean() for part in np.array_split(each, BATCHES)])
        for each in (times_s / HOUR_S, values)
    )
    x = x - x.mean()
    spread = float(x @ x)
    slope = float(x @ y) / spread
    residuals = y - y.mean() - slope * x
    more = inflation(residuals)
    variance = float(residuals @ residuals) / (BATCHES - 2) / spread * more
    half = t_quantile(max(BATCHES / more - 2, _FEWEST_FREEDOM)) * float(np.sqrt(variance))
    return Estimate(value=slope, low=slope - half, high=slope + half, n=count)


def memory_trend_per_h(periods: Sequence[WebserverPeriod]) -> Estimate:
    """The growth of the webservers' memory, as a fraction of it per hour."""
    known = [
        (period.start_s, period.memory_percent / 100)
        for period in periods
        if period.memory_percent is not None
    ]
    times_s, values = np.array(known, dtype=np.float64).reshape(-1, 2).T
    return trend_per_h(times_s, values)
