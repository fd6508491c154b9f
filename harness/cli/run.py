"""`headroom run`: carry out a scenario, then analyse and report it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mwaa_headroom.harness.cli.options import as_json, terminal_settings

if TYPE_CHECKING:
    from mwaa_headroom.analysis.report.write import ReportPaths
    from mwaa_headroom.analysis.results import RunAnalysis
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from mwaa_headroom.harness.cli.options import fleet_of, fleet_options, overrides
from mwaa_headroom.harness.errors import UsageError

if TYPE_CHECKING:
    from mwaa_headroom.harness.run.progress import Narrator
    from mwaa_headroom.harness.scenario.model import Scenario


@click.command("report")
@click.argument("run", metavar="RUN", default="runs/latest", type=click.Path(path_type=Path))
@as_json
def report_command(run: Path, json_output: bool) -> int:
    """Analyse a recorded RUN again and rewrite its report.

    RUN is a run directory or a folder with only one in it; default: runs/latest.

    Exits like the run itself did: 0, 3 (SLO not met), 5 (inconclusive) or 130 (interrupted).
    """
    from mwaa_headroom.harness.run.answers import report_run

    analysis, paths = report_run(run)
    return show_report(analysis, paths, json_output=json_output)


def show_report(analysis: "RunAnalysis", paths: "ReportPaths", *, json_output: bool) -> int:
    """Print an analysis, as a summary or as JSON, and return the exit code of its verdict."""
    from mwaa_headroom.analysis.report.as_json import analysis_as_json
    from mwaa_headroom.analysis.report.terminal import render_summary

    if json_output:
        click.echo(json.dumps(analysis_as_json(analysis), indent=2))
        return analysis.verdict.exit_code
    click.echo(render_summary(analysis, **terminal_settings()))
    click.echo(f"\nReport: {paths.html}")
    return analysis.verdict.exit_code


@click.command("run")
@click.argument("scenario_file", metavar="SCENARIO", type=click.Path(path_type=Path))
@overrides
@click.option(
    "--runs",
    "runs_directory",
    metavar="DIR",
    default="runs",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where run directories are made.",
)
@fleet_options
@click.option(
    "--virtual-time",
    is_flag=True,
    help='Compute the run instead of waiting for it (only environments of kind "simulated").',
)
@click.option("--no-progress", is_flag=True, help="Print only the result.")
@as_json
def run_command(
    scenario_file: Path,
    settings: tuple[str, ...],
    runs_directory: Path,
    virtual_time: bool,
    no_progress: bool,
    json_output: bool,
    **fleet: Any,
) -> int:
    """Carry out a SCENARIO file: start or find its environment, send its traffic, report.

    The run is recorded in a directory of its own, from which `headroom report` makes its report
    again. Ctrl-C ends the load, keeps the record and still makes the report.

    One process sends the load. Where the report says that it was too busy, --processes shares the
    load among several on this machine, and --expect-workers among `headroom worker` commands that
    you start, also elsewhere. Same seed, same arrivals, however many send them.

    With --virtual-time nothing is sent: simulated webservers are computed, hours in seconds.
    Ctrl-C then keeps nothing.
    """
    from mwaa_headroom.harness.cli.progress import make_narrator
    from mwaa_headroom.harness.run.answers import report_run
    from mwaa_headroom.harness.run.session import run_scenario
    from mwaa_headroom.harness.scenario import load_scenario

    # Whoever ends us politely (a CI system, a container) gets a finished record and clean-up too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    load_processes = fleet_of(**fleet)
    if virtual_time and any(given is not None for given in fleet.values()):
        raise UsageError(
            "--virtual-time sends nothing, so the options about load processes do not go with it: "
            "leave one or the other out."
        )
    scenario = load_scenario(scenario_file, overrides=settings, variables=os.environ)
    with make_narrator(quiet=no_progress) as narrator:
        if virtual_time:
            directory = _run_in_virtual_time(scenario, scenario_file, runs_directory, narrator)
        else:
            directory = run_scenario(
                scenario,
                scenario_file=scenario_file,
                runs_directory=runs_directory,
                narrator=narrator,
                fleet=load_processes,
            )
        narrator.step("Analysing the record")
        analysis, paths = report_run(directory)
    return show_report(analysis, paths, json_output=json_output)


def _run_in_virtual_time(
    scenario: "Scenario", scenario_file: Path, runs_directory: Path, narrator: "Narrator"
) -> Path:
    from mwaa_headroom.harness.virtual.run import run_in_virtual_time

    return run_in_virtual_time(
        scenario,
        scenario_file=scenario_file,
        runs_directory=runs_directory,
        started_at_s=time.time(),
        narrator=narrator,
    )
