"""`headroom run` and `headroom report`: carry out a scenario, analyse its record and report it."""

import ipaddress
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mwaa_headroom.harness.cli.completion import RunPath
from mwaa_headroom.harness.cli.github import tell_github
from mwaa_headroom.harness.cli.options import (
    Number,
    WholeNumber,
    as_json,
    example,
    junit_file,
    overrides,
    print_json,
    runs_folder,
    terminal_settings,
    verbose,
    write_junit,
)
from mwaa_headroom.harness.cli.streams import say, say_aside
from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.run.load_processes import (
    DEFAULT_MASTER_PORT,
    MOST_PROCESSES,
    WAIT_FOR_WORKERS_S,
    LoadProcesses,
)

if TYPE_CHECKING:
    from mwaa_headroom.harness.run.answers import RunReport


@click.command("report", epilog=example("headroom report latest --verbose"))
@click.argument("run", metavar="RUN", default="runs/latest", type=RunPath())
@verbose
@as_json
def report_command(run: Path, verbose: bool, json_output: bool) -> int:
    """Analyse a recorded RUN again and rewrite its report.

    RUN is a run directory, a folder with only one in it, or a reference (`headroom runs --help`);
    default: runs/latest.

    Exits like the run itself did: 0, 3 (SLO not met), 5 (inconclusive) or 130 (interrupted).
    """
    from mwaa_headroom.harness.run.answers import report_run

    return _show(report_run(run), verbose=verbose, json_output=json_output)


@click.command("collect", epilog=example("headroom collect latest"))
@click.argument("run", metavar="RUN", default="runs/latest", type=RunPath())
@verbose
@as_json
def collect_command(run: Path, verbose: bool, json_output: bool) -> int:
    """Read the metrics of a RUN on AWS again, and rewrite its report.

    Metrics arrive minutes late, and a run that was killed has read none of its last minutes.
    CloudWatch keeps them for 15 days; what the record lacks is added to it. RUN is a run directory,
    a folder with only one in it, or a reference (`headroom runs --help`); default: runs/latest.

    Exits like the run itself did: 0, 3 (SLO not met), 5 (inconclusive) or 130 (interrupted).
    """
    from mwaa_headroom.analysis.report.words import counted, time_of_day
    from mwaa_headroom.harness.cli.progress import console_progress
    from mwaa_headroom.harness.run.answers import only_run, report_run
    from mwaa_headroom.harness.run.collecting import collect_run

    directory = only_run(run)
    with console_progress(quiet=json_output) as progress:
        found = collect_run(directory, now_s=time.time(), tell=progress.step)
        samples = counted(found.rows, "sample") if found.rows else "nothing"
        progress.note(
            f"The record lacked {samples} of what there is until {time_of_day(found.to_s)}."
        )
        progress.step("Analysing the record")
        report = report_run(directory)
    return _show(report, verbose=verbose, json_output=json_output)


def _show(report: "RunReport", *, verbose: bool, json_output: bool) -> int:
    """Print a report as text or as JSON; returns the exit code of its verdict."""
    from mwaa_headroom.analysis.report.terminal import render_terminal

    if json_output:
        print_json(report.analysis)
    else:
        print(render_terminal(report.document, verbose=verbose, **terminal_settings()))
        print()
        say(f"Report: {report.page}")
    tell_github(report.document, report.analysis.verdict.exit_code)
    return report.analysis.verdict.exit_code


@click.command(
    "run", epilog=example("headroom run scenarios/smoke.toml --virtual-time --tag branch=main")
)
@click.argument("scenario_file", metavar="SCENARIO", type=click.Path(path_type=Path))
@overrides
@runs_folder("run directories are")
@click.option(
    "--tag",
    "tags",
    metavar="KEY=VALUE",
    multiple=True,
    help="Keep this in the record to find the run by, e.g. --tag branch=main; repeatable.",
)
@click.option(
    "--processes",
    type=WholeNumber(1, MOST_PROCESSES),
    metavar="N",
    help="Share the load among N processes on this machine (default: 1).",
)
@click.option(
    "--expect-workers",
    "remote_workers",
    type=WholeNumber(min=1),
    metavar="N",
    help="Share the load among N `headroom worker`, started by you on this or other machines.",
)
@click.option(
    "--bind",
    "bind_host",
    metavar="ADDRESS",
    help="IPv4 address at which workers find this run (default: 127.0.0.1, this machine only). "
    "Locust's channel to its workers is neither authenticated nor encrypted: whoever reaches the "
    "address can join the run and read its scenario, so give one in a private network. "
    "Credentials never travel there.",
)
@click.option(
    "--port",
    type=WholeNumber(1, 65535),
    metavar="PORT",
    help=f"Port at that address (default: {DEFAULT_MASTER_PORT}).",
)
@click.option(
    "--wait-for-workers",
    "wait_s",
    type=Number(min=1),
    metavar="SECONDS",
    help=f"How long to wait for all workers (default: {WAIT_FOR_WORKERS_S:g}).",
)
@click.option(
    "--virtual-time",
    is_flag=True,
    help='Compute the run instead of waiting for it (only environments of kind "simulated").',
)
@click.option("--no-progress", is_flag=True, help="Print only the result.")
@click.option(
    "--ui",
    "with_page",
    is_flag=True,
    help="Also show the run on a page that only this machine can reach; prints its address.",
)
@verbose
@as_json
@junit_file
def run_command(
    scenario_file: Path,
    settings: tuple[str, ...],
    runs_directory: Path,
    tags: tuple[str, ...],
    virtual_time: bool,
    no_progress: bool,
    with_page: bool,
    verbose: bool,
    json_output: bool,
    junit: Path | None,
    **processes: Any,
) -> int:
    """Carry out a SCENARIO file: start or find its environment, send its traffic, report.

    The run is recorded in a directory of its own, from which `headroom report` makes its report
    again. Ctrl-C ends the load, keeps the record and still makes the report.

    One process sends the load. Where the report says that it was too busy, --processes shares the
    load among several on this machine, and --expect-workers among `headroom worker` commands that
    you start, also elsewhere. Same seed, same arrivals, however many send them.

    With --virtual-time nothing is sent: simulated webservers are computed, hours in seconds.
    Ctrl-C then keeps nothing.

    With --ui a page shows the run as it goes on, and has a button that does what Ctrl-C does. It
    becomes the report; on a terminal it stays until Ctrl-C, at most an hour.
    """
    from mwaa_headroom.harness.cli.progress import console_progress
    from mwaa_headroom.harness.live.page_process import live_page
    from mwaa_headroom.harness.record.references import tags_of
    from mwaa_headroom.harness.run.answers import report_run
    from mwaa_headroom.harness.run.session import run_scenario
    from mwaa_headroom.harness.scenario.load import load_scenario
    from mwaa_headroom.harness.virtual.run import run_in_virtual_time

    load_processes = load_processes_of(**processes)
    if virtual_time and any(given is not None for given in processes.values()):
        raise UsageError(
            "--virtual-time sends nothing, so the options about load processes do not go with it: "
            "leave one or the other out."
        )
    if virtual_time and with_page:
        raise UsageError("A run in --virtual-time is over at once: leave --ui out.")
    scenario = load_scenario(scenario_file, overrides=settings, variables=os.environ)
    of_the_run: Any = {
        "scenario_file": scenario_file,
        "runs_directory": runs_directory,
        "tags": tags_of(tags),
    }
    with ExitStack() as until_the_end:
        page = until_the_end.enter_context(live_page()) if with_page else None
        tell_page = page.recording if page else lambda _: None
        if page:
            say_aside(f"Live page: {page.address}")
        with console_progress(quiet=no_progress, told_of_record=tell_page) as progress:
            if virtual_time:
                directory = run_in_virtual_time(
                    scenario, **of_the_run, started_at_s=time.time(), progress=progress
                )
            else:
                directory = run_scenario(
                    scenario, **of_the_run, progress=progress, load_processes=load_processes
                )
            progress.step("Analysing the record")
            report = report_run(directory)
        if page:
            page.report(report.page)
        exit_code = _show(report, verbose=verbose, json_output=json_output)
        write_junit(report.document, junit)
        if page and page.is_served and sys.stdin.isatty() and sys.stderr.isatty():
            say_aside(f"The page stays until Ctrl-C, at most an hour: {page.address}")
            page.stay()
    return exit_code


def load_processes_of(
    *,
    processes: int | None,
    remote_workers: int | None,
    bind_host: str | None,
    port: int | None,
    wait_s: float | None,
) -> LoadProcesses:
    """The load processes that the options ask for; None: not given.

    Raises:
        UsageError: they contradict each other.
    """
    if processes is not None and remote_workers is not None:
        raise UsageError(
            "--processes starts workers and --expect-workers waits for yours: give only one."
        )
    if remote_workers is None:
        given = {"--bind": bind_host, "--port": port, "--wait-for-workers": wait_s}
        for name, value in given.items():
            if value is not None:
                raise UsageError(f"{name} goes only with --expect-workers.")
        return LoadProcesses(processes=processes or 1)
    host = bind_host or "127.0.0.1"
    try:
        ipaddress.IPv4Address(host)
    except ValueError as exc:
        raise UsageError(
            f"--bind must be an IPv4 address of this machine, such as 10.0.0.5, not '{host}'."
        ) from exc
    return LoadProcesses(
        remote_workers=remote_workers,
        bind_host=host,
        port=port,
        wait_s=WAIT_FOR_WORKERS_S if wait_s is None else wait_s,
    )
