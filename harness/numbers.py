"""Numbers that people typed or programs exported."""

import math
import re
from typing import Final

NUMBER: Final = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_NUMBER: Final = re.compile(NUMBER)


def plain_number(text: str) -> float:
    """The finite number that `text` is; Python's own `float` also takes 1_0, nan and ２.

    Raises:
        ValueError: it is none.
    """  # noqa: RUF002 - a full-width digit
    value = float(text) if _NUMBER.fullmatch(text.strip()) else math.nan
    if not math.isfinite(value):
        raise ValueError(f"'{text}' is not a number")
    return value
