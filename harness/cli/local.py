"""`headroom local`: an environment on this machine that any boto3 program can call."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mwaa_headroom.harness.cli.options import as_json, example, print_json
from mwaa_headroom.harness.errors import EnvironmentStartError, ExitCode, UsageError

if TYPE_CHECKING:
    from mwaa_headroom.harness.local.instance import Instance
    from mwaa_headroom.harness.local.settings import LocalSettings, SimulatedSettings

NAME_PATTERN = r"[a-zA-Z][0-9a-zA-Z\-_]{0,79}"


@dataclass(frozen=True, slots=True)
class LocalEnvironment:
    """What `headroom local up` started: addresses, and the credentials that it takes."""

    name: str
    was_already_up: bool
    mwaa_url: str
    webserver_url: str
    cloudwatch_url: str
    region: str
    environment_name: str
    access_key_id: str
    secret_access_key: str
    ca_file: str  # "": it serves plain HTTP
    facts: dict[str, Any]
    pid: int
    variables: dict[str, str]  # that point boto3 and the AWS CLI to it
    variables_to_unset: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LocalWebserver:
    """One webserver, in the last whole metric period; null: it has no sample there."""

    name: str
    state: str
    cluster: str | None
    cpu_percent: float | None
    memory_percent: float | None
    connections: float | None


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """What `headroom local status` shows; null: the environment is not up, or starting."""

    name: str
    is_up: bool
    time_s: float | None = None
    count: int | None = None  # of webservers that are ready
    webservers: tuple[LocalWebserver, ...] | None = None
    calls_handled: int | None = None
    gateway_cpu_s: float | None = None


@dataclass(frozen=True, slots=True)
class LocalStopped:
    """What `headroom local down` did."""

    name: str
    stopped: bool  # there was something to stop


name_option = click.option(
    "--name",
    default="headroom-local",
    show_default=True,
    help="Which environment; also its MWAA name.",
)


@click.group("local")
def local_group() -> None:
    """Keep an environment on this machine, for boto3, the AWS CLI and `headroom run`.

    `eval "$(headroom local up)"` points the current shell to it.
    """


@local_group.command("up", epilog=example('eval "$(headroom local up --airflow-version 3.3.1)"'))
@name_option
@click.option(
    "--kind",
    type=click.Choice(["local", "simulated"]),
    help="Real Airflow (local, the default), or webservers whose service demands are known.",
)
@click.option("--min-webservers", type=int, metavar="N", help="Webservers to start with (1-5).")
@click.option("--max-webservers", type=int, metavar="N", help="Most the autoscaler may start.")
@click.option("--webserver-cpu", type=float, metavar="CPUS", help="CPUs of each webserver.")
@click.option("--port", type=int, metavar="PORT", help="Port of the MWAA API; any free one if 0.")
@click.option("--https", is_flag=True, default=None, help="Serve https, with a CA of its own.")
@click.option("--airflow-version", metavar="VERSION", help="Such as 3.3.1.")
@as_json
def up_command(name: str, kind: str | None, json_output: bool, **options: Any) -> None:
    """Start an environment; it stays up until `headroom local down`."""
    from mwaa_headroom.harness.cli.progress import console_progress
    from mwaa_headroom.harness.local.handle import start_daemon
    from mwaa_headroom.harness.local.instance import (
        VARIABLES_TO_UNSET,
        Endpoints,
        read_json,
        shell_lines,
    )

    instance = _instance(name)
    was_up = instance.is_running()
    if was_up and (kind is not None or any(value is not None for value in options.values())):
        raise UsageError(
            f"The environment '{name}' is already up: leave the other options out to have it shown"
            f" again, or stop it with `headroom local down --name {name}` first."
        )
    if not was_up:
        settings = _settings(name, kind or "local", options)
        with console_progress(quiet=json_output) as progress:
            start_daemon(settings, instance, progress.step, ends_with_us=False)
    ready = read_json(instance.ready_path)
    if ready is None:
        raise EnvironmentStartError(
            f"The environment '{name}' is still starting or stopping; try again in a moment."
        )
    if json_output:
        print_json(
            LocalEnvironment(
                name=name,
                was_already_up=was_up,
                **ready,
                variables=Endpoints.from_ready(ready).as_variables(),
                variables_to_unset=VARIABLES_TO_UNSET,
            )
        )
        return
    click.echo(f"The environment '{name}' is {'already ' if was_up else ''}up.", err=True)
    click.echo(shell_lines(Endpoints.from_ready(ready)))


@local_group.command("status", epilog=example("headroom local status"))
@name_option
@as_json
def status_command(name: str, json_output: bool) -> None:
    """Show the webservers, the calls so far and the CPU they cost."""
    from mwaa_headroom.harness.local.instance import read_json

    instance = _instance(name)
    is_up = instance.is_running()
    status = (read_json(instance.status_path) if is_up else None) or {}
    if json_output:
        if status:
            webservers = tuple(LocalWebserver(**one) for one in status["webservers"])
            status = {**status, "webservers": webservers}
        print_json(LocalStatus(name, is_up, **status))
    elif not is_up:
        click.echo(
            f"The environment '{name}' is not up; start it with `headroom local up --name {name}`."
        )
    elif not status:
        click.echo(f"The environment '{name}' is starting.")
    else:
        _print_status(name, status)


@local_group.command("down", epilog=example("headroom local down"))
@name_option
@as_json
def down_command(name: str, json_output: bool) -> None:
    """Stop an environment, and clear away what is left of one that was killed."""
    from mwaa_headroom.harness.local.handle import stop_daemon

    instance = _instance(name)
    had_something = stop_daemon(instance)
    if json_output:
        print_json(LocalStopped(name, had_something))
    elif had_something:
        click.echo(f"The environment '{name}' is down; none of its processes is left.")
    else:
        click.echo(f"The environment '{name}' was not up; none of its processes is left.")


MARKS = {"agrees": "✓", "differs": "✗", "not tried": "?"}


@local_group.command(
    "verify",
    epilog=example(
        "headroom local verify --against aws --environment my-environment --allow-environment ARN"
    ),
)
@click.option(
    "--against",
    type=click.Choice(["aws"]),
    required=True,
    help="What is held against the stand-in.",
)
@click.option("--environment", "name", metavar="NAME", required=True, help="Of Amazon MWAA.")
@click.option("--region", metavar="REGION", help="Its region (default: as botocore finds it).")
@click.option("--profile", metavar="PROFILE", help="AWS profile (default: as botocore finds it).")
@click.option(
    "--allow-environment", "arn", metavar="ARN", required=True, help="The environment's ARN."
)
@click.option(
    "--output",
    metavar="FILE",
    default="aws-snapshot.json",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the shapes are kept; they hold no name, id or secret.",
)
@as_json
def verify_command(
    against: str,  # noqa: ARG001 - says in the command line what is called
    name: str,
    region: str | None,
    profile: str | None,
    arn: str,
    output: Path,
    json_output: bool,
) -> int:
    """Hold the answers of an environment on AWS against those of a simulated one.

    About twenty calls, one a second, that change nothing: one of each kind that only reads, a few
    wrong ones (an unknown DAG, a path over 64 characters), and web logins. Compared are the shapes
    of the answers: statuses, error codes, headers, and which keys have values of which type.

    Exit codes: 0 nothing differs, 5 something does, or nothing could be tried.
    """
    from mwaa_headroom.harness.cli.progress import console_progress
    from mwaa_headroom.harness.cli.streams import say
    from mwaa_headroom.harness.run.verifying import verify_against_aws, write_snapshot

    with console_progress(quiet=json_output) as progress:
        found = verify_against_aws(
            name, region=region, profile=profile, allowed_arn=arn, tell=progress.step
        )
        write_snapshot(found, output)
    if json_output:
        print_json(found.answer())
    else:
        for each in found.compared.values():
            say(f"{MARKS[each.verdict]} {each.verdict:9}  {each.what}")
            for line in (*each.differs, *filter(None, (each.aws.why_not or each.local.why_not,))):
                say(f"               {line}")
            if each.more:
                say(f"               no difference: {'; '.join(each.more)}")
        counts = (f"{found.count(verdict)} {verdict}" for verdict in MARKS)
        say(f"{', '.join(counts)}. Kept in {output}.")
    is_good = found.count("agrees") > 0 and not found.count("differs")
    return ExitCode.OK if is_good else ExitCode.INCONCLUSIVE


def _instance(name: str) -> "Instance":
    from mwaa_headroom.harness.local.instance import Instance, instance_root

    # The name becomes a folder: nothing but what MWAA allows in a name may get there.
    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(
            "--name must start with a letter and hold only letters, digits, '-' and '_'."
        )
    return Instance(instance_root() / name)


def _settings(name: str, kind: str, options: dict[str, Any]) -> "LocalSettings | SimulatedSettings":
    from pydantic import ValidationError

    from mwaa_headroom.harness.local.settings import LocalSettings, SimulatedSettings

    key_of_option = {
        "webserver_cpu": "webserver_cpu" if kind == "local" else "cores",
        "port": "gateway_port",
    }
    given = {
        key_of_option.get(option, option): value
        for option, value in options.items()
        if value is not None
    }
    try:
        return (LocalSettings if kind == "local" else SimulatedSettings)(name=name, **given)
    except ValidationError as exc:
        error = exc.errors()[0]
        key = str(error["loc"][0]) if error["loc"] else "max_webservers"
        option = {key: option for option, key in key_of_option.items()}.get(key, key)
        problem = error["msg"].removeprefix("Value error, ")
        raise UsageError(f"--{option.replace('_', '-')} cannot be used: {problem}.") from exc


def _print_status(name: str, status: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Environment '{name}', last whole metric period")
    for column in ("webserver", "state", "CPU %", "memory %", "connections"):
        table.add_column(column, justify="left" if column in ("webserver", "state") else "right")
    for one in status["webservers"]:
        numbers = (one["cpu_percent"], one["memory_percent"], one["connections"])
        shown = ("-" if number is None else f"{number:.1f}" for number in numbers)
        table.add_row(one["name"], one["state"], *shown)
    console = Console()
    console.print(table)
    console.print(
        f"{status['calls_handled']} calls handled, the gateway's process used"
        f" {status['gateway_cpu_s']:.1f} s of CPU.",
        highlight=False,
    )
