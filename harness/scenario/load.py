"""From a TOML file, `HEADROOM_*` variables and flags to a checked `Scenario`.

Precedence: flag, then environment variable, then file. A variable or flag names a key by its path:
`--set limits.max_rate_per_s=20` or `HEADROOM_LIMITS__MAX_RATE_PER_S=20`.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import ScenarioError
from harness.scenario.model import Scenario

VARIABLE_PREFIX = "HEADROOM_"
SECTIONS = ("question", "environment", "traffic", "expect", "limits")


def load_scenario(
    path: Path, *, overrides: Sequence[str] = (), variables: Mapping[str, str] | None = None
) -> Scenario:
    """Read and check a scenario file.

    Args:
        path: the TOML file.
        overrides: `key.path=value` strings; the value is TOML, or else a plain string.
        variables: the process environment; only `HEADROOM_<SECTION>__<KEY>` names are read.

    Raises:
        ScenarioError: one sentence with the file and the key.
    """
    tree = _read_toml(path)
    tree.setdefault("name", path.stem)
    for key_path, value in _from_variables(variables or {}):
        _put(tree, key_path, value, origin=path)
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ScenarioError(f"--set needs key.path=value, got '{text}'.")
        _put(tree, key.split("."), value, origin=path)
    return check_scenario(tree, origin=str(path))


def check_scenario(tree: Mapping[str, Any], *, origin: str) -> Scenario:
    """Check an already parsed scenario; `origin` names it in errors."""
    try:
        return Scenario.model_validate(tree)
    except ValidationError as exc:
        raise ScenarioError(f"{origin}: {_first_problem(exc)}") from exc


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ScenarioError(f"There is no scenario file '{path}'.") from exc
    except OSError as exc:
        raise ScenarioError(f"Cannot read '{path}': {exc.strerror}.") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ScenarioError(f"{path} is not valid TOML: {exc}.") from exc


def _from_variables(variables: Mapping[str, str]) -> list[tuple[list[str], str]]:
    found = []
    for name in sorted(variables):
        key_path = name.removeprefix(VARIABLE_PREFIX).lower().split("__")
        if not name.startswith(VARIABLE_PREFIX) or len(key_path) < 2:
            continue
        if key_path[0] not in SECTIONS:
            raise ScenarioError(
                f"The environment variable {name} names no table of a scenario; known are "
                f"{', '.join(SECTIONS)}."
            )
        found.append((key_path, variables[name]))
    return found


def _put(tree: dict[str, Any], key_path: list[str], text: str, *, origin: Path) -> None:
    *parents, last = key_path
    table: Any = tree
    for part in parents:
        table = table.setdefault(part, {}) if isinstance(table, dict) else None
        if not isinstance(table, dict):
            raise ScenarioError(f"{origin}: '{'.'.join(key_path)}' is not a key of a table.")
    table[last] = _toml_value(text)


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    first = problems[0]
    key = _key_path(first["loc"])
    rest = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{key}{_in_words(first)}{rest}."


def _key_path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part not in ("local", "simulated", "aws"):  # pydantic's tags of the union
            text += f".{part}" if text else part
    return f"'{text}' " if text else ""


def _in_words(problem: Any) -> str:
    kind, message = problem["type"], problem["msg"]
    if kind == "extra_forbidden":
        return "is not a known key"
    if kind == "missing":
        return "is missing"
    message = message.removeprefix("Value error, ").rstrip(".")
    if kind == "value_error":
        return f": {message}" if problem["loc"] else message
    return f"is wrong: {message[0].lower()}{message[1:]}, got {problem['input']!r}"
