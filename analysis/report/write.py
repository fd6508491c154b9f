"""Puts the files of a document into a directory, each whole or not at all."""

import errno
import secrets
from collections.abc import Collection, Iterator
from json import dumps
from pathlib import Path
from typing import Final

from markupsafe import Markup
from matplotlib.figure import Figure as Drawing

from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.charts.chart import Chart
from mwaa_headroom.analysis.report.document import Document, Figure
from mwaa_headroom.analysis.report.html import render_html
from mwaa_headroom.analysis.report.junit import render_junit
from mwaa_headroom.analysis.report.markdown import render_markdown
from mwaa_headroom.analysis.report.plots.drawing import as_inline_svg, as_png, style
from mwaa_headroom.analysis.report.terminal import render_terminal

SUMMARY_WIDTH: Final = 100


def write_document(document: Document, directory: Path) -> Path:
    """Write {kind}.html, {kind}.json, summary.txt, summary.md and plots/*.png into `directory`.

    junit.xml too, if the document has test cases. Files of an earlier report are replaced; of
    `document.pictures`, those that are not drawn any more are removed.

    Returns:
        The page.

    Raises:
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / "plots").is_symlink():  # the directory may be somebody else's
        raise OSError(errno.ELOOP, "its 'plots' is a link to elsewhere")
    drawn = dict(_drawn(document))
    charts = dict(_charts(document, drawn))
    for name, drawing in drawn.items():
        _write_png(drawing, name, directory)
    pictures = {
        name: Markup(as_inline_svg(drawing, name))  # noqa: S704 - our own picture
        for name, drawing in drawn.items()
        if name not in charts
    }
    for name in set(document.pictures) - drawn.keys():
        (directory / "plots" / f"{name}.png").unlink(missing_ok=True)
    summary = render_terminal(document, verbose=True, width=SUMMARY_WIDTH, colour=False)
    json = dumps(as_json(document.result), indent=2, ensure_ascii=False, allow_nan=False)
    page = directory / f"{document.kind}.html"
    _write(directory / "summary.txt", f"{summary}\n")
    _write(directory / "summary.md", render_markdown(document))
    _write(directory / f"{document.kind}.json", f"{json}\n")
    if document.cases:
        _write(directory / "junit.xml", render_junit(document))
    _write(page, render_html(document, pictures, charts))
    return page


def _figures(document: Document) -> Iterator[Figure]:
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                yield block


def _drawn(document: Document) -> Iterator[tuple[str, Drawing]]:
    for figure in _figures(document):
        with style():
            drawing = figure.draw()
        if drawing is not None:
            yield figure.name, drawing


def _charts(document: Document, drawn: Collection[str]) -> Iterator[tuple[str, Chart]]:
    for figure in _figures(document):
        if figure.name in drawn and figure.chart and (chart := figure.chart()):
            yield figure.name, chart


def _write_png(drawing: Drawing, name: str, directory: Path) -> None:
    (directory / "plots").mkdir(exist_ok=True)
    replace_file(directory / "plots" / f"{name}.png", as_png(drawing))


def _write(path: Path, text: str) -> None:
    # Halves of characters in service messages: as escapes, which JSON reads as it wrote them.
    replace_file(path, text.encode(errors="backslashreplace"))


def replace_file(path: Path, content: bytes) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, never half of one.

    A link of that name is replaced, not followed.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        with beside.open("xb") as file:  # x: nothing of this name is there, not even a link
            file.write(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
