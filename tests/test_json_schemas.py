"""The published schemas are those of the code, and what commands print is as they say."""

import json
import math
import runpy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click
import pytest
from json_outputs import SCHEMAS, checked
from jsonschema import Draft202012Validator, ValidationError

from mwaa_headroom.analysis.findings import Finding, note
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.json_schema import json_schema
from mwaa_headroom.analysis.results import Verdict
from mwaa_headroom.analysis.slo import Slo, parse_slo
from mwaa_headroom.harness.cli.main import app
from mwaa_headroom.harness.cli.options import print_json
from mwaa_headroom.harness.record.listing import ListedRun, ListOfRuns

MADE = runpy.run_path(str(SCHEMAS.parent / "make_reference.py"))


def test_the_schemas_are_what_the_code_says() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in SCHEMAS.iterdir()}
    assert files == MADE["schemas"](), "run `make reference`"


def commands_with_json(group: click.Group, path: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_with_json(command, f"{path}{name} ")
        elif any("--json" in option.opts for option in command.params):
            yield f"{path}{name}"


def test_every_command_that_prints_json_has_a_schema() -> None:
    assert sorted(commands_with_json(app)) == sorted(MADE["RESULTS"])


def test_what_is_not_as_a_schema_says_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    """What commands print is checked where they are tested, by `json_outputs.checked`."""
    print_json(ListOfRuns("runs", (ListedRun("a", "runs/a", "met", tags={"n": "1"}),)))
    right = checked("runs", capsys.readouterr().out)
    (run,) = right["runs"]
    for wrong in (
        {"folder": "runs", "runs": []},
        {**right, "new": 1},
        {**right, "schema_version": 2},
        {**right, "runs": [{**run, "status": 1}]},
        {**right, "runs": [{**run, "verdict": "fine"}]},
        {**right, "runs": [{**run, "tags": {"n": 1}}]},
    ):
        with pytest.raises(ValidationError):
            checked("runs", json.dumps(wrong))


@dataclass(frozen=True)
class Everything:
    """What `as_json` is given.

    More about it.
    """

    error_rate: float
    line: Slo
    why: Finding
    pairs: tuple[tuple[str, int], ...]
    by_name: dict[str, Verdict | None]
    events: tuple[dict[str, object], ...] = ()


def test_a_schema_is_of_what_as_json_makes() -> None:
    schema = json_schema(Everything, lambda _: {"line": "of the SLO"})
    one = Everything(
        math.inf, parse_slo("p95(latency) < 1s"), note("run.no_calls"), (("a", 1),), {"b": None}
    )
    properties = schema["properties"]

    assert properties.keys() == set(schema["required"]) == as_json(one).keys()
    assert properties["error_fraction"] == {"type": ["number", "null"]}
    assert properties["line"] == {"type": "string", "description": "of the SLO"}
    assert schema["description"] == "What `as_json` is given."
    Draft202012Validator(schema).validate(as_json(one))
    for wrong in ({"pairs": [["a"]]}, {"pairs": [["a", 1, 2]]}, {"by_name": {"b": {}}}):
        assert not Draft202012Validator(schema).is_valid(as_json(one) | wrong)


def test_a_field_that_json_has_no_words_for_is_refused() -> None:
    @dataclass
    class Wrong:
        call: Callable[[], None]

    with pytest.raises(TypeError):
        json_schema(Wrong, lambda _: {})
