"""From a TOML file, `HEADROOM_*` variables and flags to a checked `Scenario`.

Precedence: flag, then environment variable, then file. A variable or flag names a key by its path:
`--set limits.max_rate_per_s=20` or `HEADROOM_LIMITS__MAX_RATE_PER_S=20`. Of the table `limits`
variables, which nobody sees, may only lower a number. The rates of a stage that replays a trace are
filled in from its file.
"""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mwaa_headroom.analysis.nearest import did_you_mean
from mwaa_headroom.harness.errors import ScenarioError
from mwaa_headroom.harness.files import read_toml
from mwaa_headroom.harness.scenario.model import Limits, Scenario, Traffic
from mwaa_headroom.harness.traffic.stage_traces import stage_trace
from mwaa_headroom.harness.traffic.traces import trace_rates
from mwaa_headroom.harness.validation import refuse_secrets, validated

VARIABLE_PREFIX = "HEADROOM_"
_GROUPED_NUMBER = re.compile(r"[-+]?[0-9]+(_[0-9]+)+(\.[0-9_]+)?([eE].*)?")  # TOML's 1_0 is 10
# Limits that a variable may lower, each with the default that it is held against.
_LOWERED = {key: Limits.model_fields[key].default for key in ("max_rate_per_s", "max_in_flight")}
SECTIONS = ("question", "environment", "traffic", "recovery", "expect", "limits")


def load_scenario(
    path: Path, *, overrides: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> Scenario:
    """Read and check a scenario file.

    Args:
        path: the TOML file.
        overrides: `key.path=value` strings; the value is TOML, or else a plain string.
        variables: the process environment; only `HEADROOM_<SECTION>__<KEY>` names are read.

    Raises:
        ScenarioError: one sentence with the file and the key, or the trace file and the line.
    """
    tree = read_toml(path, "scenario file", ScenarioError)
    tree.setdefault("name", path.stem)
    for name, key_path, value in _from_variables(variables or {}):
        if key_path[0] == "limits":
            _refuse_looser(tree.get("limits"), name, key_path[-1], value)
        _put(tree, key_path, value, origin=path)
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ScenarioError(f"--set needs key.path=value, got '{text}'.")
        _put(tree, key.split("."), value, origin=path)
    _fill_in_trace_rates(tree, path)
    return check_scenario(tree, origin=str(path))


def check_scenario(tree: Mapping[str, Any], *, origin: str) -> Scenario:
    """Check an already parsed scenario, the rates of its traces filled in.

    Args:
        tree: such as an effective scenario, as saved with a run.
        origin: names it in errors.

    Raises:
        ScenarioError: one sentence with the origin and the key.
        UsageError: a name in it looks like a secret's, which no record may hold.
    """
    scenario = validated(Scenario, tree, origin=origin, error=ScenarioError)
    refuse_secrets(scenario.model_dump(mode="json"), where="the record of a run")
    return scenario


def _fill_in_trace_rates(tree: dict[str, Any], path: Path) -> None:
    """What is not as it should be is left as it is: the model finds better words for it."""
    traffic, stages = tree.get("traffic"), tree.get("stages")
    if not isinstance(traffic, dict) or traffic.get("arrivals") != "trace":
        return
    for index, stage in enumerate(stages if isinstance(stages, list) else []):
        if not isinstance(stage, dict):
            continue
        for key in ("rate_per_s", "peak_rate_per_s"):
            if key in stage:
                raise ScenarioError(
                    f"{path}: stages[{index}].{key} comes from the trace; leave it out."
                )
        name, duration_s = stage.get("trace_file"), stage.get("duration_s")
        if not (isinstance(duration_s, int | float) and 0 < duration_s < math.inf):
            continue
        if isinstance(name, str) and name:
            stage.update(_rates_of(path.parent / name, index, stage, traffic))


def _rates_of(
    trace_file: Path, index: int, stage: Mapping[str, Any], traffic: Mapping[str, Any]
) -> dict[str, float]:
    try:
        settings = Traffic.model_validate(traffic)
    except ValidationError:
        return {}  # told with the whole scenario
    trace = stage_trace(
        trace_file,
        index,
        column=settings.trace_column,
        speed=settings.trace_speed,
        scale=settings.trace_scale,
        seed=settings.seed,
    )
    if unknown := [name for name in trace.operations if name not in settings.mix]:
        raise ScenarioError(
            f"{trace_file} names '{unknown[0]}'{did_you_mean(unknown[0], settings.mix)} in its "
            f"column 'operation', which is not in traffic.mix ({', '.join(settings.mix)})."
        )
    if trace.operations and stage.get("operation") is not None:
        raise ScenarioError(
            f"{trace_file} says which operations are called, so stages[{index}].operation does not "
            "go with it; leave one out."
        )
    duration_s = float(stage["duration_s"])
    mean_per_s, peak_per_s = trace_rates(trace, duration_s)
    if mean_per_s == 0:
        raise ScenarioError(f"{trace_file} has no calls within the first {duration_s:g} s.")
    return {"rate_per_s": mean_per_s, "peak_rate_per_s": peak_per_s}


def _refuse_looser(limits: Any, name: str, key: str, text: str) -> None:
    before = (limits if isinstance(limits, dict) else {}).get(key, _LOWERED.get(key))
    value = _toml_value(text, name=name)
    are_numbers = all(type(each) in (int, float) for each in (before, value))
    if key in _LOWERED and are_numbers and value <= before:
        return
    raise ScenarioError(
        f"The environment variable {name} might let a run do more harm than the scenario says: set "
        f"limits.{key} in the file or with --set."
    )


def _from_variables(variables: Mapping[str, str]) -> list[tuple[str, list[str], str]]:
    found = []
    for name in sorted(variables):
        key_path = name.removeprefix(VARIABLE_PREFIX).lower().split("__")
        if not name.startswith(VARIABLE_PREFIX) or len(key_path) < 2:
            continue
        if key_path[0] not in SECTIONS:
            raise ScenarioError(
                f"The environment variable {name} does not name a table of a scenario"
                f"{did_you_mean(key_path[0], SECTIONS)}; choose from {', '.join(SECTIONS)}."
            )
        found.append((name, key_path, variables[name]))
    return found


def _put(tree: dict[str, Any], key_path: list[str], text: str, *, origin: Path) -> None:
    *parents, last = key_path
    table: Any = tree
    for part in parents:
        table = table.setdefault(part, {}) if isinstance(table, dict) else None
        if not isinstance(table, dict):
            raise ScenarioError(f"{origin}: '{'.'.join(key_path)}' is not a key of a table.")
    table[last] = _toml_value(text, name=".".join(key_path))


def _toml_value(text: str, *, name: str) -> Any:
    if _GROUPED_NUMBER.fullmatch(text.strip()):
        raise ScenarioError(f"{name} is '{text}': write numbers without '_'.")
    try:
        tree = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return tree["value"] if len(tree) == 1 else text  # a line break would begin another key
