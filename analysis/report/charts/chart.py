"""A chart as values: panels one below the other over one x axis, and its JSON.

The JSON (`chart_data`) is all that `drawTimeline(element, data)` of `page/charts.js` takes:

    {
      "title": words, "start_s": epoch seconds | null,
      "x": {"label": words, "unit": "time" | "utc" | "count" | "", "from": number, "to": number},
      "panels": [{
        "id": word, "title": words, "unit": words, "scale": "linear" | "log",
        "range": [low, high] | null,   null: from 0 to what is in sight
        "rows": [[name, what is said of it]],   of y = 0, 1, .. from the top; []: y is a quantity
        "series": [{"label": words, "colour": a CSS variable's name,
                    "style": "step" | "line" | "area" | "curve" | "points" | "interval" | "span",
                    "x": [numbers], "values": [number | null], null: a gap
                    "low": [...], "high": [...] of intervals, "texts": [words of each point]}],
        "lines": [{"value": number, "label": words}],
        "calls": null | {"label": words, "count": calls of the record, "shown": those here,
                         "note": words, "unit_s": .., "low_s": .., "high_s": .., "words": base64}
      }],
      "stages": [{"name", "from", "judged_from", "to",
                  "verdict": "pass" | "fail" | "undecided" | "capacity" | "overload" | ""}],
      "events": [{"at", "text", "colour"}]
    }

On a time axis every x is seconds since `start_s`; "utc" writes them as dates;
"count" has ticks at whole numbers only, as has a y axis without a unit. `step`: a value holds from
its x to the next. `curve`: a line of a law, without points. Times (latency) are seconds.
`interval`: `low` to `high` upright; `span`: lying, of a panel with rows, its values the rows.
Charts that are not of a run use `stages` for other bands over x.
"""

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from mwaa_headroom.analysis.calls import Calls
from mwaa_headroom.analysis.report.controls import escape_controls
from mwaa_headroom.analysis.statistics import Floats

Style = Literal["step", "line", "area", "curve", "points", "interval", "span"]

_DIGITS, _X_DIGITS = 6, 10
_LOG_FROM_RATIO: Final = 15.0
_MOST_OK, _MOST_FAILED = 90_000, 30_000  # of the calls on a page: 4 bytes each
_FAILED_KEPT: Final = 2_000  # before failed ones are thinned out as the others are
_MOST_TICKS: Final = 65_535  # between one call and the next
_MOST_STEPS: Final = 3000  # a day of periods of 5 s is six times as many
_CODES: Final = 32_767  # of a latency, on a logarithmic scale; the highest bit: it failed


@dataclass(frozen=True, slots=True)
class Series:
    """One thing shown over x; NaN and None are gaps."""

    label: str
    colour: str  # a name of the page's palette
    x: Floats | Sequence[float]
    values: Floats | Sequence[float | None]
    style: Style = "line"
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    texts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PackedCalls:
    """Single calls in four bytes each.

    `words`: pairs of 16-bit little-endian numbers in the order of time: ticks of `unit_s` since the
    call before (the first: since the start), and the latency as a code between `low_s` (0) and
    `high_s` (32767) on a logarithmic scale, plus 32768 if the call failed.
    """

    label: str
    count: int  # sent in the run
    shown: int
    note: str  # which ones are not shown; "": all are
    unit_s: float
    low_s: float
    high_s: float
    words: bytes


@dataclass(frozen=True, slots=True)
class Panel:
    """Series over one y axis. `scale` log: `range` must be given.

    With `rows` (a name and what is said of it, each) y tells them apart: 0, 1, .. from the top.
    """

    id: str
    title: str
    unit: str  # "s" is shown as ms or s
    series: tuple[Series, ...]
    scale: Literal["linear", "log"] = "linear"
    range: tuple[float, float] | None = None
    lines: tuple[tuple[float, str], ...] = ()
    calls: PackedCalls | None = None
    rows: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Band:
    """A stage as a band over x."""

    name: str
    from_x: float
    judged_from_x: float
    to_x: float
    verdict: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened."""

    at_x: float
    text: str
    colour: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Panels over the same x."""

    title: str
    x_label: str
    from_x: float
    to_x: float
    panels: tuple[Panel, ...]
    x_unit: Literal["time", "utc", "count", ""] = ""
    start_s: float | None = None
    stages: tuple[Band, ...] = ()
    events: tuple[Mark, ...] = ()


def limits(
    values: Iterable[float | None],
) -> tuple[Literal["linear", "log"], tuple[float, float]]:
    """The scale and the ends of an axis: logarithmic when the values span a factor of fifteen."""
    known = [value for value in values if value is not None and math.isfinite(value) and value > 0]
    if known and max(known) / min(known) >= _LOG_FROM_RATIO:
        return "log", (_low_end_of_log(min(known) / 1.4), max(known) * 1.6)
    return "linear", (0.0, 1.2 * max(known, default=1.0))


def _low_end_of_log(low: float) -> float:
    """Not above 9 times a power of ten: from 9.5 on, uPlot 1.6.32 never ends its list of ticks."""
    nine = float(f"9e{math.floor(math.log10(low))}")
    return min(low, nine)


def extremes(
    edges: Floats, values: Floats | Sequence[float | None], *, lowest: bool = False
) -> tuple[Floats, Floats, int]:
    """Steps over metric periods, of very many the highest (or lowest) of neighbours.

    Args:
        edges: the beginning of each, and the end of the last.
        values: what holds from each edge on; None and NaN are gaps.
        lowest: take the lowest.

    Returns:
        Both, as many of each, and how many periods one step stands for.
    """
    known = np.asarray(values, dtype=float)
    width = -(-(len(edges) - 1) // _MOST_STEPS)
    if width <= 1:
        return np.asarray(edges, dtype=float), known, 1
    starts = np.arange(0, len(edges) - 1, width)
    picked = (np.fmin if lowest else np.fmax).reduceat(known[:-1], starts)
    return np.append(edges[starts], edges[-1]), np.append(picked, picked[-1]), width


def chart_data(chart: Chart) -> dict[str, Any]:
    """The JSON of the module's docstring; numbers have six significant digits, x has ten."""
    data = {
        "title": chart.title,
        "start_s": chart.start_s,
        "x": {
            "label": chart.x_label,
            "unit": chart.x_unit,
            "from": _number(chart.from_x, _X_DIGITS),
            "to": _number(chart.to_x, _X_DIGITS),
        },
        "panels": [_panel_data(panel) for panel in chart.panels],
        "stages": [
            {
                "name": band.name,
                "from": _number(band.from_x, _X_DIGITS),
                "judged_from": _number(band.judged_from_x, _X_DIGITS),
                "to": _number(band.to_x, _X_DIGITS),
                "verdict": band.verdict,
            }
            for band in chart.stages
        ],
        "events": [
            {"at": _number(mark.at_x, _X_DIGITS), "text": mark.text, "colour": mark.colour}
            for mark in chart.events
        ],
    }
    harmless: dict[str, Any] = _harmless(data)
    return harmless


def _panel_data(panel: Panel) -> dict[str, Any]:
    return {
        "id": panel.id,
        "title": panel.title,
        "unit": panel.unit,
        "scale": panel.scale,
        "range": panel.range and [_number(end) for end in panel.range],
        "rows": [list(row) for row in panel.rows],
        "series": [_series_data(series) for series in panel.series],
        "lines": [{"value": _number(value), "label": label} for value, label in panel.lines],
        "calls": panel.calls and _calls_data(panel.calls),
    }


def _series_data(series: Series) -> dict[str, Any]:
    data: dict[str, Any] = {
        "label": series.label,
        "colour": series.colour,
        "style": series.style,
        "x": [_number(x, _X_DIGITS) for x in series.x],
        "values": _numbers(series.values),
    }
    if series.low:
        data |= {"low": _numbers(series.low), "high": _numbers(series.high)}
    if series.texts:
        data["texts"] = list(series.texts)
    return data


def _calls_data(calls: PackedCalls) -> dict[str, Any]:
    return {
        "label": calls.label,
        "count": calls.count,
        "shown": calls.shown,
        "note": calls.note,
        "unit_s": calls.unit_s,
        "low_s": calls.low_s,
        "high_s": calls.high_s,
        "words": base64.b64encode(calls.words).decode(),
    }


def _numbers(values: Iterable[float | None]) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: float | None, digits: int = _DIGITS) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() else short


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return escape_controls(value)
    if isinstance(value, list):
        return [_harmless(each) for each in value]
    if isinstance(value, dict):
        return {key: _harmless(each) for key, each in value.items()}
    return value


def packed_calls(calls: Calls, started_at_s: float) -> PackedCalls | None:
    """The calls that were sent; of very many every n-th, and of failed ones at least 2,000.

    A time is kept to the millisecond (or a 65,535th of the longest pause), a latency to 0.05 %.
    None: no call has a latency.
    """
    latency_s = calls.latency_s
    known = calls.sent & (latency_s > 0)
    failed = known & ~calls.ok
    ok_places, failed_places = np.flatnonzero(known & calls.ok), np.flatnonzero(failed)
    step = max(1, math.ceil(len(ok_places) / _MOST_OK))
    failed_step = max(
        min(step, len(failed_places) // _FAILED_KEPT),
        math.ceil(len(failed_places) / _MOST_FAILED),
        1,
    )
    chosen = (ok_places[::step], failed_places[::failed_step])
    places = np.sort(np.concatenate(chosen))
    if not len(places):
        return None
    places = places[np.argsort(calls.intended_start_s[places], kind="stable")]
    since_s = np.maximum(calls.intended_start_s[places] - started_at_s, 0.0)
    took_s = latency_s[places]
    unit_s = max(0.001, float(np.diff(since_s, prepend=0.0).max()) / (_MOST_TICKS - 1))
    ticks = np.diff(np.round(since_s / unit_s), prepend=0.0)
    low_s, high_s = float(took_s.min()), float(took_s.max())
    span = math.log(high_s / low_s) or 1.0
    codes = np.round(np.log(took_s / low_s) / span * _CODES) + 32768 * failed[places]
    pairs = np.column_stack((ticks, codes)).astype("<u2")
    return PackedCalls(
        label="single calls",
        count=int(known.sum()),
        shown=len(places),
        note=_thinning((len(ok_places), len(failed_places)), chosen),
        unit_s=unit_s,
        low_s=low_s,
        high_s=high_s,
        words=pairs.tobytes(),
    )


def _thinning(totals: tuple[int, int], chosen: Sequence[np.ndarray[Any, Any]]) -> str:
    parts = [
        f"{len(shown):,} of {total:,} {what}"
        for total, shown, what in zip(
            totals, chosen, ("calls that ended ok", "failed calls"), strict=True
        )
        if total > len(shown)
    ]
    return f"Points: {' and '.join(parts)}, evenly thinned out." if parts else ""
