"""`headroom validate`: is this scenario file right, and what will it do?"""

import json
import os
from pathlib import Path

import click

from harness.cli.options import as_json, overrides

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
    highest = max(stage.highest_rate_per_s for stage in scenario.stages)
    click.echo(
        f"{scenario_file} is valid: a {scenario.question.ask} question to "
        f"'{scenario.environment.name}' ({scenario.environment.kind}), {len(scenario.stages)} "
        f"stage(s), {seconds:g} s of load, up to {highest:g} calls/s."
    )
