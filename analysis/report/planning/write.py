"""Puts the files of an answer into a directory, each whole or not at all."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from mwaa_headroom.analysis.report.files import write_answer_files, write_picture
from mwaa_headroom.analysis.report.planning.answer import Answer
from mwaa_headroom.analysis.report.planning.html import render_answer_html
from mwaa_headroom.analysis.report.planning.terminal import render_answer
from mwaa_headroom.analysis.report.write import SUMMARY_WIDTH


def write_answer(
    answer: Answer, result: object, figures: Mapping[str, Figure], directory: Path
) -> Path:
    """Write {kind}.html, {kind}.json (the result), summary.txt and plots/{name}.png.

    Args:
        answer: What to tell.
        result: The dataclass it was drawn from.
        figures: The pictures by the names that the sections use.
        directory: Made when it is not there.

    Returns:
        The page.

    Raises:
        OSError: the directory cannot be written.
    """
    pictures = {name: write_picture(figure, name, directory) for name, figure in figures.items()}
    html = render_answer_html(answer, result, pictures)
    text = render_answer(answer, colour=False, width=SUMMARY_WIDTH)
    return write_answer_files(directory, answer.kind, html, text, result)
