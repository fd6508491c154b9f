"""The numbers behind a chart as tables, for readers who do not see it or want to copy them."""

from collections.abc import Iterator
from typing import Final

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.charts.chart import Chart, Panel
from mwaa_headroom.analysis.report.document import Column, Table

_MOST_ROWS: Final = 400


def chart_tables(chart: Chart) -> tuple[Table, ...]:
    """The numbers behind each panel: a row for each x, a column for each series.

    Of very many rows every n-th, and the caption says so. A panel with rows of its own keeps them.
    """
    return tuple(
        _named_rows(panel) if panel.rows else _table(chart, panel)
        for panel in chart.panels
        if panel.series
    )


def _named_rows(panel: Panel) -> Table:
    labels = {
        row: series.label
        for series in panel.series
        if series.style == "span"
        for row in series.values
    }
    return Table(
        (Column("", right=False), Column(panel.title), Column("", right=False)),
        tuple((name, said, labels.get(row, "")) for row, (name, said) in enumerate(panel.rows)),
        caption=f"{panel.title}, as a table",
    )


def _table(chart: Chart, panel: Panel) -> Table:
    rows = tuple(_rows(chart, panel))
    step = -(-len(rows) // _MOST_ROWS)
    thinned = f", every {words.ordinal(step)} row" if step > 1 else ""
    unit = "" if panel.unit == "s" else panel.unit
    return Table(
        (
            Column(chart.x_label, right=chart.x_unit in ("", "count")),
            *(Column(series.label, unit) for series in panel.series),
        ),
        rows[:: step or 1],
        caption=f"{panel.title}, as a table{thinned}",
    )


def _rows(chart: Chart, panel: Panel) -> Iterator[tuple[str, ...]]:
    written = words.duration if panel.unit == "s" else words.number
    columns: list[dict[float, str]] = []
    for series in panel.series:
        points = list(zip(series.x, series.values, strict=True))
        if series.style in ("step", "area"):  # the last x is the end of the value before it
            points = points[:-1]
        cells = {x: written(value) for x, value in points}
        for (x, _), text in zip(points, series.texts, strict=False):
            cells[x] += text and f" ({text})"
        columns.append(cells)
    for x in sorted({x for column in columns for x in column}):
        first = words.number(x)
        if chart.x_unit == "time":
            first = words.clock(x)
        elif chart.x_unit == "utc":
            first = words.moment((chart.start_s or 0.0) + x)
        yield (first, *(column.get(x, "") for column in columns))
