"""`headroom run`: carry out a scenario, then analyse and report it."""

import os
import signal
from pathlib import Path
from typing import Any

import click

from harness.cli.options import as_json, fleet_of, fleet_options, overrides
from harness.cli.report import show_report


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
@click.option("--no-progress", is_flag=True, help="Print only the result.")
@as_json
def run_command(
    scenario_file: Path,
    settings: tuple[str, ...],
    runs_directory: Path,
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
    """
    from harness.cli.progress import make_narrator
    from harness.run.reporting import report_run
    from harness.run.session import run_scenario
    from harness.scenario import load_scenario

    # Whoever ends us politely (a CI system, a container) gets a finished record and clean-up too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    load_processes = fleet_of(**fleet)
    scenario = load_scenario(scenario_file, overrides=settings, variables=os.environ)
    with make_narrator(quiet=no_progress) as narrator:
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
