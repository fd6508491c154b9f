"""What all pictures are drawn with: colours, axes, labels that do not overlap, and files."""

import io
import math
import re
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

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.statistics import Estimate

# Colours that colour-blind readers can tell apart, after Okabe and Ito (purple: Paul Tol).
PALETTE: Final = {
    "ink": "#1f2328",
    "faint": "#6e7781",
    "grid": "#d8dee4",
    "shade": "#eef1f4",
    "paper": "#fefefe",
    "blue": "#0072b2",
    "sky": "#56b4e9",
    "green": "#009e73",
    "orange": "#e69f00",
    "vermillion": "#d55e00",
    "purple": "#aa4499",
}
INK, FAINT, GRID, SHADE, PAPER, BLUE, SKY, GREEN, ORANGE, VERMILLION, PURPLE = PALETTE.values()
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

_PNG_DPI: Final = 110
_DOTS_DPI: Final = 110  # of the rasterized dots inside an SVG
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
    return figure, _axes(figure, left_in, 0.65, width_in - left_in - 0.35, height_in - 1.5)


def stacked_panels(
    heights_in: Mapping[str, float],
    *,
    top_in: float,
    width_in: float = 11.0,
    sides_in: tuple[float, float] = (0.85, 0.3),
    gap_in: float = 0.42,
    share_x: bool = True,
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with axes one below the other, by name.

    Args:
        heights_in: of each panel, the uppermost first.
        top_in: room above them, for a title and what is written over the first.
        width_in: of the figure.
        sides_in: room to the left and to the right of the panels.
        gap_in: between panels.
        share_x: whether all have one x axis.
    """
    below_in = 0.6 + sum(heights_in.values()) + gap_in * (len(heights_in) - 1)
    figure = new_figure(width_in, below_in + top_in)
    panels: dict[str, Axes] = {}
    across_in = width_in - sum(sides_in)
    for name, height_in in heights_in.items():
        below_in -= height_in
        above = next(iter(panels.values()), None) if share_x else None
        panels[name] = _axes(figure, sides_in[0], below_in, across_in, height_in, above)
        below_in -= gap_in
    return figure, panels


def _axes(
    figure: Figure,
    left_in: float,
    bottom_in: float,
    width_in: float,
    height_in: float,
    same_x_as: Axes | None = None,
) -> Axes:
    across_in, up_in = figure.get_size_inches()
    frame = (left_in / across_in, bottom_in / up_in, width_in / across_in, height_in / up_in)
    return figure.add_axes(frame, sharex=same_x_as, facecolor="none")


def title(figure: Figure, text: str) -> None:
    """The finding, wrapped, at the top left."""
    width_in, height_in = figure.get_size_inches()
    figure.text(
        0.12 / width_in,
        1 - 0.12 / height_in,
        printable(textwrap.fill(text, int(width_in * 9.2))),
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
    return float(label.get_window_extent().width) * 72 / float(axes.figure.dpi)


def say(axes: Axes, text: str) -> None:
    """A sentence in the place of a picture that has nothing to show."""
    bare(axes)
    middle: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, printable(text), color=FAINT, fontsize=10.5, **middle)


def bare(axes: Axes) -> None:
    """Without a frame, a grid and anything to read beside it."""
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def printable(text: str) -> str:
    """Characters that the font of the pictures lacks become "?"; breaks of lines stay."""
    shown = (c if _is_in_font(c) else "?" for c in text)
    return "".join(shown)


def _is_in_font(c: str) -> bool:
    return c == "\n" or (c.isprintable() and ord(c) < 0x250) or c in "✓✗≥…■●○━╌◆"


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


_TICK_STEPS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400)
_MOST_TICKS: Final = 12
_LOG_FROM_RATIO: Final = 15.0


def known_ends(estimate: Estimate | None) -> tuple[float, float] | tuple[()]:
    """The lowest and the highest that is known of an estimate; none without a value."""
    if estimate is None or not words.is_known(estimate.value):
        return ()
    ends = [v for v in (estimate.low, estimate.value, estimate.high) if words.is_known(v)]
    return min(ends), max(ends)


def draw_slo_line(axes: Axes, slo: Slo | None) -> None:
    """A dashed line at the objective."""
    if slo is None:
        return
    axes.axhline(slo.threshold, color=INK, linewidth=1.1, linestyle=(0, (5, 3)), zorder=1.5)


def time_axis(axes: Axes, to_s: float, *, from_s: float = 0.0) -> None:
    """The horizontal axis: minutes and seconds since the start of the run."""
    to_s = max(to_s, from_s + 1.0)
    step_s = next((s for s in _TICK_STEPS_S if to_s - from_s <= _MOST_TICKS * s), _TICK_STEPS_S[-1])
    first_s = math.ceil(from_s / step_s) * step_s
    axes.xaxis.set_major_locator(FixedLocator(list(np.arange(first_s, to_s + 0.01, step_s))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: words.clock(x)))
    axes.set_xlim(from_s, to_s)


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


def as_png(figure: Figure) -> bytes:
    """The picture on white paper."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=_PNG_DPI)
    return buffer.getvalue()


def as_inline_svg(figure: Figure, name: str) -> str:
    """The picture as an `<svg>` element for a page that defines `PALETTE` as CSS variables.

    Text stays text. Ids are made unique by `name`; nothing refers to anything outside.
    """
    buffer = io.StringIO()
    with style():
        figure.savefig(
            buffer,
            format="svg",
            dpi=_DOTS_DPI,
            facecolor="none",
            metadata={"Date": None, "Creator": None},
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", svg)
    svg = re.sub(r'^<svg width="[^"]*" height="[^"]*"', f'<svg data-picture="{name}"', svg)
    svg = re.sub(r'\b(id="|xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace("'DejaVu Sans'", "system-ui, sans-serif")
    for variable, colour in PALETTE.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg
