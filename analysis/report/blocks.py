"""Blocks of text that summaries are made of: a heading with a table, or with a list."""

from collections.abc import Iterator, Sequence

from mwaa_headroom.analysis.report.document import Table
from mwaa_headroom.analysis.report.layout import INDENT, laid_out
from mwaa_headroom.analysis.report.pen import Pen


def headed_table(heading: str, table: Table, pen: Pen) -> Iterator[str]:
    """An empty line, the heading and the table."""
    yield ""
    yield pen.style(heading, "bold")
    yield from laid_out(table, pen.width, pen.style)


def headed_list(heading: str, sentences: Sequence[str], pen: Pen) -> Iterator[str]:
    """An empty line, the heading and a dash before every sentence; nothing without sentences."""
    if not sentences:
        return
    yield ""
    yield pen.style(heading, "bold")
    for sentence in sentences:
        yield from pen.wrapped(sentence, first=f"{INDENT}- ", rest=INDENT * 2)
