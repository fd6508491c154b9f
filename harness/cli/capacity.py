"""`headroom capacity`: how much does each webserver count take, and what to try next?"""

import json
from pathlib import Path

import click

from harness.cli.options import as_json
from harness.cli.terminal import terminal_settings


@click.command("capacity")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@as_json
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write the answer (HTML, JSON, text, picture) into DIR.",
)
def capacity_command(runs: tuple[Path, ...], json_output: bool, output: Path | None) -> int:
    """Tell the capacity of every webserver count from finished runs.

    RUN is a run directory, or a directory that holds some. Stages in which the webserver count
    stayed the same are pooled by that count, of whichever run they are; pin it with min_webservers
    = max_webservers. Unlike runs are refused.

    Exit codes: 0 the capacity of a count is known, 5 of none.
    """
    from analysis.report.as_json import as_json as plain
    from analysis.report.planning.capacity import capacity_sections
    from analysis.report.planning.terminal import render_answer
    from harness.run.capacity import capacity_of_directories, write_capacity

    curve = capacity_of_directories(runs)
    if json_output:
        click.echo(json.dumps(plain(curve), indent=2))
    else:
        click.echo(render_answer(capacity_sections(curve), **terminal_settings()))
    if output is not None:
        page = write_capacity(curve, output)
        if not json_output:
            click.echo(f"\nReport: {page}")
    return curve.exit_code
