"""What a command printed with `--json`, held to its published schema."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parent.parent / "docs" / "schemas"


def checked(command: str, text: str) -> dict[str, Any]:
    """The output of a command, such as "local up", if it has all that its schema says, and no more.

    The schema lets keys of later versions pass; those of this one are all in it.
    """
    output = json.loads(text, parse_constant=_refuse)
    _validator(command).validate(output)
    return dict(output)


@cache
def _validator(command: str) -> Draft202012Validator:
    path = SCHEMAS / f"{command.replace(' ', '-')}.json"
    schema = _closed(json.loads(path.read_text(encoding="utf-8")))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {key: _closed(value) for key, value in schema.items()}
    return {**inside, "additionalProperties": False} if "required" in schema else inside


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
