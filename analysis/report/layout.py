"""Laying out a table in a given number of columns of text."""

import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Final, TypeVar

from mwaa_headroom.analysis.report.document import Column, Table

INDENT: Final = "  "
_GAP: Final = "  "
_LEAST_TEXT: Final = 8  # columns a clipped first column keeps
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

    Columns that may be dropped go first, then text is wrapped between words, the widest column
    first, then the first column is clipped. `style(text, *names)` colours a whole line or a mark.
    """
    table, widths = _fitted(table, width)
    columns = table.columns
    yield style(_line([column.heading for column in columns], columns, widths), "dim")
    if any(column.unit for column in columns):
        yield style(_line([column.unit for column in columns], columns, widths), "dim")
    for row in table.rows:
        folded = (_folded(cell, room) for cell, room in zip(row, widths, strict=True))
        first, *more = zip_longest(*folded, fillvalue="")
        yield _marked(_line(first, columns, widths), row[-1], style)
        for cells in more:
            yield _line(cells, columns, widths)


def _fitted(table: Table, width: int) -> tuple[Table, list[int]]:
    widths = _natural_widths(table)
    while (excess := _excess(widths, width)) > 0:
        victim = max(range(len(widths)), key=lambda i: table.columns[i].dropped)
        if table.columns[victim].dropped == 0:
            return table, _squeezed(widths, table, excess)
        table = replace(
            table,
            columns=_without(table.columns, victim),
            rows=tuple(_without(row, victim) for row in table.rows),
        )
        widths = _natural_widths(table)
    return table, widths


def _squeezed(widths: list[int], table: Table, excess: int) -> list[int]:
    widths = list(widths)
    least = _natural_widths(table, _longest_word)
    text = [i for i, column in enumerate(table.columns) if not column.right]
    while excess > 0 and (wide := [i for i in text if widths[i] > least[i]]):
        widths[max(wide, key=widths.__getitem__)] -= 1
        excess -= 1
    widths[0] = max(widths[0] - excess, min(widths[0], _LEAST_TEXT))
    return widths


def _natural_widths(table: Table, of_cell: Callable[[str], int] = len) -> list[int]:
    """Columns every column needs; its headings are never wrapped."""
    return [
        max(len(column.heading), len(column.unit), *(of_cell(row[i]) for row in table.rows), 0)
        for i, column in enumerate(table.columns)
    ]


def _longest_word(cell: str) -> int:
    return max(map(len, cell.split()), default=0)


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


def _folded(cell: str, width: int) -> list[str]:
    if len(cell) <= width:
        return [cell]
    lines = textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False)
    return [_clipped(line, width) for line in lines]


def _clipped(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + "…"


def _marked(line: str, mark: str, style: Style) -> str:
    if mark not in STYLE_OF_MARK:
        return line
    return line[: -len(mark)] + style(mark, STYLE_OF_MARK[mark])
