"""`headroom size`: how many webservers, of which class, does a load need?"""

import json
from pathlib import Path

import click

from analysis.sizing.classes import CLASS_NAMES
from harness.cli.options import as_json
from harness.cli.terminal import terminal_settings


@click.command("size")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--load",
    metavar="LOAD",
    required=True,
    help="What is to be served, in calls per second: 25, a range such as 20-30, or a trace file.",
)
@click.option(
    "--burst-from",
    metavar="RATE",
    type=click.FloatRange(min=0),
    help="Rate before a burst to the highest rate (default: the lowest rate of LOAD, or none).",
)
@click.option("--region", metavar="REGION", help="Whose prices (default: that of runs on AWS).")
@click.option(
    "--prices",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Your own table of prices, in the form of harness/aws/prices.toml.",
)
@click.option(
    "--environment-class",
    metavar="CLASS",
    type=click.Choice(CLASS_NAMES),
    help=f"The smallest class to consider, {CLASS_NAMES[0]} to {CLASS_NAMES[-1]} "
    "(default: that of runs on AWS, or mw1.small).",
)
@as_json
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write the answer (HTML, JSON, text, picture) into DIR.",
)
def size_command(
    runs: tuple[Path, ...],
    load: str,
    burst_from: float | None,
    region: str | None,
    prices: Path | None,
    environment_class: str | None,
    json_output: bool,
    output: Path | None,
) -> int:
    """Size an environment from finished runs.

    RUN is a run directory, or a directory that holds some. Several runs of the same mix make the
    answer surer; unlike runs are refused.

    Exit codes: 0 answered, 5 no setting can be recommended.
    """
    from analysis.report.as_json import as_json as plain
    from analysis.report.planning.size import size_sections
    from analysis.report.planning.terminal import render_answer
    from harness.run.size import read_load, size_directories, write_size

    answer = size_directories(
        runs,
        read_load(load),
        burst_from_per_s=burst_from,
        region=region,
        prices_file=prices,
        environment_class=environment_class,
    )
    if json_output:
        click.echo(json.dumps(plain(answer), indent=2))
    else:
        click.echo(render_answer(size_sections(answer), **terminal_settings()))
    if output is not None:
        page = write_size(answer, output)
        if not json_output:
            click.echo(f"\nReport: {page}")
    return answer.exit_code
