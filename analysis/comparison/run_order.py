"""What the order of the runs has to do with a comparison: drift, and whether time tells the sides.

    y = a + b side + c place + e    by least squares, y on the metric's scale, place that of the run
                                    among all runs in the order of their starts

    drift           c beyond chance: two-sided t at 5 %; told over the session, c (runs - 1)
    taking turns    r^2 <= 0.15, r the correlation of side and place: AB AB AB, AB BA AB
    with turns      drift is taken off, y - c place, and ranks decide (`rank_tests`)
    without turns   drift cannot be told from a difference of the sides: nothing decides

The place and not the time, because sides that were run on different days say nothing of what lies
between these days. A drift of the straight line is found in AABB sessions, but no jump between the
sides.

Measured in `benchmarks/other_worlds_comparison.py`: with turns, intervals so made hold the truth
in 94-97 % under drifts of 20 %, straight or bent, and are half as wide as without.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mwaa_headroom.analysis.statistics import Floats, t_quantile

CHANCE: Final = 0.05
MOST_CONFOUNDED: Final = 0.15


@dataclass(frozen=True, slots=True)
class Order:
    """The places of the runs of both sides, from 0 in the order of time."""

    baseline: tuple[int, ...]
    contender: tuple[int, ...]

    @property
    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of the runs of both sides."""
        return np.array(self.baseline), np.array(self.contender)

    @property
    def takes_turns(self) -> bool:
        """Whether a drift could be told from a difference of the sides."""
        side = np.repeat([0.0, 1.0], [len(self.baseline), len(self.contender)])
        return float(np.corrcoef(side, np.concatenate(self.places))[0, 1] ** 2) <= MOST_CONFOUNDED

    @property
    def one_side_first(self) -> bool:
        """Whether all runs of one side came before all of the other."""
        one, other = sorted((self.baseline, self.contender))
        return max(one) < min(other)


def order_of(baseline_s: Sequence[float], contender_s: Sequence[float]) -> Order:
    """From when the runs of both sides began."""
    places = np.argsort(np.argsort([*baseline_s, *contender_s], kind="stable")).tolist()
    return Order(tuple(places[: len(baseline_s)]), tuple(places[len(baseline_s) :]))


def drift_per_place(
    baseline: Floats, contender: Floats, places: Sequence[NDArray[np.int64]]
) -> float | None:
    """The c of the module's docstring, in the unit of the values; None: not beyond chance.

    Args:
        baseline: on the metric's scale.
        contender: likewise.
        places: of the runs of both sides.
    """
    found = float(drifts_per_place(np.concatenate([baseline, contender]), places))
    return None if np.isnan(found) else found


def drifts_per_place(y: Floats, places: Sequence[NDArray[np.int64]]) -> Floats:
    """The same of many sessions together, NaN where it is not beyond chance.

    Args:
        y: the last axis is the runs of a session, first all of the baseline.
        places: of the runs of both sides.
    """
    sides = np.repeat([0.0, 1.0], [len(side) for side in places])
    model = np.column_stack([np.ones(len(sides)), sides, np.concatenate(places)])
    freedom = len(sides) - model.shape[1]
    if freedom < 1:
        return np.full(y.shape[:-1], np.nan)
    inverse = np.linalg.pinv(model)
    fitted = y @ inverse.T
    variance = np.square(y - fitted @ model.T).sum(axis=-1) / freedom * (inverse @ inverse.T)[2, 2]
    drift = fitted[..., 2]
    surely = (np.abs(drift) > t_quantile(freedom, 1 - CHANCE) * np.sqrt(variance)) & (
        np.ptp(y, axis=-1) > 0
    )
    return np.where(surely, drift, np.nan)
