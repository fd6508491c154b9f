"""Write docs/reference.md and docs/schemas/ from the code: `make reference`. Tests compare them.

What a key means is the string below its declaration; what a column of a record or a field of a
result means is the comment beside it.
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mwaa_headroom.analysis import outcomes, schema, slo
from mwaa_headroom.analysis.comparison.compare import Comparison
from mwaa_headroom.analysis.comparison.difference import RunDifference
from mwaa_headroom.analysis.comparison.history import History
from mwaa_headroom.analysis.comparison.upgrade import UpgradeAnswer
from mwaa_headroom.analysis.observed import Observed
from mwaa_headroom.analysis.planning.capacity_curve import CapacityCurve
from mwaa_headroom.analysis.planning.size import SizingAnswer
from mwaa_headroom.analysis.policy.scaling_rule import PolicyParameters
from mwaa_headroom.analysis.policy.what_if import WhatIf
from mwaa_headroom.analysis.report.as_json import SCHEMA_VERSION
from mwaa_headroom.analysis.report.json_schema import json_schema
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.harness import errors
from mwaa_headroom.harness.aws.doctor import Examined, PolicyAnswer
from mwaa_headroom.harness.cli.aws import WrittenScenario
from mwaa_headroom.harness.cli.clean import CleanedUp
from mwaa_headroom.harness.cli.local import LocalEnvironment, LocalStatus, LocalStopped
from mwaa_headroom.harness.cli.main import app
from mwaa_headroom.harness.cli.runs import OpenedReport
from mwaa_headroom.harness.cli.validate import Validated
from mwaa_headroom.harness.local import settings
from mwaa_headroom.harness.local.behaviours import BEHAVIOURS, SHOWN_BY
from mwaa_headroom.harness.record.listing import ListOfRuns
from mwaa_headroom.harness.run.verifying import Snapshot
from mwaa_headroom.harness.scenario import model
from mwaa_headroom.harness.traffic.operations import OPERATIONS, Parameter

PAGE = Path(__file__).with_name("reference.md")
SCHEMAS = Path(__file__).with_name("schemas")
SNAPSHOTS = Path(__file__).with_name("aws-snapshots")
NOUNS = {str: "string", int: "integer", float: "number", bool: "true or false"}
KEYS = ("key", "type", "default", "meaning")
FILLED_IN = {  # by what reads the file
    (model.Scenario, "name"): "the file's name",
    (model.OperationChoice, "operation"): "the label",
    (model.OperationChoice, "weight"): "`1`",
}


def reference() -> str:
    """The whole page."""
    parts = (
        "# Reference",
        "Made from the code by `make reference`; edit the code, not this page.",
        "- [Scenario](#scenario)\n- [SLO](#slo)\n- [Commands](#commands)\n"
        "- [Exit codes](#exit-codes)\n- [JSON](#json)\n- [Record](#record)\n- [What AWS is like]"
        "(#what-aws-is-like)",
        *scenario(),
        *slo_lines(),
        *commands(),
        *exit_codes(),
        *json_outputs(),
        *record(),
        *what_aws_is_like(),
    )
    return "\n\n".join(parts) + "\n"


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """As Markdown; `|` inside a cell is escaped."""
    lines = [head, ("---",) * len(head), *rows]
    cells = ((cell.replace("|", "\\|") for cell in line) for line in lines)
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in cells)


# Scenarios


def scenario() -> Iterator[str]:
    """Every table of a scenario file."""
    yield "## Scenario"
    yield (
        "A TOML file. Precedence: `--set KEY=VALUE`, then `HEADROOM_<TABLE>__<KEY>` variables, "
        "then the file. Unknown keys are errors. Names end with their unit: `_s` seconds, `_per_s` "
        "per second."
    )
    yield from keys_of(model.Scenario, "Top level")
    yield from keys_of(model.Question, "[question]")
    yield "### [environment]"
    yield "`kind` decides which keys there are."
    yield from keys_of(model.AwsSettings, '#### kind = "aws"')
    yield from keys_of(settings.StandInSettings, '#### kind = "local" or "simulated"')
    yield from keys_of(
        settings.LocalSettings, '#### kind = "local"', without=settings.StandInSettings
    )
    yield from keys_of(
        settings.SimulatedSettings, '#### kind = "simulated"', without=settings.StandInSettings
    )
    yield "The defaults of `demand_s`:"
    demands = settings.SIMULATED_DEMANDS_S.items()
    yield table(
        ("operation", "CPU-seconds"), ((f"`{key}`", f"{value:g}") for key, value in demands)
    )
    yield from keys_of(settings.GatewaySettings, "[environment.gateway]")
    yield from keys_of(settings.ThrottleSettings, "[environment.gateway.throttle]")
    yield "### [environment.autoscaler]"
    yield table(KEYS, policy_rows())
    yield from keys_of(settings.MetricsSettings, "[environment.metrics]")
    yield from keys_of(model.Traffic, "[traffic]")
    yield from keys_of(model.OperationChoice, "[traffic.mix]")
    yield (
        'An entry is `label = weight` or `label = { weight = 1, operation = "list_dag_runs", limit '
        "= 100 }`."
    )
    yield "### Operations"
    yield table(("operation", "parameters, with defaults"), operation_rows())
    yield from keys_of(model.Stage, "[[stages]]")
    yield from keys_of(model.Recovery, "[recovery]")
    yield from keys_of(model.Expectations, "[expect]")
    yield from keys_of(model.Limits, "[limits]")


def keys_of(
    table_model: type[BaseModel], heading: str, *, without: type[BaseModel] | None = None
) -> Iterator[str]:
    """A heading and the keys of one table."""
    yield heading if heading.startswith("#") else f"### {heading}"
    meanings = {
        name: text
        for one in reversed(table_model.__mro__)
        for name, text in meanings_of(one).items()
    }
    left_out = set(without.model_fields) if without else set()
    yield table(
        KEYS,
        (
            (
                f"`{name}`",
                type_text(field),
                FILLED_IN.get((table_model, name)) or default_text(field),
                meanings[name],
            )
            for name, field in table_model.model_fields.items()
            if name not in left_out
        ),
    )


def meanings_of(owner: type) -> dict[str, str]:
    """The string below each declaration of a class, by name."""
    if owner.__module__.partition(".")[0] != "mwaa_headroom":
        return {}
    source = textwrap.dedent(inspect.getsource(owner))
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    found = {}
    for declared, below in pairwise(body):
        target = declared.target if isinstance(declared, ast.AnnAssign) else None
        if isinstance(declared, ast.Assign):
            (target,) = declared.targets
        is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(target, ast.Name) and is_text:
            found[target.id] = " ".join(str(below.value.value).split())
    return found


def type_text(field: FieldInfo) -> str:
    """Such as `integer, 1 to 5`."""
    noun, bounds = described(field.annotation)
    return ", ".join(filter(None, (noun, bounds_text([*field.metadata, *bounds]))))


def described(annotation: Any) -> tuple[str, list[Any]]:
    """What values a key takes, and their bounds."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        noun, bounds = described(arguments[0])
        return noun, [*bounds, *arguments[1:]]
    if origin is Literal:
        *values, last = (f"`{toml(value)}`" for value in arguments)
        return f"{', '.join(values)} or {last}" if values else last, []
    if origin in (Union, UnionType):
        kinds = [described(one) for one in arguments if one is not NoneType]
        return kinds[0][0], kinds[0][1]
    if origin is tuple:
        noun, _ = described(arguments[0])
        if noun == "table":
            return "array of tables", []
        return (f"array of {noun}" if "`" in noun else f"array of {noun}s"), []
    return NOUNS.get(annotation, "table"), []


def bounds_text(metadata: list[Any]) -> str:
    """Of the constraints that pydantic knows."""
    flat = [inner for one in metadata for inner in getattr(one, "metadata", None) or [one]]

    def first(name: str) -> Any:
        values = (getattr(one, name, None) for one in flat)
        return next((value for value in values if value is not None), None)

    pattern, least, most = first("pattern"), first("ge"), first("le")
    if pattern is not None:
        return f"matches `{pattern}`"
    if least is not None and most is not None:
        return f"{least:g} to {most:g}"
    signs = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
    parts = [f"{sign} {first(name):g}" for name, sign in signs if first(name) is not None]
    if first("min_length"):
        parts.append("not empty")
    return ", ".join(parts)


def default_text(field: FieldInfo) -> str:
    """What is taken when the key is not given."""
    if field.is_required():
        return "required"
    if field.default is PydanticUndefined:
        return "see below" if field.annotation != dict[str, Any] else "none"
    if isinstance(field.default, BaseModel | PolicyParameters):
        return "see below"
    return "none" if field.default is None else f"`{toml(field.default)}`"


def toml(value: object) -> str:
    """A value as it is written in a scenario."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return "[]" if value == () else f"{value}"


def policy_rows() -> Iterator[tuple[str, ...]]:
    """The scaling rule is a dataclass, so its bounds are found by trying."""
    meanings = meanings_of(PolicyParameters)
    for one in fields(PolicyParameters):
        noun, _ = described(one.type)
        bound = ""
        if noun in ("integer", "number"):
            bound = "≥ 0" if is_allowed(one.name, 0) else {"integer": "≥ 1", "number": "> 0"}[noun]
        kind = ", ".join(filter(None, (noun, bound)))
        yield f"`{one.name}`", kind, f"`{toml(one.default)}`", meanings[one.name]


def is_allowed(name: str, value: int) -> bool:
    """Whether the scaling rule takes this value."""
    try:
        PolicyParameters(**{name: value})  # type: ignore[arg-type]
    except ValueError:
        return False
    return True


def operation_rows() -> Iterator[tuple[str, str]]:
    """Every operation with its parameters."""
    for name, operation in OPERATIONS.items():
        shown = (parameter_text(key, value) for key, value in operation.parameters.items())
        yield f"`{name}`", "; ".join(shown)


def parameter_text(name: str, parameter: Parameter) -> str:
    """Such as `limit = 100` (1 to 1000)."""
    default = "{}" if parameter.default == {} else toml(parameter.default)
    bounds = f" ({parameter.bounds})" if parameter.bounds else ""
    return f"`{name} = {default}`{bounds}"


# SLO


def slo_lines() -> Iterator[str]:
    """The grammar, and which function goes with which metric."""
    yield "## SLO"
    grammar, _, meanings = (
        (slo.__doc__ or "").partition("\n\n")[2].partition("What a name means:\n\n")
    )
    yield 'Lines such as `"p95(latency{operation=list_dags}) < 500ms"`:'
    yield code(grammar)
    yield "What a name means:"
    yield code(meanings)
    yield table(
        ("metric", "functions", "unit", "selectors"),
        (
            (
                f"`{name}`",
                ", ".join(metric.functions),
                " or ".join(filter(None, metric.units)) or "none",
                ", ".join(metric.selectors),
            )
            for name, metric in slo.METRICS.items()
        ),
    )
    yield f"`layer` is one of {listed(slo.ERROR_LAYERS)}."
    yield f"`outcome` is one of {listed(slo.ERROR_OUTCOMES)}."
    yield "`operation` is a label of the mix."


def code(text: str) -> str:
    """As a block that is shown as it is."""
    return f"```\n{textwrap.dedent(text).strip()}\n```"


def listed(names: tuple[str, ...]) -> str:
    """Names as code, with commas."""
    return ", ".join(f"`{name}`" for name in names)


# Commands


def commands() -> Iterator[str]:
    """Every command with its options."""
    yield "## Commands"
    yield "`headroom --help` and `headroom COMMAND --help` print the same, and an example."
    yield from command("headroom", app, level="###")


def command(path: str, one: click.Command, *, level: str) -> Iterator[str]:
    """A command and those below it."""
    context = click.Context(one, info_name=path)
    if path != "headroom":
        yield f"{level} {path}"
        yield f"`{path} {' '.join(one.collect_usage_pieces(context))}`"
    yield inspect.cleandoc(one.help or "")
    rows = [option_row(option, context) for option in one.params]
    if known := [row for row in rows if row]:
        yield table(("option", "meaning"), iter(known))
    if isinstance(one, click.Group):
        for name, below in one.commands.items():
            yield from command(f"{path} {name}", below, level=level)


def option_row(option: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    """How it is written, and what it does; None for arguments and `--version`."""
    if not isinstance(option, click.Option) or option.hidden or "--version" in option.opts:
        return None
    shown = option.get_help_record(context)
    return (f"`{shown[0]}`", " ".join(shown[1].split())) if shown else None


# Exit codes


def exit_codes() -> Iterator[str]:
    """What each one means."""
    meanings = meanings_of(errors.ExitCode)
    yield "## Exit codes"
    yield table(
        ("code", "name", "meaning"),
        ((str(code.value), f"`{code.name}`", meanings[code.name]) for code in errors.ExitCode),
    )


# JSON

# Of each command with `--json`: what it prints, as a dataclass.
RESULTS: Mapping[str, type] = {
    "run": RunAnalysis,
    "report": RunAnalysis,
    "collect": RunAnalysis,
    "runs": ListOfRuns,
    "open": OpenedReport,
    "diff": RunDifference,
    "compare": Comparison,
    "history": History,
    "capacity": CapacityCurve,
    "size": SizingAnswer,
    "what-if": WhatIf,
    "observe": Observed,
    "upgrade": UpgradeAnswer,
    "validate": Validated,
    "init": WrittenScenario,
    "policy": PolicyAnswer,
    "doctor": Examined,
    "clean": CleanedUp,
    "local up": LocalEnvironment,
    "local status": LocalStatus,
    "local down": LocalStopped,
    "local verify": Snapshot,
}


def json_outputs() -> Iterator[str]:
    """Which schema goes with which command."""
    yield "## JSON"
    yield (
        "What `--json` prints on standard output. Names end with their unit: `_s` seconds (times: "
        "since the epoch, UTC), `_per_s` per second, `_percent`, `_fraction`. All keys of a schema "
        "are always there; what is not known is null."
    )
    yield (
        f"`schema_version` is {SCHEMA_VERSION}. It is raised when a key goes, gets another name, "
        "unit, type or meaning; new keys, and new words where a schema does not list them, may "
        "come without, so ignore what you do not know."
    )
    yield table(
        ("command", "JSON Schema"),
        (
            (f"`headroom {name}`", f"[{name.replace(' ', '-')}](schemas/{schema_file(name)})")
            for name in RESULTS
        ),
    )


def schema_file(command: str) -> str:
    """The name of a command's schema."""
    return f"{command.replace(' ', '-')}.json"


def schemas() -> dict[str, str]:
    """Every schema by the name of its file."""
    return {
        schema_file(name): json.dumps(json_schema(result, comments_of), indent=1) + "\n"
        for name, result in RESULTS.items()
    }


PYTHON_WORDS = {"None": "null", "True": "true", "False": "false"}


def comments_of(owner: type) -> dict[str, str]:
    """The comment beside each field of a dataclass, by name, in JSON's words."""
    source = textwrap.dedent(inspect.getsource(owner))
    comments = re.findall(r"(?m)^    (\w+): .*?  # (.+)$", source)
    word = re.compile(rf"\b({'|'.join(PYTHON_WORDS)})\b")
    return {name: word.sub(lambda found: PYTHON_WORDS[found[1]], text) for name, text in comments}


# Record


def record() -> Iterator[str]:
    """Files, columns, outcomes and events."""
    text = schema.__doc__ or ""
    yield "## Record"
    yield f"Schema version {schema.SCHEMA_VERSION}."
    yield code(text[text.index("A run directory holds:") :])
    yield "### Columns of requests"
    yield columns("REQUESTS_SCHEMA")
    yield "### Columns of metrics"
    yield columns("METRICS_SCHEMA")
    yield "### Outcomes"
    yield "Every outcome is attributed to one layer."
    yield table(("outcome", "layer"), pairs(outcomes.LAYER_OF_OUTCOME))
    yield "### Events"
    yield (
        "One JSON object a line, with `time_s`, `kind`, `source` "
        f"({listed(schema.EVENT_SOURCES)}) and the keys of its kind."
    )
    yield table(
        ("kind", "further keys"),
        ((f"`{kind}`", listed(keys)) for kind, keys in schema.EVENT_KINDS.items()),
    )


def pairs(layers: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Of outcomes and layers."""
    for outcome, layer in layers.items():
        yield f"`{outcome}`", layer or ""


def columns(name: str) -> str:
    """Of one table, with the comment beside each column."""
    source = inspect.getsource(schema)
    block = source[source.index(f"{name}: Final") :]
    comments = dict(re.findall(r'pa\.field\("(\w+)".*\),  # (.*)', block[: block.index("\n)\n")]))
    return table(
        ("column", "type", "may be null", "meaning"),
        (
            (f"`{one.name}`", str(one.type), "yes" if one.nullable else "", comments[one.name])
            for one in getattr(schema, name)
        ),
    )


# What AWS is like

SETTINGS = {
    "gateway": settings.GatewaySettings,
    "gateway.throttle": settings.ThrottleSettings,
    "metrics": settings.MetricsSettings,
    "autoscaler": PolicyParameters,
}
BASIS = re.compile(r"(?s)(.*?) ?\b(Documented|Third party|Assumed|Local)\b(?:: (.*))?\.$")


def what_aws_is_like() -> Iterator[str]:
    """Every behaviour of the stand-in, where it is from, and whether it was seen on AWS."""
    yield "## What AWS is like"
    yield (
        "How the local environments behave where AWS is concerned: documented by AWS, seen on AWS "
        "by a third party, or assumed. `headroom local verify --against aws` shows what of it is "
        "so; its snapshots in `docs/aws-snapshots/` fill the last column."
    )
    rows = (*setting_rows(), *behaviour_rows())
    yield table(("behaviour", "setting", "from", "validated on AWS"), iter(rows))


def setting_rows() -> Iterator[tuple[str, ...]]:
    """Of the settings that AWS has an opinion about."""
    for place, owner in SETTINGS.items():
        for name, text in meanings_of(owner).items():
            meaning, basis, source = basis_of(text)
            if basis != "Local":
                key = f"{place}.{name}"
                default = toml(getattr(owner(), name))
                shown = "" if name == "throttle" else f" = {default}".replace(" = None", ": none")
                came = ": ".join(filter(None, (basis.lower(), source)))
                yield meaning, f"`{key}{shown}`", came, validated(SHOWN_BY.get(key, ""))


def basis_of(meaning: str) -> tuple[str, str, str]:
    """What a setting means, where its default is from, and by whom or why."""
    found = BASIS.fullmatch(meaning)
    if found is None:
        raise ValueError(f"It does not end with where it is from: {meaning}")
    return found[1].rstrip(), found[2], found[3] or ""


def behaviour_rows() -> Iterator[tuple[str, ...]]:
    """Of what is no setting."""
    for one in BEHAVIOURS:
        came = ": ".join(filter(None, (one.basis.lower(), one.source)))
        yield f"{one.what}.", "", came, validated(one.check)


def validated(check: str) -> str:
    """When a call of `headroom local verify` was last as the stand-in has it, and where."""
    seen = [json.loads(path.read_text(encoding="utf-8")) for path in SNAPSHOTS.glob("*.json")]
    for one in sorted(seen, key=lambda snapshot: str(snapshot["date"]), reverse=True):
        call = one["calls"].get(check, {"verdict": "not tried"})
        if call["verdict"] != "not tried":
            return f"{call['verdict']}, {one['date']}, {one['region']}, {one['airflow_version']}"
    return "not yet" if check else "no call shows it"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    SCHEMAS.mkdir(exist_ok=True)
    for file, text in schemas().items():
        (SCHEMAS / file).write_text(text, encoding="utf-8")
