"""A document as text for a terminal, a CI log and summary.txt: the answer first."""

import io
from collections.abc import Iterator
from dataclasses import replace
from textwrap import wrap
from typing import IO, Final

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text as Line

from mwaa_headroom.analysis.report.controls import escape_controls
from mwaa_headroom.analysis.report.document import (
    MARKS,
    STATUS_OF,
    Block,
    Bullets,
    Document,
    Lines,
    Status,
    Table,
    Text,
    Ticks,
)

_LEAST_WIDTH: Final = 72
_LEAST_TEXT: Final = 8  # columns a clipped first column keeps
_INDENT: Final = (0, 0, 0, 2)
_STYLES: Final[dict[Status, str]] = {
    "good": "green",
    "bad": "red",
    "unclear": "yellow",
    "plain": "",
}


def render_table(table: Table, *, width: int, colour: bool) -> str:
    """One table by itself, as `render_terminal` shows it, at the left margin."""
    text = io.StringIO()
    console = _console(text, width, colour=colour)
    rows = tuple(tuple(map(escape_controls, row)) for row in table.rows)
    console.print(_fitted(replace(table, rows=rows), console), crop=False)
    return "\n".join(line[2:].rstrip() for line in text.getvalue().splitlines())


def _console(file: IO[str], width: int, *, colour: bool) -> Console:
    return Console(
        file=file,
        width=max(width, _LEAST_WIDTH),
        height=100,  # else rich asks the terminal for its width as well
        force_terminal=colour,
        color_system="standard" if colour else None,
        no_color=not colour,
        highlight=False,
        markup=False,
        emoji=False,
    )


def render_terminal(document: Document, *, verbose: bool, width: int, colour: bool) -> str:
    """The document without a final newline.

    Args:
        document: What to show.
        verbose: All sections in full; else the brief ones, briefly.
        width: Columns that may be used; fewer than 72 are treated as 72.
        colour: Whether to write ANSI colours; without them the text is plain.
    """
    text = io.StringIO()
    console = _console(text, width, colour=colour)
    for part in _parts(document, console, verbose=verbose):
        # Whatever cannot be made narrower is left to the terminal, not cut off.
        if isinstance(part, Line):
            console.print(part, crop=False, no_wrap=True, overflow="ignore")
        else:
            console.print(part, crop=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _parts(document: Document, console: Console, *, verbose: bool) -> Iterator[RenderableType]:
    width = console.width
    yield _prose(document.title, width, "bold")
    yield _prose(document.sentence, width, f"bold {_STYLES[document.status]}".strip())
    if document.about:
        yield _prose(document.about, width, indent="  ")
    for section in document.sections:
        if not (verbose or section.brief):
            continue
        blocks = section.blocks if verbose else section.brief_blocks or section.blocks
        shown = [part for block in blocks for part in _block(block, console)]
        if shown:
            yield ""
            yield Line(section.title, "bold")
            yield from shown


def _block(block: Block, console: Console) -> Iterator[RenderableType]:
    if isinstance(block, Text):
        yield _prose(block.text, console.width, _STYLES[block.status], indent="  ")
    elif isinstance(block, Bullets):
        for item in block.items:
            yield _prose(item, console.width, indent="    ", first="  - ")
    elif isinstance(block, Lines):
        yield Line("\n".join(f"    {item}" for item in block.items))
    elif isinstance(block, Ticks) and block.items:
        yield _ticks(block, console.width)
    elif isinstance(block, Table):
        if block.caption:
            yield ""
            yield _prose(block.caption, console.width, indent="  ")
        yield _fitted(block, console)


def _prose(
    text: str, width: int, style: str = "", *, indent: str = "", first: str | None = None
) -> Line:
    """Wrapped between words only: a path or a command stays whole, to be copied.

    `first` stands before the first line in place of the indent.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines += wrap(
            paragraph,
            width,
            initial_indent=indent if first is None or lines else first,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return Line("\n".join(lines), style)


def _ticks(ticks: Ticks, width: int) -> RenderableType:
    grid = Grid.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(max_width=width // 2)
    grid.add_column(" ")
    for met, what, seen in ticks.items:
        grid.add_row(_marked(MARKS[met]), what, "", seen)
    return Padding(grid, _INDENT)


def _fitted(table: Table, console: Console) -> RenderableType:
    """The table without the columns it has no width for, those that may be dropped.

    Then text is wrapped between words, and in the end the first column is clipped.
    """
    unlimited = console.options.update(max_width=10_000)
    while True:
        grid = _grid(table)
        measured = console.measure(grid, options=unlimited)
        if measured.maximum <= console.width:
            return grid
        droppable = max(table.columns, key=lambda column: column.dropped)
        if not droppable.dropped:
            break
        table = _without(table, table.columns.index(droppable))
    if (excess := measured.minimum - console.width) > 0:
        first = grid.columns[0]
        first.no_wrap, first.overflow = True, "ellipsis"
        first.width = max((first.min_width or 0) - excess, _LEAST_TEXT)
    return grid


def _grid(table: Table) -> Grid:
    has_units = any(column.unit for column in table.columns)
    grid = Grid(box=None, padding=(0, 0, 0, 2), header_style="dim")
    for index, column in enumerate(table.columns):
        cells = [column.heading, column.unit, *(row[index] for row in table.rows)]
        words = cells if column.right else [*cells[:2], *(w for c in cells for w in c.split())]
        least = max(map(cell_len, words))
        grid.add_column(
            f"{column.heading}\n{column.unit}" if has_units else column.heading,
            justify="right" if column.right else "left",
            # Else rich takes width from a column that has none to give, and the line gets too long.
            no_wrap=least == max(map(cell_len, cells)),
            min_width=least,
        )
    for row in table.rows:
        grid.add_row(*map(_marked, row))
    return grid


def _without(table: Table, index: int) -> Table:
    columns = table.columns[:index] + table.columns[index + 1 :]
    rows = tuple(row[:index] + row[index + 1 :] for row in table.rows)
    return replace(table, columns=columns, rows=rows)


def _marked(cell: str) -> Line:
    return Line(cell, _STYLES[STATUS_OF.get(cell, "plain")])
