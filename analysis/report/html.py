"""A document as one page that needs nothing but itself."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.document import (
    MARKS,
    STATUS_OF,
    Block,
    Document,
    Figure,
    Hint,
    Section,
)

_PAGE: Final = "page.html.j2"


def render_html(document: Document, pictures: Mapping[str, Markup]) -> str:
    """The whole page.

    Args:
        document: What to show.
        pictures: `<svg>` elements by the names of the document's figures; a figure that is not
            there is left out.
    """
    return _template().render(
        document=document,
        sections=[each for each in document.sections if _is_shown(each, pictures)],
        pictures=pictures,
        marks=MARKS,
        status_of=STATUS_OF,
        facts=list(_facts(document.facts)),
        data=_script_safe(as_json(document.result)),
    )


def _is_shown(section: Section, pictures: Mapping[str, Markup]) -> bool:
    return any(
        block.name in pictures if isinstance(block, Figure) else not isinstance(block, Hint)
        for block in section.blocks
    )


@cache
def _template() -> Template:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["kind"] = _kind
    return templates.get_template(_PAGE)


def _kind(block: Block) -> str:
    return type(block).__name__


def _facts(facts: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Name and value of every known fact, nested ones by their inner name."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _facts(value)
        elif isinstance(value, list | tuple) and value:
            yield _label(name), ", ".join(str(each) for each in value)
        elif isinstance(value, float):
            yield _label(name), words.trimmed(value) if words.is_known(value) else words.UNKNOWN
        elif value not in (None, "", [], ()):
            yield _label(name), str(value)


def _label(name: str) -> str:
    return str(name).replace("_", " ")


def _script_safe(value: object) -> Markup:
    """JSON values as the text of a `<script>` element."""
    # "</script>" inside a string would end the element; "<" written as an escape cannot.
    text = json.dumps(value, allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - JSON without "<" is inert here
