"""A document as Markdown, for the summary of a CI job: the answer, and the rest to unfold."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from mwaa_headroom.analysis.report.document import (
    MARKS,
    Block,
    Bullets,
    Document,
    Lines,
    Section,
    Table,
    Text,
    Ticks,
)

# What Markdown or HTML would read as something else than itself.
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>|~#&])")
_LINK: Final = re.compile(r"(:|\bwww)([/.])", re.IGNORECASE)  # else a bare address becomes one


def render_markdown(document: Document) -> str:
    """The whole text: the sections that a terminal shows briefly, then all others, folded."""
    lines = [f"## {_plain(document.title)}: {_plain(document.headline)}", ""]
    lines += [f"**{_plain(document.sentence)}**", ""]
    if document.about:
        lines += [_plain(document.about), ""]
    for section in document.sections:
        lines += _section(section) if section.brief else []
    folded = [line for each in document.sections if not each.brief for line in _section(each)]
    if folded:
        lines += ["<details><summary>Details</summary>", "", *folded, "</details>"]
    return "\n".join(lines).rstrip() + "\n"


def _section(section: Section) -> list[str]:
    shown = [line for block in section.blocks for line in _block(block)]
    return [f"### {_plain(section.title)}", "", *shown] if shown else []


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Text):
        yield _plain(block.text)
    elif isinstance(block, Bullets) and block.items:
        yield from (f"- {_plain(item)}" for item in block.items)
    elif isinstance(block, Lines):
        yield from (f"    {item}" for item in block.items)  # whatever is in it stays in it
    elif isinstance(block, Ticks) and block.items:
        yield from (
            f"- {MARKS[met]} {_plain(what)}: {_plain(seen)}" for met, what, seen in block.items
        )
    elif isinstance(block, Table):
        yield from _table(block)
    else:
        return
    yield ""


def _table(table: Table) -> Iterator[str]:
    if table.caption:
        yield from (_plain(table.caption), "")
    yield _row(f"{column.heading} {column.unit}".strip() for column in table.columns)
    yield f"|{'|'.join('---:' if column.right else '---' for column in table.columns)}|"
    yield from map(_row, table.rows)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    escaped = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    return _LINK.sub(r"\1\\\2", escaped)
