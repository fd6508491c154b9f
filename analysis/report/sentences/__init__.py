"""Every sentence that a person reads about a result, by the code of its finding.

One module per area registers a sentence for each code with `says`: a format string, or a function
that takes the finding's values by name. Numbers are written by `analysis.report.words`.
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from mwaa_headroom.analysis.findings import Finding

Sentence = Callable[..., str]
_SENTENCES: dict[str, Sentence] = {}


def says(code: str, text: str | None = None) -> Callable[[Sentence], Sentence]:
    """Register the sentence of a code: `says("run.no_calls", "...")`, or as a decorator."""

    def register(sentence: Sentence) -> Sentence:
        if code in _SENTENCES:
            raise ValueError(f"Two sentences for {code}.")
        _SENTENCES[code] = sentence
        return sentence

    if text is not None:
        register(text.format)
    return register


def told(finding: Finding | None) -> str:
    """The sentence of a finding; "" for none.

    Raises:
        KeyError: no area has a sentence for the code.
    """
    if finding is None:
        return ""
    return sentences()[finding.code](**finding.values)


def told_each(findings: Iterable[Finding]) -> tuple[str, ...]:
    """The sentences of findings, each once, in order."""
    return tuple(dict.fromkeys(map(told, findings)))


def sentences() -> dict[str, Sentence]:
    """All of them, by code."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return _SENTENCES


def values_told(**values: Any) -> dict[str, Any]:
    """Values for a format string, findings among them as their sentences."""
    return {k: told(v) if isinstance(v, Finding) else v for k, v in values.items()}
