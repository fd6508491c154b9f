"""An answer for a terminal and for a CI log: sections first, the answer itself last."""

from collections.abc import Iterator
from typing import Final

from mwaa_headroom.analysis.report.blocks import headed_list
from mwaa_headroom.analysis.report.layout import laid_out
from mwaa_headroom.analysis.report.pen import Pen
from mwaa_headroom.analysis.report.planning.answer import Answer, Section

TITLES: Final = {"capacity": "Capacity", "size": "Size", "what-if": "What if"}
_STYLES: Final = {
    "good": ("bold", "green"),
    "bad": ("bold", "red"),
    "unsure": ("bold", "yellow"),
}


def render_answer(answer: Answer, *, colour: bool, width: int) -> str:
    """The whole summary, without a final newline; arguments as of `render_summary`."""
    pen = Pen(colour=colour, width=width)
    lines = [pen.style(TITLES[answer.kind], "bold")]
    lines.extend(headed_list("Cannot be told", answer.refusals, pen))
    for section in answer.sections:
        lines.extend(_section(section, pen))
    lines.extend(headed_list("Notes", answer.notes, pen))
    lines.append("")
    lines += [
        pen.style(line, *_STYLES[answer.tone])
        for line in pen.wrapped(answer.sentence, first="", rest="")
    ]
    return "\n".join(line.rstrip() for line in lines)


def _section(section: Section, pen: Pen) -> Iterator[str]:
    """Its text and its table; one that is only a picture is left to the page."""
    if not section.sentences and section.table is None:
        return
    yield ""
    yield pen.style(section.heading, "bold")
    for sentence in section.sentences:
        yield from pen.wrapped(sentence)
    if section.table is not None:
        yield from laid_out(section.table, pen.width, pen.style)
