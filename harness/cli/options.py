"""Options that several commands share, so that they read and behave alike everywhere."""

import json
import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

if TYPE_CHECKING:
    from mwaa_headroom.analysis.report.document import Document

Command = TypeVar("Command", bound=Callable[..., Any])

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
verbose = click.option("--verbose", "-v", is_flag=True, help="Print all of the report.")


def output_of(forms: str) -> Callable[[Command], Command]:
    """The option that writes an answer's report, in these forms, into a directory."""
    return click.option(
        "--output",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help=f"Write the report ({forms}) into DIR.",
    )


def show_answer(
    document: "Document", *, json_output: bool, verbose: bool, output: Path | None
) -> None:
    """Print an answer as text or JSON, and write its report into `output` if that is given.

    Raises:
        RecordError: the directory cannot be written.
    """
    from mwaa_headroom.analysis.report.as_json import as_json as plain
    from mwaa_headroom.analysis.report.terminal import render_terminal

    if json_output:
        print(json.dumps(plain(document.result), indent=2))
    else:
        print(render_terminal(document, verbose=verbose, **terminal_settings()))
    if output is not None:
        from mwaa_headroom.analysis.report.write import write_document
        from mwaa_headroom.harness.run.answers import writing_into

        with writing_into(output):
            page = write_document(document, output)
        if not json_output:
            print(f"\nReport: {page}")


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
            self.fail(f"'{value}' is not a share such as 5% or 0.05.", param, ctx)
        return fraction
