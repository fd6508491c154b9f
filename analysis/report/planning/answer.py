"""What every page about several runs consists of, ready to be laid out."""

from dataclasses import dataclass
from typing import Literal

from mwaa_headroom.analysis.report.document import Table


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what stands below it; empty parts are left out."""

    heading: str
    sentences: tuple[str, ...] = ()
    table: Table | None = None
    picture: str = ""  # the name of a figure


@dataclass(frozen=True, slots=True)
class Answer:
    """One command's answer, the same for the terminal and for the page."""

    kind: Literal["capacity", "size", "what-if"]  # also the stem of its files
    headline: str  # a few words
    sentence: str  # the last line of the summary
    tone: Literal["good", "bad", "unsure"]
    sections: tuple[Section, ...]
    refusals: tuple[str, ...] = ()  # why there is no answer, one sentence each
    notes: tuple[str, ...] = ()
