"""The kinds of parameters an operation can have, and what makes a value wrong."""

import re
from dataclasses import dataclass, field
from typing import Any, Protocol


class Parameter(Protocol):
    """One parameter of an operation: its default, and what is wrong with a given value."""

    @property
    def default(self) -> Any:
        """What is used when the scenario does not say."""

    def problem(self, value: object) -> str | None:
        """What is wrong, as the end of a sentence that starts with the name; None: nothing."""


@dataclass(frozen=True, slots=True)
class WholeNumber:
    """An integer within bounds, both included."""

    default: int
    lowest: int
    highest: int

    def problem(self, value: object) -> str | None:
        """See `Parameter`."""
        if isinstance(value, bool) or not isinstance(value, int):
            return f"must be a whole number, got {value!r}"
        if not self.lowest <= value <= self.highest:
            return f"must be from {self.lowest} to {self.highest}, got {value}"
        return None


@dataclass(frozen=True, slots=True)
class Text:
    """A string that matches a pattern as a whole."""

    default: str
    pattern: str

    def problem(self, value: object) -> str | None:
        """See `Parameter`."""
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value):
            return f"must be a string that matches {self.pattern}, got {value!r}"
        return None


@dataclass(frozen=True, slots=True)
class JsonObject:
    """A table of JSON values."""

    default: dict[str, Any] = field(default_factory=dict)

    def problem(self, value: object) -> str | None:
        """See `Parameter`."""
        if not isinstance(value, dict):
            return f"must be a table, got {value!r}"
        return None
