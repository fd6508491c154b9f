"""Options that several commands share, so that they read and behave alike everywhere."""

import math
import os
import shutil
import sys
from typing import Any, TypedDict

import click

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


overrides = click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override one key of the scenario, e.g. --set environment.max_webservers=4.",
)
as_json = click.option(
    "--json", "json_output", is_flag=True, help="Print machine-readable JSON on standard output."
)


class Percentage(click.ParamType[float]):
    """A share such as `5%` or `0.05`, above 0 and below 1; gives the fraction."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The fraction of what was typed, or of a default."""
        text = str(value).strip()
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = math.nan
        fraction = number / 100 if text.endswith("%") else number
        if not 0 < fraction < 1:
            self.fail(f"'{value}' is no share such as 5% or 0.05.", param, ctx)
        return fraction
