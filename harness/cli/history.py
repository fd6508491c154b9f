"""`headroom history`: when did many runs of one thing change?"""

import json
from pathlib import Path

import click

from harness.cli.options import as_json
from harness.cli.terminal import terminal_settings


@click.command("history")
@click.argument(
    "directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@as_json
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write the report (HTML, JSON, text, plot) into DIR.",
)
def history_command(directories: tuple[Path, ...], json_output: bool, output: Path | None) -> int:
    """Find where runs changed: at least 15 of the same scenario, in the order of time.

    Each DIR is a run directory or holds some. Runs that were aborted, cut off, or whose load
    generator was too busy are left out by name; unlike runs are refused.

    Exit codes: 0 told, changed or not; 5 not comparable or too few.
    """
    from analysis.report.as_json import as_json as plain
    from analysis.report.comparison.terminal import render_history
    from harness.run.comparing import trace_directories, write_files

    history = trace_directories(directories)
    if json_output:
        click.echo(json.dumps(plain(history), indent=2))
    else:
        click.echo(render_history(history, **terminal_settings()))
    if output is not None:
        from analysis.report.comparison.write import write_history

        page = write_files(write_history, history, output)
        if not json_output:
            click.echo(f"\nReport: {page}")
    return history.exit_code
