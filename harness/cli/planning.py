"""The commands that plan from runs: capacity, size and what-if."""

from pathlib import Path
from typing import Any

import click

from mwaa_headroom.analysis.planning.classes import CLASS_NAMES
from mwaa_headroom.analysis.policy.scaling_rule import MOST_SIMULATED
from mwaa_headroom.harness.cli.completion import RunPath
from mwaa_headroom.harness.cli.options import (
    Number,
    WholeNumber,
    as_json,
    column,
    example,
    output_of,
    show_answer,
    verbose,
)
from mwaa_headroom.harness.errors import UsageError


@click.command("capacity", epilog=example("headroom capacity latest~1 latest"))
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=RunPath())
@as_json
@verbose
@output_of("HTML, JSON, JUnit, Markdown, text, plot")
def capacity_command(
    runs: tuple[Path, ...], json_output: bool, verbose: bool, output: Path | None
) -> int:
    """Tell the capacity of every webserver count from finished runs.

    RUN is a run directory, a directory that holds some, or a reference (`headroom runs --help`).
    Stages in which the webserver count stayed the same are pooled by that count, of whichever run
    they are; pin it with min_webservers = max_webservers. Unlike runs are refused.

    Exit codes: 0 the capacity of a count is known, 5 of none.
    """
    from mwaa_headroom.analysis.report.capacity_report import capacity_document
    from mwaa_headroom.harness.run.answers import capacity_of_directories

    curve = capacity_of_directories(runs)
    show_answer(capacity_document(curve), json_output=json_output, verbose=verbose, output=output)
    return curve.exit_code


@click.command("size", epilog=example("headroom size latest --load 20-30 --region eu-west-1"))
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=RunPath())
@click.option(
    "--load",
    metavar="LOAD",
    required=True,
    help="What is to be served, in calls per second: 25, a range such as 20-30, or a trace file.",
)
@column
@click.option(
    "--burst-from",
    metavar="RATE",
    type=Number(min=0),
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
@verbose
@output_of("HTML, JSON, JUnit, Markdown, text, plot")
def size_command(
    runs: tuple[Path, ...],
    load: str,
    column: str | None,
    burst_from: float | None,
    region: str | None,
    prices: Path | None,
    environment_class: str | None,
    json_output: bool,
    verbose: bool,
    output: Path | None,
) -> int:
    """Size an environment from finished runs.

    RUN is a run directory, a directory that holds some, or a reference (`headroom runs --help`).
    Several runs of the same mix make the answer surer; unlike runs are refused.

    Exit codes: 0 answered, 5 no setting can be recommended.
    """
    from mwaa_headroom.analysis.report.size_report import size_document
    from mwaa_headroom.harness.run.answers import size_directories
    from mwaa_headroom.harness.run.asked_loads import read_load

    answer = size_directories(
        runs,
        read_load(load, column),
        burst_from_per_s=burst_from,
        region=region,
        prices_file=prices,
        environment_class=environment_class,
    )
    show_answer(size_document(answer), json_output=json_output, verbose=verbose, output=output)
    return answer.exit_code


USUAL_BURST_AT_S = 300.0
USUAL_BURST_FOR_S = 900.0


class _FromTo(click.ParamType[tuple[float, float]]):
    """Two rates such as `10-60`, the second above the first."""

    name = "low-high"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        """Both rates, in calls per second."""
        if isinstance(value, tuple):
            return value
        from mwaa_headroom.harness.run.asked_loads import rates_of

        rates = rates_of(str(value))
        if rates is None:
            self.fail(f"'{value}' is no pair of rates such as 10-60 (calls/s).", param, ctx)
        low, high = rates
        if not 0 <= low < high < float("inf"):
            self.fail(f"'{value}' does not go up: give the lower rate first.", param, ctx)
        return low, high


@click.command("what-if", epilog=example("headroom what-if latest --burst 10-60 --max 5"))
@click.argument("directories", metavar="RUN...", nargs=-1, required=True, type=RunPath())
@click.option(
    "--trace",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Ask about a trace: a CSV file of single calls, or of rates.",
)
@column
@click.option(
    "--burst",
    metavar="LOW-HIGH",
    type=_FromTo(),
    help="Ask about a jump from LOW to HIGH calls/s and back.",
)
@click.option(
    "--burst-at",
    "burst_at_s",
    metavar="SECONDS",
    type=Number(min=0),
    help=f"When the burst begins (default: {USUAL_BURST_AT_S:g}).",
)
@click.option(
    "--burst-for",
    "burst_for_s",
    metavar="SECONDS",
    type=Number(min=1),
    help=f"How long it lasts (default: {USUAL_BURST_FOR_S:g}).",
)
@click.option(
    "--scale",
    metavar="FACTOR",
    type=Number(min=0, min_open=True),
    help="Multiply the load; alone: that of the first RUN.",
)
@click.option(
    "--min",
    "min_webservers",
    metavar="N",
    type=WholeNumber(1, MOST_SIMULATED),
    help="MinWebservers to simulate (default: of the first RUN that scales).",
)
@click.option(
    "--max",
    "max_webservers",
    metavar="N",
    type=WholeNumber(1, MOST_SIMULATED),
    help="MaxWebservers to simulate (default: of the first RUN that scales).",
)
@as_json
@verbose
@output_of("HTML, JSON, Markdown, text, plots")
def what_if_command(
    directories: tuple[Path, ...],
    trace: Path | None,
    column: str | None,
    burst: tuple[float, float] | None,
    burst_at_s: float | None,
    burst_for_s: float | None,
    scale: float | None,
    min_webservers: int | None,
    max_webservers: int | None,
    json_output: bool,
    verbose: bool,
    output: Path | None,
) -> int:
    """Learn the scaling rule from recorded runs, check it by replaying them, and ask "what if?".

    Each RUN is a run directory, holds some, or is a reference (`headroom runs --help`); in it the
    webserver count changed, and all must be alike. With one of --trace, --burst, --scale, --min and
    --max that load is simulated, with a range for everything the runs do not tell.

    Exit codes: 0 answered, 5 the runs do not tell enough.
    """
    from mwaa_headroom.analysis.report.what_if_report import what_if_document
    from mwaa_headroom.harness.run.answers import what_if
    from mwaa_headroom.harness.run.asked_loads import Burst, asked_load

    if burst is None and (burst_at_s is not None or burst_for_s is not None):
        raise UsageError("--burst-at and --burst-for go only with --burst LOW-HIGH.")
    asked = asked_load(
        trace=trace,
        column=column,
        burst=burst
        and Burst(
            *burst,
            at_s=USUAL_BURST_AT_S if burst_at_s is None else burst_at_s,
            for_s=USUAL_BURST_FOR_S if burst_for_s is None else burst_for_s,
        ),
        scale=scale,
        min_webservers=min_webservers,
        max_webservers=max_webservers,
    )
    result = what_if(directories, asked)
    document = what_if_document(result)
    show_answer(document, json_output=json_output, verbose=verbose, output=output)
    return result.exit_code
