"""Puts the files of a comparison, or of a history, into a directory, each whole or not at all."""

from json import dumps
from pathlib import Path

from matplotlib.figure import Figure

from analysis.comparison_results import Comparison, History
from analysis.report.as_json import as_json
from analysis.report.comparison.html import render_comparison_html, render_history_html
from analysis.report.comparison.junit import comparison_junit_xml
from analysis.report.comparison.terminal import render_comparison, render_history
from analysis.report.plots.drawing import style
from analysis.report.plots.forest import draw_forest
from analysis.report.plots.gallery import as_inline_svg, as_png
from analysis.report.plots.history import draw_history
from analysis.report.write import SUMMARY_WIDTH, replace_file


def write_comparison(comparison: Comparison, directory: Path) -> Path:
    """Write comparison.html, comparison.json, junit.xml, summary.txt and plots/forest.png.

    Returns:
        The page.

    Raises:
        OSError: the directory cannot be written.
    """
    with style():
        figure = draw_forest(comparison)
    svg, png = _drawn(figure, "forest", directory)
    html = render_comparison_html(comparison, svg=svg, png=png)
    text = render_comparison(comparison, colour=False, width=SUMMARY_WIDTH)
    replace_file(directory / "junit.xml", comparison_junit_xml(comparison).encode())
    return _write(directory, "comparison", html, text, comparison)


def write_history(history: History, directory: Path) -> Path:
    """Write history.html, history.json, summary.txt and plots/history.png; returns the page.

    Raises:
        OSError: the directory cannot be written.
    """
    with style():
        figure = draw_history(history)
    svg, png = _drawn(figure, "history", directory)
    html = render_history_html(history, svg=svg, png=png)
    text = render_history(history, colour=False, width=SUMMARY_WIDTH)
    return _write(directory, "history", html, text, history)


def _drawn(figure: Figure, name: str, directory: Path) -> tuple[str, bytes]:
    """The picture for the page; its PNG is also written beside it."""
    png = as_png(figure)
    (directory / "plots").mkdir(parents=True, exist_ok=True)
    replace_file(directory / "plots" / f"{name}.png", png)
    return as_inline_svg(figure, name), png


def _write(directory: Path, stem: str, html: str, text: str, result: Comparison | History) -> Path:
    page = directory / f"{stem}.html"
    json = dumps(as_json(result), indent=2, ensure_ascii=False, allow_nan=False)
    replace_file(directory / f"{stem}.json", f"{json}\n".encode())
    replace_file(directory / "summary.txt", f"{text}\n".encode())
    replace_file(page, html.encode())
    return page
