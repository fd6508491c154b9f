"""`headroom runs`, `open` and `diff`: finding runs again, and a look at them."""

import os
import re
import sys
import time
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from mwaa_headroom.harness.cli.completion import RunPath
from mwaa_headroom.harness.cli.options import (
    as_json,
    example,
    print_json,
    show_answer,
    terminal_settings,
)
from mwaa_headroom.harness.cli.streams import say, say_aside
from mwaa_headroom.harness.record.verdicts import VERDICTS

if TYPE_CHECKING:
    from mwaa_headroom.harness.record.listing import ListedRun

_AGO: Final = re.compile(r"([0-9]{1,6})([mhdw])")
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_UNLIMITED = 10_000  # columns, for who reads the list in a pipe
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


@dataclass(frozen=True, slots=True)
class OpenedReport:
    """What `headroom open` did."""

    run: str  # the name of its directory
    page: str
    made: bool  # there was none
    opened: bool  # in a browser


@click.command("runs", epilog=example("headroom runs --scenario smoke --since 7d"))
@click.argument("folder", metavar="[FOLDER]", default="runs", type=click.Path(path_type=Path))
@click.option("--scenario", metavar="NAME", help="Only of this scenario; * stands for anything.")
@click.option(
    "--environment", metavar="NAME", help="Only of this environment; * stands for anything."
)
@click.option(
    "--tag", "tags", metavar="KEY=VALUE", multiple=True, help="Only with this tag; repeatable."
)
@click.option(
    "--verdict", "verdicts", type=click.Choice(VERDICTS), multiple=True, help="Only with this one."
)
@click.option(
    "--since", metavar="TIME", help="Only begun since a date or time (UTC), or 7d, 12h or 30m ago."
)
@as_json
def runs_command(
    folder: Path,
    scenario: str | None,
    environment: str | None,
    tags: tuple[str, ...],
    verdicts: tuple[str, ...],
    since: str | None,
    json_output: bool,
) -> None:
    """List the runs in FOLDER (default: runs), the newest first.

    Wherever a command takes a run, these name one in `runs`, or with FOLDER/ before it in another
    folder: `latest`, `latest~1` (the run before), the beginning of its name if no other begins so,
    or a tag of `headroom run --tag`, such as branch=main; commands that take several runs take all
    with that tag. A path that is there is always the path.

    Verdicts: met or not-met of a check, answered of a capacity question, inconclusive, interrupted,
    not-reported (`headroom report` tells), running, damaged.
    """
    from mwaa_headroom.harness.record.listing import ListOfRuns, listed_runs
    from mwaa_headroom.harness.record.references import shortest, tags_of

    wanted_tags = tags_of(tags).items()
    since_s = None if since is None else _since(since, time.time())
    runs = listed_runs(folder)[::-1]
    shown = [
        (name, run)
        for name, run in zip(shortest(runs), runs, strict=True)
        if fnmatchcase(run.scenario or "", scenario or "*")
        and fnmatchcase(run.environment or "", environment or "*")
        and wanted_tags <= run.tags.items()
        and (not verdicts or run.verdict in verdicts)
        and (since_s is None or (run.started_at_s or 0.0) >= since_s)
    ]
    if json_output:
        print_json(ListOfRuns(str(folder), tuple(run for _, run in shown)))
    elif not shown:
        none = f"None of the {len(runs)} runs in '{folder}' is such a one."
        say_aside(none if runs else f"There are no runs in '{folder}'.")
    else:
        _print(shown)


def _since(text: str, now_s: float) -> float:
    from mwaa_headroom.harness.run.observing import moment_of

    if ago := _AGO.fullmatch(text.strip()):
        return now_s - int(ago[1]) * _SECONDS[ago[2]]
    return moment_of(text)


def _print(shown: "Sequence[tuple[str, ListedRun]]") -> None:
    """A table, cut to a terminal's width but whole in a pipe; below it what is wrong."""
    from mwaa_headroom.analysis.report.document import Column, table_of
    from mwaa_headroom.analysis.report.terminal import render_table
    from mwaa_headroom.analysis.report.words import UNKNOWN, moment, trimmed

    def verdict(run: "ListedRun") -> str:
        is_rate = run.verdict == "answered" and run.highest_rate_per_s is not None
        return f"answered: {trimmed(run.highest_rate_per_s or 0)}/s" if is_rate else run.verdict

    table = table_of(
        shown,
        (Column("run", right=False), lambda row: row[0]),
        (
            Column("began", right=False, dropped=4),
            lambda row: UNKNOWN if row[1].started_at_s is None else moment(row[1].started_at_s),
        ),
        (Column("scenario", right=False), lambda row: row[1].scenario or UNKNOWN),
        (Column("environment", right=False, dropped=2), lambda row: row[1].environment or UNKNOWN),
        (Column("Airflow", right=False, dropped=1), lambda row: row[1].airflow_version or UNKNOWN),
        (Column("question", right=False, dropped=3), lambda row: row[1].question or UNKNOWN),
        (Column("verdict", right=False), lambda row: verdict(row[1])),
        (
            Column("tags", right=False),
            lambda row: " ".join(f"{key}={value}" for key, value in row[1].tags.items()),
        ),
    )
    settings = terminal_settings()
    if not sys.stdout.isatty():
        settings["width"] = _UNLIMITED
    print(render_table(table, **settings))
    for _, run in shown:
        if run.problem:
            say(run.problem)


@click.command("open", epilog=example("headroom open latest~1"))
@click.argument("run", metavar="RUN", default="runs/latest", type=RunPath())
@click.option("--no-browser", is_flag=True, help="Only print where the report is.")
@as_json
def open_command(run: Path, no_browser: bool, json_output: bool) -> None:
    """Open the report of a RUN in a browser, and print its path.

    A report that is missing is made. RUN is a run directory or a reference to one (`headroom runs
    --help`); default: runs/latest.
    """
    from mwaa_headroom.harness.run.answers import only_run, report_run

    directory = only_run(run)
    page = directory / "report.html"
    is_missing = not page.is_file()
    if is_missing:
        page = report_run(directory).page
    is_opened = not no_browser and _open(page)
    if json_output:
        print_json(OpenedReport(directory.name, str(page), made=is_missing, opened=is_opened))
    else:
        say(str(page))


def _open(page: Path) -> bool:
    """Whether a browser took it; one in the terminal is not asked."""
    if sys.platform != "darwin" and not any(map(os.environ.get, _DISPLAYS)):
        return False
    return webbrowser.open(page.as_uri())


@click.command("diff", epilog=example("headroom diff latest~1 latest"))
@click.argument("first", metavar="RUN", type=RunPath())
@click.argument("second", metavar="RUN", type=RunPath())
@as_json
def diff_command(first: Path, second: Path, json_output: bool) -> None:
    """Show in what two runs differ: settings, environment, versions, figures of each stage.

    A quick look, no verdict: `headroom compare` tells what is more than chance. RUN is a run
    directory or a reference to one (`headroom runs --help`), such as latest~1 latest.
    """
    from mwaa_headroom.analysis.report.difference_report import difference_document
    from mwaa_headroom.harness.run.answers import difference_of

    document = difference_document(difference_of(first, second))
    show_answer(document, json_output=json_output, verbose=False, output=None)
