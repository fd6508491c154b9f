"""What is wrong in a file, told as one sentence with the file and the key."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mwaa_headroom.harness.errors import UsageError

Model = TypeVar("Model", bound=BaseModel)
_LOOKS_SECRET = re.compile(
    r"secret|passw(or)?d|token|credential|authorization|cookie|signature|(access|private|api|fernet)_?key",
    re.IGNORECASE,
)


def validated(
    model: type[Model], tree: Mapping[str, Any], *, origin: str, error: type[UsageError]
) -> Model:
    """The checked content of a file; what is wrong with it is raised as an `error`."""
    try:
        return model.model_validate(tree)
    except ValidationError as exc:
        first, *others = exc.errors(include_url=False)
        rest = f" (and {len(others)} more)" if others else ""
        raise error(f"{origin}: {_told(_key_path(first['loc']), first)}{rest}.") from exc


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
    if kind == "extra_forbidden":
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
