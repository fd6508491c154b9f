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
import scipy
from numpy.typing import NDArray

from mwaa_headroom.analysis.statistics import Floats

CHANCE: Final = 0.05
MOST_CONFOUNDED: Final = 0.15


@dataclass(frozen=True, slots=True)
class Order:
    """The places of the runs of both sides, from 0 in the order of time."""

    baseline: tuple[int, ...]
    contender: tuple[int, ...]

    @property
    def takes_turns(self) -> bool:
        """Whether a drift could be told from a difference of the sides."""
        side = np.repeat([0.0, 1.0], [len(self.baseline), len(self.contender)])
        places = [*self.baseline, *self.contender]
        return float(np.corrcoef(side, places)[0, 1] ** 2) <= MOST_CONFOUNDED

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
    y = np.concatenate([baseline, contender])
    place = np.concatenate(places)
    model = np.column_stack(
        [np.ones(len(y)), np.repeat([0.0, 1.0], [len(baseline), len(contender)]), place]
    )
    freedom = len(y) - model.shape[1]
    if freedom < 1 or not np.ptp(y):
        return None
    fitted = np.linalg.lstsq(model, y, rcond=None)[0]
    left = y - model @ fitted
    variance = float(left @ left) / freedom * np.linalg.pinv(model.T @ model)[2, 2]
    drift = float(fitted[2])
    surely = (
        variance == 0 or 2 * scipy.special.stdtr(freedom, -abs(drift) / np.sqrt(variance)) < CHANCE
    )
    return drift if surely else None
