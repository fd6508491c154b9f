"""When calls are due: intended starts within one stage, for an open workload.

Both kinds place points on the axis of expected arrivals and map them back to time by inverting the
cumulative rate

    L(t) = r0 t + (r1 - r0) t^2 / (2 D),     t = 2 y / (r0 + sqrt(r0^2 + 2 (r1 - r0) y / D)),

with r0, r1 the rates at the stage's start and end (per second), D its duration (s) and y = L(t).
`poisson` uses unit-exponential gaps in y, which gives a Poisson process with rate L'(t)
(time-rescaling: Cinlar 1975, ch. 4.7). `constant` uses unit gaps behind one random phase, so that
the number of arrivals is L(D) on average and exactly L(D) where that is whole.
"""

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

ArrivalKind = Literal["poisson", "constant"]

_STREAM = 1  # keeps these draws apart from those of the mix


def stage_arrivals(
    kind: ArrivalKind,
    rate_per_s: float,
    *,
    ramp_to_rate_per_s: float | None = None,
    duration_s: float,
    seed: int,
    stage_index: int,
) -> npt.NDArray[np.float64]:
    """Offsets from the stage's start in seconds, ascending, all in [0, duration_s).

    Args:
        kind: how gaps are distributed.
        rate_per_s: at the start of the stage.
        ramp_to_rate_per_s: at its end; None: the rate stays.
        duration_s: length of the stage.
        seed: of the run; the same seed and stage index give the same offsets.
        stage_index: index of the stage in the scenario.
    """
    end_rate_per_s = rate_per_s if ramp_to_rate_per_s is None else ramp_to_rate_per_s
    expected = (rate_per_s + end_rate_per_s) / 2 * duration_s
    generator = random_stream(seed, stage_index, _STREAM)
    if kind == "poisson":
        cumulative = _unit_poisson(expected, generator)
    else:
        cumulative = np.arange(generator.random(), expected, 1.0)
    slope = (end_rate_per_s - rate_per_s) / duration_s
    # Rounding may make the root a little negative at the very end of a ramp towards zero.
    root = np.sqrt(np.maximum(rate_per_s**2 + 2 * slope * cumulative, 0.0))
    offsets = 2 * cumulative / (rate_per_s + root)
    return np.minimum(offsets, math.nextafter(duration_s, 0.0))


def random_stream(seed: int, stage_index: int, stream: int) -> np.random.Generator:
    """Independent random numbers for one purpose within one stage."""
    return np.random.default_rng([seed % 2**64, stage_index, stream])


def _unit_poisson(expected: float, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Points of a Poisson process of rate one in [0, expected)."""
    points = np.empty(0)
    last = 0.0
    while last < expected:
        gaps = generator.exponential(size=int(expected - last + 6 * math.sqrt(expected)) + 16)
        points = np.concatenate([points, last + np.cumsum(gaps)])
        last = float(points[-1])
    return points[points < expected]
