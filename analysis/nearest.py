"""The known name that somebody who mistyped one probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(typed: object, known: Iterable[str]) -> str:
    """` (did you mean 'NAME'?)`, to stand behind the wrong name; "" if none is near."""
    nearest = get_close_matches(str(typed), list(known), n=1, cutoff=0.7)
    return f" (did you mean '{nearest[0]}'?)" if nearest else ""
