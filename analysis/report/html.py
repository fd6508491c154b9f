"""A document as one page that needs nothing but itself."""

import json
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.charts.chart import Chart, chart_data
from mwaa_headroom.analysis.report.charts.tables import chart_tables
from mwaa_headroom.analysis.report.document import (
    MARKS,
    STATUS_OF,
    Block,
    Document,
    Figure,
    Hint,
    Section,
    Table,
)

_MOST_DATA: Final = 500_000  # characters on the page; more is in the file beside it
_PAGE: Final = Path(__file__).parent / "page"


def render_html(
    document: Document, pictures: Mapping[str, Markup], charts: Mapping[str, Chart] | None = None
) -> str:
    """The whole page.

    Args:
        document: What to show.
        pictures: `<svg>` elements by the names of the document's figures.
        charts: The interactive charts by the same names. A figure that is in neither is left out.
    """
    charts = charts or {}
    data = _script_safe(as_json(document.result))
    shown = [each for each in document.sections if _is_shown(each, {*pictures, *charts})]
    return _template().render(
        document=document,
        sections=sorted(shown, key=lambda section: section.folded),
        pictures=pictures,
        charts={name: _chart(chart) for name, chart in charts.items()},
        chart_styles=chart_styles() if charts else "",
        chart_scripts=chart_scripts() if charts else "",
        page_script=_asset("report.js"),
        marks=MARKS,
        status_of=STATUS_OF,
        facts=list(_facts(document.facts)),
        data=data if len(data) <= _MOST_DATA else "",
    )


def chart_styles() -> Markup:
    """The CSS of charts, for a `<style>` element beside `page_style`."""
    return Markup("\n").join((_asset("uplot.css"), _asset("charts.css")))


def chart_scripts() -> Markup:
    """What defines `drawTimeline` (`page/charts.js`), for a `<script>` element."""
    _address, _, uplot = _asset("uplot.js").partition("\n")  # a page names no other site
    licence = Markup("/* uPlot 1.6.32\n%s*/") % _asset("uplot.license.txt")
    return Markup("\n").join((licence, Markup(uplot), _asset("charts.js")))  # noqa: S704 - ours


def page_style() -> Markup:
    """The CSS of every page, with the palette as variables."""
    return _asset("style.css")


@cache
def _asset(name: str) -> Markup:
    text = (_PAGE / name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - shipped with this package


def _chart(chart: Chart) -> tuple[Markup, tuple[Table, ...]]:
    return _script_safe(chart_data(chart)), chart_tables(chart)


def _is_shown(section: Section, pictures: Collection[str]) -> bool:
    return any(
        block.name in pictures if isinstance(block, Figure) else not isinstance(block, Hint)
        for block in section.blocks
    )


@cache
def _template() -> Template:
    templates = Environment(
        loader=FileSystemLoader(_PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["kind"] = _kind
    return templates.get_template("page.html.j2")


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
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - JSON without "<" is inert here
