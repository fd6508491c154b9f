"""`headroom export`: what was recorded and found, for other programs."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import click

from mwaa_headroom.harness.cli.completion import RunPath
from mwaa_headroom.harness.cli.options import example
from mwaa_headroom.harness.cli.streams import is_read, say, say_aside

_TABLES: Final = ("requests", "periods", "stages")
_FORMATS: Final = ("csv", "parquet", "jsonl", "otava")


@click.command(
    "export",
    epilog=example("headroom export latest --table requests --output calls.parquet"),
)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=RunPath())
@click.option(
    "--format",
    "file_format",
    type=click.Choice(_FORMATS),
    help="Of the output (default: by the ending of --output, else csv).",
)
@click.option(
    "--table",
    "tables",
    type=click.Choice(_TABLES),
    multiple=True,
    help="Only this one; repeatable (default: all).",
)
@click.option(
    "--output",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="A file for one table, a folder for several (default: standard output).",
)
def export_command(
    runs: tuple[Path, ...], file_format: str | None, tables: tuple[str, ...], output: Path | None
) -> None:
    """Write the data of each RUN for other programs, and print the paths of files.

    Tables, one row each: requests (every call), periods (every metric period, with the calls of the
    same time) and stages (figures of every stage). `otava` is CSV for Apache Otava, which finds
    changes in a history: one row a run, the metrics that `headroom history` and `compare` know.

    RUN is a run directory, a folder of some or a reference (`headroom runs --help`).
    """
    from mwaa_headroom.harness.run.answers import run_directories

    ending = output.suffix[1:] if output and len(tables) == 1 else ""
    chosen = file_format or (ending if ending in _FORMATS else "csv")
    wanted = dict.fromkeys(tables or _TABLES)
    _check(chosen, len(wanted), output, has_tables=bool(tables))
    directories = run_directories(runs)
    if chosen == "otava":
        _export_metrics(directories, output)
        return
    from mwaa_headroom.harness.files import writing
    from mwaa_headroom.harness.record.export import export_tables

    _tell_cut(directories)
    if output is not None and len(wanted) > 1:
        with writing(output):
            output.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files = {
            table: stack.enter_context(_opened(output, f"{table}.{chosen}")) for table in wanted
        }
        export_tables(directories, files, chosen, is_read)


def _check(chosen: str, tables: int, output: Path | None, *, has_tables: bool) -> None:
    if chosen == "otava" and has_tables:
        raise click.UsageError("otava is one table, with a row for each run: leave out --table.")
    if output is None and chosen == "parquet":
        raise click.UsageError("parquet is not written to standard output: give --output PATH.")
    if output is None and chosen != "otava" and tables > 1:
        raise click.UsageError(
            "Standard output takes one table: name it, such as --table stages, or give --output "
            "FOLDER."
        )


def _export_metrics(directories: Sequence[Path], output: Path | None) -> None:
    from mwaa_headroom.analysis.comparison.metric_table import metric_table
    from mwaa_headroom.analysis.report.sentences import told
    from mwaa_headroom.harness.errors import RecordError
    from mwaa_headroom.harness.record.export import export_metrics
    from mwaa_headroom.harness.run.answers import analysed_runs

    table = metric_table(analysed_runs(directories))
    for finding in table.left_out:
        say_aside(told(finding))
    if not table.values:
        raise RecordError("No metric is known of every run: name runs of one scenario.")
    if table.incomplete:
        say_aside(f"Not known of every run, and left out: {'; '.join(table.incomplete)}.")
    with _opened(output, "otava.csv") as file:
        export_metrics(table, file)


def _tell_cut(directories: Sequence[Path]) -> None:
    from mwaa_headroom.analysis.findings import warning
    from mwaa_headroom.analysis.report.sentences import told
    from mwaa_headroom.harness.record.listing import listed_run

    for directory in directories:
        if listed_run(directory).status == "running":
            say_aside(f"{directory.name}: {told(warning('record.cut_off'))}")


@contextmanager
def _opened(output: Path | None, name: str) -> Iterator[BinaryIO]:
    """A file, or one of this name in a folder, that is there whole in the end or not at all.

    None: standard output.
    """
    from mwaa_headroom.harness.errors import UsageError
    from mwaa_headroom.harness.files import replacing, writing

    if output is None:
        yield sys.stdout.buffer
        return
    path = output / name if output.is_dir() else output
    if path.exists() and not path.is_file():  # a device, say, which a file would replace
        raise UsageError(f"Cannot write '{path}': it is no regular file; give another name.")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part, part.open("wb") as file:
        yield file
    say(str(path))
