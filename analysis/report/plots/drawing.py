"""The calls of a run cut into short windows, for the timeline."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from mwaa_headroom.analysis.calls import Calls, Mask
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.schema import LAYER_OF_OUTCOME, LAYERS
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.statistics import Floats, value_at_rank, values_for_percentile

INK: Final = "#1f2328"
FAINT: Final = "#6e7781"
GRID: Final = "#d8dee4"
SHADE: Final = "#eef1f4"
PAPER: Final = "#fefefe"
# Colours that colour-blind readers can tell apart, after Okabe and Ito (purple: Paul Tol).
BLUE: Final = "#0072b2"
SKY: Final = "#56b4e9"
GREEN: Final = "#009e73"
ORANGE: Final = "#e69f00"
VERMILLION: Final = "#d55e00"
PURPLE: Final = "#aa4499"
PALETTE: Final = {
    "ink": INK,
    "faint": FAINT,
    "grid": GRID,
    "shade": SHADE,
    "paper": PAPER,
    "blue": BLUE,
    "sky": SKY,
    "green": GREEN,
    "orange": ORANGE,
    "vermillion": VERMILLION,
    "purple": PURPLE,
}

COLOUR_OF_LAYER: Final = {
    "caller": PURPLE,
    "service": ORANGE,
    "airflow": VERMILLION,
    "network": SKY,
    "generator": FAINT,
}

_SETTINGS: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.parse_math": False,  # a "$" in a stage name is a dollar
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",  # text stays text: searchable, and small
    "svg.hashsalt": "headroom",
}

_BACKING: Final = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.0, "alpha": 0.85}


@contextmanager
def style() -> Iterator[None]:
    """The settings under which every picture is drawn and saved."""
    with mpl.rc_context(_SETTINGS):
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure on the Agg canvas."""
    figure = Figure(figsize=(width_in, height_in), facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def single_axes(width_in: float, height_in: float, *, left_in: float = 0.9) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, with room for a title and a heading above."""
    figure = new_figure(width_in, height_in)
    bottom_in, top_in, right_in = 0.65, 0.85, 0.35
    axes = figure.add_axes(
        (
            left_in / width_in,
            bottom_in / height_in,
            1 - (left_in + right_in) / width_in,
            1 - (bottom_in + top_in) / height_in,
        ),
        facecolor="none",
    )
    return figure, axes


def stacked_panels(
    heights_in: Mapping[str, float], *, top_in: float
) -> tuple[Figure, dict[str, Axes]]:
    """A wide figure with axes one below the other, by name, on one x axis.

    Args:
        heights_in: of each panel, the uppermost first.
        top_in: room above them, for a title and what is written over the first.
    """
    width_in, left_in, right_in, bottom_in, gap_in = 11.0, 0.85, 0.3, 0.6, 0.42
    total_in = top_in + bottom_in + sum(heights_in.values()) + gap_in * (len(heights_in) - 1)
    figure = new_figure(width_in, total_in)
    panels: dict[str, Axes] = {}
    below_in = total_in - top_in
    for name, height_in in heights_in.items():
        below_in -= height_in
        frame = (
            left_in / width_in,
            below_in / total_in,
            1 - (left_in + right_in) / width_in,
            height_in / total_in,
        )
        first = next(iter(panels.values()), None)
        panels[name] = figure.add_axes(frame, sharex=first, facecolor="none")
        below_in -= gap_in
    return figure, panels


def title(figure: Figure, text: str) -> None:
    """The finding, wrapped, at the top left."""
    width_in, height_in = figure.get_size_inches()
    figure.text(
        0.12 / width_in,
        1 - 0.12 / height_in,
        printable(_wrapped(text, characters=int(width_in * 9.2))),
        fontsize=12.5,
        fontweight="bold",
        va="top",
    )


@dataclass(frozen=True, slots=True)
class Key:
    """What one colour means: a coloured symbol, then words in ink."""

    text: str
    symbol: str = ""
    colour: str = INK


def heading(axes: Axes, name: str, *keys: Key) -> None:
    """The name of the axes and its keys in one line above them: a legend that reads as text."""
    x_points = _write(axes, name, 0.0, color=INK, fontweight="bold") + 12
    for key in keys:
        if key.symbol:
            x_points += _write(axes, key.symbol, x_points, color=key.colour) + 3
        colour = INK if key.symbol else key.colour
        x_points += _write(axes, key.text, x_points, color=colour) + 11


def _write(axes: Axes, text: str, x_points: float, **properties: Any) -> float:
    label = axes.annotate(
        printable(text),
        (0, 1),
        xycoords="axes fraction",
        xytext=(x_points, 5),
        textcoords="offset points",
        va="bottom",
        annotation_clip=False,
        **properties,
    )
    return float(label.get_window_extent().width) * 72 / _dpi(axes)


def say(axes: Axes, text: str) -> None:
    """A sentence in the place of a picture that has nothing to show."""
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.text(
        0.5,
        0.5,
        printable(text),
        transform=axes.transAxes,
        ha="center",
        va="center",
        color=FAINT,
        fontsize=10.5,
    )


def printable(text: str) -> str:
    """Characters that the font of the pictures lacks become "?"."""
    return "".join(c if ord(c) < 0x250 or c in "✓✗≥…■●○━╌◆" else "?" for c in text)


class Labels:
    """Writes labels beside points so that no two overlap and none leaves the axes."""

    def __init__(self, axes: Axes, taken: Iterable[Bbox] = ()) -> None:
        self._axes = axes
        self._taken = list(taken)

    def keep_clear(self, points: Iterable[tuple[float, float]], radius_px: float = 6.0) -> None:
        """No label may cover these points (in data coordinates)."""
        for x, y in points:
            px, py = self._axes.transData.transform((x, y))
            self._taken.append(
                Bbox.from_extents(px - radius_px, py - radius_px, px + radius_px, py + radius_px)
            )

    def add(
        self,
        text: str,
        point: tuple[float, float],
        colour: str,
        offsets: Sequence[tuple[float, float]],
    ) -> bool:
        """Write `text` at the first free offset (in points); False when there is no room.

        Text stands right of the point for a positive x offset, left of it for a negative one.
        """
        label = self._axes.annotate(printable(text), point, xytext=(0, 0), color=colour)
        label.set(fontsize=8.5, va="center", annotation_clip=False, bbox=_BACKING)
        label.anncoords = "offset points"
        for x, y in offsets:
            label.set_horizontalalignment("left" if x > 0 else "right" if x < 0 else "center")
            label.xyann = (x, y)
            if self._is_free(label):
                self._taken.append(label.get_window_extent().padded(1.5))
                return True
        label.remove()
        return False

    def _is_free(self, label: Annotation) -> bool:
        box = label.get_window_extent()
        frame = self._axes.get_window_extent().padded(3)
        inside = frame.x0 + 6 <= box.x0 and box.x1 <= frame.x1 + 20 and frame.y0 <= box.y0
        inside = inside and box.y1 <= frame.y1
        return inside and not any(box.overlaps(other) for other in self._taken)


def text_width_px(axes: Axes, text: str, **properties: Any) -> float:
    """How wide `text` would be on these axes."""
    label = axes.text(0, 0, printable(text), **properties)
    width = label.get_window_extent().width
    label.remove()
    return float(width)


def _dpi(axes: Axes) -> float:
    return float(axes.get_figure(root=True).dpi)  # type: ignore[union-attr]


def _wrapped(text: str, characters: int) -> str:
    return textwrap.fill(text, characters)


def draw_calls(axes: Axes, calls: Calls, started_at_s: float, *, faintest: float) -> None:
    """Latency against intended start, good calls as dots and failed ones as crosses.

    Args:
        axes: time in seconds since `started_at_s`, latency in seconds.
        calls: few enough to be drawn; the more, the fainter.
        started_at_s: epoch seconds.
        faintest: opacity of very many.
    """
    faintness = float(np.clip(600 / max(len(calls), 1), faintest, 0.45))
    for chosen, colour, marker, alpha in (
        (calls.where(calls.ok), FAINT, "o", faintness),
        (calls.where(~calls.ok), VERMILLION, "x", min(1.0, faintness * 4)),
    ):
        axes.plot(
            chosen.intended_start_s - started_at_s,
            chosen.latency_s,
            linestyle="none",
            marker=marker,
            markersize=3.0,
            markeredgewidth=0.9 if marker == "x" else 0.0,
            color=colour,
            alpha=alpha,
            rasterized=True,
            zorder=1.2,
        )


_TICK_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400)
_LOG_FROM_RATIO: Final = 15.0


def latency_slo(analysis: RunAnalysis) -> Slo | None:
    """The objective that is drawn as a line: the first on a latency percentile of all calls."""
    return next(
        (s for s in analysis.slos if s.metric == "latency" and s.percentile and not s.selector_key),
        None,
    )


def draw_slo_line(axes: Axes, slo: Slo | None) -> None:
    """A dashed line at the objective."""
    if slo is None:
        return
    axes.axhline(slo.threshold, color=INK, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1.5)


def time_axis(axes: Axes, length_s: float, *, ticks: int = 11) -> None:
    """The horizontal axis: minutes and seconds since the start of the run."""
    step = next((s for s in _TICK_STEPS_S if length_s / s <= ticks), _TICK_STEPS_S[-1])
    axes.xaxis.set_major_locator(FixedLocator(list(np.arange(0, length_s + step * 0.01, step))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: words.clock(x)))
    axes.set_xlim(0, max(length_s, 1.0))


def latency_axis(axes: Axes, values_s: Iterable[float]) -> None:
    """The vertical axis: logarithmic when the values span more than a factor of fifteen."""
    known = np.array([v for v in values_s if words.is_known(v) and v > 0])
    if known.size == 0:
        axes.set_ylim(0, 1)
        return
    low, high = float(known.min()), float(known.max())
    if high / low < _LOG_FROM_RATIO:
        axes.set_ylim(0, high * 1.2)
        axes.yaxis.set_major_locator(MaxNLocator(6))
    else:
        axes.set_yscale("log")
        axes.set_ylim(low / 1.4, high * 1.6)
        subs = (1.0, 2.0, 5.0) if high / low < 300 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _tick(y)))


def _tick(seconds: float) -> str:
    if seconds == 0:
        return "0"
    if seconds < 0.9995:
        return f"{words.trimmed(seconds * 1000)} ms"
    return f"{words.trimmed(seconds)} s"


Array = NDArray[Any]

_WIDTHS_S: Final = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
_MOST_WINDOWS: Final = 120
_FEWEST_WINDOWS: Final = 8
_LEAST_FOR_P50: Final = 5


@dataclass(frozen=True, slots=True)
class Windows:
    """Per window: rates per second and latency percentiles (NaN where calls are too few)."""

    width_s: float
    edges_s: Array  # since the start of the run
    offered_per_s: Array
    achieved_per_s: Array
    errors_per_s: dict[str, Array]  # by layer, only layers with errors
    p50_s: Array
    p95_s: Array

    @property
    def centres_s(self) -> Array:
        """The middle of every window."""
        return (self.edges_s[:-1] + self.edges_s[1:]) / 2


def cut(calls: Calls, *, started_at_s: float, length_s: float, slowest_per_s: float) -> Windows:
    """Cut a run of `length_s` seconds into windows of one width.

    The width is the least that keeps windows below 120 and still has a 95th percentile in the
    stage with the lowest rate, `slowest_per_s`.
    """
    width_s = _width(length_s, slowest_per_s)
    since_start_s = calls.intended_start_s - started_at_s
    # After the last arrival there is no load to show, only waiting for answers.
    edges = _edges(min(length_s, since_start_s.max(initial=0.0)), width_s)
    number = len(edges) - 1
    place = np.searchsorted(edges[:-1], since_start_s, side="right").astype(np.int16) - 1

    def per_s(chosen: Mask) -> Array:
        return np.bincount(place[chosen & (place >= 0)], minlength=number) / np.diff(edges)

    latencies = _latencies(calls, place, number)
    by_layer = {layer: _of_layer(calls, layer) for layer in LAYERS}
    return Windows(
        width_s=width_s,
        edges_s=edges,
        offered_per_s=per_s(np.full(len(place), fill_value=True)),
        achieved_per_s=per_s(calls.sent),
        errors_per_s={layer: per_s(mask) for layer, mask in by_layer.items() if mask.any()},
        p50_s=_percentiles(latencies, 50.0, _LEAST_FOR_P50),
        p95_s=_percentiles(latencies, 95.0, values_for_percentile(95.0)),
    )


def _width(length_s: float, slowest_per_s: float) -> float:
    enough_calls_s = values_for_percentile(95.0) * 1.2 / max(slowest_per_s, 1e-9)
    wanted = max(length_s / _MOST_WINDOWS, enough_calls_s)
    most = max(length_s / _FEWEST_WINDOWS, 1.0)
    allowed = [width for width in _WIDTHS_S if width <= most]
    return next((width for width in allowed if width >= wanted), allowed[-1])


def _edges(length_s: float, width_s: float) -> Array:
    """Whole windows; a rest shorter than half a window belongs to the last one."""
    whole = np.arange(0.0, length_s, width_s)
    if len(whole) > 1 and length_s - whole[-1] < width_s / 2:
        whole = whole[:-1]
    return np.append(whole, max(length_s, width_s if len(whole) == 1 else 0.0))


def _of_layer(calls: Calls, layer: str) -> Mask:
    outcomes = [name for name, owner in LAYER_OF_OUTCOME.items() if owner == layer]
    return calls.outcome.are(*outcomes)


def _latencies(calls: Calls, place: Array, windows: int) -> list[Floats]:
    """The latencies of each window, of its timed calls."""
    timed = calls.timed & (place >= 0)
    own = place[timed]
    # One stable order for all windows: looking through all calls for each would take much longer.
    ordered_s = calls.times_s("latency", timed)[np.argsort(own, kind="stable")]
    ends = np.cumsum(np.bincount(own, minlength=windows))
    return np.split(ordered_s, ends)[:windows]


def _percentiles(latencies: Sequence[Floats], percent: float, least: int) -> Array:
    return np.array(
        [value_at_rank(values, percent) if len(values) >= least else np.nan for values in latencies]
    )
