"""`headroom upgrade`: did an upgrade make it worse? Both sides run in turn until it is clear."""

import os
from datetime import UTC, datetime
from pathlib import Path

import click
from click.core import ParameterSource

from mwaa_headroom.harness.cli.github import tell_github
from mwaa_headroom.harness.cli.options import (
    Percentage,
    WholeNumber,
    as_json,
    example,
    overrides,
    print_json,
    runs_folder,
    terminal_settings,
    verbose,
)
from mwaa_headroom.harness.cli.streams import say, say_aside
from mwaa_headroom.harness.errors import ExitCode, HeadroomError, UsageError
from mwaa_headroom.harness.files import writing

_MOST_PAIRS = 50
_PAIRS = 6
_GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
# By the names of the parameters: what an experiment is begun with.
_SETTINGS = {
    "before": "--from",
    "after": "--to",
    "pairs": "--pairs",
    "margin": "--margin",
    "settings": "--set",
    "runs_directory": "--runs",
    "virtual_time": "--virtual-time",
}


@click.command(
    "upgrade",
    epilog=example("headroom upgrade scenarios/upgrade.toml --from 2.11.2 --to 3.3.1"),
)
@click.argument("scenario_or_experiment", metavar="SCENARIO|DIR", type=click.Path(path_type=Path))
@click.option("--from", "before", metavar="VERSION", help="Airflow of the baseline.")
@click.option("--to", "after", metavar="VERSION", help="Airflow of the contender.")
@click.option(
    "--pairs",
    type=WholeNumber(2, _MOST_PAIRS),
    metavar="N",
    help=f"The most pairs of runs to make (default: {_PAIRS}).",
)
@click.option(
    "--margin",
    metavar="SHARE",
    type=Percentage(),
    default="10%",
    show_default=True,
    help="How much worse a metric of the gate may get.",
)
@overrides
@runs_folder("the experiment's directory is")
@click.option(
    "--virtual-time",
    is_flag=True,
    help='Compute the runs instead of waiting (only environments of kind "simulated").',
)
@click.option("--no-progress", is_flag=True, help="Print only the result.")
@verbose
@as_json
@click.pass_context
def upgrade_command(
    ctx: click.Context,
    scenario_or_experiment: Path,
    before: str | None,
    after: str | None,
    pairs: int | None,
    margin: float,
    settings: tuple[str, ...],
    runs_directory: Path,
    virtual_time: bool,
    no_progress: bool,
    verbose: bool,
    json_output: bool,
) -> int:
    """Find out by experiment whether an upgrade makes calls dearer, slower or fail.

    Both sides of a SCENARIO are brought up, do the same work in turn, and are compared pair by
    pair, until the answer is certain or all pairs are made. Of a local scenario --from and --to
    are versions of Airflow; on AWS, or where more than the version differs, the tables
    upgrade.baseline and upgrade.contender of the scenario say what each side has.

    Ctrl-C keeps what is finished and answers from that; with the directory of the experiment in
    place of the scenario it goes on.

    Exit codes: 0 pass, 4 regression, 5 inconclusive or not comparable, 130 interrupted.
    """
    from mwaa_headroom.analysis.report.terminal import render_terminal
    from mwaa_headroom.analysis.report.upgrade_report import pair_told, upgrade_document
    from mwaa_headroom.analysis.report.words import enumerated
    from mwaa_headroom.analysis.report.write import write_document
    from mwaa_headroom.harness.cli.progress import console_progress
    from mwaa_headroom.harness.run.upgrade import carry_out, new_experiment

    with console_progress(quiet=no_progress) as progress:
        directory = scenario_or_experiment
        if directory.is_dir():
            if given := [name for name in _SETTINGS if ctx.get_parameter_source(name) in _GIVEN]:
                raise UsageError(
                    f"'{directory}' is an experiment that knows its settings: leave "
                    f"{enumerated([_SETTINGS[name] for name in given])} out."
                )
        else:
            directory = new_experiment(
                scenario_or_experiment,
                overrides=settings,
                variables=os.environ,
                versions=(before, after),
                pairs=pairs or _PAIRS,
                margin=margin,
                virtual_time=virtual_time,
                runs_directory=runs_directory,
                now=datetime.now(UTC),
            )
            progress.step(f"Experiment {directory}")
        try:
            outcome = carry_out(directory, progress, pair_told)
        except HeadroomError:
            say_aside(f"What is finished stays; `headroom upgrade {directory}` goes on.")
            raise
    if outcome.answer is None:
        say_aside(f"No pair of runs was finished yet; `headroom upgrade {directory}` goes on.")
        return ExitCode.INTERRUPTED
    document = upgrade_document(outcome.answer)
    if json_output:
        print_json(outcome.answer)
    else:
        print(render_terminal(document, verbose=verbose, **terminal_settings()))
    with writing(directory):
        page = write_document(document, directory)
    if not json_output:
        print()
        say(f"Report: {page}")
    if outcome.interrupted:
        say_aside(f"`headroom upgrade {directory}` goes on where it was interrupted.")
    exit_code = outcome.answer.comparison.exit_code
    tell_github(document, exit_code)
    return ExitCode.INTERRUPTED if outcome.interrupted else exit_code
