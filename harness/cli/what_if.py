"""`headroom what-if`: what would autoscaling make of another load?"""

import json
from pathlib import Path
from typing import Any

import click

from analysis.policy.parameters import MOST_SIMULATED
from harness.cli.options import as_json
from harness.cli.terminal import terminal_settings
from harness.errors import UsageError

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
        low_text, _, high_text = str(value).partition("-")
        try:
            low, high = float(low_text), float(high_text)
        except ValueError:
            self.fail(f"'{value}' is no pair of rates such as 10-60 (calls/s).", param, ctx)
        if not 0 <= low < high < float("inf"):
            self.fail(f"'{value}' does not go up: give the lower rate first.", param, ctx)
        return low, high


@click.command("what-if")
@click.argument(
    "directories", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--trace",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Ask about a trace: a CSV file with time_s, or with time_s,rate_per_s.",
)
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
    type=click.FloatRange(min=0),
    help=f"When the burst begins (default: {USUAL_BURST_AT_S:g}).",
)
@click.option(
    "--burst-for",
    "burst_for_s",
    metavar="SECONDS",
    type=click.FloatRange(min=1),
    help=f"How long it lasts (default: {USUAL_BURST_FOR_S:g}).",
)
@click.option(
    "--scale",
    metavar="FACTOR",
    type=click.FloatRange(min=0, min_open=True),
    help="Multiply the load; alone: that of the first RUN.",
)
@click.option(
    "--min",
    "min_webservers",
    metavar="N",
    type=click.IntRange(1, MOST_SIMULATED),
    help="MinWebservers to simulate (default: of the first RUN that scales).",
)
@click.option(
    "--max",
    "max_webservers",
    metavar="N",
    type=click.IntRange(1, MOST_SIMULATED),
    help="MaxWebservers to simulate (default: of the first RUN that scales).",
)
@as_json
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write the report (HTML, JSON, text, plots) into DIR.",
)
def what_if_command(
    directories: tuple[Path, ...],
    trace: Path | None,
    burst: tuple[float, float] | None,
    burst_at_s: float | None,
    burst_for_s: float | None,
    scale: float | None,
    min_webservers: int | None,
    max_webservers: int | None,
    json_output: bool,
    output: Path | None,
) -> int:
    """Learn the scaling rule from recorded runs, check it by replaying them, and ask "what if?".

    Each RUN is a run directory or holds some, in which the webserver count changed; all must be
    alike. With one of --trace, --burst, --scale, --min and --max that load is simulated, with a
    range for everything the runs do not tell.

    Exit codes: 0 answered, 5 the runs do not tell enough.
    """
    from analysis.report.as_json import as_json as plain
    from analysis.report.planning.terminal import render_answer
    from analysis.report.planning.what_if import what_if_answer
    from harness.run.what_if import Burst, asked_load, what_if, write_what_if

    if burst is None and (burst_at_s is not None or burst_for_s is not None):
        raise UsageError("--burst-at and --burst-for go only with --burst LOW-HIGH.")
    asked = asked_load(
        trace=trace,
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
    if json_output:
        click.echo(json.dumps(plain(result), indent=2))
    else:
        click.echo(render_answer(what_if_answer(result), **terminal_settings()))
    if output is not None:
        page = write_what_if(result, output)
        if not json_output:
            click.echo(f"\nReport: {page}")
    return result.exit_code
