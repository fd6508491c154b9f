"""Tables in too few columns: what gives way, and that no word is lost before it must be."""

import pytest

from mwaa_headroom.analysis.report.document import Column, Table
from mwaa_headroom.analysis.report.layout import laid_out

WORDS = ("p95 latency, stage 1, 20/s", "12.5 ms", "the first of all the runs that were slower")
TABLE = Table((Column("metric", right=False), Column("since"), Column("", right=False)), (WORDS,))


def lines(table: Table, width: int) -> list[str]:
    return list(laid_out(table, width, lambda text, *_: text))


@pytest.mark.parametrize("width", range(30, 100))
def test_text_is_wrapped_and_no_word_is_lost(width: int) -> None:
    shown = lines(TABLE, width)

    assert all(len(line) <= width for line in shown)
    assert sorted(" ".join(shown[1:]).split()) == sorted(" ".join(WORDS).split())


def test_the_widest_text_gives_way_first() -> None:
    assert lines(TABLE, 70)[1].startswith("  p95 latency, stage 1, 20/s  12.5 ms  the first")


def test_a_word_that_cannot_be_wrapped_keeps_the_others_whole() -> None:
    table = Table(
        (Column("operation", right=False), Column("run", right=False)),
        (("list_task_instances", "20261122T152215-known-truth-6e50"),),
    )

    assert lines(table, 48)[1] == "  list_task_i…  20261122T152215-known-truth-6e50"


def test_a_table_with_room_is_left_alone() -> None:
    assert lines(TABLE, 100)[1] == f"  {WORDS[0]}  {WORDS[1]}  {WORDS[2]}"
