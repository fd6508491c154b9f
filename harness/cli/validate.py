"""`headroom validate`: is this scenario file right, and what will it do?"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import as_json, overrides

if TYPE_CHECKING:
    from harness.scenario.model import Scenario, Stage

SCHEMA_VERSION = 1


@click.command("validate")
@click.argument("scenario_file", metavar="SCENARIO", type=click.Path(path_type=Path))
@overrides
@as_json
def validate_command(scenario_file: Path, settings: tuple[str, ...], json_output: bool) -> None:
    """Check a SCENARIO file and print what it would do, without touching any environment."""
    from harness.scenario import load_scenario

    scenario = load_scenario(scenario_file, overrides=settings, variables=os.environ)
    if json_output:
        answer = {
            "schema_version": SCHEMA_VERSION,
            "valid": True,
            "scenario": scenario.model_dump(mode="json"),
        }
        click.echo(json.dumps(answer, indent=2))
        return
    seconds = sum(stage.duration_s for stage in scenario.stages)
    highest = max(scenario.highest_rate_per_s(stage) for stage in scenario.stages)
    click.echo(
        f"{scenario_file} is valid: a {scenario.question.ask} question to "
        f"'{scenario.environment.name}' ({scenario.environment.kind}), {len(scenario.stages)} "
        f"stage(s), {seconds:g} s of load, up to {highest:.4g} calls/s."
    )
    for stage in scenario.stages:
        detail = _detail(scenario, stage)
        if detail:
            click.echo(f"  {stage.name}: {detail}")


def _detail(scenario: "Scenario", stage: "Stage") -> str:
    """What a reader of the file cannot see at once: what a trace holds, what users will do."""
    if stage.users is not None:
        return (
            f"{stage.users} users who think {scenario.traffic.think_time_s:g} s on average before "
            f"each call (closed): at most {scenario.highest_rate_per_s(stage):.4g} calls/s, fewer "
            "the slower the answers"
        )
    if stage.trace_file is not None and stage.rate_per_s is not None:
        return (
            f"replays {stage.duration_s:g} s of {stage.trace_file}: about "
            f"{stage.rate_per_s * stage.duration_s:.0f} calls, {stage.rate_per_s:.4g} calls/s on "
            f"average, up to {stage.peak_rate_per_s:.4g} in one second"
        )
    return ""
