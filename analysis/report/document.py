"""A report before it has a form: sections of tables, figures and sentences.

Everything that answers a person (a run, a comparison, a history, a capacity, a size, a what-if) is
made into one `Document` and rendered by the modules beside this one: terminal, HTML, Markdown,
JSON, JUnit. A new section is one function that returns a `Section`, named in the list of its
document.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from mwaa_headroom.analysis.report.controls import escape_controls

if TYPE_CHECKING:  # who only prints text does without matplotlib
    from matplotlib.figure import Figure as Drawing

    from mwaa_headroom.analysis.report.charts.chart import Chart

Status = Literal["good", "bad", "unclear", "plain"]
MARKS: Final = {True: "✓", False: "✗", None: "?"}
STATUS_OF: Final[Mapping[str, Status]] = {
    "✓": "good",
    "✗": "bad",
    "?": "unclear",
    "pass": "good",
    "fail": "bad",
    "undecided": "unclear",
    "regression": "bad",
    "inconclusive": "unclear",
    "better": "good",
    "worse": "bad",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column. With `dropped` > 0 a narrow terminal may leave it out, highest first."""

    heading: str
    unit: str = ""
    right: bool = True
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of the same length; every cell is ready to be read.

    A cell that is a mark or a verdict is coloured by what it says (`STATUS_OF`).
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    folded: bool = False  # on pages behind its caption, until the reader opens it
    spans: tuple[tuple[float, float], ...] = ()  # of each row on the page's timeline, seconds


T = TypeVar("T")


def table_of(items: Iterable[T], *columns: tuple[Column, Callable[[T], str]]) -> Table:
    """A row for each item, and in it a cell for each column."""
    rows = (tuple(cell(item) for _, cell in columns) for item in items)
    return Table(tuple(column for column, _ in columns), tuple(rows))


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    status: Status = "plain"


@dataclass(frozen=True, slots=True)
class Hint:
    """How to read what stands below it; on pages only."""

    text: str


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms and what they mean; on pages only."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of code or commands, to be copied as they are."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ticks:
    """What was judged: a mark (True ✓, False ✗, None ?), what, and what was seen."""

    items: tuple[tuple[bool | None, str, str], ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture, written as plots/{name}.png, and the chart that pages show instead of it.

    Both are made only for pages. No picture: nothing to show. No chart: pages show the picture.
    """

    name: str
    alt: str
    draw: "Callable[[], Drawing | None]"
    chart: "Callable[[], Chart | None] | None" = None


Block = Table | Text | Hint | Terms | Bullets | Lines | Ticks | Figure


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what stands below it."""

    title: str
    blocks: tuple[Block, ...]
    brief: bool = False  # also in the terminal's brief form; else only with --verbose and on pages
    brief_blocks: tuple[Block, ...] = ()  # instead of `blocks` there; (): the same
    folded: bool = False  # on pages behind its title, until the reader opens it


@dataclass(frozen=True, slots=True)
class Case:
    """A test case for a CI server."""

    scope: str
    name: str
    result: Literal["passed", "failure", "error", "skipped"]
    message: str
    time_s: float = 0.0
    failure_type: str = ""  # of a failure or an error; "": the first word of its scope


@dataclass(frozen=True, slots=True)
class Document:
    """An answer: what it is about, the answer itself, and what it rests on."""

    kind: str  # stem of its files: report | comparison | history | capacity | size | what-if
    title: str
    headline: str  # the answer in a few words
    about: str  # which run of what, one line
    sentence: str  # the answer, one sentence
    status: Status
    sections: tuple[Section, ...]
    result: object  # the dataclass that JSON shows
    cases: tuple[Case, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)  # of the JUnit suite
    started_at_s: float | None = None
    length_s: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)  # environment and versions, on the page
    pictures: tuple[str, ...] = ()  # all it may have: files of those not drawn now are removed

    def __post_init__(self) -> None:
        """Whatever names and messages hold, all words here are on one line and order nothing."""
        for each in fields(self):
            if each.name != "result":
                object.__setattr__(self, each.name, _harmless(getattr(self, each.name)))


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return escape_controls(value)
    if isinstance(value, tuple | list):
        return type(value)(map(_harmless, value))
    if isinstance(value, Mapping):
        return {_harmless(key): _harmless(inner) for key, inner in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _harmless(getattr(value, f.name)) for f in fields(value)})
    return value
