"""What the terminal can show."""

import os
import shutil
import sys
from typing import TypedDict

WIDEST_COLUMNS = 100  # wider tables are harder to read, not easier


class TerminalSettings(TypedDict):
    """Arguments of every function that renders text."""

    colour: bool
    width: int


def terminal_settings() -> TerminalSettings:
    """Colour unless standard output is no terminal or NO_COLOR is set, and the columns to use."""
    columns = min(shutil.get_terminal_size((WIDEST_COLUMNS, 24)).columns, WIDEST_COLUMNS)
    return {
        "colour": sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
        "width": columns,
    }
