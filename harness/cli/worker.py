"""`headroom worker`: send a share of the load of a run that somebody started elsewhere."""

import os
import re

import click

from mwaa_headroom.harness.cli.options import example
from mwaa_headroom.harness.cli.streams import say_aside
from mwaa_headroom.harness.errors import ExitCode, UsageError
from mwaa_headroom.harness.run.load_processes import ALLOW_VARIABLE, DEFAULT_MASTER_PORT

MASTER_PATTERN = r"(?P<host>[A-Za-z0-9.\-]+)(:(?P<port>\d{1,5}))?"


@click.command("worker", epilog=example("headroom worker --master 10.0.0.5:5557"))
@click.option(
    "--master",
    required=True,
    metavar="HOST[:PORT]",
    help=f"Where `headroom run --expect-workers` waits; its port is {DEFAULT_MASTER_PORT} unless "
    "it says otherwise.",
)
@click.option(
    "--allow-environment",
    metavar="ARN",
    envvar=ALLOW_VARIABLE,
    help="The one environment on AWS that this worker may load, whatever the master says.",
)
def worker_command(master: str, allow_environment: str | None) -> ExitCode:
    """Send a share of the load of `headroom run --expect-workers`, then end.

    The scenario comes from the master; credentials, endpoints and proxies are this machine's own,
    as boto3 finds them. Nothing is recorded here: the master keeps the record. Ctrl-C finishes the
    calls in flight and leaves the run, which goes on without this worker.

    Locust's channel to the master is neither authenticated nor encrypted: use a private network.
    """
    from mwaa_headroom.harness.run.worker import run_worker

    host, port = _address(master)
    return run_worker(
        host,
        port,
        variables=os.environ,
        allow_environment=allow_environment,
        say=lambda text: say_aside(f"headroom: {text}"),
    )


def _address(master: str) -> tuple[str, int]:
    found = re.fullmatch(MASTER_PATTERN, master)
    port = int(found["port"] or DEFAULT_MASTER_PORT) if found else 0
    if found is None or not 0 < port < 65536:
        raise UsageError("--master must be HOST or HOST:PORT, such as 10.0.0.5:5557.")
    return found["host"], port
