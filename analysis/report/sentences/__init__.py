"""Every sentence that a person reads about a result, by the code of its finding.

One module per area registers a sentence for each code with `says`: a format string, or a function
that takes the finding's values by name. Numbers are written by `analysis.report.words`.
"""

from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

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
    _register_all()
    return _SENTENCES


@cache
def _register_all() -> None:
    """Once: looking into the folder for every sentence would be slow."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
