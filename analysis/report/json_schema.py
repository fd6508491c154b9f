"""The JSON Schema (2020-12) of what `as_json` makes of a dataclass, from the types of its fields.

Every key is always there. Any number that is no integer may be null, as infinities are.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report.as_json import LEFT_OUT, RENAMED, SCHEMA_VERSION
from mwaa_headroom.analysis.slo import Slo

Schema = dict[str, Any]
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: Final[dict[Any, Schema]] = {
    NoneType: {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": ["number", "null"]},
    str: {"type": "string"},
    Slo: {"type": "string", "description": "A line of an SLO, as it is written."},
    Path: {"type": "string"},
    Any: {},
    object: {},
}
_FINDING: Final[Schema] = {
    "type": "object",
    "description": "Why something is not known, is doubtful, or is worth knowing.",
    "properties": {
        "code": {"type": "string"},
        "severity": {"enum": ["refusal", "warning", "note"]},
        "values": {"type": "object"},
        "sentence": {"type": "string"},
    },
    "required": ["code", "severity", "values", "sentence"],
}


def json_schema(result: type, meanings: Callable[[type], Mapping[str, str]]) -> Schema:
    """Of what `as_json` makes of an instance.

    Args:
        result: a dataclass whose fields hold plain values, containers and other dataclasses.
        meanings: of the fields of a dataclass, where they need words.

    Raises:
        TypeError: a field holds something else.
    """
    made = _Definitions(meanings, {})
    own = made.object(result)
    return {
        "$schema": _DIALECT,
        "title": result.__name__,
        **own,
        "properties": {"schema_version": {"const": SCHEMA_VERSION}, **own["properties"]},
        "required": ["schema_version", *own["required"]],
        "$defs": dict(sorted(made.definitions.items())),
    }


@dataclass(frozen=True)
class _Definitions:
    meanings: Callable[[type], Mapping[str, str]]
    definitions: dict[str, Schema]  # by name, as far as they are made

    def object(self, kind: type) -> Schema:
        types, meanings = get_type_hints(kind), self.meanings(kind)
        properties = {}
        for field in fields(kind):
            if field.name not in LEFT_OUT:
                told = {"description": meanings[field.name]} if field.name in meanings else {}
                value = self._value(types[field.name])
                properties[RENAMED.get(field.name, field.name)] = {**value, **told}
        return {
            "type": "object",
            "description": " ".join((kind.__doc__ or "").partition("\n\n")[0].split()),
            "properties": properties,
            "required": list(properties),
        }

    def _value(self, kind: Any) -> Schema:
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        if isinstance(kind, type) and is_dataclass(kind):
            name = kind.__name__
            if name not in self.definitions:
                self.definitions[name] = {}  # known before it is made: it may hold itself
                self.definitions[name] = _FINDING if kind is Finding else self.object(kind)
            return {"$ref": f"#/$defs/{name}"}
        return self._of_parts(get_origin(kind), get_args(kind))

    def _of_parts(self, origin: Any, parts: tuple[Any, ...]) -> Schema:
        if origin is Literal:
            return {"enum": list(parts)}
        if origin in (Union, UnionType):
            return _any_of([self._value(part) for part in parts])
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self._value(parts[1])}
        if origin is tuple and parts[-1] is not Ellipsis:
            each = [self._value(part) for part in parts]
            return {"type": "array", "prefixItems": each, "items": False, "minItems": len(each)}
        if isinstance(origin, type) and issubclass(origin, Sequence | AbstractSet):
            return {"type": "array", "items": self._value(parts[0])}
        raise TypeError(f"JSON has no {origin} of {parts}.")


def _any_of(each: Sequence[Schema]) -> Schema:
    if any(one.keys() != {"type"} for one in each):
        return {"anyOf": list(each)}
    names = (name for one in each for name in _names(one["type"]))
    return {"type": list(dict.fromkeys(names))}


def _names(types: str | list[str]) -> list[str]:
    return [types] if isinstance(types, str) else types
