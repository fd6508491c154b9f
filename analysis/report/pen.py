"""Writes lines of text for a terminal or a CI log."""

import textwrap
from collections.abc import Iterator
from typing import Final

from mwaa_headroom.analysis.report.layout import INDENT

_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_LEAST_WIDTH: Final = 72


class Pen:
    """Writes styled text, or plain text when colour is off."""

    def __init__(self, *, colour: bool, width: int) -> None:
        self._colour = colour
        self.width = max(width, _LEAST_WIDTH)

    def style(self, text: str, *styles: str) -> str:
        """`text`, coloured if colour is on."""
        if not (self._colour and styles and text):
            return text
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"

    def wrapped(self, text: str, *, first: str = INDENT, rest: str = INDENT) -> Iterator[str]:
        """`text` in lines, the first and the others with their own indents."""
        yield from textwrap.wrap(
            text, self.width, initial_indent=first, subsequent_indent=rest
        ) or [first.rstrip()]
