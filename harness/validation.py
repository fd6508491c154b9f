"""What is wrong in a file, told as one sentence with the file and the key."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ValidationError

from mwaa_headroom.analysis.nearest import did_you_mean
from mwaa_headroom.harness.errors import UsageError

Model = TypeVar("Model", bound=BaseModel)
_LOOKS_SECRET = re.compile(
    r"secret|passw(or)?d|token|credential|authorization|cookie|signature|(access|private|api|fernet)_?key",
    re.IGNORECASE,
)


_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # of models, of dataclasses


def validated(
    model: type[Model], tree: Mapping[str, Any], *, origin: str, error: type[UsageError]
) -> Model:
    """The checked content of a file; what is wrong with it is raised as an `error`."""
    try:
        return model.model_validate(tree)
    except ValidationError as exc:
        # A key that is mistyped is missing as well: first what is there but not known.
        problems = exc.errors(include_url=False)
        first, *others = sorted(problems, key=lambda each: each["type"] not in _UNKNOWN)
        rest = f" (and {len(others)} more)" if others else ""
        near = ""
        if first["type"] in _UNKNOWN:
            near = did_you_mean(first["loc"][-1], _keys_at(model, first["loc"][:-1]))
        raise error(f"{origin}: {_told(_key_path(first['loc']), first)}{near}{rest}.") from exc


def _keys_at(model: type[BaseModel], location: Sequence[int | str]) -> set[str]:
    """The keys of the table at a place."""
    tables = [_fields_of(model)]
    for part in location:
        if below := [fields[str(part)] for fields in tables if part in fields]:
            tables = [found for annotation in below for found in _tables_in(annotation)]
        elif tagged := [fields for fields in tables if part in get_args(fields.get("kind"))]:
            tables = tagged
    return {key for fields in tables for key in fields}


def _tables_in(annotation: Any) -> Iterator[dict[str, Any]]:
    yield _fields_of(annotation)
    for inside in get_args(annotation):
        yield from _tables_in(inside)


def _fields_of(annotation: Any) -> dict[str, Any]:
    """Keys of a table and what is in them; nothing of anything else."""
    if is_dataclass(annotation):
        return get_type_hints(annotation)
    fields: Mapping[str, Any] = getattr(annotation, "model_fields", {})
    return {key: field.annotation for key, field in fields.items()}


def _key_path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part not in ("local", "simulated", "aws"):  # pydantic's tags of the union
            text += f".{part}" if text else part
    return f"'{text}'" if text else ""


def _told(key: str, problem: Any) -> str:
    separator = ": " if problem["type"] == "value_error" else " "
    return separator.join(filter(None, (key, _in_words(problem))))


def _in_words(problem: Any) -> str:
    kind, message = problem["type"], str(problem["msg"]).replace("a valid tuple", "a list")
    if kind in _UNKNOWN:
        return "is not a known key"
    if kind == "missing":
        return "is missing"
    if kind == "union_tag_invalid":
        key, tag, known = (problem["ctx"][k] for k in ("discriminator", "tag", "expected_tags"))
        return f"is wrong: {key} is '{tag}', not one of {known}"
    message = message.removeprefix("Value error, ").rstrip(".")
    if kind == "value_error":
        return message
    return f"is wrong: {message[0].lower()}{message[1:]}, got {problem['input']!r}"


def refuse_secrets(value: object, *, where: str) -> None:
    """Refuse mappings and sequences with a key that looks like a secret; its value is not shown.

    Raises:
        UsageError: there is one.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if _LOOKS_SECRET.search(str(key)):
                raise UsageError(
                    f"The key '{key}' looks like a secret and does not go into {where}; "
                    "rename or remove it."
                )
            refuse_secrets(inner, where=where)
    elif isinstance(value, list | tuple):
        for inner in value:
            refuse_secrets(inner, where=where)
