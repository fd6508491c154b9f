"""`headroom compare` and `headroom history`: runs held against each other."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from mwaa_headroom.harness.cli.completion import RunPath
from mwaa_headroom.harness.cli.github import tell_github
from mwaa_headroom.harness.cli.options import (
    Command,
    Percentage,
    as_json,
    example,
    junit_file,
    output_of,
    show_answer,
    verbose,
    write_junit,
)

_SIDES = ("--baseline", "--contender")


class _SidesOfManyRuns(click.Command):
    """Lets `--baseline` and `--contender` take as many directories as a shell's `*` gives them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(_one_each(args)))


def _one_each(arguments: Iterable[str]) -> Iterator[str]:
    """`--baseline a b` as `--baseline a --baseline b`; the command has no other arguments."""
    side, is_first = "", False
    for argument in arguments:
        if argument.startswith("-"):
            side, is_first = (argument, True) if argument in _SIDES else ("", False)
        elif side and not is_first:
            yield side
        else:
            is_first = False
        yield argument


def _side(name: str, what: str) -> Callable[[Command], Command]:
    return click.option(
        name,
        metavar="DIR...",
        multiple=True,
        required=True,
        type=RunPath(),
        help=f"Runs of {what}: run directories, directories that hold them, or references "
        "(`headroom runs --help`).",
    )


@click.command(
    "compare",
    cls=_SidesOfManyRuns,
    epilog=example(
        "headroom compare --baseline airflow=3.2.1 --contender airflow=3.3.1 --margin 10%"
    ),
)
@_side("--baseline", "what is known")
@_side("--contender", "what is new")
@click.option(
    "--margin",
    metavar="SHARE",
    type=Percentage(),
    default="5%",
    show_default=True,
    help="How much worse a metric of the gate may get.",
)
@as_json
@verbose
@junit_file
@output_of("HTML, JSON, JUnit, Markdown, text, plot")
def compare_command(
    baseline: tuple[Path, ...],
    contender: tuple[Path, ...],
    margin: float,
    json_output: bool,
    verbose: bool,
    junit: Path | None,
    output: Path | None,
) -> int:
    """Compare two sets of runs, such as those of two Airflow versions.

    Each run counts once. Make at least 5 or 6 of each side, taking turns, with the same scenario;
    unlike runs are refused.

    Exit codes: 0 pass, 4 regression, 5 inconclusive or not comparable.
    """
    from mwaa_headroom.analysis.report.comparison_report import comparison_document
    from mwaa_headroom.harness.run.answers import compare_directories

    comparison = compare_directories(baseline, contender, margin=margin)
    document = comparison_document(comparison)
    show_answer(document, json_output=json_output, verbose=verbose, output=output)
    write_junit(document, junit)
    tell_github(document, comparison.exit_code)
    return comparison.exit_code


@click.command("history", epilog=example("headroom history runs"))
@click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=RunPath())
@as_json
@verbose
@output_of("HTML, JSON, Markdown, text, plot")
def history_command(
    directories: tuple[Path, ...], json_output: bool, verbose: bool, output: Path | None
) -> int:
    """Find where runs changed: at least 15 of the same scenario, in the order of time.

    Each DIR is a run directory, holds some, or is a reference (`headroom runs --help`). Runs that
    were aborted, cut off, or whose load generator was too busy are left out by name; unlike runs
    are refused.

    Exit codes: 0 told, changed or not; 5 not comparable or too few.
    """
    from mwaa_headroom.analysis.report.comparison_report import history_document
    from mwaa_headroom.harness.run.answers import trace_directories

    history = trace_directories(directories)
    show_answer(history_document(history), json_output=json_output, verbose=verbose, output=output)
    return history.exit_code
