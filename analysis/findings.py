"""Findings: what a reader should know, as values; `analysis.report.sentences` has the words.

A finding travels where a sentence would: as the reason of a refusal, a warning beside an estimate,
a note about a run. Its code says what it is, its values say how much, in base units with the unit
in the name. Values may hold other findings (a reason inside a reason).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["refusal", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One of them; codes are dotted, area first: "generator.late", "demand.few_periods"."""

    code: str
    severity: Severity
    values: Mapping[str, Any] = field(default_factory=dict, hash=False)


def refusal(code: str, /, **values: Any) -> Finding:
    """Why something cannot be told, judged or used."""
    return Finding(code, "refusal", values)


def warning(code: str, /, **values: Any) -> Finding:
    """What makes numbers say less than they seem to."""
    return Finding(code, "warning", values)


def note(code: str, /, **values: Any) -> Finding:
    """What is worth knowing and takes nothing from the numbers."""
    return Finding(code, "note", values)
