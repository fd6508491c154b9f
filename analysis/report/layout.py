"""Laying out a table in a given number of columns of text."""

import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final, TypeVar

from analysis.report.tables import Column, Table

INDENT: Final = "  "
_GAP: Final = "  "
_LEAST_TEXT: Final = 8  # columns a clipped first column keeps
_LEAST_PROSE: Final = 24  # columns a wrapped last column keeps
STYLE_OF_MARK: Final = {
    "✓": "green",
    "✗": "red",
    "?": "yellow",
    "pass": "green",
    "fail": "red",
    "undecided": "yellow",
    "regression": "red",
    "inconclusive": "yellow",
    "better": "green",
    "worse": "red",
}

T = TypeVar("T")
Style = Callable[..., str]


def laid_out(table: Table, width: int, style: Style) -> Iterator[str]:
    """The lines of `table`, at most `width` wide, headings first.

    Columns that may be dropped go first, then the last column is wrapped if it is text, then the
    first is clipped. `style(text, *names)` colours a whole line or a mark.
    """
    table, widths = _fitted(table, width)
    columns = table.columns
    yield style(_line([column.heading for column in columns], columns, widths), "dim")
    if any(column.unit for column in columns):
        yield style(_line([column.unit for column in columns], columns, widths), "dim")
    for row in table.rows:
        *cells, last = row
        first_line, *more = textwrap.wrap(last, widths[-1]) or [""]
        clipped = [_clipped(cell, room) for cell, room in zip(cells, widths[:-1], strict=True)]
        line = _line([*clipped, first_line], columns, widths)
        yield _marked(line, last, style)
        for text in more:
            yield _line([*([""] * len(cells)), text], columns, widths)


def _fitted(table: Table, width: int) -> tuple[Table, list[int]]:
    widths = _natural_widths(table)
    while (excess := _excess(widths, width)) > 0:
        victim = max(range(len(widths)), key=lambda i: table.columns[i].dropped)
        if table.columns[victim].dropped == 0:
            return table, _squeezed(widths, table.columns, excess)
        table = replace(
            table,
            columns=_without(table.columns, victim),
            rows=tuple(_without(row, victim) for row in table.rows),
        )
        widths = _natural_widths(table)
    return table, widths


def _squeezed(widths: list[int], columns: tuple[Column, ...], excess: int) -> list[int]:
    widths = list(widths)
    if not columns[-1].right:
        given = min(excess, max(widths[-1] - _LEAST_PROSE, 0))
        widths[-1] -= given
        excess -= given
    widths[0] = max(widths[0] - excess, min(widths[0], _LEAST_TEXT))
    return widths


def _natural_widths(table: Table) -> list[int]:
    return [
        max(len(cell) for cell in (column.heading, column.unit, *(row[i] for row in table.rows)))
        for i, column in enumerate(table.columns)
    ]


def _excess(widths: list[int], width: int) -> int:
    return len(INDENT) + sum(widths) + len(_GAP) * (len(widths) - 1) - width


def _without(items: tuple[T, ...], index: int) -> tuple[T, ...]:
    return items[:index] + items[index + 1 :]


def _line(cells: Iterable[str], columns: tuple[Column, ...], widths: list[int]) -> str:
    padded = (
        cell.rjust(width) if column.right else cell.ljust(width)
        for cell, column, width in zip(cells, columns, widths, strict=True)
    )
    return (INDENT + _GAP.join(padded)).rstrip()


def _clipped(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + "…"


def _marked(line: str, mark: str, style: Style) -> str:
    if mark not in STYLE_OF_MARK:
        return line
    return line[: -len(mark)] + style(mark, STYLE_OF_MARK[mark])
