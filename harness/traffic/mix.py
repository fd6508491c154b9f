"""Which entry of the mix each arrival is."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.traffic.arrivals import random_stream

_STREAM = 2  # keeps these draws apart from those of the arrivals


def choose_entries(
    weights: Sequence[float], count: int, *, seed: int, stage_index: int
) -> npt.NDArray[np.int64]:
    """An index into `weights` for each of `count` arrivals, independently and by weight.

    The same seed and stage index give the same choices.
    """
    shares = np.asarray(weights, dtype=float)
    generator = random_stream(seed, stage_index, _STREAM)
    return generator.choice(len(shares), size=count, p=shares / shares.sum())
