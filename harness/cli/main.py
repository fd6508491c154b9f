"""The entry point: the command group, and the one place where errors become exit codes.

The modules of the commands import what they work with inside their functions, so that `--help`
answers at once.
"""

import io
import platform
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from mwaa_headroom.harness.cli.aws import doctor_command, init_command, policy_command
from mwaa_headroom.harness.cli.clean import clean_command
from mwaa_headroom.harness.cli.compare import compare_command, history_command
from mwaa_headroom.harness.cli.completion import completion_command
from mwaa_headroom.harness.cli.export import export_command
from mwaa_headroom.harness.cli.local import local_group
from mwaa_headroom.harness.cli.observe import observe_command
from mwaa_headroom.harness.cli.planning import capacity_command, size_command, what_if_command
from mwaa_headroom.harness.cli.run import collect_command, report_command, run_command
from mwaa_headroom.harness.cli.runs import diff_command, open_command, runs_command
from mwaa_headroom.harness.cli.signals import end_in_order
from mwaa_headroom.harness.cli.streams import prepare_streams, say, say_aside
from mwaa_headroom.harness.cli.upgrade import upgrade_command
from mwaa_headroom.harness.cli.validate import validate_command
from mwaa_headroom.harness.cli.worker import worker_command
from mwaa_headroom.harness.errors import ExitCode, HeadroomError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _, is_given: _show_versions(ctx) if is_given else None,
    help="Show the versions of headroom, Python, Locust and boto3, and exit.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
def app(debug: bool) -> None:
    """Load tests and capacity planning for Amazon MWAA, called through InvokeRestApi.

    Exit codes: 0 fine, 1 internal error, 2 usage, configuration or access, 3 SLO not met,
    4 regression, 5 invalid or inconclusive, 130 interrupted.
    """


def _show_versions(ctx: click.Context) -> NoReturn:
    from importlib.metadata import version

    libraries = ", ".join(f"{name} {version(name.lower())}" for name in ("Locust", "boto3"))
    python = f"Python {platform.python_version()}"
    say(f"headroom {version('mwaa-headroom')}, {python}, {libraries}, {platform.platform()}")
    ctx.exit()


for command in (
    run_command,
    report_command,
    collect_command,
    runs_command,
    open_command,
    diff_command,
    export_command,
    compare_command,
    history_command,
    upgrade_command,
    capacity_command,
    size_command,
    what_if_command,
    observe_command,
    validate_command,
    worker_command,
    init_command,
    policy_command,
    doctor_command,
    clean_command,
    local_group,
    completion_command,
):
    app.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process with one of `ExitCode`.

    Args:
        arguments: None: those of the process, whose signals and standard streams are then ours.
    """
    if arguments is None:
        end_in_order()
        prepare_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app.main(args=given, prog_name="headroom", standalone_mode=False)
        print(end="", flush=True)  # what cannot be written must be known before we end
    except click.exceptions.Exit as exc:
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        shown = io.StringIO()
        exc.show(shown)
        for line in shown.getvalue().splitlines():
            say_aside(line)
        sys.exit(ExitCode.USAGE)
    except (KeyboardInterrupt, click.Abort):
        say_aside("headroom: interrupted.")
        sys.exit(ExitCode.INTERRUPTED)
    except HeadroomError as exc:
        _show(exc, str(exc), debug="--debug" in given)
        sys.exit(exc.exit_code)
    except Exception as exc:
        sentence = f"internal error: {type(exc).__name__}: {exc} (--debug shows the traceback)."
        _show(exc, sentence, debug="--debug" in given)
        sys.exit(ExitCode.INTERNAL)
    sys.exit(code if isinstance(code, int) else ExitCode.OK)


def _show(error: Exception, sentence: str, *, debug: bool) -> None:
    if debug:
        sys.excepthook(type(error), error, error.__traceback__)
    say_aside(f"headroom: {sentence}")
