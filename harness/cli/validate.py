"""`headroom validate`: is this scenario file right, and what will it do?"""

import math
import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mwaa_headroom.harness.cli.options import as_json, example, overrides, print_json
from mwaa_headroom.harness.cli.streams import say

if TYPE_CHECKING:
    from mwaa_headroom.harness.scenario.model import Scenario, Stage

_FEWEST_RATES = 3  # with two, order tells little


@dataclass(frozen=True, slots=True)
class Validated:
    """What `headroom validate` found."""

    valid: bool  # always true: what is wrong ends the command with an error
    warnings: tuple[str, ...]
    scenario: dict[str, Any]  # its keys as in the file, defaults filled in


@click.command(
    "validate", epilog=example("headroom validate scenarios/smoke.toml --set traffic.seed=7")
)
@click.argument("scenario_file", metavar="SCENARIO", type=click.Path(path_type=Path))
@overrides
@as_json
def validate_command(scenario_file: Path, settings: tuple[str, ...], json_output: bool) -> None:
    """Check a SCENARIO file and print what it would do, without touching any environment."""
    from mwaa_headroom.analysis.report.sentences import told
    from mwaa_headroom.analysis.report.words import counted
    from mwaa_headroom.harness.scenario.load import load_scenario
    from mwaa_headroom.harness.traffic.rate_cap import spaced_stages
    from mwaa_headroom.harness.traffic.stage_traces import how_traces_were_read, traces_beside

    scenario = load_scenario(scenario_file, overrides=settings, variables=os.environ)
    warnings = [
        *scenario_warnings(scenario),
        *_long_paths(scenario),
        *map(told, spaced_stages(scenario)),
    ]
    if json_output:
        print_json(
            Validated(
                valid=True, warnings=tuple(warnings), scenario=scenario.model_dump(mode="json")
            )
        )
        return
    load_s = sum(stage.duration_s for stage in scenario.stages)
    highest_per_s = max(scenario.highest_rate_per_s(stage) for stage in scenario.stages)
    say(
        f"{scenario_file} is valid: a {scenario.question.ask} question to "
        f"'{scenario.environment.name}' ({scenario.environment.kind}), "
        f"{counted(len(scenario.stages), 'stage')}, {load_s:g} s of load, "
        f"up to {highest_per_s:.4g} calls/s."
    )
    how_read = how_traces_were_read(scenario, traces_beside(scenario, scenario_file))
    for index, stage in enumerate(scenario.stages):
        if details := list(_details(scenario, stage)):
            say(f"  {stage.name}: {'; '.join(details)}")
        if index in how_read:
            say(f"    {how_read[index]}")
    if scenario.recovery_rate_per_s is not None:
        longest_s = scenario.recovery.longest_s
        say(
            f"  After each stage that breaks the SLO: up to {longest_s:g} s more of light load, "
            f"{scenario.recovery_rate_per_s:.4g} calls/s; at most "
            f"{load_s + len(scenario.stages) * longest_s:g} s of load in all."
        )
    for warning in warnings:
        say(f"Warning: {warning}")


def scenario_warnings(scenario: "Scenario") -> Iterator[str]:
    """What the scenario by itself lets one expect of its answers."""
    yield from _recovery_warnings(scenario)
    yield from _design_warnings(scenario)
    yield from _metric_warnings(scenario)


def _details(scenario: "Scenario", stage: "Stage") -> Iterator[str]:
    """What a reader of the file cannot see at once: what a trace holds, what users will do."""
    if stage.operation is not None:
        is_plain = stage.trace_file is None and stage.rate_per_s
        rate = f" at {stage.rate_per_s:g} calls/s" if is_plain else ""
        yield f"sends only {stage.operation}{rate}"
    if stage.users is not None:
        yield (
            f"{stage.users} users who think {scenario.traffic.think_time_s:g} s on average before "
            f"each call (closed): at most {scenario.highest_rate_per_s(stage):.4g} calls/s, fewer "
            "the slower the answers"
        )
    if stage.trace_file is not None and stage.rate_per_s is not None:
        yield (
            f"replays {stage.duration_s:g} s of {stage.trace_file}: about "
            f"{stage.rate_per_s * stage.duration_s:.0f} calls, {stage.rate_per_s:.4g} calls/s on "
            f"average, up to {stage.peak_rate_per_s:.4g} in one second"
        )


def _long_paths(scenario: "Scenario") -> Iterator[str]:
    """Paths that InvokeRestApi may refuse, with ids of DAG runs as short as ours."""
    from mwaa_headroom.analysis.report.sentences import told
    from mwaa_headroom.harness.aws.preflight import long_paths
    from mwaa_headroom.harness.traffic.operations import (
        Targets,
        complete_parameters,
        run_id_prefix,
    )

    mix = scenario.traffic.mix.values()
    dags = [complete_parameters(c.operation, c.parameters).get("dag_id", "") for c in mix]
    targets = Targets("3.0.0", "", dict.fromkeys(dags, (f"{run_id_prefix('')}s0",)))
    yield from map(told, long_paths(scenario, targets))


def _design_warnings(scenario: "Scenario") -> Iterator[str]:
    """Stages whose order lets a drift of the host look like the cost of calls."""
    from mwaa_headroom.analysis.demand import WITH_THE_LOAD

    stages = [s for s in scenario.stages if s.rate_per_s is not None and s.operation is None]
    if (
        scenario.environment.kind == "simulated"  # has no host that could drift
        or len({stage.rate_per_s for stage in stages}) < _FEWEST_RATES
    ):
        return
    middles_s, now_s = [], 0.0
    for stage in scenario.stages:
        if stage in stages:
            middles_s.append(now_s + stage.duration_s / 2)
        now_s += stage.duration_s
    correlation = statistics.correlation(middles_s, [stage.rate_per_s or 0.0 for stage in stages])
    if correlation**2 > WITH_THE_LOAD:
        yield (
            f"The load {'rises' if correlation > 0 else 'falls'} with time through the stages "
            f"(correlation {correlation:.2f}), so a drift of the host will hardly be told from "
            "what calls cost, and what one webserver serves will be known about half as well; "
            "run the rates up and down again, each at least twice."
        )


def _metric_warnings(scenario: "Scenario") -> Iterator[str]:
    """Stages in which perhaps no period of AWS's metrics lies, and too few of them in all."""
    from mwaa_headroom.analysis.demand import FEWEST_PERIODS
    from mwaa_headroom.analysis.report.words import enumerated

    if scenario.environment.kind != "aws":
        return
    period_s = scenario.environment.metric_period_s
    # A stage begins anywhere in a period, so its first and its last one may lie in it only partly.
    whole = {
        stage.name: max(int((stage.duration_s - stage.warmup_s) // period_s) - 1, 0)
        for stage in scenario.stages
    }
    if short := [name for name, periods in whole.items() if not periods]:
        yield (
            f"AWS's metrics have periods of {period_s} s, of which perhaps none lies within "
            f"{enumerated(short)}, so its webservers and their CPU will not be known: hold each "
            f"stage for {2 * period_s} s or more after its warm-up, and for 8 minutes to see "
            "autoscaling."
        )
    if sum(whole.values()) < FEWEST_PERIODS:
        yield (
            f"As few as {sum(whole.values())} whole metric periods may lie within the stages, and "
            f"what a call costs the webservers takes {FEWEST_PERIODS}: make the stages longer."
        )


def _recovery_warnings(scenario: "Scenario") -> Iterator[str]:
    """Lines of the SLO that a recovery phase makes too few calls to judge."""
    from mwaa_headroom.analysis.recovery import call_lines
    from mwaa_headroom.analysis.slo import parse_slo
    from mwaa_headroom.analysis.statistics import values_for_percentile

    rate_per_s, hold_s = scenario.recovery_rate_per_s, scenario.recovery.hold_s
    if rate_per_s is None:
        return
    weights = {label: choice.weight for label, choice in scenario.traffic.mix.items()}
    for slo in call_lines([parse_slo(text) for text in scenario.slo]):
        if slo.percentile is None:
            continue
        is_of_one = slo.selector_key == "operation"
        share = weights[str(slo.selector_value)] / sum(weights.values()) if is_of_one else 1.0
        needed = values_for_percentile(slo.percentile)
        calls = share * rate_per_s * hold_s
        if calls < needed:
            yield (
                f"'{slo.text}' needs at least {needed} calls in recovery.hold_s = {hold_s:g} s, "
                f"and {rate_per_s:.4g} calls/s make about {calls:.3g}, so after an overload it "
                "will not be known when the SLO held again; raise recovery.hold_s to "
                f"{math.ceil(needed / (share * rate_per_s))} or recovery.rate_per_s to "
                f"{math.ceil(10 * needed / (share * hold_s)) / 10:g}."
            )
