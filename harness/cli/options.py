"""Options that several commands share, so that they read and behave alike everywhere."""

import ipaddress
import math
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, TypedDict

import click

from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.run.load_processes import (
    DEFAULT_MASTER_PORT,
    MOST_PROCESSES,
    WAIT_FOR_WORKERS_S,
    Fleet,
)

WIDEST_COLUMNS = 100  # wider tables are harder to read, not easier


class TerminalSettings(TypedDict):
    """Arguments of every function that renders text."""

    colour: bool
    width: int


def terminal_settings() -> TerminalSettings:
    """Colour unless standard output is no terminal or NO_COLOR is set, and the columns to use."""
    columns = min(shutil.get_terminal_size((WIDEST_COLUMNS, 24)).columns, WIDEST_COLUMNS)
    return {
        "colour": sys.stdout.isatty() and not os.environ.get("NO_COLOR"),
        "width": columns,
    }


overrides = click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override one key of the scenario, e.g. --set environment.max_webservers=4.",
)
as_json = click.option(
    "--json", "json_output", is_flag=True, help="Print machine-readable JSON on standard output."
)


class Percentage(click.ParamType[float]):
    """A share such as `5%` or `0.05`, above 0 and below 1; gives the fraction."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The fraction of what was typed, or of a default."""
        text = str(value).strip()
        try:
            number = float(text.removesuffix("%"))
        except ValueError:
            number = math.nan
        fraction = number / 100 if text.endswith("%") else number
        if not 0 < fraction < 1:
            self.fail(f"'{value}' is no share such as 5% or 0.05.", param, ctx)
        return fraction


_FLEET_OPTIONS = (
    click.option(
        "--processes",
        type=click.IntRange(1, MOST_PROCESSES),
        metavar="N",
        help="Share the load among N processes on this machine (default: 1).",
    ),
    click.option(
        "--expect-workers",
        "remote_workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Share the load among N `headroom worker`, started by you on this or other machines.",
    ),
    click.option(
        "--bind",
        "bind_host",
        metavar="ADDRESS",
        help="IPv4 address at which workers find this run (default: 127.0.0.1, this machine only). "
        "Locust's channel to its workers is neither authenticated nor encrypted: whoever reaches "
        "the address can join the run and read its scenario, so give one in a private network. "
        "Credentials never travel there.",
    ),
    click.option(
        "--port",
        type=click.IntRange(1, 65535),
        metavar="PORT",
        help=f"Port at that address (default: {DEFAULT_MASTER_PORT}).",
    ),
    click.option(
        "--wait-for-workers",
        "wait_s",
        type=click.FloatRange(min=1),
        metavar="SECONDS",
        help=f"How long to wait for all workers (default: {WAIT_FOR_WORKERS_S:g}).",
    ),
)


def fleet_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which processes send the load; `fleet_of` understands them."""
    for option in reversed(_FLEET_OPTIONS):
        command = option(command)
    return command


def fleet_of(
    *,
    processes: int | None,
    remote_workers: int | None,
    bind_host: str | None,
    port: int | None,
    wait_s: float | None,
) -> Fleet:
    """The fleet that the options ask for; None: not given.

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
        return Fleet(processes=processes or 1)
    host = bind_host or "127.0.0.1"
    try:
        ipaddress.IPv4Address(host)
    except ValueError as exc:
        raise UsageError(
            f"--bind must be an IPv4 address of this machine, such as 10.0.0.5, not '{host}'."
        ) from exc
    return Fleet(
        remote_workers=remote_workers,
        bind_host=host,
        port=port,
        wait_s=WAIT_FOR_WORKERS_S if wait_s is None else wait_s,
    )
