"""Words of which there are few, one for each of very many rows, held as small codes."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.records.columns import encoded

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """One word for each row: `words[codes[row]]`. A word may have several codes, or no row."""

    codes: NDArray[np.integer[Any]]
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, chosen: Mask | NDArray[np.int64]) -> "Labels":
        """Those for which a mask is true, or those at the given positions."""
        return Labels(self.codes[chosen], self.words)

    def are(self, *words: str) -> Mask:
        """Which rows have one of these words."""
        found = np.zeros(len(self.codes), dtype=np.bool_)
        for code, word in enumerate(self.words):
            if word in words:
                found |= self.codes == code
        return found

    def counts(self) -> dict[str, int]:
        """How many rows have each word, in alphabetical order; only words that have any."""
        found = dict.fromkeys(sorted(self.words), 0)
        for code, word in enumerate(self.words):
            found[word] += int(np.count_nonzero(self.codes == code))
        return {word: count for word, count in found.items() if count}

    def restricted_to(self, known: Collection[str], otherwise: str) -> "Labels":
        """The same with every word that is not known replaced."""
        words = tuple(word if word in known else otherwise for word in self.words)
        return Labels(self.codes, words)


def labels_of(column: pa.ChunkedArray) -> Labels:
    """The words of a column of strings without nulls, dictionary-encoded or not.

    The codes are the column's own memory where it is one piece of small codes.
    """
    words = encoded(column)
    return Labels(words.indices.to_numpy(), tuple(words.dictionary.to_pylist()))
