"""`headroom clean`: undo what runs left in an environment on AWS."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mwaa_headroom.harness.cli.completion import RunPath
from mwaa_headroom.harness.cli.options import as_json, example, print_json
from mwaa_headroom.harness.errors import EnvironmentAccessError, UsageError

if TYPE_CHECKING:
    from mwaa_headroom.harness.aws.cleanup import Created, Undoing
    from mwaa_headroom.harness.run.cleaning import Leftovers

EXAMPLES = 3  # ids shown of each DAG
LONG_S = 300.0  # from then on, a faster way is told


@dataclass(frozen=True, slots=True)
class FoundInEnvironment:
    """What a run left in its environment."""

    dag_runs: dict[str, tuple[str, ...]]  # ids by DAG
    variables: tuple[str, ...]  # keys
    paused_states: dict[str, bool]  # by DAG: whether it was paused before


@dataclass(frozen=True, slots=True)
class CleanedUp:
    """What `headroom clean` found, and undid."""

    environment: str  # its ARN
    found: FoundInEnvironment
    overwritten_variables: tuple[str, ...]  # of which nobody knows the former value
    undone: dict[str, int]  # counts of dag_runs, variables and paused_states
    left: dict[str, int]  # the same, of what is still there


@click.command("clean", epilog=example("headroom clean latest"))
@click.argument("source", metavar="[RUN|SCENARIO]", default="runs/latest", type=RunPath())
@click.option(
    "--prefix",
    metavar="TEXT",
    help="Of a SCENARIO: delete the runs of its DAGs whose ids begin so; headroom_ is all of ours.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def clean_command(source: Path, prefix: str | None, yes: bool, json_output: bool) -> None:
    """Undo what a RUN left in its environment on AWS.

    RUN is a run directory or a reference to one (`headroom runs --help`); default: runs/latest. Its
    DAG runs are deleted, the variables that it created too, and DAGs that it paused or unpaused get
    their state back. It lists what there is, asks, and can be interrupted and begun again.

    Without a run directory, a SCENARIO file says which environment and DAGs to look at, and
    --prefix which DAG runs to delete.

    As for `headroom run`, limits.allow_environment must name the environment.
    """
    from mwaa_headroom.harness.cli.progress import console_progress
    from mwaa_headroom.harness.run.answers import only_run
    from mwaa_headroom.harness.run.cleaning import left_by_prefix, left_by_run

    if source.is_file() != (prefix is not None):
        raise UsageError("Give a run directory, or a scenario file and --prefix.")
    directory = only_run(source) if prefix is None else None
    with console_progress(quiet=json_output) as progress:
        left = (
            left_by_prefix(source, prefix or "", os.environ, progress.step)
            if directory is None
            else left_by_run(directory, progress.step)
        )
    if not json_output:
        _list(left)
    undoing = None
    if left.found.counts():
        if not yes:
            _ask(json_output, left)
        with console_progress(quiet=json_output) as progress:
            undoing = left.undo(progress.count)
    if json_output:
        print_json(_answer(left, undoing))
    _end(undoing)
    if undoing is not None and not json_output:
        print(f"All {undoing.done.total()} undone: nothing of it is left in {left.arn}.")


def _list(left: "Leftovers") -> None:
    from mwaa_headroom.harness.run.cleaning import duration_text

    counts = left.found.counts()
    if not counts:
        print(f"Nothing of it is left in {left.arn}.")
    else:
        print(f"Left in {left.arn}:")
    for line in _lines(left.found):
        print(f"  {line}")
    for key in left.overwritten:
        print(f"  variable {key} was overwritten; its former value is not recorded")
    if counts:
        print(f"Undoing it takes about {duration_text(left.duration_s)}.")
    if left.duration_s > LONG_S and not left.in_bulk:
        print(
            "Airflow before 3.3 deletes DAG runs one by one. If these DAGs are for tests only, "
            "DELETE /dags/{dag_id} drops all runs of one at once; it comes back with its file."
        )


def _lines(found: "Created") -> list[str]:
    lines = []
    for dag_id, runs in found.dag_runs.items():
        more = "" if len(runs) <= EXAMPLES else ", ..."
        lines.append(f"{len(runs)} runs of DAG {dag_id}: {', '.join(runs[:EXAMPLES])}{more}")
    lines += [f"variable {key}" for key in found.variables]
    for dag_id, was_paused in found.paused.items():
        lines.append(f"DAG {dag_id} was {'paused' if was_paused else 'not paused'} before")
    return lines


def _ask(json_output: bool, left: "Leftovers") -> None:
    if sys.stdin.isatty() and not json_output:
        click.confirm("Undo it?", abort=True)
        return
    if json_output:
        print_json(_answer(left, None))
    raise UsageError("Nothing was undone, as nobody could be asked: give --yes.")


def _answer(left: "Leftovers", undoing: "Undoing | None") -> CleanedUp:
    found = left.found
    return CleanedUp(
        environment=left.arn,
        found=FoundInEnvironment(found.dag_runs, tuple(found.variables), found.paused),
        overwritten_variables=left.overwritten,
        undone={} if undoing is None else +undoing.done,
        left=found.counts() if undoing is None else +undoing.left,
    )


def _end(undoing: "Undoing | None") -> None:
    if undoing is not None and undoing.left.total():
        if undoing.refusal:
            raise EnvironmentAccessError(
                f"{undoing.left.total()} of these could not be undone: {undoing.refusal}"
            )
        answers = sorted(answer for answer in undoing.answers if answer is not None)
        why = f"Airflow answered {', '.join(map(str, answers))}" if answers else "no answer came"
        raise EnvironmentAccessError(
            f"{undoing.left.total()} of these could not be undone ({why}): run it again with an "
            "Airflow role that may delete them."
        )
