"""Which entry of the mix each arrival is."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class MixDraws:
    """Entries of a mix, drawn one after another, independently and by weight.

    Args:
        weights: of the entries.
        generator: what comes depends on it alone, not on how many are taken at a time.
    """

    def __init__(self, weights: Sequence[float], generator: np.random.Generator) -> None:
        shares = np.asarray(weights, dtype=float)
        self._shares = shares / shares.sum()
        self._generator = generator

    def take(self, count: int) -> npt.NDArray[np.int64]:
        """The next `count` of them, as indices into the weights."""
        return self._generator.choice(len(self._shares), size=count, p=self._shares)
