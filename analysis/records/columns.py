"""Columns in one piece, and words in as little memory as they need."""

import pyarrow as pa

_CODES = (pa.int8(), pa.int16(), pa.int32())


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; copied only where it is not one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def encoded(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """A column of strings as one array with one dictionary and the smallest codes that hold it."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    words = whole(column.unify_dictionaries())
    most = max(len(words.dictionary) - 1, 0)
    codes = next(kind for kind in _CODES if most < 2 ** (kind.bit_width - 1))
    return words.cast(pa.dictionary(codes, pa.string()))
