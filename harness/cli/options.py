"""Options that several commands share, so that they read and behave alike everywhere."""

import click

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
