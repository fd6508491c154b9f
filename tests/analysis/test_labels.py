import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.calls import Labels, labels_of

WORDS = st.lists(st.sampled_from(["ok", "throttled", "unsent", "ä", ""]), max_size=40)


def chunked(words: list[str], cut: int, *, encoded: bool) -> pa.ChunkedArray:
    """A column in two pieces, each with a dictionary of its own when encoded."""
    column = pa.chunked_array([words[:cut], words[cut:]], type=pa.string())
    return column.dictionary_encode() if encoded else column


@given(words=WORDS, cut=st.integers(0, 40), encoded=st.booleans())
def test_labels_say_of_each_row_what_the_words_say(
    words: list[str], cut: int, encoded: bool
) -> None:
    labels = labels_of(chunked(words, cut, encoded=encoded))
    assert len(labels) == len(words)
    assert labels.are("ok").tolist() == [word == "ok" for word in words]
    assert labels.are("ok", "ä").tolist() == [word in ("ok", "ä") for word in words]
    assert labels.are("melted").tolist() == [False] * len(words)
    assert labels.counts() == {word: words.count(word) for word in sorted(set(words))}


@given(words=WORDS, data=st.data())
def test_chosen_rows_keep_their_words(words: list[str], data: st.DataObject) -> None:
    labels = labels_of(pa.chunked_array([words], type=pa.string()))
    mask = np.array([data.draw(st.booleans()) for _ in words], dtype=bool)
    left = [word for word, kept in zip(words, mask.tolist(), strict=True) if kept]
    assert labels[mask].counts() == {word: left.count(word) for word in sorted(set(left))}
    assert labels[np.flatnonzero(mask)].are("ok").tolist() == [word == "ok" for word in left]


def test_several_words_may_become_one() -> None:
    labels = Labels(np.array([0, 1, 2, 0], dtype=np.int8), ("ok", "melted", "burnt"))
    known = labels.restricted_to({"ok", "failed"}, otherwise="failed")
    assert known.counts() == {"failed": 2, "ok": 2}
    assert known.are("failed").tolist() == [False, True, True, False]


@pytest.mark.parametrize(("different", "bytes_each"), [(1, 1), (128, 1), (129, 2), (40_000, 4)])
def test_codes_are_no_wider_than_their_words_need(different: int, bytes_each: int) -> None:
    words = [f"operation {n}" for n in range(different)]
    labels = labels_of(pa.chunked_array([words]))
    assert labels.codes.itemsize == bytes_each
    assert labels.words == tuple(words)
    assert np.flatnonzero(labels.are(words[-1])).tolist() == [different - 1]
