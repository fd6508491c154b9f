"""A comparison, or a history, as one page that needs nothing but itself."""

from typing import Final

from mwaa_headroom.analysis.comparison.results import Comparison, History
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.comparison import story, tables
from mwaa_headroom.analysis.report.files import Picture
from mwaa_headroom.analysis.report.html import script_safe, template

_COMPARISON: Final = "comparison/comparison.html.j2"
_HISTORY: Final = "comparison/history.html.j2"
_TONES: Final = {"pass": "good", "regression": "bad"}


def render_comparison_html(comparison: Comparison, *, picture: Picture) -> str:
    """The whole page, the forest plot in it twice: drawn, and as a PNG to take away."""
    every = (*story.of_note(comparison), *story.not_of_note(comparison))
    return template(_COMPARISON).render(
        comparison=comparison,
        headline=story.HEADLINES[comparison.verdict],
        tone=_TONES.get(comparison.verdict, "unsure"),
        sides=[
            story.side("baseline", comparison.baseline),
            story.side("contender", comparison.contender),
        ],
        rule=story.rule(comparison),
        change=story.CHANGE,
        gate=tables.gate_table(comparison) if comparison.gate else None,
        informational=tables.informational_table(every) if every else None,
        differing=story.difference_rows((*comparison.differences, *comparison.meant_to_differ)),
        runs=tables.run_table(baseline=comparison.baseline, contender=comparison.contender),
        notes=story.notes(comparison),
        pictures={"forest": picture.svg},
        png=picture.png_base64,
        data=script_safe(as_json(comparison)),
    )


def render_history_html(history: History, *, picture: Picture) -> str:
    """The whole page, its picture in it twice: drawn, and as a PNG to take away."""
    changes = tables.change_point_table(history)
    return template(_HISTORY).render(
        history=history,
        headline=story.history_headline(history),
        tone="unsure" if history.refusals or changes.rows else "good",
        series=tables.series_table(history) if history.metrics else None,
        changes=changes if changes.rows else None,
        differing=story.difference_rows((*history.differences, *history.meant_to_differ)),
        runs=tables.run_table(all=history.runs) if history.runs else None,
        notes=story.history_notes(history),
        pictures={"history": picture.svg},
        png=picture.png_base64,
        data=script_safe(as_json(history)),
    )
