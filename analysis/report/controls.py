"""Characters in names and messages that are no text but orders to whatever shows them."""

from typing import Final
from unicodedata import category

# Controls, halves of characters, and breaks of lines and paragraphs.
_ORDERS: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
# These change the direction of what follows them, so that a name could hide what is said of it.
_DIRECTIONS: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def escape_controls(text: str) -> str:
    """The text on one line, with controls and changes of direction as their escapes instead."""
    if text.isprintable():  # nearly always
        return text
    return "".join(_escaped(c) if category(c) in _ORDERS or c in _DIRECTIONS else c for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
