"""`headroom observe`: what an environment's webservers did, before any load is sent."""

import time
from pathlib import Path

import click

from mwaa_headroom.harness.cli.options import (
    Number,
    as_json,
    example,
    output_of,
    show_answer,
    verbose,
)


@click.command(
    "observe",
    epilog=example("headroom observe --environment my-environment --from 2026-11-01 --growth 1.5"),
)
@click.option("--environment", "name", metavar="NAME", required=True, help="Of Amazon MWAA.")
@click.option("--region", metavar="REGION", help="Its region (default: as botocore finds it).")
@click.option("--profile", metavar="PROFILE", help="AWS profile (default: as botocore finds it).")
@click.option(
    "--from",
    "since",
    metavar="TIME",
    help="A date or time, UTC if it has no zone (default: 30 days before --to).",
)
@click.option("--to", "until", metavar="TIME", help="The same (default: now).")
@click.option(
    "--growth",
    metavar="FACTOR",
    type=Number(min=0, max=1000, min_open=True),
    default=1.0,
    show_default=True,
    help="Size for so many times that traffic.",
)
@click.option(
    "--calls",
    "calls_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="CSV with the calls of that time, such as an export of CloudTrail.",
)
@as_json
@verbose
@output_of("HTML, JSON, JUnit, Markdown, text, plot")
def observe_command(
    name: str,
    region: str | None,
    profile: str | None,
    since: str | None,
    until: str | None,
    growth: float,
    calls_path: Path | None,
    json_output: bool,
    verbose: bool,
    output: Path | None,
) -> int:
    """Tell from CloudWatch alone what an environment's webservers did, and how many it needs.

    Webserver count, CPU and connections of any time of the last 15 months: busiest hours, how often
    webservers were added, and how many would have kept the CPU at or below 70 %. Nothing is sent to
    the environment but GetEnvironment.

    Exit codes: 0 answered, 5 there are no metrics.
    """
    from mwaa_headroom.analysis.report.observed_report import observed_document
    from mwaa_headroom.harness.run.observing import calls_of, moment_of, observe_environment

    answer = observe_environment(
        name,
        region=region,
        profile=profile,
        from_s=None if since is None else moment_of(since),
        to_s=None if until is None else moment_of(until),
        growth=growth,
        calls=None if calls_path is None else calls_of(calls_path),
        now_s=time.time(),
    )
    document = observed_document(answer)
    show_answer(document, json_output=json_output, verbose=verbose, output=output)
    return answer.exit_code
