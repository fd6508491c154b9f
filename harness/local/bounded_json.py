"""JSON from callers, read only if that cannot hold up the event loop for long.

Reading JSON holds the interpreter, in whatever thread, and takes microseconds for each value: ten
megabytes of empty lists take seconds, of one string milliseconds. So it is the values that are
bounded. There are at most as many as commas and opening brackets, which are counted at once.
"""

import json
from typing import Any, Final

MOST_VALUES: Final = 100_000  # a tenth of a second; the largest answers of Airflow have fewer
_BEFORE_VALUES: Final = (b",", b"[", b"{")


class TooManyValuesError(ValueError):
    """Text with more values than are read."""


def read_json(text: bytes | str) -> Any:
    """What a JSON text holds.

    Raises:
        TooManyValuesError: it may hold more than `MOST_VALUES`.
        ValueError, RecursionError: it is no JSON, or nested too deep.
    """
    raw = text.encode(errors="replace") if isinstance(text, str) else text
    if sum(map(raw.count, _BEFORE_VALUES)) > MOST_VALUES:
        raise TooManyValuesError(f"JSON with more than {MOST_VALUES} values is not read")
    return json.loads(text)
