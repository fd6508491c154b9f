"""Shares of calls by outcome and layer, with Wilson intervals.

    centre +- z sqrt(p(1-p)/n + z^2/(4 n^2)),  all over 1 + z^2/n,  centre = p + z^2/(2n)

p = failures / n, z = 1.96 for 95 %. Source: Wilson, J. Am. Stat. Assoc. 22 (1927) 209. Unlike the
textbook interval it does not end at 0 when no failure was seen: 0 of 300 may still be 1.26 %.
Assumes independent calls; errors come in bursts, so intervals are too narrow then.
"""

import math

from analysis.calls import Calls
from analysis.records.schema import LAYER_OF_OUTCOME, LAYERS
from analysis.results import Estimate

_Z95 = 1.959963984540054


def share(part: int, whole: int) -> Estimate:
    """`part` of `whole` as a fraction with its Wilson interval."""
    if whole == 0:
        return Estimate(value=None, warnings=("There are no calls to take a share of.",))
    observed = part / whole
    scale = 1 + _Z95**2 / whole
    centre = (observed + _Z95**2 / (2 * whole)) / scale
    half = _Z95 * math.sqrt(observed * (1 - observed) / whole + _Z95**2 / (4 * whole**2)) / scale
    return Estimate(
        value=observed,
        low=0.0 if part == 0 else max(0.0, centre - half),
        high=1.0 if part == whole else min(1.0, centre + half),
        n=whole,
    )


def outcome_counts(calls: Calls) -> dict[str, int]:
    """How many arrivals ended as what, the most frequent first."""
    counts = calls.outcome.counts()
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def error_rate(calls: Calls) -> Estimate:
    """Calls that did not end ok, as a fraction of calls sent."""
    sent = int(calls.sent.sum())
    return share(sent - int(calls.ok.sum()), sent)


def error_rate_by_layer(calls: Calls) -> dict[str, Estimate]:
    """The same for every layer that had errors; `generator` is unsent / arrivals."""
    counts = outcome_counts(calls)
    sent = int(calls.sent.sum())
    rates = {}
    for layer in LAYERS:
        failed = sum(count for name, count in counts.items() if LAYER_OF_OUTCOME[name] == layer)
        if failed:
            rates[layer] = share(failed, len(calls) if layer == "generator" else sent)
    return rates
