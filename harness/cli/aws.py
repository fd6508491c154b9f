"""`headroom init`, `policy` and `doctor`: from credentials to a safe first run on AWS."""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mwaa_headroom.harness.cli.options import as_json, example, overrides, print_json
from mwaa_headroom.harness.cli.streams import say, say_aside
from mwaa_headroom.harness.cli.validate import scenario_warnings
from mwaa_headroom.harness.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from mwaa_headroom.analysis.findings import Finding
    from mwaa_headroom.harness.aws.doctor import Checked

_MARKS = {"note": "✓", "warning": "!", "refusal": "✗"}
_REMARK = "-"
# Notes that tell something and judge nothing.
_REMARKS = (
    *("doctor.caller", "doctor.cost", "doctor.creates", "doctor.duration", "doctor.host"),
    *("doctor.triggers_to_read", "doctor.variable", "doctor.webservers"),
)


@dataclass(frozen=True, slots=True)
class WrittenScenario:
    """What `headroom init` wrote."""

    environment: str  # its ARN
    file: str
    dag_id: str | None  # whose runs are read; None: those of no DAG
    problem: str | None  # why none


environment_option = click.option(
    "--environment", metavar="NAME", help="Environment on AWS (default: the only one there is)."
)
region_option = click.option("--region", help="Its region (default: as AWS is configured).")


@click.command("init", epilog=example("headroom init --environment my-environment"))
@environment_option
@region_option
@click.option(
    "--output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to write it (default: NAME.toml); a file that is there stays as it is.",
)
@as_json
def init_command(
    environment: str | None, region: str | None, output: Path | None, json_output: bool
) -> None:
    """Write a first scenario for an environment on AWS: only reads, below the throttle.

    The environment and its DAGs are looked at; nothing in it is changed.
    """
    from mwaa_headroom.harness.aws.clients import make_clients
    from mwaa_headroom.harness.aws.environment import describe_environment
    from mwaa_headroom.harness.aws.starter import look, only_environment, starter
    from mwaa_headroom.harness.files import writing

    clients = make_clients(environment=environment or "*", region=region)
    name = environment or only_environment(clients)
    facts = describe_environment(clients, name)
    reachable = look(clients, facts)
    text = starter(facts, clients.mwaa.meta.region_name, reachable)
    path = output or Path(f"{name}.toml")
    try:
        with writing(path), path.open("x", encoding="utf-8") as file:
            file.write(text)
    except UsageError as exc:
        if path.exists():
            raise UsageError(f"'{path}' exists and is left as it is: choose --output.") from exc
        raise
    if json_output:
        print_json(
            WrittenScenario(facts.arn, str(path), reachable.dag_id, reachable.problem or None)
        )
        return
    if reachable.problem:
        say_aside(
            f"Warning: {reachable.problem}; the scenario reads no DAG's runs: where that is "
            "mended, write it again."
        )
    say(f"{path} is written. Read it, then:")
    for command in ("policy", "doctor", "run"):
        say(f"  headroom {command} {path}")


@click.command("doctor", epilog=example("headroom doctor my-environment.toml"))
@click.argument(
    "scenario_file", metavar="[SCENARIO]", required=False, type=click.Path(path_type=Path)
)
@environment_option
@region_option
@overrides
@as_json
def doctor_command(
    scenario_file: Path | None,
    environment: str | None,
    region: str | None,
    settings: tuple[str, ...],
    json_output: bool,
) -> int:
    """Look for what would stop or spoil a run of SCENARIO, without starting or changing anything.

    On AWS: credentials, environment, permissions, DAGs, metrics, time and cost; of a local scenario
    this machine. Without a SCENARIO only an environment on AWS is looked at.

    Marks: ✓ in order, - only told, ! may spoil the run or could not be asked, ✗ would stop it
    (exit code 2).
    """
    from mwaa_headroom.analysis.findings import warning
    from mwaa_headroom.harness.aws.doctor import Checked, Examined
    from mwaa_headroom.harness.run.doctor import examine
    from mwaa_headroom.harness.scenario.load import check_scenario, load_scenario

    if scenario_file is not None and (environment, region) != (None, None):
        raise UsageError("Give a scenario, which names its environment, or --environment.")
    if scenario_file is not None:
        scenario = load_scenario(scenario_file, overrides=settings, variables=os.environ)
    else:
        tree = _of_environment(environment, region)
        scenario = check_scenario(tree, origin="--environment")
    is_meant = scenario_file is not None
    told = scenario_warnings(scenario) if is_meant else ()
    warned = (Checked("scenario", warning("doctor.problem", reason=text)) for text in told)
    lines = chain(warned, examine(scenario, is_meant=is_meant))
    return _show(Examined, lines, json_output, verdict=True)


def _of_environment(environment: str | None, region: str | None) -> dict[str, Any]:
    """The smallest scenario of an environment, which nobody means to run."""
    from mwaa_headroom.harness.aws.clients import make_clients
    from mwaa_headroom.harness.aws.starter import only_environment

    name = environment or only_environment(make_clients(environment="*", region=region))
    return {
        "name": "doctor",
        "slo": ["rate(errors) < 1%"],
        "question": {"ask": "check"},
        "environment": {"kind": "aws", "name": name, "region": region},
        "traffic": {"mix": {"list_dags": 1}},
        "stages": [{"rate_per_s": 1, "duration_s": 60}],
    }


@click.command("policy", epilog=example("headroom policy my-environment.toml"))
@click.argument("scenario_file", metavar="SCENARIO", type=click.Path(path_type=Path))
@click.option(
    "--role",
    metavar="NAME",
    help="Role of Airflow's that calls get, such as one of your own "
    "(default: the least of Viewer, User, Op and Admin that does).",
)
@click.option(
    "--check",
    "policy_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Compare the IAM policy in FILE with it.",
)
@overrides
@as_json
def policy_command(
    scenario_file: Path,
    role: str | None,
    policy_file: Path | None,
    settings: tuple[str, ...],
    json_output: bool,
) -> int:
    """Print the least IAM policy that lets a SCENARIO run, as JSON; nothing is asked of AWS.

    With --check: what a policy lacks (exit code 2), and what it allows beyond that.
    """
    from mwaa_headroom.harness.aws.doctor import Checked, PolicyAnswer
    from mwaa_headroom.harness.aws.policy import arn_of, check_policy, needs_of, policy_of
    from mwaa_headroom.harness.scenario.load import load_scenario

    if role is not None and (not role.strip() or set(role) & set("*?/")):
        raise UsageError(f"--role must be the name of one role of Airflow's, not '{role}'.")
    scenario = load_scenario(scenario_file, overrides=settings, variables=os.environ)
    arn = arn_of(scenario)
    needs = needs_of(scenario, arn, role)
    if policy_file is not None:
        findings = check_policy(_json_of(policy_file), needs, arn)
        lines = (Checked("policy", finding) for finding in findings)
        return _show(PolicyAnswer, lines, json_output)
    policy = policy_of(needs)
    if json_output:
        print_json(PolicyAnswer(policy))
    else:
        print(json.dumps(policy, indent=2))
    return ExitCode.OK


def _json_of(path: Path) -> Any:
    from mwaa_headroom.harness.files import read_text

    try:
        return json.loads(read_text(path, "policy file", UsageError))
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{path} is not valid JSON: {exc}.") from exc


def _show(
    answer: "Callable[[tuple[Checked, ...]], object]",
    lines: "Iterable[Checked]",
    json_output: bool,
    verdict: bool = False,
) -> int:
    """Print each line as it is found, with a mark, and a verdict; returns the exit code.

    What could not be asked for the same reason is one line, after the others.
    """
    from mwaa_headroom.analysis.report.sentences import told

    shown = []
    areas_not_asked: dict[Finding, list[str]] = {}
    for line in lines:
        shown.append(line)
        if line.finding.code == "doctor.not_asked":
            areas_not_asked.setdefault(line.finding, []).append(line.area)
        elif not json_output:
            mark = _REMARK if line.finding.code in _REMARKS else _MARKS[line.finding.severity]
            say(f"{mark} {line.area}: {told(line.finding)}")
    if not json_output:
        for finding, areas in areas_not_asked.items():
            say(f"{_MARKS[finding.severity]} {', '.join(areas)}: {told(finding)}")
    if json_output:
        print_json(answer(tuple(shown)))
    elif verdict:
        say(_verdict(shown))
    is_bad = any(line.finding.severity == "refusal" for line in shown)
    return ExitCode.USAGE if is_bad else ExitCode.OK


def _verdict(shown: "list[Checked]") -> str:
    """What a reader of many lines asks first: can it be run?"""
    from mwaa_headroom.analysis.report.words import counted

    severities = [line.finding.severity for line in shown]
    stops, spoils = severities.count("refusal"), severities.count("warning")
    see = f"; see {counted(spoils, 'line')} marked {_MARKS['warning']}" if spoils else ""
    if stops:
        marked = f"{counted(stops, 'line')} marked {_MARKS['refusal']}"
        return f"Not ready: mend what {marked} say{'s' if stops == 1 else ''}, the first one first."
    return f"Ready: nothing that was asked would stop a run{see}."
