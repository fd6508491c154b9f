"""`headroom report`: the analysis of a recorded run, made again from its files alone."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import as_json
from harness.cli.terminal import terminal_settings

if TYPE_CHECKING:
    from analysis.report.write import ReportPaths
    from analysis.results import RunAnalysis


@click.command("report")
@click.argument("run", metavar="RUN", default="runs/latest", type=click.Path(path_type=Path))
@as_json
def report_command(run: Path, json_output: bool) -> int:
    """Analyse a recorded RUN again and rewrite its report.

    RUN is a run directory or a folder with only one in it; default: runs/latest.

    Exits like the run itself did: 0, 3 (SLO not met), 5 (inconclusive) or 130 (interrupted).
    """
    from harness.run.reporting import report_run

    analysis, paths = report_run(run)
    return show_report(analysis, paths, json_output=json_output)


def show_report(analysis: "RunAnalysis", paths: "ReportPaths", *, json_output: bool) -> int:
    """Print an analysis, as a summary or as JSON, and return the exit code of its verdict."""
    from analysis.report.as_json import analysis_as_json
    from analysis.report.terminal import render_summary

    if json_output:
        click.echo(json.dumps(analysis_as_json(analysis), indent=2))
        return analysis.verdict.exit_code
    click.echo(render_summary(analysis, **terminal_settings()))
    click.echo(f"\nReport: {paths.html}")
    return analysis.verdict.exit_code
