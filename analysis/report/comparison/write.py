"""Puts the files of a comparison, or of a history, into a directory, each whole or not at all."""

from pathlib import Path

from mwaa_headroom.analysis.comparison.results import Comparison, History
from mwaa_headroom.analysis.report.comparison.html import (
    render_comparison_html,
    render_history_html,
)
from mwaa_headroom.analysis.report.comparison.junit import comparison_junit_xml
from mwaa_headroom.analysis.report.comparison.terminal import render_comparison, render_history
from mwaa_headroom.analysis.report.files import write_answer_files, write_picture
from mwaa_headroom.analysis.report.plots.drawing import style
from mwaa_headroom.analysis.report.plots.forest import draw_forest
from mwaa_headroom.analysis.report.plots.history import draw_history
from mwaa_headroom.analysis.report.write import SUMMARY_WIDTH, replace_file


def write_comparison(comparison: Comparison, directory: Path) -> Path:
    """Write comparison.html, comparison.json, junit.xml, summary.txt and plots/forest.png.

    Returns:
        The page.

    Raises:
        OSError: the directory cannot be written.
    """
    with style():
        figure = draw_forest(comparison)
    picture = write_picture(figure, "forest", directory)
    html = render_comparison_html(comparison, picture=picture)
    text = render_comparison(comparison, colour=False, width=SUMMARY_WIDTH)
    replace_file(directory / "junit.xml", comparison_junit_xml(comparison).encode())
    return write_answer_files(directory, "comparison", html, text, comparison)


def write_history(history: History, directory: Path) -> Path:
    """Write history.html, history.json, summary.txt and plots/history.png; returns the page.

    Raises:
        OSError: the directory cannot be written.
    """
    with style():
        figure = draw_history(history)
    picture = write_picture(figure, "history", directory)
    html = render_history_html(history, picture=picture)
    text = render_history(history, colour=False, width=SUMMARY_WIDTH)
    return write_answer_files(directory, "history", html, text, history)
