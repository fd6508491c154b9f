"""All pictures of one run, and how they become files or a part of a page."""

import io
import re
from collections.abc import Iterator
from typing import Final

import pyarrow as pa
from matplotlib.figure import Figure

from mwaa_headroom.analysis.report.plots.drawing import PALETTE, style
from mwaa_headroom.analysis.report.plots.scale_out import draw_scale_out
from mwaa_headroom.analysis.report.plots.sizing import draw_demand, draw_sizing
from mwaa_headroom.analysis.report.plots.stages import draw_errors, draw_throughput_latency
from mwaa_headroom.analysis.report.plots.timeline import draw_timeline
from mwaa_headroom.analysis.results import RunAnalysis

PICTURE_NAMES: Final = (
    "timeline",
    "throughput_latency",
    "errors",
    "sizing",
    "demand",
    "scale_out",
)
_PNG_DPI: Final = 110
_DOTS_DPI: Final = 110  # of the rasterized dots inside an SVG


def draw_pictures(requests: pa.Table, analysis: RunAnalysis) -> dict[str, Figure]:
    """Every picture this run has, by name and in the order of `PICTURE_NAMES`.

    Args:
        requests: The record's requests table (`analysis.schema.REQUESTS_SCHEMA`).
        analysis: What was found in it. Without stages there is only the timeline.
    """
    with style():
        return {name: figure for name, figure in _pictures(requests, analysis) if figure}


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


def _pictures(requests: pa.Table, analysis: RunAnalysis) -> Iterator[tuple[str, Figure | None]]:
    yield "timeline", draw_timeline(requests, analysis)
    yield "throughput_latency", draw_throughput_latency(analysis)
    yield "errors", draw_errors(analysis)
    if analysis.sizing:
        yield "sizing", draw_sizing(analysis.sizing, analysis)
    if analysis.demand:
        yield "demand", draw_demand(analysis.demand)
    yield "scale_out", draw_scale_out(requests, analysis)
