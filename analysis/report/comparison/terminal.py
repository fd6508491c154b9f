"""Comparisons and histories for a terminal and for a CI log: tables first, the verdict last."""

from collections.abc import Iterator

from mwaa_headroom.analysis.comparison.results import Comparison, History
from mwaa_headroom.analysis.report.blocks import headed_list, headed_table
from mwaa_headroom.analysis.report.comparison import story, tables
from mwaa_headroom.analysis.report.layout import laid_out
from mwaa_headroom.analysis.report.pen import Pen

_STYLES = {"pass": ("bold", "green"), "regression": ("bold", "red")}
_UNSURE = ("bold", "yellow")


def render_comparison(comparison: Comparison, *, colour: bool, width: int) -> str:
    """The whole summary, without a final newline; arguments as of `render_summary`."""
    pen = Pen(colour=colour, width=width)
    lines = [pen.style("Comparison", "bold")]
    lines.extend(pen.wrapped(story.side("baseline", comparison.baseline)))
    lines.extend(pen.wrapped(story.side("contender", comparison.contender)))
    lines.extend(pen.wrapped(story.rule(comparison)))
    lines.extend(headed_list("Cannot be compared", comparison.refusals, pen))
    if comparison.gate:
        lines.extend(headed_table("Gate", tables.gate_table(comparison), pen))
        lines.extend(pen.wrapped(story.CHANGE))
    lines.extend(_informational(comparison, pen))
    differing = story.difference_rows(comparison.meant_to_differ)
    if differing and not comparison.differences:
        lines.extend(headed_table("What differs, as it may", differing, pen))
    lines.extend(headed_list("Notes", story.notes(comparison), pen))
    lines.append("")
    styles = _STYLES.get(comparison.verdict, _UNSURE)
    lines += [
        pen.style(line, *styles) for line in pen.wrapped(comparison.sentence, first="", rest="")
    ]
    return "\n".join(line.rstrip() for line in lines)


def render_history(history: History, *, colour: bool, width: int) -> str:
    """The whole summary, without a final newline; arguments as of `render_summary`."""
    pen = Pen(colour=colour, width=width)
    lines = [pen.style("History", "bold")]
    if history.runs:
        lines.extend(pen.wrapped(story.side("all", history.runs)))
    lines.extend(headed_list("Cannot be told", history.refusals, pen))
    if history.metrics:
        lines.extend(headed_table("Metrics", tables.series_table(history), pen))
    points = tables.change_point_table(history)
    if points.rows:
        lines.extend(headed_table("Changes", points, pen))
    lines.extend(headed_list("Notes", story.history_notes(history), pen))
    styles = _UNSURE if history.refusals else ("bold",)
    lines.append("")
    lines += [pen.style(line, *styles) for line in pen.wrapped(history.sentence, first="", rest="")]
    return "\n".join(line.rstrip() for line in lines)


def _informational(comparison: Comparison, pen: Pen) -> Iterator[str]:
    """The metrics that changed, and how many did not."""
    if not comparison.informational:
        return
    yield ""
    yield pen.style("Informational, not part of the verdict", "bold")
    changed = story.of_note(comparison)
    if changed:
        yield from laid_out(tables.informational_table(changed), pen.width, pen.style)
    unchanged = story.quiet(comparison)
    if unchanged:
        yield from pen.wrapped(unchanged)
