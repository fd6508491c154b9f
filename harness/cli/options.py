"""Options that several commands share, so that they read and behave alike everywhere."""

import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from mwaa_headroom.harness.cli.streams import say
from mwaa_headroom.harness.numbers import NUMBER, plain_number

if TYPE_CHECKING:
    from mwaa_headroom.analysis.report.document import Document

Command = TypeVar("Command", bound=Callable[..., Any])


def example(line: str) -> str:
    """The end of a command's help."""
    return f"\b\nExample:\n  {line}"


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
column = click.option(
    "--column",
    metavar="NAME",
    help="The column of the trace's times (default: found by its name, or because it holds dates).",
)
as_json = click.option(
    "--json", "json_output", is_flag=True, help="Print machine-readable JSON on standard output."
)
verbose = click.option("--verbose", "-v", is_flag=True, help="Print all of the report.")


junit_file = click.option(
    "--junit", metavar="FILE", type=click.Path(path_type=Path), help="Write JUnit XML to FILE too."
)


def runs_folder(what: str) -> Callable[[Command], Command]:
    """The option of where a command makes this."""
    return click.option(
        "--runs",
        "runs_directory",
        metavar="DIR",
        default="runs",
        show_default=True,
        type=click.Path(path_type=Path),
        help=f"Where {what} made.",
    )


def output_of(forms: str) -> Callable[[Command], Command]:
    """The option that writes an answer's report, in these forms, into a directory."""
    return click.option(
        "--output",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help=f"Write the report ({forms}) into DIR.",
    )


def print_json(result: object) -> None:
    """Print a dataclass as JSON; `docs/schemas` has the schema of each command's."""
    from mwaa_headroom.analysis.report.as_json import as_json as plain

    print(json.dumps(plain(result), indent=2))


def show_answer(
    document: "Document", *, json_output: bool, verbose: bool, output: Path | None
) -> None:
    """Print an answer as text or JSON, and write its report into `output` if that is given.

    Raises:
        UsageError: the directory cannot be written.
    """
    from mwaa_headroom.analysis.report.terminal import render_terminal

    if json_output:
        print_json(document.result)
    else:
        print(render_terminal(document, verbose=verbose, **terminal_settings()))
    if output is not None:
        from mwaa_headroom.analysis.report.write import write_document
        from mwaa_headroom.harness.files import writing

        with writing(output):
            page = write_document(document, output)
        if not json_output:
            print()
            say(f"Report: {page}")


def write_junit(document: "Document", path: Path | None) -> None:
    """Write the test cases of an answer where `--junit` says; None: it was not given.

    Raises:
        UsageError: the file cannot be written.
    """
    if path is not None:
        from mwaa_headroom.analysis.report.junit import render_junit
        from mwaa_headroom.harness.files import writing

        with writing(path):
            path.write_text(render_junit(document), encoding="utf-8")


class Number(click.FloatRange):
    """A number in a range as people write it: Python's own reading takes 1_0 and nan too."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number that was typed."""
        if isinstance(value, str) and re.fullmatch(NUMBER, value.strip()) is None:
            self.fail(f"'{value}' is not a number.", param, ctx)
        return float(super().convert(value, param, ctx))


class WholeNumber(click.IntRange):
    """The same of whole numbers."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number that was typed."""
        if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]+", value.strip()) is None:
            self.fail(f"'{value}' is not a whole number.", param, ctx)
        return int(super().convert(value, param, ctx))


class Percentage(click.ParamType[float]):
    """A share such as `5%` or `0.05`, above 0 and below 1; gives the fraction."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The fraction of what was typed, or of a default."""
        text = str(value).strip()
        try:
            number = plain_number(text.removesuffix("%"))
        except ValueError:
            number = math.nan
        fraction = number / 100 if text.endswith("%") else number
        if not 0 < fraction < 1:
            self.fail(f"'{value}' is not a share such as 5% or 0.05.", param, ctx)
        return fraction
